//! The agent in a simulated machine: `metal_agent`'s own library over the machine's disk files.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use metal_agent::{Access, BootParameters, DiskFacts, DiskHandle, Outcome, Platform};
use metal_proto::metal::v1::{Hardware, Nic};
use tokio_util::sync::CancellationToken;

use super::disk::Disk;
use super::fault::Fault;
use super::firmware::Over;
use super::machine::Machine;
use super::spec::{DiskKind, FirmwareKind};

/// Runs the agent until it is done or the power is cut.
pub async fn run(
    machine: &Arc<Machine>,
    alive: &CancellationToken,
    command_line: &str,
    ca_pem: String,
) -> Over {
    let bind = Some(IpAddr::V4(machine.plan.address));
    let mut parameters = match BootParameters::parse(command_line, ca_pem, bind) {
        Ok(parameters) => parameters,
        Err(error) => {
            machine.trouble(&format!("agent: {error}"));
            return Over::PowerOff;
        }
    };
    if machine.faults.has(Fault::WrongToken) {
        parameters.token = wrong(&parameters.token);
    }
    machine.stage("agent", "running");
    let body = Body {
        machine: Arc::clone(machine),
        alive: alive.clone(),
    };
    let outcome = machine
        .work
        .spawn_blocking(move || metal_agent::run(&body, &parameters))
        .await;
    match outcome {
        Ok(Outcome::PowerOff) => Over::PowerOff,
        Ok(Outcome::Reboot) => Over::Restart,
        Ok(Outcome::Cut) => Over::Hang,
        Err(error) => {
            machine.trouble(&format!("the agent crashed: {error}"));
            Over::Hang
        }
    }
}

/// Another token of the same shape.
pub fn wrong(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = if *last == b'0' { b'1' } else { b'0' };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Body {
    machine: Arc<Machine>,
    alive: CancellationToken,
}

impl Platform for Body {
    type Disk = OpenDisk;

    fn hardware(&self) -> Hardware {
        let plan = &self.machine.plan;
        Hardware {
            manufacturer: plan.manufacturer.clone(),
            product: plan.product.clone(),
            serial: plan.serial.clone(),
            uuid: self.machine.uuid(),
            arch: "amd64".to_owned(),
            cpu_model: "Simulated CPU".to_owned(),
            cpu_cores: plan.cores,
            cpu_threads: plan.threads,
            memory_bytes: plan.memory,
            disks: Vec::new(),
            nics: vec![Nic {
                name: "eth0".to_owned(),
                mac: plan.mac_text(),
                driver: "simulated".to_owned(),
                speed_mbps: 10_000,
            }],
            firmware: match plan.firmware {
                FirmwareKind::Uefi => "uefi".to_owned(),
                FirmwareKind::Bios => "bios".to_owned(),
            },
        }
    }

    fn disks(&self) -> io::Result<Vec<DiskFacts>> {
        let facts = |plan: &super::plan::DiskPlan| DiskFacts {
            device: plan.device.clone(),
            serial: plan.serial.clone(),
            wwid: plan.wwid.clone(),
            bus_path: plan.bus_path.clone(),
            model: plan.model.clone(),
            kind: match plan.kind {
                DiskKind::Nvme => metal_agent::DiskKind::Nvme,
                DiskKind::Ssd => metal_agent::DiskKind::Ssd,
                DiskKind::Hdd => metal_agent::DiskKind::Hdd,
            },
            bytes: plan.bytes,
            block_bytes: 512,
            removable: false,
            readonly: false,
            held: None,
        };
        Ok(self.machine.plan.disks.iter().map(facts).collect())
    }

    fn open(&self, disk: &DiskFacts, _access: Access) -> io::Result<OpenDisk> {
        let index = self
            .machine
            .plan
            .disks
            .iter()
            .position(|plan| plan.device == disk.device)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(OpenDisk {
            disk: self.machine.open_disk(index)?,
            alive: self.alive.clone(),
        })
    }

    fn alive(&self) -> bool {
        !self.alive.is_cancelled()
    }

    fn log(&self, line: &str) {
        self.machine.console(&format!("agent: {line}"));
        if self.alive() {
            self.machine.stage("agent", line);
        }
    }
}

/// A disk file in the agent's hands. Without power nothing is written.
struct OpenDisk {
    disk: Disk,
    alive: CancellationToken,
}

impl OpenDisk {
    fn powered(&self) -> io::Result<()> {
        if self.alive.is_cancelled() {
            return Err(io::Error::other("the machine has no power"));
        }
        Ok(())
    }
}

impl DiskHandle for OpenDisk {
    fn bytes(&mut self) -> io::Result<u64> {
        Ok(self.disk.bytes())
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.powered()?;
        self.disk.read_at(offset, into)
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.powered()?;
        self.disk.write_at(offset, from)
    }

    fn zero(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        self.powered()?;
        self.disk.zero(offset, bytes)
    }

    fn discard(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        self.powered()?;
        self.disk.discard(offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.powered()?;
        self.disk.sync()
    }

    fn drop_cache(&mut self) -> io::Result<()> {
        self.powered()
    }
}
