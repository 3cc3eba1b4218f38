//! BMC drivers: what the reconciler may ask of a machine's power and boot order.
//!
//! Promises: every verb is idempotent, reads before it writes and reads back after it; one connected socket and one queue per
//! BMC with one command in flight, so that a silent BMC slows nobody else; held sessions are closed when idle and opened again
//! after silence; a BMC that has ever spoken cipher suite 17 is never asked for less; no error or log line holds a password.
//! Deliberately not here: phases, retries over minutes and escalation (the reconciler's), Redfish (a later driver).

mod error;
mod lane;
mod link;
mod verbs;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

pub use bootd_core::secret::Secret;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::egress::Egress;
use lane::{Job, Key, Lane, Reply, Retire, SuiteMemory, Verb};
use link::Clock;

pub use bootd_core::bmc::{CipherZero, Privilege, Suite, Timing};
pub use bootd_core::wire::ipmi::{
    BootDevice, BootFlags, DeviceId, Firmware, PowerState, SystemGuid,
};
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
    /// Where BMCs may be; `None` sets no bounds (tests on loopback). HCL names BMCs, and bootd is no way into its own host.
    pub egress: Option<Egress>,
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
            egress: None,
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
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Arc<Settings>,
    suites: Arc<SuiteMemory>,
    clock: Clock,
    lanes: Mutex<BTreeMap<Key, Open>>,
}

/// The fleet's end of a lane.
struct Open {
    jobs: mpsc::Sender<Job>,
    task: JoinHandle<()>,
}

/// Requests that may wait for one BMC.
const QUEUE_MAX: usize = 64;

impl Fleet {
    /// A fleet without sessions. Tasks are started by the first verb to each BMC, inside a tokio runtime.
    pub fn new(settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings: Arc::new(settings),
                suites: Arc::default(),
                clock: Clock::start(),
                lanes: Mutex::default(),
            }),
        }
    }

    /// Reads the power state.
    ///
    /// # Errors
    /// See [`BmcError`]; so for every verb.
    pub async fn power(&self, target: &Target) -> Result<PowerState, BmcError> {
        self.ask(target, Verb::Power).await
    }

    /// Turns the machine on unless it is on, and waits until it reads so.
    pub async fn power_on(&self, target: &Target) -> Result<PowerOutcome, BmcError> {
        self.ask(target, |reply| Verb::Switch(PowerState::On, reply))
            .await
    }

    /// Cuts the power unless it is off, and waits until it reads so.
    pub async fn power_off(&self, target: &Target) -> Result<PowerOutcome, BmcError> {
        self.ask(target, |reply| Verb::Switch(PowerState::Off, reply))
            .await
    }

    /// Asks the operating system to shut down unless the machine is off, and waits until it reads off.
    pub async fn power_soft(&self, target: &Target) -> Result<PowerOutcome, BmcError> {
        self.ask(target, Verb::Soft).await
    }

    /// Cuts the power and turns it on again; a machine that is off is turned on. Never sent twice: a lost reply that the power
    /// state does not explain is [`BmcError::CycleUncertain`]. That the state reads "on" afterwards proves no start: look for
    /// the machine's DHCP request.
    pub async fn power_cycle(&self, target: &Target) -> Result<PowerOutcome, BmcError> {
        self.ask(target, Verb::Cycle).await
    }

    /// Makes the next start a network boot, once.
    pub async fn boot_pxe_once(
        &self,
        target: &Target,
        firmware: Firmware,
    ) -> Result<BootReadBack, BmcError> {
        self.ask(target, |reply| Verb::Boot(BootDevice::Pxe, firmware, reply))
            .await
    }

    /// Makes the next start a boot from disk, once.
    pub async fn boot_disk_once(
        &self,
        target: &Target,
        firmware: Firmware,
    ) -> Result<BootReadBack, BmcError> {
        self.ask(target, |reply| {
            Verb::Boot(BootDevice::Disk, firmware, reply)
        })
        .await
    }

    /// The machine's own id as the BMC knows it.
    pub async fn system_guid(&self, target: &Target) -> Result<SystemGuid, BmcError> {
        self.ask(target, Verb::Guid).await
    }

    /// What kind of BMC it is.
    pub async fn device_id(&self, target: &Target) -> Result<DeviceId, BmcError> {
        self.ask(target, Verb::DeviceId).await
    }

    /// Asks whether the BMC would open a session without any password. Sends no login and no command; needs no credentials.
    pub async fn probe_cipher_zero(&self, target: &Target) -> Result<CipherZero, BmcError> {
        self.ask(target, Verb::CipherZero).await
    }

    /// The suite that worked with this BMC, for storage over restarts.
    pub fn known_suite(&self, target: &Target) -> Option<Suite> {
        self.inner.suites.known(&key(target))
    }

    /// Tells which suite worked before this start of bootd: 17 is never given up again.
    pub fn remember_suite(&self, target: &Target, suite: Suite) {
        self.inner.suites.learn(&key(target), suite);
    }

    /// Closes all held sessions, so that no BMC's slots stay taken. Jobs that wait are done first.
    pub async fn close(&self) {
        let lanes = std::mem::take(&mut *self.inner.lanes());
        for (_, Open { jobs, task }) in lanes {
            drop(jobs);
            if let Err(error) = task.await {
                tracing::error!(%error, "a BMC task ended badly");
            }
        }
    }

    async fn ask<T>(
        &self,
        target: &Target,
        verb: impl FnOnce(Reply<T>) -> Verb,
    ) -> Result<T, BmcError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job {
            target: target.clone(),
            verb: verb(reply),
        })?;
        answer.await.unwrap_or_else(|_| {
            Err(BmcError::Stopped {
                bmc: target.to_string(),
            })
        })
    }

    fn enqueue(&self, job: Job) -> Result<(), BmcError> {
        let key = key(&job.target);
        let bmc = job.target.to_string();
        let mut lanes = self.inner.lanes();
        let open = lanes.entry(key).or_insert_with_key(|key| self.start(key));
        if open.jobs.is_closed() {
            // The lane's task died with its runtime or by a panic.
            *open = self.start(&crate::bmc::key(&job.target));
        }
        open.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => BmcError::QueueFull { bmc },
            TrySendError::Closed(_) => BmcError::Stopped { bmc },
        })
    }

    fn start(&self, key: &Key) -> Open {
        let (jobs, waiting) = mpsc::channel(QUEUE_MAX);
        let inner = &self.inner;
        let lane = Lane::new(
            Arc::clone(&inner.settings),
            Arc::clone(&inner.suites),
            inner.clock,
            key.clone(),
        );
        let exit = Exit {
            inner: Arc::downgrade(inner),
            key: key.clone(),
        };
        let task = tokio::spawn(lane.run(waiting, exit));
        Open { jobs, task }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("lanes", &self.inner.lanes().len())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn lanes(&self) -> MutexGuard<'_, BTreeMap<Key, Open>> {
        // Nothing under this lock can leave it half done.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(target: &Target) -> Key {
    (target.address.clone(), target.port)
}

/// How an idle lane leaves. Jobs are sent under the fleet's lock, so a lane that sees its queue empty under it may go.
struct Exit {
    inner: Weak<Inner>,
    key: Key,
}

impl Retire for Exit {
    fn retire(&self, jobs: &mpsc::Receiver<Job>) -> bool {
        let Some(inner) = self.inner.upgrade() else {
            return true;
        };
        let mut lanes = inner.lanes();
        if jobs.is_empty() {
            lanes.remove(&self.key);
            true
        } else {
            false
        }
    }
}
