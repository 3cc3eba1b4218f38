//! The one screen: what is next for a machine. The only code that names a next phase.

use super::install;
use super::ladder;
use super::machine::{
    Admission, Control, Hold, Idle, Inspect, Machine, OnDestroy, PowerState, WipeMethod,
};
use super::phase::{Action, Deadlines, Decision, Goal, How, Leg, Phase, Step};
use super::reason::Reason;
use super::wipe;
use crate::id::{ClaimId, Timestamp};
use Decision::{Enter, Rest, Work};

/// A report at most this old satisfies an inspection.
const REPORT_GOOD: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// What is next. Pure and total; no arm hides a phase or a goal that is added later.
pub fn decide(m: &Machine, now: Timestamp, d: &Deadlines) -> Decision {
    match &m.phase {
        Phase::Discovered => match (&m.goal, m.admission) {
            (Goal::Retire, Admission::Accepted | Admission::Unaccepted) => forget(m, now, d),
            (Goal::Pool | Goal::Run(_), Admission::Unaccepted) => Rest(vec![], Reason::NotAccepted),
            (Goal::Pool | Goal::Run(_), Admission::Accepted) => admit(m, now),
        },
        Phase::Inspecting => match (&m.goal, m.admission) {
            (Goal::Retire, Admission::Accepted | Admission::Unaccepted) => forget(m, now, d),
            (Goal::Pool | Goal::Run(_), Admission::Unaccepted) => unaccept(),
            (Goal::Pool | Goal::Run(_), Admission::Accepted) => inspect(m, now, d),
        },
        Phase::Available => match &m.goal {
            Goal::Retire if m.claim.is_none() => forget(m, now, d),
            Goal::Run(claim) => start(m, claim),
            Goal::Pool | Goal::Retire => idle(m),
        },
        Phase::Installing(claim) => match &m.goal {
            Goal::Run(wanted) if wanted == claim => install::step(m, claim, now, d),
            Goal::Run(_) | Goal::Pool | Goal::Retire => give_back(m),
        },
        Phase::Running(claim) => match &m.goal {
            Goal::Run(wanted) if wanted == claim => Rest(vec![], Reason::Runs),
            Goal::Run(_) | Goal::Pool | Goal::Retire => give_back(m),
        },
        Phase::Wiping => wipe::step(m, now, d),
        Phase::Failed(step) | Phase::Quarantined(step) => parked(m, step, now, d),
        Phase::Retired => match &m.goal {
            Goal::Retire => Rest(vec![], Reason::Forgotten),
            Goal::Pool | Goal::Run(_) => Enter(Phase::Discovered, Reason::Back),
        },
    }
}

/// Cuts the power first where that was asked for. A BMC that does not answer holds nobody up for longer than its deadline, and is
/// asked six times within it.
fn forget(m: &Machine, now: Timestamp, d: &Deadlines) -> Decision {
    let ours = m.control == Control::Bmc && m.admission == Admission::Accepted;
    if m.on_destroy == OnDestroy::Release || !ours {
        return Enter(Phase::Retired, Reason::Forgotten);
    }
    let asked = m.power.filter(|p| p.at >= m.goal_at);
    match asked.map(|p| p.state) {
        Some(PowerState::Off) => Enter(Phase::Retired, Reason::Forgotten),
        Some(PowerState::On | PowerState::Unreachable) | None
            if now.since(m.goal_at) >= d.power =>
        {
            Enter(Phase::Retired, Reason::ForgottenOn)
        }
        Some(PowerState::On | PowerState::Unreachable)
            if asked.is_some_and(|p| now.since(p.at) < d.power / 6) =>
        {
            Work(vec![], Reason::PoweringOff)
        }
        Some(PowerState::On | PowerState::Unreachable) | None => {
            Work(vec![Action::PowerOff], Reason::PoweringOff)
        }
    }
}

fn unaccept() -> Decision {
    Enter(Phase::Discovered, Reason::NotAccepted)
}

fn admit(m: &Machine, now: Timestamp) -> Decision {
    let known = m
        .report
        .as_ref()
        .is_some_and(|r| now.since(r.at) < REPORT_GOOD);
    match (m.inspect, known) {
        (Inspect::Never, true | false) => Enter(Phase::Available, Reason::NotInspected),
        (Inspect::Once, true) => Enter(Phase::Available, Reason::Inspected),
        (Inspect::Once, false) => Enter(Phase::Inspecting, Reason::Accepted),
    }
}

