//! The command line of the simulated rack. Exit codes: 0 done, 1 not done, 2 wrong arguments.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use acctest::rack::control::{self, Ask};
use acctest::rack::fault::Fault;
use acctest::rack::spec::{Endpoints, RackSpec, Subnet};
use acctest::rack::{Options, Rack, firmware};
use clap::{Args, Parser, Subcommand};
use serde_json::Value;

/// A rack of simulated servers on loopback: firmware, BMC, disks and Talos nodes that speak the real protocols.
#[derive(Parser)]
#[command(name = "rack", version)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run a rack in the foreground; prints `ready` when it serves.
    Up(Up),
    /// What every server does.
    Status(Show),
    /// What is on every disk.
    Disks(Show),
    /// Press a power button, or pull the plug.
    Power {
        /// Directory of the rack.
        dir: PathBuf,
        /// Server.
        server: String,
        /// on, off or pull.
        to: String,
    },
    /// Make something wrong with a server, or `clear`.
    Fault {
        /// Print the kinds.
        #[arg(long)]
        list: bool,
        /// Directory of the rack.
        #[arg(required_unless_present = "list")]
        dir: Option<PathBuf>,
        /// Server.
        #[arg(required_unless_present = "list")]
        server: Option<String>,
        /// KIND, KIND=VALUE or clear.
        #[arg(required_unless_present = "list")]
        kind: Option<String>,
    },
    /// Put foreign data on a disk of a server that is off.
    SeedDisk {
        /// Directory of the rack.
        dir: PathBuf,
        /// Server.
        server: String,
        /// Serial, device name or index of the disk.
        disk: String,
        /// ext4, ceph, lvm, talos-state or random.
        with: String,
    },
    /// Write what the rack's own UDP sockets sent and received.
    Pcap {
        /// Directory of the rack.
        dir: PathBuf,
        /// File to write.
        file: PathBuf,
    },
    /// Stop a rack.
    Down {
        /// Directory of the rack.
        dir: PathBuf,
    },
}

#[derive(Args)]
struct Up {
    /// Directory that the rack keeps its disks, rack.json and its control socket in.
    #[arg(long)]
    dir: PathBuf,
    /// That many default servers.
    #[arg(long, conflicts_with = "spec", required_unless_present = "spec")]
    servers: Option<u32>,
    /// A TOML file that describes the servers.
    #[arg(long)]
    spec: Option<PathBuf>,
    /// A TOML file that says where bootd listens: dhcp, pxe, `tftp_port`.
    #[arg(long)]
    bootd: Option<PathBuf>,
    /// Loopback network of the servers' addresses; default: derived from the directory.
    #[arg(long, value_parser = Subnet::parse)]
    subnet: Option<Subnet>,
    /// How much faster than real hardware time passes.
    #[arg(long, default_value_t = 60.0, value_parser = speed)]
    speed: f64,
}

#[derive(Args)]
struct Show {
    /// Directory of the rack.
    #[arg(long)]
    dir: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed >= 0.1 => Ok(speed),
        _ => Err("the speed is a number of at least 0.1".to_owned()),
    }
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RACK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let done = match Cli::parse().what {
        What::Up(up) => run(&up),
        What::Status(show) => {
            ask(&show.dir, &Ask::Status).map(|v| print(&v, show.json, status_line))
        }
        What::Disks(show) => ask(&show.dir, &Ask::Disks).map(|v| print(&v, show.json, disk_lines)),
        What::Power { dir, server, to } => ask(&dir, &Ask::Power { server, to }).map(drop),
        What::Fault { list: true, .. } => {
            for (_, name, text) in Fault::ALL {
                say(&format!("{name:<24} {text}"));
            }
            Ok(())
        }
        What::Fault {
            dir, server, kind, ..
        } => {
            let (dir, server, kind) = (
                dir.unwrap_or_default(),
                server.unwrap_or_default(),
                kind.unwrap_or_default(),
            );
            ask(&dir, &Ask::Fault { server, kind }).map(drop)
        }
        What::SeedDisk {
            dir,
            server,
            disk,
            with,
        } => ask(&dir, &Ask::SeedDisk { server, disk, with }).map(drop),
        What::Pcap { dir, file } => std::path::absolute(&file)
            .map_err(|error| error.to_string())
            .and_then(|file| ask(&dir, &Ask::Pcap { file }).map(drop)),
        What::Down { dir } => ask(&dir, &Ask::Down).map(drop),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("rack: {why}");
            ExitCode::FAILURE
        }
    }
}

/// A line of the result. Whoever closed the pipe has seen enough.
fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

fn ask(dir: &Path, what: &Ask) -> Result<Value, String> {
    control::ask(dir, what)
}

fn run(up: &Up) -> Result<(), String> {
    let options = options(up)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let rack = Rack::start(options)
            .await
            .map_err(|error| firmware::chain(&error))?;
        let socket = |error: std::io::Error| format!("control socket: {error}");
        let door = control::Door::bind(&rack).await.map_err(socket)?;
        say("ready");
        let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(|error| error.to_string())?;
        let served = tokio::select! {
            served = door.serve(&rack) => served.map_err(socket),
            _ = stop.recv() => Ok(()),
            _ = tokio::signal::ctrl_c() => Ok(()),
        };
        rack.stop().await;
        served
    })
}

fn options(up: &Up) -> Result<Options, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let mut spec = match (&up.spec, up.servers) {
        (Some(path), _) => {
            RackSpec::parse(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))?
        }
        (None, servers) => RackSpec::plain(servers.unwrap_or(0)),
    };
    spec.subnet = up.subnet.or(spec.subnet);
    let endpoints = match &up.bootd {
        Some(path) => Some(
            toml::from_str::<Endpoints>(&read(path)?)
                .map_err(|error| format!("{}: {error}", path.display()))?,
        ),
        None => None,
    };
    Ok(Options {
        dir: up.dir.clone(),
        spec,
        endpoints,
        speed: up.speed,
    })
}

fn print(value: &Value, json: bool, line: fn(&Value) -> Vec<String>) {
    if json {
        say(&format!("{value:#}"));
        return;
    }
    for server in value["servers"].as_array().into_iter().flatten() {
        for line in line(server) {
            say(&line);
        }
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn status_line(server: &Value) -> Vec<String> {
    let faults: Vec<String> = server["faults"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    vec![format!(
        "{:<16} {:<4} {:<9} {} {}",
        text(&server["name"]),
        text(&server["power"]),
        text(&server["stage"]),
        text(&server["detail"]),
        faults.join(" ")
    )]
}

fn disk_lines(server: &Value) -> Vec<String> {
    let line = |disk: &Value| {
        let content = if disk["blank"] == Value::Bool(true) {
            "blank".to_owned()
        } else {
            let found: Vec<String> = disk["signatures"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect();
            format!(
                "first non-zero byte {} {}",
                disk["first_non_zero"],
                found.join(" ")
            )
        };
        format!(
            "{:<16} {:<8} {:<16} {content}",
            text(&server["name"]),
            text(&disk["device"]),
            text(&disk["serial"])
        )
    };
    server["disks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(line)
        .collect()
}
