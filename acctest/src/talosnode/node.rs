//! One boot of a node: what its sequences, its API and its sinks share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use metal_proto::talos::machine::machine_status_event::MachineStage;
use metal_proto::talos::machine::service_state_event::Action;
use tokio::sync::{mpsc, watch};

use super::config::Config;
use super::discovery::{Affiliate, Role, Trustd};
use super::events::{self, EventLog, Health};
use super::resources::Resources;
use super::sink::{Facility, KernelLog};
use super::{Came, Start};
use crate::rack::machine::Machine;
use crate::rack::plan::hex;

/// What the API asks of the node.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take this config (from maintenance, or a change).
    Apply(Box<Config>),
    /// Restart.
    Reboot {
        /// Who asked.
        actor: String,
    },
    /// Turn off.
    Shutdown {
        /// Who asked.
        actor: String,
    },
    /// Wipe, then restart or turn off.
    Reset(Reset),
}

/// What a reset wipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// Who asked.
    pub actor: String,
    /// Restart afterwards, else turn off.
    pub reboot: bool,
    /// System partitions; empty: the whole system disk.
    pub partitions: Vec<String>,
    /// Wipe the system disk or its partitions at all.
    pub system: bool,
    /// User disks, as paths.
    pub user_disks: Vec<String>,
}

/// etcd on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Etcd {
    /// The boot sequence has not started it, or it is a worker.
    Absent,
    /// Waits for a bootstrap call or for a cluster to join.
    Waiting,
    /// Bootstrap was asked for; the image is being pulled. The number grows with each further call, which starts it anew.
    Pulling(u32),
    /// Runs.
    Running(u64),
}

