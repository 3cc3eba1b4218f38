//! The simulated rack: machines whose firmware, BMC, disks and Talos nodes speak the real protocols on loopback, without root.
//!
//! Another process than bootd on purpose: they share the network protocols and nothing else.
//! Where to look: [`spec`] and [`plan`] say what is there, [`machine`] what a machine is, [`firmware`] what happens in it while it
//! has power, [`crate::talosnode`] what Talos does, [`control`] how a person reaches in.

pub mod agent;
pub mod content;
pub mod control;
pub mod dhcp;
pub mod disk;
pub mod factory;
pub mod fault;
pub mod firmware;
pub mod gpt;
pub mod http;
pub mod machine;
pub mod plan;
pub mod spec;
pub mod wire;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::machine::{Machine, World};
use self::plan::RackPlan;
use self::spec::{Endpoints, RackSpec};
use crate::bmc::{self, BmcConfig, BmcFaults, Chassis, Power, Privilege, Suite, User};
use crate::talosnode::discovery::Discovery;

/// Why a rack could not start.
#[derive(Debug, thiserror::Error)]
pub enum RackError {
    /// The spec is wrong.
    #[error("{0}")]
    Spec(String),
    /// A socket or file of the rack.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a rack is started with.
#[derive(Debug)]
pub struct Options {
    /// Everything it keeps.
    pub dir: PathBuf,
    /// What is in it.
    pub spec: RackSpec,
    /// Where the boot server listens.
    pub endpoints: Option<Endpoints>,
    /// How much faster than real hardware time passes.
    pub speed: f64,
}

/// A running rack. Machines lose their power when it is dropped.
#[derive(Debug)]
pub struct Rack {
    dir: PathBuf,
    /// Its machines, in the order of the spec.
    pub machines: Vec<Arc<Machine>>,
    /// Where the image factory listens.
    pub factory: SocketAddr,
    world: Arc<World>,
    tasks: JoinSet<()>,
}

impl Rack {
    /// Builds and starts everything; all machines are off. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`RackError`].
    pub async fn start(options: Options) -> Result<Self, RackError> {
        let failed = |what: String| move |source| RackError::Io { what, source };
        std::fs::create_dir_all(&options.dir)
            .map_err(failed(format!("cannot make {}", options.dir.display())))?;
        let dir = options
            .dir
            .canonicalize()
            .map_err(failed(format!("cannot find {}", options.dir.display())))?;
        let plan = plan::plan(&options.spec, &dir, plan::seed_of(&dir)).map_err(RackError::Spec)?;
        let mut tasks = JoinSet::new();
        let address_server = address_server(&plan, &mut tasks)
            .await
            .map_err(failed(format!("address server on {}", plan.address)))?;
        let factory = image_factory(&plan, &mut tasks)
            .await
            .map_err(failed(format!("image factory on {}", plan.address)))?;
        let world = Arc::new(World {
            endpoints: options.endpoints,
            address_server,
            speed: options.speed,
            capture: Arc::default(),
            discovery: Arc::new(Discovery::default()),
            first_uuid: plan
                .servers
                .first()
                .map(|s| s.uuid.clone())
                .unwrap_or_default(),
            runtime: tokio::runtime::Handle::current(),
            changed: tokio::sync::watch::Sender::new(0),
        });
        let mut machines = Vec::new();
        for server in plan.servers {
            for disk in &server.disks {
                disk::Disk::create(&disk.path, disk.bytes).map_err(failed(format!(
                    "cannot make the disk {}",
                    disk.path.display()
                )))?;
            }
            machines.push(machine_with_bmc(server, &world).await?);
        }
        let rack = Self {
            dir,
            machines,
            factory,
            world,
            tasks,
        };
        rack.write_json()
            .map_err(failed("cannot write rack.json".to_owned()))?;
        Ok(rack)
    }

    /// The machine of that name.
    pub fn machine(&self, name: &str) -> Option<&Arc<Machine>> {
        self.machines.iter().find(|m| m.plan.name == name)
    }

    /// Its directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every packet of the rack's own sockets, as a pcap file.
    pub fn pcap(&self) -> Vec<u8> {
        self.world.capture.pcap()
    }

