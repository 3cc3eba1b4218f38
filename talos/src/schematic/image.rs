//! The names of what a factory builds: installer images and files below its URL.

use super::SchematicId;
use crate::version::TalosVersion;

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

/// Where an image runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Bare metal.
    Metal,
    /// Amazon's cloud.
    Aws,
    /// Google's cloud.
    Gcp,
    /// Microsoft's cloud.
    Azure,
    /// Digital Ocean.
    DigitalOcean,
    /// Machines that get their config as a `nocloud` disk: Proxmox and others.
    Nocloud,
    /// OpenStack.
    Openstack,
    /// VMware's ESXi.
    Vmware,
    /// Akamai's cloud.
    Akamai,
    /// CloudStack.
    Cloudstack,
    /// Hetzner's cloud.
    Hcloud,
    /// Oracle's cloud.
    Oracle,
    /// UpCloud.
    Upcloud,
    /// Vultr.
    Vultr,
    /// Exoscale.
    Exoscale,
    /// OpenNebula.
    Opennebula,
    /// Scaleway.
    Scaleway,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Metal,
        Self::Aws,
        Self::Gcp,
        Self::Azure,
        Self::DigitalOcean,
        Self::Nocloud,
        Self::Openstack,
        Self::Vmware,
        Self::Akamai,
        Self::Cloudstack,
        Self::Hcloud,
        Self::Oracle,
        Self::Upcloud,
        Self::Vultr,
        Self::Exoscale,
        Self::Opennebula,
        Self::Scaleway,
    ];

    /// As file names and image names have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metal => "metal",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
            Self::DigitalOcean => "digital-ocean",
            Self::Nocloud => "nocloud",
            Self::Openstack => "openstack",
            Self::Vmware => "vmware",
            Self::Akamai => "akamai",
            Self::Cloudstack => "cloudstack",
            Self::Hcloud => "hcloud",
            Self::Oracle => "oracle",
            Self::Upcloud => "upcloud",
            Self::Vultr => "vultr",
            Self::Exoscale => "exoscale",
            Self::Opennebula => "opennebula",
            Self::Scaleway => "scaleway",
        }
    }

    /// The form in which its disk image is taken; nothing where it starts from an ISO or the network only.
    const fn disk_image(self) -> Option<&'static str> {
        match self {
            Self::Metal | Self::Opennebula | Self::Scaleway => Some("raw.zst"),
            Self::Aws | Self::Nocloud | Self::Openstack | Self::Hcloud | Self::Upcloud => {
                Some("raw.xz")
            }
            Self::Gcp => Some("raw.tar.gz"),
            Self::Azure => Some("vhd.xz"),
            Self::DigitalOcean | Self::Akamai | Self::Cloudstack => Some("raw.gz"),
            Self::Vmware => Some("ova"),
            Self::Oracle | Self::Exoscale => Some("qcow2"),
            Self::Vultr => None,
        }
    }
}

/// Whether an image is signed for Secure Boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// It is not.
    Unsigned,
    /// It is.
    SecureBoot,
}

impl Signing {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Unsigned => "",
            Self::SecureBoot => "-secureboot",
        }
    }
}

