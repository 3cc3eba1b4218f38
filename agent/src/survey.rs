//! What is on a disk: partition tables, partitions, signatures, whether it is blank, and a fingerprint of it.
//!
//! Promise: reads only, a bounded amount (about 2 MiB per disk, 2 MiB per partition, 64 samples), and never panics on hostile
//! tables. The same content gives the same survey on every machine. Any read error is returned: half a survey is none.

use std::collections::BTreeSet;
use std::io;

use aws_lc_rs::digest::{Context, SHA256};

use crate::gpt::{Copy, Table};
use crate::platform::DiskHandle;
use crate::signature::{Mark, Window, probe};

/// More used partitions than this make a disk unreadable for us rather than half surveyed.
const MAX_PARTITIONS: usize = 256;
const SAMPLES: u64 = 64;
const SAMPLE: usize = 4096;
const PARTITION_SAMPLE: usize = 64 << 10;

/// The partitions that Talos makes, by their names. Talos goes by the name alone, on any disk (and so does whoever removes it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TalosLabel {
    /// Key-value store; makes a disk count as installed.
    Meta,
    /// The machine config.
    State,
    /// Containers, etcd, volumes.
    Ephemeral,
    /// Kernels of both slots.
    Boot,
    /// EFI system partition.
    Efi,
    /// GRUB's core on BIOS machines.
    Bios,
}

impl TalosLabel {
    /// Exactly Talos's spelling.
    #[must_use]
    pub fn read(label: &str) -> Option<Self> {
        Some(match label {
            "META" => Self::Meta,
            "STATE" => Self::State,
            "EPHEMERAL" => Self::Ephemeral,
            "BOOT" => Self::Boot,
            "EFI" => Self::Efi,
            "BIOS" => Self::Bios,
            _ => return None,
        })
    }

    /// Whether this name by itself says "Talos". The others are common words and count only beside one of these.
    #[must_use]
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Meta | Self::State | Self::Ephemeral)
    }
}

/// A partition of either kind of table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// As tools count: GPT entry, or 1–4 primary and from 5 logical.
    pub number: u32,
    /// First byte.
    pub first: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// GPT name; empty in a boot record's table.
    pub label: String,
    /// Which table lists it.
    pub table: TableKind,
    /// Signatures inside: absolute offset, length.
    pub marks: Vec<(u64, u64)>,
    /// Names of those signatures.
    pub content: BTreeSet<&'static str>,
}

/// Who lists a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// A GUID partition table.
    Gpt,
    /// A master boot record or its chain.
    BootRecord,
}

/// Everything found on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The disk's size.
    pub bytes: u64,
    /// GPT copies found, primary first; sound or not.
    pub tables: Vec<Table>,
    /// All partitions of all tables, by first byte.
    pub partitions: Vec<Partition>,
    /// Signatures on the disk itself: absolute offset, length.
    pub marks: Vec<(u64, u64)>,
    /// What a person should read; empty on a blank disk.
    pub signatures: Vec<String>,
    /// No signature, no table, nothing at both ends.
    pub blank: bool,
    /// Hex digest over the sampled content.
    pub fingerprint: String,
}

impl Survey {
    /// Reads a disk.
    ///
    /// # Errors
    /// On any read error, and on more partitions than [`MAX_PARTITIONS`] (as `InvalidData`).
    pub fn take<D: DiskHandle>(disk: &mut D, block: u32) -> io::Result<Self> {
        let bytes = disk.bytes()?;
        let mut tables = Vec::new();
        for copy in [Copy::Primary, Copy::Backup] {
            tables.extend(Table::read(disk, bytes, block, copy)?);
        }
        let mut digest = Context::new(&SHA256);
        digest.update(b"metal fingerprint 1");
        digest.update(&bytes.to_le_bytes());
        let (own, ends_zero) = disk_marks(disk, bytes, &mut digest)?;
        let mut partitions = partitions_of(disk, bytes, &tables, &own)?;
        for table in &tables {
            digest.update(table.raw_entries());
        }
        for partition in &mut partitions {
            look_inside(disk, partition, &mut digest)?;
        }
        sample(disk, bytes, &mut digest)?;
        let mut survey = Self {
            bytes,
            tables,
            partitions,
            marks: own.iter().map(|mark| (mark.offset, mark.bytes)).collect(),
            signatures: Vec::new(),
            blank: false,
            fingerprint: hex(digest.finish().as_ref()),
        };
        survey.signatures = survey.name_all(&own, ends_zero);
        survey.blank = survey.signatures.is_empty();
        Ok(survey)
    }

