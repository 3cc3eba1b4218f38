//! Connections: mutual TLS with a cluster's own authority, and a look at who answers at an address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::{ClientError, from_tls};
use crate::secrets::ClientCertificate;

/// The name in the certificate of a node that waits for its config.
pub(super) const MAINTENANCE: &str = "maintenance-service.talos.dev";
/// A dead peer is noticed after these: a node that reboots leaves half-open connections.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_WAIT: Duration = Duration::from_secs(5);

/// A channel that connects at its first call.
pub(super) fn channel(
    address: SocketAddr,
    certificate: &ClientCertificate,
    deadline: Duration,
) -> Result<Channel, ClientError> {
    let tls = TlsConnector::from(Arc::new(mutual(certificate)?));
    let name = ServerName::from(address.ip());
    // The scheme is the connector's business: tonic must not add TLS of its own.
    let uri = format!("http://{address}");
    let endpoint = Endpoint::from_shared(uri)
        .map_err(|_| ClientError::Certificate("the address is no authority of a URL"))?
        .connect_timeout(deadline)
        .http2_keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_WAIT);
    let connector = tower::service_fn(move |_| {
        let (tls, name) = (tls.clone(), name.clone());
        async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
        }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn mutual(certificate: &ClientCertificate) -> Result<ClientConfig, ClientError> {
    let broken = ClientError::Certificate;
    let chain = CertificateDer::pem_slice_iter(certificate.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| broken("its certificate is not PEM"))?;
    // The library knows the key's encoding, but not Talos's label for it.
    let key = certificate
        .key
        .expose()
        .replace("ED25519 PRIVATE KEY", "PRIVATE KEY");
    let key =
        PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| broken("its key is not PEM"))?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(certificate.ca.as_bytes()) {
        let root = root.map_err(|_| broken("its authority is not PEM"))?;
        roots
            .add(root)
            .map_err(|_| broken("its authority is no certificate"))?;
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|_| broken("it has no authority"))?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| broken("TLS 1.3 is not there"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ClusterVerifier { inner }))
        .with_client_auth_cert(chain, key)
        .map_err(|_| broken("certificate and key do not fit"))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The usual checks, and a name for the one failure that is no failure: a node without a config.
#[derive(Debug)]
struct ClusterVerifier {
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for ClusterVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| {
                if common_name(end_entity).as_deref() == Some(MAINTENANCE) {
                    let other = rustls::OtherError(Arc::new(InMaintenance));
                    rustls::Error::InvalidCertificate(CertificateError::Other(other))
                } else {
                    error
                }
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct InMaintenance;

impl std::fmt::Display for InMaintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MAINTENANCE)
    }
}

impl std::error::Error for InMaintenance {}

fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

/// Who answers at an address, told by its certificate alone. It proves nothing: anyone can show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A node without a config.
    Maintenance {
        /// base64 of the SHA-256 of its public key, as on the node's console.
        fingerprint: String,
    },
    /// A configured node of this or another cluster.
    Configured,
}

/// Looks who answers, without a certificate of our own.
///
/// # Errors
/// [`ClientError::Unreachable`] or [`ClientError::Deadline`].
pub async fn probe(address: SocketAddr, deadline: Duration) -> Result<Peer, ClientError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| ClientError::Certificate("TLS 1.3 is not there"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(DangerAnyCertificate(provider())))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let look = async {
        let unreachable = |error: &std::io::Error| {
            let tls = error
                .get_ref()
                .and_then(|e| e.downcast_ref::<rustls::Error>());
            match tls {
                Some(tls) => from_tls(address, tls),
                None => ClientError::Unreachable {
                    address,
                    why: error.to_string(),
                },
            }
        };
        let tcp = TcpStream::connect(address)
            .await
            .map_err(|e| unreachable(&e))?;
        let name = ServerName::from(address.ip());
        let stream = connector
            .connect(name, tcp)
            .await
            .map_err(|e| unreachable(&e))?;
        let certificates = stream.get_ref().1.peer_certificates();
        certificates
            .and_then(<[_]>::first)
            .and_then(peer_of)
            .ok_or(ClientError::Answer("its certificate cannot be read"))
    };
    tokio::time::timeout(deadline, look)
        .await
        .map_err(|_| ClientError::Deadline(address))?
}

fn peer_of(certificate: &CertificateDer<'_>) -> Option<Peer> {
    use base64::Engine as _;
    use sha2::Digest as _;
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    if common_name(certificate).as_deref() != Some(MAINTENANCE) {
        return Some(Peer::Configured);
    }
    let digest = sha2::Sha256::digest(parsed.public_key().raw);
    let fingerprint = base64::engine::general_purpose::STANDARD.encode(digest);
    Some(Peer::Maintenance { fingerprint })
}

/// Takes any certificate, but checks that the peer holds its key. Only [`probe`] uses it, and sends nothing.
#[derive(Debug)]
struct DangerAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for DangerAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
