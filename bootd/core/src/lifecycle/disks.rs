//! Which disks may be erased, and which must be. The agent is the only eraser and obeys nothing else.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::hardware::{Content, Disk};
use super::machine::{Claim, Machine, Report, WipeDisks, WipeMethod};

/// A disk's stable name: its serial, or its WWID where it has no serial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DiskId(pub String);

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Disk {
    /// Its stable name; `None` where it has neither serial nor WWID, and can therefore not be written.
    pub fn id(&self) -> Option<DiskId> {
        [&self.serial, &self.wwid]
            .into_iter()
            .find(|s| !s.is_empty())
            .map(|s| DiskId(s.clone()))
    }

    /// True if `name` is its serial or its WWID.
    pub fn is(&self, name: &DiskId) -> bool {
        !name.0.is_empty() && (self.serial == name.0 || self.wwid == name.0)
    }
}

/// How much of a disk is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Partition tables, heads and tails of everything, Talos's partitions.
    Quick,
    /// Every byte.
    Full,
}

/// A disk to erase, exactly as the agent reported it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraseDisk {
    /// Serial.
    pub serial: String,
    /// WWID.
    pub wwid: String,
    /// Size.
    pub bytes: u64,
    /// Digest that the agent must find again.
    pub fingerprint: String,
    /// How much.
    pub scope: Scope,
    /// Where the proof reads; chosen by the shell.
    pub probes: Vec<u64>,
}

/// What the disk check of an install found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskVerdict {
    /// Nothing stands in the way.
    Clean,
    /// These must go first, and may.
    Erase(Vec<EraseDisk>),
    /// Something must not be touched.
    Refuse(DiskRefusal),
}

/// Why an install or a wipe may not touch a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskRefusal {
    /// The plan named a disk that is not there.
    Gone(DiskId),
    /// Its content is not what the plan showed.
    Changed(DiskId, String),
    /// Holds data that no `allow_wipe` names.
    Foreign(DiskId, String),
    /// Another disk carries a Talos that would win over the new config, and the claim does not cover it.
    OldTalos(DiskId),
    /// Cannot be read or written.
    Unusable(DiskId, String),
    /// The install has no target at all.
    NoTarget,
}

impl fmt::Display for DiskRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(id) => write!(f, "disk {id} is not in the machine any more"),
            Self::Changed(id, now) => {
                write!(
                    f,
                    "disk {id} holds {now}, which is not what the plan showed"
                )
            }
            Self::Foreign(id, found) => {
                write!(
                    f,
                    "disk {id} holds {found} and the claim's allow_wipe does not name it"
                )
            }
            Self::OldTalos(id) => write!(
                f,
                "disk {id} carries an earlier Talos installation that would win over the new one, and the claim does not cover it"
            ),
            Self::Unusable(id, why) => write!(f, "disk {id} cannot be used: {why}"),
            Self::NoTarget => f.write_str("no disk was chosen to install to"),
        }
    }
}

/// True if the claim's wipe names this disk.
pub fn covered(disk: &Disk, claim: &Claim, written: &BTreeSet<DiskId>) -> bool {
    let target = claim.targets.iter().any(|t| disk.is(&t.disk));
    match &claim.wipe.disks {
        WipeDisks::All => disk.fixed(),
        WipeDisks::Written => target || written.iter().any(|w| disk.is(w)),
        WipeDisks::Selected(names) => names.iter().any(|n| disk.is(n)),
    }
}

/// The disk check that every install begins with (DESIGN §2.1).
pub fn judge(m: &Machine, claim: &Claim, report: &Report) -> DiskVerdict {
    let disks = &report.hardware.disks;
    if claim.targets.is_empty() {
        return DiskVerdict::Refuse(DiskRefusal::NoTarget);
    }
    if let Some(gone) = claim
        .targets
        .iter()
        .find(|t| !disks.iter().any(|d| d.is(&t.disk)))
    {
        return DiskVerdict::Refuse(DiskRefusal::Gone(gone.disk.clone()));
    }
    let mut erase = Vec::new();
    for disk in disks {
        match judge_one(m, claim, disk) {
            Ok(true) => erase.push(erasure(disk, claim.wipe.method)),
            Ok(false) => {}
            Err(refusal) => return DiskVerdict::Refuse(refusal),
        }
    }
    if erase.is_empty() {
        DiskVerdict::Clean
    } else {
        DiskVerdict::Erase(erase)
    }
}

