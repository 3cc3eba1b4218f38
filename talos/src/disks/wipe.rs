//! Which of a machine's disks a config would overwrite.
//!
//! Promises: a disk that could be meant is in the list; where it is not certain, that is said. Members of an array are
//! overwritten with it.

use super::expression::holds;
use super::select::{Disk, DiskKind, glob};
use super::size::SizeCondition;
use super::{DiskMatch, Purpose, WipeTarget};

/// A disk that would be overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiped<'a> {
    /// The disk.
    pub disk: &'a Disk,
    /// By what.
    pub purpose: &'a Purpose,
    /// Whether it is certain.
    pub certainty: Certainty,
}

/// Whether a disk is certainly meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// It may be: several disks match, or it cannot be decided before the node runs.
    Possible,
    /// It is.
    Certain,
}

/// The disks that would be overwritten, in the order of the targets. A volume that names no disk goes to the system
/// disk, which the installation names.
pub fn wiped<'a>(targets: &'a [WipeTarget], disks: &'a [Disk]) -> Vec<Wiped<'a>> {
    let install = targets.iter().find(|t| t.purpose == Purpose::Install);
    let system: Option<Vec<&Disk>> = install.map(|t| {
        let met = met(&t.disks, disks, None);
        met.into_iter().map(|(disk, _)| disk).collect()
    });
    let mut out = Vec::new();
    for target in targets {
        let met = met(&target.disks, disks, system.as_deref());
        // Talos takes one disk for these, and nobody can say which of several.
        let one = matches!(
            target.disks,
            DiskMatch::Selector(_) | DiskMatch::Expression(_)
        );
        let ambiguous = one && met.len() > 1;
        for (disk, certainty) in met {
            out.push(Wiped {
                disk,
                purpose: &target.purpose,
                certainty: if ambiguous {
                    Certainty::Possible
                } else {
                    certainty
                },
            });
        }
    }
    out
}

fn met<'a>(
    disks: &DiskMatch,
    all: &'a [Disk],
    system: Option<&[&Disk]>,
) -> Vec<(&'a Disk, Certainty)> {
    let decide = |disk: &Disk| match disks {
        DiskMatch::Device(path) => device(path, disk),
        DiskMatch::Selector(pairs) => selector(pairs, disk),
        DiskMatch::Expression(text) | DiskMatch::Members(text) => {
            holds(text, disk, is_system(disk, system))
        }
        DiskMatch::Unnamed => Some(false),
    };
    all.iter()
        .filter_map(|disk| match decide(disk) {
            Some(true) => Some((disk, Certainty::Certain)),
            None => Some((disk, Certainty::Possible)),
            Some(false) => None,
        })
        .collect()
}

/// Known only where the installation can go to one disk.
fn is_system(disk: &Disk, system: Option<&[&Disk]>) -> Option<bool> {
    let system = system?;
    let is_in = system.iter().any(|s| std::ptr::eq(*s, disk));
    match system {
        [_] => Some(is_in),
        _ => (!is_in).then_some(false),
    }
}

fn device(path: &str, disk: &Disk) -> Option<bool> {
    let name = path.rsplit('/').next().unwrap_or_default();
    // A partition of it too, and the array that it is a member of.
    let partition = |device: &str| {
        let rest = name.strip_prefix(device);
        let number = rest.map(|r| r.strip_prefix('p').unwrap_or(r));
        number.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    };
    let array = disk.array.as_deref().is_some_and(partition);
    if partition(&disk.device) || array {
        return Some(true);
    }
    if path.starts_with("/dev/disk/by-id/") {
        let ids = [&disk.serial, &disk.wwid].into_iter();
        let mut ids = ids.filter(|id| !id.is_empty());
        return Some(ids.any(|id| path.contains(id.as_str())));
    }
    // Paths by slot or label are known to the running node only.
    if path.starts_with("/dev/disk/") || path.starts_with("/dev/mapper/") {
        return None;
    }
    Some(false)
}

