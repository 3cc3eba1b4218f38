//! Talos's sinks as a node speaks to them: gRPC over plain HTTP/2, and JSON lines.

use metal_proto::talos::events::EventRequest;
use metal_proto::talos::events::event_sink_service_client::EventSinkServiceClient;
use metal_proto::talos::machine::{SequenceEvent, TaskEvent};
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::fixture::{Site, Store};

const BOOT_STARTS: &str = "dc0i7rf654u000fs0780";
const NEXT: &str = "dc0i7rf654u000fs078g";

fn event(id: &str, kind: &str, value: Vec<u8>) -> EventRequest {
    EventRequest {
        data: Some(prost_types::Any {
            type_url: format!("type.googleapis.com/machine.{kind}"),
            value,
        }),
        id: id.to_owned(),
        actor_id: String::new(),
    }
}

#[tokio::test]
async fn events_are_stored_before_they_are_answered() {
    let site = Site::start().await;
    let endpoint = format!("http://{}", site.bound.events);
    let mut node = EventSinkServiceClient::connect(endpoint).await.unwrap();
    let initialize = SequenceEvent {
        sequence: "initialize".into(),
        action: 1,
        error: None,
    }
    .encode_to_vec();
    let start = event(BOOT_STARTS, "SequenceEvent", initialize);
    // The store is down: an error, so that the node sends it again.
    site.desk.set(|s| s.store = Store::Down);
    let status = node.publish(start.clone()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    site.desk.set(|s| s.store = Store::Up);
    node.publish(start.clone()).await.unwrap();
    node.publish(start).await.unwrap();
    let halt = TaskEvent {
        task: "haltIfInstalled token=abc".into(),
        action: 0,
    };
    node.publish(event(NEXT, "TaskEvent", halt.encode_to_vec()))
        .await
        .unwrap();
    insta::assert_snapshot!(site.desk.all().join("\n"), @r"
    turned away
    event 127.0.0.1 dc0i7rf654u000fs0780 sequence initialize started => Some(BootStarted)
    event 127.0.0.1 dc0i7rf654u000fs0780 sequence initialize started => None
    event 127.0.0.1 dc0i7rf654u000fs078g task haltIfInstalled token=*** started => None
    ");
    // What can never be stored is answered with success, or the node would send it for ever.
    node.publish(event("x", "TaskEvent", vec![0xff]))
        .await
        .unwrap();
    node.publish(event("", "TaskEvent", vec![])).await.unwrap();
    node.publish(EventRequest::default()).await.unwrap();
    assert_eq!(site.desk.all().len(), 4);
    drop(node);
    site.stop().await;
}

#[tokio::test]
async fn an_idle_node_does_not_keep_the_sink_from_stopping() {
    let site = Site::start().await;
    let _idle = TcpStream::connect(site.bound.events).await.unwrap();
    let _quiet = TcpStream::connect(site.bound.kernel_log).await.unwrap();
    let _held = TcpStream::connect(site.bound.http).await.unwrap();
    site.stop().await;
}

fn line(message: &str, priority: &str) -> String {
    let mut text = serde_json::json!({
        "clock": 1, "facility": "kern", "msg": format!("{message}\n"), "priority": priority, "seq": 1,
        "talos-level": "info", "talos-time": "2026-11-21T05:55:00Z",
    })
    .to_string();
    text.push('\n');
    text
}

#[tokio::test]
async fn the_kernel_log_tells_netboots_from_disks() {
    let site = Site::start().await;
    let mut node = TcpStream::connect(site.bound.kernel_log).await.unwrap();
    let mut text = line("Linux version 6.18", "notice");
    text += &line("Command line: initrd=talos.img metal.nonce=abc", "notice");
    text += "no json\n";
    text += &format!("{}\n", "x".repeat(40_000));
    text += &line("I/O error on sda, metal.token=abc", "err");
    text += &line(
        "Command line: BOOT_IMAGE=/A/vmlinuz talos.platform=metal",
        "notice",
    );
    node.write_all(text.as_bytes()).await.unwrap();
    site.desk.told("ours: false").await;
    insta::assert_snapshot!(site.desk.all().join("\n"), @r"
    fact r1-u1/7 CommandLine { ours: true }
    note r1-u1 console: I/O error on sda, metal.token=***
    fact r1-u1/7 CommandLine { ours: false }
    ");
    // An unknown address leaves no trace.
    let lookups = 4;
    site.desk.set(|s| {
        s.machine_at.clear();
        s.told.clear();
    });
    node.write_all(line("Command line: x", "notice").as_bytes())
        .await
        .unwrap();
    site.desk.looked_up(lookups).await;
    assert_eq!(site.desk.all(), Vec::<String>::new());
    site.stop().await;
}
