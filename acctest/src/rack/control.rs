//! How a person reaches into a running rack: one JSON line in, one JSON line out, over a socket in the rack's directory.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::content::{self, Look, Seed};
use super::fault;
use super::machine::Machine;
use super::{Rack, firmware};
use crate::bmc::{Chassis, Power};

/// What can be asked of a rack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Ask {
    /// Every machine.
    Status,
    /// Every disk.
    Disks,
    /// The power button.
    Power {
        /// Server.
        server: String,
        /// `on`, `off`, `pull`.
        to: String,
    },
    /// Make something wrong.
    Fault {
        /// Server.
        server: String,
        /// `KIND[=VALUE]` or `clear`.
        kind: String,
    },
    /// Put foreign data on a disk.
    SeedDisk {
        /// Server.
        server: String,
        /// Serial, device name or index.
        disk: String,
        /// What.
        with: String,
    },
    /// Write a packet capture.
    Pcap {
        /// Absolute path.
        file: PathBuf,
    },
    /// Stop the rack.
    Down,
}

/// What a rack answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done; the value depends on the question.
    Good(Value),
    /// Not done, and why.
    Bad(String),
}

const ASK_BYTES_MAX: u64 = 64 << 10;

/// A path that fits into a socket address however long `dir` is. The descriptor must stay open as long as the path is used.
fn socket_path(dir: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let fd = OwnedFd::from(std::fs::File::open(dir)?);
    let path = PathBuf::from(format!("/proc/self/fd/{}/control.sock", fd.as_raw_fd()));
    Ok((fd, path))
}

/// Asks the rack that runs in `dir`.
///
/// # Errors
/// No rack runs there, or it refused.
pub fn ask(dir: &Path, ask: &Ask) -> Result<Value, String> {
    let nobody = |error: io::Error| {
        format!(
            "no rack runs in {}: {error}; start one with `rack up --dir {}`",
            dir.display(),
            dir.display()
        )
    };
    let (_fd, path) = socket_path(dir).map_err(nobody)?;
    let mut stream = StdStream::connect(path).map_err(nobody)?;
    let mut line = serde_json::to_string(ask).map_err(|error| error.to_string())?;
    line.push('\n');
    let mut answer = String::new();
    stream
        .write_all(line.as_bytes())
        .and_then(|()| BufReader::new(&stream).read_line(&mut answer))
        .map_err(|error| format!("the rack did not answer: {error}"))?;
    match serde_json::from_str(&answer) {
        Ok(Reply::Good(value)) => Ok(value),
        Ok(Reply::Bad(why)) => Err(why),
        Err(_) => Err("the rack did not answer: it is stopping".to_owned()),
    }
}

/// The bound control socket of a rack.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
}

impl Door {
    /// Binds it.
    ///
    /// # Errors
    /// It cannot be bound, or a rack runs there already.
    pub async fn bind(rack: &Rack) -> io::Result<Self> {
        let (_fd, path) = socket_path(rack.dir())?;
        if UnixStream::connect(&path).await.is_ok() {
            return Err(io::Error::other("a rack runs in this directory already"));
        }
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        Ok(Self {
            listener: UnixListener::bind(&path)?,
        })
    }

    /// Serves until `rack down` comes.
    ///
    /// # Errors
    /// The socket fails, or `rack.json` cannot be written.
    pub async fn serve(self, rack: &Rack) -> io::Result<()> {
        let mut changed = rack.changed();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted?;
                    match one(rack, stream).await {
                        Ok(Ask::Down) => return Ok(()),
                        Ok(_) => {}
                        Err(error) => tracing::debug!(%error, "control socket"),
                    }
                }
                Ok(()) = changed.changed() => rack.write_json()?,
            }
        }
    }
}

async fn one(rack: &Rack, mut stream: UnixStream) -> io::Result<Ask> {
    let mut line = String::new();
    let (read, mut write) = stream.split();
    let mut read = tokio::io::BufReader::new(read.take(ASK_BYTES_MAX));
    read.read_line(&mut line).await?;
    let ask: Ask = serde_json::from_str(&line).map_err(io::Error::other)?;
    let reply = match answer(rack, &ask).await {
        Ok(value) => Reply::Good(value),
        Err(why) => Reply::Bad(why),
    };
    let mut line = serde_json::to_string(&reply).map_err(io::Error::other)?;
    line.push('\n');
    write.write_all(line.as_bytes()).await?;
    Ok(ask)
}

