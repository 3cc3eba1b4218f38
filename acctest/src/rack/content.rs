//! What is on a disk, seen with the rack's own eyes, and what `rack seed-disk` puts there.
//!
//! The signatures are the ones of the formats themselves and share no code with the agent's, so that one mistake cannot hide in
//! both.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::disk::Disk;
use super::fault::Faults;
use super::gpt::{self, PartitionType, Wanted};
use crate::talosnode::install;

/// What was found on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Look {
    /// Nothing but zeros.
    pub zero: bool,
    /// No known signature, no partition table, Talos's extents zero.
    pub blank: bool,
    /// Offset of the first byte that is not zero.
    pub first_non_zero: Option<u64>,
    /// `gpt`, `ext4`, `talos:STATE`, …
    pub signatures: Vec<String>,
}

/// Looks at a whole disk file. Faults do not count.
///
/// # Errors
/// The file cannot be read.
pub fn look(path: &Path) -> io::Result<Look> {
    let disk = Disk::open(path, Arc::new(Faults::default()))?;
    let mut signatures = Vec::new();
    let tables = gpt::present(&disk)?;
    for (there, name) in tables.into_iter().zip(["gpt", "gpt-backup"]) {
        if there {
            signatures.push(name.to_owned());
        }
    }
    if disk.read(510, 2)? == [0x55, 0xaa] {
        signatures.push("mbr".to_owned());
    }
    at_offset(&disk, 0, "", &mut signatures)?;
    for part in gpt::read(&disk)? {
        let talos = install::LABELS.contains(&part.label.as_str());
        signatures.push(if talos {
            format!("talos:{}", part.label)
        } else {
            format!("partition:{}", part.label)
        });
        at_offset(
            &disk,
            part.offset,
            &format!("{}/", part.label),
            &mut signatures,
        )?;
    }
    let first_non_zero = Disk::first_non_zero(path)?;
    Ok(Look {
        zero: first_non_zero.is_none(),
        blank: signatures.is_empty() && talos_extents_zero(&disk)?,
        first_non_zero,
        signatures,
    })
}