    /// Whether a certain Talos partition is on this disk; then its BOOT, EFI and BIOS are Talos's too.
    #[must_use]
    pub fn holds_talos(&self) -> bool {
        self.partitions
            .iter()
            .filter_map(|partition| TalosLabel::read(&partition.label))
            .any(TalosLabel::is_certain)
    }

    /// A partition's role on this disk, if it is Talos's.
    #[must_use]
    pub fn talos_label(&self, partition: &Partition) -> Option<TalosLabel> {
        TalosLabel::read(&partition.label).filter(|label| label.is_certain() || self.holds_talos())
    }

    fn name_all(&self, own: &[Mark], ends_zero: EndsZero) -> Vec<String> {
        let mut names = BTreeSet::new();
        if !self.tables.is_empty() {
            names.insert("gpt".to_owned());
        }
        for mark in own {
            // Beside a GPT the boot record is the protective one that belongs to it.
            if mark.name != "mbr" || self.tables.is_empty() {
                names.insert(mark.name.to_owned());
            }
        }
        for partition in &self.partitions {
            if self.talos_label(partition).is_some() {
                names.insert(format!("talos:{}", partition.label));
                continue;
            }
            let label = if partition.label.is_empty() {
                partition.number.to_string()
            } else {
                printable(&partition.label)
            };
            names.insert(format!("partition:{label}"));
            names.extend(partition.content.iter().map(|name| (*name).to_owned()));
        }
        if names.is_empty() && ends_zero == EndsZero::No {
            names.insert("unknown-data".to_owned());
        }
        names.into_iter().collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndsZero {
    Yes,
    No,
}

fn disk_marks<D: DiskHandle>(
    disk: &mut D,
    bytes: u64,
    digest: &mut Context,
) -> io::Result<(Vec<Mark>, EndsZero)> {
    let mut read = |offset: u64, into: &mut [u8]| disk.read_at(offset, into);
    let mut window = Window::open(&mut read, bytes)?;
    digest.update(window.head());
    digest.update(window.tail());
    let zeros = vec![0; window.head().len()];
    let zero = window.head() == zeros && window.tail() == zeros;
    let marks = probe(&mut window)?;
    Ok((marks, if zero { EndsZero::Yes } else { EndsZero::No }))
}

/// The union of all tables. A partition that two tables list with the same extent is one partition.
fn partitions_of<D: DiskHandle>(
    disk: &mut D,
    bytes: u64,
    tables: &[Table],
    own: &[Mark],
) -> io::Result<Vec<Partition>> {
    let mut all: Vec<Partition> = Vec::new();
    for table in tables {
        for entry in table.partitions(bytes) {
            let known = all.iter().any(|p| {
                p.first == entry.first && p.bytes == entry.bytes && p.label == entry.label
            });
            if !known {
                all.push(Partition::new(
                    entry.number,
                    entry.first,
                    entry.bytes,
                    entry.label,
                    TableKind::Gpt,
                ));
            }
        }
    }
    if own.iter().any(|mark| mark.name == "mbr") {
        for (number, first, length) in boot_record_partitions(disk, bytes)? {
            if !all.iter().any(|p| p.first == first && p.bytes == length) {
                all.push(Partition::new(
                    number,
                    first,
                    length,
                    String::new(),
                    TableKind::BootRecord,
                ));
            }
        }
    }
    if all.len() > MAX_PARTITIONS {
        let text = format!(
            "{} partitions are more than the {MAX_PARTITIONS} that can be checked",
            all.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    all.sort_by_key(|p| (p.first, p.bytes, p.number));
    Ok(all)
}

impl Partition {
    fn new(number: u32, first: u64, bytes: u64, label: String, table: TableKind) -> Self {
        Self {
            number,
            first,
            bytes,
            label,
            table,
            marks: Vec::new(),
            content: BTreeSet::new(),
        }
    }

    /// One past the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.bytes
    }
}

/// Primary and logical partitions of a boot record: number, first byte, length. Entries that point outside are ignored.
fn boot_record_partitions<D: DiskHandle>(
    disk: &mut D,
    bytes: u64,
) -> io::Result<Vec<(u32, u64, u64)>> {
    const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
    const PROTECTIVE: u8 = 0xee;
    let mut found = Vec::new();
    let mut chain = None;
    for (slot, number) in read_slots(disk, 0)?.into_iter().zip(1..) {
        match slot.kind {
            0 | PROTECTIVE => {}
            kind if EXTENDED.contains(&kind) => chain = chain.or(Some(slot.first)),
            _ => found.extend(
                slot.inside(0, bytes)
                    .map(|(first, length)| (number, first, length)),
            ),
        }
    }
    let Some(base) = chain else { return Ok(found) };
    let mut at = base;
    for number in 5..(5 + 64) {
        if at.saturating_add(512) > bytes {
            break;
        }
        let slots = read_slots(disk, at)?;
        let (Some(own), Some(next)) = (slots.first(), slots.get(1)) else {
            break;
        };
        if own.kind != 0 {
            found.extend(
                own.inside(at, bytes)
                    .map(|(first, length)| (number, first, length)),
            );
        }
        if next.kind == 0 || next.first == 0 {
            break;
        }
        at = base.saturating_add(next.first);
    }
    Ok(found)
}

struct Slot {
    kind: u8,
    first: u64,
    bytes: u64,
}

impl Slot {
    fn inside(&self, base: u64, disk: u64) -> Option<(u64, u64)> {
        let first = base.checked_add(self.first)?;
        let end = first.checked_add(self.bytes)?;
        (self.first > 0 && self.bytes > 0 && end <= disk).then_some((first, self.bytes))
    }
}

/// The four slots of a boot record; none if the record lacks its signature or a slot has an impossible status.
fn read_slots<D: DiskHandle>(disk: &mut D, at: u64) -> io::Result<Vec<Slot>> {
    let mut sector = [0; 512];
    disk.read_at(at, &mut sector)?;
    if sector[510..] != [0x55, 0xaa] {
        return Ok(Vec::new());
    }
    let word = |at: usize| {
        u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]])
    };
    let slots =
        [446, 462, 478, 494].map(|at| (sector[at], sector[at + 4], word(at + 8), word(at + 12)));
    if slots.iter().any(|(status, ..)| !matches!(status, 0 | 0x80)) {
        return Ok(Vec::new());
    }
    Ok(slots
        .into_iter()
        .map(|(_, kind, first, sectors)| Slot {
            kind,
            first: u64::from(first) * 512,
            bytes: u64::from(sectors) * 512,
        })
        .collect())
}

