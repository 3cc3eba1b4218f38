//! Deferral as a host sees it. No command of a released Terraform or OpenTofu takes a deferred answer (`tests/terraform/deferral.rs` sees
//! to that on each of them), so these tests play the host that does, and beside it one that does not.

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
async fn only_hosts_that_can_wait_are_told_to() {
    let mut host = Host::start().await;
    let config = json!({ "name": "a", "waits_for": "b" });
    let new = Known::default();
    let waits = host.plan_as(Can::Defer, MARK, &new, &config).await;
    assert_eq!((waits.deferred, &*waits.said), (Some(3), ""));
    let refused = host.plan(MARK, &new, &config).await;
    assert_eq!(refused.deferred, None);
    insta::assert_snapshot!(refused.said, @"error: Not known yet: This has to wait: something that it needs does not exist yet, and this host cannot defer it to a later run. / Hint: apply what it depends on first, for example with -target, then run the same command again");
    host.make(MARK, &new, &json!({ "name": "b" })).await;
    assert_eq!(
        host.plan_as(Can::Defer, MARK, &new, &config).await.deferred,
        None
    );

    let patient = json!({ "name": "patient", "text": UNKNOWN });
    let waits = host.plan_as(Can::Defer, MARK, &new, &patient).await;
    assert_eq!(
        (waits.deferred, &waits.state["length"]),
        (Some(1), &UNKNOWN.into())
    );

    // A refresh that waits keeps what the state has; elsewhere it reads.
    let made = host
        .make(MARK, &new, &json!({ "name": "a", "drawer": "later" }))
        .await;
    std::fs::write(host.things.path().join("later.a.mark"), "news").unwrap();
    let waits = host.refresh(Can::Defer, MARK, &made).await;
    assert_eq!(
        (waits.deferred, &waits.state, &waits.identity),
        (Some(3), &made.state, &made.identity)
    );
    let read = host.refresh(Can::Much, MARK, &made).await;
    assert_eq!((read.deferred, &read.state["text"]), (None, &"news".into()));
}

#[tokio::test]
async fn everything_waits_for_the_provider_block() {
    for (can, reason) in [(true, Some(2)), (false, None)] {
        let mut host = Host::unconfigured().await;
        let request = pb::configure_provider::Request {
            config: value::pack(&json!({ "directory": UNKNOWN })),
            client_capabilities: Some(pb::ClientCapabilities {
                deferral_allowed: can,
                ..Default::default()
            }),
            ..Default::default()
        };
        let said = host.provider.configure_provider(request).await.unwrap();
        assert_eq!(said.into_inner().diagnostics, vec![]);
        let can = if can { Can::Defer } else { Can::Much };
        let planned = host
            .plan_as(can, MARK, &Known::default(), &json!({ "name": "a" }))
            .await;
        assert_eq!(planned.deferred, reason);
        let stored = Known {
            state: json!({ "name": "a", "drawer": "main" }),
            ..Known::default()
        };
        let read = host.refresh(can, MARK, &stored).await;
        let imported = host.import(can, MARK, "a", &Json::Null).await;
        if reason.is_some() {
            assert_eq!(
                (read.deferred, read.state["name"].as_str()),
                (reason, Some("a"))
            );
            assert_eq!(
                (imported.deferred, imported.state),
                (reason, UNKNOWN.into())
            );
        } else {
            assert!(
                read.said.contains("Provider not configured"),
                "{}",
                read.said
            );
            assert!(
                imported.said.contains("Provider not configured"),
                "{}",
                imported.said
            );
        }
        let request = pb::read_data_source::Request {
            type_name: "toy_things".to_owned(),
            config: value::pack(&json!({})),
            provider_meta: None,
            client_capabilities: Some(pb::ClientCapabilities {
                deferral_allowed: reason.is_some(),
                ..Default::default()
            }),
        };
        let answer = host
            .provider
            .read_data_source(request)
            .await
            .unwrap()
            .into_inner();
        let ids = value::unpack(answer.state.as_ref())["ids"].clone();
        assert_eq!(answer.deferred.map(|d| d.reason), reason);
        assert_eq!(
            ids,
            if reason.is_some() {
                json!(UNKNOWN)
            } else {
                json!([])
            }
        );
    }
}
