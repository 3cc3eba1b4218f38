//! `metalctl`: the operator's view of one bootd, over the same API that the provider uses.
//!
//! It reads the bundle that `bootd init` wrote. Passwords come from standard input, never from the command line.
//! Not here: anything that the API does not offer, and any decision.
//! Passwords typed on a terminal are shown: pipe them in where that matters.

use std::error::Error;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use metal_proto::metal::v1::metal_client::MetalClient;
use metal_proto::metal::v1::{
    CredentialRequest, DeleteServerRequest, ErrorDetail, Hardware, ListServersRequest,
    OpenRegistrationRequest, Phase, Power, RetryServerRequest, Server, SetCredentialsRequest,
    TimelineEvent, TimelineRequest,
};
use prost::Message;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

type Failure = Box<dyn Error + Send + Sync>;
type Client = MetalClient<Channel>;

/// The operator's command line to bootd.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The bundle that `bootd init` wrote.
    #[arg(
        long,
        env = "METAL_BUNDLE_FILE",
        default_value = "admin.bundle",
        global = true
    )]
    bundle: PathBuf,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the servers, their phase and why they are in it.
    Servers {
        /// Machine-readable.
        #[arg(long)]
        json: bool,
    },
    /// Tells one machine's boot story.
    Timeline {
        /// The server's name.
        server: String,
        /// Stay and print what happens.
        #[arg(long, short)]
        follow: bool,
    },
    /// Prints what happens to all servers, until interrupted.
    Watch,
    /// Asks for another try of the step that a server failed of: an inspection, an install or a wipe.
    Retry {
        /// The server's name.
        server: String,
        /// Its board or BMC was replaced: forget what the BMC said of itself before.
        #[arg(long)]
        confirm_bmc: bool,
    },
    /// Forgets a server that no claim holds.
    Forget {
        /// The server's name.
        server: String,
        /// Also after a wipe that failed, for a box that is dead: nothing is asked of it, and its story is kept under its name.
        #[arg(long)]
        force: bool,
    },
    /// Who may register.
    #[command(subcommand)]
    Registration(Registration),
    /// BMC credentials that HCL only names.
    #[command(subcommand)]
    Credentials(Credentials),
    /// Prints an admin kubeconfig.
    Kubeconfig {
        /// The cluster's name.
        cluster: String,
        /// How long it is good for, in hours.
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
    /// Prints a talosconfig.
    Talosconfig {
        /// The cluster's name.
        cluster: String,
        /// A role, such as os:reader; may be repeated.
        #[arg(long = "role", default_value = "os:admin")]
        roles: Vec<String>,
        /// How long it is good for, in hours.
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
}

#[derive(Debug, Subcommand)]
enum Registration {
    /// Admits unknown machines to the agent for a while.
    Open {
        /// How long: 15m, 1h, 90s.
        #[arg(long = "for", value_parser = duration)]
        duration: Duration,
    },
}

#[derive(Debug, Subcommand)]
enum Credentials {
    /// Stores or replaces a credential; the password is read from standard input.
    Set {
        /// The name that `bmc { credentials }` uses.
        name: String,
        /// The BMC's user.
        #[arg(long)]
        username: String,
    },
}

/// `bootd init` writes it; the provider reads the same.
#[derive(Deserialize)]
struct Bundle {
    endpoint: String,
    ca: String,
    certificate: String,
    key: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(failure.as_ref());
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut client = connect(&arguments.bundle).await?;
    match arguments.command {
        Verb::Servers { json } => {
            servers(&mut client, if json { Form::Json } else { Form::Table }).await
        }
        Verb::Timeline { server, follow } => timeline(&mut client, server, follow).await,
        Verb::Watch => watch(client).await,
        Verb::Retry {
            server,
            confirm_bmc,
        } => {
            let request = RetryServerRequest {
                name: server,
                confirm_bmc,
            };
            let server = client.retry_server(request).await?.into_inner();
            print_text(&table(&[server]))
        }
        Verb::Forget { server, force } => {
            let request = DeleteServerRequest {
                name: server.clone(),
                force,
            };
            client.delete_server(request).await?;
            print_text(&format!(
                "{server} is forgotten, or will be once it is off\n"
            ))
        }
        Verb::Registration(Registration::Open { duration }) => {
            open_registration(&mut client, duration).await
        }
        Verb::Credentials(Credentials::Set { name, username }) => {
            set_credentials(&mut client, name, username).await
        }
        Verb::Kubeconfig { cluster, hours } => {
            let request = CredentialRequest {
                cluster,
                roles: vec![],
                ttl: Some(hours_of(hours)),
            };
            print_text(&client.kubeconfig(request).await?.into_inner().yaml)
        }
        Verb::Talosconfig {
            cluster,
            roles,
            hours,
        } => {
            let request = CredentialRequest {
                cluster,
                roles,
                ttl: Some(hours_of(hours)),
            };
            print_text(&client.talosconfig(request).await?.into_inner().yaml)
        }
    }
}

async fn connect(bundle: &Path) -> Result<Client, Failure> {
    let text = std::fs::read_to_string(bundle).map_err(|e| {
        format!(
            "cannot read the bundle {}: {e}. Name it with --bundle or METAL_BUNDLE_FILE.",
            bundle.display()
        )
    })?;
    let bundle: Bundle = toml::from_str(&text)
        .map_err(|e| format!("{} is no bundle: {}", bundle.display(), e.message()))?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(bundle.ca))
        .identity(Identity::from_pem(bundle.certificate, bundle.key));
    let endpoint = Endpoint::from_shared(bundle.endpoint.clone())?
        .tls_config(tls)?
        .connect_timeout(Duration::from_secs(10));
    let channel = endpoint.connect().await.map_err(|e| {
        let why = e
            .source()
            .map_or_else(|| e.to_string(), ToString::to_string);
        format!("bootd at {} does not answer: {why}", bundle.endpoint)
    })?;
    Ok(MetalClient::new(channel).max_decoding_message_size(64 << 20))
}

