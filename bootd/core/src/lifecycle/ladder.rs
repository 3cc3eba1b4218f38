//! The escalation ladder of a boot: try, try again with the boot override set anew and read back, power off and on, give up.
//!
//! A stage's deadline is shared by its tries: a third each where a BMC can try again, all of it where a person has the button.

use std::time::Duration;

use super::install::manual;
use super::machine::{Machine, OnWipeFailure, Outcome, Report, Try, What};
use super::phase::{Action, Deadlines, Decision, How, Leg, Phase, Step};
use super::reason::Reason;
use super::stage::{Stage, stage};
use crate::id::Timestamp;
use Decision::{Enter, Work};

/// Boots per leg and epoch.
const TRIES: usize = 3;

/// Brings a machine into a leg: the next rung, or patience, or the end.
pub(super) fn drive(m: &Machine, leg: Leg, now: Timestamp, d: &Deadlines) -> Decision {
    let Some(last) = m.tries_of(leg).next_back() else {
        return rung(leg, if manual(m) { How::Button } else { How::Start });
    };
    let (stage, since) = stage(m, last);
    match &last.outcome {
        Some(Outcome::Refused(why)) => fail(m, Reason::BmcRefused(why.clone())),
        Some(Outcome::OtherBox(why)) => fail(m, Reason::BmcOtherBox(why.clone())),
        Some(Outcome::Silent(why)) if stage == Stage::Dhcp => silent(m, last, why, now, d),
        // Recorded, then we died: doing it again is harmless, but not needed where the machine already speaks.
        None if stage == Stage::Dhcp => rung(leg, last.how),
        Some(Outcome::Done | Outcome::Silent(_)) | None => {
            patience(m, last, stage, now.since(since), d)
        }
    }
}

fn rung(leg: Leg, how: How) -> Decision {
    Work(vec![Action::Boot(leg, how)], Reason::Booting(leg, how))
}

fn silent(m: &Machine, last: &Try, why: &str, now: Timestamp, d: &Deadlines) -> Decision {
    let first = m
        .tries_of(last.leg)
        .rev()
        .take_while(|t| matches!(t.outcome, Some(Outcome::Silent(_))))
        .last()
        .map_or(last.at, |t| t.at);
    if now.since(first) >= d.power {
        fail(m, Reason::BmcSilent(why.to_owned()))
    } else if now.since(last.at) >= d.power / 6 {
        rung(last.leg, last.how)
    } else {
        Work(vec![], Reason::BmcAsked(why.to_owned()))
    }
}

fn patience(m: &Machine, last: &Try, stage: Stage, waited: Duration, d: &Deadlines) -> Decision {
    let whole = match (last.how, stage) {
        (How::Button, Stage::Dhcp) => d.button,
        (How::Button | How::Start | How::Restart | How::ByAgent, _) => stage.deadline(d),
    };
    let tries = m
        .tries_of(last.leg)
        .filter(|t| !matches!(t.outcome, Some(Outcome::Silent(_))))
        .count();
    // Once the config left, another power cycle would only interrupt an install.
    let once = manual(m) || stage >= Stage::Install;
    let share = if once { whole } else { whole / 3 };
    if waited < share {
        return Work(vec![], Reason::Waiting(stage));
    }
    if once || tries >= TRIES {
        fail(m, Reason::Stalled(stage, tries))
    } else if tries + 1 == TRIES {
        rung(last.leg, How::Restart)
    } else {
        rung(last.leg, How::Start)
    }
}

/// Waits for an erase and for the look after it; `None` when the newest report is that look.
pub(super) fn await_erase(
    m: &Machine,
    report: &Report,
    now: Timestamp,
    patience: Duration,
    d: &Deadlines,
) -> Option<Decision> {
    let order = m.order.as_ref()?;
    match &order.what {
        What::Reboot | What::PowerOff => return None,
        What::Erase { .. } => {}
    }
    match &order.ended {
        // A report amid an erase comes from an agent that was started again: the order is lost, and this is the look.
        None if report.at > order.issued => None,
        None if now.since(order.issued) >= patience => Some(fail(m, Reason::EraseSilent)),
        None => Some(Work(vec![], Reason::Erasing)),
        Some(ended) if report.at >= ended.at && report.at > order.issued => None,
        Some(ended) if now.since(ended.at) >= d.agent => {
            Some(fail(m, Reason::Stalled(Stage::Agent, 1)))
        }
        Some(_) => Some(Work(vec![], Reason::Waiting(Stage::Agent))),
    }
}

/// Where a failure of the present phase ends.
pub(super) fn fail(m: &Machine, reason: Reason) -> Decision {
    let phase = match &m.phase {
        Phase::Installing(claim) | Phase::Running(claim) => {
            Phase::Failed(Step::Install(claim.clone()))
        }
        Phase::Wiping => match m.claim.as_ref().map(|c| c.on_wipe_failure) {
            Some(OnWipeFailure::Fail) => Phase::Failed(Step::Wipe),
            Some(OnWipeFailure::Quarantine) | None => Phase::Quarantined(Step::Wipe),
        },
        Phase::Discovered | Phase::Inspecting | Phase::Available | Phase::Retired => {
            Phase::Failed(Step::Inspect)
        }
        Phase::Failed(step) => Phase::Failed(step.clone()),
        Phase::Quarantined(step) => Phase::Quarantined(step.clone()),
    };
    Enter(phase, reason)
}
