//! The toy provider as a host sees it: handshake, channel, services, end of the process. Of unix sockets; `tcp.rs` is about ports.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod toy;

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hyper_util::rt::TokioIo;
use metal_proto::plugin::Empty;
use metal_proto::plugin::grpc_controller_client::GrpcControllerClient;
use metal_proto::plugin::grpc_stdio_client::GrpcStdioClient;
use metal_proto::tfplugin6 as pb;
use pb::provider_client::ProviderClient;
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use toy::port::{self, Identity};

const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

/// A started toy.
struct Toy {
    process: Child,
    socket: PathBuf,
    /// As the handshake has it; empty without encryption.
    certificate: String,
}

impl Toy {
    fn start(identity: Option<&Identity>) -> Self {
        let mut command = Command::new(toy::binary());
        command
            .env("TF_PLUGIN_MAGIC_COOKIE", COOKIE)
            .env("PLUGIN_PROTOCOL_VERSIONS", "5,6")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        match identity {
            Some(identity) => command.env("PLUGIN_CLIENT_CERT", &identity.pem),
            None => command.env_remove("PLUGIN_CLIENT_CERT"),
        };
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let parts: Vec<_> = line.trim_end().split('|').collect();
        let [core, version, network, socket, protocol, certificate] = parts[..] else {
            panic!("{line:?}")
        };
        assert_eq!(
            [core, version, network, protocol],
            ["1", "6", "unix", "grpc"]
        );
        Self {
            socket: socket.into(),
            certificate: certificate.to_owned(),
            process,
        }
    }

    fn tls(&self, identity: Option<&Identity>) -> TlsConnector {
        port::tls(&self.certificate, identity)
    }

