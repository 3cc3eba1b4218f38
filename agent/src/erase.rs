//! Carrying out an erase order: check everything, then write, then prove it from the medium.
//!
//! Promise: if any disk of the order is not exactly what the order expects, nothing at all is written and the result says why.
//! A disk counts as erased only after `fsync` succeeded, the caches were dropped, every zeroed range read back as zero and a new
//! survey found what it should. What a device answers to a discard is never believed.

use std::fmt::Write as _;
use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use metal_proto::metal::v1::{AgentErase, AgentResult, Disk, DiskResult, EraseDisk};

use crate::gpt::Rewritten;
use crate::plan::{After, Extent, Plan, PlanError};
use crate::platform::{Access, DiskFacts, DiskHandle, Platform};
use crate::report::describe;
use crate::session::chain;
use crate::survey::Survey;

/// Bytes that a probe reads.
pub const PROBE_BYTES: u64 = 4096;
/// Written or read between two looks at the power.
const CHUNK: u64 = 16 << 20;
const READ: usize = 1 << 20;

/// Why the whole order is refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the order names no disk")]
    Empty,
    #[error("a disk of the order has neither serial nor WWID")]
    Nameless,
    #[error("{0}: no disk here has this serial and WWID; inspect the machine again")]
    Missing(String),
    #[error(
        "{name}: {count} disks here have this serial and WWID, none is written; name the disk by its WWID"
    )]
    Ambiguous { name: String, count: usize },
    #[error("{0}: the order names this disk twice")]
    Twice(String),
    #[error("{0}: it refuses writes (read-only)")]
    ReadOnly(String),
    #[error("{name}: in use: {by}")]
    Held { name: String, by: String },
    #[error("{name}: it has {got} bytes, the order expects {expected}; inspect the machine again")]
    Size {
        name: String,
        expected: u64,
        got: u64,
    },
    #[error("{0}: the order has no fingerprint of its content")]
    NoFingerprint(String),
    #[error("{0}: its content changed since it was reported; inspect the machine again")]
    Changed(String),
    #[error("{name}: the order probes it at byte {offset}, which is outside")]
    Probe { name: String, offset: u64 },
    #[error("{name}: it cannot be opened for writing")]
    Open { name: String, source: io::Error },
    #[error("{name}: its content cannot be read")]
    Unreadable { name: String, source: io::Error },
    #[error("{name}: {why}")]
    Plan { name: String, why: PlanError },
    #[error("the disks cannot be listed")]
    List(#[source] io::Error),
}

/// Why one disk is not erased, after writing began.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("power lost")]
    Cut,
    #[error("writing zeros at byte {at} failed")]
    Zero { at: u64, source: io::Error },
    #[error("writing the partition table failed")]
    Table(#[source] io::Error),
    #[error("the disk did not confirm that everything reached the medium")]
    Sync(#[source] io::Error),
    #[error("the caches could not be dropped, so that nothing can be proven")]
    Cache(#[source] io::Error),
    #[error("reading back at byte {at} failed")]
    ReadBack { at: u64, source: io::Error },
    #[error("byte {at} still holds data after it was zeroed")]
    NotZero { at: u64 },
    #[error("the disk still shows {0} after the erase")]
    StillThere(String),
}

/// A disk of the order that passed every check, held open for itself alone.
struct Ready<D> {
    facts: DiskFacts,
    disk: D,
    plan: Plan,
    probes: Vec<u64>,
}

/// Carries out an order, or refuses it as a whole.
pub fn carry_out<P: Platform>(platform: &P, number: u64, order: &AgentErase) -> AgentResult {
    let mut result = AgentResult {
        order: number,
        ..AgentResult::default()
    };
    match check(platform, order) {
        Err(refusal) => result.refused = chain(&refusal),
        Ok(ready) => {
            for mut disk in ready {
                result.disks.push(erase(platform, &mut disk, &order.nonce));
            }
        }
    }
    result
}

fn check<P: Platform>(platform: &P, order: &AgentErase) -> Result<Vec<Ready<P::Disk>>, Refusal> {
    if order.disks.is_empty() {
        return Err(Refusal::Empty);
    }
    let here = platform.disks().map_err(Refusal::List)?;
    let mut ready: Vec<Ready<P::Disk>> = Vec::new();
    for wanted in &order.disks {
        let facts = find(&here, wanted)?;
        if ready.iter().any(|other| other.facts == *facts) {
            return Err(Refusal::Twice(name(wanted)));
        }
        ready.push(check_one(platform, facts, wanted)?);
    }
    Ok(ready)
}

/// By serial and WWID, as far as the order names them; never by anything else.
fn find<'a>(here: &'a [DiskFacts], wanted: &EraseDisk) -> Result<&'a DiskFacts, Refusal> {
    let (serial, wwid) = (wanted.serial.trim(), wanted.wwid.trim());
    if serial.is_empty() && wwid.is_empty() {
        return Err(Refusal::Nameless);
    }
    let same = |asked: &str, has: &str| asked.is_empty() || asked == has.trim();
    let found: Vec<&DiskFacts> = here
        .iter()
        .filter(|disk| same(serial, &disk.serial) && same(wwid, &disk.wwid))
        .collect();
    match found.as_slice() {
        [] => Err(Refusal::Missing(name(wanted))),
        [one] => Ok(one),
        several => Err(Refusal::Ambiguous {
            name: name(wanted),
            count: several.len(),
        }),
    }
}

