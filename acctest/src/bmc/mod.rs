//! A simulated BMC: an RMCP+ server (IPMI v2.0) for one machine on one loopback address, with faults on demand.
//!
//! It is the other side of bootd's client and shares no line with it, so that one mistake cannot hide in both; `ipmitool` speaks
//! to it as well. Promises: cipher suites 17 and 3 only; requests are checked as a strict BMC does (privilege, length, range);
//! the machine itself is behind [`Chassis`]. Deliberately not here: SDR, SEL, FRU, SOL and user commands.

mod chassis;

use std::net::SocketAddr;
use std::time::Duration;

pub use chassis::{BootFlags, Chassis, Control, Power, Privilege, Suite, User};

/// What a BMC is made of.
#[derive(Debug, Clone)]
pub struct BmcConfig {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Who may log in.
    pub users: Vec<User>,
    /// Cipher suites that it offers.
    pub suites: Vec<Suite>,
    /// The machine's SMBIOS UUID as text; sent in the byte order of the specification, or all zeros if it is no UUID.
    pub uuid: String,
    /// Sessions that it holds at once.
    pub sessions_max: usize,
    /// What is wrong with it from the start.
    pub faults: BmcFaults,
}

impl BmcConfig {
    /// A healthy BMC of both suites on a free port of 127.0.0.1 with one administrator.
    pub fn new(username: &str, password: &str) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            users: vec![User {
                name: username.to_owned(),
                password: password.to_owned(),
                privilege: Privilege::Administrator,
            }],
            suites: vec![Suite::Seventeen, Suite::Three],
            uuid: String::new(),
            sessions_max: 8,
            faults: BmcFaults::default(),
        }
    }
}

/// What is wrong with a BMC. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BmcFaults {
    /// Every Nth reply is lost.
    pub drop_every: Option<u32>,
    /// Every reply is sent twice.
    pub duplicate: bool,
    /// Every reply comes so much later.
    pub delay: Duration,
    /// Hears nothing, says nothing.
    pub silent: bool,
    /// No password is right.
    pub refuse_login: bool,
    /// Says so about the power, whatever is true.
    pub power_lie: Option<Power>,
    /// Accepts Chassis Control and does nothing.
    pub ignore_control: bool,
    /// Accepts boot flags and forgets them.
    pub ignore_boot_device: bool,
    /// Keeps the device of the boot flags only, as OpenIPMI's simulator does.
    pub keep_device_only: bool,
}

/// A running BMC; it stops when this is dropped.
#[derive(Debug)]
pub struct Bmc {
    address: SocketAddr,
}

/// Starts a BMC on its address. Needs a tokio runtime.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(
    _config: BmcConfig,
    _chassis: std::sync::Arc<dyn Chassis>,
) -> std::io::Result<Bmc> {
    todo!()
}

impl Bmc {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is wrong with it from now on.
    pub fn set_faults(&self, _faults: BmcFaults) {
        todo!()
    }

    /// What is wrong with it now.
    pub fn faults(&self) -> BmcFaults {
        todo!()
    }

    /// The boot flags that it holds.
    pub fn boot_flags(&self) -> BootFlags {
        todo!()
    }

    /// What the firmware of a start that the BMC did not cause (a reboot by the guest) finds; flags for one boot are used up.
    pub fn use_boot_flags(&self) -> BootFlags {
        todo!()
    }

    /// Every Chassis Control that was accepted, in order.
    pub fn controls(&self) -> Vec<Control> {
        todo!()
    }
}
