//! A bootd in the test's process: the real API on a real mutually authenticated socket, with scripted behaviour behind it.
//!
//! It keeps what it is told and answers as the API documents; machines do at once what they are asked, unless a test says otherwise.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use metal_proto::metal::v1 as pb;
use pb::metal_server::{Metal, MetalServer};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::BoxStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};

mod world;

#[allow(unused_imports, reason = "each test program uses its part")]
pub(crate) use world::{Install, World, warning};

/// A running bootd. It ends with the value.
pub(crate) struct Bootd {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) bundle: PathBuf,
    /// The bundle's private key: it may be nowhere else.
    pub(crate) key: String,
    port: u16,
    tls: ServerTlsConfig,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Bootd {
    /// Starts one and writes its bundle below `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        let mut ca = CertificateParams::new(vec![]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec![name.to_owned()])
                .unwrap()
                .signed_by(&key, &ca)
                .unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        let (server, server_key) = issue("127.0.0.1");
        let (client, key) = issue("admin");
        let world = Arc::<Mutex<World>>::default();
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(&server, &server_key))
            .client_ca_root(Certificate::from_pem(ca.pem()));
        // Found once and used again after a restart; another process that takes it meanwhile shows as a failed bind.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let bundle = dir.join("admin.bundle");
        let text = format!(
            "endpoint = \"https://127.0.0.1:{port}\"\nca = '''{}'''\ncertificate = '''{client}'''\nkey = '''{key}'''\n",
            ca.pem()
        );
        std::fs::write(&bundle, text).unwrap();
        let mut bootd = Self {
            world,
            bundle,
            key,
            port,
            tls,
            runtime: None,
        };
        bootd.up();
        bootd
    }

    /// Serves, at the same address as before.
    pub(crate) fn up(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", self.port)))
            .unwrap();
        let service = MetalServer::new(Fake(Arc::clone(&self.world)));
        let tls = self.tls.clone();
        runtime.spawn(async move {
            Server::builder()
                .tls_config(tls)
                .unwrap()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        self.runtime = Some(runtime);
    }

    /// Goes down: connections break, and new ones are refused.
    pub(crate) fn down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(10));
        }
    }

    pub(crate) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap())
    }
}

struct Fake(Arc<Mutex<World>>);

type Answer<T> = Result<Response<T>, Status>;

fn refuse(code: Code, reason: &str, summary: &str, detail: &str, attribute: &str) -> Status {
    let told = pb::ErrorDetail {
        reason: reason.into(),
        summary: summary.into(),
        detail: detail.into(),
        hint: "look at `metalctl servers`".into(),
        attribute: attribute.into(),
    };
    Status::with_details(code, summary, told.encode_to_vec().into())
}

fn gone() -> Status {
    Status::new(Code::NotFound, "no such thing")
}

impl Fake {
    fn change<T>(&self, call: String, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.0.lock().unwrap();
        world.calls.push(call);
        change(&mut world)
    }

    fn look<T>(&self, look: impl FnOnce(&World) -> Option<T>) -> Answer<T> {
        look(&self.0.lock().unwrap())
            .map(Response::new)
            .ok_or_else(gone)
    }
}

#[tonic::async_trait]
impl Metal for Fake {
    async fn site(&self, _: Request<pb::SiteRequest>) -> Answer<pb::SiteResponse> {
        self.look(|w| {
            let (version, features) = match &w.site {
                Some((version, features)) => ((*version).to_owned(), features.clone()),
                None => ("0.1.0".to_owned(), vec!["v1".to_owned()]),
            };
            Some(pb::SiteResponse {
                version,
                features,
                ..Default::default()
            })
        })
    }

    async fn put_server(&self, r: Request<pb::PutServerRequest>) -> Answer<pb::Server> {
        let r = r.into_inner();
        let config = r.config.unwrap();
        let name = config.name.clone();
        Ok(Response::new(self.change(
            format!("put server {name}"),
            |w| {
                w.passwords.push(r.bmc_password);
                w.servers.insert(name.clone(), config);
                w.server(&name).unwrap()
            },
        )))
    }

    async fn read_server(&self, r: Request<pb::Named>) -> Answer<pb::Server> {
        self.look(|w| w.server(&r.get_ref().name))
    }

