//! A boot server of a few lines for the rack's own tests: proxyDHCP, TFTP, HTTP, event sink, kernel log. Not bootd: what the rack
//! sends is checked against protocols, not against our daemon.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acctest::rack::dhcp::Dhcp;
use acctest::rack::machine::Machine;
use acctest::rack::spec::{Endpoints, RackSpec};
use acctest::rack::{Options, Rack};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use metal_proto::talos::events::event_sink_service_server::{
    EventSinkService, EventSinkServiceServer,
};
use metal_proto::talos::events::{EventRequest, EventResponse};
use metal_proto::talos::machine as m;
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::AsyncBufReadExt;
use tokio::net::{TcpListener, UdpSocket};

/// What a boot server has and has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// HTTP bodies by path; without: 404.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Request lines and headers of every HTTP request.
    pub(crate) requests: Vec<String>,
    /// DHCP packets heard.
    pub(crate) dhcp: Vec<Dhcp>,
    /// Packets at the boot server's port.
    pub(crate) binl: Vec<Dhcp>,
    /// Whether offers carry option 43.
    pub(crate) without_43: bool,
    /// Events, in order of arrival.
    pub(crate) events: Vec<EventRequest>,
    /// Kernel log lines.
    pub(crate) kernel: Vec<serde_json::Value>,
}

/// The double.
#[derive(Clone)]
pub(crate) struct Double {
    pub(crate) seen: Arc<Mutex<Seen>>,
    pub(crate) endpoints: Endpoints,
    pub(crate) http: SocketAddr,
    pub(crate) sink: SocketAddr,
    pub(crate) kernel: SocketAddr,
}

impl Double {
    pub(crate) async fn start() -> Self {
        let bind = || UdpSocket::bind("127.0.0.1:0");
        let (proxy, pxe, tftp) = (
            bind().await.unwrap(),
            bind().await.unwrap(),
            bind().await.unwrap(),
        );
        let listen = || TcpListener::bind("127.0.0.1:0");
        let (http, sink, kernel) = (
            listen().await.unwrap(),
            listen().await.unwrap(),
            listen().await.unwrap(),
        );
        let double = Self {
            seen: Arc::default(),
            endpoints: Endpoints {
                dhcp: proxy.local_addr().unwrap(),
                pxe: pxe.local_addr().unwrap(),
                tftp_port: tftp.local_addr().unwrap().port(),
            },
            http: http.local_addr().unwrap(),
            sink: sink.local_addr().unwrap(),
            kernel: kernel.local_addr().unwrap(),
        };
        tokio::spawn(double.clone().dhcp(proxy, false));
        tokio::spawn(double.clone().dhcp(pxe, true));
        tokio::spawn(serve_tftp(tftp));
        let router = axum::Router::new()
            .fallback(serve_file)
            .with_state(Arc::clone(&double.seen));
        tokio::spawn(async move { axum::serve(http, router).await });
        let events = EventSinkServiceServer::new(Sink(Arc::clone(&double.seen)));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(events)
                .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(sink)),
        );
        tokio::spawn(double.clone().kernel_log(kernel));
        double
    }

    pub(crate) fn file(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.seen
            .lock()
            .unwrap()
            .files
            .insert(path.to_owned(), body.into());
    }

    /// Waits until `what` answers something; panics after 20 s with what the machine was doing.
    pub(crate) async fn wait<T>(
        &self,
        machine: &Machine,
        for_what: &str,
        what: impl Fn(&Seen) -> Option<T>,
    ) -> T {
        for _ in 0..4000 {
            if let Some(found) = what(&self.seen.lock().unwrap()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = serde_json::to_string_pretty(&machine.status()).unwrap();
        let events = self.event_lines().join("\n");
        panic!("{for_what} did not happen: {status}\n{events}");
    }

    /// The events so far, one line each, as the recording has them.
    pub(crate) fn event_lines(&self) -> Vec<String> {
        self.seen
            .lock()
            .unwrap()
            .events
            .iter()
            .map(event_line)
            .collect()
    }

    async fn dhcp(self, socket: UdpSocket, is_binl: bool) {
        let mut buffer = vec![0; 4096];
        loop {
            let (n, from) = socket.recv_from(&mut buffer).await.unwrap();
            let ask = Dhcp::parse(&buffer[..n]).unwrap();
            let kind = ask.kind();
            let answer = self.offer(&ask, is_binl);
            {
                let mut seen = self.seen.lock().unwrap();
                if is_binl {
                    seen.binl.push(ask)
                } else {
                    seen.dhcp.push(ask)
                }
            }
            if is_binl || kind == Some(1) {
                socket.send_to(&answer.emit(), from).await.unwrap();
            }
        }
    }

    fn offer(&self, ask: &Dhcp, is_binl: bool) -> Dhcp {
        let is_ipxe = ask.options.get(&77).is_some_and(|class| class == b"iPXE");
        let file = if is_ipxe {
            format!("http://{}/script", self.http)
        } else {
            "snponly.efi".to_owned()
        };
        let mut options = BTreeMap::from([
            (53, vec![if is_binl { 5 } else { 2 }]),
            (54, vec![127, 0, 0, 1]),
            (60, b"PXEClient".to_vec()),
            (67, file.clone().into_bytes()),
        ]);
        if !is_ipxe && !self.seen.lock().unwrap().without_43 {
            options.insert(43, vec![6, 1, 8, 255]);
        }
        Dhcp {
            op: 2,
            xid: ask.xid,
            siaddr: Some([127, 0, 0, 1].into()),
            giaddr: ask.giaddr,
            mac: ask.mac,
            file,
            options,
            ..Dhcp::default()
        }
    }

    async fn kernel_log(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&self.seen);
            tokio::spawn(async move {
                let mut lines = tokio::io::BufReader::new(stream).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    seen.lock()
                        .unwrap()
                        .kernel
                        .push(serde_json::from_str(&line).unwrap());
                }
            });
        }
    }
}

