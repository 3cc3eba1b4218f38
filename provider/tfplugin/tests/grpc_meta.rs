//! `provider_meta` as a host sees it: declared, handed over, checked, and not missed by hosts that say nothing.

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
use prost::Message as _;
use serde_json::{Value as Json, json};
use value::pack;

/// Reads all things for a module that says this of itself; what the provider says, and what it wrote down.
async fn read(host: &mut Host, meta: Option<pb::DynamicValue>) -> (String, String) {
    let request = pb::read_data_source::Request {
        type_name: "toy_things".to_owned(),
        config: pack(&json!({})),
        provider_meta: meta,
        ..Default::default()
    };
    let answer = host.provider.read_data_source(request).await;
    let log = host.things.path().join("modules.log");
    let written = std::fs::read_to_string(&log).unwrap_or_default();
    let _ = std::fs::remove_file(log);
    (told(&answer.unwrap().into_inner().diagnostics), written)
}

#[tokio::test]
async fn it_is_declared() {
    let mut host = Host::start().await;
    let request = pb::get_provider_schema::Request {};
    let schemas = host.provider.get_provider_schema(request).await.unwrap();
    let block = schemas.into_inner().provider_meta.unwrap().block.unwrap();
    let names: Vec<_> = block.attributes.iter().map(|a| &*a.name).collect();
    assert_eq!(names, ["module"]);
}

#[tokio::test]
async fn it_is_handed_over_and_checked() {
    let mut host = Host::start().await;
    let nothing = (String::new(), String::new());
    assert_eq!(read(&mut host, None).await, nothing);
    assert_eq!(read(&mut host, pack(&Json::Null)).await, nothing);
    assert_eq!(
        read(&mut host, pack(&json!({ "module": null }))).await,
        nothing
    );
    assert_eq!(
        read(&mut host, pack(&json!({ "module": "nursery" }))).await,
        (String::new(), "read by nursery\n".to_owned())
    );
    let (said, written) = read(&mut host, pack(&json!({ "module": "A B" }))).await;
    insta::assert_snapshot!(said, @r#"error: Invalid attribute value: In the module's provider_meta block: `module` must be at most 20 lower-case letters, digits and hyphens, not starting with a hyphen: "A B" contains 'A'."#);
    assert_eq!(written, "");
    let (said, _) = read(&mut host, pack(&json!({ "module": 1, "other": true }))).await;
    assert!(said.contains("Message cannot be read"), "{said}");
}

/// prost writes and reads with the same file, so the numbers are said here a second time.
#[test]
fn fields_have_the_protocols_numbers() {
    let value = || Some(pb::DynamicValue::default());
    // The key of an empty message is its number, shifted, with wire type 2, and a length of 0.
    let check = |bytes: Vec<u8>, number: u8| assert_eq!(bytes, [number << 3 | 2, 0]);
    let read = pb::read_resource::Request {
        provider_meta: value(),
        ..Default::default()
    };
    check(read.encode_to_vec(), 4);
    let plan = pb::plan_resource_change::Request {
        provider_meta: value(),
        ..Default::default()
    };
    check(plan.encode_to_vec(), 6);
    let apply = pb::apply_resource_change::Request {
        provider_meta: value(),
        ..Default::default()
    };
    check(apply.encode_to_vec(), 6);
    let data = pb::read_data_source::Request {
        provider_meta: value(),
        ..Default::default()
    };
    check(data.encode_to_vec(), 3);
    let schemas = pb::get_provider_schema::Response {
        provider_meta: Some(pb::Schema::default()),
        ..Default::default()
    };
    check(schemas.encode_to_vec(), 5);
}
