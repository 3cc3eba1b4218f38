//! Which disks a config lets Talos write, read from its merged text.
//!
//! Talos overwrites the install disk without asking, and creates its own and the user's volumes on disks that match
//! their expressions. Whoever allows a wipe must have seen this list. The install disk itself is chosen by [`select`].

mod expression;
mod pattern;
mod select;
mod size;
mod wipe;

pub use pattern::{glob, like};
pub use select::{
    Access, Bus, Choice, Disk, DiskKind, Medium, Rejected, Rejection, SelectError, Usb, Wanted,
    select,
};
pub use size::{Operator, SizeCondition, SizeRange, describe_size, parse_size};
pub use wipe::{Certainty, Wiped, wiped};

use crate::config::MachineConfig;
use crate::yaml::{Node, ParseError, parse_documents};

/// One way in which a config names disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WipeTarget {
    /// Why Talos writes there.
    pub purpose: Purpose,
    /// Which disks.
    pub disks: DiskMatch,
}

/// Why Talos writes to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The installation.
    Install,
    /// `machine.disks`: partitioned by Talos.
    MachineDisk,
    /// A volume document, by kind and name.
    Volume {
        /// The document's kind.
        kind: String,
        /// The document's name.
        name: String,
    },
}

/// How disks are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskMatch {
    /// A device path; `/dev/disk/by-id/…` is stable, `/dev/sda` is not.
    Device(String),
    /// Properties that a disk must have, all of them, as key and glob.
    Selector(Vec<(String, String)>),
    /// A CEL expression over disks, of which one is taken.
    Expression(String),
    /// A CEL expression over disks and volumes, all of which become members.
    Members(String),
    /// The system disk or, without one, any disk: the document names none.
    Unnamed,
}

/// Lists what a config lets Talos write, in the order of the text.
///
/// # Errors
/// The text is not YAML.
pub fn wipe_targets(config: &MachineConfig) -> Result<Vec<WipeTarget>, ParseError> {
    let mut out = Vec::new();
    for document in parse_documents(config.expose())? {
        match document.text_at(&["kind"]) {
            None => main_document(&document, &mut out),
            Some(kind) => out.extend(volume(kind, &document)),
        }
    }
    Ok(out)
}

fn main_document(document: &Node, out: &mut Vec<WipeTarget>) {
    let mut add = |purpose, disks| out.push(WipeTarget { purpose, disks });
    if let Some(install) = document.at(&["machine", "install"]) {
        if let Some(selector) = install.at(&["diskSelector"]).and_then(Node::as_mapping) {
            let pairs = selector.iter().filter_map(|e| {
                let value = e.value.as_text()?;
                Some((e.key.clone(), value.to_owned()))
            });
            add(Purpose::Install, DiskMatch::Selector(pairs.collect()));
        }
        let device = install.text_at(&["disk"]).filter(|d| !d.is_empty());
        if let Some(device) = device {
            add(Purpose::Install, DiskMatch::Device(device.to_owned()));
        }
    }
    let disks = document.at(&["machine", "disks"]);
    for disk in disks.and_then(Node::as_sequence).unwrap_or_default() {
        let disks = match disk.text_at(&["device"]) {
            Some(device) => DiskMatch::Device(device.to_owned()),
            None => DiskMatch::Unnamed,
        };
        add(Purpose::MachineDisk, disks);
    }
}

fn volume(kind: &str, document: &Node) -> Option<WipeTarget> {
    let writes = matches!(
        kind,
        "VolumeConfig"
            | "UserVolumeConfig"
            | "RawVolumeConfig"
            | "SwapVolumeConfig"
            | "RAIDArrayConfig"
            | "LVMVolumeGroupConfig"
            | "UnattendedInstallConfig"
    );
    if !writes {
        return None;
    }
    // Arrays and volume groups take every volume, and so every disk, that matches.
    let expression = ["diskSelector", "volumeSelector"]
        .into_iter()
        .find_map(|key| document.text_at(&["provisioning", key, "match"]));
    let disks = match expression.filter(|e| !e.is_empty()) {
        Some(text) if matches!(kind, "RAIDArrayConfig" | "LVMVolumeGroupConfig") => {
            DiskMatch::Members(text.to_owned())
        }
        Some(text) => DiskMatch::Expression(text.to_owned()),
        None => DiskMatch::Unnamed,
    };
    if kind == "UnattendedInstallConfig" {
        return Some(WipeTarget {
            purpose: Purpose::Install,
            disks,
        });
    }
    Some(WipeTarget {
        purpose: Purpose::Volume {
            kind: kind.to_owned(),
            name: document.text_at(&["name"]).unwrap_or_default().to_owned(),
        },
        disks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_disk() {
        let config = "\
machine:
    install:
        disk: /dev/disk/by-id/x
        diskSelector:
            serial: S1
            size: '>= 1TB'
    disks:
        - device: /dev/sdb
---
apiVersion: v1alpha1
kind: UserVolumeConfig
name: data
provisioning:
    diskSelector:
        match: disk.transport == \"nvme\"
---
apiVersion: v1alpha1
kind: VolumeConfig
name: EPHEMERAL
provisioning:
    maxSize: 40GiB
---
apiVersion: v1alpha1
kind: ExistingVolumeConfig
name: kept
";
        let targets = wipe_targets(&MachineConfig::new(config)).unwrap();
        let volume = |kind: &str, name: &str| Purpose::Volume {
            kind: kind.into(),
            name: name.into(),
        };
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let expected = [
            (
                Purpose::Install,
                DiskMatch::Selector(vec![pair("serial", "S1"), pair("size", ">= 1TB")]),
            ),
            (
                Purpose::Install,
                DiskMatch::Device("/dev/disk/by-id/x".into()),
            ),
            (Purpose::MachineDisk, DiskMatch::Device("/dev/sdb".into())),
            (
                volume("UserVolumeConfig", "data"),
                DiskMatch::Expression("disk.transport == \"nvme\"".into()),
            ),
            (volume("VolumeConfig", "EPHEMERAL"), DiskMatch::Unnamed),
        ];
        let expected = expected.map(|(purpose, disks)| WipeTarget { purpose, disks });
        assert_eq!(targets, expected);
    }
}
