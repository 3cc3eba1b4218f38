//! The words of a decision: phases, goals, actions, deadlines.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disks::EraseDisk;
use super::reason::Reason;
use crate::id::ClaimId;

/// Where a machine is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Known by identity only; may not be powered or written.
    Discovered,
    /// The agent is to report its hardware.
    Inspecting,
    /// At rest in the pool, or held by a claim that has not started.
    Available,
    /// A claim's system is being installed.
    Installing(ClaimId),
    /// A claim's system runs from disk.
    Running(ClaimId),
    /// The claim's disks are being erased.
    Wiping,
    /// A step failed; a new goal tries it again.
    Failed(Step),
    /// Out of the pool until a person looked.
    Quarantined(Step),
    /// Forgotten.
    Retired,
}

/// The step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Inspection.
    Inspect,
    /// Installation for a claim.
    Install(ClaimId),
    /// Erasure.
    Wipe,
}

/// What the callers want of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// In the pool.
    Pool,
    /// Run this claim's system.
    Run(ClaimId),
    /// Be forgotten.
    Retire,
}

/// Which system a power-on is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leg {
    /// Our agent.
    Agent,
    /// The claim's Talos.
    Talos,
}

/// How a machine is made to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Network boot once; on if off, cycled if on.
    Start,
    /// Power off, wait until it reads off, network boot once, power on.
    Restart,
    /// Network boot once where a BMC can; the agent is told to reboot.
    ByAgent,
    /// A person presses the button.
    Button,
}

/// What the shell is to do. Recorded before it is done and harmless when done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make it boot into a leg.
    Boot(Leg, How),
    /// Tell the agent to erase these disks.
    Erase(Vec<EraseDisk>),
    /// Cut the power.
    PowerOff,
}

/// What is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Commit a new phase and a new epoch.
    Enter(Phase, Reason),
    /// Stay and do; an empty list waits for evidence.
    Work(Vec<Action>, Reason),
    /// Stay; nothing is awaited.
    Rest(Vec<Action>, Reason),
}

/// How long each stage may take, all tries together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    /// Until a BMC did what it was told.
    pub power: Duration,
    /// Until a person pressed the button of a machine without BMC.
    pub button: Duration,
    /// Power-on to the firmware's DHCP request.
    pub dhcp: Duration,
    /// DHCP to a boot file that arrived whole.
    pub boot_file: Duration,
    /// Boot file to the iPXE script.
    pub script: Duration,
    /// Script to the kernel.
    pub kernel: Duration,
    /// Kernel to the agent's report.
    pub agent: Duration,
    /// A quick erase.
    pub erase: Duration,
    /// Talos kernel to the request for its config.
    pub config: Duration,
    /// Config to the end of the install.
    pub install: Duration,
    /// End of the install to a boot from disk.
    pub boot: Duration,
    /// A full erase.
    pub wipe: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        Self {
            power: minutes(5),
            button: minutes(60),
            dhcp: minutes(15),
            boot_file: minutes(6),
            script: minutes(6),
            kernel: minutes(10),
            agent: minutes(15),
            erase: minutes(60),
            config: minutes(15),
            install: minutes(30),
            boot: minutes(20),
            wipe: minutes(24 * 60),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovered => f.write_str("discovered"),
            Self::Inspecting => f.write_str("inspecting"),
            Self::Available => f.write_str("available"),
            Self::Installing(claim) => write!(f, "installing for {claim}"),
            Self::Running(claim) => write!(f, "running for {claim}"),
            Self::Wiping => f.write_str("wiping"),
            Self::Failed(step) => write!(f, "failed ({step})"),
            Self::Quarantined(step) => write!(f, "quarantined ({step})"),
            Self::Retired => f.write_str("retired"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inspect => f.write_str("inspect"),
            Self::Install(_) => f.write_str("install"),
            Self::Wipe => f.write_str("wipe"),
        }
    }
}
