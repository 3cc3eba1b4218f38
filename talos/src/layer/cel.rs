//! Disk and link selectors as expressions of CEL, in which Talos's documents name disks and links.

use super::network::LinkSelector;
use crate::config::{DiskSelector, Toggle};
use crate::disks::SizeCondition;

/// The disk at a device path.
pub(super) fn device(path: &str) -> String {
    if path.starts_with("/dev/disk/") {
        format!("{} in disk.symlinks", quoted(path))
    } else {
        format!("disk.dev_path == {}", quoted(path))
    }
}

/// The disks that Talos's own install selector would take: never one that is read-only, an optical drive or no real device.
pub(crate) fn disk(selector: &DiskSelector) -> Result<String, &'static str> {
    let mut terms = Vec::new();
    if let Some(size) = &selector.size {
        let condition = SizeCondition::parse(size)
            .ok_or("the size is no condition; write it like >= 100GB or 480GB")?;
        let operator = condition.operator.as_str();
        terms.push(format!("disk.size {operator} {}u", condition.bytes));
    }
    if selector.name.is_some() {
        return Err("a disk's kernel name is in no expression; use the serial or the wwid");
    }
    for (field, pattern) in [
        ("uuid", &selector.uuid),
        ("wwid", &selector.wwid),
        ("model", &selector.model),
        ("serial", &selector.serial),
        ("modalias", &selector.modalias),
    ] {
        if let Some(pattern) = pattern {
            terms.push(format!("glob({}, disk.{field})", quoted(pattern)));
        }
    }
    if let Some(kind) = &selector.kind {
        terms.push(match kind.as_str() {
            "nvme" => "disk.transport == \"nvme\"".to_owned(),
            "sd" => "disk.transport == \"mmc\"".to_owned(),
            "hdd" => "disk.rotational".to_owned(),
            "ssd" => "!disk.rotational".to_owned(),
            _ => return Err("the type must be nvme, ssd, hdd or sd"),
        });
    }
    if let Some(path) = &selector.bus_path {
        terms.push(format!("glob({}, disk.bus_path)", quoted(path)));
    }
    if terms.is_empty() {
        return Err("the selector is empty: it would take any disk");
    }
    for guard in ["disk.transport != \"\"", "!disk.readonly", "!disk.cdrom"] {
        terms.push(guard.to_owned());
    }
    Ok(terms.join(" && "))
}

/// The links that a selector means.
pub(super) fn link(selector: &LinkSelector) -> Result<String, &'static str> {
    let mut terms = Vec::new();
    for (field, pattern) in [
        ("mac(link.hardware_addr)", &selector.hardware_address),
        ("mac(link.permanent_addr)", &selector.permanent_address),
        ("link.bus_path", &selector.bus_path),
        ("link.pciid", &selector.pci_id),
        ("link.driver", &selector.driver),
    ] {
        let Some(pattern) = pattern else { continue };
        let pattern = if field.starts_with("mac(") {
            pattern.to_ascii_lowercase()
        } else {
            pattern.clone()
        };
        terms.push(if pattern.contains('*') {
            format!("glob({}, {field})", quoted(&pattern))
        } else {
            format!("{field} == {}", quoted(&pattern))
        });
    }
    match selector.physical {
        // What is made in software has a kind.
        Some(Toggle::Enabled) => terms.push("link.kind == \"\"".to_owned()),
        Some(Toggle::Disabled) => terms.push("link.kind != \"\"".to_owned()),
        None => {}
    }
    if terms.is_empty() {
        return Err("the selector is empty: it would take any link");
    }
    Ok(terms.join(" && "))
}

/// A text literal.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn disks() {
        let check = |selector: DiskSelector, expected: &str| {
            assert_eq!(disk(&selector).unwrap_or_else(str::to_owned), expected);
        };
        check(
            DiskSelector {
                size: some(">= 100GB"),
                serial: some("S\"1*"),
                kind: some("nvme"),
                ..DiskSelector::default()
            },
            "disk.size >= 100000000000u && glob(\"S\\\"1*\", disk.serial) && disk.transport == \"nvme\" && disk.transport != \"\" && !disk.readonly && !disk.cdrom",
        );
        check(
            DiskSelector::default(),
            "the selector is empty: it would take any disk",
        );
        check(
            DiskSelector {
                size: some("large"),
                ..DiskSelector::default()
            },
            "the size is no condition; write it like >= 100GB or 480GB",
        );
    }

    #[test]
    fn links() {
        let selector = LinkSelector {
            hardware_address: some("00:50:56:*"),
            permanent_address: some("AA:BB:CC:DD:EE:FF"),
            physical: Some(Toggle::Enabled),
            ..LinkSelector::default()
        };
        insta::assert_snapshot!(link(&selector).unwrap(), @r#"glob("00:50:56:*", mac(link.hardware_addr)) && mac(link.permanent_addr) == "aa:bb:cc:dd:ee:ff" && link.kind == """#);
        assert!(link(&LinkSelector::default()).is_err());
    }
}
