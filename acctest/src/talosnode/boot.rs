//! The sequences of a boot, in machined's order: initialize, install, boot; reboot, shutdown, reset.
//!
//! What is recorded in `data/talos-node/boot-events.txt` is what an installed boot emits here, service by service.

use std::sync::Arc;
use std::time::Duration;

use metal_proto::talos::common::Code;
use metal_proto::talos::machine::machine_status_event::MachineStage;
use metal_proto::talos::machine::service_state_event::Action;
use tokio::sync::mpsc;

use super::config::Config;
use super::discovery::Role;
use super::events::{self, Edge, Health, Restart};
use super::install::{self, BootRecord};
use super::node::{Command, Etcd, Node, Reset, unmet_at_start};
use super::source::{self, Survey};
use super::{apid, cluster};
use crate::rack::fault::Fault;
use crate::rack::firmware::Over;

const INITIALIZE: &str = "\
S initialize +
P systemRequirements +
T enforceKSPPRequirements +
A
M
T enforceKSPPRequirements -
P systemRequirements -
P earlyServices +
T startContainerd +
T startUdevd +
T startMachined +
T startApid +
T startAuditd +
T startSyslogd +
V containerd STARTING Starting service
V containerd PREPARING Running pre state
V containerd PREPARING Creating service runner
V machined STARTING Starting service
V machined PREPARING Running pre state
V machined PREPARING Creating service runner
V apid STARTING Starting service
V apid WAITING Waiting for service \"containerd\" to be \"up\", api certificates, config to be ready
V machined RUNNING Service started as goroutine
V udevd STARTING Starting service
V udevd PREPARING Running pre state
T startApid -
V containerd RUNNING Process Process([\"/bin/containerd\" \"--address\" \"/system/run/containerd/containerd.sock\" \"--state\" \"/system/run/containerd\" \"--root\" \"/system/var/lib/containerd\"]) started with PID 174
V auditd STARTING Starting service
V auditd PREPARING Running pre state
V auditd PREPARING Creating service runner
T startAuditd -
V auditd RUNNING Service started as goroutine
V syslogd STARTING Starting service
V syslogd WAITING Waiting for service \"machined\" to be \"up\"
T startSyslogd -
M
H machined RUNNING Health check successful
T startMachined -
V syslogd PREPARING Running pre state
V syslogd PREPARING Creating service runner
V syslogd RUNNING Service started as goroutine
H auditd RUNNING Health check successful
V udevd PREPARING Creating service runner
V udevd RUNNING Process Process([\"/sbin/systemd-udevd\" \"--resolve-names=never\"]) started with PID 181
H syslogd RUNNING Health check successful
H containerd RUNNING Health check successful
T startContainerd -
M
V apid WAITING Waiting for api certificates, config to be ready
H udevd RUNNING Health check successful
T startUdevd -
P earlyServices -
P usb +
T waitForUSB +
T waitForUSB -
P usb -
P meta +
T reloadMeta +
T reloadMeta -
P meta -";

const BOOT: &str = "\
S boot +
P memorySizeCheck +
T memorySizeCheck +
T memorySizeCheck -
P memorySizeCheck -
P diskSizeCheck +
T diskSizeCheck +
N
D
T diskSizeCheck -
P diskSizeCheck -
P env +
T waitForCARoots +
T setUserEnvVars +
T waitForCARoots -
T setUserEnvVars -
P env -
P dbus +
T startDBus +
T startDBus -
P dbus -
P ephemeral +
T mountEphemeralPartition +
T mountEphemeralPartition -
P ephemeral -
P udevSetup +
T writeUdevRules +
T writeUdevRules -
P udevSetup -
P userDisks +
T mountUserDisks +
T mountUserDisks -
P userDisks -
P userSetup +
T writeUserFiles +
T writeUserFiles -
P userSetup -
P startEverything +
T startAllServices +
V cri STARTING Starting service
V cri WAITING Waiting for volumes /var/lib, /var/lib/cni, /var/lib/containerd, /var/run, /var/run/lock, /etc/cni, /etc/kubernetes, /usr/libexec/kubernetes, /opt to be mounted, network
V cri PREPARING Running pre state
V cri PREPARING Creating service runner
V cri RUNNING Process Process([\"/bin/containerd\" \"--address\" \"/run/containerd/containerd.sock\" \"--config\" \"/etc/cri/containerd.toml\"]) started with PID 297
V kubelet STARTING Starting service
V kubelet WAITING Waiting for service \"cri\" to be \"up\"
H cri RUNNING Health check successful
V kubelet PREPARING Running pre state";

/// The whole boot until the machine restarts or turns off.
pub async fn run(node: &Arc<Node>, mut orders: mpsc::Receiver<Command>) -> Over {
    tokio::select! {
        over = Box::pin(sequences(node)) => over,
        over = Box::pin(obey(node, &mut orders)) => over,
    }
}

async fn sequences(node: &Arc<Node>) -> Over {
    node.pause(Duration::from_secs(20)).await;
    node.point_sinks(None);
    play(node, INITIALIZE).await;
    let survey = match source::survey(node).await {
        Ok(survey) => survey,
        Err(error) => {
            node.say(&format!("disks cannot be read: {error}"));
            Survey::default()
        }
    };
    if let Some(over) = wipe_on_request(node, &survey).await {
        return over;
    }
    if node.argument("talos.halt_if_installed").as_deref() == Some("1") && survey.meta.is_some() {
        node.events
            .emit(events::phase("haltIfInstalled", Edge::Start));
        node.events
            .emit(events::task("haltIfInstalled", Edge::Start));
        node.say("Talos is already installed to disk but booted from another media and talos.halt_if_installed kernel parameter is set. Please reboot from the disk.");
        node.machine
            .stage("talos", "halted: Talos is installed already");
        std::future::pending::<()>().await;
    }
    node.events.emit(events::phase("config", Edge::Start));
    node.events.emit(events::task("loadConfig", Edge::Start));
    let config = source::load(node, &survey).await;
    if let Err(error) = source::keep(node, &survey, &config).await {
        node.say(&format!("STATE cannot be written: {error}"));
    }
    node.set_config(config.clone());
    node.describe_machine();
    let address = node.machine.plan.address.to_string();
    node.events.emit(events::task("loadConfig", Edge::Stop));
    node.events.emit(events::phase("config", Edge::Stop));
    node.events.emit(events::sequence("initialize", Edge::Stop));
    node.events.emit(events::sequence("install", Edge::Start));
    if survey.meta.is_none() {
        return install(node, &config, &address).await;
    }
    node.events.emit(events::sequence("install", Edge::Stop));
    boot(node, &survey).await
}

/// `talos.experimental.wipe=system`: wipes what counts as a system disk and restarts, every time.
async fn wipe_on_request(node: &Arc<Node>, survey: &Survey) -> Option<Over> {
    if !node
        .argument("talos.experimental.wipe")?
        .starts_with("system")
    {
        return None;
    }
    node.events.emit(events::phase("wipeDisks", Edge::Start));
    node.events
        .emit(events::task("wipeSystemDisk", Edge::Start));
    if let Some(disk) = survey.meta {
        let wiped = source::on_disk(node, disk, |disk| install::wipe_disk(&disk)).await;
        if let Err(error) = wiped {
            node.say(&format!("wipe failed: {error}"));
        }
    }
    node.events.emit(events::restart(Restart::Reboot));
    Some(Over::Restart)
}

async fn install(node: &Arc<Node>, config: &Config, address: &str) -> Over {
    node.events.emit(events::phase("env", Edge::Start));
    node.events.emit(events::phase("env", Edge::Stop));
    node.events.emit(events::phase("install", Edge::Start));
    node.events.emit(events::task("install", Edge::Start));
    node.machine.stage("talos", "installing");
    node.set_status(MachineStage::Installing, Vec::new());
    let _apid = apid::Door::configured(node);
    node.events
        .emit(events::address(&node.hostname(), vec![address.to_owned()]));
    if node.machine.faults.has(Fault::NeverInstalls) {
        std::future::pending::<()>().await;
    }
    node.pause(Duration::from_secs(72)).await;
    if let Err(why) = write_disk(node, config).await {
        node.say(&format!("install failed: {why}"));
        node.machine.trouble(&format!("install failed: {why}"));
        node.events
            .emit(events::sequence_failed("install", Code::Fatal, &why));
        node.pause(Duration::from_secs(35)).await;
        node.events.emit(events::restart(Restart::Reboot));
        return Over::Restart;
    }
    node.machine.count(|counts| counts.installs += 1);
    node.events.emit(events::task("install", Edge::Stop));
    node.events.emit(events::phase("install", Edge::Stop));
    for phase in [
        "meta",
        "saveMeta",
        "volumeFinalize",
        "stopEverything",
        "kexec",
    ] {
        node.events.emit(events::phase(phase, Edge::Start));
        node.events.emit(events::phase(phase, Edge::Stop));
    }
    node.set_status(MachineStage::Rebooting, Vec::new());
    node.events.emit(events::phase("reboot", Edge::Start));
    drain(node).await;
    match config.install_disk(&node.machine.plan.disks) {
        Ok(disk) => Over::Kexec { disk },
        Err(_) => Over::Restart,
    }
}

/// The installer: writes the disk that the config names, whatever is on it.
async fn write_disk(node: &Arc<Node>, config: &Config) -> Result<(), String> {
    let disk = config.install_disk(&node.machine.plan.disks)?;
    let image = config.install_image().unwrap_or_default();
    let version = image
        .rsplit_once(":v")
        .map_or_else(|| node.start.version.clone(), |(_, tag)| format!("v{tag}"));
    let schematic = image
        .rsplit_once(':')
        .and_then(|(name, _)| name.rsplit('/').next())
        .filter(|part| part.len() == 64)
        .map_or_else(|| node.start.schematic.clone(), str::to_owned);
    let record = BootRecord {
        version,
        schematic,
        // The image's own: nothing of the netboot's arguments is copied.
        command_line: "talos.platform=metal console=tty0 init_on_alloc=1 slab_nomerge pti=on consoleblank=0 printk.devkmsg=on".to_owned(),
    };
    let bytes = config.bytes.clone();
    let written = source::on_disk(node, disk, move |disk| {
        install::install(&disk, &record)?;
        let parts = crate::rack::gpt::read(&disk)?;
        let state = install::labelled(&parts, "STATE")
            .ok_or_else(|| std::io::Error::other("no STATE after the install"))?;
        install::store_state(&disk, state, &bytes)
    });
    written.await.map_err(|error| error.to_string())
}

async fn boot(node: &Arc<Node>, survey: &Survey) -> Over {
    node.machine.stage("talos", "booting");
    let apid = apid::Door::configured(node);
    play(node, BOOT).await;
    cluster::run(node, survey, apid).await
}

/// Carries out what the API was asked for.
async fn obey(node: &Arc<Node>, orders: &mut mpsc::Receiver<Command>) -> Over {
    loop {
        let Some(order) = orders.recv().await else {
            return std::future::pending().await;
        };
        match order {
            Command::Apply(config) => {
                let waiting = node.status().0 == MachineStage::Maintenance;
                if waiting {
                    node.accepted.send_replace(Some(*config));
                    continue;
                }
                let kept = match source::survey(node).await {
                    Ok(survey) => source::keep(node, &survey, &config).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = kept {
                    node.say(&format!("STATE cannot be written: {error}"));
                }
                node.set_config(*config);
                node.announce();
            }
            Command::Reboot { actor } => {
                let reboot = ("reboot", MachineStage::Rebooting);
                leave(node, &actor, reboot).await;
                node.events.emit(events::restart(Restart::Kexec));
                drain(node).await;
                return Over::Restart;
            }
            Command::Shutdown { actor } => {
                leave(node, &actor, ("shutdown", MachineStage::ShuttingDown)).await;
                node.events.emit(events::restart(Restart::PowerOff));
                drain(node).await;
                return Over::PowerOff;
            }
            Command::Reset(reset) => return wipe(node, &reset).await,
        }
    }
}

async fn leave(node: &Arc<Node>, actor: &str, (sequence, stage): (&'static str, MachineStage)) {
    if node.status().0 == MachineStage::Booting {
        node.events.emit(events::sequence("boot", Edge::Stop));
        node.events.emit(events::sequence_failed(
            "boot",
            Code::Canceled,
            "sequence canceled",
        ));
    }
    node.machine.stage("talos", sequence);
    node.events.actor(actor);
    node.events.emit(events::sequence(sequence, Edge::Start));
    node.set_status(stage, Vec::new());
    for phase in ["cleanup", "dbus", "stopServices"] {
        node.events.emit(events::phase(phase, Edge::Start));
        if phase == "stopServices" {
            node.events
                .emit(events::task("stopAllServices", Edge::Start));
            node.pause(Duration::from_secs(4)).await;
            node.etcd.send_replace(Etcd::Absent);
            node.events
                .emit(events::task("stopAllServices", Edge::Stop));
        }
        node.events.emit(events::phase(phase, Edge::Stop));
    }
    node.hush();
}

async fn wipe(node: &Arc<Node>, reset: &Reset) -> Over {
    leave(node, &reset.actor, ("reset", MachineStage::Resetting)).await;
    node.events
        .emit(events::phase("resetSystemDisk", Edge::Start));
    let done = source::wipe(node, reset).await;
    if let Err(error) = done {
        node.machine.trouble(&format!("reset failed: {error}"));
        node.events.emit(events::sequence_failed(
            "reset",
            Code::Fatal,
            &error.to_string(),
        ));
        node.pause(Duration::from_secs(10)).await;
        return Over::Restart;
    }
    node.machine.count(|counts| counts.resets += 1);
    node.machine
        .world
        .discovery
        .remove(&node.config().cluster_id(), &node.node_id());
    node.events
        .emit(events::phase("resetSystemDisk", Edge::Stop));
    let (how, over) = if reset.reboot {
        (Restart::Reboot, Over::Restart)
    } else {
        (Restart::PowerOff, Over::PowerOff)
    };
    node.events.emit(events::restart(how));
    drain(node).await;
    over
}

/// The last events leave, if somebody takes them soon.
async fn drain(node: &Arc<Node>) {
    if node.sink.borrow().is_none() {
        return;
    }
    let total = *node.events.count().borrow();
    let mut delivered = node.delivered.subscribe();
    let limit = node
        .machine
        .pace(Duration::from_secs(10))
        .max(Duration::from_secs(1));
    // Over when all are taken, or when nobody takes them.
    drop(tokio::time::timeout(limit, delivered.wait_for(|n| *n >= total)).await);
}

/// Emits a script, line by line, with a little time in between as on hardware.
async fn play(node: &Arc<Node>, script: &str) {
    for line in script.lines() {
        let mut words = line.splitn(3, ' ');
        let (kind, name, rest) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let edge = if rest == "+" { Edge::Start } else { Edge::Stop };
        match kind {
            "S" => node.events.emit(events::sequence(name, edge)),
            "P" => node.events.emit(events::phase(name, edge)),
            "T" => node.events.emit(events::task(name, edge)),
            "A" => node.events.emit(events::address("", Vec::new())),
            "M" => {
                let (stage, _) = node.status();
                node.set_status(stage, unmet_at_start());
            }
            "N" => node.set_status(MachineStage::Booting, unmet_of_member(node)),
            "D" => {
                let address = node.machine.plan.address.to_string();
                node.events
                    .emit(events::address(&node.hostname(), vec![address]));
            }
            "V" | "H" => {
                let health = if kind == "H" {
                    Health::Good
                } else {
                    Health::Unknown
                };
                let (action, message) = rest.split_once(' ').unwrap_or((rest, ""));
                if let (Some(service), Some(action)) =
                    (service_name(name), Action::from_str_name(action))
                {
                    node.service(service, action, message, health);
                }
            }
            _ => {}
        }
        node.pause(Duration::from_millis(60)).await;
    }
}

/// What is missing once the node knows which node of Kubernetes it is.
fn unmet_of_member(node: &Node) -> Vec<(String, String)> {
    let reason = format!("node {:?} status is not available yet", node.hostname());
    let mut unmet = unmet_at_start();
    unmet.push(("nodeReady".to_owned(), reason));
    unmet
}

fn service_name(name: &str) -> Option<&'static str> {
    const SERVICES: &[&str] = &[
        "apid",
        "auditd",
        "containerd",
        "cri",
        "etcd",
        "kubelet",
        "machined",
        "syslogd",
        "trustd",
        "udevd",
    ];
    SERVICES.iter().copied().find(|known| *known == name)
}

/// What a control plane adds to `startEverything`.
pub fn control_plane_services(node: &Node) {
    if node.config().role() != Role::ControlPlane {
        return;
    }
    node.service(
        "trustd",
        Action::Starting,
        "Starting service",
        Health::Unknown,
    );
    node.service(
        "trustd",
        Action::Running,
        "Health check successful",
        Health::Good,
    );
    node.service(
        "etcd",
        Action::Starting,
        "Starting service",
        Health::Unknown,
    );
    node.service(
        "etcd",
        Action::Preparing,
        "Running pre state",
        Health::Unknown,
    );
}
