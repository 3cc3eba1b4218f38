//! What happens in a machine while it has power: firmware, boot devices, and the operating systems that they start.

pub mod initrd;
pub mod ipxe;
pub mod pxe;
pub mod tftp;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::ipxe::{Ending, Kernel};
use super::agent;
use super::factory::Stands;
use super::fault::Fault;
use super::machine::Machine;
use super::spec::FirmwareKind;
use crate::bmc::BootFlags;
use crate::talosnode::{self, Came, Start, install};

/// What an operating system did at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Back to the firmware.
    Restart,
    /// Straight into the system on this disk.
    Kexec {
        /// Index of the disk.
        disk: usize,
    },
    /// Power off.
    PowerOff,
    /// Nothing more happens until somebody takes the power.
    Hang,
}

/// Devices that the firmware can start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    Network,
    Disk,
}

/// Lives until the power is cut or the machine turns itself off.
pub async fn live(machine: &Arc<Machine>, alive: CancellationToken, flags: BootFlags) {
    tokio::select! {
        () = alive.cancelled() => {}
        () = Box::pin(boots(machine, &alive, flags)) => {}
    }
    // Blocking work sees `alive` and ends by itself; the next life waits for it.
    machine.work.close();
    machine.work.wait().await;
    machine.work.reopen();
}

async fn boots(machine: &Arc<Machine>, alive: &CancellationToken, first: BootFlags) {
    let mut flags = first;
    loop {
        machine.stage("firmware", "self test");
        tokio::time::sleep(machine.pace(Duration::from_secs(8))).await;
        let mut over = firmware(machine, alive, flags).await;
        while let Over::Kexec { disk } = over {
            over = from_disk(machine, alive, disk, Came::Kexec).await;
        }
        match over {
            Over::PowerOff => return,
            Over::Hang => std::future::pending().await,
            Over::Restart | Over::Kexec { .. } => flags = machine.boot_flags(),
        }
    }
}

/// One pass through the boot devices after another, until something starts.
async fn firmware(machine: &Arc<Machine>, alive: &CancellationToken, flags: BootFlags) -> Over {
    loop {
        for device in order(machine, flags) {
            match device {
                Device::Disk => {
                    if let Some(disk) = bootable(machine).await {
                        return from_disk(machine, alive, disk, Came::Disk).await;
                    }
                }
                Device::Network => match pxe::boot(machine).await {
                    Ok(Ending::Boot(kernel)) => return start(machine, alive, kernel).await,
                    Ok(Ending::Exit(0)) if machine.plan.firmware == FirmwareKind::Uefi => {
                        // Success means "booted" to UEFI: it stops at its menu.
                        machine.stage("stuck", "the boot script ended with success: firmware menu");
                        return Over::Hang;
                    }
                    Ok(Ending::Exit(status)) => {
                        machine.console(&format!("iPXE ended with status {status}"));
                    }
                    Err(error) => machine.trouble(&chain(&error)),
                },
            }
        }
        machine.stage("firmware", "no bootable device");
        tokio::time::sleep(
            machine
                .pace(Duration::from_secs(10))
                .max(Duration::from_millis(500)),
        )
        .await;
    }
}

fn order(machine: &Machine, flags: BootFlags) -> [Device; 2] {
    let network_first = [Device::Network, Device::Disk];
    let disk_first = [Device::Disk, Device::Network];
    if machine.faults.has(Fault::IgnoresBootOverride) {
        return disk_first;
    }
    if flags.asks_network() {
        network_first
    } else {
        disk_first
    }
}

async fn bootable(machine: &Arc<Machine>) -> Option<usize> {
    let machine = Arc::clone(machine);
    tokio::task::spawn_blocking(move || {
        (0..machine.plan.disks.len()).find(|index| {
            machine
                .open_disk(*index)
                .is_ok_and(|disk| install::boot_record(&disk).is_ok_and(|record| record.is_some()))
        })
    })
    .await
    .ok()
    .flatten()
}

async fn from_disk(
    machine: &Arc<Machine>,
    alive: &CancellationToken,
    disk: usize,
    came: Came,
) -> Over {
    let record = machine
        .open_disk(disk)
        .and_then(|disk| install::boot_record(&disk));
    let Ok(Some(record)) = record else {
        machine.trouble("the disk's boot record is gone");
        return Over::Restart;
    };
    machine.count(|counts| counts.talos_disk_boots += 1);
    let start = Start {
        version: record.version,
        schematic: record.schematic,
        command_line: match came {
            Came::Disk => format!("BOOT_IMAGE=/A/vmlinuz {}", record.command_line),
            Came::Kexec | Came::Network => record.command_line,
        },
        came,
    };
    Box::pin(talosnode::run(machine, alive, start)).await
}

/// What a kernel that came over the network turns out to be.
async fn start(machine: &Arc<Machine>, alive: &CancellationToken, kernel: Kernel) -> Over {
    let root = match Stands::read(&kernel.initrd) {
        // The factory's own initramfs stands for Talos and is no real archive.
        Some(_) => initrd::Root::new(),
        None => match initrd::unpack(&kernel.initrd) {
            Ok(root) => root,
            Err(error) => return panicked(machine, &error.to_string()),
        },
    };
    let has_agent = kernel
        .command_line
        .split_ascii_whitespace()
        .any(|word| word.starts_with("metal.url="));
    if has_agent {
        let executable = |entry: &initrd::Entry| entry.mode & 0o111 != 0 && entry.bytes > 0;
        if !root.get("init").is_some_and(executable) {
            return panicked(machine, "no working init found in the initrd");
        }
        let Some(ca) = root.get("metal/ca.pem") else {
            return panicked(machine, "the initrd holds no metal/ca.pem");
        };
        let ca = String::from_utf8_lossy(&ca.content).into_owned();
        machine.count(|counts| counts.agent_boots += 1);
        return agent::run(machine, alive, &kernel.command_line, ca).await;
    }
    let (Some(stands), Some(initramfs)) =
        (Stands::read(&kernel.image), Stands::read(&kernel.initrd))
    else {
        return panicked(
            machine,
            "neither the agent (metal.url= and its initrd) nor Talos (kernel and initramfs of an image factory)",
        );
    };
    if stands.version != initramfs.version || stands.arch != initramfs.arch {
        return panicked(machine, "kernel and initramfs are of two versions");
    }
    machine.count(|counts| counts.talos_netboots += 1);
    let start = Start {
        version: stands.version,
        schematic: stands.schematic,
        command_line: kernel.command_line,
        came: Came::Network,
    };
    Box::pin(talosnode::run(machine, alive, start)).await
}

fn panicked(machine: &Machine, why: &str) -> Over {
    let line = format!("Kernel panic - not syncing: {why}");
    machine.trouble(&line);
    machine.stage("stuck", &line);
    Over::Hang
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
