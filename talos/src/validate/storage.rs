//! Documents of 1.14 about files, RAID, LVM and the installation; extensions and the runtime of both generators.

use super::cel;
use super::found::Scope;
use super::go::quoted;
use super::machine::runtime_spec_error;
use super::names::qualified_name;
use crate::schema::Size;

pub(super) fn check(kind: &str, scope: &mut Scope<'_>) {
    match kind {
        "ExtensionServiceConfig" => extension(scope),
        "CRIBaseRuntimeSpecConfig" => {
            if let Some(error) = runtime_spec_error(scope.root.at(&["overrides"])) {
                let reason = format!("failed to unmarshal base runtime spec overrides: {error}");
                scope.error(&["overrides"], reason);
            }
        }
        "CRICustomizationConfig" => {
            if let Err(error) = qualified_name(scope.text(&["name"])) {
                scope.error(&["name"], format!("invalid name: {error}"));
            }
        }
        "EtcFileConfig" => etc_file(scope),
        "KernelModuleConfig" if scope.text(&["name"]).is_empty() => {
            scope.error(&["name"], "name is required");
        }
        "SysctlConfig" | "SysfsConfig" => {
            let what = kind.trim_end_matches("Config").to_ascii_lowercase();
            let empty = scope
                .mapping(&["params"])
                .is_some_and(|m| m.value("").is_some());
            if empty {
                scope.error(&["params"], format!("{what} key cannot be empty"));
            }
        }
        "UnattendedInstallConfig" => unattended_install(scope),
        "LVMVolumeGroupConfig" => {
            name(scope, 63);
            selector(scope, "volumeSelector", cel::Names::Volume);
        }
        "RAIDArrayConfig" => {
            name(scope, 32);
            selector(scope, "volumeSelector", cel::Names::Volume);
        }
        "LVMLogicalVolumeConfig" => logical_volume(scope),
        _ => {}
    }
}

fn extension(scope: &mut Scope<'_>) {
    let name = scope.text(&["name"]);
    if name.is_empty() {
        scope.error(&["name"], "name is required");
        return;
    }
    let files = scope.items(&["configFiles"]);
    if files.is_empty() && scope.items(&["environment"]).is_empty() {
        let reason = format!(
            "no config files found for extension {name}",
            name = quoted(name)
        );
        scope.error(&["configFiles"], reason);
        return;
    }
    for (index, file) in files.iter().enumerate() {
        let empty = |key: &str| file.text_at(&[key]).unwrap_or_default().is_empty();
        let what = if empty("content") {
            "content"
        } else if empty("mountPath") {
            "mount path"
        } else {
            continue;
        };
        let reason = format!(
            "extension {what} is required for extension {name}",
            name = quoted(name)
        );
        scope.error_at(file, format!("configFiles.{index}"), reason);
        return;
    }
}

const MANAGED: [&str; 7] = [
    "resolv.conf",
    "hosts",
    "machine-id",
    "extensions.yaml",
    "localtime",
    "os-release",
    "xattr.conf",
];
const MANAGED_FOLDERS: [&str; 12] = [
    "apparmor.d",
    "apparmor",
    "ca-certificates",
    "cni",
    "cri",
    "iscsi",
    "kubernetes",
    "lvm",
    "nvme",
    "pki",
    "selinux",
    "ssl",
];

fn etc_file(scope: &mut Scope<'_>) {
    let path = scope.text(&["name"]);
    if path.is_empty() {
        scope.error(&["name"], "user etc file name cannot be empty");
        return;
    }
    let mut depth = 0_i32;
    let mut escapes = path.starts_with('/') || path.starts_with('.');
    for part in path.split('/') {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        escapes |= depth < 0;
    }
    if escapes {
        scope.error(
            &["name"],
            format!(
                "user etc file {path} must be a local path",
                path = quoted(path)
            ),
        );
        return;
    }
    let first = path.split('/').next().unwrap_or_default();
    if MANAGED.contains(&path) || MANAGED_FOLDERS.contains(&first) {
        scope.error(
            &["name"],
            format!(
                "user etc file {path} is managed by Talos",
                path = quoted(path)
            ),
        );
    }
}

fn selector(scope: &mut Scope<'_>, key: &str, names: cel::Names) {
    let path = ["provisioning", key, "match"];
    let text = scope.text(&path);
    if text.is_empty() {
        scope.error(&path, "provisioning.volumeSelector.match is required");
    } else if let Some(error) = cel::error(text, names) {
        scope.error(&path, format!("provisioning.volumeSelector.match: {error}"));
    }
}

fn unattended_install(scope: &mut Scope<'_>) {
    if scope.text(&["installer", "image"]).is_empty() {
        scope.warn(&["installer", "image"], "installer.image is not set, if Talos is not booted from asset built by Image Factory, installation will fail");
    }
    selector(scope, "diskSelector", cel::Names::Disk);
}

fn name(scope: &mut Scope<'_>, longest: usize) {
    let text = scope.text(&["name"]);
    if text.is_empty() {
        scope.error(&["name"], "name is required");
    }
    if text.is_empty() || text.len() > longest {
        let reason = format!("name must be between 1 and {longest} characters long");
        scope.error(&["name"], reason);
    }
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !text.bytes().all(inner) {
        let reason = "name can only contain ASCII letters, digits, hyphens and underscores";
        scope.error(&["name"], reason);
    }
}

fn logical_volume(scope: &mut Scope<'_>) {
    name(scope, 63);
    let kind = match scope.text(&["type"]) {
        "" => "linear",
        kind => kind,
    };
    let counts: [(&str, [&str; 2], &str, i128); 2] = [
        ("mirrors", ["raid1", "raid10"], "raid1/raid10", 1),
        ("stripes", ["raid0", "raid10"], "raid0/raid10", 2),
    ];
    for (key, kinds, shown, least) in counts {
        let Some(count) = scope.number(&[key]) else {
            continue;
        };
        if !kinds.contains(&kind) {
            scope.error(
                &[key],
                format!("{key} is only valid for {shown}, not {kind}"),
            );
        } else if count < least {
            scope.error(&[key], format!("{key} must be at least {least}"));
        }
    }
    if scope.text(&["provisioning", "volumeGroup"]).is_empty() {
        let path = ["provisioning", "volumeGroup"];
        scope.error(&path, "provisioning.volumeGroup is required");
    }
    let size = |key: &str| {
        let text = scope.text(&["provisioning", key]);
        Size::parse(text).filter(|_| !text.is_empty())
    };
    let (low, high) = (size("minSize"), size("maxSize"));
    let path = ["provisioning", "maxSize"];
    match (low, high) {
        (_, None) => {
            scope.error(&path, "provisioning.maxSize is required");
            if low.is_some_and(|s| matches!(s, Size::Bytes { count: 1.., .. })) {
                scope.error(
                    &path,
                    "provisioning.minSize must not exceed provisioning.maxSize",
                );
            }
        }
        (Some(Size::Bytes { count: low, .. }), Some(Size::Bytes { count: high, .. }))
            if low > high =>
        {
            scope.error(
                &path,
                "provisioning.minSize must not exceed provisioning.maxSize",
            );
        }
        _ => {}
    }
    if high.is_some_and(Size::is_negative) {
        scope.error(&path, "provisioning.maxSize must not be negative");
    }
}
