//! What a netbooting machine receives. The only place that says so.

use super::facts::{Fact, TalosFact};
use super::machine::{Admission, ConfigState, Control, Idle, Machine};
use super::phase::{Leg, Phase, Step};
use crate::id::ClaimId;

/// What a netbooting machine receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// No answer.
    Nothing,
    /// "Boot your own disk".
    Local,
    /// Our agent. What it may do is in its orders, never in its boot.
    Agent(AgentMode),
    /// The claim's Talos.
    Talos(ClaimId),
}

/// What the agent is booted for; for people and for the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentMode {
    /// To look.
    Inspect,
    /// To check the disks before an install.
    Check,
    /// To erase a claim's disks.
    Erase,
    /// To wait.
    Hold,
}

/// What this machine may boot now.
pub fn boot(m: &Machine) -> Boot {
    match &m.phase {
        Phase::Discovered | Phase::Inspecting | Phase::Failed(Step::Inspect) => {
            Boot::Agent(AgentMode::Inspect)
        }
        Phase::Available => match (m.control, m.idle) {
            (Control::Manual, Idle::Off | Idle::Hold) | (Control::Bmc, Idle::Hold) => {
                Boot::Agent(AgentMode::Hold)
            }
            (Control::Bmc, Idle::Off) => Boot::Local,
        },
        Phase::Installing(claim) => installing(m, claim),
        Phase::Running(_) | Phase::Failed(Step::Install(_)) => Boot::Local,
        Phase::Wiping => match m.admission {
            Admission::Accepted => Boot::Agent(AgentMode::Erase),
            Admission::Unaccepted => Boot::Nothing,
        },
        // A disk that a failed wipe left behind may hold the old cluster: do not send the machine there.
        Phase::Failed(Step::Wipe) | Phase::Quarantined(_) | Phase::Retired => Boot::Nothing,
    }
}

/// First the agent looks; then, once, the claim's Talos; from the moment its config left, the machine's own disk.
fn installing(m: &Machine, claim: &ClaimId) -> Boot {
    let Some(held) = m.claim.as_ref().filter(|c| c.id == *claim) else {
        return Boot::Nothing;
    };
    match (m.admission, held.config, m.talos_since()) {
        (Admission::Unaccepted, ConfigState::Absent | ConfigState::Ready, _) => Boot::Nothing,
        (Admission::Accepted, ConfigState::Absent | ConfigState::Ready, None) => {
            Boot::Agent(AgentMode::Check)
        }
        (Admission::Accepted, ConfigState::Absent, Some(_)) => Boot::Nothing,
        (Admission::Accepted, ConfigState::Ready, Some(from)) => {
            if m.facts_since(from).any(|s| past_config(&s.fact)) {
                Boot::Local
            } else {
                Boot::Talos(claim.clone())
            }
        }
    }
}

fn past_config(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::ConfigServed { .. }
            | Fact::Talos(TalosFact::InstallStarted | TalosFact::InstallFinished)
    )
}

impl Leg {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Talos => "Talos",
        }
    }
}
