//! The node as a member: etcd, certificates from its cluster, members, readiness.

use std::sync::Arc;
use std::time::Duration;

use metal_proto::talos::machine::machine_status_event::MachineStage;
use metal_proto::talos::machine::service_state_event::Action;

use super::discovery::Role;
use super::events::{self, Edge, Health};
use super::node::{Etcd, Node};
use super::source::{self, Survey};
use super::{apid, boot, install};
use crate::rack::firmware::Over;

/// Runs the started node until it is told to do something else.
pub async fn run(node: &Arc<Node>, survey: &Survey, apid: apid::Door) -> Over {
    boot::control_plane_services(node);
    node.announce();
    let _presence = Presence(Arc::clone(node));
    tokio::select! {
        over = etcd(node, survey) => over,
        over = kubelet(node, &apid) => over,
    }
}

/// Takes the node's services out of the others' sight when the boot ends, however it ends.
struct Presence(Arc<Node>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.hush();
    }
}

/// etcd of a control plane: data on the disk, a cluster to join, or a bootstrap call.
async fn etcd(node: &Arc<Node>, survey: &Survey) -> Over {
    if node.config().role() != Role::ControlPlane {
        return std::future::pending().await;
    }
    let cluster = node.config().cluster_id();
    let has_data = match survey.ephemeral.clone() {
        Some((disk, part)) => {
            source::on_disk(node, disk, move |disk| install::load_etcd(&disk, &part))
                .await
                .ok()
                .flatten()
                .is_some_and(|data| data == cluster)
        }
        None => false,
    };
    node.etcd.send_replace(Etcd::Waiting);
    let mut calls = node.etcd.subscribe();
    let mut others = node.machine.world.discovery.changed();
    if !has_data {
        loop {
            if matches!(*calls.borrow_and_update(), Etcd::Pulling(_)) {
                break;
            }
            let me = node.node_id();
            if node
                .peers()
                .iter()
                .any(|peer| peer.id != me && peer.etcd.is_some())
            {
                break;
            }
            tokio::select! {
                _ = calls.changed() => {}
                _ = others.changed() => {}
            }
        }
        pull(node, &mut calls).await;
    }
    let id = member_id(node);
    if let Some((disk, part)) = source::survey(node).await.ok().and_then(|s| s.ephemeral) {
        let kept = source::on_disk(node, disk, move |disk| {
            install::store_etcd(&disk, &part, &cluster)
        })
        .await;
        if let Err(error) = kept {
            node.say(&format!("etcd data: {error}"));
        }
    }
    node.announce_member(Some(id));
    node.etcd.send_replace(Etcd::Running(id));
    node.service(
        "etcd",
        Action::Running,
        "Started task etcd (PID 420) for container etcd",
        Health::Unknown,
    );
    node.service(
        "etcd",
        Action::Running,
        "Health check successful",
        Health::Good,
    );
    std::future::pending().await
}

/// The image pull that a further bootstrap call cancels and starts anew.
async fn pull(node: &Arc<Node>, calls: &mut tokio::sync::watch::Receiver<Etcd>) {
    loop {
        if matches!(*calls.borrow_and_update(), Etcd::Pulling(_)) {
            node.service(
                "etcd",
                Action::Finished,
                "Service finished successfully",
                Health::Unknown,
            );
            node.service(
                "etcd",
                Action::Finished,
                "Bootstrap requested",
                Health::Unknown,
            );
        }
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
        tokio::select! {
            () = node.pause(Duration::from_secs(40)) => return,
            _ = calls.changed() => {}
        }
    }
}

fn member_id(node: &Node) -> u64 {
    let digits = node.node_id();
    u64::from_str_radix(&digits[..15], 16).unwrap_or(1)
}

/// kubelet, members and readiness, for ever.
async fn kubelet(node: &Arc<Node>, apid: &apid::Door) -> Over {
    node.pause(Duration::from_secs(8)).await;
    node.service(
        "kubelet",
        Action::Running,
        "Health check successful",
        Health::Good,
    );
    let mut others = node.machine.world.discovery.changed();
    let mut etcd = node.etcd.subscribe();
    let mut opened = apid.opened();
    let mut finished = false;
    loop {
        members(node);
        let unmet = unmet(node, *opened.borrow_and_update());
        if unmet.is_empty() {
            if !finished {
                finished = true;
                node.events
                    .emit(events::task("startAllServices", Edge::Stop));
                node.events
                    .emit(events::phase("startEverything", Edge::Stop));
                node.events.emit(events::sequence("boot", Edge::Stop));
            }
            node.machine.stage("talos", "running");
            node.set_status(MachineStage::Running, unmet);
        } else {
            node.machine.stage("talos", &waiting_for(&unmet));
            let stage = if finished {
                MachineStage::Running
            } else {
                MachineStage::Booting
            };
            if node.status() != (stage, unmet.clone()) {
                node.set_status(stage, unmet);
            }
        }
        tokio::select! {
            _ = others.changed() => {}
            _ = etcd.changed() => {}
            _ = opened.changed() => {}
        }
    }
}

fn waiting_for(unmet: &[(String, String)]) -> String {
    let reasons: Vec<&str> = unmet.iter().map(|(_, reason)| reason.as_str()).collect();
    format!("booted, not ready: {}", reasons.join("; "))
}

fn unmet(node: &Node, apid: apid::Opened) -> Vec<(String, String)> {
    let mut down = Vec::new();
    if apid == apid::Opened::No {
        down.push("apid not running");
    }
    let control_plane = node.config().role() == Role::ControlPlane;
    if control_plane && !matches!(*node.etcd.borrow(), Etcd::Running(_)) {
        down.push("etcd not running");
    }
    let mut unmet = Vec::new();
    if !down.is_empty() {
        unmet.push(("services".to_owned(), down.join(", ")));
    }
    if !node.peers().iter().any(|peer| peer.etcd.is_some()) {
        let reason = format!("node {:?} status is not available yet", node.hostname());
        unmet.push(("nodeReady".to_owned(), reason));
    }
    unmet
}

/// The members that discovery knows.
fn members(node: &Node) {
    const KIND: &str = "Members.cluster.talos.dev";
    let peers = node.peers();
    for peer in &peers {
        let mut yaml = format!(
            "nodeId: {}\naddresses:\n    - {}\nhostname: {}\nmachineType: {}\noperatingSystem: Talos ({})\n",
            peer.id,
            peer.address,
            peer.hostname,
            peer.role.as_str(),
            peer.version
        );
        if peer.role == Role::ControlPlane {
            yaml.push_str("controlPlane:\n    port: 6443\n");
        }
        node.resources.put(KIND, &peer.hostname, yaml);
    }
    for id in node.resources.ids(KIND) {
        if !peers.iter().any(|peer| peer.hostname == id) {
            node.resources.remove(KIND, &id);
        }
    }
}