/// Lock-step TFTP of one file of 5000 bytes, 512 at a time, without options.
async fn serve_tftp(socket: UdpSocket) {
    let mut buffer = vec![0; 2048];
    loop {
        let (n, from) = socket.recv_from(&mut buffer).await.unwrap();
        assert!(
            buffer[..n].starts_with(b"\0\x01snponly.efi\0octet\0blksize\0"),
            "{:?}",
            &buffer[..n]
        );
        tokio::spawn(async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut body = b"MZ".to_vec();
            body.resize(5000, 7);
            let mut buffer = [0; 64];
            for (block, part) in body.chunks(512).enumerate() {
                let number = u16::try_from(block + 1).unwrap().to_be_bytes();
                let mut packet = vec![0, 3];
                packet.extend(number);
                packet.extend(part);
                loop {
                    socket.send_to(&packet, from).await.unwrap();
                    let acknowledged = tokio::time::timeout(
                        Duration::from_millis(100),
                        socket.recv_from(&mut buffer),
                    )
                    .await;
                    if acknowledged.is_ok() && buffer[..4] == [0, 4, number[0], number[1]] {
                        break;
                    }
                }
            }
        });
    }
}

async fn serve_file(State(seen): State<Arc<Mutex<Seen>>>, request: Request) -> Response {
    let mut line = request.uri().to_string();
    for (name, value) in request.headers() {
        line.push_str(&format!("\n{name}: {}", value.to_str().unwrap()));
    }
    let mut seen = seen.lock().unwrap();
    seen.requests.push(line);
    match seen.files.get(request.uri().path()) {
        Some(body) => body.clone().into_response(),
        None => (StatusCode::NOT_FOUND, "config not found").into_response(),
    }
}

struct Sink(Arc<Mutex<Seen>>);

#[tonic::async_trait]
impl EventSinkService for Sink {
    async fn publish(
        &self,
        request: tonic::Request<EventRequest>,
    ) -> Result<tonic::Response<EventResponse>, tonic::Status> {
        let agent = request
            .metadata()
            .get("user-agent")
            .unwrap()
            .to_str()
            .unwrap();
        assert!(agent.starts_with("grpc-go/1."), "{agent}");
        self.0.lock().unwrap().events.push(request.into_inner());
        Ok(tonic::Response::new(EventResponse {}))
    }
}

