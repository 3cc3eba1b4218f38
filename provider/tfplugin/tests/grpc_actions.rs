//! Actions of the toy as a host plans and invokes them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
mod toy;

use std::time::{Duration, Instant};

use host::{Host, json, msgpack, told, unnamed};
use metal_proto::tfplugin6 as pb;
use pb::invoke_action::event::Type as Event;
use serde_json::{Value as Json, json as js};
use tonic::Streaming;

async fn started(
    host: &mut Host,
    config: Option<pb::DynamicValue>,
) -> Streaming<pb::invoke_action::Event> {
    let request = pb::invoke_action::Request {
        action_type: "toy_stamp".into(),
        config,
        client_capabilities: None,
    };
    host.provider
        .invoke_action(request)
        .await
        .unwrap()
        .into_inner()
}

/// Progress and, last, the messages.
async fn rest(mut events: Streaming<pb::invoke_action::Event>) -> (Vec<String>, String) {
    let (mut said, mut end) = (Vec::new(), None);
    while let Some(event) = events.message().await.unwrap() {
        assert!(end.is_none(), "nothing comes after the end");
        match event.r#type.unwrap() {
            Event::Progress(p) => said.push(p.message),
            Event::Completed(c) => end = Some(told(&c.diagnostics)),
        }
    }
    (said, end.unwrap())
}

async fn invoke(host: &mut Host, config: &Json) -> (Vec<String>, String) {
    let events = started(host, json(config)).await;
    rest(events).await
}

async fn validate(host: &mut Host, config: &Json) -> String {
    let request = pb::validate_action_config::Request {
        action_type: "toy_stamp".into(),
        config: json(config),
    };
    let answer = host.provider.validate_action_config(request).await;
    told(&answer.unwrap().into_inner().diagnostics)
}

async fn plan(host: &mut Host, config: Option<pb::DynamicValue>) -> String {
    let request = pb::plan_action::Request {
        action_type: "toy_stamp".into(),
        config,
        client_capabilities: None,
    };
    let answer = host.provider.plan_action(request).await;
    told(&answer.unwrap().into_inner().diagnostics)
}

#[tokio::test]
async fn progress_then_the_end() {
    let mut host = Host::start().await;
    let h = &mut host;
    let (said, end) = invoke(h, &js!({ "name": "a" })).await;
    assert_eq!(
        (said, end.as_str()),
        (vec!["step 1 of 2".to_owned(), "step 2 of 2".to_owned()], "")
    );
    assert_eq!(h.files(), ["a.stamp"]);
    // More than may wait at once.
    let (said, _) = invoke(h, &js!({ "name": "b", "steps": 100 })).await;
    assert_eq!((said.len(), said[99].as_str()), (100, "step 100 of 100"));
    let (_, end) = invoke(h, &js!({ "name": "c", "mode": "warn" })).await;
    assert_eq!(end.trim(), "warning: Ink is low: Hint: buy ink");
}

#[tokio::test]
async fn failures_keep_their_progress() {
    let mut host = Host::start().await;
    let h = &mut host;
    for (mode, expected) in [
        ("fail", "error: Stamp broke"),
        ("panic", "error: Provider mistake: The provider panicked"),
    ] {
        let (said, end) = invoke(h, &js!({ "name": "a", "mode": mode })).await;
        assert_eq!(said, ["step 1 of 2"]);
        assert!(end.starts_with(expected), "{end}");
    }
    let late = js!({ "name": "a", "mode": "slow", "timeouts": { "invoke": "100ms" } });
    let (_, end) = invoke(h, &late).await;
    assert!(
        end.contains("Operation timed out") && end.contains("timeouts.invoke"),
        "{end}"
    );
}

#[tokio::test]
async fn configurations_are_checked_as_they_become_known() {
    let mut host = Host::unconfigured().await;
    let h = &mut host;
    let wrong = js!({ "name": "B", "steps": 0, "mode": "wild" });
    insta::assert_snapshot!(validate(h, &wrong).await);
    assert!(
        validate(h, &js!({ "name": "nobody" }))
            .await
            .starts_with("error: Stamp for nobody")
    );
    assert_eq!(validate(h, &js!({ "name": "unstampable" })).await, "");
    let refused = plan(h, json(&js!({ "name": "unstampable" }))).await;
    assert!(
        refused.starts_with("error: Cannot be stamped: It would not work."),
        "{refused}"
    );
    // A name that was unknown at validate and is known in the plan.
    let refused = plan(h, json(&js!({ "name": "B" }))).await;
    assert!(refused.contains("Invalid attribute value"), "{refused}");
    let (_, refused) = invoke(h, &js!({ "name": "B" })).await;
    assert!(refused.contains("Invalid attribute value"), "{refused}");
    let unknown = unnamed(&["key_wo", "mode", "steps", "timeouts"]);
    assert_eq!(plan(h, Some(unknown.clone())).await, "");
    let (_, refused) = rest(started(h, Some(unknown)).await).await;
    assert!(
        refused.starts_with("error: Configuration is not known: `name` is unknown"),
        "{refused}"
    );
}

/// Waits until the toy has made a file.
async fn appears(host: &Host, file: &str) {
    let begun = Instant::now();
    while !host.files().contains(&file.to_owned()) {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{file} was not made"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_action_that_nobody_listens_to_ends() {
    let mut host = Host::start().await;
    let config = js!({ "name": "left", "mode": "slow" });
    let mut events = started(&mut host, json(&config)).await;
    assert!(matches!(
        events.message().await.unwrap().unwrap().r#type,
        Some(Event::Progress(_))
    ));
    drop(events);
    // Its last word: it was told, not cut off.
    appears(&host, "left.stopped").await;
}

#[tokio::test]
async fn actions_end_when_the_host_stops() {
    for mode in ["slow", "deaf"] {
        let mut host = Host::start().await;
        let config = js!({ "name": "s", "mode": mode });
        let mut events = started(&mut host, json(&config)).await;
        events.message().await.unwrap().unwrap();
        let begun = Instant::now();
        host.stop().await;
        let (_, end) = rest(events).await;
        assert!(end.starts_with("error: Operation cancelled"), "{end}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{mode}");
    }
}

#[tokio::test]
async fn hostile_requests_are_messages() {
    let mut host = Host::start().await;
    let h = &mut host;
    for bytes in [
        &[0xff][..],
        &[0x81, 0xa1, b'x', 1],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[7],
    ] {
        let (said, end) = rest(started(h, Some(msgpack(bytes))).await).await;
        assert_eq!(said, [""; 0]);
        assert!(end.starts_with("error: Message cannot be read"), "{end}");
        let planned = plan(h, Some(msgpack(bytes))).await;
        assert!(
            planned.starts_with("error: Message cannot be read"),
            "{planned}"
        );
    }
    let request = pb::invoke_action::Request {
        action_type: "toy_nothing".into(),
        config: None,
        client_capabilities: None,
    };
    let events = h
        .provider
        .invoke_action(request)
        .await
        .unwrap()
        .into_inner();
    let (_, end) = rest(events).await;
    assert!(
        end.contains("This provider has no action `toy_nothing`."),
        "{end}"
    );
    // No configuration at all.
    let (_, end) = rest(started(h, None).await).await;
    assert!(end.starts_with("error: "), "{end}");
}