    async fn connect(&self, identity: &Identity) -> Channel {
        let (tls, socket) = (self.tls(Some(identity)), self.socket.clone());
        let connector = tower::service_fn(move |_| {
            let (tls, socket) = (tls.clone(), socket.clone());
            async move {
                let stream = UnixStream::connect(socket).await?;
                tls.connect(ServerName::try_from("localhost").unwrap(), stream)
                    .await
                    .map(TokioIo::new)
            }
        });
        Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await
            .unwrap()
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        // Ended already in most tests.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn msgpack(hex: &str) -> Option<pb::DynamicValue> {
    let bytes = (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap());
    Some(pb::DynamicValue {
        msgpack: bytes.collect(),
        json: Vec::new(),
    })
}

/// A configuration `{ name = "…" }` with everything else null: the provider reads maps that leave attributes out.
fn named(name: &str) -> Option<pb::DynamicValue> {
    let hex: String = name.bytes().map(|b| format!("{b:02x}")).collect();
    msgpack(&format!("81a46e616d65{:02x}{hex}", 0xa0 + name.len()))
}

#[test]
fn a_person_is_told_what_it_is() {
    let run = Command::new(toy::binary())
        .env_remove("TF_PLUGIN_MAGIC_COOKIE")
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(run.stdout, b"");
    insta::assert_snapshot!(String::from_utf8(run.stderr).unwrap());
}

#[tokio::test]
async fn nobody_but_the_host_gets_in() {
    let host = Identity::new();
    let toy = Toy::start(Some(&host));
    assert_eq!(mode(toy.socket.parent().unwrap()), 0o700);
    for identity in [None, Some(&Identity::new())] {
        let stream = UnixStream::connect(&toy.socket).await.unwrap();
        let localhost = ServerName::try_from("localhost").unwrap();
        // TLS 1.3 lets a client finish before the server has refused it: the refusal is what it reads first.
        let refused = match toy.tls(identity).connect(localhost, stream).await {
            Ok(mut stream) => stream.read_u8().await.unwrap_err().to_string(),
            Err(refused) => refused.to_string(),
        };
        assert!(refused.contains("received fatal alert"), "{refused}");
    }
    // Others' attempts do not disturb the host.
    let mut provider = ProviderClient::new(toy.connect(&host).await);
    let metadata = provider
        .get_metadata(pb::get_metadata::Request {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(metadata.resources.last().unwrap().type_name, "toy_thing");
    assert_eq!(metadata.data_sources[0].type_name, "toy_things");
    assert!(
        metadata
            .server_capabilities
            .unwrap()
            .get_provider_schema_optional
    );
}

#[tokio::test]
async fn shutdown_ends_the_process_and_its_directory() {
    let host = Identity::new();
    let mut toy = Toy::start(Some(&host));
    let channel = toy.connect(&host).await;
    // Streams that hosts hold open do not keep the process.
    let _stdio = GrpcStdioClient::new(channel.clone())
        .stream_stdio(())
        .await
        .unwrap();
    GrpcControllerClient::new(channel)
        .shutdown(Empty {})
        .await
        .unwrap();
    assert!(toy.process.wait().unwrap().success());
    assert!(!toy.socket.parent().unwrap().exists());
}

#[tokio::test]
async fn without_encryption_the_directory_still_guards() {
    let toy = Toy::start(None);
    assert_eq!(toy.certificate, "");
    assert_eq!(mode(toy.socket.parent().unwrap()), 0o700);
}

/// A toy that a host talks to.
struct Session {
    provider: ProviderClient<Channel>,
    things: tempfile::TempDir,
    _toy: Toy,
}

impl Session {
    async fn start() -> Self {
        let host = Identity::new();
        let toy = Toy::start(Some(&host));
        let provider =
            ProviderClient::new(toy.connect(&host).await).max_decoding_message_size(usize::MAX);
        Self {
            provider,
            things: tempfile::tempdir().unwrap(),
            _toy: toy,
        }
    }

    async fn configure(&mut self) {
        let directory = self.things.path().to_str().unwrap();
        let hex: String = directory.bytes().map(|b| format!("{b:02x}")).collect();
        let config = msgpack(&format!(
            "81a96469726563746f7279d9{:02x}{hex}",
            directory.len()
        ));
        let request = pb::configure_provider::Request {
            config,
            ..Default::default()
        };
        let said = self
            .provider
            .configure_provider(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(said.diagnostics, vec![]);
    }

    async fn upgrade(&mut self, version: i64, json: &str) -> pb::upgrade_resource_state::Response {
        let raw_state = Some(pb::RawState {
            json: json.as_bytes().to_vec(),
            ..Default::default()
        });
        let type_name = "toy_thing".to_owned();
        let request = pb::upgrade_resource_state::Request {
            type_name,
            version,
            raw_state,
        };
        self.provider
            .upgrade_resource_state(request)
            .await
            .unwrap()
            .into_inner()
    }
}

#[tokio::test]
async fn schemas_are_as_hosts_accept_them() {
    let mut host = Session::start().await;
    let request = pb::get_provider_schema::Request {};
    let schema = host
        .provider
        .get_provider_schema(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(schema.diagnostics, vec![]);
    let block = schema.resource_schemas["toy_thing"].block.clone().unwrap();
    let parts = block.attributes.iter().find(|a| a.name == "parts").unwrap();
    // Never both: hosts refuse that.
    assert!(parts.r#type.is_empty() && parts.nested_type.is_some());
    assert!(block.attributes.iter().any(|a| a.write_only));
}

#[tokio::test]
async fn write_only_values_are_refused_on_old_hosts() {
    let mut host = Session::start().await;
    for (allowed, expected) in [
        (false, vec!["Write-only attribute not supported"]),
        (true, vec![]),
    ] {
        let request = pb::validate_resource_config::Request {
            type_name: "toy_thing".into(),
            // {"password_wo":"x"}
            config: msgpack("81ab70617373776f72645f776fa178"),
            client_capabilities: Some(pb::ClientCapabilities {
                write_only_attributes_allowed: allowed,
                ..Default::default()
            }),
        };
        let said = host
            .provider
            .validate_resource_config(request)
            .await
            .unwrap()
            .into_inner();
        let summaries: Vec<_> = said
            .diagnostics
            .iter()
            .map(|d| d.summary.as_str())
            .collect();
        assert_eq!(summaries, expected);
    }
}

#[tokio::test]
async fn foreign_private_bytes_pass_through_a_plan() {
    let mut host = Session::start().await;
    host.configure().await;
    let request = pb::plan_resource_change::Request {
        type_name: "toy_thing".into(),
        prior_state: msgpack("c0"),
        proposed_new_state: named("big"),
        config: named("big"),
        prior_private: b"\xff not ours".to_vec(),
        ..Default::default()
    };
    let plan = host
        .provider
        .plan_resource_change(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (plan.diagnostics, plan.planned_private),
        (vec![], b"\xff not ours".to_vec())
    );
}

#[tokio::test]
async fn states_may_be_large_or_too_new() {
    let mut host = Session::start().await;
    // Larger than tonic's own limit, and with an attribute that the schema does not have any more.
    let label = "x".repeat(6 << 20);
    let json = format!(r#"{{"name":"big","id":"big","labels":{{"k":"{label}"}},"gone":1}}"#);
    let upgraded = host.upgrade(1, &json).await;
    assert_eq!(upgraded.diagnostics[0].summary, "Attribute no longer known");
    assert!(upgraded.upgraded_state.unwrap().msgpack.len() > label.len());
    assert_eq!(
        host.upgrade(2, "{}").await.diagnostics[0].summary,
        "State is too new"
    );
    assert_eq!(
        host.upgrade(1, "{\"size\":[]}").await.diagnostics[0].summary,
        "State cannot be read"
    );
}

#[tokio::test]
async fn what_is_not_known_is_said() {
    let mut host = Session::start().await;
    let request = pb::read_resource::Request {
        type_name: "toy_nothing".into(),
        ..Default::default()
    };
    let said = host
        .provider
        .read_resource(request)
        .await
        .unwrap()
        .into_inner()
        .diagnostics;
    assert_eq!(said[0].summary, "Unknown type");
    let request = pb::read_data_source::Request {
        type_name: "toy_things".into(),
        config: msgpack("ff"),
        ..Default::default()
    };
    let said = host
        .provider
        .read_data_source(request)
        .await
        .unwrap()
        .into_inner()
        .diagnostics;
    assert_eq!(said[0].summary, "Message cannot be read");
}

#[test]
fn an_old_host_is_told_so() {
    let mut command = Command::new(toy::binary());
    command
        .env("TF_PLUGIN_MAGIC_COOKIE", COOKIE)
        .env("PLUGIN_PROTOCOL_VERSIONS", "5");
    let mut process = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    process
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(1));
    assert!(
        said.contains("This provider speaks plugin protocol 6; the host offers 5."),
        "{said}"
    );
}
