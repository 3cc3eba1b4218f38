//! The story of a failure and of each fact, in words for the person who has to act.

use serde::{Deserialize, Serialize};

use super::facts::{Fact, ServedBoot, TalosFact};
use super::machine::Machine;
use super::phase::{Phase, Step};
use super::reason::Reason;
use super::stage::Stage;
use crate::id::{MachineId, Timestamp};

/// What a person is told of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable name, kebab-case.
    pub reason: String,
    /// Fixed words.
    pub summary: String,
    /// What, which machine, which stage, what was seen last and when.
    pub detail: String,
    /// One next step.
    pub hint: String,
}

/// The failure of entering `phase` because of `reason`; `None` if the phase is no failure.
pub fn failure(m: &Machine, phase: &Phase, reason: &Reason, now: Timestamp) -> Option<Failure> {
    let step = match phase {
        Phase::Failed(step) | Phase::Quarantined(step) => step,
        Phase::Discovered
        | Phase::Inspecting
        | Phase::Available
        | Phase::Installing(_)
        | Phase::Running(_)
        | Phase::Wiping
        | Phase::Retired => return None,
    };
    let summary = match step {
        Step::Inspect => "Machine was not inspected",
        Step::Install(_) => "Machine did not finish installing",
        Step::Wipe => "Machine was not wiped",
    };
    let last = match m.facts.last() {
        Some(seen) => format!("Last seen: {} at {}.", describe(&seen.fact), clock(seen.at)),
        None => "Nothing was seen of it since then.".to_owned(),
    };
    let detail = format!(
        "{}, while {}: {reason}. It began at {}; it is {} now. {last}",
        m.id,
        m.phase,
        clock(m.since),
        clock(now),
    );
    Some(Failure {
        reason: reason.name().to_owned(),
        summary: summary.to_owned(),
        detail,
        hint: hint(reason, m),
    })
}

fn hint(reason: &Reason, m: &Machine) -> String {
    let id = &m.id;
    match reason {
        Reason::Stalled(Stage::Dhcp, _) => format!(
            "check that {id} boots from the network with the NIC named in its metal_server, and that DHCP broadcasts reach bootd."
        ),
        Reason::Stalled(Stage::BootFile, _) => {
            "check that UDP 69 and the ports above 1024 are open between the machine and bootd.".to_owned()
        }
        Reason::Stalled(Stage::Script | Stage::Kernel, _) => {
            "check that the machine reaches bootd's HTTP port and that the asset exists (bootd's log names it).".to_owned()
        }
        Reason::Stalled(Stage::Agent, _) => format!(
            "look at the console of {id}: the agent prints why it cannot reach bootd's HTTPS port or show its token."
        ),
        Reason::Stalled(Stage::Config, _) => format!(
            "look at the console of {id}: Talos prints why it cannot fetch its config from bootd's HTTPS port."
        ),
        Reason::Stalled(Stage::Install | Stage::Boot, _) => format!(
            "`metalctl timeline {id}` shows what Talos pushed; check that the installer image can be pulled and that the firmware boots the disk."
        ),
        Reason::Stalled(Stage::Power, _) | Reason::BmcSilent(_) => {
            format!("check the address and the cabling of the BMC of {id}.")
        }
        Reason::BmcRefused(_) => {
            format!("check the credentials of the BMC of {id}: `metalctl credentials set NAME --username USER`.")
        }
        Reason::BmcOtherBox(_) => other_box(id),
        Reason::DiskRefused(_) => {
            "plan again to see what is on the disks now; name a disk in the claim's allow_wipe to have it erased.".to_owned()
        }
        Reason::EraseSilent | Reason::NotBlank => {
            format!("look at the console of {id} and at the disk's health; release the claim again to retry.")
        }
        Reason::ForeignInstallation => {
            "name the disk that holds the other installation in the claim's allow_wipe.".to_owned()
        }
        Reason::ConfigRejected(_) => "correct the machine config and apply again.".to_owned(),
        Reason::SecondRequester => {
            format!("find out who else uses the MAC address of {id} on the boot network.")
        }
        Reason::NotAccepted
        | Reason::Accepted
        | Reason::Inspected
        | Reason::NotInspected
        | Reason::Free
        | Reason::Dirty
        | Reason::Held(_)
        | Reason::Wanted(_)
        | Reason::Installed
        | Reason::Runs
        | Reason::Released(_)
        | Reason::NothingWritten
        | Reason::ReleasedUnused
        | Reason::LeftUnwiped
        | Reason::Wiped
        | Reason::WipeAgain
        | Reason::Parked
        | Reason::Forgotten
        | Reason::ForgottenOn
        | Reason::PoweringOff
        | Reason::Back
        | Reason::Booting(..)
        | Reason::Waiting(_)
        | Reason::Erasing
        | Reason::HandOver
        | Reason::NoClaim
        | Reason::NoConfig
        | Reason::BmcAsked(_) => format!("`metalctl timeline {id}` tells what happened."),
    }
}

