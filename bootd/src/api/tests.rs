//! The API over real mTLS on loopback: roles, names as keys, one box for two claims.

mod ends;
mod refusals;

use std::sync::Arc;

use metal_proto::metal::v1 as pb;
use pb::metal_client::MetalClient;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use super::*;
use crate::authority::Authority;
use crate::images::Settings;
use crate::store::{Mode, Registration, Seal, now};
use bootd_core::id::Timestamp;
use bootd_core::lifecycle::{Disk, Hardware, Phase, Reason, Report};

struct Bench {
    store: Store,
    authority: Authority,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let url = Store::default_url(dir.path());
        let registration = Registration::new(Mode::Declared);
        let store = Store::open(&url, Seal::new(&[1; 32]), registration)
            .await
            .unwrap();
        let images = ImageCache::new(Settings {
            dir: dir.path().join("images"),
            factory: "http://127.0.0.1:9".into(),
            egress: vec![],
            bytes_max: 1,
            idle: std::time::Duration::from_secs(1),
        });
        let authority = Authority::new().unwrap();
        let jobs = Jobs::new(
            store.clone(),
            crate::talos::Settings {
                ca_pem: authority.pem.clone(),
                events: "127.0.0.1:1".parse().unwrap(),
                kernel_log: "127.0.0.1:2".parse().unwrap(),
                port: 50000,
                egress: vec![],
                patience: std::time::Duration::from_secs(60),
            },
        );
        let server = authority.server("127.0.0.1").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let config = tls::api(&authority.pem, &server.certificate, &server.key).unwrap();
        let connections = tls::incoming(listener, config, stop.clone());
        let api = Api::new(
            store.clone(),
            Arc::new(images.unwrap()),
            Arc::new(jobs),
            vec![],
        );
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(api.service())
                .serve_with_incoming(ReceiverStream::new(connections)),
        );
        Self {
            store,
            authority,
            address,
            stop,
            _dir: dir,
        }
    }

    async fn client(&self, role: &str) -> MetalClient<Channel> {
        let issued = self.authority.client("test", role, 1).unwrap();
        self.connect(&self.authority.pem, Some(issued))
            .await
            .unwrap()
    }

    async fn connect(
        &self,
        ca: &str,
        client: Option<crate::authority::Issued>,
    ) -> Result<MetalClient<Channel>, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        if let Some(client) = client {
            tls = tls.identity(Identity::from_pem(client.certificate, client.key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address))?;
        Ok(MetalClient::new(endpoint.tls_config(tls)?.connect().await?))
    }

    /// An accepted, inspected box at rest.
    async fn free_box(&self, name: &str, mac: &str, gib: u64, blank: bool) {
        let mut admin = self.client("admin").await;
        admin.put_server(server(name, mac, true)).await.unwrap();
        let id = machine(name);
        self.store
            .change(&id, |r, _| {
                r.machine.report = Some(Report {
                    at: now(),
                    epoch: r.machine.epoch,
                    hardware: Hardware {
                        memory_bytes: gib << 30,
                        disks: vec![Disk {
                            serial: format!("{name}-D1"),
                            blank,
                            signatures: if blank { vec![] } else { vec!["ext4".into()] },
                            bytes: 100 << 30,
                            kind: "nvme".into(),
                            fingerprint: "f".into(),
                            ..Disk::default()
                        }],
                        ..Hardware::default()
                    },
                });
            })
            .await
            .unwrap();
        let epoch = self
            .store
            .machine(&id)
            .await
            .unwrap()
            .unwrap()
            .machine
            .epoch;
        assert!(
            self.store
                .commit(&id, epoch, Phase::Available, &Reason::Inspected)
                .await
                .unwrap()
        );
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn server(name: &str, mac: &str, accepted: bool) -> pb::PutServerRequest {
    pb::PutServerRequest {
        config: Some(pb::ServerConfig {
            name: name.into(),
            mac: mac.into(),
            accepted,
            inspect: true,
            ..Default::default()
        }),
        bmc_password: String::new(),
    }
}

fn claim(name: &str) -> pb::ClaimConfig {
    pb::ClaimConfig {
        name: name.into(),
        server_class_id: "any".into(),
        ..Default::default()
    }
}

fn put(config: pb::ClaimConfig, expected: &str) -> pb::PutClaimRequest {
    pb::PutClaimRequest {
        config: Some(config),
        expected_server_id: expected.into(),
    }
}

fn detail(status: &Status) -> pb::ErrorDetail {
    pb::ErrorDetail::decode(status.details()).unwrap()
}

fn named(name: &str) -> pb::Named {
    pb::Named { name: name.into() }
}

async fn class(admin: &mut MetalClient<Channel>, least_gib: u64) {
    let memory = pb::Range {
        min: Some(least_gib << 30),
        max: None,
    };
    let config = pb::ClassConfig {
        name: "any".into(),
        r#match: Some(pb::Match {
            memory_bytes: Some(memory),
            ..Default::default()
        }),
        servers: vec![],
    };
    admin.put_class(config).await.unwrap();
}

