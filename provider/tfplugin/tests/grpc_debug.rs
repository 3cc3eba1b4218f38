//! Debug mode: one process of the toy that many hosts attach to, over a unix socket.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
mod toy;

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use host::{client, connect, msgpack};
use metal_proto::plugin::Empty;
use metal_proto::plugin::grpc_controller_client::GrpcControllerClient;
use metal_proto::tfplugin6 as pb;
use serde_json::Value as Json;

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
