//! Image Factory schematics: their canonical text, their id, and the names of what the factory builds from them.
//!
//! Promises: the id is the one that the factory computes. Not here: asking the factory (it must have seen a schematic
//! once before it builds from it).

use sha2::Digest as _;

use crate::secrets::hex;
use crate::version::TalosVersion;
use crate::yaml::{Node, Style, emit};

/// What an image contains besides Talos. The order of extensions and arguments counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schematic {
    /// For boards that need one.
    pub overlay: Option<Overlay>,
    /// More kernel arguments.
    pub kernel_args: Vec<String>,
    /// META values by key.
    pub meta: Vec<(u8, String)>,
    /// System extensions, as `siderolabs/qemu-guest-agent`.
    pub extensions: Vec<String>,
}

/// An overlay for a single-board computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Its image.
    pub image: String,
    /// Its name.
    pub name: String,
    /// Its options.
    pub options: Vec<(String, String)>,
}

/// A processor architecture, as the factory writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// The factory's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
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
        if let Some(overlay) = &self.overlay {
            let mut entries = vec![
                ("image", Node::text(&overlay.image)),
                ("name", Node::text(&overlay.name)),
            ];
            if !overlay.options.is_empty() {
                let options = overlay.options.iter();
                let mut node = Node::map(options.map(|(k, v)| (k.as_str(), Node::text(v))));
                if let Some(mapping) = node.as_mapping_mut() {
                    mapping.sort_natural();
                }
                entries.push(("options", node));
            }
            root.push(("overlay", Node::map(entries)));
        }
        let mut custom = Vec::new();
        if !self.kernel_args.is_empty() {
            custom.push(("extraKernelArgs", Node::texts(&self.kernel_args)));
        }
        if !self.meta.is_empty() {
            let value = |(key, value): &(u8, String)| {
                Node::map([("key", Node::integer(*key)), ("value", Node::text(value))])
            };
            custom.push(("meta", Node::list(self.meta.iter().map(value))));
        }
        if !self.extensions.is_empty() {
            let official = Node::texts(&self.extensions);
            custom.push((
                "systemExtensions",
                Node::map([("officialExtensions", official)]),
            ));
        }
        root.push(("customization", Node::map(custom)));
        emit(&Node::map(root), Style::V1_13)
    }

    /// The id.
    pub fn id(&self) -> SchematicId {
        SchematicId(hex(&sha2::Sha256::digest(self.to_yaml())))
    }
}

/// One image of the factory: what is in it, which Talos, for which processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its schematic.
    pub schematic: SchematicId,
    /// Its Talos version.
    pub version: TalosVersion,
    /// Its processor.
    pub arch: Arch,
}

impl Image {
    /// `schematic/version/arch`.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.schematic, self.version, self.arch.as_str())
    }

    /// The reference of the installer image at a factory's registry host.
    pub fn installer(&self, registry: &str) -> String {
        // Talos 1.10 renamed the installers after their platform.
        let (major, minor, _) = self.version.numbers();
        let name = if (major, minor) >= (1, 10) {
            "metal-installer"
        } else {
            "installer"
        };
        format!("{registry}/{name}/{}:{}", self.schematic, self.version)
    }

    /// The path of the kernel below a factory's URL.
    pub fn kernel_path(&self) -> String {
        self.path(&format!("kernel-{}", self.arch.as_str()))
    }

    /// The path of the initial RAM disk below a factory's URL.
    pub fn initramfs_path(&self) -> String {
        self.path(&format!("initramfs-{}.xz", self.arch.as_str()))
    }

    /// The path of the kernel's default arguments on bare metal below a factory's URL.
    pub fn command_line_path(&self) -> String {
        self.path(&format!("cmdline-metal-{}", self.arch.as_str()))
    }

    fn path(&self, file: &str) -> String {
        format!("image/{}/{}/{file}", self.schematic, self.version)
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
                options: vec![("b".into(), "1".into()), ("a".into(), "x".into())],
            }),
            kernel_args: vec!["console=ttyS0".into()],
            meta: vec![(10, "v".into())],
            extensions: vec!["siderolabs/b".into(), "siderolabs/a".into()],
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
        "#);
    }

    #[test]
    fn names_of_images() {
        let image = |version: &str| Image {
            schematic: Schematic::default().id(),
            version: version.parse().unwrap(),
            arch: Arch::Amd64,
        };
        let id = Schematic::default().id();
        let new = image("v1.13.9");
        assert_eq!(new.id(), format!("{id}/v1.13.9/amd64"));
        assert_eq!(
            new.installer("factory.example"),
            format!("factory.example/metal-installer/{id}:v1.13.9")
        );
        assert_eq!(
            image("1.6.4").installer("factory.example"),
            format!("factory.example/installer/{id}:v1.6.4")
        );
        assert_eq!(
            new.kernel_path(),
            format!("image/{id}/v1.13.9/kernel-amd64")
        );
    }
}
