//! The toy's process: sizes, log, crash, versions, debug mode.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
mod toy;

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use host::{Host, client, connect, json, msgpack, told};
use metal_proto::plugin::Empty;
use metal_proto::plugin::grpc_controller_client::GrpcControllerClient;
use metal_proto::tfplugin6 as pb;
use serde_json::{Value as Json, json as js};

const COOKIE: (&str, &str) = (
    "TF_PLUGIN_MAGIC_COOKIE",
    "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
);

/// 64 MiB in, and 64 MiB out.
#[tokio::test]
async fn states_of_64_mib_pass() {
    let mut host = Host::unconfigured().await;
    let label = "x".repeat(64 << 20);
    let state = format!(r#"{{"name":"big","id":"big","labels":{{"k":"{label}"}}}}"#);
    let request = pb::upgrade_resource_state::Request {
        type_name: "toy_thing".into(),
        version: 1,
        raw_state: Some(pb::RawState {
            json: state.into_bytes(),
            ..Default::default()
        }),
    };
    let answer = host.provider.upgrade_resource_state(request).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(told(&answer.diagnostics), "");
    assert!(answer.upgraded_state.unwrap().msgpack.len() > 64 << 20);
}

/// What is logged in a request has the fields that users of other providers know.
#[tokio::test]
async fn log_lines_name_their_request() {
    let variables = [("TF_LOG_PROVIDER_TOY", "INFO"), ("TF_LOG_SDK", "TRACE")];
    let mut host = Host::with(&variables, Stdio::piped()).await;
    let directory = host.things.path().to_str().unwrap().to_owned();
    let request = pb::configure_provider::Request {
        config: json(&js!({ "directory": directory })),
        ..Default::default()
    };
    host.provider.configure_provider(request).await.unwrap();
    let request = pb::invoke_action::Request {
        action_type: "toy_stamp".into(),
        config: json(&js!({ "name": "a", "mode": "slow", "timeouts": { "invoke": "50ms" } })),
        client_capabilities: None,
    };
    let mut events = host
        .provider
        .invoke_action(request)
        .await
        .unwrap()
        .into_inner();
    while events.message().await.unwrap().is_some() {}
    host.shut_down().await;
    let (_, log) = host.end();
    let lines: Vec<Json> = log
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let line = |message: &str, rpc: &str| {
        let found = lines
            .iter()
            .find(|l| l["@message"] == message && l["tf_rpc"] == rpc);
        found.unwrap_or_else(|| panic!("{log}"))
    };
    // The action works in a task of its own, and its lines have the fields all the same.
    let begun = line("slow action begun", "InvokeAction");
    assert_eq!(
        (&begun["@level"], &begun["@module"]),
        (&"info".into(), &"toy.actions".into())
    );
    assert_eq!(begun["tf_provider_addr"], "example.com/test/toy");
    let served = line("request answered", "ConfigureProvider");
    assert_eq!(served["@level"], "trace");
    assert!(served["tf_req_duration_ms"].is_number());
    assert_ne!(served["tf_req_id"], begun["tf_req_id"]);
}

/// A panic that nothing guards ends the process in the form that hosts recognise.
#[tokio::test]
async fn a_crash_is_one() {
    for (variables, traced) in [(&[][..], false), (&[("RUST_BACKTRACE", "1")], true)] {
        let mut host = Host::with(variables, Stdio::piped()).await;
        let area = [&[0x82, 0xa6][..], b"height", &[2, 0xa5], b"width", &[1]].concat();
        let request = pb::call_function::Request {
            name: "grow".into(),
            arguments: vec![msgpack(&area), msgpack(&[7])],
        };
        assert!(host.provider.call_function(request).await.is_err());
        let (code, log) = host.end();
        assert_eq!(code, Some(2), "{log}");
        let crash = log.lines().skip_while(|l| !l.starts_with("panic: "));
        let crash = crash.collect::<Vec<_>>().join("\n");
        assert!(crash.contains("the toy breaks at seven"), "{log}");
        assert!(
            crash.contains("at provider/tfplugin/examples/toy/functions.rs:"),
            "{log}"
        );
        assert_eq!(crash.contains("rust_begin_unwind"), traced, "{log}");
    }
}

/// Asks for an offer of protocol versions: exit code, standard output, standard error.
fn offered(versions: &str) -> (Option<i32>, String, String) {
    let run = Command::new(toy::binary())
        .envs([COOKIE, ("PLUGIN_PROTOCOL_VERSIONS", versions)])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (run.status.code(), text(run.stdout), text(run.stderr))
}

#[test]
fn a_host_of_protocol_5_is_refused_in_words_that_it_shows() {
    let (code, line, said) = offered("4,5");
    assert_eq!((code, line.as_str()), (Some(1), "1|6|unix||grpc|\n"));
    insta::assert_snapshot!(said, @r"
    This provider speaks plugin protocol 6; the host offers 4,5.

    Hint: use Terraform 1.6 or OpenTofu 1.6, or later.
    ");
    assert_eq!(offered("x").0, Some(1));
}

/// A process that ends with the test, however that ends.
struct Debugged(Child);

impl Drop for Debugged {
    fn drop(&mut self) {
        // Ended already where the test passed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads to the first line that holds the text.
fn until(text: &str, from: &mut impl BufRead) -> String {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(from.read_line(&mut line).unwrap(), 0, "{text}");
    }
    line
}

/// Many hosts at the same time, and none of them ends it.
#[tokio::test]
async fn a_debugged_provider_serves_many() {
    let toy = Command::new(toy::binary())
        .arg("-debug")
        .env("TF_LOG_PROVIDER_TOY", "INFO")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut toy = Debugged(toy);
    let mut out = BufReader::new(toy.0.stdout.take().unwrap());
    let line = until("TF_REATTACH_PROVIDERS=", &mut out);
    let export = line.trim().strip_prefix("TF_REATTACH_PROVIDERS='").unwrap();
    let attach: Json = serde_json::from_str(export.trim_end_matches('\'')).unwrap();
    let toy_at = &attach["example.com/test/toy"];
    assert_eq!(
        (&toy_at["ProtocolVersion"], &toy_at["Test"]),
        (&6.into(), &true.into())
    );
    assert_eq!(toy_at["Pid"], toy.0.id());
    let socket = toy_at["Addr"]["String"].as_str().unwrap();

    let channels = [
        connect(socket.to_owned()).await,
        connect(socket.to_owned()).await,
    ];
    let (mut one, mut two) = (client(channels[0].clone()), client(channels[1].clone()));
    let slow = || pb::call_function::Request {
        name: "break".into(),
        arguments: vec![msgpack(b"\xa4slow")],
    };
    // One host calls, the other asks to stop: what runs ends, what comes later runs.
    let asked = pb::stop_provider::Request {};
    let mut log = BufReader::new(toy.0.stderr.take().unwrap());
    let (answer, stopped) = tokio::join!(one.call_function(slow()), async {
        let begun = tokio::task::spawn_blocking(move || {
            until("slow call begun", &mut log);
            log
        });
        let log = begun.await.unwrap();
        let stopped = two.stop_provider(asked).await;
        // Nobody may read what is logged later, but somebody must be able to.
        (stopped, log)
    });
    let (stopped, _log) = stopped;
    stopped.unwrap();
    let said = answer.unwrap().into_inner().error.unwrap().text;
    assert!(said.starts_with("Operation cancelled"), "{said}");
    GrpcControllerClient::new(channels[1].clone())
        .shutdown(Empty {})
        .await
        .unwrap();
    let version = pb::call_function::Request {
        name: "version".into(),
        arguments: Vec::new(),
    };
    for host in [&mut one, &mut two] {
        let answer = host
            .call_function(version.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.result.unwrap().msgpack, [1]);
    }
    let pressed = Command::new("kill")
        .args(["-INT", &toy.0.id().to_string()])
        .status();
    assert!(pressed.unwrap().success());
    assert!(toy.0.wait().unwrap().success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.trim(), "");
}
