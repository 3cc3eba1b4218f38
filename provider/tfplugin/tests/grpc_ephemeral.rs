//! Ephemeral resources of the toy as a host opens, renews and closes them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
mod toy;

use std::time::{Duration, Instant, SystemTime};

use host::{Host, holds, json, msgpack, told, unnamed};
use metal_proto::tfplugin6 as pb;
use serde_json::{Value as Json, json as js};

type Opening = pb::open_ephemeral_resource::Response;
type Renewal = pb::renew_ephemeral_resource::Response;

/// The attributes of a ticket besides its name.
const OTHERS: [&str; 5] = ["length", "mode", "renew_every", "timeouts", "token"];

async fn open(host: &mut Host, config: &Json) -> Opening {
    let request = pb::open_ephemeral_resource::Request {
        type_name: "toy_ticket".into(),
        config: json(config),
        client_capabilities: None,
    };
    let answer = host.provider.open_ephemeral_resource(request).await;
    answer.unwrap().into_inner()
}

async fn renew(host: &mut Host, private: Option<Vec<u8>>) -> Renewal {
    let request = pb::renew_ephemeral_resource::Request {
        type_name: "toy_ticket".into(),
        private,
    };
    let answer = host.provider.renew_ephemeral_resource(request).await;
    answer.unwrap().into_inner()
}

async fn close(host: &mut Host, private: Option<Vec<u8>>) -> String {
    let request = pb::close_ephemeral_resource::Request {
        type_name: "toy_ticket".into(),
        private,
    };
    let answer = host.provider.close_ephemeral_resource(request).await;
    told(&answer.unwrap().into_inner().diagnostics)
}

async fn validate(host: &mut Host, config: Option<pb::DynamicValue>) -> String {
    let request = pb::validate_ephemeral_resource_config::Request {
        type_name: "toy_ticket".into(),
        config,
    };
    let answer = host
        .provider
        .validate_ephemeral_resource_config(request)
        .await;
    told(&answer.unwrap().into_inner().diagnostics)
}

