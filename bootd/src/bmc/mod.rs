//! BMC drivers: what the reconciler may ask of a machine's power and boot order.
//!
//! Promises: every verb is idempotent, reads before it writes and reads back after it; one connected socket and one queue per
//! BMC with one command in flight, so that a silent BMC slows nobody else; held sessions are closed when idle and opened again
//! after silence; a BMC that has ever spoken cipher suite 17 is never asked for less; no error or log line holds a password.
//! Deliberately not here: phases, retries over minutes and escalation (the reconciler's), Redfish (a later driver).

mod error;

use std::fmt;
use std::time::Duration;

use bootd_core::secret::Secret;
use bootd_core::wire::ipmi::{BootDevice, BootFlags};

pub use bootd_core::bmc::{Privilege, Suite, Timing};
pub use bootd_core::wire::ipmi::{Firmware, PowerState, SystemGuid};
pub use error::{BmcError, LastAnswer, Refusal};

/// The port of RMCP (IPMI v2.0 §13.1.2).
pub const RMCP_PORT: u16 = 623;

/// A BMC and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// IP literal or host name.
    pub address: String,
    /// UDP port; 623 unless told otherwise.
    pub port: u16,
    /// At most 16 bytes.
    pub username: String,
    /// At most 20 bytes.
    pub password: Secret<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address.contains(':') {
            write!(f, "[{}]:{}", self.address, self.port)
        } else {
            write!(f, "{}:{}", self.address, self.port)
        }
    }
}

/// How patiently a [`Fleet`] works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Retransmission steps of one session.
    pub timing: Timing,
    /// Privilege to ask for; OPERATOR is enough for power and boot device.
    pub privilege: Privilege,
    /// Least time between two commands to one BMC: some crash when asked too fast.
    pub interval_min: Duration,
    /// A session that was not used for so long is closed. BMCs drop idle ones after about 60 s themselves.
    pub hold_max: Duration,
    /// How long the power state may take to follow a command.
    pub follow_max: Duration,
    /// Pause between two reads while waiting for that.
    pub follow_pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timing: Timing::default(),
            privilege: Privilege::Operator,
            interval_min: Duration::from_millis(20),
            hold_max: Duration::from_secs(30),
            follow_max: Duration::from_secs(30),
            follow_pause: Duration::from_millis(250),
        }
    }
}

/// What a power verb had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerOutcome {
    /// It was so already; nothing was sent.
    Already,
    /// It was commanded and read back.
    Changed,
}

/// Whether a BMC kept what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Reads back as set.
    Yes,
    /// Accepted and lost: a quirk of this BMC.
    No,
}

/// What reads back after a boot override was set. The device is kept, else the verb fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootReadBack {
    /// The device.
    pub device: BootDevice,
    /// The firmware bit (EFI or legacy) as asked.
    pub efi: Kept,
    /// The "flags are valid" bit.
    pub valid: Kept,
    /// The five bytes of parameter 5 as read.
    pub raw: BootFlags,
}

/// All BMCs that bootd talks to. Cheap to clone; clones share queues and sessions.
#[derive(Debug, Clone)]
pub struct Fleet {
    settings: Settings,
}

impl Fleet {
    /// A fleet without sessions. Tasks are started by the first verb to each BMC, inside a tokio runtime.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Reads the power state.
    pub async fn power(&self, _target: &Target) -> Result<PowerState, BmcError> {
        todo!()
    }

    /// Turns the machine on unless it is on, and waits until it reads so.
    pub async fn power_on(&self, _target: &Target) -> Result<PowerOutcome, BmcError> {
        todo!()
    }

    /// Cuts the power unless it is off, and waits until it reads so.
    pub async fn power_off(&self, _target: &Target) -> Result<PowerOutcome, BmcError> {
        todo!()
    }

    /// Cuts the power and turns it on again; a machine that is off is turned on. Never sent twice: a lost reply that the power
    /// state does not explain is [`BmcError::CycleUncertain`].
    pub async fn power_cycle(&self, _target: &Target) -> Result<PowerOutcome, BmcError> {
        todo!()
    }

    /// Makes the next start a network boot, once.
    pub async fn boot_pxe_once(
        &self,
        _target: &Target,
        _firmware: Firmware,
    ) -> Result<BootReadBack, BmcError> {
        todo!()
    }

    /// Makes the next start a boot from disk, once.
    pub async fn boot_disk_once(
        &self,
        _target: &Target,
        _firmware: Firmware,
    ) -> Result<BootReadBack, BmcError> {
        todo!()
    }

    /// The machine's own id as the BMC knows it.
    pub async fn system_guid(&self, _target: &Target) -> Result<SystemGuid, BmcError> {
        todo!()
    }
}
