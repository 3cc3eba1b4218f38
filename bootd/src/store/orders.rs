//! Orders to the agent, their proofs, and the record of what is about to be done.

use bootd_core::bmc::{Bound, Proof};
use bootd_core::id::{Epoch, MachineId};
use bootd_core::lifecycle::facts::Fact;
use bootd_core::lifecycle::{
    Action, DiskId, Ended, EraseDisk, How, Leg, Order, Outcome, PowerSeen, PowerState, Reason,
    Scope, Try, What,
};
use metal_proto::metal::v1 as pb;
use sha2::{Digest as _, Sha256};

use super::machines::{Journal, Record};
use super::{Result, Store, now};

/// What a proof reads at each offset.
const PROBE_BYTES: usize = 4096;
/// How far into both ends of a disk a quick erase is sure to reach.
const QUICK_REACH: u64 = 2 << 20;
/// Offsets per disk and end.
const PROBES: usize = 4;
/// Orders of one epoch are numbered from `epoch * ORDERS`, so that numbers grow over a machine's life.
const ORDERS: u64 = 1000;

impl Store {
    /// Records an action before it is done. `false`: the epoch moved, do nothing.
    pub(crate) async fn record(
        &self,
        id: &MachineId,
        decided_in: Epoch,
        action: &Action,
        reason: &Reason,
    ) -> Result<bool> {
        let done = self
            .change(id, |record, journal| {
                if record.machine.epoch != decided_in {
                    return false;
                }
                record.machine.reason = reason.to_string();
                record_action(record, journal, action);
                true
            })
            .await?;
        Ok(done.unwrap_or(false))
    }

    /// Stores how the newest try ended.
    pub(crate) async fn record_outcome(
        &self,
        id: &MachineId,
        decided_in: Epoch,
        outcome: Outcome,
    ) -> Result<()> {
        self.change(id, |record, journal| {
            if record.machine.epoch != decided_in {
                return;
            }
            match &outcome {
                Outcome::Done => {}
                Outcome::Refused(why) | Outcome::OtherBox(why) | Outcome::Silent(why) => {
                    journal.alarm("bmc", why.clone());
                }
            }
            if let Some(last) = record.machine.tries.last_mut() {
                last.outcome = Some(outcome);
            }
        })
        .await?;
        Ok(())
    }

    /// Stores the power state that was read, if it is news.
    pub(crate) async fn record_power(&self, id: &MachineId, state: PowerState) -> Result<()> {
        self.change(id, |record, journal| {
            let m = &mut record.machine;
            if m.power.map(|p| p.state) != Some(state) {
                journal.line(
                    "bmc",
                    match state {
                        PowerState::On => "power is on",
                        PowerState::Off => "power is off",
                        PowerState::Unreachable => "the BMC does not answer",
                    },
                );
            }
            m.power = Some(PowerSeen { at: now(), state });
        })
        .await?;
        Ok(())
    }

    /// Remembers what a machine's BMC said of itself, or forgets it.
    pub(crate) async fn record_binding(&self, id: &MachineId, bound: Option<Bound>) -> Result<()> {
        self.change(id, |record, journal| {
            match &bound {
                Some(bound) => journal.line(
                    "bmc",
                    match bound.proof {
                        Proof::Smbios => {
                            "its BMC is bound to it: GUID and SMBIOS UUID are the same"
                        }
                        Proof::FirstSeen => {
                            "its BMC's GUID is nobody's SMBIOS UUID; it is remembered as it is"
                        }
                    },
                ),
                None => journal.line("api", "a person confirmed its BMC as it is now"),
            }
            record.bmc = bound;
        })
        .await?;
        Ok(())
    }

    /// Tells of a BMC that is not the machine's.
    pub(crate) async fn record_other_box(&self, id: &MachineId, why: &str) -> Result<()> {
        self.change(id, |_, journal| journal.alarm("bmc", why))
            .await?;
        Ok(())
    }

    /// Stores the sentence that people read.
    pub(crate) async fn record_reason(
        &self,
        id: &MachineId,
        decided_in: Epoch,
        reason: &Reason,
    ) -> Result<()> {
        let text = reason.to_string();
        self.change(id, |record, journal| {
            if record.machine.epoch == decided_in && record.machine.reason != text {
                record.machine.reason.clone_from(&text);
                journal.line("phase", format!("{}: {text}", record.machine.phase));
            }
        })
        .await?;
        Ok(())
    }
}

