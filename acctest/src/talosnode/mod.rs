//! A simulated Talos node: what Talos does as seen from outside, on a machine of the rack.
//!
//! Measured against a real 1.13.9 node (`data/talos-node/`): where its config comes from, what it installs and where, the events and
//! kernel log that it pushes, its API in maintenance and as a member. Where to look: [`boot`] is the order of things, [`source`]
//! the config and the disks, [`cluster`] the member, [`api`] what it answers.
//! Deliberately not here: Kubernetes, upgrades, `siderolink`, UKI and Secure Boot, encryption, request forwarding.

pub mod api;
pub mod apid;
pub mod boot;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod discovery;
pub mod events;
pub mod fetch;
pub mod install;
pub mod node;
pub mod resources;
pub mod selector;
pub mod sink;
pub mod source;
pub mod tls;
pub mod yaml;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::node::Node;
use crate::rack::firmware::Over;
use crate::rack::machine::Machine;

/// How Talos's kernel was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// By the boot server.
    Network,
    /// By the firmware, from a disk.
    Disk,
    /// By the installer, from the disk that it wrote.
    Kexec,
}

/// What is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// `v1.13.9`.
    pub version: String,
    /// Schematic id.
    pub schematic: String,
    /// Kernel command line.
    pub command_line: String,
    /// How.
    pub came: Came,
}

/// Runs one boot until it ends. Dropping it is pulling the plug.
pub async fn run(machine: &Arc<Machine>, alive: &CancellationToken, start: Start) -> Over {
    machine.stage("talos", "starting");
    let (node, orders) = Node::new(machine, start);
    // Aborted when this ends, however it ends.
    let mut background = JoinSet::new();
    let pace = {
        let machine = Arc::clone(machine);
        move |real| machine.pace(real)
    };
    let events = Arc::clone(&node.events);
    background.spawn(sink::push_events(
        events,
        node.sink.subscribe(),
        node.delivered.clone(),
        machine.cable(),
        pace,
    ));
    background.spawn(kernel_logs(Arc::clone(&node)));
    let over = Box::pin(boot::run(&node, orders)).await;
    if alive.is_cancelled() {
        Over::Hang
    } else {
        over
    }
}

/// One delivery per destination that is configured now.
async fn kernel_logs(node: Arc<Node>) {
    let mut wanted = node.kernel_sinks.subscribe();
    let mut running: Vec<(String, JoinSet<()>)> = Vec::new();
    loop {
        let urls = wanted.borrow_and_update().clone();
        running.retain(|(url, _)| urls.contains(url));
        for url in urls {
            if running.iter().all(|(known, _)| *known != url) {
                let mut task = JoinSet::new();
                task.spawn(Arc::clone(&node.kernel).deliver(url.clone(), node.machine.cable()));
                running.push((url, task));
            }
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}
