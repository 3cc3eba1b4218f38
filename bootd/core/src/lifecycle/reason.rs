//! Why a machine is where it is. Names are stable: `docs/operations.md` tells what to do about each.

use std::fmt;

use super::disks::DiskRefusal;
use super::phase::{How, Leg};
use super::stage::Stage;
use crate::id::ClaimId;

/// A reason, for people by `Display` and for programs by [`Reason::name`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nobody accepted it.
    NotAccepted,
    /// Accepted.
    Accepted,
    /// The agent reported.
    Inspected,
    /// No inspection is wanted.
    NotInspected,
    /// In the pool.
    Free,
    /// In the pool, not free.
    Dirty,
    /// A claim holds it and nothing was started.
    Held(ClaimId),
    /// A node is wanted on it.
    Wanted(ClaimId),
    /// Proof of install seen.
    Installed,
    /// At rest with a claim's system.
    Runs,
    /// Its claim was released.
    Released(ClaimId),
    /// Released before anything was written.
    NothingWritten,
    /// Released before anything was started.
    ReleasedUnused,
    /// Released with `wipe = none`.
    LeftUnwiped,
    /// Erased with proof.
    Wiped,
    /// The wipe is tried again.
    WipeAgain,
    /// Waits for a person or a new goal.
    Parked,
    /// Not ours any more.
    Forgotten,
    /// Not ours any more, and perhaps still on.
    ForgottenOn,
    /// Being turned off before it is forgotten.
    PoweringOff,
    /// Wanted again.
    Back,
    /// Being made to boot.
    Booting(Leg, How),
    /// Waiting for evidence.
    Waiting(Stage),
    /// The agent erases.
    Erasing,
    /// Disks are fine, Talos is next.
    HandOver,
    /// No claim names what may be done.
    NoClaim,
    /// No node is bound.
    NoConfig,
    /// Two addresses wanted one boot's token.
    SecondRequester,
    /// No evidence in time, after so many boots.
    Stalled(Stage, usize),
    /// The BMC will not do it.
    BmcRefused(String),
    /// The BMC is not this machine's.
    BmcOtherBox(String),
    /// The BMC did not answer; it is asked again.
    BmcAsked(String),
    /// The BMC did not answer in time.
    BmcSilent(String),
    /// A disk must not be touched.
    DiskRefused(DiskRefusal),
    /// An erase did not end in time.
    EraseSilent,
    /// Still not blank after the allowed erases.
    NotBlank,
    /// Talos found another installation.
    ForeignInstallation,
    /// Talos did not take the config.
    ConfigRejected(String),
}

impl Reason {
    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotAccepted => "not-accepted",
            Self::Accepted => "accepted",
            Self::Inspected => "inspected",
            Self::NotInspected => "not-inspected",
            Self::Free => "free",
            Self::Dirty => "dirty",
            Self::Held(_) => "held",
            Self::Wanted(_) => "wanted",
            Self::Installed => "installed",
            Self::Runs => "runs",
            Self::Released(_) => "released",
            Self::NothingWritten => "nothing-written",
            Self::ReleasedUnused => "released-unused",
            Self::LeftUnwiped => "left-unwiped",
            Self::Wiped => "wiped",
            Self::WipeAgain => "wipe-again",
            Self::Parked => "parked",
            Self::Forgotten => "forgotten",
            Self::ForgottenOn => "forgotten-on",
            Self::PoweringOff => "powering-off",
            Self::Back => "back",
            Self::Booting(..) => "booting",
            Self::Waiting(_) => "waiting",
            Self::Erasing => "erasing",
            Self::HandOver => "hand-over",
            Self::NoClaim => "no-claim",
            Self::NoConfig => "no-config",
            Self::SecondRequester => "second-requester",
            Self::Stalled(stage, _) => stalled(*stage),
            Self::BmcRefused(_) => "bmc-refused",
            Self::BmcOtherBox(_) => "bmc-other-box",
            Self::BmcAsked(_) => "bmc-asked",
            Self::BmcSilent(_) => "bmc-silent",
            Self::DiskRefused(DiskRefusal::Foreign(..)) => "foreign-data",
            Self::DiskRefused(DiskRefusal::Changed(..)) => "disk-changed",
            Self::DiskRefused(DiskRefusal::Gone(_)) => "disk-gone",
            Self::DiskRefused(DiskRefusal::OldTalos(_)) => "old-talos",
            Self::DiskRefused(DiskRefusal::Unusable(..)) => "disk-unusable",
            Self::DiskRefused(DiskRefusal::NoTarget) => "no-install-disk",
            Self::EraseSilent => "stalled-erase",
            Self::NotBlank => "not-blank",
            Self::ForeignInstallation => "foreign-installation",
            Self::ConfigRejected(_) => "config-rejected",
        }
    }
}

