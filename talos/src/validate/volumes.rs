//! Documents about volumes.

use super::cel;
use super::documents::duration;
use super::found::{Scope, items, number};
use super::go::quoted;
use crate::schema::Size;
use crate::yaml::{Mapping, Node};

/// Partition labels have 36 letters, two of which are the prefix of the kind.
const NAME_MAX: usize = 34;

/// Whether a part must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

/// Whether a volume has a size of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sized {
    Yes,
    No,
}

pub(super) fn check(kind: &str, scope: &mut Scope<'_>) {
    match kind {
        "VolumeConfig" => system(scope),
        "UserVolumeConfig" => user(scope),
        "RawVolumeConfig" | "SwapVolumeConfig" => {
            name(scope);
            provisioning(scope, Need::Required, Sized::Yes);
            encryption(scope);
        }
        "ExistingVolumeConfig" => {
            name_letters(scope);
            selector(scope, &["discovery", "volumeSelector", "match"]);
            upkeep(scope);
        }
        "ExternalVolumeConfig" => external(scope),
        "ZswapConfig" => {
            let path = ["maxPoolPercent"];
            if scope.number(&path).is_some_and(|n| !(0..=100).contains(&n)) {
                scope.error(&path, "maxPoolPercent must be between 0 and 100");
            }
        }
        "FilesystemTrimConfig" if duration(scope.root, &["interval"]) < 0 => {
            scope.error(&["interval"], "interval cannot be negative");
        }
        "FilesystemScrubConfig" => scrub(scope, &["interval"]),
        _ => {}
    }
}

fn name(scope: &mut Scope<'_>) {
    let text = scope.text(&["name"]);
    if text.is_empty() {
        scope.error(&["name"], "name is required");
    }
    if text.is_empty() || text.len() > NAME_MAX {
        let reason = format!("name must be between 1 and {NAME_MAX} characters long");
        scope.error(&["name"], reason);
    }
    letters(scope, text);
}

fn name_letters(scope: &mut Scope<'_>) {
    let text = scope.text(&["name"]);
    if text.is_empty() {
        scope.error(&["name"], "name is required");
    }
    letters(scope, text);
}

fn letters(scope: &mut Scope<'_>, text: &str) {
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        let reason =
            "name can only contain lowercase and uppercase ASCII letters, digits, and hyphens";
        scope.error(&["name"], reason);
    }
}

fn is_set(scope: &Scope<'_>, path: &[&str]) -> bool {
    scope.mapping(path).is_some_and(|m| !m.is_empty())
}

fn size(scope: &Scope<'_>, key: &str) -> Option<Size> {
    let text = scope.text(&["provisioning", key]);
    Size::parse(text).filter(|_| !text.is_empty())
}

fn provisioning(scope: &mut Scope<'_>, need: Need, sized: Sized) {
    let path = ["provisioning", "diskSelector", "match"];
    let text = scope.text(&path);
    if text.is_empty() {
        if need == Need::Required {
            scope.error(&path, "disk selector is required");
        }
    } else if let Some(error) = cel::error(text, cel::Names::Disk) {
        scope.error(&path, format!("disk selector is invalid: {error}"));
    }
    let (low, high) = (size(scope, "minSize"), size(scope, "maxSize"));
    let at = ["provisioning", "minSize"];
    if sized == Sized::No {
        if low.is_some() || high.is_some() || scope.has(&["provisioning", "grow"]) {
            scope.error(&at, "min size, max size and grow are not supported");
        }
        return;
    }
    match (low, high) {
        (
            Some(Size::Bytes { count: low, .. }),
            Some(Size::Bytes {
                count: high,
                negative: false,
            }),
        ) if low > high => scope.error(&at, "min size is greater than max size"),
        (None, None) if need == Need::Required => {
            scope.error(&at, "min size or max size is required");
        }
        _ => {}
    }
    if low.is_some_and(Size::is_negative) {
        scope.error(&at, "min size cannot be negative");
    }
}

fn encryption(scope: &mut Scope<'_>) {
    let keys = scope.items(&["encryption", "keys"]);
    let provider = match scope.text(&["encryption", "provider"]) {
        "" => "none",
        provider => provider,
    };
    if keys.is_empty() && provider == "none" {
        return;
    }
    if provider != "luks2" {
        let reason = format!("unsupported encryption provider: {provider}");
        scope.error(&["encryption", "provider"], reason);
    }
    if keys.is_empty() {
        scope.error(&["encryption", "keys"], "encryption keys are required");
    }
    let mut used = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let at = format!("encryption.keys.{index}");
        let slot = number(key, &["slot"]).unwrap_or(0);
        if used.contains(&slot) {
            scope.error_at(key, at.clone(), format!("duplicate key slot {slot}"));
        }
        used.push(slot);
        let kinds = ["static", "nodeID", "kms", "tpm"];
        if kinds.iter().all(|k| key.at(&[k]).is_none()) {
            let reason =
                format!("at least one encryption key type must be specified for slot {slot}");
            scope.error_at(key, at.clone(), reason);
        }
        for register in items(key, &["tpm", "options", "pcrs"]) {
            let number = number(register, &[]).unwrap_or(0);
            if !(0..=23).contains(&number) {
                let reason = format!("TPM PCR {number} is out of range (0-23)");
                scope.error_at(register, at.clone(), reason);
            }
        }
    }
}

/// Trimming and scrubbing, which 1.14 has per volume.
fn upkeep(scope: &mut Scope<'_>) {
    if duration(scope.root, &["trim", "interval"]) < 0 {
        scope.error(&["trim", "interval"], "trim interval cannot be negative");
    }
    scrub(scope, &["scrub", "interval"]);
}