/// An event as a line: `SequenceEvent boot START`.
pub(crate) fn event_line(event: &EventRequest) -> String {
    let data = event.data.clone().unwrap();
    let name = data
        .type_url
        .strip_prefix("type.googleapis.com/machine.")
        .unwrap();
    let bytes = data.value.as_slice();
    let what = match name {
        "SequenceEvent" => {
            let e = m::SequenceEvent::decode(bytes).unwrap();
            format!("{} {}", e.sequence, e.action().as_str_name())
        }
        "PhaseEvent" => {
            let e = m::PhaseEvent::decode(bytes).unwrap();
            format!("{} {}", e.phase, e.action().as_str_name())
        }
        "TaskEvent" => {
            let e = m::TaskEvent::decode(bytes).unwrap();
            format!("{} {}", e.task, e.action().as_str_name())
        }
        "ServiceStateEvent" => {
            let e = m::ServiceStateEvent::decode(bytes).unwrap();
            format!("{} {}: {}", e.service, e.action().as_str_name(), e.message)
        }
        "MachineStatusEvent" => {
            let e = m::MachineStatusEvent::decode(bytes).unwrap();
            let status = e.status.clone().unwrap_or_default();
            format!("{} ready: {}", e.stage().as_str_name(), status.ready)
        }
        "AddressEvent" => {
            let e = m::AddressEvent::decode(bytes).unwrap();
            format!("{} ADDRESSES: {}", e.hostname, e.addresses.join(","))
        }
        "RestartEvent" => m::RestartEvent::decode(bytes).unwrap().cmd.to_string(),
        "ConfigLoadErrorEvent" => m::ConfigLoadErrorEvent::decode(bytes).unwrap().error,
        other => panic!("{other}"),
    };
    format!("{name} {what}")
}

/// A rack of `n` machines in front of the double.
pub(crate) async fn rack(dir: &std::path::Path, spec: &str, double: &Double) -> Rack {
    let options = Options {
        dir: dir.to_owned(),
        spec: RackSpec::parse(spec).unwrap(),
        endpoints: Some(double.endpoints),
        speed: 600.0,
    };
    Rack::start(options).await.unwrap()
}

/// Certificates and names of a made-up cluster.
pub(crate) struct Cluster {
    pub(crate) ca_pem: String,
    ca_key: KeyPair,
    kube_pem: String,
    kube_key: String,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let ca_key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let kube_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let make = |organization: &str, key: &KeyPair| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name = rcgen::DistinguishedName::new();
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
            params.self_signed(key).unwrap().pem()
        };
        Self {
            ca_pem: make("talos", &ca_key),
            kube_pem: make("kubernetes", &kube_key),
            kube_key: kube_key.serialize_pem(),
            ca_key,
        }
    }

    /// A machine config of this cluster, sending events and kernel log to the double.
    pub(crate) fn config(
        &self,
        kind: &str,
        hostname: &str,
        install: &str,
        double: &Double,
    ) -> String {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let key = self
            .ca_key
            .serialize_pem()
            .replace("PRIVATE KEY", "ED25519 PRIVATE KEY");
        let key = if kind == "controlplane" {
            encode(&key)
        } else {
            String::new()
        };
        format!(
            "version: v1alpha1\nmachine:\n  type: {kind}\n  token: abcdef.0123456789abcdef\n  ca:\n    crt: {}\n    key: \"{key}\"\n  \
             install:\n    {install}\n    image: factory.talos.dev/metal-installer/376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba:v1.13.9\n\
             cluster:\n  id: test-cluster\n  clusterName: test\n  controlPlane:\n    endpoint: https://127.9.9.9:6443\n  ca:\n    crt: {}\n    key: {}\n\
             ---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: {hostname}\n\
             ---\napiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: {}\n\
             ---\napiVersion: v1alpha1\nkind: KmsgLogConfig\nname: k\nurl: tcp://{}/\n",
            encode(&self.ca_pem),
            encode(&self.kube_pem),
            encode(&self.kube_key),
            double.sink,
            double.kernel,
        )
    }

    /// A client's TLS: certificate with these organizations and usages by this cluster's CA.
    pub(crate) fn client(
        &self,
        roles: &[&str],
        usages: &[rcgen::ExtendedKeyUsagePurpose],
    ) -> rustls::ClientConfig {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for role in roles {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *role);
        }
        params.extended_key_usages = usages.to_vec();
        let issuer = Issuer::from_ca_cert_pem(&self.ca_pem, &self.ca_key).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).unwrap())
            .unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config =
            rustls::ClientConfig::builder_with_provider(acctest::talosnode::tls::provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_client_auth_cert(vec![certificate.der().clone()], key)
                .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    pub(crate) fn admin(&self) -> rustls::ClientConfig {
        self.client(&["os:admin"], &[rcgen::ExtendedKeyUsagePurpose::ClientAuth])
    }
}

