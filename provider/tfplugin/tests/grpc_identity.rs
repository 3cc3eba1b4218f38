//! Identity as a host sees it: told, kept, imported by, upgraded.

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

use host::Host;
use life::{Can, Known};
use metal_proto::tfplugin6 as pb;
use serde_json::{Value as Json, json};
use value::UNKNOWN;

const MARK: &str = "toy_mark";

#[tokio::test]
async fn identities_are_declared() {
    let mut host = Host::start().await;
    let request = pb::get_resource_identity_schemas::Request {};
    let answer = host.provider.get_resource_identity_schemas(request).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(answer.diagnostics, vec![]);
    let names: Vec<_> = answer.identity_schemas.keys().collect();
    assert_eq!(names, [MARK]);
    let identity = &answer.identity_schemas[MARK];
    let attributes: Vec<_> = identity
        .identity_attributes
        .iter()
        .map(|a| {
            let ty = String::from_utf8_lossy(&a.r#type);
            (
                a.name.as_str(),
                ty,
                a.required_for_import,
                a.optional_for_import,
            )
        })
        .collect();
    let text = || "\"string\"".into();
    assert_eq!(identity.version, 1);
    assert_eq!(
        attributes,
        [
            ("name", text(), true, false),
            ("drawer", text(), false, true)
        ]
    );
}

#[tokio::test]
async fn every_answer_has_the_identity() {
    let mut host = Host::start().await;
    let config = json!({ "name": "a", "text": "hello" });
    let identity = json!({ "name": "a", "drawer": "main" });
    let planned = host.plan(MARK, &Known::default(), &config).await;
    assert_eq!((&planned.identity, &*planned.said), (&identity, ""));
    let made = host.apply(MARK, &Known::default(), &planned, &config).await;
    assert_eq!((&made.identity, &*made.said), (&identity, ""));
    let read = host.refresh(Can::Much, MARK, &made).await;
    assert_eq!(read, made);
    // An update in place keeps it.
    let longer = json!({ "name": "a", "text": "hello again" });
    let changed = host.make(MARK, &read, &longer).await;
    assert_eq!(changed.identity, identity);
    // A replacement has another one; what is not known yet may be unknown.
    let renamed = host.plan(MARK, &changed, &json!({ "name": "b" })).await;
    assert_eq!(renamed.replace, ["name"]);
    assert_eq!(renamed.identity, json!({ "name": "b", "drawer": "main" }));
    let later = host
        .plan(MARK, &Known::default(), &json!({ "name": UNKNOWN }))
        .await;
    assert_eq!(later.identity, json!({ "name": UNKNOWN, "drawer": "main" }));
    // A deletion has none, and nothing is left of it.
    let gone = host.plan(MARK, &changed, &Json::Null).await;
    assert_eq!((&gone.state, &gone.identity), (&Json::Null, &Json::Null));
    let gone = host.apply(MARK, &changed, &gone, &Json::Null).await;
    assert_eq!(
        (gone.state, gone.identity, host.files()),
        (Json::Null, Json::Null, vec![])
    );
}

#[tokio::test]
async fn another_resource_in_its_place_is_no_drift() {
    let mut host = Host::start().await;
    let made = host
        .make(MARK, &Known::default(), &json!({ "name": "a" }))
        .await;
    std::fs::write(host.things.path().join("main.a.mark"), "-> b").unwrap();
    let read = host.refresh(Can::Much, MARK, &made).await;
    insta::assert_snapshot!(read.said, @r#"error: Another resource in its place: The state is about the resource with `name` "a", and what was read has "b". / Hint: remove the resource from the state and import the one that is meant"#);
    assert_eq!(read.identity, made.identity);
    // A host without identities sees what it always saw: drift.
    let old = Known {
        identity: Json::Null,
        ..made
    };
    let read = host.refresh(Can::Much, MARK, &old).await;
    assert_eq!((&read.state["name"], &*read.said), (&"b".into(), ""));
}

#[tokio::test]
async fn imports_go_by_identity_or_id() {
    let mut host = Host::start().await;
    std::fs::write(host.things.path().join("attic.a.mark"), "x").unwrap();
    let whole = json!({ "name": "a", "drawer": "attic" });
    let by_identity = host.import(Can::Much, MARK, "", &whole).await;
    let by_id = host.import(Can::Much, MARK, "attic/a", &Json::Null).await;
    assert_eq!(by_identity, by_id);
    assert_eq!((&by_id.identity, &*by_id.said), (&whole, ""));
    let read = host.refresh(Can::Much, MARK, &by_id).await;
    assert_eq!((&read.state["text"], &read.identity), (&"x".into(), &whole));
    // Where the optional part is left out, the answer has it.
    host.make(MARK, &Known::default(), &json!({ "name": "m" }))
        .await;
    let short = json!({ "name": "m", "drawer": null });
    let imported = host.import(Can::Much, MARK, "", &short).await;
    assert_eq!(imported.identity, json!({ "name": "m", "drawer": "main" }));
    let missing = host
        .import(Can::Much, MARK, "", &json!({ "name": "no" }))
        .await;
    assert_eq!(missing.state, Json::Null);
    assert!(
        missing.said.starts_with("error: No such mark: "),
        "{}",
        missing.said
    );
    let none = host
        .import(Can::Much, "toy_thing", "a", &json!({ "name": "a" }))
        .await;
    assert!(
        none.said.starts_with("error: No such thing"),
        "an unknown identity is no identity: {}",
        none.said
    );
}

async fn upgrade(host: &mut Host, version: i64, text: &str) -> (Json, String) {
    let request = pb::upgrade_resource_identity::Request {
        type_name: MARK.to_owned(),
        version,
        raw_identity: Some(pb::RawState {
            json: text.as_bytes().to_vec(),
            ..Default::default()
        }),
    };
    let answer = host.provider.upgrade_resource_identity(request).await;
    let answer = answer.unwrap().into_inner();
    let data = answer.upgraded_identity.and_then(|i| i.identity_data);
    (
        value::unpack(data.as_ref()),
        host::told(&answer.diagnostics),
    )
}

#[tokio::test]
async fn old_identities_are_upgraded() {
    let mut host = Host::start().await;
    let today = json!({ "name": "a", "drawer": "main" });
    let (identity, said) = upgrade(&mut host, 0, r#"{"title":"a"}"#).await;
    assert_eq!((identity, &*said), (today.clone(), ""));
    let (identity, said) = upgrade(&mut host, 1, &today.to_string()).await;
    assert_eq!((identity, &*said), (today, ""));
    for (version, text, summary) in [
        (2, "{}", "error: Identity is too new: "),
        (-1, "{}", "error: Identity is too old: "),
        (0, "{\"title\":[]}", "error: Identity cannot be read: "),
        (1, "[", "error: Identity cannot be read: "),
        (0, "", "error: Identity cannot be read: "),
    ] {
        let (identity, said) = upgrade(&mut host, version, text).await;
        assert_eq!(identity, Json::Null);
        assert!(said.starts_with(summary), "{version} {text}: {said}");
    }
}