/// The form of a disk image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskImage {
    /// What the platform takes.
    Usual,
    /// Another one, as the file's ending says it: `raw.xz`, `qcow2`.
    Ending(&'static str),
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

    /// The reference of the installer image for bare metal at a factory's registry host.
    pub fn installer(&self, registry: &str) -> String {
        self.installer_for(registry, Platform::Metal, Signing::Unsigned)
    }

    /// The reference of an installer image at a factory's registry host.
    pub fn installer_for(&self, registry: &str, platform: Platform, signing: Signing) -> String {
        // Talos 1.10 renamed the installers after their platform.
        let platform = if self.since_1(10) {
            format!("{}-", platform.as_str())
        } else {
            String::new()
        };
        let (schematic, signed) = (&self.schematic, signing.suffix());
        format!(
            "{registry}/{platform}installer{signed}/{schematic}:{}",
            self.version
        )
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
        self.command_line_path_for(Platform::Metal, Signing::Unsigned)
    }

    /// The path of the kernel's default arguments on a platform below a factory's URL.
    pub fn command_line_path_for(&self, platform: Platform, signing: Signing) -> String {
        let name = self.name(platform);
        self.path(&format!("cmdline-{name}{}", signing.suffix()))
    }

    /// The path of the ISO below a factory's URL.
    pub fn iso_path(&self, platform: Platform, signing: Signing) -> String {
        let name = self.name(platform);
        self.path(&format!("{name}{}.iso", signing.suffix()))
    }

    /// The path of the image that firmware starts without a boot loader, below a factory's URL.
    pub fn unified_kernel_path(&self, platform: Platform, signing: Signing) -> String {
        let name = self.name(platform);
        self.path(&format!("{name}{}-uki.efi", signing.suffix()))
    }

    /// The path of the disk image below a factory's URL; nothing where the platform takes none.
    pub fn disk_image_path(
        &self,
        platform: Platform,
        signing: Signing,
        form: DiskImage,
    ) -> Option<String> {
        let ending = match form {
            DiskImage::Ending(ending) => ending,
            // Talos 1.8 is the first that makes the newer compression.
            DiskImage::Usual => match platform.disk_image()? {
                "raw.zst" if !self.since_1(8) => "raw.xz",
                ending => ending,
            },
        };
        let name = self.name(platform);
        Some(self.path(&format!("{name}{}.{ending}", signing.suffix())))
    }

    /// The path of the iPXE script below the URL of a factory's host for network boots.
    pub fn network_boot_path(&self, platform: Platform, signing: Signing) -> String {
        let (schematic, version) = (&self.schematic, &self.version);
        let name = self.name(platform);
        format!("pxe/{schematic}/{version}/{name}{}", signing.suffix())
    }

    fn since_1(&self, minor: u16) -> bool {
        let (major, own, _) = self.version.numbers();
        (major, own) >= (1, minor)
    }

    fn name(&self, platform: Platform) -> String {
        format!("{}-{}", platform.as_str(), self.arch.as_str())
    }

    fn path(&self, file: &str) -> String {
        format!("image/{}/{}/{file}", self.schematic, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Schematic;
    use super::*;

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
        let path = |full: String| full.rsplit('/').next().unwrap_or_default().to_owned();
        let all = Platform::ALL.map(|platform| {
            let disk = new.disk_image_path(platform, Signing::Unsigned, DiskImage::Usual);
            path(disk.unwrap_or_else(|| new.iso_path(platform, Signing::Unsigned)))
        });
        insta::assert_snapshot!(all.join(" "), @"metal-amd64.raw.zst aws-amd64.raw.xz gcp-amd64.raw.tar.gz azure-amd64.vhd.xz digital-ocean-amd64.raw.gz nocloud-amd64.raw.xz openstack-amd64.raw.xz vmware-amd64.ova akamai-amd64.raw.gz cloudstack-amd64.raw.gz hcloud-amd64.raw.xz oracle-amd64.qcow2 upcloud-amd64.raw.xz vultr-amd64.iso exoscale-amd64.qcow2 opennebula-amd64.raw.zst scaleway-amd64.raw.zst");
        let metal = (Platform::Metal, Signing::SecureBoot);
        assert_eq!(
            [
                path(new.command_line_path_for(metal.0, metal.1)),
                path(new.iso_path(metal.0, metal.1)),
                path(new.unified_kernel_path(metal.0, metal.1)),
                path(new.network_boot_path(metal.0, metal.1)),
                new.installer_for("f", Platform::Nocloud, metal.1),
                image("1.6.4").installer_for("f", Platform::Nocloud, metal.1),
            ],
            [
                "cmdline-metal-amd64-secureboot".to_owned(),
                "metal-amd64-secureboot.iso".to_owned(),
                "metal-amd64-secureboot-uki.efi".to_owned(),
                "metal-amd64-secureboot".to_owned(),
                format!("f/nocloud-installer-secureboot/{id}:v1.13.9"),
                format!("f/installer-secureboot/{id}:v1.6.4"),
            ]
        );
        let old =
            image("1.7.0").disk_image_path(Platform::Metal, Signing::Unsigned, DiskImage::Usual);
        assert!(old.is_some_and(|p| p.ends_with("metal-amd64.raw.xz")));
    }
}
