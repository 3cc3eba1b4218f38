//! A bootd in the test's process: the real API on a real mutually authenticated socket, with scripted behaviour behind it.
//!
//! It keeps what it is told and answers as the API documents; machines do at once what they are asked, unless a test says otherwise.

use std::collections::BTreeMap;
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

/// What machines do when they are to be installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Install {
    /// It works.
    #[default]
    Works,
    /// Nothing happens, for ever.
    Stalls,
    /// It fails with a story.
    Fails,
}

/// All that bootd has.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) servers: BTreeMap<String, pb::ServerConfig>,
    pub(crate) classes: BTreeMap<String, pb::ClassConfig>,
    pub(crate) claims: BTreeMap<String, pb::Claim>,
    pub(crate) images: BTreeMap<String, pb::Image>,
    pub(crate) secrets: BTreeMap<String, pb::Secrets>,
    pub(crate) nodes: BTreeMap<String, pb::Node>,
    pub(crate) clusters: BTreeMap<String, pb::Cluster>,
    pub(crate) install: Install,
    /// Password of every `PutServer`.
    pub(crate) passwords: Vec<String>,
    /// Calls that change something, in order.
    pub(crate) calls: Vec<String>,
    /// Targets of every `PutNode`.
    pub(crate) expected: Vec<Vec<pb::WipeTarget>>,
    holds: BTreeMap<String, String>,
}

impl World {
    fn holder(&self, server: &str) -> String {
        let held = self.claims.iter().find(|(_, c)| c.server_id == server);
        held.map(|(n, _)| n.clone()).unwrap_or_default()
    }

    fn hardware(server: &str) -> pb::Hardware {
        let disk = pb::Disk {
            device: "nvme0n1".into(),
            serial: format!("S-{server}"),
            r#type: "nvme".into(),
            bytes: 500_000_000_000,
            blank: true,
            fingerprint: "00".into(),
            ..Default::default()
        };
        pb::Hardware {
            manufacturer: "Test".into(),
            arch: "amd64".into(),
            cpu_cores: 8,
            cpu_threads: 16,
            memory_bytes: 32_000_000_000,
            disks: vec![disk],
            ..Default::default()
        }
    }

    fn server(&self, name: &str) -> Option<pb::Server> {
        let config = self.servers.get(name)?.clone();
        let status = pb::ServerStatus {
            id: name.to_owned(),
            phase: pb::Phase::Available.into(),
            claim: self.holder(name),
            hardware: Some(Self::hardware(name)),
            ..Default::default()
        };
        Some(pb::Server {
            config: Some(config),
            status: Some(status),
        })
    }

    /// The box that a claim has, is promised, or gets.
    fn pick(&self, config: &pb::ClaimConfig) -> Option<String> {
        if let Some(held) = self.claims.get(&config.name) {
            return Some(held.server_id.clone());
        }
        let free = |s: &&String| {
            let promised = self
                .holds
                .iter()
                .any(|(claim, server)| server == *s && *claim != config.name);
            self.holder(s).is_empty() && !promised && self.servers[*s].accepted
        };
        if let Some(promised) = self.holds.get(&config.name).filter(free) {
            return Some(promised.clone());
        }
        let scope: Vec<String> = match self.classes.get(&config.server_class_id) {
            Some(class) if !class.servers.is_empty() => class.servers.clone(),
            _ if !config.server_id.is_empty() => vec![config.server_id.clone()],
            _ => self.servers.keys().cloned().collect(),
        };
        scope
            .iter()
            .filter(|s| self.servers.contains_key(*s))
            .find(free)
            .cloned()
    }

    fn target(server: &str) -> pb::WipeTarget {
        pb::WipeTarget {
            disk: "nvme0n1".into(),
            serial: format!("S-{server}"),
            bytes: 500_000_000_000,
            content: "blank".into(),
            fingerprint: "00".into(),
            ..Default::default()
        }
    }
}

/// A running bootd. It ends with the value.
pub(crate) struct Bootd {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) bundle: PathBuf,
    /// The bundle's private key: it may be nowhere else.
    pub(crate) key: String,
    _runtime: tokio::runtime::Runtime,
}

impl Bootd {
    /// Starts one and writes its bundle below `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
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
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = MetalServer::new(Fake(Arc::clone(&world)));
        runtime.spawn(async move {
            Server::builder()
                .tls_config(tls)
                .unwrap()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        let bundle = dir.join("admin.bundle");
        let text = format!(
            "endpoint = \"https://127.0.0.1:{port}\"\nca = '''{}'''\ncertificate = '''{client}'''\nkey = '''{key}'''\n",
            ca.pem()
        );
        std::fs::write(&bundle, text).unwrap();
        Self {
            world,
            bundle,
            key,
            _runtime: runtime,
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
        _: Request<pb::ListServersRequest>,
    ) -> Answer<pb::ListServersResponse> {
        self.look(|w| {
            Some(pb::ListServersResponse {
                servers: w.servers.keys().filter_map(|n| w.server(n)).collect(),
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
        let mut w = self.0.lock().unwrap();
        let (Subject::NodeInstalled(id), install) = (subject, w.install) else {
            return Ok(Response::new(Box::pin(done())));
        };
        Ok(Response::new(match install {
            Install::Works => {
                w.nodes.get_mut(&id).ok_or_else(gone)?.installed = true;
                Box::pin(done())
            }
            Install::Stalls => {
                use tokio_stream::StreamExt as _;
                Box::pin(tokio_stream::iter([Ok(first(None))]).chain(tokio_stream::pending()))
            }
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