/// Must this disk be erased before the install, and may it?
fn judge_one(m: &Machine, claim: &Claim, disk: &Disk) -> Result<bool, DiskRefusal> {
    let Some(id) = disk.id() else {
        return Ok(false);
    };
    let target = claim.targets.iter().find(|t| disk.is(&t.disk));
    let ours = m.written.iter().any(|w| disk.is(w));
    let allowed = claim.allow_wipe.iter().any(|a| disk.is(a));
    let content = disk.content();
    if target.is_some() || (allowed && content != Content::Blank) {
        usable(disk, &id)?;
    }
    match content {
        Content::Blank => Ok(false),
        Content::StaleTalos | Content::Foreign if allowed || (ours && target.is_some()) => Ok(true),
        Content::Foreign => match target {
            Some(_) => Err(DiskRefusal::Foreign(id, disk.contents())),
            None if disk.holds_talos() => Err(DiskRefusal::OldTalos(id)),
            None => Ok(false),
        },
        Content::StaleTalos => match target {
            // What the plan did not show may be a system that somebody installed since.
            Some(t) if !t.fingerprint.is_empty() && t.fingerprint != disk.fingerprint => {
                Err(DiskRefusal::Changed(id, disk.contents()))
            }
            Some(_) => Ok(true),
            None if covered(disk, claim, &m.written) => usable(disk, &id).map(|()| true),
            None => Err(DiskRefusal::OldTalos(id)),
        },
    }
}

fn usable(disk: &Disk, id: &DiskId) -> Result<(), DiskRefusal> {
    if !disk.unreadable.is_empty() {
        Err(DiskRefusal::Unusable(id.clone(), disk.unreadable.clone()))
    } else if disk.readonly {
        Err(DiskRefusal::Unusable(id.clone(), "it is read-only".into()))
    } else {
        Ok(())
    }
}

fn erasure(disk: &Disk, method: WipeMethod) -> EraseDisk {
    EraseDisk {
        serial: disk.serial.clone(),
        wwid: disk.wwid.clone(),
        bytes: disk.bytes,
        fingerprint: disk.fingerprint.clone(),
        scope: match method {
            WipeMethod::None | WipeMethod::Quick => Scope::Quick,
            WipeMethod::Full => Scope::Full,
        },
        probes: Vec::new(),
    }
}

/// What a release still has to erase: covered disks that are not blank, or that this claim wrote and no proof covers yet.
pub(super) fn left_to_wipe(m: &Machine, claim: &Claim, report: &Report) -> DiskVerdict {
    let disks = &report.hardware.disks;
    let mut erase = Vec::new();
    for disk in disks.iter().filter(|d| covered(d, claim, &m.written)) {
        let Some(id) = disk.id() else { continue };
        let wrote = m.written.iter().any(|w| disk.is(w));
        let proven = m.proven.iter().any(|p| disk.is(p));
        if disk.blank && (proven || !wrote) && disk.unreadable.is_empty() {
            continue;
        }
        if let Err(refusal) = usable(disk, &id) {
            return DiskVerdict::Refuse(refusal);
        }
        erase.push(erasure(disk, claim.wipe.method));
    }
    let names = |id: &DiskId| match &claim.wipe.disks {
        WipeDisks::All | WipeDisks::Written => true,
        WipeDisks::Selected(chosen) => chosen.contains(id),
    };
    if let Some(gone) = m
        .written
        .iter()
        .find(|w| names(w) && !disks.iter().any(|d| d.is(w)))
    {
        return DiskVerdict::Refuse(DiskRefusal::Gone(gone.clone()));
    }
    if erase.is_empty() {
        DiskVerdict::Clean
    } else {
        DiskVerdict::Erase(erase)
    }
}

/// Would the machine enter the pool with data that no claim may erase?
pub fn leaves_dirty(m: &Machine) -> bool {
    let Some(claim) = &m.claim else {
        return m.dirty;
    };
    if m.written.is_empty() {
        return m.dirty;
    }
    match claim.wipe.method {
        WipeMethod::None => true,
        WipeMethod::Quick | WipeMethod::Full => m.fresh_report().is_none_or(|r| {
            r.hardware
                .disks
                .iter()
                .any(|d| d.fixed() && (!d.blank || !d.unreadable.is_empty()))
        }),
    }
}