    async fn list_servers(
        &self,
        r: Request<pb::ListServersRequest>,
    ) -> Answer<pb::ListServersResponse> {
        let asked = r.into_inner();
        let fits = |s: &pb::Server| {
            let has = &s.config.as_ref().unwrap().labels;
            let phase = s.status.as_ref().unwrap().phase;
            asked.labels.iter().all(|(k, v)| has.get(k) == Some(v))
                && (asked.phases.is_empty() || asked.phases.contains(&phase))
        };
        self.look(|w| {
            Some(pb::ListServersResponse {
                servers: w
                    .servers
                    .keys()
                    .filter_map(|n| w.server(n))
                    .filter(fits)
                    .collect(),
            })
        })
    }

    async fn delete_server(&self, r: Request<pb::DeleteServerRequest>) -> Answer<pb::Empty> {
        let name = r.into_inner().name;
        self.change(format!("delete server {name}"), |w| {
            if !w.holder(&name).is_empty() {
                return Err(refuse(
                    Code::FailedPrecondition,
                    "claimed",
                    "Server is claimed",
                    &name,
                    "",
                ));
            }
            w.servers.remove(&name);
            Ok(Response::new(pb::Empty {}))
        })
    }

    async fn put_class(&self, r: Request<pb::ClassConfig>) -> Answer<pb::ClassConfig> {
        let c = r.into_inner();
        self.change(format!("put class {}", c.name), |w| {
            w.classes.insert(c.name.clone(), c.clone())
        });
        Ok(Response::new(c))
    }

    async fn read_class(&self, r: Request<pb::Named>) -> Answer<pb::ClassConfig> {
        self.look(|w| w.classes.get(&r.get_ref().name).cloned())
    }

    async fn delete_class(&self, r: Request<pb::Named>) -> Answer<pb::Empty> {
        let name = r.into_inner().name;
        self.change(format!("delete class {name}"), |w| w.classes.remove(&name));
        Ok(Response::new(pb::Empty {}))
    }

    async fn plan_claim(&self, r: Request<pb::PlanClaimRequest>) -> Answer<pb::PlanClaimResponse> {
        let config = r.into_inner().config.unwrap();
        let mut w = self.0.lock().unwrap();
        let Some(server) = w.pick(&config) else {
            let what = pb::ErrorDetail {
                reason: "no-free-server".into(),
                summary: "No free server".into(),
                detail: "0 free of 1; nearest: b1 is held by claim other/x".into(),
                hint: "add a box".into(),
                attribute: "server_class_id".into(),
            };
            let remark = pb::Remark {
                severity: pb::remark::Severity::Error.into(),
                what: Some(what),
            };
            return Ok(Response::new(pb::PlanClaimResponse {
                remarks: vec![remark],
                ..Default::default()
            }));
        };
        w.holds.insert(config.name, server.clone());
        let hardware = Some(World::hardware(&server));
        Ok(Response::new(pb::PlanClaimResponse {
            server_id: server,
            hardware,
            fit: "best of 6 free".into(),
            ..Default::default()
        }))
    }

    async fn put_claim(&self, r: Request<pb::PutClaimRequest>) -> Answer<pb::Claim> {
        let r = r.into_inner();
        let config = r.config.unwrap();
        self.change(format!("put claim {}", config.name), |w| {
            let Some(server) = w.pick(&config) else {
                return Err(refuse(
                    Code::FailedPrecondition,
                    "no-free-server",
                    "No free server",
                    "0 free",
                    "server_class_id",
                ));
            };
            if !r.expected_server_id.is_empty() && r.expected_server_id != server {
                return Err(refuse(
                    Code::FailedPrecondition,
                    "planned-box-taken",
                    "Planned box was taken",
                    &server,
                    "",
                ));
            }
            let claim = pb::Claim {
                server_id: server.clone(),
                generation: 1,
                state: pb::ClaimState::Held.into(),
                hardware: Some(World::hardware(&server)),
                fit: "best of 6 free".into(),
                config: Some(config.clone()),
                ..Default::default()
            };
            w.claims.insert(config.name, claim.clone());
            Ok(Response::new(claim))
        })
    }

