//! The decisions about disks, on what agents report.
//!
//! The rules that were here before `talos` decided were compared with these over random machines: the same disk or an error, and
//! never a target less, but for selectors by size and expressions that the inventory decides. The tables keep what came out.

use super::*;

fn disk(device: &str, serial: &str, kind: &str, gigabytes: u64) -> Disk {
    Disk {
        device: device.into(),
        serial: serial.into(),
        wwid: match serial {
            "" => String::new(),
            serial => format!("eui.{serial}"),
        },
        bus_path: format!("pci0000:00/0000:00:1f.2/ata1/host0/block/{device}"),
        model: "PM9A3".into(),
        kind: kind.into(),
        bytes: gigabytes * 1_000_000_000,
        signatures: vec!["ext4".into()],
        fingerprint: "f".into(),
        ..Disk::default()
    }
}

fn machine() -> Hardware {
    let mut usb = disk("sdc", "U1", "ssd", 256);
    usb.bus_path = "pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/block/sdc".into();
    let mut stick = disk("sdd", "U2", "ssd", 16);
    stick.removable = true;
    let mut dead = disk("sde", "D1", "hdd", 4000);
    dead.unreadable = "I/O error".into();
    Hardware {
        disks: vec![
            disk("nvme0n1", "N1", "nvme", 960),
            disk("nvme1n1", "N2", "nvme", 480),
            disk("sda", "A1", "ssd", 480),
            disk("sdb", "B1", "hdd", 4000),
            usb,
            stick,
            dead,
        ],
        ..Hardware::default()
    }
}

fn wanted(change: fn(&mut InstallDisk)) -> InstallDisk {
    let mut wanted = InstallDisk::default();
    change(&mut wanted);
    wanted
}

