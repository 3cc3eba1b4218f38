//! A machine of the rack: its power, its faults, what it is doing. The BMC switches it, a task lives in it while it has power.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::content::{self, Look};
use super::disk::Disk;
use super::fault::{Fault, Faults, Order};
use super::firmware;
use super::plan::ServerPlan;
use super::spec::Endpoints;
use super::wire::{Cable, Capture};
use crate::bmc::{Bmc, BmcFaults, BootFlags, Chassis, Control, Power};
use crate::talosnode::discovery::Discovery;

/// What all machines of a rack share.
#[derive(Debug)]
pub struct World {
    /// Where the boot server listens.
    pub endpoints: Option<Endpoints>,
    /// The site's address server.
    pub address_server: SocketAddr,
    /// How much faster than real hardware time passes.
    pub speed: f64,
    /// Packets of the rack's sockets.
    pub capture: Arc<Capture>,
    /// How Talos nodes find each other.
    pub discovery: Arc<Discovery>,
    /// UUID of the first server, for the fault `duplicate-uuid`.
    pub first_uuid: String,
    /// Where lives are started.
    pub runtime: tokio::runtime::Handle,
    /// Told after each change of power.
    pub changed: tokio::sync::watch::Sender<u64>,
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// What it is.
    pub plan: ServerPlan,
    /// What is wrong with it.
    pub faults: Arc<Faults>,
    /// What it shares with the others.
    pub world: Arc<World>,
    /// Blocking work of the present life: whoever takes the power waits for it before the next life.
    pub work: TaskTracker,
    bmc: OnceLock<Bmc>,
    packets: Arc<AtomicU64>,
    seen: Mutex<Seen>,
    life: Mutex<Life>,
    this: Weak<Machine>,
}

#[derive(Debug, Default)]
struct Life {
    alive: Option<CancellationToken>,
    task: Option<JoinHandle<()>>,
}

/// What can be seen from outside.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    /// `off`, `firmware`, `pxe`, `ipxe`, `agent`, `talos`, `stuck`.
    pub stage: String,
    /// What it does in that stage.
    pub detail: String,
    /// The last thing that went wrong in the firmware.
    pub last_error: Option<String>,
    /// The last console lines.
    pub console: Vec<String>,
    /// How often something happened since the rack started.
    pub counts: Counts,
}

/// Counters.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Counts {
    /// Power given.
    pub power_ons: u32,
    /// The agent started.
    pub agent_boots: u32,
    /// Talos started from the network.
    pub talos_netboots: u32,
    /// Talos started from a disk (kexec included).
    pub talos_disk_boots: u32,
    /// A disk was written by Talos's installer.
    pub installs: u32,
    /// Bootstrap calls that a node accepted.
    pub bootstraps: u32,
    /// Resets that a node carried out.
    pub resets: u32,
}

/// One machine in `rack status`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Name.
    pub name: String,
    /// `on` or `off`.
    pub power: &'static str,
    /// Everything that can be seen.
    #[serde(flatten)]
    pub seen: Seen,
    /// Faults that are set.
    pub faults: Vec<String>,
    /// Own address.
    pub address: String,
    /// Boot flags that the BMC holds, in hexadecimal.
    pub boot_flags: Option<String>,
}

const CONSOLE_LINES: usize = 20;

