//! The node's certificates and what it demands of its clients.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName as RustlsName, RootCertStore,
    SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::config::Pair;

/// Why the node has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be made.
    #[error("certificate")]
    Make(#[from] rcgen::Error),
    /// The CA in the config is none.
    #[error("the CA in the config cannot be read: {0}")]
    Ca(String),
    /// rustls refused it.
    #[error("tls")]
    Tls(#[from] rustls::Error),
}

/// Key algorithms and suites.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Self-signed, for maintenance: nobody is asked for a certificate.
///
/// # Errors
/// See [`TlsError`].
pub fn maintenance(hostname: &str, address: Ipv4Addr) -> Result<rustls::ServerConfig, TlsError> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let params = server_params("maintenance-service.talos.dev", hostname, address, &[]);
    let certificate = params.self_signed(&key)?;
    let builder = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = builder.with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// What a configured node's server certificate is made of.
#[derive(Debug, Clone)]
pub struct Identity<'a> {
    /// Host name.
    pub hostname: &'a str,
    /// Address.
    pub address: Ipv4Addr,
    /// Further names and addresses of the config.
    pub sans: &'a [String],
}

/// Certificate by the cluster's machine CA; clients must show one of the same CA that is for clients and nothing else.
///
/// # Errors
/// See [`TlsError`].
pub fn configured(identity: &Identity<'_>, ca: &Pair) -> Result<rustls::ServerConfig, TlsError> {
    let ca_key = ca_key(&ca.key)?;
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, ca_key)?;
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let params = server_params(
        identity.hostname,
        identity.hostname,
        identity.address,
        identity.sans,
    );
    let certificate = params.signed_by(&key, &issuer)?;
    let builder = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(ClientsOnly::new(&ca.certificate)?);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = builder.with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Trusts these roots and no others.
///
/// # Errors
/// See [`TlsError`].
pub fn client(roots_pem: &str) -> Result<rustls::ClientConfig, TlsError> {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(roots_pem)?);
    Ok(builder.with_no_client_auth())
}

/// `O` of a certificate: the roles of a client.
pub fn roles(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    parsed
        .subject()
        .iter_organization()
        .filter_map(|o| o.as_str().ok().map(str::to_owned))
        .collect()
}

fn server_params(
    name: &str,
    hostname: &str,
    address: Ipv4Addr,
    sans: &[String],
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let dns = |name: &str| name.to_owned().try_into().ok().map(SanType::DnsName);
    let ips = [
        IpAddr::V4(address),
        IpAddr::from([127, 0, 0, 1]),
        "::1".parse().unwrap_or(IpAddr::V4(address)),
    ];
    params.subject_alt_names = dns(hostname)
        .into_iter()
        .chain(ips.map(SanType::IpAddress))
        .collect();
    for san in sans {
        let more = san
            .parse()
            .ok()
            .map(SanType::IpAddress)
            .or_else(|| dns(san));
        params.subject_alt_names.extend(more);
    }
    let now = std::time::SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(10)).into();
    params.not_after = (now + std::time::Duration::from_secs(24 * 3600)).into();
    params
}

/// Talos writes `ED25519 PRIVATE KEY` around PKCS#8, and `EC PRIVATE KEY` around SEC 1.
fn ca_key(pem_text: &str) -> Result<KeyPair, TlsError> {
    let block = pem::parse(pem_text).map_err(|error| TlsError::Ca(error.to_string()))?;
    let relabelled = match block.tag() {
        "ED25519 PRIVATE KEY" => pem::encode(&pem::Pem::new("PRIVATE KEY", block.contents())),
        _ => pem_text.to_owned(),
    };
    Ok(KeyPair::from_pem(&relabelled)?)
}

fn roots(text: &str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        store.add(certificate.map_err(|error| TlsError::Ca(error.to_string()))?)?;
    }
    Ok(store)
}

/// Go's verifier with `ExtKeyUsageClientAuth` accepts certificates of several usages; the node's own check wants that one alone.
#[derive(Debug)]
struct ClientsOnly(Arc<dyn ClientCertVerifier>);

impl ClientsOnly {
    fn new(ca_pem: &str) -> Result<Arc<Self>, TlsError> {
        let inner =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca_pem)?), provider())
                .build()
                .map_err(|error| TlsError::Ca(error.to_string()))?;
        Ok(Arc::new(Self(inner)))
    }
}

impl ClientCertVerifier for ClientsOnly {
    fn root_hint_subjects(&self) -> &[RustlsName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let good = self.0.verify_client_cert(end_entity, intermediates, now)?;
        let clients_only = X509Certificate::from_der(end_entity).is_ok_and(|(_, certificate)| {
            certificate.extended_key_usage().is_ok_and(|usage| {
                usage.is_some_and(|usage| {
                    let u = usage.value;
                    let more = u.any
                        || u.server_auth
                        || u.code_signing
                        || u.email_protection
                        || u.time_stamping;
                    u.client_auth && !more && !u.ocsp_signing && u.other.is_empty()
                })
            })
        });
        if clients_only {
            Ok(good)
        } else {
            Err(CertificateError::InvalidPurpose.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
