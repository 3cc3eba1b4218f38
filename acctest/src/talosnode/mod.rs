//! A simulated Talos node.

pub mod discovery;
pub mod install;
pub mod yaml;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

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

/// Runs until it ends or the power is cut.
pub async fn run(machine: &Arc<Machine>, _alive: &CancellationToken, start: Start) -> Over {
    machine.stage("talos", &start.version);
    std::future::pending().await
}
