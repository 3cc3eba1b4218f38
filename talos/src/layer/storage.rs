//! Volumes: the arguments, and the documents or legacy keys that say the same.

use super::cel;
use super::draft::Draft;
use crate::config::{DiskSelector, Toggle};
use crate::secrets::Secret;
use crate::yaml::Node;

/// A volume for workloads, mounted at `/var/mnt/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserVolume {
    /// Letters, digits and dashes, up to 34.
    pub name: String,
    /// Where it is.
    pub provisioning: Provisioning,
    /// `xfs` (Talos's default), `ext4` or `vfat`.
    pub filesystem: Option<String>,
    /// How it is encrypted.
    pub encryption: Option<Encryption>,
}

/// One of Talos's own volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemVolume {
    /// `EPHEMERAL`, `STATE` or `IMAGECACHE`.
    pub name: String,
    /// Where it is.
    pub provisioning: Provisioning,
    /// How it is encrypted.
    pub encryption: Option<Encryption>,
}

/// Where a volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provisioning {
    /// On which disk.
    pub disk: VolumeDisk,
    /// At least this size (`10GiB`).
    pub min_size: Option<String>,
    /// At most this size (`100GiB`, from contract 1.12 on also `50%`).
    pub max_size: Option<String>,
    /// Whether it grows to its maximum.
    pub grow: Option<Toggle>,
}

/// On which disk a volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VolumeDisk {
    /// Talos's default: the system disk for its own volumes; a user volume must name one.
    #[default]
    Unstated,
    /// By the disk's properties.
    Selector(DiskSelector),
    /// By a CEL expression.
    Expression(String),
    /// By its device path; before contract 1.10 the only way.
    Device(String),
}

/// How a volume is encrypted (LUKS2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// Its keys, in the order of their slots from 0.
    pub keys: Vec<EncryptionKey>,
}

/// One key of an encrypted volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncryptionKey {
    /// Derived from the machine's UUID: it hides nothing from who has the machine.
    NodeId,
    /// Sealed by the TPM.
    Tpm,
    /// A passphrase in the config.
    Static(Secret),
    /// Sealed by a KMS at this URL.
    Kms(String),
}

/// Bytes in a user volume's name.
const NAME_MAX: usize = 34;

pub(super) fn render(system: &[SystemVolume], user: &[UserVolume], draft: &mut Draft) {
    for (index, volume) in system.iter().enumerate() {
        let at = format!("system_volumes[{index}]");
        system_volume(volume, &at, draft);
    }
    for (index, volume) in user.iter().enumerate() {
        let at = format!("volumes[{index}]");
        let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if volume.name.is_empty() || volume.name.len() > NAME_MAX || !volume.name.bytes().all(valid)
        {
            draft.invalid(
                format!("{at}.name"),
                "it must have 1 to 34 letters, digits and dashes",
            );
        }
        if draft.since(10) {
            user_volume(volume, &at, draft);
        } else {
            machine_disk(volume, &at, draft);
        }
    }
}

fn system_volume(volume: &SystemVolume, at: &str, draft: &mut Draft) {
    if !matches!(volume.name.as_str(), "EPHEMERAL" | "STATE" | "IMAGECACHE") {
        draft.invalid(
            format!("{at}.name"),
            "it must be EPHEMERAL, STATE or IMAGECACHE",
        );
    }
    let mut entries = Vec::new();
    if let Some(provisioning) = provisioning(&volume.provisioning, at, draft)
        && draft.needs(
            8,
            format!("{at}.provisioning"),
            "Talos sizes its volumes itself before",
        )
    {
        entries.push(("provisioning", provisioning));
    }
    if let Some(encryption) = &volume.encryption {
        if draft.since(11) {
            entries.push(("encryption", encryption_node(encryption)));
        } else if let Some(section) = match volume.name.as_str() {
            "EPHEMERAL" => Some("ephemeral"),
            "STATE" => Some("state"),
            _ => None,
        } {
            let path = ["machine", "systemDiskEncryption", section];
            draft.set(&path, encryption_node(encryption));
        } else {
            draft.invalid(
                format!("{at}.encryption"),
                "only EPHEMERAL and STATE can be encrypted before contract 1.11",
            );
        }
    }
    if !entries.is_empty() {
        draft.named("VolumeConfig", &volume.name, entries);
    }
}