fn check_one<P: Platform>(
    platform: &P,
    facts: &DiskFacts,
    wanted: &EraseDisk,
) -> Result<Ready<P::Disk>, Refusal> {
    let name = name(wanted);
    if wanted.fingerprint.is_empty() {
        return Err(Refusal::NoFingerprint(name));
    }
    if facts.readonly {
        return Err(Refusal::ReadOnly(name));
    }
    if let Some(by) = facts.held.clone() {
        return Err(Refusal::Held { name, by });
    }
    let mut disk = match platform.open(facts, Access::Exclusive) {
        Ok(disk) => disk,
        Err(source) => return Err(Refusal::Open { name, source }),
    };
    let survey = match Survey::take(&mut disk, facts.block_bytes) {
        Ok(survey) => survey,
        Err(source) => return Err(Refusal::Unreadable { name, source }),
    };
    if survey.bytes != wanted.bytes || facts.bytes != wanted.bytes {
        return Err(Refusal::Size {
            name,
            expected: wanted.bytes,
            got: survey.bytes,
        });
    }
    if survey.fingerprint != wanted.fingerprint {
        return Err(Refusal::Changed(name));
    }
    let outside = |offset: &&u64| {
        offset
            .checked_add(PROBE_BYTES)
            .is_none_or(|end| end > survey.bytes)
    };
    if let Some(offset) = wanted.probe_offsets.iter().find(outside) {
        return Err(Refusal::Probe {
            name,
            offset: *offset,
        });
    }
    let plan = match Plan::make(
        &survey,
        wanted.scope(),
        u64::from(facts.block_bytes.max(512)),
    ) {
        Ok(plan) => plan,
        Err(why) => return Err(Refusal::Plan { name, why }),
    };
    Ok(Ready {
        facts: facts.clone(),
        disk,
        plan,
        probes: wanted.probe_offsets.clone(),
    })
}

fn name(wanted: &EraseDisk) -> String {
    let mut name = format!("disk {}", wanted.serial.trim());
    if !wanted.wwid.trim().is_empty() {
        let _ = write!(name, " ({})", wanted.wwid.trim());
    }
    name
}

fn erase<P: Platform>(platform: &P, ready: &mut Ready<P::Disk>, nonce: &[u8]) -> DiskResult {
    let mut result = DiskResult {
        serial: ready.facts.serial.clone(),
        wwid: ready.facts.wwid.clone(),
        ..DiskResult::default()
    };
    platform.log(&format!(
        "erasing {} ({})",
        ready.facts.device, ready.facts.serial
    ));
    match write_and_prove(platform, ready, nonce) {
        Ok((proof, after)) => {
            result.proof = proof;
            result.after = Some(after);
        }
        Err(failure) => result.failed = chain(&failure),
    }
    result
}

