//! Erase orders against disks of files: what goes, what stays byte-identical, and what is refused as a whole.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod machine;

use std::path::Path;
use std::process::Command;

use machine::{Fault, MIB, Machine, fill, is_zero, read, write, write_gpt, write_talos};
use metal_agent::erase::carry_out;
use metal_proto::metal::v1::{AgentErase, AgentResult, EraseDisk, EraseScope};
use sha2::{Digest, Sha256};

/// An order for disks by their place, exactly as bootd makes it from a report.
fn order(machine: &Machine, disks: &[usize], scope: EraseScope) -> AgentErase {
    let report = machine.report();
    let disks = disks.iter().map(|n| {
        let disk = &report[*n];
        EraseDisk {
            serial: disk.serial.clone(),
            wwid: disk.wwid.clone(),
            bytes: disk.bytes,
            fingerprint: disk.fingerprint.clone(),
            scope: scope.into(),
            probe_offsets: vec![0, disk.bytes - 4096],
        }
    });
    AgentErase {
        disks: disks.collect(),
        nonce: b"salt".to_vec(),
    }
}

fn erase(machine: &Machine, disks: &[usize], scope: EraseScope) -> AgentResult {
    carry_out(machine, 1, &order(machine, disks, scope))
}

fn expect_erased(result: &AgentResult) {
    assert_eq!(result.refused, "");
    for disk in &result.disks {
        assert_eq!(disk.failed, "", "{}", disk.serial);
    }
}

fn mkfs_ext4(path: &Path) {
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-F"])
        .arg(path)
        .status()
        .expect("mkfs.ext4 is installed (e2fsprogs)");
    assert!(made.success());
}

/// What util-linux, which shares no code with us, finds on a disk.
fn wipefs(path: &Path) -> Vec<String> {
    let found = Command::new("wipefs")
        .args(["--noheadings", "--output", "TYPE"])
        .arg(path)
        .output()
        .expect("wipefs is installed (util-linux)");
    let mut types: Vec<String> = String::from_utf8(found.stdout)
        .unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    types.sort();
    types.dedup();
    types
}

#[test]
fn quick_removes_a_real_ext4() {
    let machine = Machine::new();
    let path = machine.drive("A", 64);
    mkfs_ext4(&path);
    fill(&path, 30 * MIB, 4096);
    assert_eq!(machine.report()[0].signatures, ["ext4"]);
    assert_eq!(wipefs(&path), ["ext4"]);

    let result = erase(&machine, &[0], EraseScope::Quick);

    expect_erased(&result);
    let after = result.disks[0].after.clone().unwrap();
    assert!(after.blank && after.signatures.is_empty());
    assert!(wipefs(&path).is_empty());
    assert!(is_zero(&path, 0, 2 * MIB) && is_zero(&path, 62 * MIB, 2 * MIB));
    let mut proof = Sha256::new();
    proof.update(b"salt");
    proof.update([0; 8192]);
    assert_eq!(result.disks[0].proof, proof.finalize().to_vec());
    assert_eq!(
        machine.report()[0].fingerprint,
        after.fingerprint,
        "the next report shows the same disk"
    );
}

#[test]
fn full_leaves_not_one_byte() {
    let machine = Machine::new();
    let path = machine.drive("A", 40);
    fill(&path, 0, 40 * MIB);
    assert_eq!(
        machine.report()[0].signatures,
        ["unknown-data"],
        "data that nobody knows is not nothing"
    );
    expect_erased(&erase(&machine, &[0], EraseScope::Full));
    assert!(is_zero(&path, 0, 40 * MIB));
}

#[test]
fn quick_removes_every_byte_of_meta_state_boot_and_efi() {
    let machine = Machine::new();
    let path = machine.drive("A", 64);
    let layout = write_talos(&path);
    assert_eq!(
        machine.report()[0].signatures,
        [
            "gpt",
            "talos:BIOS",
            "talos:BOOT",
            "talos:EFI",
            "talos:EPHEMERAL",
            "talos:META",
            "talos:STATE"
        ]
    );
    expect_erased(&erase(&machine, &[0], EraseScope::Quick));
    for (name, first, mib) in layout {
        let whole = name != "EPHEMERAL";
        let ends = is_zero(&path, first * MIB, mib.min(2) * MIB)
            && is_zero(&path, (first + mib - mib.min(2)) * MIB, mib.min(2) * MIB);
        assert!(ends, "both ends of {name}");
        assert!(
            !whole || is_zero(&path, first * MIB, mib * MIB),
            "all of {name}"
        );
    }
    assert!(
        !is_zero(&path, 40 * MIB, MIB),
        "quick does not read as full"
    );
    assert!(wipefs(&path).is_empty());
}

