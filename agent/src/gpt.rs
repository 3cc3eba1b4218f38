//! GUID partition tables (UEFI 2.10 §5.3): read either copy, tell whether its checksums hold, write it again with some
//! entries removed.
//!
//! Promise: [`Table::parse_header`] and [`Table::partitions`] never panic and allocate no more than [`MAX_ENTRIES_BYTES`], whatever is on the disk.
//! Deliberately not here: making or growing partitions.

use std::io;

use crate::platform::DiskHandle;

/// No table with more bytes of entries is read; the usual one has 16 KiB.
pub const MAX_ENTRIES_BYTES: u64 = 1 << 20;

const MAGIC: &[u8; 8] = b"EFI PART";
const HEADER_BYTES: usize = 92;

/// Which of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Copy {
    /// At logical block 1.
    Primary,
    /// At the last logical block.
    Backup,
}

/// A table found on a disk. `sound` tells whether it may be believed; an unsound one is still a table that an erase removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Which copy it is.
    pub copy: Copy,
    /// Bytes per logical block that it was found with.
    pub block: u64,
    /// Both checksums hold, and the header says where it stands.
    pub sound: bool,
    /// Where this header stands.
    pub at_lba: u64,
    /// Where it says the other copy stands.
    pub other_lba: u64,
    /// First block of the entries.
    pub entries_lba: u64,
    /// Bytes per entry.
    pub entry_bytes: u32,
    /// The header block's first bytes, as found.
    header: Vec<u8>,
    /// All entries, as found; empty if they lie outside the disk or are implausibly many.
    entries: Vec<u8>,
}

/// One used entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From 1, as every tool counts.
    pub number: u32,
    /// First byte.
    pub first: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Name; what cannot be decoded is replaced.
    pub label: String,
}