fn record_action(record: &mut Record, journal: &mut Journal, action: &Action) {
    let m = &mut record.machine;
    match action {
        Action::Boot(leg, how) => {
            let again = m
                .tries
                .last()
                .is_some_and(|t| t.leg == *leg && t.how == *how && t.outcome.is_none());
            if again {
                return;
            }
            if *leg == Leg::Talos
                && let Some(claim) = &m.claim
            {
                m.written
                    .extend(claim.targets.iter().map(|t| t.disk.clone()));
            }
            m.tries.push(Try {
                at: now(),
                leg: *leg,
                how: *how,
                outcome: None,
            });
            if *how == How::ByAgent {
                let number = next_number(record);
                record.machine.order = Some(Order {
                    number,
                    what: What::Reboot,
                    issued: now(),
                    ended: None,
                });
            }
            journal.line("bmc", Reason::Booting(*leg, *how).to_string());
        }
        Action::Erase(disks) => {
            let mut nonce = vec![0; 32];
            getrandom::fill(&mut nonce).expect("the system has a random generator");
            let disks: Vec<EraseDisk> = disks.iter().cloned().map(with_probes).collect();
            let names: Vec<&str> = disks.iter().map(name).collect();
            journal.line("agent", format!("ordered to erase {}", names.join(", ")));
            m.written
                .extend(disks.iter().map(|d| DiskId(name(d).to_owned())));
            let number = next_number(record);
            let m = &mut record.machine;
            m.erases += 1;
            m.order = Some(Order {
                number,
                what: What::Erase { disks, nonce },
                issued: now(),
                ended: None,
            });
        }
        Action::PowerOff => {}
    }
}

fn next_number(record: &Record) -> u64 {
    let base = record.machine.epoch.0 * ORDERS;
    record
        .machine
        .order
        .as_ref()
        .map_or(base, |o| o.number.max(base))
        + 1
}

fn name(disk: &EraseDisk) -> &str {
    if disk.serial.is_empty() {
        &disk.wwid
    } else {
        &disk.serial
    }
}

/// Chooses where the proof reads: where this kind of erase is sure to have reached, unknown to the agent beforehand.
fn with_probes(mut disk: EraseDisk) -> EraseDisk {
    let blocks = |bytes: u64| (bytes / PROBE_BYTES as u64).max(1);
    let pick = |below: u64| {
        let mut raw = [0; 8];
        getrandom::fill(&mut raw).expect("the system has a random generator");
        u64::from_le_bytes(raw) % below * PROBE_BYTES as u64
    };
    let reach = match disk.scope {
        Scope::Quick => QUICK_REACH.min(disk.bytes / 2),
        Scope::Full => disk.bytes / 2,
    };
    let whole = disk.bytes / PROBE_BYTES as u64 * PROBE_BYTES as u64;
    for _ in 0..PROBES {
        disk.probes.push(pick(blocks(reach)));
        disk.probes
            .push(whole.saturating_sub(PROBE_BYTES as u64 + pick(blocks(reach))));
    }
    disk
}

/// The order as the agent gets it.
pub(super) fn order_to_proto(order: &Order) -> pb::AgentOrder {
    use pb::agent_order::What as Wire;
    let what = match &order.what {
        What::Reboot => Wire::Reboot(pb::AgentEnd {}),
        What::PowerOff => Wire::PowerOff(pb::AgentEnd {}),
        What::Erase { disks, nonce } => Wire::Erase(pb::AgentErase {
            nonce: nonce.clone(),
            disks: disks
                .iter()
                .map(|d| pb::EraseDisk {
                    serial: d.serial.clone(),
                    wwid: d.wwid.clone(),
                    bytes: d.bytes,
                    fingerprint: d.fingerprint.clone(),
                    scope: match d.scope {
                        Scope::Quick => pb::EraseScope::Quick,
                        Scope::Full => pb::EraseScope::Full,
                    }
                    .into(),
                    probe_offsets: d.probes.clone(),
                })
                .collect(),
        }),
    };
    pb::AgentOrder {
        number: order.number,
        what: Some(what),
    }
}

