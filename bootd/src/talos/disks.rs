//! The disks of a node: the one that it is installed to, and those that its config lets Talos overwrite.
//!
//! Promises: [`talos::disks`] decides both; this is only the agent's inventory in its words, and its answers in ours. What it
//! cannot decide counts as overwritten. Deliberately not here: whether a disk may be erased (the life cycle's check).

use bootd_core::lifecycle::hardware::{Content, Disk, Hardware};
use metal_proto::metal::v1::{
    ErrorDetail, InstallDisk, Range, Remark, WipeTarget, remark::Severity,
};
use talos::config::{DiskSelector, MachineConfig};
use talos::disks::{
    self, Access, Bus, Disk as Seen, DiskKind, Medium, Operator, Rejected, SelectError,
    SizeCondition, SizeRange, Usb, Wanted, describe_size,
};
use talos::yaml::ParseError;

/// What names the one disk of a machine that the arguments mean.
pub(super) fn install_disk(
    wanted: Option<&InstallDisk>,
    hardware: &Hardware,
) -> Result<DiskSelector, ErrorDetail> {
    let wanted = wish(&wanted.cloned().unwrap_or_default())?;
    // There is no argument `usb` yet, so a disk that is built in stays eligible wherever it is attached.
    let anywhere = |disk: &Disk| Seen {
        bus: Bus::Unknown,
        ..seen(disk)
    };
    let inventory: Vec<Seen> = hardware.disks.iter().map(anywhere).collect();
    disks::select(&inventory, &wanted)
        .map(|choice| choice.selector)
        .map_err(|error| refusal(&error))
}

/// The disks of this machine that a merged config lets Talos overwrite.
pub(super) fn overwritten(
    config: &MachineConfig,
    hardware: &Hardware,
) -> Result<Vec<WipeTarget>, ParseError> {
    let named = disks::wipe_targets(config)?;
    // The agent and Talos write bus paths differently: a comparison would say nothing.
    let without_path = |disk: &Disk| Seen {
        bus_path: String::new(),
        ..seen(disk)
    };
    let inventory: Vec<Seen> = hardware.disks.iter().map(without_path).collect();
    let wiped = disks::wiped(&named, &inventory);
    let pairs = hardware.disks.iter().zip(&inventory);
    let met = pairs
        .filter(|(disk, seen)| disk.fixed() && wiped.iter().any(|w| std::ptr::eq(w.disk, *seen)));
    Ok(met.map(|(disk, _)| target(disk)).collect())
}

/// What a plan says about the disks that an install will destroy.
pub fn remarks(targets: &[WipeTarget], hardware: &Hardware, allow_wipe: &[String]) -> Vec<Remark> {
    let is = |disk: &Disk, target: &WipeTarget| {
        (&disk.device, &disk.serial, &disk.wwid) == (&target.disk, &target.serial, &target.wwid)
    };
    let named = targets
        .iter()
        .filter_map(|t| hardware.disks.iter().find(|d| is(d, t)));
    let foreign = named.filter(|d| d.content() == Content::Foreign);
    let refused = foreign.filter(|d| {
        let names = [&d.serial, &d.wwid];
        !allow_wipe
            .iter()
            .any(|a| !a.is_empty() && names.contains(&a))
    });
    refused
        .map(|disk| Remark {
            severity: Severity::Error.into(),
            what: Some(foreign_data(disk)),
        })
        .collect()
}

fn foreign_data(disk: &Disk) -> ErrorDetail {
    let name = [&disk.serial, &disk.wwid, &disk.device]
        .into_iter()
        .find(|n| !n.is_empty())
        .map_or("", String::as_str);
    let hint = if disk.id().is_some() {
        format!(
            "to erase it, set allow_wipe = [\"{name}\"] on the metal_server_claim; else choose another install_disk"
        )
    } else {
        "it has no stable name that allow_wipe could say; take it out, or let the patches name their disks by serial"
            .to_owned()
    };
    ErrorDetail {
        reason: "foreign-data".into(),
        summary: "The install disk holds data".into(),
        detail: format!(
            "Disk {name} ({}, {}) holds {}. The install would destroy it, and the claim's allow_wipe does not name it.",
            disk.device,
            describe_size(disk.bytes),
            disk.contents()
        ),
        hint,
        attribute: "install_disk".into(),
    }
}

