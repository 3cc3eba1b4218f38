//! What a change costs a running node, by the version that it runs.

use std::fmt;

use super::tree::Place;
use crate::version::TalosVersion;
use crate::yaml::Node;

/// What a change costs a running node; a greater one includes the smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeClass {
    /// Nothing differs.
    None,
    /// Talos takes it over while it runs.
    Apply,
    /// It takes effect at a boot.
    Reboot,
    /// It takes effect when Talos is installed again beside its data.
    Upgrade,
    /// It contradicts what is on the disks: only a new installation takes it over.
    Reinstall,
}

impl ChangeClass {
    /// As plans say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Apply => "apply",
            Self::Reboot => "reboot",
            Self::Upgrade => "upgrade",
            Self::Reinstall => "reinstall",
        }
    }
}

impl fmt::Display for ChangeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(super) fn class(place: &Place, talos: &TalosVersion) -> ChangeClass {
    let path: Vec<&str> = place.path.iter().map(String::as_str).collect();
    let minor = match talos.numbers() {
        (1, minor, _) => minor,
        // What comes after 1.x is taken to be as the newest.
        _ => u16::MAX,
    };
    if place.document.is_main() {
        return whole(&path, place, minor);
    }
    let changed = place.before.is_some() && place.after.is_some();
    match (place.document.kind.as_str(), path.as_slice()) {
        ("UnattendedInstallConfig", ["installer", ..]) => ChangeClass::Upgrade,
        ("UnattendedInstallConfig", ["provisioning", "diskSelector", ..]) => ChangeClass::Reinstall,
        // Talos's own volumes are made once.
        ("VolumeConfig", ["provisioning" | "encryption", ..]) => own_volume(place),
        ("VolumeConfig", []) if place.document.name != "IMAGECACHE" => ChangeClass::Reinstall,
        (
            "UserVolumeConfig" | "RawVolumeConfig" | "SwapVolumeConfig",
            ["provisioning", "diskSelector", ..] | ["filesystem" | "encryption" | "volumeType", ..],
        ) if changed => ChangeClass::Reinstall,
        ("KubeNetworkConfig", ["podSubnets" | "serviceSubnets" | "dnsDomain", ..]) => {
            ChangeClass::Reinstall
        }
        // What etcd holds could no longer be read.
        ("KubeEtcdEncryptionConfig", _) => ChangeClass::Reinstall,
        ("SecurityProfileConfig", _) => ChangeClass::Reboot,
        _ => ChangeClass::Apply,
    }
}

/// Keys may be added to an encrypted volume that is there; everything else was decided when it was made.
fn own_volume(place: &Place) -> ChangeClass {
    let keys = place.path.iter().any(|key| key == "keys");
    match place.document.name.as_str() {
        "IMAGECACHE" => ChangeClass::Apply,
        _ if keys => ChangeClass::Reboot,
        _ => ChangeClass::Reinstall,
    }
}

/// A mapping that comes or goes as a whole costs what its keys cost.
fn whole(path: &[&str], place: &Place, minor: u16) -> ChangeClass {
    let own = main(path, minor);
    match (&place.before, &place.after) {
        (Some(node), None) | (None, Some(node)) => own.max(inside(path, node, minor)),
        (Some(_), Some(_)) | (None, None) => own,
    }
}

fn inside(path: &[&str], node: &Node, minor: u16) -> ChangeClass {
    let entries = node.as_mapping().into_iter().flat_map(|m| m.iter());
    let classes = entries.map(|entry| {
        let below = [path, &[entry.key.as_str()]].concat();
        main(&below, minor).max(inside(&below, &entry.value, minor))
    });
    classes.max().unwrap_or(ChangeClass::None)
}

fn main(path: &[&str], minor: u16) -> ChangeClass {
    match path {
        ["machine", rest @ ..] => machine(rest, minor),
        ["cluster", rest @ ..] => cluster(rest),
        ["debug"] => ChangeClass::Apply,
        _ => ChangeClass::Reboot,
    }
}

/// What Talos takes over while it runs (its own check, by version), and what it does with the rest.
fn machine(path: &[&str], minor: u16) -> ChangeClass {
    let from = |since: u16| {
        if minor >= since {
            ChangeClass::Apply
        } else {
            ChangeClass::Reboot
        }
    };
    match path {
        ["type", ..] => ChangeClass::Reinstall,
        ["install", "disk" | "diskSelector", ..] => ChangeClass::Reinstall,
        ["install", "wipe"] => ChangeClass::Apply,
        ["install", ..] => ChangeClass::Upgrade,
        ["systemDiskEncryption", _, "keys", ..] => ChangeClass::Reboot,
        ["systemDiskEncryption", ..] => ChangeClass::Reinstall,
        [
            "time" | "certSANs" | "network" | "sysfs" | "sysctls" | "logging" | "controlPlane"
            | "kubelet" | "kernel" | "registries" | "pods" | "seccompProfiles" | "nodeLabels"
            | "nodeTaints",
            ..,
        ] => ChangeClass::Apply,
        ["ca" | "acceptedCAs", ..] => from(7),
        ["nodeAnnotations", ..] => from(8),
        ["features", "kubernetesTalosAPIAccess" | "kubePrism", ..] => ChangeClass::Apply,
        ["features", "hostDNS", ..] => from(7),
        ["features", "imageCache" | "nodeAddressSortAlgorithm", ..] => from(9),
        ["udev", ..] => from(14),
        _ => ChangeClass::Reboot,
    }
}

fn cluster(path: &[&str]) -> ChangeClass {
    match path {
        ["network", "podSubnets" | "serviceSubnets" | "dnsDomain", ..] => ChangeClass::Reinstall,
        ["aescbcEncryptionSecret" | "secretboxEncryptionSecret", ..] => ChangeClass::Reinstall,
        _ => ChangeClass::Apply,
    }
}