fn inspect(m: &Machine, now: Timestamp, d: &Deadlines) -> Decision {
    match m.fresh_report() {
        Some(_) => Enter(Phase::Available, Reason::Inspected),
        None => ladder::drive(m, Leg::Agent, now, d),
    }
}

fn start(m: &Machine, claim: &ClaimId) -> Decision {
    let held = m
        .claim
        .as_ref()
        .is_some_and(|c| c.id == *claim && c.hold == Hold::Held);
    match (m.admission, held) {
        (Admission::Accepted, true) => Enter(
            Phase::Installing(claim.clone()),
            Reason::Wanted(claim.clone()),
        ),
        (Admission::Accepted, false) => Rest(vec![], Reason::NoClaim),
        (Admission::Unaccepted, true | false) => Rest(vec![], Reason::NotAccepted),
    }
}

fn idle(m: &Machine) -> Decision {
    let reason = match &m.claim {
        Some(claim) if claim.hold == Hold::Releasing => {
            return Enter(Phase::Available, Reason::ReleasedUnused);
        }
        Some(claim) => Reason::Held(claim.id.clone()),
        None if m.dirty => Reason::Dirty,
        None => Reason::Free,
    };
    let reads = |state| m.power.is_some_and(|p| p.state == state);
    match (m.admission, m.control, m.idle) {
        (Admission::Accepted, Control::Bmc, Idle::Off) if reads(PowerState::On) => {
            Rest(vec![Action::PowerOff], reason)
        }
        // Once per rest: a machine that goes off again is not pushed, so that nothing can become a reboot loop.
        (Admission::Accepted, Control::Bmc, Idle::Hold)
            if reads(PowerState::Off) && m.tries.is_empty() =>
        {
            Rest(vec![Action::Boot(Leg::Agent, How::Start)], reason)
        }
        (Admission::Accepted, Control::Bmc, Idle::Off | Idle::Hold)
        | (Admission::Accepted, Control::Manual, Idle::Off | Idle::Hold)
        | (Admission::Unaccepted, Control::Bmc | Control::Manual, Idle::Off | Idle::Hold) => {
            Rest(vec![], reason)
        }
    }
}

/// Leaves a claim. Only what was written needs a wipe, and only the claim says how.
fn give_back(m: &Machine) -> Decision {
    match &m.claim {
        _ if m.written.is_empty() => Enter(Phase::Available, Reason::NothingWritten),
        None => Enter(Phase::Quarantined(Step::Wipe), Reason::NoClaim),
        Some(claim) => match claim.wipe.method {
            WipeMethod::None => Enter(Phase::Available, Reason::LeftUnwiped),
            WipeMethod::Quick | WipeMethod::Full => {
                Enter(Phase::Wiping, Reason::Released(claim.id.clone()))
            }
        },
    }
}

/// A goal that was set after the failure asks for another try.
fn parked(m: &Machine, step: &Step, now: Timestamp, d: &Deadlines) -> Decision {
    let asked = m.goal_at > m.since;
    match (step, &m.goal) {
        (Step::Inspect, Goal::Retire) => forget(m, now, d),
        (Step::Inspect, Goal::Pool | Goal::Run(_)) if m.fresh_report().is_some() => {
            Enter(Phase::Available, Reason::Inspected)
        }
        (Step::Inspect, Goal::Pool | Goal::Run(_)) if asked => admit(m, now),
        (Step::Install(claim), Goal::Run(wanted)) if claim == wanted && asked => Enter(
            Phase::Installing(claim.clone()),
            Reason::Wanted(claim.clone()),
        ),
        (Step::Install(claim), Goal::Run(wanted)) if claim == wanted => {
            Rest(vec![], Reason::Parked)
        }
        (Step::Install(_), Goal::Pool | Goal::Run(_) | Goal::Retire) => give_back(m),
        (Step::Wipe, Goal::Pool | Goal::Run(_) | Goal::Retire) if asked && m.claim.is_some() => {
            Enter(Phase::Wiping, Reason::WipeAgain)
        }
        (Step::Inspect, Goal::Pool | Goal::Run(_))
        | (Step::Wipe, Goal::Pool | Goal::Run(_) | Goal::Retire) => Rest(vec![], Reason::Parked),
    }
}
