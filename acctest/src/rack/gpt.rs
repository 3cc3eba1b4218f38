//! GUID partition tables (UEFI 2.10 §5.3) with 512-byte sectors: enough to write Talos's layout and to read any valid one.

use std::io;

use sha2::{Digest, Sha256};

use super::disk::Disk;

/// Bytes per sector.
pub const SECTOR: u64 = 512;
const ENTRIES: u32 = 128;
const ENTRY_BYTES: u32 = 128;

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its name in the table.
    pub label: String,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// A partition that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Name in the table.
    pub label: &'static str,
    /// Length in bytes; `None` takes what is left.
    pub bytes: Option<u64>,
    /// What it is for.
    pub kind: PartitionType,
}

/// Partition types that Talos uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionType {
    /// EFI system partition.
    Efi,
    /// BIOS boot partition.
    Bios,
    /// Linux data.
    Linux,
}

impl PartitionType {
    /// The type's GUID as it lies on the disk (first three fields little-endian).
    fn guid(self) -> [u8; 16] {
        match self {
            Self::Efi => [
                0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e,
                0xc9, 0x3b,
            ],
            Self::Bios => [
                0x48, 0x61, 0x68, 0x21, 0x49, 0x64, 0x6f, 0x6e, 0x74, 0x4e, 0x65, 0x65, 0x64, 0x45,
                0x46, 0x49,
            ],
            Self::Linux => [
                0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47,
                0x7d, 0xe4,
            ],
        }
    }
}

/// The partitions of a disk; empty if there is no valid table. The backup counts where the primary is gone.
///
/// # Errors
/// The disk cannot be read.
pub fn read(disk: &Disk) -> io::Result<Vec<Partition>> {
    if disk.bytes() < 68 * SECTOR {
        return Ok(Vec::new());
    }
    for lba in [1, disk.bytes() / SECTOR - 1] {
        let header = disk.read(lba * SECTOR, SECTOR as usize)?;
        if let Some((entries_lba, count, size)) = header_fields(&header, disk.bytes()) {
            return entries(disk, entries_lba, count, size);
        }
    }
    Ok(Vec::new())
}

/// Whether a primary or backup header with the right checksum is there.
///
/// # Errors
/// The disk cannot be read.
pub fn present(disk: &Disk) -> io::Result<[bool; 2]> {
    let mut found = [false; 2];
    for (seen, lba) in found.iter_mut().zip([1, disk.bytes() / SECTOR - 1]) {
        let header = disk.read(lba * SECTOR, SECTOR as usize)?;
        *seen = header_fields(&header, disk.bytes()).is_some();
    }
    Ok(found)
}

/// Writes a protective MBR and both tables. Partitions begin at 1 MiB and are aligned to it. Nothing else is erased.
///
/// # Errors
/// The disk is too small or cannot be written.
pub fn write(disk: &Disk, wanted: &[Wanted]) -> io::Result<Vec<Partition>> {
    const MIB: u64 = 1 << 20;
    let sectors = disk.bytes() / SECTOR;
    let last_usable = sectors - 34;
    let mut table = vec![0_u8; (ENTRIES * ENTRY_BYTES) as usize];
    let mut at = MIB;
    let mut made = Vec::new();
    for (index, part) in wanted.iter().enumerate() {
        let room = ((last_usable + 1) * SECTOR).saturating_sub(at) / MIB * MIB;
        let bytes = part.bytes.unwrap_or(room);
        if bytes == 0 || bytes > room {
            return Err(io::Error::other(format!(
                "the disk is too small for the partition {}",
                part.label
            )));
        }
        let entry = &mut table[index * ENTRY_BYTES as usize..][..ENTRY_BYTES as usize];
        entry[..16].copy_from_slice(&part.kind.guid());
        entry[16..32].copy_from_slice(&unique(disk.bytes(), index, part.label));
        entry[32..40].copy_from_slice(&(at / SECTOR).to_le_bytes());
        entry[40..48].copy_from_slice(&((at + bytes) / SECTOR - 1).to_le_bytes());
        for (unit, place) in part.label.encode_utf16().zip(entry[56..128].chunks_mut(2)) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
        made.push(Partition {
            label: part.label.to_owned(),
            offset: at,
            bytes,
        });
        at += bytes;
    }
    let crc = crc32(&table);
    disk.write_at(0, &protective_mbr(sectors))?;
    disk.write_at(2 * SECTOR, &table)?;
    disk.write_at(SECTOR, &header(1, sectors - 1, 2, sectors, crc))?;
    disk.write_at((sectors - 33) * SECTOR, &table)?;
    disk.write_at(
        (sectors - 1) * SECTOR,
        &header(sectors - 1, 1, sectors - 33, sectors, crc),
    )?;
    Ok(made)
}