#[test]
fn the_install_disk_is_one_disk_by_its_names() {
    let check = |change: fn(&mut InstallDisk), serial: &str| {
        let chosen = install_disk(Some(&wanted(change)), &machine()).unwrap();
        assert_eq!(chosen.serial.as_deref(), Some(serial));
        assert_eq!(chosen.wwid, Some(format!("eui.{serial}")));
    };
    check(|w| w.r#type = "nvme".into(), "N2");
    check(|w| w.serial = "N1".into(), "N1");
    check(|w| w.wwid = "eui.B1".into(), "B1");
    check(
        |w| {
            w.model = "pm9?3".into();
            w.r#type = "hdd".into();
        },
        "B1",
    );
    check(
        |w| {
            w.bytes = Some(Range {
                min: Some(300_000_000_000),
                max: Some(500_000_000_000),
            });
        },
        "A1",
    );
    // Built in, if on USB: eligible as long as there is no argument for it. What can be taken out never is.
    check(
        |w| {
            w.bytes = Some(Range {
                min: Some(1),
                max: None,
            });
        },
        "U1",
    );
}

#[test]
fn every_disk_that_was_not_taken_has_its_reason() {
    let refused = |change: fn(&mut InstallDisk)| {
        let error = install_disk(Some(&wanted(change)), &machine()).unwrap_err();
        format!(
            "{} at {}\n{}\n{}",
            error.reason, error.attribute, error.detail, error.hint
        )
    };
    insta::assert_snapshot!(refused(|w| w.model = "Samsung*".into()));
    insta::assert_snapshot!(refused(|_| {}));
    insta::assert_snapshot!(refused(|w| w.serial = "N*".into()), @r#"
    bad-install-disk at install_disk.serial
    serial "N*" is a pattern; it must be the whole name of one disk.
    write all of it, or use model, type and size
    "#);
    insta::assert_snapshot!(refused(|w| w.r#type = "floppy".into()), @r#"
    bad-install-disk at install_disk.type
    type "floppy" is no kind of disk.
    write nvme, ssd or hdd
    "#);
    let nameless = Hardware {
        disks: vec![disk("vda", "", "ssd", 100), disk("sda", "A1", "ssd", 480)],
        ..Hardware::default()
    };
    let ssd = wanted(|w| w.r#type = "ssd".into());
    let error = install_disk(Some(&ssd), &nameless).unwrap_err();
    insta::assert_snapshot!(format!("{}: {}", error.reason, error.detail), @"unstable-disk: Of the disks that fit install_disk, vda (PM9A3, 100 GB) comes first, but it has neither serial nor wwid, so it has no stable name: it could be another one after the next boot.");
}

fn volume(expression: &str) -> String {
    format!(
        "machine: {{install: {{diskSelector: {{serial: N2, wwid: eui.N2}}}}}}\n---\napiVersion: v1alpha1\nkind: UserVolumeConfig\nname: data\nprovisioning: {{diskSelector: {{match: '{expression}'}}}}\n"
    )
}

fn targets(config: &str) -> String {
    let found = overwritten(&MachineConfig::new(config), &machine()).unwrap();
    let names: Vec<&str> = found.iter().map(|t| t.serial.as_str()).collect();
    names.join(" ")
}

/// Everything that is built in.
const ANY: &str = "N1 N2 A1 B1 U1 D1";

#[test]
fn what_cannot_be_decided_counts_as_overwritten() {
    let install = |words: &str| format!("machine: {{install: {{{words}}}}}\n");
    for (config, expected) in [
        (install("diskSelector: {serial: N2, wwid: eui.N2}"), "N2"),
        (install("diskSelector: {model: pm9a3}"), ANY),
        // Before, an NVMe disk was not seen to be one that does not turn.
        (install("diskSelector: {type: ssd}"), "N1 N2 A1 U1"),
        (install("diskSelector: {type: nvme}"), "N1 N2"),
        (install("diskSelector: {busPath: /pci*}"), ANY),
        (install("diskSelector: {uuid: x}"), ANY),
        (install("diskSelector: {}"), ANY),
        // Before, a size was not compared.
        (install("diskSelector: {size: \">= 1TB\"}"), "B1 D1"),
        (install("disk: /dev/sda"), "A1"),
        (install("disk: /dev/nvme1n1p1"), "N2"),
        (install("disk: /dev/disk/by-id/ata-PM9A3_A1"), "A1"),
        // Before, a path that names no disk that was seen meant none.
        (install("disk: /dev/sdz"), ANY),
        (install("disk: /dev/md0"), ANY),
        (install("disk: /dev/disk/by-path/pci-1"), ANY),
        (install("disk: /dev/disk/by-id/wwn-0x5"), ANY),
    ] {
        assert_eq!(targets(&config), expected, "{config}");
    }
}

#[test]
fn expressions_of_volumes() {
    for (expression, expected) in [
        ("system_disk", "N2"),
        ("!system_disk", ANY),
        ("disk.dev_path == \"/dev/sda\"", ANY),
        ("\"x\" in disk.symlinks", ANY),
        ("disk.model.startsWith(\"Z\")", ANY),
        ("disk.bus_path == \"/pci\"", ANY),
        ("disk.transport == \"sata\"", "N2 A1 B1 D1"),
        ("disk.transport != \"\"", ANY),
        // Before, no expression was decided: all of these meant any disk.
        ("disk.serial == \"A1\"", "N2 A1"),
        ("disk.rotational", "N2 B1 D1"),
        ("disk.transport == \"nvme\" && !system_disk", "N1 N2"),
        ("disk.size > 1u * TB", "N2 B1 D1"),
    ] {
        assert_eq!(targets(&volume(expression)), expected, "{expression}");
    }
}

#[test]
fn data_that_the_claim_does_not_name_is_refused() {
    let mut hardware = machine();
    hardware.disks.push(disk("vda", "", "ssd", 10));
    hardware.disks[0].blank = true;
    let config = MachineConfig::new(volume("!system_disk"));
    let targets = overwritten(&config, &hardware).unwrap();
    let allowed = ["N2", "eui.A1", "B1", "U1"].map(str::to_owned);
    let refused = remarks(&targets, &hardware, &allowed);
    let told: Vec<String> = refused
        .into_iter()
        .filter_map(|r| r.what)
        .map(|e| format!("{} Hint: {}", e.detail, e.hint))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn patterns_of_classes_and_of_install_disks_mean_the_same() {
    let words = ["", "*", "?", "a", "A*b", "pm9?3*", "**", "a?", "é*"];
    for pattern in words {
        for text in ["", "a", "ab", "AxxB", "PM9A3 MZ", "É", "a?"] {
            assert_eq!(
                disks::like(pattern, text),
                bootd_core::class::glob(pattern, text),
                "{pattern} {text}"
            );
        }
    }
}
