//! States of another shape as a host hands them over: older, newer, foreign, huge, broken; and configurations made from states.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
#[path = "toy/life.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod life;
mod toy;
#[path = "toy/value.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod value;

use host::{Host, told};
use life::{Can, Known};
use metal_proto::tfplugin6 as pb;
use serde_json::{Value as Json, json};
use value::{set, unpack};

fn raw(text: String) -> Option<pb::RawState> {
    Some(pb::RawState {
        json: text.into_bytes(),
        ..Default::default()
    })
}

async fn upgrade(host: &mut Host, kind: &str, version: i64, text: String) -> (Json, String) {
    let request = pb::upgrade_resource_state::Request {
        type_name: kind.to_owned(),
        version,
        raw_state: raw(text),
    };
    let answer = host.provider.upgrade_resource_state(request).await;
    let answer = answer.unwrap().into_inner();
    (
        set(unpack(answer.upgraded_state.as_ref())),
        told(&answer.diagnostics),
    )
}

#[tokio::test]
async fn states_of_every_version_are_read() {
    let mut host = Host::start().await;
    let today = json!({ "name": "a", "drawer": "main", "text": "abc", "length": 3 });
    for (version, state) in [
        (0, json!({ "title": "a", "text": "abc" })),
        (1, json!({ "name": "a", "text": "abc" })),
        (2, today.clone()),
    ] {
        let (upgraded, said) = upgrade(&mut host, "toy_mark", version, state.to_string()).await;
        assert_eq!((upgraded, &*said), (today.clone(), ""), "version {version}");
    }
    // Blocks that a state does not have are empty, not null.
    let (rack, _) = upgrade(
        &mut host,
        "toy_rack",
        0,
        json!({ "shelf": [{ "name": "x" }] }).to_string(),
    )
    .await;
    assert_eq!(rack, json!({ "shelf": [{ "name": "x", "item": [] }] }));
    let (rack, _) = upgrade(&mut host, "toy_rack", 0, "{}".to_owned()).await;
    assert_eq!(rack, json!({ "shelf": [] }));
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let mut host = Host::start().await;
    let mut said = Vec::new();
    for (version, state) in [
        (3, r#"{"name":"a"}"#),
        (-1, "{}"),
        (2, r#"{"name":"a","text":{"x":1}}"#),
        (1, r#"{"name":["a"]}"#),
        (0, "{\"title\""),
        (2, "[]"),
        (2, "\u{fffd}"),
        (2, ""),
    ] {
        let (upgraded, text) = upgrade(&mut host, "toy_mark", version, state.to_owned()).await;
        assert_eq!(upgraded, Json::Null, "{version} {state}");
        said.push(text);
    }
    insta::assert_snapshot!(said.join("\n"));
    // A removed attribute is told of, and the rest is kept.
    let (kept, text) = upgrade(
        &mut host,
        "toy_mark",
        2,
        r#"{"name":"a","color":"red","old":null}"#.to_owned(),
    )
    .await;
    assert_eq!(kept, json!({ "name": "a" }));
    insta::assert_snapshot!(text, @"warning: Attribute no longer known: The stored state of `toy_mark` has `color`, which this version of the provider does not know; it is dropped when the state is next written. / Hint: if it is still needed, use the version of the provider that was used last");
    let deep = format!(
        r#"{{"name":{}"a"{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let (_, text) = upgrade(&mut host, "toy_mark", 2, deep).await;
    assert!(text.starts_with("error: State cannot be read"), "{text}");
}

/// 64 MiB is a state that no person made, and none that may end the provider.
#[tokio::test]
async fn huge_states_are_read_or_refused() {
    let mut host = Host::start().await;
    let huge = "x".repeat(64 << 20);
    let (state, said) = upgrade(
        &mut host,
        "toy_mark",
        0,
        format!(r#"{{"title":"a","text":"{huge}"}}"#),
    )
    .await;
    assert_eq!((&state["length"], &*said), (&(64 << 20).into(), ""));
    let (state, said) = upgrade(
        &mut host,
        "toy_mark",
        2,
        format!(r#"{{"name":["{huge}"]}}"#),
    )
    .await;
    assert_eq!(state, Json::Null);
    assert!(
        said.starts_with("error: State cannot be read") && said.len() < 500,
        "{}",
        said.len()
    );
    // And it goes on.
    let made = host
        .make("toy_mark", &Known::default(), &json!({ "name": "a" }))
        .await;
    assert_eq!(made.state["name"], "a");
}

fn source(
    provider: &str,
    kind: &str,
    version: i64,
    state: &Json,
) -> pb::move_resource_state::Request {
    pb::move_resource_state::Request {
        source_provider_address: provider.to_owned(),
        source_type_name: kind.to_owned(),
        source_schema_version: version,
        source_state: raw(state.to_string()),
        target_type_name: "toy_mark".to_owned(),
        source_private: b"not ours".to_vec(),
        ..Default::default()
    }
}

#[tokio::test]
async fn things_become_marks() {
    let mut host = Host::start().await;
    let capable = host
        .provider
        .get_metadata(pb::get_metadata::Request {})
        .await
        .unwrap();
    assert!(
        capable
            .into_inner()
            .server_capabilities
            .unwrap()
            .move_resource_state
    );
    let thing = host
        .make("toy_thing", &Known::default(), &json!({ "name": "a" }))
        .await;
    let request = source("example.com/test/toy", "toy_thing", 1, &thing.state);
    let answer = host
        .provider
        .move_resource_state(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.diagnostics, vec![]);
    let identity = answer.target_identity.and_then(|i| i.identity_data);
    let moved = Known {
        state: unpack(answer.target_state.as_ref()),
        identity: unpack(identity.as_ref()),
        private: answer.target_private,
        ..Known::default()
    };
    assert_eq!(moved.identity, json!({ "name": "a", "drawer": "thing" }));
    assert_eq!(moved.private, b"");
    let read = host.refresh(Can::Much, "toy_mark", &moved).await;
    assert_eq!(read.state["text"], r#"{"size":"1","revision":1}"#);
    // The same file in other words: nothing to do.
    let config =
        json!({ "name": "a", "drawer": "thing", "text": r#"{ "revision": 1, "size": "1" }"# });
    let planned = host.plan("toy_mark", &read, &config).await;
    assert_eq!(planned.state, read.state);
}

#[tokio::test]
async fn moves_from_elsewhere_are_refused() {
    let mut host = Host::start().await;
    let mut said = Vec::new();
    for (provider, kind, version) in [
        ("example.com/other/toy", "toy_thing", 1),
        ("example.com/test/toy", "toy_thing", 0),
        ("registry.terraform.io/hashicorp/null", "null_resource", 0),
    ] {
        let request = source(provider, kind, version, &json!({ "id": "a" }));
        let answer = host
            .provider
            .move_resource_state(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.target_state, None);
        said.push(told(&answer.diagnostics));
    }
    let request = source(
        "example.com/test/toy",
        "toy_thing",
        1,
        &json!({ "id": [1] }),
    );
    let answer = host
        .provider
        .move_resource_state(request)
        .await
        .unwrap()
        .into_inner();
    said.push(told(&answer.diagnostics));
    let mut request = source("example.com/test/toy", "toy_thing", 1, &Json::Null);
    request.target_type_name = "toy_rack".to_owned();
    let answer = host
        .provider
        .move_resource_state(request)
        .await
        .unwrap()
        .into_inner();
    said.push(told(&answer.diagnostics));
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test]
async fn configurations_are_made_from_states() {
    let mut host = Host::start().await;
    let config = json!({
        "name": "r", "height": 2, "front": "door", "keep": "1h",
        "stand": { "row": "x" },
        "shelf": [{ "name": "top", "depth": 30, "key_wo": "secret", "item": [{ "label": "a", "count": 1 }] }],
    });
    let made = host.make("toy_rack", &Known::default(), &config).await;
    let mut generate = async |state: &Json| {
        let request = pb::generate_resource_config::Request {
            type_name: "toy_rack".to_owned(),
            state: value::pack(state),
        };
        let answer = host.provider.generate_resource_config(request).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!(answer.diagnostics, vec![]);
        set(unpack(answer.config.as_ref()))
    };
    let short = json!({
        "name": "r", "height": 2, "front": "door", "keep": "1h",
        "stand": { "row": "x" },
        "shelf": [{ "name": "top", "item": [{ "label": "a" }] }],
    });
    assert_eq!(generate(&made.state).await, short);
    // Of what excludes one another, one is left.
    let mut both = made.state.clone();
    both["back"] = "wall".into();
    assert_eq!(generate(&both).await, short);
    // And it plans nothing.
    let planned = host.plan("toy_rack", &made, &short).await;
    assert_eq!((&planned.state, &*planned.said), (&made.state, ""));
    assert_eq!(host.validate("toy_rack", &short).await, "");
}
