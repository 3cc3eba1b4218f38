//! What was seen of a machine. A fact belongs to the epoch in which it was seen; the store discards older ones.
//! Handlers add facts and set goals; they never name a phase.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One piece of evidence. Variants are added, never changed: they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// The firmware asked DHCP for boot data and was offered some.
    DhcpOffered {
        /// DHCP option 93.
        arch: u16,
    },
    /// iPXE asked DHCP (option 77 `iPXE` or option 175) and was offered a script.
    IpxeOffered,
    /// A boot file was asked for by TFTP.
    BootFileRequested {
        /// Its name.
        name: String,
    },
    /// A boot file arrived whole by TFTP or HTTP.
    BootFileServed {
        /// Its name.
        name: String,
    },
    /// The iPXE script was rendered for this machine.
    ScriptServed {
        /// What the script boots.
        what: ServedBoot,
        /// Who fetched it.
        from: IpAddr,
    },
    /// A kernel left for this machine, whole.
    KernelServed {
        /// Which one.
        what: ServedBoot,
    },
    /// An initial RAM disk left for this machine, whole.
    InitrdServed {
        /// Which one.
        what: ServedBoot,
    },
    /// The machine config left with this epoch's token.
    ConfigServed {
        /// Who fetched it.
        from: IpAddr,
    },
    /// A wrong, old or foreign token was shown.
    TokenRefused {
        /// Who showed it.
        from: IpAddr,
        /// Why it was refused, without the token.
        why: String,
    },
    /// A second address asked for this epoch's token: the epoch ends.
    SecondRequester {
        /// Who asked.
        from: IpAddr,
        /// Who holds it.
        holder: IpAddr,
    },
    /// The agent reported in this epoch; the hardware itself is stored beside the facts.
    AgentReported,
    /// The agent carried out an erase order and the proof of every disk was right.
    EraseProven,
    /// The agent refused an order, or a disk failed, or a proof was wrong.
    EraseFailed {
        /// Which disk and why.
        why: String,
    },
    /// An event that the Talos of this machine pushed, reduced to what the life cycle needs.
    Talos(TalosFact),
    /// The kernel log's command line of a new boot.
    CommandLine {
        /// True if it holds this epoch's nonce marker: a netboot of ours.
        ours: bool,
    },
}

/// What a netbooting machine was handed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServedBoot {
    /// "Boot your own disk".
    Local,
    /// Our agent, to look or to erase.
    Agent,
    /// The claim's Talos image.
    Talos,
}

/// Pushed Talos events, reduced (`docs/booting.md` tells which events they come from).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "talos", rename_all = "kebab-case")]
pub enum TalosFact {
    /// First event of a boot: a new run of ids.
    BootStarted,
    /// Sequence `install` started with work to do.
    InstallStarted,
    /// Sequence `install` ended after work.
    InstallFinished,
    /// Sequence `boot` started after an empty `install`: this boot counts as installed.
    BootedInstalled,
    /// Stopped by `talos.halt_if_installed`: a foreign installation was found.
    HaltedInstalled,
    /// Entered maintenance mode.
    Maintenance,
    /// The config could not be loaded or validated.
    ConfigRejected {
        /// Talos's own words.
        error: String,
    },
    /// A machine status.
    Status {
        /// `booting`, `running`, …
        stage: String,
        /// Its readiness.
        ready: bool,
    },
}
