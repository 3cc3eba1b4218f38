//! What the jobs do without a node.

use bootd_core::secret::Secret;

use super::super::state::contract;
use super::*;
use crate::store::{Mode, Registration, Seal};

async fn jobs(dir: &tempfile::TempDir) -> Jobs {
    let url = Store::default_url(dir.path());
    let registration = Registration::new(Mode::Declared);
    let store = Store::open(&url, Seal::new(&[1; 32]), registration);
    Jobs::new(
        store.await.unwrap(),
        Settings {
            ca_pem: String::new(),
            events: "127.0.0.1:1".parse().unwrap(),
            kernel_log: "127.0.0.1:2".parse().unwrap(),
            port: 50000,
            egress: vec![],
            patience: Duration::from_secs(60),
        },
    )
}

async fn put<S: serde::Serialize>(jobs: &Jobs, kind: Kind, name: &str, config: Vec<u8>, s: &S) {
    let mut doc = Doc::new(name, config);
    set_status(&mut doc, s);
    doc.sealed = Some(Secret::new(b"sealed".to_vec()));
    jobs.store.put_doc(kind, &doc).await.unwrap();
}

#[tokio::test]
async fn deleted_secrets_go_after_their_term_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = jobs(&dir).await;
    let day = Duration::from_secs(24 * 3600);
    let deleted = Timestamp(1_000_000);
    for (name, deleted_at) in [
        ("kept", None),
        ("gone", Some(deleted)),
        ("used", Some(deleted)),
    ] {
        let state = SecretsState {
            deleted_at,
            ..SecretsState::default()
        };
        put(&jobs, Kind::Secrets, name, vec![], &state).await;
    }
    let facts = pb::ClusterFacts {
        secrets_id: "used".into(),
        ..Default::default()
    };
    let node = pb::NodeConfig {
        cluster: Some(facts),
        ..Default::default()
    };
    let config = node.encode_to_vec();
    put(&jobs, Kind::Node, "lab/a", config, &NodeState::default()).await;
    let names = async || {
        let docs = jobs.store.docs(Kind::Secrets).await.unwrap();
        docs.into_iter().map(|d| d.name).collect::<Vec<_>>()
    };
    jobs.purge(deleted + day * 29).await.unwrap();
    assert_eq!(names().await, ["gone", "kept", "used"]);
    jobs.purge(deleted + day * 30).await.unwrap();
    assert_eq!(names().await, ["kept", "used"]);
    jobs.store.drop_doc(Kind::Node, "lab/a").await.unwrap();
    jobs.purge(deleted + day * 30).await.unwrap();
    assert_eq!(names().await, ["kept"]);
}

#[tokio::test]
async fn what_a_node_runs_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = jobs(&dir).await;
    let state = NodeState {
        made_for: "b1#1".into(),
        ..NodeState::default()
    };
    put(&jobs, Kind::Node, "lab/a", vec![1], &state).await;
    jobs.runs("lab/a", "v1.13.9").await;
    let doc = jobs.store.doc(Kind::Node, "lab/a").await.unwrap().unwrap();
    let now: NodeState = status(&doc);
    assert_eq!(
        (now.version.as_str(), now.made_for.as_str()),
        ("v1.13.9", "b1#1")
    );
    assert_eq!(doc.config, [1]);
}

#[tokio::test]
async fn a_machine_cannot_send_us_where_it_likes() {
    let dir = tempfile::tempdir().unwrap();
    let mut jobs = jobs(&dir).await;
    let bmc = pb::ServerConfig {
        name: "b2".into(),
        mac: "52:54:00:00:00:02".into(),
        bmc: Some(pb::Bmc {
            address: "10.0.8.2".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let identity = crate::store::Identity {
        serial: Some("S2".into()),
        ..Default::default()
    };
    let declared = jobs.store.declare(&bmc, identity, None, |_, _| {});
    declared.await.unwrap();
    let bundle = jobs.sample(contract("v1.13.9").unwrap()).await.unwrap();
    let refusal = async |jobs: &Jobs, address: &str| {
        let client = jobs.client(&bundle, address.parse().unwrap()).await;
        client.err().map(|e| e.to_string()).unwrap_or_default()
    };
    for own in ["127.0.0.1", "169.254.169.254", "::1"] {
        let said = refusal(&jobs, own).await;
        assert!(
            said.contains("need an entry in [egress] allow"),
            "{own}: {said}"
        );
    }
    let said = refusal(&jobs, "10.0.8.2").await;
    assert!(said.contains("the BMC of b2 is there"), "{said}");
    assert_eq!(refusal(&jobs, "10.0.0.21").await, "");
    jobs.settings.egress = vec!["127.0.0.0/8".parse().unwrap()];
    assert_eq!(refusal(&jobs, "127.0.3.1").await, "");
}
