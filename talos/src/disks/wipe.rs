//! Which of a machine's disks a config would overwrite.
//!
//! Promises: a disk that could be meant is in the list; where it is not certain, that is said. A path that names no disk
//! that was seen may name any of them. Members of an array are overwritten with it.

use super::expression::holds;
use super::pattern::{glob, like};
use super::select::{Disk, DiskKind};
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
        let met = met(t, disks, None);
        met.into_iter().map(|(disk, _)| disk).collect()
    });
    let mut out = Vec::new();
    for target in targets {
        let met = met(target, disks, system.as_deref());
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
    target: &WipeTarget,
    all: &'a [Disk],
    system: Option<&[&Disk]>,
) -> Vec<(&'a Disk, Certainty)> {
    let decide = |disk: &Disk| match &target.disks {
        DiskMatch::Device(path) => device(path, disk),
        DiskMatch::Selector(pairs) => selector(pairs, disk),
        DiskMatch::Expression(text) | DiskMatch::Members(text) => {
            holds(text, disk, is_system(disk, system))
        }
        DiskMatch::Unnamed => on_system_disk(&target.purpose).then_some(false),
    };
    let mut verdicts: Vec<(&Disk, Option<bool>)> = all.iter().map(|d| (d, decide(d))).collect();
    let named = verdicts.iter().any(|(_, verdict)| *verdict == Some(true));
    if matches!(target.disks, DiskMatch::Device(_)) && !named {
        verdicts.iter_mut().for_each(|(_, verdict)| *verdict = None);
    }
    let met = verdicts.into_iter().filter_map(|(disk, verdict)| {
        let certainty = match verdict {
            Some(true) => Certainty::Certain,
            None => Certainty::Possible,
            Some(false) => return None,
        };
        Some((disk, certainty))
    });
    met.collect()
}

/// Whether what names no disk goes to the system disk: Talos's own volumes do.
fn on_system_disk(purpose: &Purpose) -> bool {
    match purpose {
        Purpose::Volume { kind, .. } => kind == "VolumeConfig",
        Purpose::Install | Purpose::MachineDisk => false,
    }
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
        return by_id(name, disk);
    }
    // Paths by slot or label are known to the running node only.
    if path.starts_with("/dev/disk/") || path.starts_with("/dev/mapper/") {
        return None;
    }
    Some(false)
}

/// udev writes the serial or the WWID into these names, among other words.
fn by_id(name: &str, disk: &Disk) -> Option<bool> {
    let wwid = disk.wwid.as_str();
    let bare = wwid
        .split_once('.')
        .filter(|(kind, _)| matches!(*kind, "naa" | "eui" | "uuid"))
        .map_or("", |(_, digits)| digits);
    let ids = [disk.serial.as_str(), wwid, bare];
    let mut found = Some(false);
    for id in ids.into_iter().filter(|id| !id.is_empty()) {
        for (at, _) in name.match_indices(id) {
            let (before, after) = (&name[..at], &name[at + id.len()..]);
            let begins = before.ends_with(['-', '_', '.'])
                || ["0x", "scsi-3"].iter().any(|p| before.ends_with(p));
            if begins && (after.is_empty() || after.starts_with(['-', '_'])) {
                return Some(true);
            }
            found = None;
        }
    }
    found
}

fn selector(pairs: &[(String, String)], disk: &Disk) -> Option<bool> {
    // What differs in case only is left open: Talos's versions may not agree about it.
    let text = |pattern: &str, text: &str| match glob(pattern, text) {
        false if like(pattern, text) => None,
        decided => Some(decided),
    };
    let mut unknown = false;
    for (key, value) in pairs {
        let fits = match key.as_str() {
            "serial" => text(value, &disk.serial),
            "wwid" => text(value, &disk.wwid),
            "model" => text(value, &disk.model),
            "busPath" if disk.bus_path.is_empty() => None,
            "busPath" => text(value, &disk.bus_path),
            "size" => SizeCondition::parse(value).map(|c| c.holds(disk.bytes)),
            "type" => kind(value, disk),
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

fn kind(value: &str, disk: &Disk) -> Option<bool> {
    let card = disk.kind == DiskKind::Sd || disk.device.starts_with("mmcblk");
    match (DiskKind::parse(value)?, disk.kind) {
        (DiskKind::Sd, _) => Some(card),
        (_, DiskKind::Unknown) => None,
        // Talos takes whatever does not turn.
        (DiskKind::Ssd, kind) => Some(kind != DiskKind::Hdd),
        (wanted, kind) => Some(wanted == kind),
    }
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
            unreadable: None,
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
        let anywhere = [
            "nvme0n1 Possible",
            "nvme1n1 Possible",
            "sda Possible",
            "sdb Possible",
        ];
        // No disk that was seen has this name: it may be any of them.
        check(&install("/dev/sd"), &anywhere);
        check(&install("/dev/md7"), &anywhere);
        check(&install("/dev/disk/by-id/wwn-0x5000c500"), &anywhere);
        check(&install("/dev/md0"), &["sda Certain", "sdb Certain"]);
        check(&install("/dev/disk/by-id/nvme-X_S2"), &["nvme1n1 Certain"]);
        let partition = "machine: {disks: [{device: /dev/nvme1n1p2}]}\n";
        check(partition, &["nvme1n1 Certain"]);
        check(&install("/dev/disk/by-path/pci-0"), &anywhere);
        // The serial of the second disk is a word of the name, that of the third one only a part of a word.
        let config = install("/dev/disk/by-id/ata-XS3X_S2-part1");
        check(&config, &["nvme1n1 Certain", "sda Possible"]);
        check(&install("/dev/disk/by-id/wwn-0xS1"), &["nvme0n1 Certain"]);
    }

    #[test]
    fn what_names_no_disk() {
        let anywhere = [
            "nvme0n1 Possible",
            "nvme1n1 Possible",
            "sda Possible",
            "sdb Possible",
        ];
        check("machine: {install: {diskSelector: {}}}\n", &anywhere);
        check("machine: {disks: [{partitions: []}]}\n", &anywhere);
        let document =
            |kind: &str| format!("apiVersion: v1alpha1\nkind: {kind}\nname: EPHEMERAL\n");
        check(&document("UnattendedInstallConfig"), &anywhere);
        check(&document("RAIDArrayConfig"), &anywhere);
        check(&document("VolumeConfig"), &[]);
    }

    #[test]
    fn by_selector_and_expression() {
        let selector = |s: &str| format!("machine: {{install: {{diskSelector: {s}}}}}\n");
        check(&selector("{serial: S1}"), &["nvme0n1 Certain"]);
        check(
            &selector("{type: ssd}"),
            &["nvme0n1 Possible", "nvme1n1 Possible"],
        );
        check(&selector("{type: ssd, serial: s1}"), &["nvme0n1 Possible"]);
        check(&selector("{model: X*, size: '>= 1GB'}"), &[]);
        check(&selector("{size: '>= 1TB'}"), &[]);
        check(&selector("{serial: S1, uuid: u}"), &["nvme0n1 Possible"]);
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
        match: disk.serial == \"S3\"
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
