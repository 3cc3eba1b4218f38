//! What Talos keeps on a disk: its partitions, the configuration in STATE, the boot record, etcd's data. Real bytes in the disk
//! file, in a real partition table; the content of the file systems is the rack's own.

use std::io;

use serde::{Deserialize, Serialize};

use crate::rack::disk::Disk;
use crate::rack::gpt::{self, Partition, PartitionType, Wanted};

/// Labels of Talos's partitions.
pub const LABELS: &[&str] = &["EFI", "BIOS", "BOOT", "META", "STATE", "EPHEMERAL"];

const MIB: u64 = 1 << 20;
const TABLE: &[Wanted] = &[
    Wanted {
        label: "EFI",
        bytes: Some(100 * MIB),
        kind: PartitionType::Efi,
    },
    Wanted {
        label: "BIOS",
        bytes: Some(MIB),
        kind: PartitionType::Bios,
    },
    Wanted {
        label: "BOOT",
        bytes: Some(1000 * MIB),
        kind: PartitionType::Linux,
    },
    Wanted {
        label: "META",
        bytes: Some(MIB),
        kind: PartitionType::Linux,
    },
    Wanted {
        label: "STATE",
        bytes: Some(100 * MIB),
        kind: PartitionType::Linux,
    },
    Wanted {
        label: "EPHEMERAL",
        bytes: None,
        kind: PartitionType::Linux,
    },
];
/// Where the rack's own record lies in a partition: behind every superblock.
const RECORD_AT: u64 = 64 << 10;
const CONFIG_MARK: &[u8; 16] = b"rack:talos-state";
const BOOT_MARK: &[u8; 16] = b"rack:talos-boot:";
const ETCD_MARK: &[u8; 16] = b"rack:talos-etcd:";
const RECORD_BYTES_MAX: u32 = 4 << 20;

/// Where Talos's partitions lie on a disk of that size.
pub fn layout(disk_bytes: u64) -> Vec<Partition> {
    let mut at = MIB;
    let mut parts = Vec::new();
    for wanted in TABLE {
        let room = disk_bytes.saturating_sub(at + MIB);
        let bytes = wanted.bytes.unwrap_or(room);
        if bytes == 0 || bytes > room {
            break;
        }
        parts.push(Partition {
            label: wanted.label.to_owned(),
            offset: at,
            bytes,
        });
        at += bytes;
    }
    parts
}

/// What the disk starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    /// `v1.13.9`.
    pub version: String,
    /// Schematic id.
    pub schematic: String,
    /// Kernel command line of the installed system.
    pub command_line: String,
}

/// Installs: wipes the disk's ends, writes the table, makes the file systems. Never asks whether something is there.
///
/// # Errors
/// The disk is too small or fails.
pub fn install(disk: &Disk, record: &BootRecord) -> io::Result<()> {
    // The quick wipe of Talos's block device library: both ends.
    disk.zero(0, MIB)?;
    disk.zero(disk.bytes() - MIB, MIB)?;
    let parts = gpt::write(disk, TABLE)?;
    for part in &parts {
        disk.zero(part.offset, part.bytes.min(MIB))?;
    }
    let [efi, _, boot, meta, state, ephemeral] = parts.as_slice() else {
        return Err(io::Error::other("the table is not Talos's"));
    };
    disk.write_at(efi.offset + 82, b"FAT32   ")?;
    disk.write_at(efi.offset + 510, &[0x55, 0xaa])?;
    disk.write_at(boot.offset, b"XFSB")?;
    let text = serde_json::to_vec(record).map_err(io::Error::other)?;
    put(disk, boot, BOOT_MARK, &text)?;
    // Talos's META begins with this number.
    disk.write_at(meta.offset, &0x5a4b_3c2d_u32.to_be_bytes())?;
    disk.write_at(state.offset, b"XFSB")?;
    disk.write_at(ephemeral.offset, b"XFSB")?;
    disk.sync()
}

/// The boot record, if the firmware can start this disk.
///
/// # Errors
/// The disk cannot be read.
pub fn boot_record(disk: &Disk) -> io::Result<Option<BootRecord>> {
    let parts = gpt::read(disk)?;
    let Some(boot) = labelled(&parts, "BOOT") else {
        return Ok(None);
    };
    if labelled(&parts, "EFI").is_none() {
        return Ok(None);
    }
    let bytes = take(disk, boot, BOOT_MARK)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The partition with a label.
pub fn labelled<'a>(parts: &'a [Partition], label: &str) -> Option<&'a Partition> {
    parts.iter().find(|part| part.label == label)
}

/// Makes META's disk complete: STATE and EPHEMERAL behind what is there (what Talos does when META alone made it skip the
/// install).
///
/// # Errors
/// The disk is too small or fails.
pub fn complete(disk: &Disk) -> io::Result<Vec<Partition>> {
    let linux = PartitionType::Linux;
    let parts = gpt::write(
        disk,
        &[
            Wanted {
                label: "META",
                bytes: Some(MIB),
                kind: linux,
            },
            Wanted {
                label: "STATE",
                bytes: Some(100 * MIB),
                kind: linux,
            },
            Wanted {
                label: "EPHEMERAL",
                bytes: None,
                kind: linux,
            },
        ],
    )?;
    disk.write_at(parts[1].offset, b"XFSB")?;
    disk.write_at(parts[2].offset, b"XFSB")?;
    Ok(parts)
}