#[tokio::test]
async fn roles_are_in_the_certificate_and_nobody_else_gets_in() {
    let bench = Bench::new().await;
    let denied = |r: Result<_, Status>| r.map(|_: Response<pb::Server>| ()).unwrap_err().code();
    let mut planner = bench.client("planner").await;
    planner
        .list_servers(pb::ListServersRequest::default())
        .await
        .unwrap();
    let put = server("b1", "52:54:00:00:00:01", true);
    assert_eq!(
        denied(planner.put_server(put.clone()).await),
        Code::PermissionDenied
    );
    let secret = planner
        .kubeconfig(pb::CredentialRequest::default())
        .await
        .unwrap_err();
    assert_eq!(secret.code(), Code::PermissionDenied);
    assert_eq!(detail(&secret).reason, "not-allowed");
    let mut nobody = bench.client("wizard").await;
    assert_eq!(denied(nobody.put_server(put).await), Code::PermissionDenied);

    // Without our CA's certificate the first call fails; with a foreign one too.
    let stranger = Authority::new().unwrap().client("x", "admin", 1).unwrap();
    for client in [None, Some(stranger)] {
        let pem = bench.authority.pem.clone();
        let refused = match bench.connect(&pem, client).await {
            Ok(mut c) => c.site(pb::SiteRequest::default()).await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
}

#[tokio::test]
async fn two_claims_want_the_last_box() {
    let bench = Bench::new().await;
    bench.free_box("b1", "52:54:00:00:00:01", 16, true).await;
    bench.free_box("b4", "52:54:00:00:00:04", 4, true).await;
    let mut admin = bench.client("admin").await;
    class(&mut admin, 8).await;
    let planned = admin
        .plan_claim(pb::PlanClaimRequest {
            config: Some(claim("solo/cp")),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((planned.server_id.as_str(), planned.free_before), ("b1", 1));
    let first = admin
        .put_claim(put(claim("solo/cp"), "b1"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((first.server_id.as_str(), first.generation), ("b1", 1));
    let again = admin
        .put_claim(put(claim("solo/cp"), ""))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first, "the name is the key");

    let short = admin
        .put_claim(put(claim("other/cp"), ""))
        .await
        .unwrap_err();
    assert_eq!(short.code(), Code::ResourceExhausted);
    insta::assert_snapshot!(detail(&short).detail, @"other/cp wants one of class any: 1 free; b1 is held by solo/cp; b4 fails memory 4 GiB < 8 GiB.");
    let remarks = admin
        .plan_claim(pb::PlanClaimRequest {
            config: Some(claim("other/cp")),
        })
        .await
        .unwrap()
        .into_inner()
        .remarks;
    assert_eq!(remarks[0].what.as_ref().unwrap().reason, "no-free-server");
    class(&mut admin, 1).await;
    let taken = admin
        .put_claim(put(claim("other/cp"), "b1"))
        .await
        .unwrap_err();
    assert_eq!(detail(&taken).reason, "planned-box-taken");
    assert!(detail(&taken).detail.contains("held by solo/cp"));

    let used = admin.delete_class(named("any")).await.unwrap_err();
    assert_eq!(detail(&used).reason, "class-used");
    let delete = pb::DeleteServerRequest {
        name: "b1".into(),
        force: true,
    };
    let claimed = admin.delete_server(delete).await.unwrap_err();
    assert_eq!(detail(&claimed).reason, "server-claimed");
}

#[tokio::test]
async fn a_box_with_somebodys_data_needs_a_word_on_wiping() {
    let bench = Bench::new().await;
    bench.free_box("b1", "52:54:00:00:00:01", 16, false).await;
    let mut admin = bench.client("admin").await;
    class(&mut admin, 8).await;
    let refused = admin
        .put_claim(put(claim("solo/cp"), ""))
        .await
        .unwrap_err();
    assert_eq!(detail(&refused).attribute, "wipe.disks");
    let mut words = claim("solo/cp");
    words.wipe = Some(pb::Wipe {
        method: pb::WipeMethod::Quick.into(),
        disks: Some(pb::WipeDisks {
            which: Some(pb::wipe_disks::Which::Written(true)),
        }),
    });
    admin.put_claim(put(words, "")).await.unwrap();
}

#[tokio::test]
async fn servers_are_recognised_refused_and_forgotten() {
    let bench = Bench::new().await;
    let mut admin = bench.client("admin").await;
    let wrong = admin
        .put_server(server("B 1", "52:54:00:00:00:01", true))
        .await
        .unwrap_err();
    assert_eq!(detail(&wrong).attribute, "name");
    let wrong = admin
        .put_server(server("b1", "52:54", true))
        .await
        .unwrap_err();
    assert_eq!(detail(&wrong).attribute, "mac");
    let mut hostile = server("b1", "52:54:00:00:00:01", true);
    if let Some(config) = &mut hostile.config {
        config.boot_args = vec!["talos.config=http://evil/".into()];
    }
    assert_eq!(
        detail(&admin.put_server(hostile).await.unwrap_err()).attribute,
        "boot_args"
    );
    let first = admin
        .put_server(server("b1", "52:54:00:00:00:01", true))
        .await
        .unwrap()
        .into_inner();
    let again = admin
        .put_server(server("b1", "52:54:00:00:00:01", true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first, again);
    let twin = admin
        .put_server(server("b2", "52:54:00:00:00:01", true))
        .await
        .unwrap_err();
    assert_eq!(detail(&twin).reason, "identity-taken");
    let gone = admin.read_server(named("b9")).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let delete = pb::DeleteServerRequest {
        name: "b1".into(),
        force: false,
    };
    admin.delete_server(delete.clone()).await.unwrap();
    admin.delete_server(delete).await.unwrap();
    assert_eq!(bench.store.machines().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_watch_ends_with_its_outcome_and_a_release_without_work_is_quick() {
    let bench = Bench::new().await;
    bench.free_box("b1", "52:54:00:00:00:01", 16, true).await;
    let mut admin = bench.client("admin").await;
    class(&mut admin, 8).await;
    admin.put_claim(put(claim("solo/cp"), "")).await.unwrap();
    let subject = pb::watch_request::Subject::ClaimReleased("solo/cp".into());
    let request = pb::WatchRequest {
        subject: Some(subject),
    };
    let mut watch = admin.watch(request).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().outcome.is_none());
    admin.release_claim(named("solo/cp")).await.unwrap();
    let m = bench
        .store
        .machine(&machine("b1"))
        .await
        .unwrap()
        .unwrap()
        .machine;
    let decision = bootd_core::lifecycle::decide(&m, Timestamp(u64::MAX / 2), &Default::default());
    let bootd_core::lifecycle::Decision::Enter(phase, reason) = decision else {
        panic!("{decision:?}")
    };
    assert!(
        bench
            .store
            .commit(&m.id, m.epoch, phase, &reason)
            .await
            .unwrap()
    );
    let mut last = None;
    while let Some(progress) = watch.message().await.unwrap() {
        last = progress.outcome;
    }
    assert!(
        matches!(last, Some(pb::progress::Outcome::Done(_))),
        "{last:?}"
    );
    admin.release_claim(named("solo/cp")).await.unwrap();
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn secrets_are_made_once_and_a_node_is_planned_and_bound() {
    let bench = Bench::new().await;
    bench.free_box("b1", "52:54:00:00:00:01", 16, true).await;
    let mut admin = bench.client("admin").await;
    class(&mut admin, 8).await;
    let words = pb::SecretsConfig {
        name: "solo".into(),
        talos_version: "v1.13.9".into(),
        deletion_protection: false,
    };
    let first = admin.put_secrets(words.clone()).await.unwrap().into_inner();
    assert_eq!(
        (first.contract.as_str(), first.fingerprint.len()),
        ("v1.13", 64)
    );
    assert_eq!(
        admin.put_secrets(words.clone()).await.unwrap().into_inner(),
        first
    );
    let later = pb::SecretsConfig {
        talos_version: "v1.12.0".into(),
        ..words
    };
    assert_eq!(
        detail(&admin.put_secrets(later).await.unwrap_err()).reason,
        "birth-version"
    );

    let node = pb::NodeConfig {
        cluster: Some(pb::ClusterFacts {
            name: "solo".into(),
            secrets_id: "solo".into(),
            endpoint: "https://10.0.0.10:6443".into(),
            kubernetes_version: "v1.36.3".into(),
            ..Default::default()
        }),
        name: "cp".into(),
        role: pb::Role::Controlplane.into(),
        server_id: "b1".into(),
        image_id: format!("{}/v1.13.9/amd64", "a".repeat(64)),
        ..Default::default()
    };
    let request = pb::PlanNodeRequest {
        config: Some(node.clone()),
        ..Default::default()
    };
    let plan = admin.plan_node(request.clone()).await.unwrap().into_inner();
    assert_eq!(
        plan.remarks[0].what.as_ref().unwrap().reason,
        "server-not-claimed"
    );
    admin.put_claim(put(claim("solo/cp"), "")).await.unwrap();
    let plan = admin.plan_node(request.clone()).await.unwrap().into_inner();
    assert!(plan.remarks.is_empty(), "{:?}", plan.remarks);
    assert_eq!(plan.change(), pb::Change::Install);
    assert_eq!(plan.wipe_targets[0].serial, "b1-D1");
    assert!(plan.rendered.contains("diskSelector") && !plan.rendered.contains("PRIVATE KEY"));

    let put_node = pb::PutNodeRequest {
        config: Some(node),
        expected_wipe_targets: plan.wipe_targets,
    };
    let bound = admin.put_node(put_node.clone()).await.unwrap().into_inner();
    assert_eq!((bound.claim.as_str(), bound.installed), ("solo/cp", false));
    let mut surprised = put_node;
    surprised.expected_wipe_targets[0].fingerprint = "other".into();
    let refused = admin.put_node(surprised).await.unwrap_err();
    assert_eq!(detail(&refused).reason, "wipe-targets-changed");
    assert_eq!(
        admin
            .plan_node(request.clone())
            .await
            .unwrap()
            .into_inner()
            .change(),
        pb::Change::None
    );
    admin.delete_node(named("solo/cp")).await.unwrap();
    // A tainted node is unbound and comes back: no second install, and the plan before and after says the same.
    let again = admin.plan_node(request.clone()).await.unwrap().into_inner();
    assert_eq!(again.change(), pb::Change::None);
    assert_eq!(
        admin.read_node(named("solo/cp")).await.unwrap_err().code(),
        Code::NotFound
    );
}