#[test]
fn quick_removes_copies_far_from_the_ends() {
    let machine = Machine::new();
    let path = machine.drive("A", 128);
    let mirror = 64 * MIB + 64;
    write(&path, mirror, b"_BHRfS_M");
    write_gpt(&path, 512, &[("data", 10, 100)]);
    write(&path, 10 * MIB + 4 * MIB, b"SKUL\xba\xbe");
    assert_eq!(
        machine.report()[0].signatures,
        ["btrfs", "gpt", "luks", "partition:data"]
    );
    expect_erased(&erase(&machine, &[0], EraseScope::Quick));
    assert!(is_zero(&path, mirror, 8) && is_zero(&path, 14 * MIB, 8));
}

#[test]
fn stale_talos_keeps_the_neighbours_byte_identical() {
    let machine = Machine::new();
    for (number, block) in [(0, 512), (1, 4096)] {
        let path = machine.drive(&format!("S{number}"), 64);
        machine.change(number, |drive| drive.facts.block_bytes = block as u32);
        write_gpt(
            &path,
            block,
            &[
                ("data", 1, 10),
                ("META", 11, 1),
                ("STATE", 12, 8),
                ("BOOT", 20, 4),
                ("more", 24, 20),
                ("EPHEMERAL", 44, 16),
            ],
        );
        fill(&path, MIB, 59 * MIB);
        let (data, more) = (read(&path, MIB, 10 * MIB), read(&path, 24 * MIB, 20 * MIB));

        let result = erase(&machine, &[number], EraseScope::StaleTalos);

        expect_erased(&result);
        assert_eq!(
            result.disks[0].after.as_ref().unwrap().signatures,
            ["gpt", "partition:data", "partition:more"]
        );
        assert!(read(&path, MIB, 10 * MIB) == data && read(&path, 24 * MIB, 20 * MIB) == more);
        assert!(
            is_zero(&path, 11 * MIB, 13 * MIB),
            "META, STATE and BOOT in full"
        );
        assert!(
            is_zero(&path, 44 * MIB, 2 * MIB) && is_zero(&path, 58 * MIB, 2 * MIB),
            "both ends of EPHEMERAL"
        );
        assert!(!is_zero(&path, 50 * MIB, MIB));
    }
    // util-linux believes a GPT only if its checksums hold.
    assert!(wipefs(&machine.dir.path().join("disk0.raw")).contains(&"gpt".to_owned()));
}

#[test]
fn stale_talos_alone_takes_the_table_too_and_without_talos_nothing_is_written() {
    let machine = Machine::new();
    let path = machine.drive("A", 64);
    write_talos(&path);
    let result = erase(&machine, &[0], EraseScope::StaleTalos);
    expect_erased(&result);
    assert!(result.disks[0].after.as_ref().unwrap().blank);
    let other = machine.drive("B", 64);
    mkfs_ext4(&other);
    let before = read(&other, 0, 64 * MIB);
    expect_erased(&erase(&machine, &[1], EraseScope::StaleTalos));
    assert!(read(&other, 0, 64 * MIB) == before);
}

#[test]
fn the_backup_table_alone_still_shows_talos() {
    let machine = Machine::new();
    let path = machine.drive("A", 64);
    write_talos(&path);
    write(&path, 0, &[0; 1024]);
    assert!(
        machine.report()[0]
            .signatures
            .contains(&"talos:STATE".to_owned())
    );
    expect_erased(&erase(&machine, &[0], EraseScope::Quick));
    assert!(is_zero(&path, 19 * MIB, 8 * MIB));
}

