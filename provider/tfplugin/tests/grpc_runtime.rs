//! The toy's process: sizes, log, crash, versions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
mod toy;

use std::process::{Command, Stdio};

use host::{Host, json, msgpack, told};
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