/// The first MiB of each extent where Talos keeps something, whether or not a table says so.
fn talos_extents_zero(disk: &Disk) -> io::Result<bool> {
    for extent in install::layout(disk.bytes()) {
        if extent.offset + (1 << 20) > disk.bytes() {
            continue;
        }
        if disk
            .read(extent.offset, 1 << 20)?
            .iter()
            .any(|byte| *byte != 0)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn at_offset(disk: &Disk, start: u64, prefix: &str, found: &mut Vec<String>) -> io::Result<()> {
    const MARKS: &[(&str, u64, &[u8])] = &[
        ("ext4", 1024 + 56, &[0x53, 0xef]),
        ("xfs", 0, b"XFSB"),
        ("lvm2", 512, b"LABELONE"),
        ("ceph", 0, b"bluestore block device"),
        ("luks", 0, b"LUKS\xba\xbe"),
        ("btrfs", 65600, b"_BHRfS_M"),
        ("vfat", 82, b"FAT32   "),
        ("linux-raid", 4096, &[0xfc, 0x4e, 0x2b, 0xa9]),
        ("zfs", 131_072 + 131_072, &[0x0c, 0xb1, 0xba, 0]),
    ];
    for (name, offset, magic) in MARKS {
        let at = start + offset;
        if at + magic.len() as u64 <= disk.bytes() && disk.read(at, magic.len())? == *magic {
            found.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// What a disk can be seeded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// A file system with data.
    Ext4,
    /// A Ceph OSD.
    Ceph,
    /// An LVM physical volume.
    Lvm,
    /// META and STATE of another cluster.
    TalosState,
    /// Data without any signature.
    Random,
}

impl Seed {
    /// Reads its name.
    ///
    /// # Errors
    /// For a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "ext4" => Self::Ext4,
            "ceph" => Self::Ceph,
            "lvm" => Self::Lvm,
            "talos-state" => Self::TalosState,
            "random" => Self::Random,
            other => {
                return Err(format!(
                    "cannot seed {other:?}; write ext4, ceph, lvm, talos-state or random"
                ));
            }
        })
    }
}

/// The text that `talos-state` leaves in the stale configuration: a test can look for it.
pub const STALE_MARKER: &str = "stale-cluster-of-another-life";

/// Puts foreign content on a disk.
///
/// # Errors
/// The disk cannot be written or is smaller than 256 MiB.
pub fn seed(disk: &Disk, what: Seed) -> io::Result<()> {
    if disk.bytes() < 256 << 20 {
        return Err(io::Error::other(
            "a disk below 256 MiB is too small to seed",
        ));
    }
    match what {
        Seed::Ext4 => {
            let mut block = [0_u8; 1024];
            block[0..4].copy_from_slice(&65_536_u32.to_le_bytes());
            block[4..8].copy_from_slice(&262_144_u32.to_le_bytes());
            block[24..28].copy_from_slice(&2_u32.to_le_bytes());
            block[56..58].copy_from_slice(&[0x53, 0xef]);
            block[58..60].copy_from_slice(&1_u16.to_le_bytes());
            block[76..80].copy_from_slice(&1_u32.to_le_bytes());
            block[96..100].copy_from_slice(&0x42_u32.to_le_bytes());
            block[104..120].copy_from_slice(&noise(7, 16));
            block[120..128].copy_from_slice(b"rackdata");
            disk.write_at(1024, &block)?;
            disk.write_at(64 << 20, &noise(1, 65_536))
        }
        Seed::Ceph => {
            disk.write_at(
                0,
                b"bluestore block device\n8e6cd3b0-0000-4000-8000-00000000ce9f\n",
            )?;
            disk.write_at(8192, &noise(2, 65_536))
        }
        Seed::Lvm => {
            let mut label = [0_u8; 512];
            label[..8].copy_from_slice(b"LABELONE");
            label[8..16].copy_from_slice(&1_u64.to_le_bytes());
            label[20..24].copy_from_slice(&32_u32.to_le_bytes());
            label[24..32].copy_from_slice(b"LVM2 001");
            label[32..64].copy_from_slice(b"rAcKpv0000000000000000000000seed");
            disk.write_at(512, &label)?;
            disk.write_at(
                4096,
                b"rackvg {\nid = \"seeded\"\nseqno = 1\nformat = \"lvm2\"\n}\n",
            )
        }
        Seed::TalosState => talos_state(disk),
        Seed::Random => {
            for at in [0, disk.bytes() / 2 / 4096 * 4096, disk.bytes() - (1 << 20)] {
                disk.write_at(at, &noise(at, 1 << 20))?;
            }
            Ok(())
        }
    }
}

fn talos_state(disk: &Disk) -> io::Result<()> {
    let linux = PartitionType::Linux;
    let parts = gpt::write(
        disk,
        &[
            Wanted {
                label: "META",
                bytes: Some(1 << 20),
                kind: linux,
            },
            Wanted {
                label: "STATE",
                bytes: Some(100 << 20),
                kind: linux,
            },
            Wanted {
                label: "EPHEMERAL",
                bytes: None,
                kind: linux,
            },
        ],
    )?;
    disk.write_at(parts[0].offset, &noise(3, 4096))?;
    let config = format!(
        "version: v1alpha1\nmachine:\n  type: worker\n  token: aaaaaa.bbbbbbbbbbbbbbbb\n  network:\n    hostname: {STALE_MARKER}\n  \
         install:\n    disk: /dev/null\ncluster:\n  id: {STALE_MARKER}\n  controlPlane:\n    endpoint: https://127.255.255.254:6443\n"
    );
    install::store_state(disk, &parts[1], config.as_bytes())?;
    disk.write_at(parts[2].offset, b"XFSB")?;
    disk.write_at(parts[2].offset + 65_536, STALE_MARKER.as_bytes())
}

/// Bytes that look random and are the same each time.
fn noise(salt: u64, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 32);
    let mut n = 0_u64;
    while out.len() < bytes {
        let mut hash = Sha256::new();
        hash.update(salt.to_be_bytes());
        hash.update(n.to_be_bytes());
        let block: [u8; 32] = hash.finalize().into();
        out.extend_from_slice(&block);
        n += 1;
    }
    out.truncate(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: &str, signatures: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        Disk::create(&path, 4 << 30).unwrap();
        assert!(look(&path).unwrap().blank);
        let disk = Disk::open(&path, Arc::default()).unwrap();
        seed(&disk, Seed::parse(what).unwrap()).unwrap();
        let seen = look(&path).unwrap();
        assert_eq!(seen.signatures, signatures, "{what}");
        assert!(!seen.zero && !seen.blank, "{what}: {seen:?}");
    }

    #[test]
    fn what_is_seeded_is_seen() {
        check("ext4", &["ext4"]);
        check("ceph", &["ceph"]);
        check("lvm", &["lvm2"]);
        check(
            "talos-state",
            &[
                "gpt",
                "gpt-backup",
                "mbr",
                "talos:META",
                "talos:STATE",
                "STATE/xfs",
                "talos:EPHEMERAL",
                "EPHEMERAL/xfs",
            ],
        );
        assert!(Seed::parse("zfs").is_err());
    }

    #[test]
    fn random_data_has_no_signature() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        Disk::create(&path, 4 << 30).unwrap();
        let disk = Disk::open(&path, Arc::default()).unwrap();
        seed(&disk, Seed::Random).unwrap();
        let seen = look(&path).unwrap();
        assert!(!seen.zero);
        assert_eq!(seen.first_non_zero, Some(0));
        assert!(seen.signatures.is_empty(), "{seen:?}");
    }
}