fn other_box(id: &MachineId) -> String {
    format!(
        "compare bmc.address of {id} with the cables and correct it; where its board or BMC was replaced, `metalctl retry {id} --confirm-bmc`."
    )
}

/// A fact in words, as the timeline shows it.
pub fn describe(fact: &Fact) -> String {
    let what = |what: ServedBoot| match what {
        ServedBoot::Local => "boot from its own disk",
        ServedBoot::Agent => "the agent",
        ServedBoot::Talos => "Talos",
    };
    match fact {
        Fact::DhcpOffered { arch } => {
            format!("DHCP request of the firmware (architecture {arch}) answered")
        }
        Fact::IpxeOffered => "DHCP request of iPXE answered".to_owned(),
        Fact::BootFileRequested { name } => format!("boot file {name} requested"),
        Fact::BootFileServed { name } => format!("boot file {name} served"),
        Fact::ScriptServed { what: w, from } => {
            format!("iPXE script served to {from}: {}", what(*w))
        }
        Fact::KernelServed { what: w } => format!("kernel of {} served", what(*w)),
        Fact::InitrdServed { what: w } => format!("initrd of {} served", what(*w)),
        Fact::ConfigServed { from } => format!("machine config served to {from}"),
        Fact::TokenRefused { from, why } => format!("token shown by {from} refused: {why}"),
        Fact::SecondRequester { from, holder } => {
            format!("{from} asked for the token of a boot that {holder} holds")
        }
        Fact::AgentReported => "the agent reported the hardware".to_owned(),
        Fact::EraseProven => "the agent erased, and every proof is right".to_owned(),
        Fact::EraseFailed { why } => format!("the erase failed: {why}"),
        Fact::CommandLine { ours: true } => "kernel started by our netboot".to_owned(),
        Fact::CommandLine { ours: false } => "kernel started from disk".to_owned(),
        Fact::Talos(talos) => describe_talos(talos),
    }
}

fn describe_talos(fact: &TalosFact) -> String {
    match fact {
        TalosFact::BootStarted => "Talos started".to_owned(),
        TalosFact::InstallStarted => "Talos began to install".to_owned(),
        TalosFact::InstallFinished => "Talos finished the install".to_owned(),
        TalosFact::BootedInstalled => "Talos booted as an installed system".to_owned(),
        TalosFact::HaltedInstalled => "Talos halted: another installation is present".to_owned(),
        TalosFact::Maintenance => "Talos waits in maintenance mode".to_owned(),
        TalosFact::ConfigRejected { error } => format!("Talos rejected its config: {error}"),
        TalosFact::Status { stage, ready } => format!(
            "Talos is {stage}, {}",
            if *ready { "ready" } else { "not ready" }
        ),
    }
}

/// Wall-clock time of day in UTC, `14:03:07Z`.
pub fn clock(at: Timestamp) -> String {
    let seconds = at.0 / 1000;
    format!(
        "{:02}:{:02}:{:02}Z",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}
