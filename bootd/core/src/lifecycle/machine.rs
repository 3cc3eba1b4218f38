//! All that `decide` needs to know of a machine, as plain data.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disks::{DiskId, EraseDisk};
use super::facts::Fact;
use super::hardware::Hardware;
use super::phase::{Goal, How, Leg, Phase};
use super::story::Failure;
use crate::id::{ClaimId, Epoch, MachineId, Timestamp};

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its id.
    pub id: MachineId,
    /// May it be powered and written?
    pub admission: Admission,
    /// Where it is.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// Grows with every phase entered.
    pub epoch: Epoch,
    /// Why it is there, for people.
    pub reason: String,
    /// The story of a failed phase.
    pub failure: Option<Failure>,
    /// What is wanted.
    pub goal: Goal,
    /// When it was last wanted: a goal set after a failure asks for another try.
    pub goal_at: Timestamp,
    /// Who has the power button.
    pub control: Control,
    /// Where it rests.
    pub idle: Idle,
    /// Is a look by the agent wanted?
    pub inspect: Inspect,
    /// What being forgotten does to its power.
    #[serde(default)]
    pub on_destroy: OnDestroy,
    /// Last power state read.
    pub power: Option<PowerSeen>,
    /// The claim that holds it.
    pub claim: Option<Claim>,
    /// The agent's last report.
    pub report: Option<Report>,
    /// Evidence of this epoch, oldest first.
    #[serde(skip)]
    pub facts: Vec<Seen>,
    /// Power-ons of this epoch, oldest first.
    pub tries: Vec<Try>,
    /// The newest order to the agent in this epoch.
    pub order: Option<Order>,
    /// Erase orders given in this epoch.
    pub erases: u32,
    /// Disks whose erasure was proven in this epoch.
    pub proven: BTreeSet<DiskId>,
    /// Disks that this claim wrote or began to write.
    pub written: BTreeSet<DiskId>,
    /// Epochs that ended because two addresses wanted one boot's token.
    pub contests: u32,
    /// Holds data that no claim may erase.
    pub dirty: bool,
}

/// May a machine be powered and written?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admission {
    /// Nobody said so.
    Unaccepted,
    /// A `metal_server` says `accepted = true`.
    Accepted,
}

/// Who has the power button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// A BMC.
    Bmc,
    /// A person.
    Manual,
}

/// Where an idle machine rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// Powered off where a BMC can.
    Off,
    /// In the agent.
    Hold,
}

/// Is a look by the agent wanted before the machine is in the pool?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inspect {
    /// Yes.
    Once,
    /// No.
    Never,
}

/// What being forgotten does to a machine's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDestroy {
    /// Nothing.
    #[default]
    Release,
    /// It is cut first, where a BMC can.
    PowerOff,
}

/// A power state and when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerSeen {
    /// When.
    pub at: Timestamp,
    /// What.
    pub state: PowerState,
}

/// What a BMC says of the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PowerState {
    /// On.
    On,
    /// Off.
    Off,
    /// The BMC did not answer.
    Unreachable,
}

/// The claim that holds a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its name.
    pub id: ClaimId,
    /// Held or given back.
    pub hold: Hold,
    /// What a release erases.
    pub wipe: Wipe,
    /// Serials or WWIDs of disks with foreign data that may be erased.
    pub allow_wipe: Vec<DiskId>,
    /// Where a failed wipe ends.
    pub on_wipe_failure: OnWipeFailure,
    /// Disks that the install destroys, as the plan showed them.
    pub targets: Vec<Target>,
    /// Is there a config to serve?
    pub config: ConfigState,
}

/// Held or given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// In use.
    Held,
    /// To be wiped and dropped.
    Releasing,
}

/// Is there a config to serve?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigState {
    /// No node is bound to the claim.
    Absent,
    /// Rendered and validated.
    Ready,
}

/// What a release erases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wipe {
    /// How.
    pub method: WipeMethod,
    /// Which disks.
    pub disks: WipeDisks,
}

/// How disks are erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WipeMethod {
    /// Not at all.
    None,
    /// Partition tables, file system heads and Talos's partitions.
    Quick,
    /// Every byte.
    Full,
}

/// Which disks a release erases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WipeDisks {
    /// Every fixed disk.
    All,
    /// What this claim wrote.
    Written,
    /// These.
    Selected(Vec<DiskId>),
}

