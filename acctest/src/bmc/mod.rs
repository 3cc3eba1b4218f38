//! A simulated BMC: an RMCP+ server (IPMI v2.0) for one machine on one loopback address, with faults on demand.
//!
//! It is the other side of bootd's client and shares no line with it, so that one mistake cannot hide in both; `ipmitool` speaks
//! to it as well. Promises: cipher suites 17 and 3 only; requests are checked as a strict BMC does (privilege, length, range);
//! the machine itself is behind [`Chassis`]. Deliberately not here: SDR, SEL, FRU, SOL and
//! user commands, and the 60 s after which real BMCs forget boot flags.

mod chassis;
mod commands;
mod server;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use server::State;

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
    /// So many of the next replies are lost; counts down.
    pub drop_next: u32,
    /// Every reply is sent twice.
    pub duplicate: bool,
    /// Every reply comes so much later.
    pub delay: Duration,
    /// Hears nothing, says nothing.
    pub silent: bool,
    /// Speaks IPMI 1.5 only: says so when asked and hears no handshake.
    pub only_ipmi15: bool,
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

/// What a BMC counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams that came in.
    pub datagrams: u64,
    /// Replies that went out, lost and repeated ones counted once.
    pub replies: u64,
    /// Logins that succeeded.
    pub logins: u64,
}

/// A running BMC; it stops when this is dropped.
#[derive(Debug)]
pub struct Bmc {
    address: SocketAddr,
    shared: Shared,
    task: JoinHandle<()>,
}

/// Starts a BMC on its address. Needs a tokio runtime.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(config: BmcConfig, chassis: Arc<dyn Chassis>) -> io::Result<Bmc> {
    let socket = Arc::new(UdpSocket::bind(config.address).await?);
    let address = socket.local_addr()?;
    let shared = Shared(Arc::new(Mutex::new(State::new(config))));
    let task = tokio::spawn(listen(socket, shared.clone(), chassis));
    Ok(Bmc {
        address,
        shared,
        task,
    })
}

impl Bmc {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is wrong with it from now on.
    pub fn set_faults(&self, faults: BmcFaults) {
        self.shared.lock().faults = faults;
    }

    /// What is wrong with it now.
    pub fn faults(&self) -> BmcFaults {
        self.shared.lock().faults
    }

    /// The boot flags that it holds.
    pub fn boot_flags(&self) -> BootFlags {
        self.shared.lock().memory.flags
    }

    /// What the firmware of a start that the BMC did not cause (a reboot by the guest) finds; flags for one boot are used up.
    pub fn use_boot_flags(&self) -> BootFlags {
        let mut state = self.shared.lock();
        let faults = state.faults;
        state.memory.use_flags(&faults)
    }

    /// Every Chassis Control that was accepted, in order.
    pub fn controls(&self) -> Vec<Control> {
        self.shared.lock().controls.clone()
    }

    /// Sessions that are open now.
    pub fn open_sessions(&self) -> usize {
        self.shared.lock().open_sessions()
    }

    /// What it counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.lock().counters
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means that a test failed elsewhere; the state itself is whole after every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

async fn listen(socket: Arc<UdpSocket>, shared: Shared, chassis: Arc<dyn Chassis>) {
    let mut buffer = [0; 1024];
    loop {
        // An error belongs to an earlier reply whose receiver is gone.
        let Ok((len, peer)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        // The chassis is called without the lock: it may ask this BMC something itself.
        let power = chassis.power();
        let reaction = shared.lock().react(&buffer[..len], power, Instant::now());
        if let Some((control, boot)) = reaction.control {
            chassis.control(control, boot);
        }
        if let Some(reply) = reaction.reply {
            send(&socket, &shared, reply, peer).await;
        }
    }
}

async fn send(socket: &Arc<UdpSocket>, shared: &Shared, reply: Vec<u8>, peer: SocketAddr) {
    let (faults, number) = {
        let mut state = shared.lock();
        state.counters.replies += 1;
        if let Some(left) = state.faults.drop_next.checked_sub(1) {
            state.faults.drop_next = left;
            return;
        }
        (state.faults, state.counters.replies)
    };
    if faults
        .drop_every
        .is_some_and(|n| n != 0 && number.is_multiple_of(u64::from(n)))
    {
        return;
    }
    let copies = if faults.duplicate { 2 } else { 1 };
    if faults.delay.is_zero() {
        for _ in 0..copies {
            // A reply that cannot be sent is a lost reply.
            let _ = socket.send_to(&reply, peer).await;
        }
        return;
    }
    let socket = Arc::clone(socket);
    tokio::spawn(async move {
        tokio::time::sleep(faults.delay).await;
        for _ in 0..copies {
            let _ = socket.send_to(&reply, peer).await;
        }
    });
}