/// Writes the configuration into STATE. A STATE that holds nothing known is formatted first; a foreign file system is kept.
///
/// # Errors
/// The disk fails.
pub fn store_state(disk: &Disk, state: &Partition, config: &[u8]) -> io::Result<()> {
    let known = disk.read(state.offset, 4)? == b"XFSB"
        || disk.read(state.offset + 1080, 2)? == [0x53, 0xef];
    if !known {
        disk.zero(state.offset, state.bytes.min(MIB))?;
        disk.write_at(state.offset, b"XFSB")?;
    }
    put(disk, state, CONFIG_MARK, config)?;
    disk.sync()
}

/// The configuration in STATE.
///
/// # Errors
/// The disk cannot be read.
pub fn load_state(disk: &Disk, state: &Partition) -> io::Result<Option<Vec<u8>>> {
    take(disk, state, CONFIG_MARK)
}

/// Marks EPHEMERAL as holding etcd's data of that cluster.
///
/// # Errors
/// The disk fails.
pub fn store_etcd(disk: &Disk, ephemeral: &Partition, cluster: &str) -> io::Result<()> {
    put(disk, ephemeral, ETCD_MARK, cluster.as_bytes())
}

/// The cluster whose etcd data is in EPHEMERAL.
///
/// # Errors
/// The disk cannot be read.
pub fn load_etcd(disk: &Disk, ephemeral: &Partition) -> io::Result<Option<String>> {
    let bytes = take(disk, ephemeral, ETCD_MARK)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Empties a partition; its entry in the table stays.
///
/// # Errors
/// The disk fails.
pub fn wipe_partition(disk: &Disk, part: &Partition) -> io::Result<()> {
    disk.zero(part.offset, part.bytes)
}

/// Wipes the whole system disk: the tables and every partition.
///
/// # Errors
/// The disk fails.
pub fn wipe_disk(disk: &Disk) -> io::Result<()> {
    disk.zero(0, disk.bytes())
}

fn put(disk: &Disk, part: &Partition, mark: &[u8; 16], content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    let mut record = mark.to_vec();
    record.extend(length.to_be_bytes());
    record.extend(gpt::crc32(content).to_be_bytes());
    record.extend(content);
    if RECORD_AT + record.len() as u64 > part.bytes {
        return Err(io::Error::other("the partition is full"));
    }
    disk.write_at(part.offset + RECORD_AT, &record)
}

fn take(disk: &Disk, part: &Partition, mark: &[u8; 16]) -> io::Result<Option<Vec<u8>>> {
    if part.bytes < RECORD_AT + 24 {
        return Ok(None);
    }
    let head = disk.read(part.offset + RECORD_AT, 24)?;
    let number =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, crc) = (number(16), number(20));
    if head[..16] != mark[..]
        || length > RECORD_BYTES_MAX
        || u64::from(length) > part.bytes - RECORD_AT - 24
    {
        return Ok(None);
    }
    let content = disk.read(part.offset + RECORD_AT + 24, length as usize)?;
    Ok((gpt::crc32(&content) == crc).then_some(content))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rack::content;

    #[test]
    fn an_installed_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        Disk::create(&path, 120_000_000_000 / 4096 * 4096).unwrap();
        let disk = Disk::open(&path, Arc::default()).unwrap();
        content::seed(&disk, content::Seed::Ext4).unwrap();
        let record = BootRecord {
            version: "v1.13.9".to_owned(),
            schematic: "x".to_owned(),
            command_line: "a=b".to_owned(),
        };
        assert_eq!(boot_record(&disk).unwrap(), None);
        install(&disk, &record).unwrap();
        assert_eq!(boot_record(&disk).unwrap(), Some(record));
        let parts = gpt::read(&disk).unwrap();
        assert_eq!(
            parts.iter().map(|p| p.label.as_str()).collect::<Vec<_>>(),
            LABELS
        );
        assert_eq!(layout(disk.bytes())[..5], parts[..5]);
        let state = labelled(&parts, "STATE").unwrap();
        assert_eq!(load_state(&disk, state).unwrap(), None);
        store_state(&disk, state, b"version: v1alpha1").unwrap();
        assert_eq!(
            load_state(&disk, state).unwrap().unwrap(),
            b"version: v1alpha1"
        );
        let signatures = content::look(&path).unwrap().signatures;
        assert!(
            signatures.contains(&"talos:STATE".to_owned()),
            "{signatures:?}"
        );
        assert!(
            !signatures.contains(&"ext4".to_owned()),
            "the install destroyed it"
        );

        // A table that is gone does not make the disk blank.
        disk.zero(0, MIB).unwrap();
        disk.zero(disk.bytes() - MIB, MIB).unwrap();
        assert!(!content::look(&path).unwrap().blank);
        wipe_disk(&disk).unwrap();
        assert!(content::look(&path).unwrap().zero);
    }
}
