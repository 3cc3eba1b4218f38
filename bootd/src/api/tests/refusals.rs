//! What is refused before anything changes, and what is not waited for longer than its deadline.

use std::collections::BTreeSet;

use bootd_core::id::ClaimId;
use bootd_core::lifecycle::DiskId;

use super::*;
use crate::store::Kind;
use crate::talos::{ClusterState, set_status, status};

fn facts() -> pb::ClusterFacts {
    pb::ClusterFacts {
        name: "solo".into(),
        secrets_id: "solo".into(),
        endpoint: "https://10.0.0.10:6443".into(),
        kubernetes_version: "v1.36.3".into(),
        ..Default::default()
    }
}

async fn make_secrets(admin: &mut MetalClient<Channel>) {
    let words = pb::SecretsConfig {
        name: "solo".into(),
        talos_version: "v1.13.9".into(),
        deletion_protection: false,
    };
    admin.put_secrets(words).await.unwrap();
}

fn node(version: &str, serial: &str) -> pb::NodeConfig {
    pb::NodeConfig {
        cluster: Some(facts()),
        name: "cp".into(),
        role: pb::Role::Controlplane.into(),
        server_id: "b1".into(),
        image_id: format!("{}/{version}/amd64", "a".repeat(64)),
        install_disk: Some(pb::InstallDisk {
            serial: serial.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A claimed box, and secrets of its cluster.
async fn claimed() -> (Bench, MetalClient<Channel>) {
    let bench = Bench::new().await;
    bench.free_box("b1", "52:54:00:00:00:01", 16, true).await;
    let mut admin = bench.client("admin").await;
    class(&mut admin, 8).await;
    make_secrets(&mut admin).await;
    admin.put_claim(put(claim("solo/cp"), "")).await.unwrap();
    (bench, admin)
}

fn state(config: pb::NodeConfig) -> pb::PutNodeRequest {
    pb::PutNodeRequest {
        config: Some(config),
        expected_wipe_targets: vec![],
    }
}

/// The agent's boot is over and something was written; there is a second disk.
async fn write(bench: &Bench) {
    bench
        .store
        .change(&machine("b1"), |r, _| {
            r.machine.written = BTreeSet::from([DiskId("b1-D1".into())]);
            if let Some(report) = &mut r.machine.report {
                let second = Disk {
                    serial: "b1-D2".into(),
                    ..report.hardware.disks[0].clone()
                };
                report.hardware.disks.push(second);
            }
        })
        .await
        .unwrap();
}

async fn run(bench: &Bench) {
    let id = machine("b1");
    let record = bench.store.machine(&id).await.unwrap().unwrap();
    let running = Phase::Running(ClaimId("solo/cp".into()));
    let entered = bench
        .store
        .commit(&id, record.machine.epoch, running, &Reason::Installed);
    assert!(entered.await.unwrap());
}

/// The class of a change, and what the plan remarks.
async fn planned(
    admin: &mut MetalClient<Channel>,
    config: pb::NodeConfig,
) -> (pb::Change, Vec<pb::Remark>) {
    let asked = pb::PlanNodeRequest {
        config: Some(config),
        ..Default::default()
    };
    let plan = admin.plan_node(asked).await.unwrap().into_inner();
    (plan.change(), plan.remarks)
}

#[tokio::test]
async fn upgrades_and_reinstalls_are_refused_before_anything_changes() {
    let (bench, mut admin) = claimed().await;
    let old = node("v1.13.9", "b1-D1");
    admin.put_node(state(old.clone())).await.unwrap();
    // Not installed yet: another image is nothing special.
    let newer = node("v1.13.10", "b1-D1");
    admin.put_node(state(newer.clone())).await.unwrap();
    admin.put_node(state(old.clone())).await.unwrap();

    write(&bench).await;
    let other_disk = node("v1.13.9", "b1-D2");
    let refused = admin.put_node(state(other_disk.clone())).await.unwrap_err();
    assert_eq!(detail(&refused).reason, "reinstall-not-available");
    run(&bench).await;
    for (config, reason, attribute) in [
        (newer, "upgrade-not-available", "image_id"),
        (other_disk, "reinstall-not-available", "install_disk"),
    ] {
        let (_, remarks) = planned(&mut admin, config.clone()).await;
        let remark = &remarks[0];
        assert_eq!(remark.severity(), pb::remark::Severity::Error);
        assert_eq!(remark.what.as_ref().unwrap().reason, reason);
        let refused = admin.put_node(state(config)).await.unwrap_err();
        let told = detail(&refused);
        assert_eq!(
            (told.reason.as_str(), told.attribute.as_str()),
            (reason, attribute)
        );
        let kept = admin
            .read_node(named("solo/cp"))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(kept.config.as_ref(), Some(&old), "nothing changed");
    }
}

#[tokio::test]
async fn a_plan_says_what_a_change_costs() {
    let (bench, mut admin) = claimed().await;
    let old = node("v1.13.9", "b1-D1");
    admin.put_node(state(old.clone())).await.unwrap();
    write(&bench).await;
    run(&bench).await;
    // Other words for the same disk are no change, and what only a boot takes over is one.
    let mut same_disk = old.clone();
    same_disk.install_disk = Some(pb::InstallDisk {
        serial: "b1-D1".into(),
        r#type: "nvme".into(),
        ..Default::default()
    });
    assert_eq!(
        planned(&mut admin, same_disk).await,
        (pb::Change::None, vec![])
    );
    let mut patched = old.clone();
    patched.patches = vec!["machine: {env: {GRPC_GO_LOG_SEVERITY_LEVEL: info}}".into()];
    assert_eq!(
        planned(&mut admin, patched).await,
        (pb::Change::Reboot, vec![])
    );
    let mut contradicts = old.clone();
    contradicts.patches = vec!["cluster: {network: {podSubnets: [10.7.0.0/16]}}".into()];
    let (change, remarks) = planned(&mut admin, contradicts).await;
    assert_eq!(change, pb::Change::Reinstall);
    let told = remarks[0].what.as_ref().unwrap();
    assert!(
        told.detail.contains("v1alpha1 cluster.network.podSubnets"),
        "{told:?}"
    );
    assert_eq!(told.attribute, "patches");
    let mut labelled = old;
    labelled.labels.insert("tier".into(), "gold".into());
    let change = planned(&mut admin, labelled.clone()).await;
    assert_eq!(change, (pb::Change::Apply, vec![]));
    admin.put_node(state(labelled)).await.unwrap();
}

#[tokio::test]
async fn a_cluster_keeps_the_renderer_that_it_was_born_with() {
    let bench = Bench::new().await;
    bench.free_box("b1", "52:54:00:00:00:01", 16, true).await;
    let mut admin = bench.client("admin").await;
    class(&mut admin, 8).await;
    admin.put_claim(put(claim("solo/cp"), "")).await.unwrap();
    let mut config = node("v1.14.0", "b1-D1");
    let plan = |config: &pb::NodeConfig, contract: &str| pb::PlanNodeRequest {
        config: Some(config.clone()),
        planned_contract: contract.into(),
        ..Default::default()
    };
    // Secrets that this plan makes: their contract decides.
    let planned = admin.plan_node(plan(&config, "v1.14")).await;
    let planned = planned.unwrap().into_inner();
    assert_eq!(planned.remarks, vec![]);
    assert!(planned.rendered.contains("kind: UnattendedInstallConfig"));
    let words = pb::SecretsConfig {
        name: "solo".into(),
        talos_version: "v1.14.0".into(),
        deletion_protection: false,
    };
    let made = admin.put_secrets(words).await.unwrap().into_inner();
    assert_eq!((made.contract.as_str(), made.render_rev), ("v1.14", 2));
    let planned = admin.plan_node(plan(&config, "")).await.unwrap();
    assert_eq!(planned.into_inner().remarks, vec![]);
    // A revision that only a newer bootd has is not guessed.
    let mut doc = bench
        .store
        .doc(Kind::Secrets, "solo")
        .await
        .unwrap()
        .unwrap();
    let mut state: crate::talos::SecretsState = status(&doc);
    state.render_rev = 3;
    set_status(&mut doc, &state);
    bench.store.put_doc(Kind::Secrets, &doc).await.unwrap();
    let refused = admin.plan_node(plan(&config, "")).await.unwrap_err();
    assert_eq!(detail(&refused).reason, "newer-renderer");
    // Every mistake of a statement is told in one plan.
    state.render_rev = 2;
    set_status(&mut doc, &state);
    bench.store.put_doc(Kind::Secrets, &doc).await.unwrap();
    config.network = Some(pb::Network {
        nameservers: vec!["dns".into()],
        vip: "everywhere".into(),
        time_servers: vec![],
    });
    let planned = admin.plan_node(plan(&config, "")).await.unwrap();
    let remarks = planned.into_inner().remarks;
    let at: Vec<&str> = remarks
        .iter()
        .filter_map(|r| Some(r.what.as_ref()?.attribute.as_str()))
        .collect();
    assert_eq!(at, ["network.vip", "network.nameservers[0]"]);
}

#[tokio::test]
async fn a_cluster_that_does_not_start_has_a_deadline() {
    let bench = Bench::new().await;
    let mut admin = bench.client("admin").await;
    make_secrets(&mut admin).await;
    let cluster = pb::ClusterConfig {
        facts: Some(facts()),
        ..Default::default()
    };
    admin.put_cluster(cluster.clone()).await.unwrap();
    let first = async |admin: &mut MetalClient<Channel>| {
        let subject = pb::watch_request::Subject::ClusterReady("solo".into());
        let request = pb::WatchRequest {
            subject: Some(subject),
        };
        let mut watch = admin.watch(request).await.unwrap().into_inner();
        watch.message().await.unwrap().unwrap().outcome
    };
    assert_eq!(first(&mut admin).await, None);
    let mut doc = bench
        .store
        .doc(Kind::Cluster, "solo")
        .await
        .unwrap()
        .unwrap();
    let mut state: ClusterState = status(&doc);
    state.asked_at = state.asked_at.map(|at| Timestamp(at.0 - 61_000));
    state.line = "waiting for a control plane to boot from its disk".to_owned();
    set_status(&mut doc, &state);
    bench.store.put_doc(Kind::Cluster, &doc).await.unwrap();
    let Some(pb::progress::Outcome::Failed(told)) = first(&mut admin).await else {
        panic!("it is waited for")
    };
    assert_eq!(told.reason, "stalled-cluster");
    assert!(
        told.detail.contains("solo: waiting for a control plane") && !told.hint.is_empty(),
        "{told:?}"
    );
    // The next apply asks again, and is waited for again.
    admin.put_cluster(cluster).await.unwrap();
    assert_eq!(first(&mut admin).await, None);
}

#[tokio::test]
async fn two_servers_do_not_share_a_bmc() {
    let bench = Bench::new().await;
    let mut admin = bench.client("admin").await;
    let with_bmc = |name: &str, mac: &str, port: u32| {
        let mut request = server(name, mac, true);
        request.config.as_mut().unwrap().bmc = Some(pb::Bmc {
            address: "10.0.8.1".into(),
            protocol: pb::BmcProtocol::Ipmi.into(),
            port,
            ..Default::default()
        });
        request
    };
    let first = with_bmc("b1", "52:54:00:00:00:01", 0);
    admin.put_server(first.clone()).await.unwrap();
    admin.put_server(first).await.unwrap();
    let second = with_bmc("b2", "52:54:00:00:00:02", 623);
    let refused = admin.put_server(second).await.unwrap_err();
    let told = detail(&refused);
    assert_eq!(
        (told.reason.as_str(), told.attribute.as_str()),
        ("bmc-taken", "bmc.address")
    );
    let other_port = with_bmc("b2", "52:54:00:00:00:02", 1623);
    admin.put_server(other_port).await.unwrap();
}