/// A box that loses its power anywhere in an erase must not look clean while it still holds a cluster's state.
#[test]
fn killed_after_any_write_the_disk_is_either_visibly_dirty_or_without_state() {
    for scope in [EraseScope::Quick, EraseScope::Full, EraseScope::StaleTalos] {
        for writes in 0.. {
            let machine = Machine::new();
            let path = machine.drive("A", 64);
            write_talos(&path);
            let order = order(&machine, &[0], scope);
            machine.power.set(writes + 1);
            let result = carry_out(&machine, 1, &order);
            let finished = result.disks[0].failed.is_empty();
            machine.power.set(u64::MAX);
            let shown = machine.report()[0]
                .signatures
                .contains(&"talos:STATE".to_owned());
            assert!(
                shown || is_zero(&path, 19 * MIB, 8 * MIB),
                "{scope:?} cut after {writes} writes"
            );
            if finished {
                assert!(writes >= 2, "there was something to cut");
                break;
            }
            assert_eq!(
                result.disks[0].failed, "power lost",
                "{scope:?} cut after {writes} writes"
            );
        }
    }
}

/// Spoils one order for two good disks and expects that neither is touched.
fn expect_refusal(why: &str, spoil: impl FnOnce(&Machine, &mut AgentErase)) {
    let machine = Machine::new();
    let paths = [machine.drive("A", 16), machine.drive("B", 16)];
    for path in &paths {
        mkfs_ext4(path);
    }
    let mut order = order(&machine, &[0, 1], EraseScope::Quick);
    spoil(&machine, &mut order);
    let before = paths.each_ref().map(|path| read(path, 0, 16 * MIB));
    let result = carry_out(&machine, 9, &order);
    assert_eq!(result.refused, why);
    assert_eq!((result.order, result.disks.len()), (9, 0));
    assert!(
        paths.each_ref().map(|path| read(path, 0, 16 * MIB)) == before,
        "nothing is written"
    );
}

#[test]
fn an_order_is_refused_as_a_whole() {
    expect_refusal("the order names no disk", |_, order| order.disks.clear());
    expect_refusal(
        "a disk of the order has neither serial nor WWID",
        |_, order| order.disks[1].serial.clear(),
    );
    expect_refusal(
        "disk C: no disk here has this serial and WWID; inspect the machine again",
        |_, order| order.disks[1].serial = "C".into(),
    );
    expect_refusal(
        "disk B (naa.5): no disk here has this serial and WWID; inspect the machine again",
        |_, order| order.disks[1].wwid = "naa.5".into(),
    );
    expect_refusal("disk A: the order names this disk twice", |_, order| {
        order.disks[1] = order.disks[0].clone()
    });
    expect_refusal(
        "disk B: the order has no fingerprint of its content",
        |_, order| order.disks[1].fingerprint.clear(),
    );
    expect_refusal(
        "disk B: it has 16777216 bytes, the order expects 4096; inspect the machine again",
        |_, order| order.disks[1].bytes = 4096,
    );
    expect_refusal(
        "disk B: the order does not say what to erase",
        |_, order| order.disks[1].scope = 0,
    );
    expect_refusal(
        "disk B: the order probes it at byte 16777215, which is outside",
        |_, order| order.disks[1].probe_offsets = vec![16 * MIB - 1],
    );
    expect_refusal(
        "disk B: its content changed since it was reported; inspect the machine again",
        |machine, _| {
            write(&machine.drives.borrow()[1].path, 1024 + 0x34, &[9]);
        },
    );
    expect_refusal(
        "disk B: it cannot be opened for writing: resource busy",
        |machine, _| machine.change(1, |drive| drive.fault = Fault::Busy),
    );
    expect_refusal(
        "disk B: its content cannot be read: unreadable sector",
        |machine, _| machine.change(1, |drive| drive.fault = Fault::ReadFails(8 * MIB)),
    );
    expect_refusal("disk B: it refuses writes (read-only)", |machine, _| {
        machine.change(1, |drive| drive.facts.readonly = true)
    });
    expect_refusal("disk B: in use: mounted at /mnt", |machine, _| {
        machine.change(1, |drive| drive.facts.held = Some("mounted at /mnt".into()))
    });
    expect_refusal(
        "disk A: 2 disks here have this serial and WWID, none is written; name the disk by its WWID",
        |machine, order| {
            machine.change(1, |drive| drive.facts.serial = "A".into());
            order.disks.truncate(1);
        },
    );
}