impl Table {
    /// Reads one copy, if the magic is there. Both 512 and 4096 byte blocks are tried, the disk's own first.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn read<D: DiskHandle>(
        disk: &mut D,
        bytes: u64,
        block: u32,
        copy: Copy,
    ) -> io::Result<Option<Self>> {
        let own = u64::from(block);
        for block in [own, 512, 4096] {
            if block < 512 || bytes < block * 4 {
                continue;
            }
            let lba = match copy {
                Copy::Primary => 1,
                Copy::Backup => bytes / block - 1,
            };
            let mut header = vec![0; 512];
            disk.read_at(lba * block, &mut header)?;
            if let Some(mut table) = Self::parse_header(&header, copy, block, lba) {
                table.read_entries(disk, bytes)?;
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    /// Reads a header; the entries are not filled in. `None` without the magic.
    #[must_use]
    pub fn parse_header(block_bytes: &[u8], copy: Copy, block: u64, at_lba: u64) -> Option<Self> {
        let header = block_bytes.get(..512)?.to_vec();
        if header.get(..8)? != MAGIC {
            return None;
        }
        let size = le32(&header, 12) as usize;
        let checksum_holds = (HEADER_BYTES..=512).contains(&size) && {
            let mut zeroed = header[..size].to_vec();
            zeroed[16..20].fill(0);
            crc32(&zeroed) == le32(&header, 16)
        };
        Some(Self {
            copy,
            block,
            sound: checksum_holds && le64(&header, 24) == at_lba,
            at_lba,
            other_lba: le64(&header, 32),
            entries_lba: le64(&header, 72),
            entry_bytes: le32(&header, 84),
            header,
            entries: Vec::new(),
        })
    }

    fn read_entries<D: DiskHandle>(&mut self, disk: &mut D, bytes: u64) -> io::Result<()> {
        let length = u64::from(le32(&self.header, 80)) * u64::from(self.entry_bytes);
        let first = self.entries_lba.checked_mul(self.block);
        let inside = first
            .and_then(|first| first.checked_add(length))
            .is_some_and(|end| end <= bytes);
        if !inside
            || length == 0
            || length > MAX_ENTRIES_BYTES
            || self.entry_bytes < 128
            || !self.entry_bytes.is_multiple_of(8)
        {
            self.sound = false;
            return Ok(());
        }
        self.entries = vec![0; usize::try_from(length).unwrap_or_default()];
        disk.read_at(self.entries_lba * self.block, &mut self.entries)?;
        self.sound &= crc32(&self.entries) == le32(&self.header, 88);
        Ok(())
    }

    /// The used entries that lie inside a disk of `disk_bytes`.
    #[must_use]
    pub fn partitions(&self, disk_bytes: u64) -> Vec<Entry> {
        let size = self.entry_bytes as usize;
        if size < 128 {
            return Vec::new();
        }
        self.entries
            .chunks_exact(size)
            .zip(1..)
            .filter_map(|(raw, number)| self.entry(raw, number, disk_bytes))
            .collect()
    }

    fn entry(&self, raw: &[u8], number: u32, disk_bytes: u64) -> Option<Entry> {
        if raw[..16].iter().all(|b| *b == 0) {
            return None;
        }
        let first = le64(raw, 32).checked_mul(self.block)?;
        let end = le64(raw, 40).checked_add(1)?.checked_mul(self.block)?;
        if first >= end || end > disk_bytes {
            return None;
        }
        let units: Vec<u16> = raw[56..128]
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .take_while(|unit| *unit != 0)
            .collect();
        Some(Entry {
            number,
            first,
            bytes: end - first,
            label: String::from_utf16_lossy(&units),
        })
    }

    /// The raw entries: what both copies of a healthy disk have in common.
    #[must_use]
    pub fn raw_entries(&self) -> &[u8] {
        &self.entries
    }

    /// Byte ranges that this copy occupies: its header block and its entries.
    #[must_use]
    pub fn extents(&self) -> Vec<(u64, u64)> {
        let mut extents = vec![(self.at_lba * self.block, self.block)];
        if !self.entries.is_empty() {
            let bytes = (self.entries.len() as u64).next_multiple_of(self.block);
            extents.push((self.entries_lba * self.block, bytes));
        }
        extents
    }

    /// The same table without some entries, and its other copy, ready to be written.
    #[must_use]
    pub fn without(&self, numbers: &[u32]) -> Rewritten {
        let mut entries = self.entries.clone();
        for number in numbers {
            let at = (*number as usize - 1) * self.entry_bytes as usize;
            if let Some(raw) = entries.get_mut(at..at + self.entry_bytes as usize) {
                raw.fill(0);
            }
        }
        let blocks = (entries.len() as u64).div_ceil(self.block);
        let (primary_lba, backup_lba) = match self.copy {
            Copy::Primary => (self.at_lba, self.other_lba),
            Copy::Backup => (self.other_lba, self.at_lba),
        };
        // The backup's entries stand directly before its header (UEFI 2.10 §5.3.1); the primary's begin at block 2 or where they are.
        let primary_entries = if self.copy == Copy::Primary {
            self.entries_lba
        } else {
            primary_lba + 1
        };
        let backup_entries = if self.copy == Copy::Backup {
            self.entries_lba
        } else {
            backup_lba.saturating_sub(blocks)
        };
        let side = |at: u64, other: u64, first: u64| Side {
            header: (at * self.block, self.header_for(at, other, first, &entries)),
            entries: (first * self.block, entries.clone()),
        };
        Rewritten {
            primary: side(primary_lba, backup_lba, primary_entries),
            backup: side(backup_lba, primary_lba, backup_entries),
        }
    }

    fn header_for(&self, at_lba: u64, other_lba: u64, entries_lba: u64, entries: &[u8]) -> Vec<u8> {
        let mut header = self.header.clone();
        header[24..32].copy_from_slice(&at_lba.to_le_bytes());
        header[32..40].copy_from_slice(&other_lba.to_le_bytes());
        header[72..80].copy_from_slice(&entries_lba.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(entries).to_le_bytes());
        header[16..20].fill(0);
        let size = (le32(&header, 12) as usize).clamp(HEADER_BYTES, header.len());
        let checksum = crc32(&header[..size]);
        header[16..20].copy_from_slice(&checksum.to_le_bytes());
        header
    }
}

/// Both copies of a table, with their byte offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// At the disk's start.
    pub primary: Side,
    /// At its end; written first, so that one good copy exists at every moment.
    pub backup: Side,
}

/// One copy: offset and bytes of header and entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The header.
    pub header: (u64, Vec<u8>),
    /// The entries.
    pub entries: (u64, Vec<u8>),
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

/// The CRC-32 of UEFI (and of Ethernet): reflected, polynomial 0x04C11DB7.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low == 1 {
                crc ^= 0xEDB8_8320;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksum_of_the_standard_test_string() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn never_panics(mut block in prop::collection::vec(any::<u8>(), 512), entries in prop::collection::vec(any::<u8>(), 0..2048), size in 0_u32..300, number in 1_u32..40) {
            let _ = Table::parse_header(&block, Copy::Primary, 512, 1);
            block[..8].copy_from_slice(MAGIC);
            let mut table = Table::parse_header(&block, Copy::Backup, 4096, 99).unwrap();
            table.entries = entries;
            table.entry_bytes = size;
            for entry in table.partitions(1 << 30) {
                prop_assert!(entry.first + entry.bytes <= 1 << 30);
            }
            table.other_lba %= 1 << 40;
            table.entries_lba %= 1 << 40;
            let _ = table.without(&[number]);
        }
    }
}
