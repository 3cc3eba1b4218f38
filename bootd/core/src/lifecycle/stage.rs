//! How far a boot came, by evidence.

use std::time::Duration;

use super::facts::{Fact, TalosFact};
use super::machine::{Machine, Try};
use super::phase::{Deadlines, Leg};
use crate::id::Timestamp;

/// What a booting machine is waited for, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its BMC to do what it was told.
    Power,
    /// The firmware's DHCP request.
    Dhcp,
    /// A boot file that arrives whole.
    BootFile,
    /// The iPXE script.
    Script,
    /// The kernel.
    Kernel,
    /// The agent's report.
    Agent,
    /// Talos's request for its config.
    Config,
    /// The end of the install.
    Install,
    /// A boot from disk.
    Boot,
}

impl Stage {
    /// Its key in `bootd.toml` and its part of the reason's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Dhcp => "dhcp",
            Self::BootFile => "boot-file",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::Agent => "agent",
            Self::Config => "config",
            Self::Install => "install",
            Self::Boot => "boot",
        }
    }

    /// What is waited for.
    pub fn waits_for(self) -> &'static str {
        match self {
            Self::Power => "waiting for the power",
            Self::Dhcp => "waiting for its DHCP request",
            Self::BootFile => "waiting for it to fetch its boot file",
            Self::Script => "waiting for it to fetch its iPXE script",
            Self::Kernel => "waiting for it to fetch its kernel",
            Self::Agent => "waiting for the agent's report",
            Self::Config => "waiting for Talos to fetch its config",
            Self::Install => "waiting for the install to end",
            Self::Boot => "waiting for a boot from disk",
        }
    }

    /// How long it may take, all tries together.
    pub fn deadline(self, d: &Deadlines) -> Duration {
        match self {
            Self::Power => d.power,
            Self::Dhcp => d.dhcp,
            Self::BootFile => d.boot_file,
            Self::Script => d.script,
            Self::Kernel => d.kernel,
            Self::Agent => d.agent,
            Self::Config => d.config,
            Self::Install => d.install,
            Self::Boot => d.boot,
        }
    }
}

/// The stage that the boot of `attempt` is in, and since when.
pub fn stage(m: &Machine, attempt: &Try) -> (Stage, Timestamp) {
    let mut at = (Stage::Dhcp, attempt.at);
    for seen in m.facts_since(attempt.at) {
        if let Some(reached) = reached(&seen.fact, attempt.leg)
            && reached > at.0
        {
            at = (reached, seen.at);
        }
    }
    at
}

/// What is waited for once this was seen. Repetitions of an earlier step do not restart a stage's clock.
fn reached(fact: &Fact, leg: Leg) -> Option<Stage> {
    match fact {
        Fact::DhcpOffered { .. } | Fact::BootFileRequested { .. } => Some(Stage::BootFile),
        Fact::BootFileServed { .. } | Fact::IpxeOffered => Some(Stage::Script),
        Fact::ScriptServed { .. } => Some(Stage::Kernel),
        Fact::KernelServed { .. } | Fact::InitrdServed { .. } => Some(match leg {
            Leg::Agent => Stage::Agent,
            Leg::Talos => Stage::Config,
        }),
        Fact::ConfigServed { .. } | Fact::Talos(TalosFact::InstallStarted) => Some(Stage::Install),
        Fact::Talos(TalosFact::InstallFinished) => Some(Stage::Boot),
        Fact::AgentReported
        | Fact::EraseProven
        | Fact::EraseFailed { .. }
        | Fact::TokenRefused { .. }
        | Fact::SecondRequester { .. }
        | Fact::CommandLine { .. }
        | Fact::Talos(
            TalosFact::BootStarted
            | TalosFact::BootedInstalled
            | TalosFact::HaltedInstalled
            | TalosFact::Maintenance
            | TalosFact::ConfigRejected { .. }
            | TalosFact::Status { .. },
        ) => None,
    }
}