fn stalled(stage: Stage) -> &'static str {
    match stage {
        Stage::Power => "stalled-power",
        Stage::Dhcp => "stalled-dhcp",
        Stage::BootFile => "stalled-boot-file",
        Stage::Script => "stalled-script",
        Stage::Kernel => "stalled-kernel",
        Stage::Agent => "stalled-agent",
        Stage::Config => "stalled-config",
        Stage::Install => "stalled-install",
        Stage::Boot => "stalled-boot",
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAccepted => f.write_str("not accepted: it is not powered and never written"),
            Self::Accepted => f.write_str("accepted; the agent will look at its hardware"),
            Self::Inspected => f.write_str("the agent reported its hardware"),
            Self::NotInspected => f.write_str("no inspection is wanted"),
            Self::Free => f.write_str("free"),
            Self::Dirty => f.write_str("not free: it holds data that no claim may erase"),
            Self::Held(claim) => write!(f, "held by {claim}; nothing was started on it"),
            Self::Wanted(claim) => write!(f, "{claim} is to run here"),
            Self::Installed => {
                f.write_str("config fetched with this boot's token, then booted from disk")
            }
            Self::Runs => f.write_str("runs from its disk"),
            Self::Released(claim) => write!(f, "{claim} was released; its disks are to be erased"),
            Self::NothingWritten => {
                f.write_str("released before anything was written to its disks")
            }
            Self::ReleasedUnused => f.write_str("released; nothing had been started on it"),
            Self::LeftUnwiped => {
                f.write_str("released with wipe = none: its disks were left as they are")
            }
            Self::Wiped => f.write_str("erased, proven, and found blank by a fresh look"),
            Self::WipeAgain => f.write_str("the wipe is tried again"),
            Self::Parked => f.write_str("waits for somebody to ask for another try"),
            Self::Forgotten => f.write_str("forgotten"),
            Self::ForgottenOn => {
                f.write_str("forgotten; its BMC did not confirm in time that the power is off")
            }
            Self::PoweringOff => f.write_str("is turned off before it is forgotten"),
            Self::Back => f.write_str("wanted again"),
            Self::Booting(leg, how) => booting(f, *leg, *how),
            Self::Waiting(stage) => f.write_str(stage.waits_for()),
            Self::Erasing => f.write_str("the agent erases"),
            Self::HandOver => f.write_str("disks checked; the agent reboots into Talos"),
            Self::NoClaim => f.write_str("no claim says what may be done with its disks"),
            Self::NoConfig => {
                f.write_str("disks checked; waiting for a machine config to be bound")
            }
            Self::SecondRequester => {
                f.write_str("two addresses asked for one boot's token; that boot was ended")
            }
            Self::Stalled(stage, tries) => {
                write!(f, "stalled after {tries} boot(s), {}", stage.waits_for())
            }
            Self::BmcRefused(why) | Self::BmcOtherBox(why) | Self::BmcSilent(why) => {
                f.write_str(why)
            }
            Self::BmcAsked(why) => write!(f, "{why}; asking again"),
            Self::DiskRefused(why) => fmt::Display::fmt(why, f),
            Self::EraseSilent => f.write_str("the agent did not end an erase in time"),
            Self::NotBlank => f.write_str("a disk is still not blank after three erases"),
            Self::ForeignInstallation => {
                f.write_str("Talos halted: it found another installation on one of the disks")
            }
            Self::ConfigRejected(error) => write!(f, "Talos did not accept the config: {error}"),
        }
    }
}

fn booting(f: &mut fmt::Formatter<'_>, leg: Leg, how: How) -> fmt::Result {
    let leg = leg.name();
    match how {
        How::Start => write!(f, "network boot into {leg} is set, powering on"),
        How::Restart => write!(f, "network boot into {leg} is set again, power off and on"),
        How::ByAgent => write!(f, "the agent reboots into {leg}"),
        How::Button => write!(
            f,
            "press its power button: it has no BMC, and {leg} is to boot"
        ),
    }
}