fn log(host: &Host) -> Vec<String> {
    let text = std::fs::read_to_string(host.things.path().join("tickets.log"));
    text.unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn seconds_from_now(at: Option<prost_types::Timestamp>) -> f64 {
    let at = SystemTime::try_from(at.unwrap()).unwrap();
    at.duration_since(SystemTime::now())
        .unwrap_or_default()
        .as_secs_f64()
}

#[tokio::test]
async fn a_life() {
    let mut host = Host::start().await;
    let h = &mut host;
    let config = js!({ "name": "a", "renew_every": "300s" });
    assert_eq!(validate(h, json(&config)).await, "");
    let opened = open(h, &config).await;
    assert_eq!(opened.diagnostics, vec![]);
    // The default applies, the token is there.
    assert!(holds(opened.result.as_ref().unwrap(), "tttttttt"));
    let due = seconds_from_now(opened.renew_at);
    assert!((290.0..=300.0).contains(&due), "{due}");
    assert_eq!(h.files(), ["a.ticket", "tickets.log"]);

    let renewed = renew(h, opened.private).await;
    assert_eq!(renewed.diagnostics, vec![]);
    assert!(seconds_from_now(renewed.renew_at) > 290.0);
    assert_eq!(close(h, renewed.private).await, "");
    assert_eq!(h.files(), ["tickets.log"]);
    assert_eq!(log(h), ["open a", "renew a", "close a"]);

    // Without a time there is no renewal.
    assert_eq!(open(h, &js!({ "name": "b" })).await.renew_at, None);
}

#[tokio::test]
async fn configurations_are_checked() {
    let mut host = Host::unconfigured().await;
    let h = &mut host;
    let config = js!({ "name": "B", "length": 3, "mode": "wild", "timeouts": { "open": "soon" } });
    insta::assert_snapshot!(validate(h, json(&config)).await);
    let nobody = validate(h, json(&js!({ "name": "nobody" }))).await;
    assert!(nobody.starts_with("error: Ticket for nobody"), "{nobody}");
    // {"name": unknown} is no mistake before it is known.
    let unknown = unnamed(&OTHERS);
    assert_eq!(validate(h, Some(unknown)).await, "");
}

#[tokio::test]
async fn what_a_failed_opening_made_is_closed() {
    let mut host = Host::start().await;
    let h = &mut host;
    for (mode, said) in [
        ("fail_late", "error: Ticket half made"),
        ("panic", "error: Provider mistake: The provider panicked"),
        (
            "lie",
            "error: Provider mistake: `name` was planned as \"x\" and came out as \"another\".",
        ),
    ] {
        let opened = open(h, &js!({ "name": "x", "mode": mode })).await;
        let text = told(&opened.diagnostics);
        assert!(text.starts_with(said), "{text}");
        assert_eq!((opened.private, opened.renew_at), (Some(vec![]), None));
        assert_eq!(h.files(), ["tickets.log"], "{mode}");
    }
    let pairs = ["open x", "close x"].repeat(3);
    assert_eq!(log(h), pairs);
}

#[tokio::test]
async fn failures_of_renewal_and_end_are_told() {
    let mut host = Host::start().await;
    let h = &mut host;
    let opened = open(h, &js!({ "name": "r", "mode": "fail_renew" })).await;
    let renewed = renew(h, opened.private.clone()).await;
    assert_eq!(renewed.renew_at, None);
    assert!(told(&renewed.diagnostics).starts_with("error: Ticket not renewed"));
    assert_eq!(renewed.private, opened.private);
    let opened = open(h, &js!({ "name": "c", "mode": "fail_close" })).await;
    let closed = close(h, opened.private).await;
    assert!(closed.starts_with("error: Ticket not closed"), "{closed}");
}

#[tokio::test]
async fn opening_ends_at_its_time_or_with_the_run_and_closing_does_not() {
    let mut host = Host::start().await;
    let h = &mut host;
    let late = js!({ "name": "late", "mode": "slow", "timeouts": { "open": "100ms" } });
    let text = told(&open(h, &late).await.diagnostics);
    assert!(
        text.contains("Operation timed out") && text.contains("timeouts.open"),
        "{text}"
    );
    assert_eq!(h.files(), ["tickets.log"]);

    let kept = open(h, &js!({ "name": "kept" })).await;
    let mut other = h.provider.clone();
    let slow = pb::open_ephemeral_resource::Request {
        type_name: "toy_ticket".into(),
        config: json(&js!({ "name": "slow", "mode": "slow" })),
        client_capabilities: None,
    };
    let begun = Instant::now();
    let stop = async {
        // Stops once the ticket exists.
        while !h.files().contains(&"slow.ticket".to_owned()) {
            tokio::task::yield_now().await;
        }
        h.stop().await;
    };
    let (answer, ()) = tokio::join!(other.open_ephemeral_resource(slow), stop);
    let text = told(&answer.unwrap().into_inner().diagnostics);
    assert!(text.starts_with("error: Operation cancelled"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    // Hosts close after the stop, and that works.
    assert_eq!(close(h, kept.private).await, "");
    assert_eq!(h.files(), ["tickets.log"]);
}

#[tokio::test]
async fn what_a_host_forgets_is_closed_at_the_end() {
    let mut host = Host::start().await;
    let h = &mut host;
    let closed = open(h, &js!({ "name": "closed" })).await;
    let forgotten = open(h, &js!({ "name": "forgotten" })).await;
    renew(h, forgotten.private).await;
    assert_eq!(close(h, closed.private).await, "");
    h.shut_down().await;
    let expected = [
        "open closed",
        "open forgotten",
        "renew forgotten",
        "close closed",
        "close forgotten",
    ];
    assert_eq!(log(h), expected);
    assert_eq!(h.files(), ["tickets.log"]);
}

#[tokio::test]
async fn hostile_requests_are_messages() {
    let mut host = Host::start().await;
    let h = &mut host;
    for bytes in [
        &[0xff][..],
        &[0x81, 0xa1, b'x', 1],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0x91, 1],
    ] {
        let request = pb::open_ephemeral_resource::Request {
            type_name: "toy_ticket".into(),
            config: Some(msgpack(bytes)),
            client_capabilities: None,
        };
        let answer = h.provider.open_ephemeral_resource(request).await.unwrap();
        let text = told(&answer.into_inner().diagnostics);
        assert!(text.starts_with("error: Message cannot be read"), "{text}");
    }
    // A host that opens too early.
    let unknown = unnamed(&OTHERS);
    let request = pb::open_ephemeral_resource::Request {
        type_name: "toy_ticket".into(),
        config: Some(unknown),
        client_capabilities: None,
    };
    let answer = h.provider.open_ephemeral_resource(request).await.unwrap();
    let text = told(&answer.into_inner().diagnostics);
    assert!(
        text.starts_with("error: Configuration is not known: `name` is unknown"),
        "{text}"
    );
    // No configuration, no private bytes, foreign private bytes, unknown types.
    assert!(!open(h, &Json::Null).await.diagnostics.is_empty());
    assert_eq!(renew(h, None).await.diagnostics, vec![]);
    assert_eq!(
        renew(h, Some(b"\xff".to_vec())).await.private,
        Some(b"\xff".to_vec())
    );
    assert_eq!(close(h, Some(b"[1,2]".to_vec())).await, "");
    let request = pb::close_ephemeral_resource::Request {
        type_name: "toy_thing".into(),
        private: None,
    };
    let answer = h.provider.close_ephemeral_resource(request).await.unwrap();
    let text = told(&answer.into_inner().diagnostics);
    assert!(
        text.contains("This provider has no ephemeral resource `toy_thing`."),
        "{text}"
    );
}
