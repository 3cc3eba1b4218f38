//! The life of a machine: what is known of it, what to do next, what it may boot.
//!
//! Promises: [`decide`] is pure and total and the only code that names a next phase; [`boot`] is the only code that says what a
//! netbooting machine receives; nothing is erased or installed that a claim does not name. A machine advances on [`facts`] of
//! its own epoch only. Deliberately not here: clocks, stores, BMCs, wire formats, and what a Talos config means.

mod boot;
mod decide;
mod disks;
pub mod facts;
pub mod hardware;
mod install;
mod ladder;
mod machine;
mod phase;
mod reason;
mod stage;
mod story;
mod wipe;

#[cfg(test)]
mod tests;

pub use boot::{AgentMode, Boot, boot};
pub use decide::decide;
pub use disks::{DiskId, DiskRefusal, DiskVerdict, EraseDisk, Scope, covered, judge, leaves_dirty};
pub use hardware::{Content, Disk, Hardware, Nic};
pub use install::installed;
pub use machine::{
    Admission, Claim, ConfigState, Control, Ended, Hold, Idle, Inspect, Machine, OnDestroy,
    OnWipeFailure, Order, Outcome, PowerSeen, PowerState, Report, Seen, Target, Try, What, Wipe,
    WipeDisks, WipeMethod,
};
pub use phase::{Action, Deadlines, Decision, Goal, How, Leg, Phase, Step};
pub use reason::Reason;
pub use stage::{Stage, stage};
pub use story::{Failure, clock, describe, failure};
