//! Where the node's config comes from, and the disks that it finds: STATE on any disk first, then `talos.config.early`,
//! `talos.config`, and last maintenance.

use std::io::{self, Read as _};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use metal_proto::talos::machine::machine_status_event::MachineStage;
use metal_proto::talos::machine::service_state_event::Action;

use super::config::Config;
use super::events::{self, Edge, Health};
use super::node::{Node, Reset};
use super::{apid, fetch, install};
use crate::rack::disk::Disk;
use crate::rack::gpt::{self, Partition};

/// What of Talos is on the machine's disks. The label alone decides, on any disk.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The disk with META: the machine counts as installed.
    pub meta: Option<usize>,
    /// The disk with STATE, and the partition.
    pub state: Option<(usize, Partition)>,
    /// The disk with EPHEMERAL, and the partition.
    pub ephemeral: Option<(usize, Partition)>,
    /// The config in STATE.
    pub config: Option<Vec<u8>>,
}

/// Looks at all disks; one that cannot be read does not count.
///
/// # Errors
/// The machine lost its power meanwhile.
pub async fn survey(node: &Arc<Node>) -> io::Result<Survey> {
    let machine = Arc::clone(&node.machine);
    let looked = node.machine.work.spawn_blocking(move || {
        let mut survey = Survey::default();
        for index in 0..machine.plan.disks.len() {
            let Ok(disk) = machine.open_disk(index) else {
                continue;
            };
            let parts = gpt::read(&disk).unwrap_or_default();
            if install::labelled(&parts, "META").is_some() {
                survey.meta.get_or_insert(index);
            }
            if let Some(state) = install::labelled(&parts, "STATE")
                && survey.state.is_none()
            {
                survey.config = install::load_state(&disk, state).unwrap_or_default();
                survey.state = Some((index, state.clone()));
            }
            if let Some(part) = install::labelled(&parts, "EPHEMERAL") {
                survey.ephemeral.get_or_insert((index, part.clone()));
            }
        }
        survey
    });
    looked.await.map_err(io::Error::other)
}

/// Blocking work on one of the machine's disks.
///
/// # Errors
/// Of the disk.
pub async fn on_disk<T: Send + 'static>(
    node: &Arc<Node>,
    index: usize,
    work: impl FnOnce(Disk) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let machine = Arc::clone(&node.machine);
    node.machine
        .work
        .spawn_blocking(move || work(machine.open_disk(index)?))
        .await
        .map_err(io::Error::other)?
}

/// Loads the config; comes back only with a complete one.
pub async fn load(node: &Arc<Node>, survey: &Survey) -> Config {
    node.point_sinks(None);
    node.events
        .emit(events::address(&node.hostname(), Vec::new()));
    if let Some(bytes) = &survey.config {
        match Config::read(bytes) {
            Ok(config) if config.is_complete() => {
                node.say("using config from state");
                return config;
            }
            Ok(_) => {}
            Err(why) => node.say(&format!("config in STATE: {why}")),
        }
    }
    let mut present = Config::default();
    let mut roots = String::new();
    if let Some(text) = node.argument("talos.config.early") {
        match inline(&text).and_then(|bytes| Config::read(&bytes)) {
            Ok(config) => {
                roots = config.trusted_roots();
                node.point_sinks(Some(&config));
                present = config;
            }
            Err(why) => node.say(&format!("talos.config.early: {why}")),
        }
    }
    if !present.is_complete()
        && let Some(url) = node.argument("talos.config").filter(|url| url != "none")
    {
        present = fetch::config(node, &url, &roots).await;
    }
    if present.is_complete() {
        return present;
    }
    maintenance(node, &present).await
}

/// Waits for a config through the API.
async fn maintenance(node: &Arc<Node>, partial: &Config) -> Config {
    node.point_sinks(Some(partial));
    node.describe_machine();
    node.events
        .emit(events::task("runningMaintenance", Edge::Start));
    node.machine.stage("talos", "maintenance");
    node.set_status(MachineStage::Maintenance, Vec::new());
    let mut accepted = node.accepted.subscribe();
    let door = apid::Door::maintenance(node);
    node.service(
        "apid",
        Action::Running,
        "Health check successful",
        Health::Good,
    );
    let config = loop {
        if let Some(config) = accepted.borrow_and_update().clone() {
            break config;
        }
        if accepted.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    // The answer leaves before the port closes; then nobody listens for two or three seconds.
    node.pause(std::time::Duration::from_millis(500)).await;
    drop(door);
    node.set_status(MachineStage::Booting, super::node::unmet_at_start());
    node.events
        .emit(events::task("runningMaintenance", Edge::Stop));
    node.pause(std::time::Duration::from_millis(2500)).await;
    config
}

/// `base64(zstd(YAML))`.
fn inline(text: &str) -> Result<Vec<u8>, String> {
    let packed = STANDARD.decode(text).map_err(|error| error.to_string())?;
    let mut plain = Vec::new();
    zstd::stream::read::Decoder::new(packed.as_slice())
        .and_then(|decoder| decoder.take(1 << 20).read_to_end(&mut plain))
        .map_err(|error| error.to_string())?;
    Ok(plain)
}

/// Writes the config into STATE where there is one; where META alone made the node skip the install, STATE is made beside it.
///
/// # Errors
/// Of the disk.
pub async fn keep(node: &Arc<Node>, survey: &Survey, config: &Config) -> io::Result<()> {
    let bytes = config.bytes.clone();
    if let Some((index, state)) = survey.state.clone() {
        return on_disk(node, index, move |disk| {
            install::store_state(&disk, &state, &bytes)
        })
        .await;
    }
    let Some(index) = survey.meta else {
        return Ok(());
    };
    on_disk(node, index, move |disk| {
        let parts = install::complete(&disk)?;
        match install::labelled(&parts, "STATE") {
            Some(state) => install::store_state(&disk, state, &bytes),
            None => Ok(()),
        }
    })
    .await
}

/// Carries out a reset.
///
/// # Errors
/// Of the disks.
pub async fn wipe(node: &Arc<Node>, reset: &Reset) -> io::Result<()> {
    let survey = survey(node).await?;
    for path in &reset.user_disks {
        let name = path.trim_start_matches("/dev/");
        let index = node
            .machine
            .plan
            .disks
            .iter()
            .position(|d| d.device == name);
        let index = index.ok_or_else(|| io::Error::other(format!("no disk {path}")))?;
        on_disk(node, index, |disk| install::wipe_disk(&disk)).await?;
    }
    let Some(system) = survey.meta.filter(|_| reset.system) else {
        return Ok(());
    };
    let labels = reset.partitions.clone();
    on_disk(node, system, move |disk| {
        if labels.is_empty() {
            return install::wipe_disk(&disk);
        }
        let parts = gpt::read(&disk)?;
        for label in &labels {
            let part = install::labelled(&parts, label)
                .ok_or_else(|| io::Error::other(format!("no partition {label}")))?;
            install::wipe_partition(&disk, part)?;
        }
        Ok(())
    })
    .await
}
