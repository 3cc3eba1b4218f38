//! AutoMTLS: host and plugin each show a certificate made for this one start, and each accepts only the other's.
//!
//! The host's is a self-signed P-521 certificate that calls itself an authority, so no chain is built:
//! the exact bytes are compared, and the signature proves that the peer has the key.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

/// Why there is no encrypted channel.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// `PLUGIN_CLIENT_CERT` is not PEM.
    #[error("the host's certificate in PLUGIN_CLIENT_CERT is not PEM")]
    HostCertificate(#[source] rustls_pki_types::pem::Error),
    /// Our certificate could not be made.
    #[error("the plugin's certificate cannot be made")]
    OwnCertificate(#[source] rcgen::Error),
    /// The library refuses the configuration.
    #[error("TLS cannot be set up")]
    Setup(#[source] Error),
}

/// The plugin's end of the channel.
pub(super) struct Channel {
    /// For the listener.
    pub(super) config: Arc<ServerConfig>,
    /// For the handshake line.
    pub(super) certificate: CertificateDer<'static>,
}

/// Makes a key and a certificate, and pins the host's.
pub(super) fn channel(host_certificate_pem: &str) -> Result<Channel, TlsError> {
    let pinned = CertificateDer::from_pem_slice(host_certificate_pem.as_bytes())
        .map_err(TlsError::HostCertificate)?;
    let (certificate, key) = own_certificate().map_err(TlsError::OwnCertificate)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Pinned {
        certificate: pinned,
        provider: Arc::clone(&provider),
    });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.clone()], key)
        .map_err(TlsError::Setup)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // One connection per process: nothing to resume.
    config.send_tls13_tickets = 0;
    Ok(Channel {
        config: Arc::new(config),
        certificate,
    })
}

/// The host trusts exactly this certificate, under the name "localhost".
fn own_certificate() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((certificate.der().clone(), key))
}

/// Accepts the one certificate, and its owner only.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if *end_entity == self.certificate {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, IsCa};
    use rustls::{ClientConfig, RootCertStore};
    use rustls_pki_types::ServerName;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    /// A certificate as go-plugin makes it: P-521, self-signed, an authority.
    fn host_certificate() -> (String, CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (certificate.pem(), certificate.der().clone(), der)
    }

    /// Connects with the identity, or none, and asks for an echo.
    async fn check(
        pinned_pem: &str,
        identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Result<String, String> {
        let channel = channel(pinned_pem).unwrap();
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let server = async {
            let mut stream = TlsAcceptor::from(channel.config)
                .accept(ours)
                .await
                .map_err(|e| e.to_string())?;
            let mut word = [0; 4];
            stream
                .read_exact(&mut word)
                .await
                .map_err(|e| e.to_string())?;
            stream.write_all(&word).await.map_err(|e| e.to_string())?;
            stream.shutdown().await.map_err(|e| e.to_string())
        };
        let client = async {
            let mut roots = RootCertStore::empty();
            roots.add(channel.certificate.clone()).unwrap();
            let builder =
                ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                    .with_protocol_versions(&[&rustls::version::TLS13])
                    .unwrap()
                    .with_root_certificates(roots);
            let config = match identity {
                Some((certificate, key)) => builder
                    .with_client_auth_cert(vec![certificate], key)
                    .unwrap(),
                None => builder.with_no_client_auth(),
            };
            let connector = TlsConnector::from(Arc::new(config));
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = connector
                .connect(name, theirs)
                .await
                .map_err(|e| e.to_string())?;
            stream.write_all(b"ping").await.map_err(|e| e.to_string())?;
            let mut answer = String::new();
            stream
                .read_to_string(&mut answer)
                .await
                .map_err(|e| e.to_string())?;
            Ok(answer)
        };
        let (served, answer): (Result<(), String>, Result<String, String>) =
            tokio::join!(server, client);
        served.and(answer)
    }

    #[tokio::test]
    async fn only_the_pinned_certificate_is_served() {
        let (pem, certificate, key) = host_certificate();
        assert_eq!(
            check(&pem, Some((certificate, key.clone_key()))).await,
            Ok("ping".to_owned())
        );

        let without = check(&pem, None).await.unwrap_err();
        assert!(without.contains("sent no certificates"), "{without}");

        let (_, other, other_key) = host_certificate();
        let foreign = check(&pem, Some((other, other_key))).await.unwrap_err();
        assert!(foreign.contains("invalid peer certificate"), "{foreign}");
    }

    #[test]
    fn a_certificate_that_is_none_is_an_error() {
        assert!(matches!(
            channel("no PEM"),
            Err(TlsError::HostCertificate(_))
        ));
    }
}