#[test]
fn a_damaged_table_beside_foreign_partitions_is_refused() {
    let machine = Machine::new();
    let path = machine.drive("A", 64);
    write_gpt(&path, 512, &[("data", 1, 10), ("STATE", 12, 8)]);
    write(&path, 1024 + 60, b"x");
    write(&path, 64 * MIB - 512 - 16384 + 60, b"y");
    let before = read(&path, 0, 64 * MIB);
    let result = erase(&machine, &[0], EraseScope::StaleTalos);
    assert!(
        result.refused.starts_with("disk A: its GPT is damaged"),
        "{}",
        result.refused
    );
    assert!(read(&path, 0, 64 * MIB) == before);
    expect_erased(&erase(&machine, &[0], EraseScope::Quick));
}

#[test]
fn a_wwid_tells_two_disks_with_one_serial_apart() {
    let machine = Machine::new();
    let (one, two) = (machine.drive("A", 16), machine.drive("A", 16));
    mkfs_ext4(&one);
    mkfs_ext4(&two);
    machine.change(0, |drive| drive.facts.wwid = "naa.1".into());
    machine.change(1, |drive| drive.facts.wwid = "naa.2".into());
    let before = read(&one, 0, 16 * MIB);
    expect_erased(&erase(&machine, &[1], EraseScope::Quick));
    assert!(read(&one, 0, 16 * MIB) == before);
    assert!(wipefs(&two).is_empty());
}

fn failure(fault: Fault) -> String {
    let machine = Machine::new();
    let path = machine.drive("A", 16);
    mkfs_ext4(&path);
    let order = order(&machine, &[0], EraseScope::Quick);
    machine.change(0, |drive| drive.fault = fault);
    let result = carry_out(&machine, 1, &order);
    assert_eq!(result.refused, "");
    assert!(!result.disks[0].failed.is_empty() || wipefs(&path).is_empty());
    assert!(
        result.disks[0].failed.is_empty() || result.disks[0].proof.is_empty(),
        "no proof of a failure"
    );
    result.disks[0].failed.clone()
}

#[test]
fn devices_that_lie_or_fail_are_caught() {
    assert_eq!(
        failure(Fault::ZeroLies),
        "byte 1025 still holds data after it was zeroed"
    );
    assert_eq!(
        failure(Fault::SyncFails),
        "the disk did not confirm that everything reached the medium: flush failed"
    );
    assert_eq!(
        failure(Fault::DiscardSpoils),
        "byte 4096 still holds data after it was zeroed"
    );
    assert_eq!(
        failure(Fault::ZeroUnsupported),
        "",
        "zeros are written instead"
    );
}

#[test]
fn the_fingerprint_follows_the_content() {
    let machine = Machine::new();
    let path = machine.drive("A", 64);
    write_gpt(&path, 512, &[("data", 10, 40)]);
    let print = || machine.report()[0].fingerprint.clone();
    let first = print();
    assert_eq!(
        first,
        print(),
        "the same content gives the same fingerprint"
    );
    let mut seen = vec![first];
    // Both ends, the table, inside the partition at both ends, and a sampled place in the middle.
    for place in [
        600 * 1024,
        64 * MIB - 600 * 1024,
        1024 + 56,
        10 * MIB + 4096,
        50 * MIB - 4096,
        32 * MIB,
    ] {
        write(&path, place, &[0x77]);
        let now = print();
        assert!(!seen.contains(&now), "a change at {place} is seen");
        seen.push(now);
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_reported_and_never_blank() {
    let machine = Machine::new();
    machine.drive("A", 16);
    machine.change(0, |drive| drive.fault = Fault::ReadFails(0));
    let disk = &machine.report()[0];
    assert_eq!(
        (
            disk.unreadable.as_str(),
            disk.blank,
            disk.fingerprint.as_str()
        ),
        ("unreadable sector", false, "")
    );
    assert_eq!(disk.serial, "A");
}
