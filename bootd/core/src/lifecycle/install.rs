//! The install epoch: the agent looks, what the claim allows is erased, then Talos installs and boots from disk.

use super::disks::{DiskVerdict, judge};
use super::facts::{Fact, TalosFact};
use super::ladder;
use super::machine::{Admission, Claim, ConfigState, Control, Hold, Machine, Report};
use super::phase::{Action, Deadlines, Decision, How, Leg, Phase};
use super::reason::Reason;
use crate::id::{ClaimId, Timestamp};
use Decision::{Enter, Work};

/// Erase orders in one epoch.
pub(super) const ERASES_MAX: u32 = 3;
/// Epochs that may end by a second requester before a person must look.
const CONTESTS_MAX: u32 = 3;

pub(super) fn step(m: &Machine, id: &ClaimId, now: Timestamp, d: &Deadlines) -> Decision {
    let Some(claim) = m
        .claim
        .as_ref()
        .filter(|c| c.id == *id && c.hold == Hold::Held)
    else {
        return ladder::fail(m, Reason::NoClaim);
    };
    if m.admission == Admission::Unaccepted {
        return ladder::fail(m, Reason::NotAccepted);
    }
    if m.facts
        .iter()
        .any(|s| matches!(s.fact, Fact::SecondRequester { .. }))
    {
        return if m.contests < CONTESTS_MAX {
            Enter(Phase::Installing(id.clone()), Reason::SecondRequester)
        } else {
            ladder::fail(m, Reason::SecondRequester)
        };
    }
    match (m.talos_since(), m.fresh_report()) {
        (Some(from), _) => talos_leg(m, id, from, now, d),
        (None, None) => ladder::drive(m, Leg::Agent, now, d),
        (None, Some(report)) => agent_leg(m, claim, report, now, d),
    }
}

fn agent_leg(
    m: &Machine,
    claim: &Claim,
    report: &Report,
    now: Timestamp,
    d: &Deadlines,
) -> Decision {
    if let Some(waiting) = ladder::await_erase(m, report, now, d.erase, d) {
        return waiting;
    }
    match judge(m, claim, report) {
        DiskVerdict::Refuse(why) => ladder::fail(m, Reason::DiskRefused(why)),
        DiskVerdict::Erase(disks) if m.erases < ERASES_MAX => {
            Work(vec![Action::Erase(disks)], Reason::Erasing)
        }
        DiskVerdict::Erase(_) => ladder::fail(m, Reason::NotBlank),
        DiskVerdict::Clean => match claim.config {
            ConfigState::Ready => Work(
                vec![Action::Boot(Leg::Talos, How::ByAgent)],
                Reason::HandOver,
            ),
            ConfigState::Absent if now.since(report.at) > d.install => {
                ladder::fail(m, Reason::NoConfig)
            }
            ConfigState::Absent => Work(vec![], Reason::NoConfig),
        },
    }
}

fn talos_leg(
    m: &Machine,
    id: &ClaimId,
    from: Timestamp,
    now: Timestamp,
    d: &Deadlines,
) -> Decision {
    for seen in m.facts_since(from) {
        if let Fact::Talos(TalosFact::HaltedInstalled) = &seen.fact {
            return ladder::fail(m, Reason::ForeignInstallation);
        }
        if let Fact::Talos(TalosFact::ConfigRejected { error }) = &seen.fact {
            return ladder::fail(m, Reason::ConfigRejected(error.clone()));
        }
    }
    if installed(m) {
        Enter(Phase::Running(id.clone()), Reason::Installed)
    } else {
        ladder::drive(m, Leg::Talos, now, d)
    }
}

/// The proof of install: the config left with this epoch's token and an install was seen, or else a kernel command line that is
/// not our netboot's; after that a new run of events whose boot counts as installed; and in between we served no kernel that could
/// have faked it. The first two may be recorded in either order: Talos goes on while our answer's last byte is still on its way.
pub fn installed(m: &Machine) -> bool {
    let Some(from) = m.talos_since() else {
        return false;
    };
    let mut proof = Proof::default();
    for seen in m.facts_since(from) {
        match &seen.fact {
            Fact::KernelServed { .. } => proof = Proof::default(),
            Fact::ConfigServed { .. } => proof.config = true,
            Fact::Talos(TalosFact::InstallStarted | TalosFact::InstallFinished) => {
                proof.install = true;
            }
            // A kernel that was started from the disk is a new run by itself.
            Fact::CommandLine { ours: false } if proof.config => proof.new_run = true,
            Fact::Talos(TalosFact::BootStarted) if proof.config && proof.install => {
                proof.new_run = true;
            }
            Fact::Talos(TalosFact::BootedInstalled) if proof.new_run => return true,
            Fact::DhcpOffered { .. }
            | Fact::IpxeOffered
            | Fact::BootFileRequested { .. }
            | Fact::BootFileServed { .. }
            | Fact::ScriptServed { .. }
            | Fact::InitrdServed { .. }
            | Fact::TokenRefused { .. }
            | Fact::SecondRequester { .. }
            | Fact::AgentReported
            | Fact::EraseProven
            | Fact::EraseFailed { .. }
            | Fact::CommandLine { .. }
            | Fact::Talos(_) => {}
        }
    }
    false
}

/// How much of the proof was seen since the last kernel of ours.
#[derive(Default)]
struct Proof {
    config: bool,
    install: bool,
    new_run: bool,
}

/// Whether a person has the button.
pub(super) fn manual(m: &Machine) -> bool {
    m.control == Control::Manual
}