impl Machine {
    /// A machine without power.
    pub fn new(plan: ServerPlan, world: Arc<World>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            plan,
            faults: Arc::new(Faults::default()),
            world,
            work: TaskTracker::new(),
            bmc: OnceLock::new(),
            packets: Arc::new(AtomicU64::new(0)),
            seen: Mutex::new(Seen {
                stage: "off".to_owned(),
                ..Seen::default()
            }),
            life: Mutex::new(Life::default()),
            this: this.clone(),
        })
    }

    /// Ties the BMC to it; the first one stays.
    pub fn attach(&self, bmc: Bmc) {
        if self.bmc.set(bmc).is_err() {
            tracing::error!(machine = self.plan.name, "a second BMC was attached");
        }
    }

    /// SMBIOS UUID as the machine says it now.
    pub fn uuid(&self) -> String {
        if self.faults.has(Fault::DuplicateUuid) {
            self.world.first_uuid.clone()
        } else {
            self.plan.uuid.clone()
        }
    }

    /// Its network card.
    pub fn cable(&self) -> Cable {
        Cable {
            address: self.plan.address,
            faults: Arc::clone(&self.faults),
            capture: Arc::clone(&self.world.capture),
            count: Arc::clone(&self.packets),
        }
    }

    /// Where the boot server listens, if the rack was told.
    pub fn endpoints(&self) -> Option<Endpoints> {
        self.world.endpoints
    }

    /// The site's address server.
    pub fn address_server(&self) -> SocketAddr {
        self.world.address_server
    }

    /// A time of real hardware as it passes here.
    pub fn pace(&self, real: Duration) -> Duration {
        real.div_f64(self.world.speed)
    }

    /// A number for transactions.
    pub fn random(&self) -> u32 {
        let mut bytes = [0; 4];
        // Without entropy a counter still tells transactions apart.
        if getrandom::fill(&mut bytes).is_err() {
            return u32::try_from(self.packets.fetch_add(1, Ordering::Relaxed)).unwrap_or(1);
        }
        u32::from_ne_bytes(bytes)
    }

    /// Its disks, opened.
    ///
    /// # Errors
    /// Of the file system.
    pub fn open_disk(&self, index: usize) -> std::io::Result<Disk> {
        let plan = self
            .plan
            .disks
            .get(index)
            .ok_or_else(|| std::io::Error::other("no such disk"))?;
        Disk::open(&plan.path, Arc::clone(&self.faults))
    }

    /// What it does now.
    pub fn stage(&self, stage: &str, detail: &str) {
        tracing::debug!(machine = self.plan.name, stage, detail);
        let mut seen = self.seen();
        stage.clone_into(&mut seen.stage);
        detail.clone_into(&mut seen.detail);
    }

    /// Something went wrong that a person should see.
    pub fn trouble(&self, what: &str) {
        tracing::info!(machine = self.plan.name, what, "trouble");
        self.seen().last_error = Some(what.to_owned());
        self.console(what);
    }

    /// A line on its screen.
    pub fn console(&self, line: &str) {
        tracing::debug!(machine = self.plan.name, line, "console");
        let mut seen = self.seen();
        if seen.console.len() == CONSOLE_LINES {
            seen.console.remove(0);
        }
        seen.console.push(line.to_owned());
    }

    /// Counts something.
    pub fn count(&self, what: impl FnOnce(&mut Counts)) {
        what(&mut self.seen().counts);
    }

    /// As `rack status` shows it.
    pub fn status(&self) -> Status {
        Status {
            name: self.plan.name.clone(),
            power: match self.power() {
                Power::On => "on",
                Power::Off => "off",
            },
            seen: self.seen().clone(),
            faults: self.faults.list(),
            address: self.plan.address.to_string(),
            boot_flags: self
                .bmc
                .get()
                .map(|bmc| super::plan::hex(&bmc.boot_flags().0)),
        }
    }

    /// What is on its disks.
    pub fn look(&self) -> Vec<std::io::Result<Look>> {
        self.plan
            .disks
            .iter()
            .map(|disk| content::look(&disk.path))
            .collect()
    }

    /// Makes something wrong, or all well.
    pub fn apply_fault(&self, order: Order) {
        self.faults.apply(order);
        if let Some(bmc) = self.bmc.get() {
            bmc.set_faults(BmcFaults {
                silent: self.faults.has(Fault::BmcSilent),
                refuse_login: self.faults.has(Fault::BmcRefusesLogin),
                power_lie: self.faults.has(Fault::BmcLiesOn).then_some(Power::On),
                ignore_control: self.faults.has(Fault::BmcIgnoresPower),
                keep_device_only: self.faults.has(Fault::BmcKeepsDeviceOnly),
                delay: self.faults.delay(Fault::BmcSlow),
                ..BmcFaults::default()
            });
        }
    }

    /// What the BMC tells the firmware of a start that nobody at the BMC caused.
    pub fn boot_flags(&self) -> BootFlags {
        let Some(bmc) = self.bmc.get() else {
            return BootFlags::NONE;
        };
        bmc.use_boot_flags()
    }

    /// Gives it power. A machine that has power keeps what it does.
    pub fn turn_on(&self, flags: BootFlags) {
        let Some(machine) = self.this.upgrade() else {
            return;
        };
        let mut life = self.life();
        if life.alive.is_some() {
            return;
        }
        let alive = CancellationToken::new();
        let before = life.task.take();
        life.alive = Some(alive.clone());
        self.count(|counts| counts.power_ons += 1);
        self.stage("firmware", "power on");
        life.task = Some(self.world.runtime.spawn(async move {
            if let Some(before) = before {
                // Disks are never used by two lives at once.
                drop(before.await);
            }
            firmware::live(&machine, alive.clone(), flags).await;
            machine.ended(&alive);
        }));
        drop(life);
        self.tell();
    }

    /// Takes its power, at once.
    pub fn cut(&self) {
        if let Some(alive) = self.life().alive.take() {
            alive.cancel();
        }
        self.stage("off", "");
        self.tell();
    }

    /// Waits until nothing of a former life runs any more.
    pub async fn settled(&self) {
        let task = {
            let mut life = self.life();
            if life.alive.is_some() {
                return;
            }
            life.task.take()
        };
        if let Some(task) = task {
            drop(task.await);
        }
    }

    /// It turned itself off.
    fn ended(&self, alive: &CancellationToken) {
        if alive.is_cancelled() {
            return;
        }
        self.life().alive = None;
        self.stage("off", "turned itself off");
        self.tell();
    }

    fn tell(&self) {
        self.world.changed.send_modify(|n| *n += 1);
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> std::sync::MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chassis for Machine {
    fn power(&self) -> Power {
        if self.life().alive.is_some() {
            Power::On
        } else {
            Power::Off
        }
    }

    fn control(&self, control: Control, boot: BootFlags) {
        match control {
            Control::On => self.turn_on(boot),
            Control::Off | Control::Soft => self.cut(),
            Control::Cycle | Control::Reset => {
                self.cut();
                self.turn_on(boot);
            }
        }
    }
}