/// Carries out one question.
///
/// # Errors
/// Why not, for a person.
pub async fn answer(rack: &Rack, ask: &Ask) -> Result<Value, String> {
    match ask {
        Ask::Status => {
            let servers: Vec<_> = rack.machines.iter().map(|m| m.status()).collect();
            Ok(json!({ "factory": format!("http://{}", rack.factory), "servers": servers }))
        }
        Ask::Disks => disks(rack).await,
        Ask::Power { server, to } => {
            let machine = find(rack, server)?;
            match (to.as_str(), machine.power()) {
                ("on", Power::Off) => machine.turn_on(machine.boot_flags()),
                ("on", Power::On) => {}
                ("off" | "pull", _) => machine.cut(),
                (other, _) => {
                    return Err(format!(
                        "{other:?} is no power state; write on, off or pull"
                    ));
                }
            }
            Ok(Value::Null)
        }
        Ask::Fault { server, kind } => {
            let order = fault::parse(kind)?;
            find(rack, server)?.apply_fault(order);
            Ok(Value::Null)
        }
        Ask::SeedDisk { server, disk, with } => {
            let machine = find(rack, server)?;
            seed(machine, disk, Seed::parse(with)?).await
        }
        Ask::Pcap { file } => {
            std::fs::write(file, rack.pcap())
                .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
            Ok(Value::Null)
        }
        Ask::Down => Ok(Value::Null),
    }
}

fn find<'a>(rack: &'a Rack, server: &str) -> Result<&'a Arc<Machine>, String> {
    rack.machine(server).ok_or_else(|| {
        let names: Vec<_> = rack.machines.iter().map(|m| m.plan.name.as_str()).collect();
        format!(
            "there is no server {server:?}; there are {}",
            names.join(", ")
        )
    })
}

async fn disks(rack: &Rack) -> Result<Value, String> {
    let mut servers = Vec::new();
    for machine in &rack.machines {
        let machine = Arc::clone(machine);
        let looked = tokio::task::spawn_blocking(move || {
            let looks = machine.look();
            let disks: Vec<Value> = machine
                .plan
                .disks
                .iter()
                .zip(looks)
                .map(|(plan, look)| disk_json(plan, look))
                .collect();
            json!({ "name": machine.plan.name, "disks": disks })
        });
        servers.push(looked.await.map_err(|error| error.to_string())?);
    }
    Ok(json!({ "servers": servers }))
}

fn disk_json(plan: &super::plan::DiskPlan, look: io::Result<Look>) -> Value {
    let mut value = json!({
        "path": plan.path, "device": plan.device, "serial": plan.serial, "bytes": plan.bytes,
    });
    let more = match look {
        Ok(look) => serde_json::to_value(look).unwrap_or_default(),
        Err(error) => json!({ "error": error.to_string() }),
    };
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}

async fn seed(machine: &Arc<Machine>, disk: &str, what: Seed) -> Result<Value, String> {
    if machine.power() == Power::On {
        return Err(format!(
            "{} has power; seed disks while it is off: rack power DIR {} off",
            machine.plan.name, machine.plan.name
        ));
    }
    machine.settled().await;
    let index = machine
        .plan
        .disks
        .iter()
        .enumerate()
        .find(|(index, d)| d.serial == disk || d.device == disk || index.to_string() == disk)
        .map(|(index, _)| index)
        .ok_or_else(|| {
            let serials: Vec<_> = machine
                .plan
                .disks
                .iter()
                .map(|d| d.serial.as_str())
                .collect();
            format!(
                "{} has no disk {disk:?}; it has {}",
                machine.plan.name,
                serials.join(", ")
            )
        })?;
    let machine = Arc::clone(machine);
    tokio::task::spawn_blocking(move || {
        let disk = machine.open_disk(index)?;
        content::seed(&disk, what)
    })
    .await
    .map_err(|error| error.to_string())?
    .map_err(|error| firmware::chain(&error))?;
    Ok(Value::Null)
}