fn user_volume(volume: &UserVolume, at: &str, draft: &mut Draft) {
    let mut entries = Vec::new();
    match provisioning(&volume.provisioning, at, draft) {
        Some(node) if node.at(&["diskSelector"]).is_some() => entries.push(("provisioning", node)),
        _ => draft.invalid(format!("{at}.disk"), "a user volume must name its disk"),
    }
    if let Some(kind) = &volume.filesystem {
        entries.push(("filesystem", Node::map([("type", Node::text(kind))])));
    }
    if let Some(encryption) = &volume.encryption {
        entries.push(("encryption", encryption_node(encryption)));
    }
    draft.named("UserVolumeConfig", &volume.name, entries);
}

/// Before there were volume documents: one partition on a disk that is named by its path.
fn machine_disk(volume: &UserVolume, at: &str, draft: &mut Draft) {
    let VolumeDisk::Device(device) = &volume.provisioning.disk else {
        draft.unsupported(
            10,
            format!("{at}.disk"),
            "before, only a device path can name the disk",
        );
        return;
    };
    for (stated, name) in [
        (volume.encryption.is_some(), "encryption"),
        (
            volume.filesystem.as_deref().is_some_and(|f| f != "xfs"),
            "filesystem",
        ),
        (volume.provisioning.min_size.is_some(), "min_size"),
        (volume.provisioning.grow.is_some(), "grow"),
    ] {
        if stated {
            draft.unsupported(10, format!("{at}.{name}"), "machine.disks has no such key");
        }
    }
    let mut partition = vec![(
        "mountpoint",
        Node::text(format!("/var/mnt/{}", volume.name)),
    )];
    if let Some(size) = &volume.provisioning.max_size {
        partition.insert(0, ("size", Node::text(size)));
    }
    let disk = Node::map([
        ("device", Node::text(device)),
        ("partitions", Node::list([Node::map(partition)])),
    ]);
    draft.push(&["machine", "disks"], disk);
}

fn provisioning(from: &Provisioning, at: &str, draft: &mut Draft) -> Option<Node> {
    let mut entries = Vec::new();
    let expression = match &from.disk {
        VolumeDisk::Unstated => None,
        VolumeDisk::Expression(text) => Some(text.clone()),
        VolumeDisk::Device(path) => Some(cel::device(path)),
        VolumeDisk::Selector(selector) => match cel::disk(selector) {
            Ok(text) => Some(text),
            Err(reason) => {
                draft.invalid(format!("{at}.disk"), reason);
                None
            }
        },
    };
    if let Some(text) = expression {
        entries.push(("diskSelector", Node::map([("match", Node::text(text))])));
    }
    if let Some(grow) = from.grow {
        entries.push(("grow", Node::boolean(grow == Toggle::Enabled)));
    }
    for (key, argument, size) in [
        ("minSize", "min_size", &from.min_size),
        ("maxSize", "max_size", &from.max_size),
    ] {
        let Some(size) = size else { continue };
        let relative = size.ends_with('%');
        if relative && !draft.needs(12, format!("{at}.{argument}"), "state it in bytes") {
            continue;
        }
        if !relative && crate::disks::parse_size(size).is_none() {
            let reason = "it is not a size; write it like 10GiB or 100GB";
            draft.invalid(format!("{at}.{argument}"), reason);
        }
        entries.push((key, Node::text(size)));
    }
    (!entries.is_empty()).then(|| Node::map(entries))
}

fn encryption_node(encryption: &Encryption) -> Node {
    let keys = encryption.keys.iter().enumerate().map(|(slot, key)| {
        let (name, value) = match key {
            EncryptionKey::NodeId => ("nodeID", Node::map::<&str>([])),
            EncryptionKey::Tpm => ("tpm", Node::map::<&str>([])),
            EncryptionKey::Static(secret) => (
                "static",
                Node::map([("passphrase", Node::text(secret.expose()))]),
            ),
            EncryptionKey::Kms(url) => ("kms", Node::map([("endpoint", Node::text(url))])),
        };
        Node::map([("slot", Node::integer(slot as i128)), (name, value)])
    });
    Node::map([
        ("provider", Node::text("luks2")),
        ("keys", Node::list(keys)),
    ])
}
