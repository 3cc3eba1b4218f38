//! Disks in sysfs. There is no udev here, so every kind of disk is asked where it keeps its names.
//!
//! | kind | serial | WWID |
//! |---|---|---|
//! | virtio | `serial` (at most 20 bytes) | none |
//! | SCSI, SATA, SAS | `device/vpd_pg80`: 4 bytes of header, then blank-padded | `device/wwid` |
//! | NVMe | `device/serial` (of the controller: its namespaces share it) | `wwid` |
//! | MMC | `device/serial` | `device/cid` |

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::attribute;
use crate::platform::{DiskFacts, DiskKind};

/// Block devices that are no disks, or not the machine's own.
const NO_DISKS: [&str; 10] = [
    "loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "rbd", "drbd",
];

/// All disks below `root`, a running system's `/`.
///
/// # Errors
/// When `/sys/block` cannot be read.
pub fn list(root: &Path) -> io::Result<Vec<DiskFacts>> {
    let mut disks = Vec::new();
    let in_use = in_use(root);
    for entry in fs::read_dir(root.join("sys/block"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let boot_area =
            name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
        if boot_area || NO_DISKS.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        disks.extend(read(root, &entry.path(), name, &in_use));
    }
    disks.sort_by(|a, b| a.device.cmp(&b.device));
    Ok(disks)
}

fn read(
    root: &Path,
    block: &Path,
    device: String,
    in_use: &BTreeSet<(String, String)>,
) -> Option<DiskFacts> {
    let bytes = attribute(&block.join("size"))
        .parse::<u64>()
        .unwrap_or(0)
        .saturating_mul(512);
    // Empty card readers have no medium; hidden paths belong to a multipath device that is listed itself.
    if bytes == 0 || attribute(&block.join("hidden")) == "1" {
        return None;
    }
    let home = fs::canonicalize(block).unwrap_or_else(|_| block.to_owned());
    let devices = root.join("sys/devices");
    let bus_path = home
        .strip_prefix(&devices)
        .map(|path| path.to_string_lossy().into_owned())
        .unwrap_or_default();
    let kind = if device.starts_with("nvme") {
        DiskKind::Nvme
    } else if attribute(&block.join("queue/rotational")) == "1" {
        DiskKind::Hdd
    } else {
        DiskKind::Ssd
    };
    Some(DiskFacts {
        serial: serial(block),
        wwid: first_of(block, &["wwid", "device/wwid", "device/cid"]),
        bus_path,
        model: first_of(block, &["device/model", "device/name"]),
        kind,
        bytes,
        block_bytes: attribute(&block.join("queue/logical_block_size"))
            .parse()
            .unwrap_or(512),
        removable: attribute(&block.join("removable")) == "1",
        readonly: attribute(&block.join("ro")) == "1",
        held: holder(block, &device, in_use),
        device,
    })
}

fn serial(block: &Path) -> String {
    let plain = first_of(block, &["serial", "device/serial"]);
    if !plain.is_empty() {
        return plain;
    }
    let page = fs::read(block.join("device/vpd_pg80")).unwrap_or_default();
    let text = page
        .get(4..)
        .map(|raw| String::from_utf8_lossy(raw).into_owned())
        .unwrap_or_default();
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
        .to_owned()
}

fn first_of(block: &Path, names: &[&str]) -> String {
    names
        .iter()
        .map(|name| attribute(&block.join(name)))
        .find(|value| !value.is_empty())
        .unwrap_or_default()
}

/// Device names in use, with the use: mounts and swap.
fn in_use(root: &Path) -> BTreeSet<(String, String)> {
    let mut used = BTreeSet::new();
    for line in attribute(&root.join("proc/mounts")).lines() {
        let mut words = line.split(' ');
        if let (Some(source), Some(target)) = (words.next(), words.next())
            && let Some(device) = source.strip_prefix("/dev/")
        {
            used.insert((device.to_owned(), format!("mounted at {target}")));
        }
    }
    for line in attribute(&root.join("proc/swaps")).lines() {
        if let Some(device) = line
            .split_ascii_whitespace()
            .next()
            .and_then(|source| source.strip_prefix("/dev/"))
        {
            used.insert((device.to_owned(), "swap".to_owned()));
        }
    }
    used
}

/// Who holds the disk or one of its partitions.
fn holder(block: &Path, device: &str, in_use: &BTreeSet<(String, String)>) -> Option<String> {
    let mut nodes = vec![(device.to_owned(), block.to_owned())];
    for entry in fs::read_dir(block).ok()?.flatten() {
        if entry.path().join("partition").exists() {
            nodes.push((
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            ));
        }
    }
    nodes.sort();
    for (name, path) in nodes {
        if let Some((_, how)) = in_use.iter().find(|(used, _)| *used == name) {
            return Some(format!("{name} is {how}"));
        }
        let first = fs::read_dir(path.join("holders"))
            .ok()
            .and_then(|mut holders| holders.next()?.ok());
        if let Some(first) = first {
            return Some(format!(
                "{name} is held by {}",
                first.file_name().to_string_lossy()
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn lay(root: &Path, home: &str, files: &[(&str, &[u8])]) {
        let dir = root.join("sys/devices").join(home);
        for (name, content) in files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::create_dir_all(root.join("sys/block")).unwrap();
        symlink(&dir, root.join("sys/block").join(dir.file_name().unwrap())).unwrap();
    }

    /// Attributes as a 6.1 kernel shows them for one disk of each kind.
    fn machine(root: &Path) {
        lay(
            root,
            "pci0000:00/0000:00:02.0/virtio0/block/vda",
            &[
                ("size", b"524288\n"),
                ("serial", b"VD0001"),
                ("queue/rotational", b"1\n"),
                ("queue/logical_block_size", b"512\n"),
                ("removable", b"0\n"),
                ("ro", b"0\n"),
                ("device/vendor", b"0x1af4\n"),
            ],
        );
        lay(
            root,
            "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda",
            &[
                ("size", b"524288\n"),
                ("queue/rotational", b"0\n"),
                ("queue/logical_block_size", b"512\n"),
                ("removable", b"0\n"),
                ("ro", b"0\n"),
                ("device/model", b"QEMU HARDDISK   \n"),
                ("device/wwid", b"naa.5000c50015ea71ac\n"),
                ("device/vpd_pg80", b"\0\x80\0\x14              SD0001"),
                ("sda1/partition", b"1\n"),
                ("sda1/holders/md0/x", b""),
            ],
        );
        lay(
            root,
            "pci0000:00/0000:00:03.0/nvme/nvme0/nvme0n1",
            &[
                ("size", b"65536\n"),
                ("queue/rotational", b"0\n"),
                ("queue/logical_block_size", b"4096\n"),
                ("removable", b"0\n"),
                ("ro", b"1\n"),
                ("device/serial", b"NVME0001            \n"),
                ("device/model", b"QEMU NVMe Ctrl        \n"),
                ("wwid", b"nvme.1b36-4e56-51-00000001\n"),
            ],
        );
        lay(root, "virtual/block/loop0", &[("size", b"8\n")]);
        lay(root, "pci0000:00/usb1/block/sdb", &[("size", b"0\n")]);
        fs::create_dir_all(root.join("proc")).unwrap();
        fs::write(
            root.join("proc/mounts"),
            "proc /proc proc rw 0 0\n/dev/vda /mnt ext4 rw 0 0\n",
        )
        .unwrap();
    }

    #[test]
    fn one_disk_of_each_kind() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        machine(&root);
        insta::assert_debug_snapshot!(list(&root).unwrap());
    }
}
