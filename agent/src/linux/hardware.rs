//! Processor, memory, firmware and network cards, from SMBIOS and sysfs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use metal_proto::metal::v1::{Hardware, Nic};

use super::attribute;
use crate::smbios::{Facts, UuidOrder};

/// Everything but the disks, below `root`, a running system's `/`. What is not told is empty or zero.
#[must_use]
pub fn read(root: &Path) -> Hardware {
    let tables = root.join("sys/firmware/dmi/tables");
    let order =
        UuidOrder::of_entry_point(&fs::read(tables.join("smbios_entry_point")).unwrap_or_default());
    let facts = Facts::parse(&fs::read(tables.join("DMI")).unwrap_or_default(), order);
    let (cores, threads) = processors(root);
    let interface = if root.join("sys/firmware/efi").exists() {
        "UEFI"
    } else {
        "BIOS"
    };
    Hardware {
        manufacturer: facts.manufacturer,
        product: facts.product,
        serial: facts.serial,
        uuid: facts.uuid,
        arch: arch().to_owned(),
        cpu_model: cpu_model(root).unwrap_or(facts.cpu),
        cpu_cores: cores,
        cpu_threads: threads,
        memory_bytes: if facts.memory_bytes > 0 {
            facts.memory_bytes
        } else {
            memory_total(root)
        },
        disks: Vec::new(),
        nics: nics(root),
        firmware: format!("{} {interface}", facts.firmware).trim().to_owned(),
    }
}

/// In the words of the API.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn processors(root: &Path) -> (u32, u32) {
    let mut cores = BTreeSet::new();
    let mut threads = 0;
    for entry in fs::read_dir(root.join("sys/devices/system/cpu"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_one = name
            .strip_prefix("cpu")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        if !is_one {
            continue;
        }
        threads += 1;
        let topology = entry.path().join("topology");
        let package = attribute(&topology.join("physical_package_id"));
        let core = attribute(&topology.join("core_id"));
        cores.insert(if core.is_empty() {
            (name, core)
        } else {
            (package, core)
        });
    }
    (u32::try_from(cores.len()).unwrap_or(u32::MAX), threads)
}

fn cpu_model(root: &Path) -> Option<String> {
    let text = attribute(&root.join("proc/cpuinfo"));
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned()).filter(|model| !model.is_empty())
}

fn memory_total(root: &Path) -> u64 {
    attribute(&root.join("proc/meminfo"))
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .unwrap_or(0)
        .saturating_mul(1024)
}

fn nics(root: &Path) -> Vec<Nic> {
    let mut nics = Vec::new();
    for entry in fs::read_dir(root.join("sys/class/net"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        // Only hardware has a device behind it.
        if !path.join("device").exists() {
            continue;
        }
        let driver = fs::read_link(path.join("device/driver")).ok();
        nics.push(Nic {
            name: entry.file_name().to_string_lossy().into_owned(),
            mac: attribute(&path.join("address")),
            driver: driver
                .and_then(|d| Some(d.file_name()?.to_string_lossy().into_owned()))
                .unwrap_or_default(),
            // Reads as -1, or not at all, without a link.
            speed_mbps: attribute(&path.join("speed")).parse().unwrap_or(0),
        });
    }
    nics.sort_by(|a, b| a.name.cmp(&b.name));
    nics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, content: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn two_cores_of_two_threads_without_firmware_tables() {
        let dir = tempfile::tempdir().unwrap();
        for (cpu, core) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
            write(
                dir.path(),
                &format!("sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id"),
                "0\n",
            );
            write(
                dir.path(),
                &format!("sys/devices/system/cpu/cpu{cpu}/topology/core_id"),
                &format!("{core}\n"),
            );
        }
        write(dir.path(), "sys/devices/system/cpu/cpufreq/x", "");
        write(
            dir.path(),
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: Fast 9000\n",
        );
        write(
            dir.path(),
            "proc/meminfo",
            "MemTotal:         500000 kB\nMemFree: 1 kB\n",
        );
        write(
            dir.path(),
            "sys/class/net/eth0/address",
            "52:54:00:00:00:01\n",
        );
        write(dir.path(), "sys/class/net/eth0/speed", "-1\n");
        write(dir.path(), "sys/class/net/eth0/device/x", "");
        write(
            dir.path(),
            "sys/class/net/lo/address",
            "00:00:00:00:00:00\n",
        );
        let hardware = read(dir.path());
        assert_eq!(
            (
                hardware.cpu_cores,
                hardware.cpu_threads,
                hardware.memory_bytes
            ),
            (2, 4, 512_000_000)
        );
        assert_eq!(
            (hardware.cpu_model.as_str(), hardware.firmware.as_str()),
            ("Fast 9000", "BIOS")
        );
        assert_eq!(hardware.nics.len(), 1);
        assert_eq!(hardware.nics[0].speed_mbps, 0);
    }
}