    async fn read_claim(&self, r: Request<pb::Named>) -> Answer<pb::Claim> {
        self.look(|w| w.claims.get(&r.get_ref().name).cloned())
    }

    async fn release_claim(&self, r: Request<pb::Named>) -> Answer<pb::Empty> {
        let name = r.into_inner().name;
        self.change(format!("release claim {name}"), |w| {
            w.holds.remove(&name);
            w.claims.remove(&name);
        });
        Ok(Response::new(pb::Empty {}))
    }

    async fn put_image(&self, r: Request<pb::ImageConfig>) -> Answer<pb::Image> {
        let config = r.into_inner();
        let schematic = talos::schematic::Schematic {
            extensions: config.extensions.clone(),
            kernel_args: config.kernel_args.clone(),
            ..Default::default()
        };
        let image = pb::Image {
            id: format!(
                "{}/{}/{}",
                schematic.id(),
                config.talos_version,
                config.arch
            ),
            schematic_id: schematic.id().to_string(),
            installer: format!(
                "factory.example/metal-installer/{}:{}",
                schematic.id(),
                config.talos_version
            ),
            cached: true,
            config: Some(config),
        };
        self.change(format!("put image {}", image.id), |w| {
            w.images.insert(image.id.clone(), image.clone())
        });
        Ok(Response::new(image))
    }

    async fn read_image(&self, r: Request<pb::Named>) -> Answer<pb::Image> {
        self.look(|w| w.images.get(&r.get_ref().name).cloned())
    }

    async fn delete_image(&self, r: Request<pb::Named>) -> Answer<pb::Empty> {
        let name = r.into_inner().name;
        self.change("delete image".into(), |w| w.images.remove(&name));
        Ok(Response::new(pb::Empty {}))
    }

    async fn put_secrets(&self, r: Request<pb::SecretsConfig>) -> Answer<pb::Secrets> {
        let config = r.into_inner();
        Ok(Response::new(self.change(
            format!("put secrets {}", config.name),
            |w| {
                let made = w
                    .secrets
                    .entry(config.name.clone())
                    .or_insert_with(|| pb::Secrets {
                        id: config.name.clone(),
                        fingerprint: "SHA256:ab".into(),
                        contract: "v1.13".into(),
                        render_rev: 1,
                        config: None,
                    });
                made.config = Some(config);
                made.clone()
            },
        )))
    }

    async fn read_secrets(&self, r: Request<pb::Named>) -> Answer<pb::Secrets> {
        self.look(|w| w.secrets.get(&r.get_ref().name).cloned())
    }

    async fn delete_secrets(&self, r: Request<pb::Named>) -> Answer<pb::Empty> {
        let name = r.into_inner().name;
        self.change(format!("delete secrets {name}"), |w| {
            w.secrets.remove(&name)
        });
        Ok(Response::new(pb::Empty {}))
    }

    async fn plan_node(&self, r: Request<pb::PlanNodeRequest>) -> Answer<pb::PlanNodeResponse> {
        let config = r.into_inner().config.unwrap();
        let id = format!("{}/{}", config.cluster.as_ref().unwrap().name, config.name);
        let w = self.0.lock().unwrap();
        let (change, wipe_targets) = match w.nodes.get(&id) {
            Some(n) if n.installed => match &n.config {
                Some(old) if old.image_id != config.image_id => (pb::Change::Upgrade, vec![]),
                _ => (pb::Change::Apply, vec![]),
            },
            _ => (pb::Change::Install, vec![World::target(&config.server_id)]),
        };
        Ok(Response::new(pb::PlanNodeResponse {
            change: change.into(),
            wipe_targets,
            remarks: w.remarks.clone(),
            ..Default::default()
        }))
    }

    async fn put_node(&self, r: Request<pb::PutNodeRequest>) -> Answer<pb::Node> {
        let r = r.into_inner();
        let config = r.config.unwrap();
        let id = format!("{}/{}", config.cluster.as_ref().unwrap().name, config.name);
        Ok(Response::new(self.change(format!("put node {id}"), |w| {
            w.expected.push(r.expected_wipe_targets);
            let installed = w.nodes.get(&id).is_some_and(|n| n.installed);
            let node = pb::Node {
                id: id.clone(),
                config: Some(config),
                installed,
                address: "10.0.0.21".into(),
                ..Default::default()
            };
            w.nodes.insert(id, node.clone());
            node
        })))
    }

