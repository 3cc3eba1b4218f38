//! The client against a server of tonic on loopback, with certificates of the cluster's own authority.
#![cfg(feature = "client")]
#![expect(
    clippy::unwrap_used,
    reason = "a test server that cannot start fails its test"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metal_proto::talos::common::Data;
use metal_proto::talos::cosi::resource::state_server::{State, StateServer};
use metal_proto::talos::cosi::resource::{GetRequest, GetResponse, ListRequest, ListResponse};
use metal_proto::talos::cosi::resource::{Resource, Spec};
use metal_proto::talos::machine::machine_service_server::{MachineService, MachineServiceServer};
use metal_proto::talos::machine::*;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use talos::client::{BootstrapOutcome, Client, ClientError, Peer, Stage, probe};
use talos::secrets::{Bundle, Role, system_entropy};
use talos::version::{Contract, Generator};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Node {
    bootstrapped: std::sync::atomic::AtomicU32,
}

type Chunks = BoxStream<Data>;
type Listed = BoxStream<ListResponse>;

#[tonic::async_trait]
impl MachineService for Node {
    async fn version(&self, _: Request<()>) -> Result<Response<VersionResponse>, Status> {
        let version = VersionInfo {
            tag: "v1.13.9".into(),
            ..VersionInfo::default()
        };
        let message = Version {
            version: Some(version),
            ..Version::default()
        };
        Ok(Response::new(VersionResponse {
            messages: vec![message],
        }))
    }

    async fn bootstrap(
        &self,
        _: Request<BootstrapRequest>,
    ) -> Result<Response<BootstrapResponse>, Status> {
        let calls = &self.bootstrapped;
        match calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Err(Status::failed_precondition(
                "bootstrap is not available yet",
            )),
            1 => Ok(Response::new(BootstrapResponse::default())),
            _ => Err(Status::already_exists("etcd data directory is not empty")),
        }
    }

    async fn kubeconfig(&self, _: Request<()>) -> Result<Response<Chunks>, Status> {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(encoder);
        let mut header = tar::Header::new_gnu();
        header.set_size(14);
        header.set_mode(0o600);
        tar.append_data(&mut header, "kubeconfig", &b"apiVersion: v1"[..])?;
        let archive = tar.into_inner()?.finish()?;
        let (first, second) = archive.split_at(archive.len() / 2);
        let chunk = |bytes: &[u8]| {
            Ok(Data {
                bytes: bytes.to_vec(),
                ..Data::default()
            })
        };
        let chunks = [chunk(first), chunk(second)];
        Ok(Response::new(Box::pin(futures::stream::iter(chunks))))
    }

    async fn etcd_member_list(
        &self,
        _: Request<EtcdMemberListRequest>,
    ) -> Result<Response<EtcdMemberListResponse>, Status> {
        // Before etcd runs a node does not answer at all.
        std::future::pending().await
    }

    async fn reset(&self, _: Request<ResetRequest>) -> Result<Response<ResetResponse>, Status> {
        Err(Status::permission_denied("not authorized"))
    }
}

fn resource(yaml: &str) -> Option<Resource> {
    Some(Resource {
        metadata: None,
        spec: Some(Spec {
            proto_spec: Vec::new(),
            yaml_spec: yaml.into(),
        }),
    })
}

#[tonic::async_trait]
impl State for Node {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        assert_eq!(request.get_ref().id, "machine");
        let yaml = "stage: booting\nstatus:\n    ready: false\n    unmetConditions:\n        - name: time\n          reason: not in sync\n";
        Ok(Response::new(GetResponse {
            resource: resource(yaml),
        }))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<Listed>, Status> {
        let yaml = "nodeId: x\naddresses:\n    - 10.0.0.11\nhostname: cp-0\nmachineType: controlplane\noperatingSystem: Talos (v1.13.9)\n";
        let one = Ok(ListResponse {
            resource: resource(yaml),
        });
        Ok(Response::new(Box::pin(futures::stream::iter([one]))))
    }
}

fn bundle() -> Bundle {
    let contract = Contract::parse("v1.6", Generator::V1_13).unwrap();
    let now = jiff::Timestamp::now();
    Bundle::generate(Generator::V1_13, contract, now, &mut system_entropy).unwrap()
}

