//! The whole decide and boot tables for a reviewer's eye, the disk check, the ladder, and random walks.

mod checks;
mod tables;
mod walk;

use std::time::Duration;

use super::facts::{Fact, ServedBoot, TalosFact};
use super::*;
use crate::id::{ClaimId, Epoch, MachineId, Timestamp};

/// Everything is a minute apart from this moment.
const T0: Timestamp = Timestamp(1_000_000_000);

fn claim_id() -> ClaimId {
    ClaimId("lab/cp".into())
}

fn disk(serial: &str) -> Disk {
    Disk {
        device: "nvme0n1".into(),
        serial: serial.into(),
        bytes: 100 << 30,
        kind: "nvme".into(),
        blank: true,
        fingerprint: format!("{serial}-blank"),
        ..Disk::default()
    }
}

fn holds(mut disk: Disk, signatures: &[&str]) -> Disk {
    disk.blank = false;
    disk.signatures = signatures.iter().map(|s| (*s).to_owned()).collect();
    disk.fingerprint = format!("{}-{}", disk.serial, signatures.join("+"));
    disk
}

fn claim() -> Claim {
    Claim {
        id: claim_id(),
        hold: Hold::Held,
        wipe: Wipe {
            method: WipeMethod::Quick,
            disks: WipeDisks::All,
        },
        allow_wipe: vec![],
        on_wipe_failure: OnWipeFailure::Quarantine,
        targets: vec![Target {
            disk: DiskId("D1".into()),
            fingerprint: "D1-blank".into(),
        }],
        config: ConfigState::Ready,
    }
}

/// An accepted machine with a BMC in this phase, claimed and written by `lab/cp`.
fn machine(phase: Phase, goal: Goal) -> Machine {
    let mut m = Machine::new(MachineId("b1".into()), T0);
    m.admission = Admission::Accepted;
    m.control = Control::Bmc;
    m.phase = phase;
    m.goal = goal;
    m.epoch = Epoch(7);
    m.claim = Some(claim());
    m
}

fn report(m: &mut Machine, at: Timestamp, disks: Vec<Disk>) {
    m.report = Some(Report {
        at,
        epoch: m.epoch,
        hardware: Hardware {
            disks,
            ..Hardware::default()
        },
    });
}

fn attempt(m: &mut Machine, at: Timestamp, leg: Leg, how: How, outcome: Option<Outcome>) {
    m.tries.push(Try {
        at,
        leg,
        how,
        outcome,
    });
}

fn see(m: &mut Machine, at: Timestamp, fact: Fact) {
    m.facts.push(Seen { at, fact });
}

fn later(minutes: u64) -> Timestamp {
    T0 + Duration::from_secs(60 * minutes)
}

/// A decision on one line, without the prose of its reason.
fn short(decision: &Decision) -> String {
    let list = |actions: &[Action]| {
        let names: Vec<String> = actions
            .iter()
            .map(|a| match a {
                Action::Boot(leg, how) => format!("boot {} {how:?}", leg.name()),
                Action::Erase(disks) => {
                    let ids: Vec<&str> = disks.iter().map(|d| d.serial.as_str()).collect();
                    format!("erase {}", ids.join("+"))
                }
                Action::PowerOff => "power off".to_owned(),
            })
            .collect();
        names.join(", ")
    };
    match decision {
        Decision::Enter(phase, reason) => format!("ENTER {phase} ({})", reason.name()),
        Decision::Work(actions, reason) => format!("work [{}] ({})", list(actions), reason.name()),
        Decision::Rest(actions, reason) => format!("rest [{}] ({})", list(actions), reason.name()),
    }
}