/// "Ask again".
pub(super) fn wait_order(number: u64) -> pb::AgentOrder {
    pb::AgentOrder {
        number,
        what: Some(pb::agent_order::What::Wait(pb::AgentWait {
            seconds_max: 60,
        })),
    }
}

/// "Boot again", for an agent that waits with an earlier epoch's token.
pub(super) fn reboot_order(epoch: Epoch) -> pb::AgentOrder {
    pb::AgentOrder {
        number: epoch.0 * ORDERS,
        what: Some(pb::agent_order::What::Reboot(pb::AgentEnd {})),
    }
}

/// Checks the result of the present erase order and notes how it ended. Results of other orders change nothing.
pub(super) fn take_result(record: &mut Record, journal: &mut Journal, result: &pb::AgentResult) {
    let m = &mut record.machine;
    let Some(order) = m
        .order
        .as_mut()
        .filter(|o| o.number == result.order && o.ended.is_none())
    else {
        return;
    };
    let What::Erase { disks, nonce } = &order.what else {
        return;
    };
    let failed = if result.refused.is_empty() {
        disks
            .iter()
            .find_map(|disk| unproven(disk, nonce, &result.disks))
    } else {
        Some(format!("the agent refused: {}", result.refused))
    };
    journal.fact(match &failed {
        None => Fact::EraseProven,
        Some(why) => Fact::EraseFailed { why: why.clone() },
    });
    if failed.is_none() {
        m.proven
            .extend(disks.iter().map(|d| DiskId(name(d).to_owned())));
    }
    order.ended = Some(Ended { at: now(), failed });
}

fn unproven(disk: &EraseDisk, nonce: &[u8], results: &[pb::DiskResult]) -> Option<String> {
    let id = name(disk);
    let Some(result) = results
        .iter()
        .find(|r| r.serial == disk.serial && r.wwid == disk.wwid)
    else {
        return Some(format!("disk {id}: no result"));
    };
    if !result.failed.is_empty() {
        return Some(format!("disk {id}: {}", result.failed));
    }
    let mut digest = Sha256::new();
    digest.update(nonce);
    for _ in &disk.probes {
        digest.update([0; PROBE_BYTES]);
    }
    (digest.finalize().as_slice() != result.proof)
        .then(|| format!("disk {id}: the proof is wrong; something is left on it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> EraseDisk {
        with_probes(EraseDisk {
            serial: "A".into(),
            wwid: "w".into(),
            bytes: 100 << 20,
            fingerprint: "f".into(),
            scope: Scope::Quick,
            probes: vec![],
        })
    }

    #[test]
    fn probes_lie_where_a_quick_erase_reaches() {
        let disk = disk();
        assert_eq!(disk.probes.len(), 2 * PROBES);
        for at in &disk.probes {
            assert!(
                *at <= QUICK_REACH || at + 4096 + QUICK_REACH >= disk.bytes,
                "{at}"
            );
            assert!(at + 4096 <= disk.bytes && at % 4096 == 0, "{at}");
        }
    }

    #[test]
    fn only_zeros_with_this_nonce_prove_an_erase() {
        let disk = disk();
        let proof = |nonce: &[u8], last: u8| {
            let mut digest = Sha256::new();
            digest.update(nonce);
            let mut bytes = vec![0; 4096 * disk.probes.len()];
            if let Some(end) = bytes.last_mut() {
                *end = last;
            }
            digest.update(&bytes);
            pb::DiskResult {
                serial: "A".into(),
                wwid: "w".into(),
                proof: digest.finalize().to_vec(),
                ..Default::default()
            }
        };
        assert_eq!(unproven(&disk, b"n", &[proof(b"n", 0)]), None);
        assert!(unproven(&disk, b"n", &[proof(b"n", 1)]).is_some());
        assert!(unproven(&disk, b"n", &[proof(b"m", 0)]).is_some());
        assert!(unproven(&disk, b"n", &[]).is_some());
        let failed = pb::DiskResult {
            failed: "I/O error".into(),
            ..proof(b"n", 0)
        };
        assert_eq!(
            unproven(&disk, b"n", &[failed]).as_deref(),
            Some("disk A: I/O error")
        );
    }
}
