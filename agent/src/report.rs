//! The report to bootd: hardware, and every disk with what is on it; at most 1 MiB.

use metal_proto::metal::v1::{AgentReport, AgentResult, Disk, Hardware};
use prost::Message;

use crate::platform::{Access, DiskFacts, Platform};
use crate::survey::Survey;

/// bootd refuses anything larger.
pub const MAX_REPORT: usize = 1 << 20;

/// The machine as it is now. A disk that cannot be read is listed with the reason, never left out.
pub fn inspect<P: Platform>(platform: &P) -> Hardware {
    let mut hardware = platform.hardware();
    hardware.disks.clear();
    match platform.disks() {
        Ok(mut disks) => {
            disks.sort_by(|a, b| (&a.bus_path, &a.device).cmp(&(&b.bus_path, &b.device)));
            for facts in &disks {
                hardware.disks.push(look(platform, facts));
            }
        }
        Err(e) => platform.log(&format!("the disks cannot be listed: {e}")),
    }
    hardware
}

fn look<P: Platform>(platform: &P, facts: &DiskFacts) -> Disk {
    let survey = platform
        .open(facts, Access::Read)
        .and_then(|mut disk| Survey::take(&mut disk, facts.block_bytes));
    match survey {
        Ok(survey) => describe(facts, &survey),
        Err(e) => {
            platform.log(&format!("{} cannot be read: {e}", facts.device));
            Disk {
                unreadable: e.to_string(),
                ..bare(facts)
            }
        }
    }
}

/// A disk and its content in the words of the API.
#[must_use]
pub fn describe(facts: &DiskFacts, survey: &Survey) -> Disk {
    Disk {
        signatures: survey.signatures.clone(),
        blank: survey.blank,
        fingerprint: survey.fingerprint.clone(),
        ..bare(facts)
    }
}

fn bare(facts: &DiskFacts) -> Disk {
    Disk {
        device: facts.device.clone(),
        serial: facts.serial.clone(),
        wwid: facts.wwid.clone(),
        bus_path: facts.bus_path.clone(),
        model: facts.model.clone(),
        r#type: facts.kind.as_str().to_owned(),
        bytes: facts.bytes,
        removable: facts.removable,
        readonly: facts.readonly,
        ..Disk::default()
    }
}

/// Shortens a report until it fits. What identifies a disk or decides about it (serial, WWID, size, blank, fingerprint) is never cut.
#[must_use]
pub fn fit(mut report: AgentReport) -> AgentReport {
    for limit in [64, 16, 4, 1] {
        if report.encoded_len() <= MAX_REPORT {
            break;
        }
        let Some(hardware) = report.hardware.as_mut() else {
            break;
        };
        for disk in &mut hardware.disks {
            disk.signatures.truncate(limit);
            cut(&mut disk.unreadable, limit * 8);
            cut(&mut disk.model, limit * 8);
        }
        hardware.nics.truncate(limit * 8);
    }
    report
}

fn cut(text: &mut String, bytes: usize) {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// A result in one line for the console.
pub(crate) fn verdict(result: &AgentResult) -> String {
    if !result.refused.is_empty() {
        return format!("refused, nothing written: {}", result.refused);
    }
    let failed: Vec<String> = result
        .disks
        .iter()
        .filter(|disk| !disk.failed.is_empty())
        .map(|disk| format!("{} {}: {}", disk.serial, disk.wwid, disk.failed))
        .collect();
    if failed.is_empty() {
        format!("{} disk(s) erased and read back", result.disks.len())
    } else {
        format!("failed: {}", failed.join("; "))
    }
}
