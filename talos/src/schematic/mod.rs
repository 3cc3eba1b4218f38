//! Image Factory schematics: their canonical text, their id, and the names of what the factory builds from them.
//!
//! Promises: the id is the one that the factory computes (image-factory 1.4.0). Not here: asking the factory (it must
//! have seen a schematic once before it builds from it).

mod image;
mod read;

use sha2::Digest as _;

pub use image::{Arch, DiskImage, Image, Platform, Signing};
pub use read::SchematicError;

use crate::secrets::hex;
use crate::yaml::{Node, Style, emit};

/// What an image contains besides Talos. The order of extensions and arguments counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schematic {
    /// To whom it belongs; only paid factories take one.
    pub owner: String,
    /// For boards that need one.
    pub overlay: Option<Overlay>,
    /// A machine config that the image carries; empty = none.
    pub embedded_config: String,
    /// More kernel arguments.
    pub kernel_args: Vec<String>,
    /// META values by key.
    pub meta: Vec<(u8, String)>,
    /// System extensions, as `siderolabs/qemu-guest-agent`.
    pub extensions: Vec<String>,
    /// What starts the kernel; absent = the factory's choice.
    pub bootloader: Option<Bootloader>,
    /// How systemd-boot enrolls Secure Boot keys (`off`, `manual`, `if-safe`, `force`); empty = the factory's choice.
    pub enroll_keys: String,
    /// Whether the keys of the usual vendors are enrolled too.
    pub well_known_certificates: WellKnownCertificates,
    /// The size of a disk image's sectors in bytes; 0 = the usual 512.
    pub sector_size: u64,
}

/// Whether the keys of the usual vendors are enrolled besides Talos's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WellKnownCertificates {
    /// Only Talos's own.
    #[default]
    LeftOut,
    /// Those too.
    Included,
}

/// What starts the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootloader {
    /// systemd-boot for UEFI, GRUB for BIOS.
    DualBoot,
    /// systemd-boot.
    SystemdBoot,
    /// GRUB.
    Grub,
}

impl Bootloader {
    const ALL: [Self; 3] = [Self::DualBoot, Self::SystemdBoot, Self::Grub];

    /// As a schematic writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DualBoot => "dual-boot",
            Self::SystemdBoot => "sd-boot",
            Self::Grub => "grub",
        }
    }
}

/// An overlay for a single-board computer.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlay {
    /// Its image.
    pub image: String,
    /// Its name.
    pub name: String,
    /// Its options, of any type.
    pub options: Vec<(String, Node)>,
}

/// The SHA-256 of a schematic's canonical text, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchematicId(String);

impl SchematicId {
    /// The 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SchematicId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Schematic {
    /// The text that is hashed, and that the factory takes.
    pub fn to_yaml(&self) -> String {
        let mut root = Vec::new();
        if !self.owner.is_empty() {
            root.push(("owner", Node::text(&self.owner)));
        }
        if let Some(overlay) = &self.overlay {
            root.push(("overlay", overlay.to_node()));
        }
        root.push(("customization", self.customization()));
        emit(&Node::map(root), Style::V1_13)
    }

    fn customization(&self) -> Node {
        let mut out = Vec::new();
        if !self.embedded_config.is_empty() {
            let config = Node::text(&self.embedded_config);
            out.push(("embeddedMachineConfiguration", config));
        }
        if !self.kernel_args.is_empty() {
            out.push(("extraKernelArgs", Node::texts(&self.kernel_args)));
        }
        if !self.meta.is_empty() {
            let value = |(key, value): &(u8, String)| {
                Node::map([("key", Node::integer(*key)), ("value", Node::text(value))])
            };
            out.push(("meta", Node::list(self.meta.iter().map(value))));
        }
        if !self.extensions.is_empty() {
            let official = [("officialExtensions", Node::texts(&self.extensions))];
            out.push(("systemExtensions", Node::map(official)));
        }
        if let Some(bootloader) = self.bootloader {
            out.push(("bootloader", Node::text(bootloader.as_str())));
        }
        let mut secure_boot = Vec::new();
        if !self.enroll_keys.is_empty() {
            secure_boot.push(("enrollKeys", Node::text(&self.enroll_keys)));
        }
        if self.well_known_certificates == WellKnownCertificates::Included {
            secure_boot.push(("includeWellKnownCertificates", Node::boolean(true)));
        }
        if !secure_boot.is_empty() {
            out.push(("secureboot", Node::map(secure_boot)));
        }
        if self.sector_size > 0 {
            let size = [("sectorSize", Node::integer(self.sector_size))];
            out.push(("diskImage", Node::map(size)));
        }
        Node::map(out)
    }

    /// The id.
    pub fn id(&self) -> SchematicId {
        SchematicId(hex(&sha2::Sha256::digest(self.to_yaml())))
    }
}

impl Overlay {
    fn to_node(&self) -> Node {
        let mut entries = vec![
            ("image", Node::text(&self.image)),
            ("name", Node::text(&self.name)),
        ];
        if !self.options.is_empty() {
            let options = self.options.iter();
            let mut node = Node::map(options.map(|(k, v)| (k.as_str(), v.clone())));
            if let Some(mapping) = node.as_mapping_mut() {
                mapping.sort_natural();
            }
            entries.push(("options", node));
        }
        Node::map(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_schematic() {
        let empty = Schematic::default();
        assert_eq!(empty.to_yaml(), "customization: {}\n");
        assert_eq!(
            empty.id().as_str(),
            "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
        );
    }

    #[test]
    fn one_extension() {
        let agent = Schematic {
            extensions: vec!["siderolabs/qemu-guest-agent".into()],
            ..Schematic::default()
        };
        let id = agent.id();
        assert!(id.as_str().starts_with("ce4c980550dd"), "{id}");
        assert!(id.as_str().ends_with("7515"), "{id}");
    }

    #[test]
    fn the_canonical_order() {
        let all = Schematic {
            overlay: Some(Overlay {
                image: "siderolabs/sbc-raspberrypi".into(),
                name: "rpi_generic".into(),
                options: vec![("b".into(), Node::text("1")), ("a".into(), Node::text("x"))],
            }),
            kernel_args: vec!["console=ttyS0".into()],
            meta: vec![(10, "v".into())],
            extensions: vec!["siderolabs/b".into(), "siderolabs/a".into()],
            bootloader: Some(Bootloader::SystemdBoot),
            enroll_keys: "force".into(),
            sector_size: 4096,
            ..Schematic::default()
        };
        insta::assert_snapshot!(all.to_yaml(), @r#"
        overlay:
            image: siderolabs/sbc-raspberrypi
            name: rpi_generic
            options:
                a: x
                b: "1"
        customization:
            extraKernelArgs:
                - console=ttyS0
            meta:
                - key: 10
                  value: v
            systemExtensions:
                officialExtensions:
                    - siderolabs/b
                    - siderolabs/a
            bootloader: sd-boot
            secureboot:
                enrollKeys: force
            diskImage:
                sectorSize: 4096
        "#);
        let again = Schematic::read(&all.to_yaml()).unwrap();
        assert_eq!(again.to_yaml(), all.to_yaml());
    }
}