/// A server certificate for 127.0.0.1 and its key: of a bundle's authority, or of a node in maintenance.
fn server_certificate(of: Option<&Bundle>) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let certificate = match of {
        Some(bundle) => {
            let ca_key = bundle.os.key.expose().replace("ED25519 PRIVATE", "PRIVATE");
            let ca_key = KeyPair::from_pem(&ca_key).unwrap();
            let issuer = Issuer::from_ca_cert_pem(&bundle.os.certificate, ca_key).unwrap();
            params.signed_by(&key, &issuer).unwrap()
        }
        None => {
            let name = "maintenance-service.talos.dev";
            params.distinguished_name.push(DnType::CommonName, name);
            params.self_signed(&key).unwrap()
        }
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (certificate.der().clone(), key)
}

/// Serves a node. `asks` = whose client certificates it asks for.
async fn serve(of: Option<&Bundle>, asks: Option<&Bundle>) -> SocketAddr {
    let (certificate, key) = server_certificate(of);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let builder = match asks {
        None => builder.with_no_client_auth(),
        Some(bundle) => {
            let mut roots = rustls::RootCertStore::empty();
            let root = CertificateDer::from_pem_slice(bundle.os.certificate.as_bytes());
            roots.add(root.unwrap()).unwrap();
            let roots = Arc::new(roots);
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                if let Ok(tls) = acceptor.accept(tcp).await {
                    let _ = sender.send(Ok::<_, std::io::Error>(tls)).await;
                }
            });
        }
    });
    let incoming = tokio_stream::wrappers::ReceiverStream::new(receiver);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(MachineServiceServer::new(Node::default()))
            .add_service(StateServer::new(Node::default()))
            .serve_with_incoming(incoming),
    );
    address
}

fn client(address: SocketAddr, bundle: &Bundle) -> Client {
    let now = jiff::Timestamp::now();
    let hour = Duration::from_hours(1);
    let certificate = bundle.client_certificate(&[Role::Admin], hour, now, &mut system_entropy);
    Client::new(address, &certificate.unwrap(), DEADLINE).unwrap()
}

#[tokio::test]
async fn calls_of_a_configured_node() {
    let bundle = bundle();
    let address = serve(Some(&bundle), Some(&bundle)).await;
    let client = client(address, &bundle);
    assert_eq!(client.version().await.unwrap().tag, "v1.13.9");
    assert_eq!(probe(address, DEADLINE).await, Ok(Peer::Configured));
    assert_eq!(
        client.kubeconfig().await.unwrap().expose(),
        "apiVersion: v1"
    );
    let status = client.machine_status().await.unwrap();
    assert_eq!((status.stage, status.ready), (Stage::Booting, false));
    assert_eq!(
        status.unmet,
        [("time".to_owned(), "not in sync".to_owned())]
    );
    let members = client.members().await.unwrap();
    assert_eq!(members[0].hostname, "cp-0");
    assert_eq!(members[0].addresses, ["10.0.0.11"]);
    let reboot = client.reboot().await;
    assert!(
        matches!(reboot, Err(ClientError::Unimplemented(_))),
        "{reboot:?}"
    );
}

#[tokio::test]
async fn bootstrap_outcomes() {
    let bundle = bundle();
    let client = client(serve(Some(&bundle), Some(&bundle)).await, &bundle);
    let not_yet = BootstrapOutcome::NotYet("bootstrap is not available yet".into());
    assert_eq!(client.bootstrap().await, Ok(not_yet));
    assert_eq!(client.bootstrap().await, Ok(BootstrapOutcome::Done));
    assert_eq!(
        client.bootstrap().await,
        Ok(BootstrapOutcome::AlreadyBootstrapped)
    );
}

#[tokio::test]
async fn who_is_not_ours_is_a_typed_error() {
    let (ours, other) = (bundle(), bundle());
    let check = async |address| client(address, &ours).version().await.unwrap_err();

    let maintenance = serve(None, None).await;
    assert_eq!(
        check(maintenance).await,
        ClientError::Maintenance(maintenance)
    );
    let peer = probe(maintenance, DEADLINE).await.unwrap();
    assert!(matches!(peer, Peer::Maintenance { fingerprint } if fingerprint.len() == 44));

    let foreign = serve(Some(&other), Some(&other)).await;
    assert_eq!(check(foreign).await, ClientError::WrongCa(foreign));

    let wary = serve(Some(&ours), Some(&other)).await;
    assert_eq!(check(wary).await, ClientError::NotAuthorized(wary));

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let unreachable = check(closed).await;
    assert!(
        matches!(unreachable, ClientError::Unreachable { .. }),
        "{unreachable:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends_at_its_deadline() {
    // A listener that accepts and stays silent.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let bundle = bundle();
    let error = client(silent, &bundle).etcd_members().await.unwrap_err();
    assert_eq!(error, ClientError::Deadline(silent));
    assert_eq!(
        probe(silent, DEADLINE).await,
        Err(ClientError::Deadline(silent))
    );
}