/// TLS that trusts everybody and shows nothing, as `--insecure` does.
pub(crate) fn insecure() -> rustls::ClientConfig {
    #[derive(Debug)]
    struct Everybody;
    impl rustls::client::danger::ServerCertVerifier for Everybody {
        fn verify_server_cert(
            &self,
            end_entity: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            let (_, parsed) = x509_parser::parse_x509_certificate(end_entity).unwrap();
            assert_eq!(
                parsed.subject().to_string(),
                "CN=maintenance-service.talos.dev"
            );
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::General("TLS 1.2".to_owned()))
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            vec![rustls::SignatureScheme::ED25519]
        }
    }
    let mut config =
        rustls::ClientConfig::builder_with_provider(acctest::talosnode::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Everybody))
            .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A gRPC channel to a node. Fails as the connection does.
pub(crate) async fn channel(
    machine: &Machine,
    tls: rustls::ClientConfig,
) -> Result<tonic::transport::Channel, String> {
    let address = machine.plan.address;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    let connect = tower::service_fn(move |_: http::Uri| {
        let connector = connector.clone();
        async move {
            let stream = tokio::net::TcpStream::connect((address, 50_000)).await?;
            let name =
                rustls::pki_types::ServerName::IpAddress(std::net::IpAddr::V4(address).into());
            let stream = connector.connect(name, stream).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    tonic::transport::Endpoint::from_static("http://node")
        .connect_with_connector(connect)
        .await
        .map_err(|error| acctest::rack::firmware::chain(&error))
}

/// As [`channel`], again until it works; panics after 20 s.
pub(crate) async fn connected(
    machine: &Machine,
    tls: &rustls::ClientConfig,
) -> tonic::transport::Channel {
    let mut last = String::new();
    for _ in 0..2000 {
        match channel(machine, tls.clone()).await {
            Ok(channel) => return channel,
            Err(why) => last = why,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "{last}: {}",
        serde_json::to_string_pretty(&machine.status()).unwrap()
    );
}

/// Puts a Talos netboot for one machine on the double: script, kernel, initramfs. The config is at `/config`.
pub(crate) fn serve_talos(double: &Double, arguments: &str) {
    let stands = |what: &str| acctest::rack::factory::Stands {
        what: what.to_owned(),
        version: "v1.13.9".to_owned(),
        schematic: acctest::rack::factory::VANILLA.to_owned(),
        arch: "amd64".to_owned(),
    };
    double.file("/vmlinuz", stands("kernel").emit());
    double.file("/initramfs.xz", stands("initramfs").emit());
    double.file(
        "/script",
        format!(
            "#!ipxe\nkernel vmlinuz initrd=initramfs.xz talos.platform=metal talos.events.sink={} talos.logging.kernel=tcp://{} {arguments} || goto failed\n\
             initrd initramfs.xz || goto failed\nboot || goto failed\n:failed\nsleep 5\nexit 1\n",
            double.sink, double.kernel
        ),
    );
}
