//! The desk: all that the sockets may ask of the rest of bootd, and all they may tell it.
//!
//! Promise: an answer is safe when everything else is broken: an error or an unknown machine means "answer nothing" or
//! "boot your own disk", never an installer or an eraser.

use std::net::IpAddr;

use bootd_core::id::{Epoch, Mac, MachineId};
use bootd_core::lifecycle::facts::{Fact, TalosFact};
use metal_proto::metal::v1::{AgentOrder, AgentReport, AgentResult};

/// Who asks: every identity that came with the request. Claims, not secrets.
#[derive(Debug, Clone, Default)]
pub struct Asker {
    /// Hardware address of the DHCP request or of the script URL.
    pub mac: Option<Mac>,
    /// SMBIOS UUID, lower case with hyphens (DHCP option 97 or the script URL).
    pub uuid: Option<String>,
    /// SMBIOS serial.
    pub serial: Option<String>,
    /// Source address.
    pub from: Option<IpAddr>,
}

/// What a netbooting machine may have now.
#[derive(Debug, Clone)]
pub enum Netboot {
    /// Unknown or not to be answered; the reason is for the log only.
    Nothing(&'static str),
    /// Boot your own disk.
    Local {
        /// The machine.
        machine: MachineId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Our agent.
    Agent {
        /// The machine.
        machine: MachineId,
        /// Its epoch.
        epoch: Epoch,
        /// Extra kernel arguments (`boot_args`), already checked.
        args: Vec<String>,
    },
    /// The claim's Talos image.
    Talos {
        /// The machine.
        machine: MachineId,
        /// Its epoch.
        epoch: Epoch,
        /// Image id, `SCHEMATIC/VERSION/ARCH`.
        image: String,
        /// This epoch's marker for the kernel command line (`metal.nonce=…`).
        nonce: String,
        /// Extra kernel arguments, already checked.
        args: Vec<String>,
    },
}

/// A line for the machine's timeline that is no evidence. Text is redacted by the caller.
#[derive(Debug, Clone)]
pub struct Note {
    /// `dhcp`, `tftp`, `http`, `talos`, `console`.
    pub source: &'static str,
    /// For people.
    pub text: String,
    /// Needs a person's eye.
    pub alarm: bool,
}

/// A good token's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeemed {
    /// The machine.
    pub machine: MachineId,
    /// The epoch that the token belongs to.
    pub epoch: Epoch,
}

/// Why a token was not minted or not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No power-on of ours opened a window for this machine.
    #[error("no boot of this machine was started by bootd")]
    NoWindow,
    /// This address's DHCP was not seen in this epoch.
    #[error("no DHCP request of this machine was seen in this epoch")]
    NoDhcp,
    /// Another requester holds this epoch's token.
    #[error("another address already holds this boot's token")]
    SecondRequester,
    /// Unknown, old or used up.
    #[error("the token is not good (any more)")]
    BadToken,
    /// The boot that it was given for is over, in order; shown by whom it was given to.
    #[error("the boot that the token was given for is over")]
    Ended,
    /// The right token from the wrong address.
    #[error("the token was shown by another address than it was given to")]
    WrongSource,
}

/// The store could not answer. Handlers answer nothing then.
#[derive(Debug, thiserror::Error)]
#[error("the store is not available")]
pub struct DeskError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What the sockets may ask and tell. Implemented once, over the store.
#[allow(
    async_fn_in_trait,
    reason = "used with static dispatch only; Send is demanded at the spawn"
)]
pub trait Desk: Send + Sync + 'static {
    /// What this machine may netboot now. Under open registration the first sight of an unknown machine makes it `Discovered`.
    ///
    /// Where `asker.from` is given and the machine is known, the address is remembered as the machine's for [`Desk::machine_at`];
    /// TFTP, asset and sink requests have nothing else to tell machines apart by. Asking has no other effect: it is also called
    /// for boot clients that were only overheard.
    fn netboot(&self, asker: &Asker) -> impl Future<Output = Result<Netboot, DeskError>> + Send;

    /// The machine behind an address that spoke with a token or DHCP before (for the sinks, whose peers show no token).
    fn machine_at(
        &self,
        from: IpAddr,
    ) -> impl Future<Output = Result<Option<Redeemed>, DeskError>> + Send;

    /// Adds evidence. Facts of an older epoch are dropped. Writes the timeline line that belongs to the fact.
    fn fact(
        &self,
        machine: &MachineId,
        epoch: Epoch,
        fact: Fact,
    ) -> impl Future<Output = Result<(), DeskError>> + Send;

    /// Adds a timeline line that is no evidence.
    fn note(
        &self,
        machine: &MachineId,
        note: Note,
    ) -> impl Future<Output = Result<(), DeskError>> + Send;

    /// Mints this epoch's token for the first requester in the window (DESIGN §2.2). The same requester gets it again.
    fn mint(
        &self,
        machine: &MachineId,
        epoch: Epoch,
        from: IpAddr,
    ) -> impl Future<Output = Result<Result<String, Refusal>, DeskError>> + Send;

    /// Checks a token. A refusal of a token whose machine is known becomes a `TokenRefused` fact here.
    fn redeem(
        &self,
        token: &str,
        from: IpAddr,
    ) -> impl Future<Output = Result<Result<Redeemed, Refusal>, DeskError>> + Send;

    /// The config of this epoch's claim; `None` while it is not ready. Call again after [`Desk::changed`].
    fn config(
        &self,
        owner: &Redeemed,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, DeskError>> + Send;

    /// The agent's report; answers the next order.
    fn agent_report(
        &self,
        owner: &Redeemed,
        report: AgentReport,
        from: IpAddr,
    ) -> impl Future<Output = Result<AgentOrder, DeskError>> + Send;

    /// The newest order with a number above `after`; `None` while there is none.
    fn agent_order(
        &self,
        owner: &Redeemed,
        after: u64,
    ) -> impl Future<Output = Result<Option<AgentOrder>, DeskError>> + Send;

    /// The result of an order; answers the next one.
    fn agent_result(
        &self,
        owner: &Redeemed,
        result: AgentResult,
    ) -> impl Future<Output = Result<AgentOrder, DeskError>> + Send;

    /// A Talos event, persisted before this returns; `id` deduplicates. `fact` is `None` for events of the timeline only.
    fn talos_event(
        &self,
        from: IpAddr,
        id: &str,
        line: &str,
        fact: Option<TalosFact>,
    ) -> impl Future<Output = Result<(), DeskError>> + Send;

    /// A number that grows with every change of any machine: what long polls wait on.
    fn changed(&self) -> tokio::sync::watch::Receiver<u64>;
}