    async fn read_node(&self, r: Request<pb::Named>) -> Answer<pb::Node> {
        self.look(|w| w.nodes.get(&r.get_ref().name).cloned())
    }

    async fn delete_node(&self, r: Request<pb::Named>) -> Answer<pb::Empty> {
        let name = r.into_inner().name;
        self.change(format!("delete node {name}"), |w| w.nodes.remove(&name));
        Ok(Response::new(pb::Empty {}))
    }

    async fn put_cluster(&self, r: Request<pb::ClusterConfig>) -> Answer<pb::Cluster> {
        let config = r.into_inner();
        let id = config.facts.as_ref().unwrap().name.clone();
        let cluster = pb::Cluster {
            id: id.clone(),
            bootstrapped: true,
            ca_certificate: "-----BEGIN CERTIFICATE-----\npublic\n-----END CERTIFICATE-----\n"
                .into(),
            config: Some(config),
            ..Default::default()
        };
        self.change(format!("put cluster {id}"), |w| {
            w.clusters.insert(id, cluster.clone())
        });
        Ok(Response::new(cluster))
    }

    async fn read_cluster(&self, r: Request<pb::Named>) -> Answer<pb::Cluster> {
        self.look(|w| w.clusters.get(&r.get_ref().name).cloned())
    }

    async fn delete_cluster(&self, r: Request<pb::Named>) -> Answer<pb::Empty> {
        let name = r.into_inner().name;
        self.change(format!("delete cluster {name}"), |w| {
            w.clusters.remove(&name)
        });
        Ok(Response::new(pb::Empty {}))
    }

    async fn watch(&self, r: Request<pb::WatchRequest>) -> Answer<BoxStream<pb::Progress>> {
        use pb::progress::Outcome;
        use pb::watch_request::Subject;
        let subject = r.into_inner().subject.unwrap();
        let first = |outcome| pb::Progress {
            stage: "installing: waiting for DHCP".into(),
            message: "powered on".into(),
            outcome,
            ..Default::default()
        };
        let done = || tokio_stream::iter([Ok(first(Some(Outcome::Done(pb::Empty {}))))]);
        let never = || {
            use tokio_stream::StreamExt as _;
            tokio_stream::iter([Ok(first(None))]).chain(tokio_stream::pending())
        };
        let mut w = self.0.lock().unwrap();
        let word = match &subject {
            Subject::ServerInspected(_) => "server",
            Subject::ServerForgotten(_) => "forgotten",
            Subject::ClaimReleased(_) => "claim",
            Subject::ImageCached(_) => "image",
            Subject::NodeInstalled(_) => "node",
            Subject::NodeRemoved(_) => "removed",
            Subject::ClusterReady(_) => "cluster",
        };
        if w.stalls.contains(word) {
            return Ok(Response::new(Box::pin(never())));
        }
        if let Subject::ClaimReleased(_) = subject {
            let end = pb::Progress {
                remarks: w.released.clone(),
                ..first(Some(Outcome::Done(pb::Empty {})))
            };
            return Ok(Response::new(Box::pin(tokio_stream::iter([Ok(end)]))));
        }
        let (Subject::NodeInstalled(id), install) = (subject, w.install) else {
            return Ok(Response::new(Box::pin(done())));
        };
        Ok(Response::new(match install {
            Install::Works => {
                w.nodes.get_mut(&id).ok_or_else(gone)?.installed = true;
                Box::pin(done())
            }
            Install::Stalls => Box::pin(never()),
            Install::Fails => {
                let told = pb::ErrorDetail {
                    reason: "stalled-dhcp".into(),
                    summary: "Machine did not finish installing".into(),
                    detail: "b1 was power-cycled 3 times but never asked for an address.".into(),
                    hint: "compare the boot NIC with its port".into(),
                    attribute: String::new(),
                };
                Box::pin(tokio_stream::iter([Ok(first(Some(Outcome::Failed(told))))]))
            }
        }))
    }
}