fn look_inside<D: DiskHandle>(
    disk: &mut D,
    partition: &mut Partition,
    digest: &mut Context,
) -> io::Result<()> {
    let first = partition.first;
    let mut read = |offset: u64, into: &mut [u8]| disk.read_at(first + offset, into);
    let mut window = Window::open(&mut read, partition.bytes)?;
    digest.update(&first.to_le_bytes());
    digest.update(&partition.bytes.to_le_bytes());
    let head = window.head();
    digest.update(&head[..head.len().min(PARTITION_SAMPLE)]);
    let tail = window.tail();
    digest.update(&tail[tail.len() - tail.len().min(PARTITION_SAMPLE)..]);
    for mark in probe(&mut window)? {
        partition.marks.push((first + mark.offset, mark.bytes));
        // A boot sector inside a partition says nothing about who owns it.
        if mark.name != "mbr" {
            partition.content.insert(mark.name);
        }
    }
    Ok(())
}

/// Evenly spread samples: content that moved between the ends is noticed with some luck, for a bounded cost.
fn sample<D: DiskHandle>(disk: &mut D, bytes: u64, digest: &mut Context) -> io::Result<()> {
    let mut block = vec![0; SAMPLE];
    let step = (bytes / SAMPLES) & !(SAMPLE as u64 - 1);
    if step == 0 {
        return Ok(());
    }
    for n in 1..SAMPLES {
        disk.read_at(n * step, &mut block)?;
        digest.update(&block);
    }
    Ok(())
}

fn printable(label: &str) -> String {
    label
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(72)
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