fn scrub(scope: &mut Scope<'_>, path: &[&str]) {
    let interval = duration(scope.root, path);
    if interval != 0 && interval < 10_000_000_000 {
        scope.error(path, "scrub interval: minimum value is 10s");
    }
}

fn selector(scope: &mut Scope<'_>, path: &[&str]) {
    match scope.text(path) {
        "" => scope.error(path, "volume selector is required"),
        text => {
            if let Some(error) = cel::error(text, cel::Names::Volume) {
                scope.error(path, format!("volume selector is invalid: {error}"));
            }
        }
    }
}

fn external(scope: &mut Scope<'_>) {
    name(scope);
    let kind = match scope.text(&["filesystemType"]) {
        "" => "none",
        kind => kind,
    };
    if kind != "virtiofs" {
        scope.error(
            &["filesystemType"],
            format!("invalid filesystem type: {kind}"),
        );
    } else if !scope.has(&["mount", "virtiofs"]) {
        scope.error(&["mount", "virtiofs"], "virtiofs mount spec is required");
    } else if scope.text(&["mount", "virtiofs", "tag"]).is_empty() {
        scope.error(&["mount", "virtiofs", "tag"], "virtiofs tag is required");
    }
}

fn user(scope: &mut Scope<'_>) {
    name(scope);
    let kind = match scope.text(&["volumeType"]) {
        "" => "partition",
        kind => kind,
    };
    match kind {
        "directory" => {
            for section in ["provisioning", "encryption", "filesystem", "mount"] {
                if is_set(scope, &[section]) {
                    let reason = format!("{section} spec is invalid for volumeType directory");
                    scope.error(&[section], reason);
                }
            }
        }
        "disk" | "partition" => {
            let sized = if kind == "disk" {
                Sized::No
            } else {
                Sized::Yes
            };
            provisioning(scope, Need::Required, sized);
            filesystem(scope);
            encryption(scope);
        }
        other => scope.error(
            &["volumeType"],
            format!("unsupported volume type {other}", other = quoted(other)),
        ),
    }
    upkeep(scope);
}

fn filesystem(scope: &mut Scope<'_>) {
    let path = ["filesystem", "type"];
    let written = scope.text(&path);
    let kind = if matches!(written, "" | "none") {
        "xfs"
    } else {
        written
    };
    let supported = matches!(kind, "xfs" | "ext4") || (kind == "btrfs" && scope.since_14());
    if !supported {
        scope.error(&path, format!("unsupported filesystem type: {kind}"));
    } else if scope.is_true(&["filesystem", "projectQuotaSupport"]) && kind != "xfs" {
        let reason = "project quota support is only available for xfs filesystem";
        scope.error(&["filesystem", "projectQuotaSupport"], reason);
    } else if scope.has(&["filesystem", "xfs"]) && kind != "xfs" {
        scope.error(
            &["filesystem", "xfs"],
            "xfs options are only available for xfs filesystem",
        );
    }
}

fn system(scope: &mut Scope<'_>) {
    let old = ["STATE", "EPHEMERAL", "IMAGECACHE"];
    let new = ["ETCD", "CRI", "KUBELET", "LOG"];
    let volume = scope.text(&["name"]);
    let promotable = scope.since_14() && new.contains(&volume);
    if !old.contains(&volume) && !promotable {
        let known: Vec<String> = match scope.since_14() {
            true => old.iter().chain(&new).map(|n| quoted(n)).collect(),
            false => old.iter().map(|n| quoted(n)).collect(),
        };
        let reason = format!("only [{}] volumes are supported", known.join(" "));
        scope.error(&["name"], reason);
        return;
    }
    if volume == "STATE" {
        state(scope);
    }
    if scope.since_14() {
        mounts(scope, volume, promotable);
    }
    provisioning(scope, Need::Optional, Sized::Yes);
    encryption(scope);
    upkeep(scope);
}

fn state(scope: &mut Scope<'_>) {
    if is_set(scope, &["provisioning"]) {
        let reason = "provisioning config is not allowed for the \"STATE\" volume";
        scope.error(&["provisioning"], reason);
    }
    for (index, key) in scope.items(&["encryption", "keys"]).iter().enumerate() {
        if key.text_at(&["lockToState"]) == Some("true") {
            let reason = "state-locked key is not allowed for the \"STATE\" volume";
            scope.error_at(key, format!("encryption.keys.{index}.lockToState"), reason);
        }
    }
}

fn mounts(scope: &mut Scope<'_>, volume: &str, promotable: bool) {
    let mounted = is_set(scope, &["mount"]);
    if matches!(volume, "STATE" | "IMAGECACHE") && mounted {
        let reason = format!(
            "mount config is not allowed for the {volume} volume",
            volume = quoted(volume)
        );
        scope.error(&["mount"], reason);
    }
    if volume == "IMAGECACHE" && filesystem_is_set(scope.root) {
        let reason = format!(
            "filesystem config is not allowed for the {volume} volume",
            volume = quoted(volume)
        );
        scope.error(&["filesystem"], reason);
    }
    if promotable && mounted && !is_set(scope, &["provisioning"]) {
        let reason = format!(
            "mount config for the {volume} volume is only supported when it is provisioned onto a dedicated partition",
            volume = quoted(volume)
        );
        scope.error(&["mount"], reason);
    }
}

fn filesystem_is_set(root: &Node) -> bool {
    let section = root.at(&["filesystem"]).and_then(Node::as_mapping);
    section.is_some_and(|m: &Mapping| !m.is_empty())
}