fn selector(pairs: &[(String, String)], disk: &Disk) -> Option<bool> {
    let mut unknown = false;
    for (key, value) in pairs {
        let fits = match key.as_str() {
            "serial" => Some(glob(value, &disk.serial)),
            "wwid" => Some(glob(value, &disk.wwid)),
            "model" => Some(glob(value, &disk.model)),
            "busPath" => Some(glob(value, &disk.bus_path)),
            "size" => SizeCondition::parse(value).map(|c| c.holds(disk.bytes)),
            "type" => Some(match DiskKind::parse(value) {
                // Talos takes whatever does not turn.
                Some(DiskKind::Ssd) => disk.kind != DiskKind::Hdd,
                Some(kind) => kind == disk.kind,
                None => false,
            }),
            _ => None,
        };
        match fits {
            Some(false) => return Some(false),
            Some(true) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::super::select::{Access, Bus, Medium};
    use super::super::wipe_targets;
    use super::*;
    use crate::config::MachineConfig;

    fn disk(device: &str, serial: &str, kind: DiskKind, array: Option<&str>) -> Disk {
        Disk {
            device: device.into(),
            serial: serial.into(),
            wwid: format!("eui.{serial}"),
            model: "M".into(),
            bus_path: "/pci".into(),
            bytes: 480_000_000_000,
            kind,
            bus: Bus::Internal,
            access: Access::ReadWrite,
            medium: Medium::Fixed,
            array: array.map(str::to_owned),
        }
    }

    fn check(config: &str, expected: &[&str]) {
        let disks = [
            disk("nvme0n1", "S1", DiskKind::Nvme, None),
            disk("nvme1n1", "S2", DiskKind::Nvme, None),
            disk("sda", "S3", DiskKind::Hdd, Some("md0")),
            disk("sdb", "S4", DiskKind::Hdd, Some("md0")),
        ];
        let targets = wipe_targets(&MachineConfig::new(config)).unwrap();
        let found: Vec<String> = wiped(&targets, &disks)
            .iter()
            .map(|w| format!("{} {:?}", w.disk.device, w.certainty))
            .collect();
        assert_eq!(found, expected, "{config}");
    }

    #[test]
    fn by_device_array_and_id() {
        let install = |disk: &str| format!("machine: {{install: {{disk: {disk}}}}}\n");
        check(&install("/dev/nvme0n1"), &["nvme0n1 Certain"]);
        check(&install("/dev/sd"), &[]);
        check(&install("/dev/md0"), &["sda Certain", "sdb Certain"]);
        check(&install("/dev/disk/by-id/nvme-X_S2"), &["nvme1n1 Certain"]);
        let partition = "machine: {disks: [{device: /dev/nvme1n1p2}]}\n";
        check(partition, &["nvme1n1 Certain"]);
        check(
            &install("/dev/disk/by-path/pci-0"),
            &[
                "nvme0n1 Possible",
                "nvme1n1 Possible",
                "sda Possible",
                "sdb Possible",
            ],
        );
    }

    #[test]
    fn by_selector_and_expression() {
        let selector = |s: &str| format!("machine: {{install: {{diskSelector: {s}}}}}\n");
        check(&selector("{serial: S1}"), &["nvme0n1 Certain"]);
        check(
            &selector("{type: ssd}"),
            &["nvme0n1 Possible", "nvme1n1 Possible"],
        );
        let user = "\
machine: {install: {diskSelector: {serial: S1}}}
---
apiVersion: v1alpha1
kind: UserVolumeConfig
name: data
provisioning:
    diskSelector:
        match: disk.transport == \"nvme\" && !system_disk
---
apiVersion: v1alpha1
kind: RAIDArrayConfig
name: md1
provisioning:
    volumeSelector:
        match: disk.rotational
---
apiVersion: v1alpha1
kind: UnattendedInstallConfig
provisioning:
    diskSelector:
        match: disk.dev_path == \"/dev/sda\"
";
        check(
            user,
            &[
                "nvme0n1 Certain",
                "nvme1n1 Certain",
                "sda Certain",
                "sdb Certain",
                "sda Certain",
            ],
        );
    }
}
