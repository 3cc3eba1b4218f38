//! Where Talos finds its config on machines that bootd does not boot, and what fits there.
//!
//! Promises: a config that is too large for the table below is an error that says by how much, before a machine is made; what fits is
//! returned in the table's encoding. The table was not tried on the clouds. Not here: making the machine.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::MachineConfig;

/// Where a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Platform {
    /// Hetzner Cloud.
    Hcloud,
    /// Vultr.
    Vultr,
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// OpenStack.
    OpenStack,
    /// A NoCloud drive; Proxmox among others.
    NoCloud,
}

/// How a config is written into its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// In base64.
    Base64,
}

/// What is known of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformFacts {
    /// The platform.
    pub platform: Platform,
    /// Its name in Talos's images and in `talos.platform=`.
    pub name: &'static str,
    /// The usual argument of its Terraform provider.
    pub field: &'static str,
    /// How that argument wants it.
    pub encoding: Encoding,
    /// Bytes that the platform takes, in the encoding in which it counts them.
    pub limit: usize,
    /// In which encoding it counts.
    pub counts: Encoding,
    /// The first disk as a rule; absent where it depends on the machine's type.
    pub disk: Option<&'static str>,
    /// Bytes of the network's packets as a rule.
    pub mtu: u32,
}

const KIB: usize = 1024;

/// One row per platform.
static TABLE: [PlatformFacts; 7] = [
    PlatformFacts {
        platform: Platform::Hcloud,
        name: "hcloud",
        field: "user_data",
        encoding: Encoding::Plain,
        limit: 32 * KIB,
        counts: Encoding::Plain,
        disk: Some("/dev/sda"),
        mtu: 1450,
    },
    PlatformFacts {
        platform: Platform::Vultr,
        name: "vultr",
        field: "user_data",
        encoding: Encoding::Plain,
        limit: 64 * KIB,
        counts: Encoding::Base64,
        disk: Some("/dev/vda"),
        mtu: 1500,
    },
    PlatformFacts {
        platform: Platform::Aws,
        name: "aws",
        field: "user_data",
        encoding: Encoding::Plain,
        limit: 16 * KIB,
        counts: Encoding::Plain,
        disk: None,
        mtu: 9001,
    },
    PlatformFacts {
        platform: Platform::Gcp,
        name: "gcp",
        field: "metadata[\"user-data\"]",
        encoding: Encoding::Plain,
        limit: 256 * KIB,
        counts: Encoding::Plain,
        disk: Some("/dev/sda"),
        mtu: 1460,
    },
    PlatformFacts {
        platform: Platform::Azure,
        name: "azure",
        field: "custom_data",
        encoding: Encoding::Base64,
        limit: 64 * KIB,
        counts: Encoding::Base64,
        disk: Some("/dev/sda"),
        mtu: 1500,
    },
    PlatformFacts {
        platform: Platform::OpenStack,
        name: "openstack",
        field: "user_data",
        encoding: Encoding::Plain,
        limit: 64 * KIB - 1,
        counts: Encoding::Base64,
        disk: Some("/dev/vda"),
        mtu: 1500,
    },
    PlatformFacts {
        platform: Platform::NoCloud,
        name: "nocloud",
        field: "user-data",
        encoding: Encoding::Plain,
        limit: 1024 * KIB,
        counts: Encoding::Plain,
        disk: None,
        mtu: 1500,
    },
];

/// A config that a platform does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the config has {bytes} bytes and {platform} takes {limit}; move manifests and files out of it, or serve it by talos.config=https://…"
)]
pub struct TooLarge {
    /// The platform.
    pub platform: Platform,
    /// Bytes as the platform counts them.
    pub bytes: usize,
    /// Bytes that it takes.
    pub limit: usize,
}

/// A config as a platform's field takes it. It holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct UserData {
    /// The field.
    pub field: &'static str,
    text: String,
}

impl UserData {
    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserData({}, {} bytes)", self.field, self.text.len())
    }
}

impl Platform {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|facts| facts.platform)
    }

    /// Reads a name; `proxmox` is NoCloud by another name.
    pub fn parse(name: &str) -> Option<Self> {
        let name = match name {
            "proxmox" => "nocloud",
            name => name,
        };
        let mut rows = TABLE.iter();
        rows.find(|f| f.name == name).map(|f| f.platform)
    }

    /// What is known of it.
    pub fn facts(self) -> &'static PlatformFacts {
        let mut rows = TABLE.iter();
        rows.find(|f| f.platform == self)
            .expect("the table has a row for each platform, which a test checks")
    }

    /// A config as the platform's field takes it.
    ///
    /// # Errors
    /// The platform does not take so much.
    pub fn user_data(self, config: &MachineConfig) -> Result<UserData, TooLarge> {
        let facts = self.facts();
        let encode = |encoding| match encoding {
            Encoding::Plain => config.expose().to_owned(),
            Encoding::Base64 => STANDARD.encode(config.expose()),
        };
        let bytes = encode(facts.counts).len();
        if bytes > facts.limit {
            return Err(TooLarge {
                platform: self,
                bytes,
                limit: facts.limit,
            });
        }
        Ok(UserData {
            field: facts.field,
            text: encode(facts.encoding),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_has_its_row() {
        // The compiler asks for an arm where a platform is added.
        for platform in Platform::all() {
            let name = match platform {
                Platform::Hcloud => "hcloud",
                Platform::Vultr => "vultr",
                Platform::Aws => "aws",
                Platform::Gcp => "gcp",
                Platform::Azure => "azure",
                Platform::OpenStack => "openstack",
                Platform::NoCloud => "nocloud",
            };
            assert_eq!(platform.to_string(), name);
            assert_eq!(Platform::parse(name), Some(platform));
        }
        assert_eq!(Platform::all().count(), 7);
        assert_eq!(Platform::parse("proxmox"), Some(Platform::NoCloud));
        assert_eq!(Platform::parse("metal"), None);
    }

    #[test]
    fn what_fits_is_encoded_and_what_does_not_says_by_how_much() {
        let config = MachineConfig::new("machine: {}\n");
        let data = Platform::Azure.user_data(&config).unwrap();
        assert_eq!(data.expose(), "bWFjaGluZToge30K");
        assert_eq!(format!("{data:?}"), "UserData(custom_data, 16 bytes)");
        let data = Platform::Hcloud.user_data(&config).unwrap();
        assert_eq!(data.expose(), config.expose());
        let large = MachineConfig::new("x".repeat(16 * KIB + 1));
        insta::assert_snapshot!(
            Platform::Aws.user_data(&large).unwrap_err(),
            @"the config has 16385 bytes and aws takes 16384; move manifests and files out of it, or serve it by talos.config=https://…"
        );
        // It counts what base64 makes of it.
        let large = MachineConfig::new("x".repeat(49 * KIB));
        assert!(Platform::OpenStack.user_data(&large).is_err());
        assert!(Platform::Gcp.user_data(&large).is_ok());
    }

    #[test]
    fn a_worker_fits_everywhere() {
        let worker = include_str!("../tests/data/goldens/gen-full-1.13-worker.out");
        for platform in Platform::all() {
            assert!(platform.user_data(&MachineConfig::new(worker)).is_ok());
        }
    }
}
