//! The wipe: a look, an erase with proof, another look; bounded, and never two erases without a look between them.

use super::disks::{DiskVerdict, left_to_wipe};
use super::install::ERASES_MAX;
use super::ladder;
use super::machine::{Admission, Machine, WipeMethod};
use super::phase::{Action, Deadlines, Decision, Leg, Phase};
use super::reason::Reason;
use crate::id::Timestamp;
use Decision::{Enter, Work};

pub(super) fn step(m: &Machine, now: Timestamp, d: &Deadlines) -> Decision {
    let Some(claim) = &m.claim else {
        return ladder::fail(m, Reason::NoClaim);
    };
    if m.admission == Admission::Unaccepted {
        return ladder::fail(m, Reason::NotAccepted);
    }
    let Some(report) = m.fresh_report() else {
        return ladder::drive(m, Leg::Agent, now, d);
    };
    let patience = match claim.wipe.method {
        WipeMethod::None | WipeMethod::Quick => d.erase,
        WipeMethod::Full => d.wipe,
    };
    if let Some(waiting) = ladder::await_erase(m, report, now, patience, d) {
        return waiting;
    }
    match left_to_wipe(m, claim, report) {
        DiskVerdict::Clean => Enter(Phase::Available, Reason::Wiped),
        DiskVerdict::Refuse(why) => ladder::fail(m, Reason::DiskRefused(why)),
        DiskVerdict::Erase(disks) if m.erases < ERASES_MAX => {
            Work(vec![Action::Erase(disks)], Reason::Erasing)
        }
        DiskVerdict::Erase(_) => ladder::fail(m, Reason::NotBlank),
    }
}