    /// Grows with every change of power.
    pub fn changed(&self) -> tokio::sync::watch::Receiver<u64> {
        self.world.changed.subscribe()
    }

    /// What `rack.json` holds.
    pub fn json(&self) -> Value {
        let servers: Vec<Value> = self.machines.iter().map(|m| server_json(m)).collect();
        json!({ "factory": format!("http://{}", self.factory), "servers": servers })
    }

    /// Writes `rack.json`, whole or not at all.
    ///
    /// # Errors
    /// Of the file system.
    pub fn write_json(&self) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&self.json()).map_err(io::Error::other)?;
        let part = self.dir.join("rack.json.part");
        std::fs::write(&part, text + "\n")?;
        std::fs::rename(part, self.dir.join("rack.json"))
    }

    /// Takes all power and waits until nothing runs any more.
    pub async fn stop(mut self) {
        for machine in &self.machines {
            machine.cut();
        }
        for machine in &self.machines {
            machine.settled().await;
        }
        self.tasks.shutdown().await;
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        for machine in &self.machines {
            machine.cut();
        }
    }
}

fn server_json(machine: &Machine) -> Value {
    let plan = &machine.plan;
    let disks: Vec<Value> = plan
        .disks
        .iter()
        .map(|d| json!({ "path": d.path, "serial": d.serial, "wwid": d.wwid, "bytes": d.bytes }))
        .collect();
    let bmc = plan.bmc.as_ref().map_or(Value::Null, |bmc| {
        json!({
            "protocol": "ipmi",
            "address": bmc.address.ip(),
            "port": bmc.address.port(),
            "username": bmc.username,
            "password": bmc.password,
        })
    });
    json!({
        "name": plan.name,
        "uuid": plan.uuid,
        "serial": plan.serial,
        "macs": [plan.mac_text()],
        "address": plan.address,
        "bmc": bmc,
        "disks": disks,
        "state": match machine.power() {
            Power::On => "on",
            Power::Off => "off",
        },
    })
}

async fn machine_with_bmc(
    server: plan::ServerPlan,
    world: &Arc<World>,
) -> Result<Arc<Machine>, RackError> {
    let machine = Machine::new(server, Arc::clone(world));
    let Some(bmc) = &machine.plan.bmc else {
        return Ok(machine);
    };
    let mut suites = Vec::new();
    for suite in &bmc.suites {
        suites.push(match suite {
            3 => Suite::Three,
            17 => Suite::Seventeen,
            other => {
                return Err(RackError::Spec(format!(
                    "{}: cipher suite {other} is not simulated; 3 and 17 are",
                    machine.plan.name
                )));
            }
        });
    }
    let config = BmcConfig {
        address: bmc.address,
        users: vec![User {
            name: bmc.username.clone(),
            password: bmc.password.clone(),
            privilege: Privilege::Administrator,
        }],
        suites,
        uuid: machine.plan.uuid.clone(),
        sessions_max: 8,
        faults: BmcFaults::default(),
    };
    let served = bmc::serve(config, Arc::<Machine>::clone(&machine))
        .await
        .map_err(|source| RackError::Io {
            what: format!("BMC of {} on {}", machine.plan.name, bmc.address),
            source,
        })?;
    machine.attach(served);
    Ok(machine)
}

async fn address_server(plan: &RackPlan, tasks: &mut JoinSet<()>) -> io::Result<SocketAddr> {
    let leases = plan
        .servers
        .iter()
        .map(|s| (s.mac, (s.address, s.name.clone())))
        .collect();
    let server = dhcp::AddressServer::bind(plan.address, plan.subnet.mask(), leases).await?;
    let local = server.local()?;
    tasks.spawn(server.run());
    Ok(local)
}

/// The port is always the same where it is free, so that a restarted rack is found again.
async fn image_factory(plan: &RackPlan, tasks: &mut JoinSet<()>) -> io::Result<SocketAddr> {
    let listener = match TcpListener::bind((plan.address, 8080)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((plan.address, 0)).await?,
    };
    let local = listener.local_addr()?;
    let router = Arc::new(factory::Factory::default()).router();
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "image factory stopped");
        }
    });
    Ok(local)
}
