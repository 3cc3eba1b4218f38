//! The host's half of a connection over a port: a certificate of its own as go-plugin makes them, and the plugin's pinned.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// What makes the toy listen on a port, as Windows does by itself.
pub(crate) const VARIABLES: [(&str, &str); 3] = [
    ("TFPLUGIN_TRANSPORT", "tcp"),
    ("PLUGIN_MIN_PORT", "20000"),
    ("PLUGIN_MAX_PORT", "29999"),
];

/// A host: P-521, self-signed, an authority.
pub(crate) struct Identity {
    /// For `PLUGIN_CLIENT_CERT`.
    pub(crate) pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }
}

/// TLS to a plugin with this certificate, as it is in the handshake line; with or without a certificate of the client.
pub(crate) fn tls(plugin: &str, identity: Option<&Identity>) -> TlsConnector {
    let der = STANDARD_NO_PAD.decode(plugin).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(der)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(i) => builder
            .with_client_auth_cert(vec![i.certificate.clone()], i.key.clone_key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config).into()
}

/// The channel of a host to `address`.
pub(crate) async fn connect(address: &str, plugin: &str, identity: &Identity) -> Channel {
    let (tls, address) = (tls(plugin, Some(identity)), address.to_owned());
    let connector = tower::service_fn(move |_| {
        let (tls, address) = (tls.clone(), address.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            tls.connect(name, stream).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .unwrap()
}
