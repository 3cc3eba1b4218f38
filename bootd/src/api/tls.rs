//! The API's listener: TLS 1.3, client certificates of our CA, nothing else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// Connections whose handshake is done.
pub type Connections = mpsc::Receiver<io::Result<TlsStream<TcpStream>>>;

/// Handshakes that wait to be served.
const BACKLOG: usize = 64;
/// A client that does not finish its handshake is dropped.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// PEM that rustls does not take.
#[derive(Debug, thiserror::Error)]
#[error("{what} is not usable: {why}")]
pub struct BadPem {
    /// Which file.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

fn bad(what: &'static str) -> impl Fn(String) -> BadPem {
    move |why| BadPem { what, why }
}

fn chain(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, BadPem> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| bad(what)(format!("{e:?}")))
}

fn key(pem: &str) -> Result<PrivateKeyDer<'static>, BadPem> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| bad("server.key")(format!("{e:?}")))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The API's configuration: a client without our CA's certificate does not get through the handshake.
pub fn api(
    ca: &str,
    certificate: &str,
    key_pem: &str,
) -> Result<Arc<rustls::ServerConfig>, BadPem> {
    let mut roots = rustls::RootCertStore::empty();
    for root in chain(ca, "ca.pem")? {
        roots.add(root).map_err(|e| bad("ca.pem")(e.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|e| bad("ca.pem")(e.to_string()))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| bad("server.pem")(e.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(certificate, "server.pem")?, key(key_pem)?)
        .map_err(|e| bad("server.pem")(e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// The HTTPS port's configuration for the agent and for configs: no client certificates, tokens instead.
pub fn https(certificate: &str, key_pem: &str) -> Result<Arc<rustls::ServerConfig>, BadPem> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad("server.pem")(e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain(certificate, "server.pem")?, key(key_pem)?)
        .map_err(|e| bad("server.pem")(e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Accepts and shakes hands, each connection by itself; the receiver is what tonic serves.
pub fn incoming(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
) -> Connections {
    let (send, receive) = mpsc::channel(BACKLOG);
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, send) = (acceptor.clone(), send.clone());
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                    Ok(Ok(tls)) => {
                        let _ = send.send(Ok(tls)).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "handshake refused"),
                    Err(_) => tracing::debug!("handshake timed out"),
                }
            });
        }
    });
    receive
}