fn write_and_prove<P: Platform>(
    platform: &P,
    ready: &mut Ready<P::Disk>,
    nonce: &[u8],
) -> Result<(Vec<u8>, Disk), Failure> {
    let Ready {
        facts,
        disk,
        plan,
        probes,
    } = ready;
    for step in [&plan.content, &plan.tables] {
        for extent in step {
            zero(platform, disk, *extent)?;
        }
        disk.sync().map_err(Failure::Sync)?;
    }
    if let Some(table) = &plan.rewrite {
        rewrite(disk, table)?;
    }
    for extent in &plan.discard {
        discard(platform, disk, *extent)?;
    }
    disk.sync().map_err(Failure::Sync)?;
    disk.drop_cache().map_err(Failure::Cache)?;
    for extent in plan.zeroed() {
        read_back(platform, disk, extent)?;
    }
    let survey = Survey::take(disk, facts.block_bytes)
        .map_err(|source| Failure::ReadBack { at: 0, source })?;
    let wrong = match plan.after {
        After::Blank => !survey.blank,
        After::NoTalos => survey.holds_talos() || (plan.rewrite.is_some() && !sound(&survey)),
    };
    if wrong {
        return Err(Failure::StillThere(survey.signatures.join(", ")));
    }
    let mut digest = Context::new(&SHA256);
    digest.update(nonce);
    let mut probe = vec![0; PROBE_BYTES as usize];
    for at in probes.iter().copied() {
        disk.read_at(at, &mut probe)
            .map_err(|source| Failure::ReadBack { at, source })?;
        digest.update(&probe);
    }
    Ok((digest.finish().as_ref().to_vec(), describe(facts, &survey)))
}

fn sound(survey: &Survey) -> bool {
    survey.tables.len() == 2 && survey.tables.iter().all(|table| table.sound)
}

fn chunks(extent: Extent) -> impl Iterator<Item = Extent> {
    (extent.first..extent.end)
        .step_by(CHUNK as usize)
        .map(move |first| Extent {
            first,
            end: extent.end.min(first + CHUNK),
        })
}

fn zero<P: Platform>(platform: &P, disk: &mut P::Disk, extent: Extent) -> Result<(), Failure> {
    for Extent { first, end } in chunks(extent) {
        power(platform)?;
        let done = match disk.zero(first, end - first) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => write_zeros(disk, first, end),
            done => done,
        };
        done.map_err(|source| Failure::Zero { at: first, source })?;
    }
    Ok(())
}

fn write_zeros<D: DiskHandle>(disk: &mut D, mut first: u64, end: u64) -> io::Result<()> {
    let zeros = vec![0; READ];
    while first < end {
        let length = (end - first).min(READ as u64);
        disk.write_at(first, &zeros[..length as usize])?;
        first += length;
    }
    Ok(())
}

/// The backup first, and on the medium, before the primary: one good copy at every moment.
fn rewrite<D: DiskHandle>(disk: &mut D, table: &Rewritten) -> Result<(), Failure> {
    for side in [&table.backup, &table.primary] {
        for (offset, bytes) in [&side.entries, &side.header] {
            disk.write_at(*offset, bytes).map_err(Failure::Table)?;
        }
        disk.sync().map_err(Failure::Sync)?;
    }
    Ok(())
}

fn discard<P: Platform>(platform: &P, disk: &mut P::Disk, extent: Extent) -> Result<(), Failure> {
    // Large pieces: devices take a whole gigabyte in one command.
    let mut first = extent.first;
    while first < extent.end {
        power(platform)?;
        let bytes = (extent.end - first).min(1 << 30);
        if disk.discard(first, bytes).is_err() {
            return Ok(());
        }
        first += bytes;
    }
    Ok(())
}

fn read_back<P: Platform>(platform: &P, disk: &mut P::Disk, extent: Extent) -> Result<(), Failure> {
    let zeros = vec![0; READ];
    let mut found = vec![0; READ];
    for chunk in chunks(extent) {
        power(platform)?;
        let mut at = chunk.first;
        while at < chunk.end {
            let length = (chunk.end - at).min(READ as u64) as usize;
            disk.read_at(at, &mut found[..length])
                .map_err(|source| Failure::ReadBack { at, source })?;
            if found[..length] != zeros[..length] {
                let inside = found[..length]
                    .iter()
                    .position(|b| *b != 0)
                    .unwrap_or_default();
                return Err(Failure::NotZero {
                    at: at + inside as u64,
                });
            }
            at += length as u64;
        }
    }
    Ok(())
}

fn power<P: Platform>(platform: &P) -> Result<(), Failure> {
    if platform.alive() {
        Ok(())
    } else {
        Err(Failure::Cut)
    }
}