/// The arguments as a wish. Serial and WWID mean one disk: a star in them is no pattern.
fn wish(wanted: &InstallDisk) -> Result<Wanted, ErrorDetail> {
    for (attribute, text) in [("serial", &wanted.serial), ("wwid", &wanted.wwid)] {
        if text.contains('*') {
            return Err(ErrorDetail {
                reason: "bad-install-disk".into(),
                summary: "The install disk is not well named".into(),
                detail: format!(
                    "{attribute} {text:?} is a pattern; it must be the whole name of one disk."
                ),
                hint: "write all of it, or use model, type and size".into(),
                attribute: format!("install_disk.{attribute}"),
            });
        }
    }
    let kind = match wanted.r#type.as_str() {
        "" => None,
        text => Some(DiskKind::parse(text).ok_or_else(|| ErrorDetail {
            reason: "bad-install-disk".into(),
            summary: "The install disk is not well named".into(),
            detail: format!("type {text:?} is no kind of disk."),
            hint: "write nvme, ssd or hdd".into(),
            attribute: "install_disk.type".into(),
        })?),
    };
    let stated = |text: &String| (!text.is_empty()).then(|| text.clone());
    Ok(Wanted {
        kind,
        size: wanted.bytes.as_ref().and_then(size),
        model: stated(&wanted.model),
        serial: stated(&wanted.serial),
        wwid: stated(&wanted.wwid),
        bus_path: None,
        usb: Usb::Refused,
    })
}

fn size(range: &Range) -> Option<SizeRange> {
    let one = |operator, bytes| SizeRange::Condition(SizeCondition { operator, bytes });
    match (range.min, range.max) {
        (None, None) => None,
        (Some(min), None) => Some(one(Operator::AtLeast, min)),
        (None, Some(max)) => Some(one(Operator::AtMost, max)),
        (Some(min), Some(max)) => Some(SizeRange::Between(min, max)),
    }
}

/// A disk as the agent saw it. Which array it belongs to is not reported.
fn seen(disk: &Disk) -> Seen {
    let usb = |part: &str| {
        part.strip_prefix("usb")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    Seen {
        device: disk.device.clone(),
        serial: disk.serial.clone(),
        wwid: disk.wwid.clone(),
        model: disk.model.clone(),
        bus_path: disk.bus_path.clone(),
        bytes: disk.bytes,
        kind: DiskKind::parse(&disk.kind).unwrap_or(DiskKind::Unknown),
        bus: match disk.bus_path.as_str() {
            "" => Bus::Unknown,
            path if path.split('/').any(usb) => Bus::Usb,
            _ => Bus::Internal,
        },
        access: if disk.readonly {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
        medium: if disk.removable {
            Medium::Removable
        } else {
            Medium::Fixed
        },
        array: None,
        unreadable: (!disk.unreadable.is_empty()).then(|| disk.unreadable.clone()),
    }
}

fn target(disk: &Disk) -> WipeTarget {
    WipeTarget {
        disk: disk.device.clone(),
        serial: disk.serial.clone(),
        wwid: disk.wwid.clone(),
        bytes: disk.bytes,
        model: disk.model.clone(),
        content: disk.contents(),
        fingerprint: disk.fingerprint.clone(),
    }
}

fn refusal(error: &SelectError<'_>) -> ErrorDetail {
    let reasons = |all: &[Rejected<'_>]| {
        let each = all.iter().map(|r| format!("{}: {}", r.disk, r.reason));
        each.collect::<Vec<_>>().join("; ")
    };
    let (reason, summary, detail, hint) = match error {
        SelectError::Empty => (
            "no-install-disk",
            "No disk fits install_disk",
            "The machine has no disk at all.".to_owned(),
            "choose another server",
        ),
        SelectError::NoneFits(rejected) => (
            "no-install-disk",
            "No disk fits install_disk",
            format!(
                "No disk of the machine is what install_disk asks for: {}.",
                reasons(rejected)
            ),
            "change the selector, or choose another server",
        ),
        SelectError::Ambiguous(disks) => {
            let names: Vec<String> = disks.iter().map(ToString::to_string).collect();
            (
                "install-disk-ambiguous",
                "The install disk is not stated",
                format!(
                    "The machine has {} disks that could be it: {}.",
                    names.len(),
                    names.join("; ")
                ),
                "set install_disk = { serial = \"…\" } or another selector",
            )
        }
        SelectError::Unstable(Rejected { disk, reason }) => (
            "unstable-disk",
            "The install disk has no stable name",
            format!(
                "Of the disks that fit install_disk, {disk} comes first, but {reason}: it could be another one after the next boot."
            ),
            "choose a disk that has a name of its own: install_disk = { serial = \"…\" }",
        ),
    };
    ErrorDetail {
        reason: reason.into(),
        summary: summary.into(),
        detail,
        hint: hint.into(),
        attribute: "install_disk".into(),
    }
}

#[cfg(test)]
mod tests;
