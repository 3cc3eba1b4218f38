//! Hardware as the agent reported it.

use serde::{Deserialize, Serialize};

/// A machine's hardware.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hardware {
    /// SMBIOS manufacturer.
    pub manufacturer: String,
    /// SMBIOS product name.
    pub product: String,
    /// SMBIOS serial.
    pub serial: String,
    /// SMBIOS UUID, lower case.
    pub uuid: String,
    /// `amd64` or `arm64`.
    pub arch: String,
    /// CPU model.
    pub cpu_model: String,
    /// Physical cores.
    pub cpu_cores: u32,
    /// Hardware threads.
    pub cpu_threads: u32,
    /// Main memory.
    pub memory_bytes: u64,
    /// Disks.
    pub disks: Vec<Disk>,
    /// Network interfaces.
    pub nics: Vec<Nic>,
    /// Firmware version.
    pub firmware: String,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nic {
    /// Kernel's name.
    pub name: String,
    /// Ethernet address, lower case with colons.
    pub mac: String,
    /// Kernel driver.
    pub driver: String,
    /// 0: unknown or no link.
    pub speed_mbps: u32,
}

/// A disk and what was found on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Kernel's name; for people only.
    pub device: String,
    /// Serial number.
    pub serial: String,
    /// World-wide id.
    pub wwid: String,
    /// Stable bus path.
    pub bus_path: String,
    /// Model.
    pub model: String,
    /// `nvme`, `ssd` or `hdd`.
    pub kind: String,
    /// Size.
    pub bytes: u64,
    /// What was recognised on it.
    pub signatures: Vec<String>,
    /// Nothing known was found and the partition tables are gone.
    pub blank: bool,
    /// Digest over sampled content.
    pub fingerprint: String,
    /// USB sticks and card readers: never a target.
    pub removable: bool,
    /// Cannot be written.
    pub readonly: bool,
    /// Why it could not be read; empty if it could.
    pub unreadable: String,
}

/// Whose data is on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// None that anybody knows.
    Blank,
    /// An earlier Talos installation and nothing else.
    StaleTalos,
    /// Somebody's.
    Foreign,
}

/// What stands on a Talos disk beside partitions that carry Talos's own labels.
const TALOS_COMPANY: [&str; 7] = ["gpt", "pmbr", "mbr", "xfs", "vfat", "fat32", "fat"];

impl Disk {
    /// Whose data is on it. A disk with an unknown signature beside Talos's is foreign.
    pub fn content(&self) -> Content {
        if self.blank {
            return Content::Blank;
        }
        let talos = self.signatures.iter().any(|s| s.starts_with("talos:"));
        let alone = self
            .signatures
            .iter()
            .all(|s| s.starts_with("talos:") || TALOS_COMPANY.contains(&s.as_str()));
        if talos && alone {
            Content::StaleTalos
        } else {
            Content::Foreign
        }
    }

    /// True if a Talos of an earlier cluster would find its own partitions here.
    pub fn holds_talos(&self) -> bool {
        self.signatures.iter().any(|s| s.starts_with("talos:"))
    }

    /// For people: `blank`, `ext4, gpt`, `unknown data`.
    pub fn contents(&self) -> String {
        if self.blank {
            "blank".to_owned()
        } else if self.signatures.is_empty() {
            "unknown data".to_owned()
        } else {
            self.signatures.join(", ")
        }
    }

    /// True for a disk that a claim of "all disks" means.
    pub fn fixed(&self) -> bool {
        !self.removable
    }
}