/// Where a failed wipe ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnWipeFailure {
    /// Quarantined.
    Quarantine,
    /// Failed: the next release tries again.
    Fail,
}

/// A disk that an install destroys, as the plan showed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its stable id.
    pub disk: DiskId,
    /// Digest of the content that the plan showed; empty if the plan did not know.
    pub fingerprint: String,
}

/// The agent's last report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When.
    pub at: Timestamp,
    /// In which epoch.
    pub epoch: Epoch,
    /// What.
    pub hardware: Hardware,
}

/// A fact and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// What.
    pub fact: Fact,
}

/// One attempt to make the machine boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// Recorded then, before it was done.
    pub at: Timestamp,
    /// For which system.
    pub leg: Leg,
    /// How.
    pub how: How,
    /// How it ended; `None` until known, and after a crash.
    pub outcome: Option<Outcome>,
}

/// How an attempt ended, as far as the BMC goes: no proof that anything boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Commanded and read back.
    Done,
    /// The BMC will not do it however often it is asked.
    Refused(String),
    /// The BMC controls another machine, or is not the one that it was: a person must look.
    OtherBox(String),
    /// No answer, or one that another try may change.
    Silent(String),
}

/// An order to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Grows over the machine's life.
    pub number: u64,
    /// What to do.
    pub what: What,
    /// When it was recorded.
    pub issued: Timestamp,
    /// How it ended.
    pub ended: Option<Ended>,
}

/// What an order says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Erase these disks.
    Erase {
        /// Which.
        disks: Vec<EraseDisk>,
        /// The proof's salt.
        nonce: Vec<u8>,
    },
    /// Boot again.
    Reboot,
    /// Power off.
    PowerOff,
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Why it failed; `None`: every proof was right.
    pub failed: Option<String>,
}

impl Machine {
    /// A machine that was just met.
    pub fn new(id: MachineId, now: Timestamp) -> Self {
        Self {
            id,
            admission: Admission::Unaccepted,
            phase: Phase::Discovered,
            since: now,
            epoch: Epoch(1),
            reason: "first seen".to_owned(),
            failure: None,
            goal: Goal::Pool,
            goal_at: now,
            control: Control::Manual,
            idle: Idle::Off,
            inspect: Inspect::Once,
            on_destroy: OnDestroy::Release,
            power: None,
            claim: None,
            report: None,
            facts: Vec::new(),
            tries: Vec::new(),
            order: None,
            erases: 0,
            proven: BTreeSet::new(),
            written: BTreeSet::new(),
            contests: 0,
            dirty: false,
        }
    }

    /// Sets what is wanted, from now on.
    pub fn want(&mut self, goal: Goal, now: Timestamp) {
        self.goal = goal;
        self.want_again(now);
    }

    /// Wants the same once more. A wish is always newer than the phase that it meets: a clock that stands still or was set back
    /// must not turn a person's word into one that came before the failure.
    pub fn want_again(&mut self, now: Timestamp) {
        self.goal_at = now.max(self.since + Duration::from_millis(1));
    }

    /// The report of this epoch.
    pub fn fresh_report(&self) -> Option<&Report> {
        self.report.as_ref().filter(|r| r.epoch == self.epoch)
    }

    /// Tries of a leg, oldest first.
    pub fn tries_of(&self, leg: Leg) -> impl DoubleEndedIterator<Item = &Try> {
        self.tries.iter().filter(move |t| t.leg == leg)
    }

    /// When the first try of the Talos leg was recorded.
    pub fn talos_since(&self) -> Option<Timestamp> {
        self.tries_of(Leg::Talos).next().map(|t| t.at)
    }

    /// Facts seen at or after `from`.
    pub fn facts_since(&self, from: Timestamp) -> impl Iterator<Item = &Seen> {
        self.facts.iter().filter(move |s| s.at >= from)
    }

    /// The one write of a phase, for the reconciler: a new epoch without the old one's evidence.
    pub fn enter(&mut self, phase: Phase, reason: String, now: Timestamp) {
        self.phase = phase;
        self.since = now;
        self.epoch = Epoch(self.epoch.0 + 1);
        self.reason = reason;
        self.failure = None;
        self.facts.clear();
        self.tries.clear();
        self.order = None;
        self.erases = 0;
        self.proven.clear();
    }
}
