//! List resources as a host asks for them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
mod toy;
#[path = "toy/value.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod value;

use host::{Host, told};
use metal_proto::tfplugin6 as pb;
use serde_json::{Value as Json, json};
use value::{pack, set, unpack};

fn request(config: &Json, limit: i64, objects: bool) -> pb::list_resource::Request {
    pb::list_resource::Request {
        type_name: "toy_mark".to_owned(),
        config: pack(config),
        include_resource_object: objects,
        limit,
    }
}

/// Every event, one a line.
async fn list(host: &mut Host, request: pb::list_resource::Request) -> String {
    let mut events = host
        .provider
        .list_resource(request)
        .await
        .unwrap()
        .into_inner();
    let mut lines = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        let identity = unpack(event.identity.and_then(|i| i.identity_data).as_ref());
        let object = set(unpack(event.resource_object.as_ref()));
        let said = told(&event.diagnostic);
        let line = format!("{} {identity} {object} {said}", event.display_name);
        lines.push(line.trim().to_owned());
    }
    lines.join("\n")
}

impl Host {
    fn mark(&self, name: &str, text: &str) {
        std::fs::write(self.things.path().join(name), text).unwrap();
    }
}

#[tokio::test]
async fn lists_are_declared_and_checked() {
    let mut host = Host::start().await;
    let schemas = host
        .provider
        .get_provider_schema(pb::get_provider_schema::Request {})
        .await;
    let schemas = schemas.unwrap().into_inner();
    let block = schemas.list_resource_schemas["toy_mark"]
        .block
        .clone()
        .unwrap();
    let attributes: Vec<_> = block
        .attributes
        .iter()
        .map(|a| (a.name.as_str(), a.optional, a.computed))
        .collect();
    // Nothing is computed in a list block, defaults or not.
    assert_eq!(
        attributes,
        [("drawer", true, false), ("prefix", true, false)]
    );
    let mut check = async |config: Json| {
        let request = pb::validate_list_resource_config::Request {
            type_name: "toy_mark".to_owned(),
            config: pack(&config),
            include_resource_object: pack(&json!(true)),
            limit: pack(&json!(10)),
        };
        let answer = host.provider.validate_list_resource_config(request).await;
        told(&answer.unwrap().into_inner().diagnostics)
    };
    assert_eq!(check(json!({ "drawer": value::UNKNOWN })).await, "");
    insta::assert_snapshot!(check(json!({ "drawer": "A b" })).await, @r#"error: Invalid attribute value: `drawer` must be at most 20 lower-case letters, digits and hyphens, not starting with a hyphen: "A b" contains 'A'. Some(AttributeName("drawer"))"#);
    insta::assert_snapshot!(check(json!({ "drawer": "thing" })).await, @r#"error: Things are no marks: The drawer of things is not listed. / Hint: use the data source toy_things Some(AttributeName("drawer"))"#);
}

#[tokio::test]
async fn what_exists_is_listed() {
    let mut host = Host::start().await;
    for name in [
        "main.b.mark",
        "main.a.mark",
        "main.odd.mark",
        "attic.c.mark",
    ] {
        host.mark(name, name);
    }
    insta::assert_snapshot!(list(&mut host, request(&json!({}), 100, false)).await, @r#"
    a in main {"drawer":"main","name":"a"} null
    b in main {"drawer":"main","name":"b"} null
    odd in main {"drawer":"main","name":"odd"} null warning: Odd mark: odd looks odd.
    "#);
    // Objects that the list does not have itself are looked up.
    let attic = json!({ "drawer": "attic" });
    insta::assert_snapshot!(list(&mut host, request(&attic, 100, true)).await, @r#"c in attic {"drawer":"attic","name":"c"} {"drawer":"attic","length":12,"name":"c","text":"attic.c.mark"}"#);
    assert_eq!(
        list(&mut host, request(&json!({ "prefix": "z" }), 100, true)).await,
        ""
    );
}

#[tokio::test]
async fn lists_end_at_the_limit() {
    let mut host = Host::start().await;
    for i in 0..200 {
        host.mark(&format!("main.m{i:03}.mark"), "");
    }
    for (limit, expected) in [(1, 1), (150, 150), (500, 200), (0, 200)] {
        let listed = list(&mut host, request(&json!({}), limit, false)).await;
        assert_eq!(listed.lines().count(), expected, "limit {limit}");
    }
    // A host that hangs up early is no reason for anything.
    let mut events = host
        .provider
        .list_resource(request(&json!({}), 500, false))
        .await
        .unwrap()
        .into_inner();
    assert!(events.message().await.unwrap().is_some());
    drop(events);
    let listed = list(&mut host, request(&json!({}), 3, false)).await;
    assert_eq!(listed.lines().count(), 3);
}

#[tokio::test]
async fn failures_come_after_what_was_found() {
    let mut host = Host::start().await;
    let locked = json!({ "drawer": "locked" });
    insta::assert_snapshot!(list(&mut host, request(&locked, 9, false)).await, @"null null error: Drawer locked: Nobody has the key. / Hint: look into another drawer");
    host.mark("main.a.mark", "");
    host.mark("main.panic.mark", "");
    insta::assert_snapshot!(list(&mut host, request(&json!({}), 9, false)).await, @r#"
    a in main {"drawer":"main","name":"a"} null
    null null error: Provider mistake: The provider panicked in this operation; what it had kept before is in the state. / Hint: this is not caused by the configuration; report it to the provider's developers
    "#);
    // One that is gone when it is looked up does not end the list.
    let mut unknown = request(&json!({}), 9, false);
    unknown.type_name = "toy_thing".to_owned();
    insta::assert_snapshot!(list(&mut host, unknown).await, @"null null error: Unknown type: This provider has no list resource `toy_thing`. / Hint: run terraform init -upgrade; the state may come from another version of the provider");
}