fn header_fields(header: &[u8], disk_bytes: u64) -> Option<(u64, u32, u32)> {
    if header.get(..8)? != b"EFI PART" {
        return None;
    }
    let size = u32_at(header, 12)? as usize;
    if !(92..=512).contains(&size) {
        return None;
    }
    let mut body = header.get(..size)?.to_vec();
    body[16..20].fill(0);
    if crc32(&body) != u32_at(header, 16)? {
        return None;
    }
    let entries_lba = u64::from_le_bytes(header.get(72..80)?.try_into().ok()?);
    let (count, size) = (u32_at(header, 80)?, u32_at(header, 84)?);
    let sane = (1..=1024).contains(&count)
        && (128..=4096).contains(&size)
        && entries_lba < disk_bytes / SECTOR;
    sane.then_some((entries_lba, count, size))
}

fn entries(disk: &Disk, lba: u64, count: u32, size: u32) -> io::Result<Vec<Partition>> {
    let table = disk.read(lba * SECTOR, (count * size) as usize)?;
    let mut partitions = Vec::new();
    for entry in table.chunks_exact(size as usize) {
        if entry[..16].iter().all(|byte| *byte == 0) {
            continue;
        }
        let number = |at: usize| {
            u64::from_le_bytes(
                entry[at..at + 8]
                    .try_into()
                    .expect("a slice of eight bytes is an array of eight bytes"),
            )
        };
        let (first, last) = (number(32), number(40));
        if first > last || last >= disk.bytes() / SECTOR {
            continue;
        }
        let units: Vec<u16> = entry[56..128]
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .take_while(|unit| *unit != 0)
            .collect();
        partitions.push(Partition {
            label: String::from_utf16_lossy(&units),
            offset: first * SECTOR,
            bytes: (last - first + 1) * SECTOR,
        });
    }
    Ok(partitions)
}

fn header(own: u64, other: u64, entries: u64, sectors: u64, entries_crc: u32) -> [u8; 512] {
    let mut h = [0_u8; 512];
    h[..8].copy_from_slice(b"EFI PART");
    h[8..12].copy_from_slice(&0x0001_0000_u32.to_le_bytes());
    h[12..16].copy_from_slice(&92_u32.to_le_bytes());
    h[24..32].copy_from_slice(&own.to_le_bytes());
    h[32..40].copy_from_slice(&other.to_le_bytes());
    h[40..48].copy_from_slice(&34_u64.to_le_bytes());
    h[48..56].copy_from_slice(&(sectors - 34).to_le_bytes());
    h[56..72].copy_from_slice(&unique(sectors, 999, "disk"));
    h[72..80].copy_from_slice(&entries.to_le_bytes());
    h[80..84].copy_from_slice(&ENTRIES.to_le_bytes());
    h[84..88].copy_from_slice(&ENTRY_BYTES.to_le_bytes());
    h[88..92].copy_from_slice(&entries_crc.to_le_bytes());
    let crc = crc32(&h[..92]);
    h[16..20].copy_from_slice(&crc.to_le_bytes());
    h
}

fn protective_mbr(sectors: u64) -> [u8; 512] {
    let mut mbr = [0_u8; 512];
    let entry = &mut mbr[446..462];
    entry[1..4].copy_from_slice(&[0, 2, 0]);
    entry[4] = 0xee;
    entry[5..8].copy_from_slice(&[0xff, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&1_u32.to_le_bytes());
    let length = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    entry[12..16].copy_from_slice(&length.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

fn unique(salt: u64, index: usize, label: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(salt.to_be_bytes());
    hash.update((index as u64).to_be_bytes());
    hash.update(label.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id[7] = id[7] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// CRC-32 (IEEE 802.3), as the tables use it.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        Disk::create(&path, 3_000_000_000 / 4096 * 4096).unwrap();
        let disk = Disk::open(&path, Arc::default()).unwrap();
        assert!(read(&disk).unwrap().is_empty());
        let wanted = [
            Wanted {
                label: "META",
                bytes: Some(1 << 20),
                kind: PartitionType::Linux,
            },
            Wanted {
                label: "EPHEMERAL",
                bytes: None,
                kind: PartitionType::Linux,
            },
        ];
        let made = write(&disk, &wanted).unwrap();
        assert_eq!(read(&disk).unwrap(), made);
        assert_eq!(made[0].offset, 1 << 20);
        assert_eq!(present(&disk).unwrap(), [true, true]);
        disk.zero(512, 512).unwrap();
        assert_eq!(read(&disk).unwrap(), made, "the backup counts");
        disk.zero(disk.bytes() - 512, 512).unwrap();
        assert!(read(&disk).unwrap().is_empty());
    }

    #[test]
    fn sfdisk_agrees() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        Disk::create(&path, 200 << 20).unwrap();
        let disk = Disk::open(&path, Arc::default()).unwrap();
        let wanted = [Wanted {
            label: "STATE",
            bytes: None,
            kind: PartitionType::Linux,
        }];
        write(&disk, &wanted).unwrap();
        let Ok(out) = std::process::Command::new("sfdisk")
            .arg("--verify")
            .arg(&path)
            .output()
        else {
            eprintln!("SKIPPED: sfdisk is not installed");
            return;
        };
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(
            out.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
}