/// How a list is printed.
enum Form {
    Table,
    Json,
}

async fn servers(client: &mut Client, form: Form) -> Result<(), Failure> {
    let servers = client
        .list_servers(ListServersRequest::default())
        .await?
        .into_inner()
        .servers;
    match form {
        Form::Json => {
            let list: Vec<Value> = servers.iter().map(server_json).collect();
            print_text(&format!("{:#}\n", Value::Array(list)))
        }
        Form::Table => print_text(&table(&servers)),
    }
}

fn server_json(server: &Server) -> Value {
    let status = server.status.clone().unwrap_or_default();
    let config = server.config.as_ref();
    json!({
        "name": status.id,
        "phase": phase_name(status.phase()),
        "reason": status.reason,
        "epoch": status.epoch,
        "claim": status.claim,
        "accepted": config.is_some_and(|c| c.accepted),
        "declared": config.is_some(),
        "power": power_name(status.power()),
        "dirty": status.dirty,
        "address": status.address,
        "failure": status.failure.as_ref().map(|f| json!({ "reason": f.reason, "summary": f.summary, "detail": f.detail, "hint": f.hint })),
        "hardware": status.hardware.as_ref().map(hardware_json),
    })
}

fn hardware_json(hardware: &Hardware) -> Value {
    let disks: Vec<Value> = hardware
        .disks
        .iter()
        .map(|d| json!({ "device": d.device, "serial": d.serial, "wwid": d.wwid, "model": d.model, "type": d.r#type, "bytes": d.bytes, "signatures": d.signatures, "blank": d.blank }))
        .collect();
    let nics: Vec<Value> =
        hardware.nics.iter().map(|n| json!({ "name": n.name, "mac": n.mac, "driver": n.driver, "speed_mbps": n.speed_mbps })).collect();
    json!({
        "manufacturer": hardware.manufacturer, "product": hardware.product, "serial": hardware.serial, "uuid": hardware.uuid,
        "arch": hardware.arch, "cpu_model": hardware.cpu_model, "cpu_cores": hardware.cpu_cores,
        "cpu_threads": hardware.cpu_threads, "memory_bytes": hardware.memory_bytes, "disks": disks, "nics": nics,
    })
}

fn table(servers: &[Server]) -> String {
    let mut rows =
        vec![["SERVER", "PHASE", "POWER", "CLAIM", "HARDWARE", "REASON"].map(str::to_owned)];
    for server in servers {
        let status = server.status.clone().unwrap_or_default();
        let hardware = status.hardware.as_ref().map_or_else(
            || "-".to_owned(),
            |h| {
                format!(
                    "{}c/{}t {} GiB, {} disks",
                    h.cpu_cores,
                    h.cpu_threads,
                    h.memory_bytes >> 30,
                    h.disks.len()
                )
            },
        );
        let claim = if status.claim.is_empty() {
            "-".to_owned()
        } else {
            status.claim.clone()
        };
        let phase = if status.dirty {
            format!("{} (dirty)", phase_name(status.phase()))
        } else {
            phase_name(status.phase()).to_owned()
        };
        rows.push([
            status.id.clone(),
            phase,
            power_name(status.power()).to_owned(),
            claim,
            hardware,
            status.reason.clone(),
        ]);
    }
    let width = |column: usize| {
        rows.iter()
            .map(|r| r[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

async fn timeline(client: &mut Client, server: String, follow: bool) -> Result<(), Failure> {
    let mut events = client
        .timeline(TimelineRequest {
            server,
            follow,
            after_seq: 0,
        })
        .await?
        .into_inner();
    while let Some(event) = events.message().await? {
        print_text(&line(&event))?;
    }
    Ok(())
}

/// Every server's story at once; servers that appear later are found by asking again.
async fn watch(mut client: Client) -> Result<(), Failure> {
    let mut followed = std::collections::BTreeSet::new();
    loop {
        let servers = client
            .list_servers(ListServersRequest::default())
            .await?
            .into_inner()
            .servers;
        for name in servers.into_iter().filter_map(|s| Some(s.status?.id)) {
            if followed.insert(name.clone()) {
                let mut client = client.clone();
                tokio::spawn(async move {
                    let request = TimelineRequest {
                        server: name.clone(),
                        follow: true,
                        after_seq: 0,
                    };
                    let Ok(events) = client.timeline(request).await else {
                        return;
                    };
                    let mut events = events.into_inner();
                    while let Ok(Some(event)) = events.message().await {
                        if print_text(&format!("{name:<16} {}", line(&event))).is_err() {
                            return;
                        }
                    }
                });
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

fn line(event: &TimelineEvent) -> String {
    let at = event.at.unwrap_or_default();
    let time = jiff::Timestamp::new(at.seconds, at.nanos)
        .map_or_else(|_| "-".to_owned(), |t| t.strftime("%H:%M:%S").to_string());
    let alarm = if event.alarm { " !" } else { "" };
    format!(
        "{time} {:>4} {:<7}{alarm} {}\n",
        event.epoch, event.source, event.text
    )
}

async fn open_registration(client: &mut Client, duration: Duration) -> Result<(), Failure> {
    let request = OpenRegistrationRequest {
        r#for: Some(prost_types::Duration::try_from(duration)?),
    };
    let until = client
        .open_registration(request)
        .await?
        .into_inner()
        .until
        .unwrap_or_default();
    let until = jiff::Timestamp::new(until.seconds, 0)?;
    print_text(&format!("unknown machines may register until {until}\n"))
}

async fn set_credentials(
    client: &mut Client,
    name: String,
    username: String,
) -> Result<(), Failure> {
    let mut input = std::io::stdin();
    if input.is_terminal() {
        std::io::stderr().write_all(b"Password (shown as you type; end with Enter): ")?;
    }
    let mut password = String::new();
    if input.is_terminal() {
        std::io::stdin().read_line(&mut password)?;
    } else {
        input.read_to_string(&mut password)?;
    }
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        return Err("no password on standard input".into());
    }
    client
        .set_credentials(SetCredentialsRequest {
            name,
            username,
            password,
        })
        .await?;
    Ok(())
}

fn print_text(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Summary, detail and hint where bootd sent them; else the status text.
fn complain(failure: &(dyn Error + 'static)) {
    let text = match failure.downcast_ref::<tonic::Status>() {
        Some(status) => match ErrorDetail::decode(status.details()) {
            Ok(detail) if !detail.summary.is_empty() => {
                let hint = if detail.hint.is_empty() {
                    String::new()
                } else {
                    format!("\n\nHint: {}", detail.hint)
                };
                format!("{}\n\n{}{hint}", detail.summary, detail.detail)
            }
            _ => status.message().to_owned(),
        },
        None => failure.to_string(),
    };
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

fn hours_of(hours: u32) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::from(hours) * 3600,
        nanos: 0,
    }
}

/// `90s`, `15m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let number: u64 = number
        .parse()
        .map_err(|_| "want a number and s, m or h: 15m".to_owned())?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err("want a number and s, m or h: 15m".to_owned()),
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Unspecified => "unknown",
        Phase::Discovered => "discovered",
        Phase::Inspecting => "inspecting",
        Phase::Available => "available",
        Phase::Installing => "installing",
        Phase::Running => "running",
        Phase::Wiping => "wiping",
        Phase::Failed => "failed",
        Phase::Quarantined => "quarantined",
        Phase::Retired => "retired",
    }
}

fn power_name(power: Power) -> &'static str {
    match power {
        Power::Unspecified => "-",
        Power::Off => "off",
        Power::On => "on",
        Power::Unreachable => "unreachable",
    }
}