/// A service as `ServiceList` shows it.
#[derive(Debug, Clone)]
pub struct Service {
    /// `Running`, `Waiting`, …
    pub state: &'static str,
    /// Health; `None`: not known.
    pub healthy: Option<bool>,
    /// What happened to it.
    pub events: Vec<(SystemTime, &'static str, String)>,
}

/// One boot.
#[derive(Debug)]
pub struct Node {
    /// The hardware.
    pub machine: Arc<Machine>,
    /// What was started.
    pub start: Start,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Events.
    pub events: Arc<EventLog>,
    /// Kernel ring.
    pub kernel: Arc<KernelLog>,
    /// COSI state.
    pub resources: Resources,
    /// To the boot sequence.
    pub commands: mpsc::Sender<Command>,
    /// etcd.
    pub etcd: watch::Sender<Etcd>,
    /// A config that the API took while there was none.
    pub accepted: watch::Sender<Option<Config>>,
    /// Where events go.
    pub sink: watch::Sender<Option<String>>,
    /// How many events the sink took.
    pub delivered: watch::Sender<usize>,
    /// Where the kernel log goes.
    pub kernel_sinks: watch::Sender<Vec<String>>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    hostname: String,
    stage: MachineStage,
    unmet: Vec<(String, String)>,
    services: BTreeMap<&'static str, Service>,
}

impl Node {
    /// A node whose kernel has just started.
    pub fn new(machine: &Arc<Machine>, start: Start) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, orders) = mpsc::channel(8);
        let kernel = KernelLog::new(&start.version, &start.command_line);
        let random: Vec<u8> = (0..4)
            .flat_map(|_| machine.random().to_be_bytes())
            .collect();
        let h = hex(&random);
        let node = Arc::new(Self {
            events: Arc::new(EventLog::new(&machine.uuid(), machine.random())),
            kernel: Arc::new(kernel),
            boot_id: format!(
                "{}-{}-4{}-8{}-{}",
                &h[..8],
                &h[8..12],
                &h[13..16],
                &h[17..20],
                &h[20..]
            ),
            resources: Resources::default(),
            commands,
            etcd: watch::Sender::new(Etcd::Absent),
            accepted: watch::Sender::new(None),
            sink: watch::Sender::new(None),
            delivered: watch::Sender::new(0),
            kernel_sinks: watch::Sender::new(Vec::new()),
            inner: Mutex::new(Inner {
                config: Config::default(),
                // What the address server calls it, until a config says otherwise.
                hostname: machine.plan.name.clone(),
                stage: MachineStage::Booting,
                unmet: unmet_at_start(),
                services: BTreeMap::new(),
            }),
            machine: Arc::clone(machine),
            start,
        });
        (node, orders)
    }

    /// Waits as long as `real` takes on hardware.
    pub async fn pause(&self, real: Duration) {
        tokio::time::sleep(self.machine.pace(real)).await;
    }

    /// A line of Talos's own on the console and in the kernel log.
    pub fn say(&self, line: &str) {
        self.kernel.line(Facility::Talos, line);
        self.machine.console(line);
    }

    /// The config that it runs with; empty before there is one.
    pub fn config(&self) -> Config {
        self.lock().config.clone()
    }

    /// Takes a config.
    pub fn set_config(&self, config: Config) {
        let mut inner = self.lock();
        if let Some(hostname) = config.hostname() {
            inner.hostname = hostname;
        }
        self.resources.put(
            "MachineConfigs.config.talos.dev",
            "v1alpha1",
            String::from_utf8_lossy(&config.bytes).into_owned(),
        );
        self.resources.put(
            "MachineTypes.config.talos.dev",
            "machine-type",
            format!("{}\n", config.role().as_str()),
        );
        self.point_sinks(Some(&config));
        inner.config = config;
    }

    /// Sends events and kernel log to where arguments and documents say. The event document replaces the argument, kernel log
    /// destinations add up.
    pub fn point_sinks(&self, config: Option<&Config>) {
        let argument = self.argument("talos.events.sink");
        let sink = config.and_then(Config::event_sink).or(argument);
        self.sink.send_if_modified(|now| {
            let changed = *now != sink;
            *now = sink;
            changed
        });
        let mut logs: Vec<String> = self.argument("talos.logging.kernel").into_iter().collect();
        logs.extend(config.map(Config::kernel_logs).unwrap_or_default());
        logs.sort();
        logs.dedup();
        self.kernel_sinks.send_if_modified(|now| {
            let changed = *now != logs;
            *now = logs;
            changed
        });
    }

    /// Its host name.
    pub fn hostname(&self) -> String {
        self.lock().hostname.clone()
    }

    /// Stage and what is missing.
    pub fn status(&self) -> (MachineStage, Vec<(String, String)>) {
        let inner = self.lock();
        (inner.stage, inner.unmet.clone())
    }

    /// Changes the stage or what is missing, and says so by an event and in the resource.
    pub fn set_status(&self, stage: MachineStage, unmet: Vec<(String, String)>) {
        {
            let mut inner = self.lock();
            if inner.stage == stage && inner.unmet == unmet && stage != MachineStage::Booting {
                return;
            }
            inner.stage = stage;
            inner.unmet.clone_from(&unmet);
        }
        self.events.emit(events::status(stage, &unmet));
        let mut yaml = format!(
            "stage: {}\nstatus:\n    ready: {}\n",
            stage_name(stage),
            unmet.is_empty()
        );
        if unmet.is_empty() {
            yaml.push_str("    unmetConditions: []\n");
        } else {
            yaml.push_str("    unmetConditions:\n");
            for (name, reason) in &unmet {
                let reason = reason.replace('\'', "''");
                yaml.push_str(&format!(
                    "        - name: {name}\n          reason: '{reason}'\n"
                ));
            }
        }
        self.resources
            .put("MachineStatuses.runtime.talos.dev", "machine", yaml);
    }

    /// A service changed: by an event, in the list, in the resource.
    pub fn service(&self, name: &'static str, action: Action, message: &str, health: Health) {
        self.events
            .emit(events::service(name, action, message, health));
        let state = state_name(action);
        let mut inner = self.lock();
        let service = inner.services.entry(name).or_insert(Service {
            state,
            healthy: None,
            events: Vec::new(),
        });
        service.state = state;
        if health == Health::Good {
            service.healthy = Some(true);
        }
        service
            .events
            .push((SystemTime::now(), state, message.to_owned()));
        if service.events.len() > 30 {
            service.events.remove(0);
        }
        let healthy = service.healthy;
        drop(inner);
        self.resources.put(
            "Services.v1alpha1.talos.dev",
            name,
            format!(
                "running: {}\nhealthy: {}\nunknown: {}\n",
                state == "Running",
                healthy == Some(true),
                healthy.is_none()
            ),
        );
    }

    /// Its services.
    pub fn services(&self) -> BTreeMap<&'static str, Service> {
        self.lock().services.clone()
    }

    /// Node id in its cluster.
    pub fn node_id(&self) -> String {
        use sha2::{Digest, Sha256};
        let digest: [u8; 32] = Sha256::digest(format!(
            "{}/{}",
            self.machine.plan.uuid,
            self.config().cluster_id()
        ))
        .into();
        hex(&digest[..16])
    }

    /// Tells the others about itself.
    pub fn announce(&self) {
        let etcd = match *self.etcd.borrow() {
            Etcd::Running(id) => Some(id),
            Etcd::Absent | Etcd::Waiting | Etcd::Pulling(_) => None,
        };
        self.announce_member(etcd);
    }

    /// Tells the others about itself, with this etcd member: who sees its etcd run finds it in the member list.
    pub fn announce_member(&self, etcd: Option<u64>) {
        let config = self.config();
        let cluster = config.cluster_id();
        if cluster.is_empty() {
            return;
        }
        let role = config.role();
        let trustd = match (role, config.machine_ca()) {
            (Role::ControlPlane, Some(ca)) if !ca.key.is_empty() => Some(Trustd {
                token: config.token(),
                ca_pem: ca.certificate,
                key_pem: ca.key,
            }),
            _ => None,
        };
        self.machine.world.discovery.put(
            &cluster,
            Affiliate {
                id: self.node_id(),
                hostname: self.hostname(),
                address: self.machine.plan.address,
                role,
                version: self.start.version.clone(),
                trustd,
                etcd,
            },
        );
    }

    /// The others stop seeing its services; the member stays known, as the discovery service keeps it for half an hour.
    pub fn hush(&self) {
        let cluster = self.config().cluster_id();
        let id = self.node_id();
        let discovery = &self.machine.world.discovery;
        if let Some(mut me) = discovery.nodes(&cluster).into_iter().find(|n| n.id == id) {
            me.trustd = None;
            me.etcd = None;
            discovery.put(&cluster, me);
        }
    }

    /// The nodes of its cluster.
    pub fn peers(&self) -> Vec<Affiliate> {
        self.machine
            .world
            .discovery
            .nodes(&self.config().cluster_id())
    }

    /// What hardware and kernel say of themselves.
    pub fn describe_machine(&self) {
        let plan = &self.machine.plan;
        let put = |kind, id: &str, yaml: String| self.resources.put(kind, id, yaml);
        put(
            "SystemInformations.hardware.talos.dev",
            "systeminformation",
            format!(
                "manufacturer: {}\nproductName: {}\nversion: \"1\"\nserialnumber: {}\nuuid: {}\nwakeUpType: Power Switch\nskuNumber: \"\"\n",
                plan.manufacturer,
                plan.product,
                plan.serial,
                self.machine.uuid()
            ),
        );
        put(
            "KernelCmdlines.runtime.talos.dev",
            "cmdline",
            format!(
                "cmdline: '{}'\n",
                self.start.command_line.replace('\'', "''")
            ),
        );
        put(
            "Versions.runtime.talos.dev",
            "version",
            format!("version: {}\n", self.start.version),
        );
        put(
            "ExtensionStatuses.runtime.talos.dev",
            "0",
            format!(
                "image: 0.sqsh\nmetadata:\n    name: schematic\n    version: {}\n",
                self.start.schematic
            ),
        );
        self.describe_disks();
        let bits = 24;
        put(
            "NodeAddresses.net.talos.dev",
            "default",
            format!(
                "addresses:\n    - {}/{bits}\nsortAlgorithm: v1\n",
                plan.address
            ),
        );
        put(
            "HostnameStatuses.net.talos.dev",
            "hostname",
            format!("hostname: {}\ndomainname: \"\"\n", self.hostname()),
        );
    }

    fn describe_disks(&self) {
        for disk in &self.machine.plan.disks {
            self.resources.put(
                "Disks.block.talos.dev",
                &disk.device,
                format!(
                    "dev_path: /dev/{}\nsize: {}\npretty_size: {} GB\nio_size: 512\nsector_size: 512\nreadonly: false\ncdrom: false\n\
                     model: {}\nserial: {}\nwwid: {}\nbus_path: {}\nsub_system: /sys/class/block\ntransport: {}\nrotational: {}\n",
                    disk.device,
                    disk.bytes,
                    disk.bytes / 1_000_000_000,
                    disk.model,
                    disk.serial,
                    disk.wwid,
                    disk.bus_path,
                    if disk.kind.as_str() == "nvme" {
                        "nvme"
                    } else {
                        "sata"
                    },
                    disk.kind.as_str() == "hdd",
                ),
            );
        }
    }

    /// Whether the kernel was started with this argument.
    pub fn argument(&self, name: &str) -> Option<String> {
        let words = self.start.command_line.split_ascii_whitespace();
        let values: Vec<&str> = words
            .filter_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .collect();
        // Of several, `talos.config.early` counts as a whole; for all others the first one counts.
        match (values.first(), name) {
            (None, _) => None,
            (Some(_), "talos.config.early" | "talos.config.inline") => Some(values.concat()),
            (Some(first), _) => Some((*first).to_owned()),
        }
    }

    /// Whether it came over the network.
    pub fn netbooted(&self) -> bool {
        self.start.came == Came::Network
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is missing before anything was done.
pub fn unmet_at_start() -> Vec<(String, String)> {
    [
        ("time", "time is not synced"),
        ("network", "connectivity, hostname, etcfiles"),
        ("services", "apid not running"),
    ]
    .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
    .to_vec()
}

fn stage_name(stage: MachineStage) -> &'static str {
    match stage {
        MachineStage::Unknown => "unknown",
        MachineStage::Booting => "booting",
        MachineStage::Installing => "installing",
        MachineStage::Maintenance => "maintenance",
        MachineStage::Running => "running",
        MachineStage::Rebooting => "rebooting",
        MachineStage::ShuttingDown => "shutting down",
        MachineStage::Resetting => "resetting",
        MachineStage::Upgrading => "upgrading",
    }
}

fn state_name(action: Action) -> &'static str {
    match action {
        Action::Initialized => "Initialized",
        Action::Preparing => "Preparing",
        Action::Waiting => "Waiting",
        Action::Running => "Running",
        Action::Stopping => "Stopping",
        Action::Finished => "Finished",
        Action::Failed => "Failed",
        Action::Skipped => "Skipped",
        Action::Starting => "Starting",
    }
}
