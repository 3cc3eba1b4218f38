//! bootd's own certificate authority: made once, it names the server and gives every client its role.
//!
//! Promises: keys are written 0600 and never printed; the API speaks TLS 1.3 only and to certificates of this CA only; a role is
//! the certificate's organization and nothing else. Not here: which role may call what (`authz`), Talos's own certificates.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
const SERVER_LIFE: Duration = Duration::from_secs(3 * 365 * 86_400);

/// What a client may do. `authz` has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Everything, credentials and cluster secrets included.
    Admin,
    /// Everything but secrets.
    Operator,
    /// Reads, and soft holds.
    Planner,
    /// Another bootd.
    Site,
}

impl Role {
    /// As it stands in a certificate.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Planner => "planner",
            Self::Site => "site",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Admin, Self::Operator, Self::Planner, Self::Site]
            .into_iter()
            .find(|role| role.name() == text)
    }
}

/// Why the authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file of the state directory.
    #[error("cannot {verb} {path:?}")]
    File {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// `bootd init` was run here before.
    #[error(
        "{0:?} exists already: `bootd init` never replaces a CA; use another --dir, or remove it if nothing trusts it"
    )]
    Exists(PathBuf),
    /// A key or certificate could not be made or read.
    #[error("the certificate or key is not usable")]
    Certificate(#[source] rcgen::Error),
    /// TLS refuses the certificate or key.
    #[error("TLS cannot use the certificate or key")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A certificate and its key, as PEM.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key; secret.
    pub key: String,
}

/// The CA of one bootd, its server certificate and the key that seals secrets in the database.
pub struct Authority {
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
    server: Identity,
    seal: [u8; 32],
}

impl Authority {
    /// Makes everything in `dir` (0700). `hosts` are the names and addresses of the server's certificate.
    pub fn create(dir: &Path, hosts: &[String]) -> Result<Self, AuthorityError> {
        let ca_file = dir.join("ca.pem");
        if ca_file.exists() {
            return Err(AuthorityError::Exists(ca_file));
        }
        if !dir.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(|source| AuthorityError::File {
                    verb: "write",
                    path: dir.to_owned(),
                    source,
                })?;
        }
        let key = new_key()?;
        let ca_pem = ca_params()?
            .self_signed(&key)
            .map_err(AuthorityError::Certificate)?
            .pem();
        let ca_key = key.serialize_pem();
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(AuthorityError::Certificate)?;
        let server = issue(&issuer, server_params(hosts)?)?;
        let mut seal = [0; 32];
        getrandom::fill(&mut seal).map_err(|e| AuthorityError::Tls(e.to_string().into()))?;
        write_private(&dir.join("ca.key"), ca_key.as_bytes())?;
        write_private(&dir.join("server.key"), server.key.as_bytes())?;
        write_private(&dir.join("server.pem"), server.certificate.as_bytes())?;
        write_private(&dir.join("seal.key"), &seal)?;
        // Last: its presence says that all others are there.
        write_private(&ca_file, ca_pem.as_bytes())?;
        Ok(Self {
            ca_pem,
            issuer,
            server,
            seal,
        })
    }

    /// Reads what [`Authority::create`] wrote.
    pub fn load(dir: &Path) -> Result<Self, AuthorityError> {
        let ca_pem = read(&dir.join("ca.pem"))?;
        let key =
            KeyPair::from_pem(&read(&dir.join("ca.key"))?).map_err(AuthorityError::Certificate)?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(AuthorityError::Certificate)?;
        let server = Identity {
            certificate: read(&dir.join("server.pem"))?,
            key: read(&dir.join("server.key"))?,
        };
        let path = dir.join("seal.key");
        let seal = fs::read(&path)
            .and_then(|bytes| {
                bytes
                    .try_into()
                    .map_err(|_| io::Error::other("want 32 bytes"))
            })
            .map_err(|source| AuthorityError::File {
                verb: "read",
                path,
                source,
            })?;
        Ok(Self {
            ca_pem,
            issuer,
            server,
            seal,
        })
    }

    /// Our CA, public: it goes into bundles, the agent's initrd and Talos's first config.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The key that seals secrets in the database.
    pub fn seal_key(&self) -> &[u8; 32] {
        &self.seal
    }

    /// A client certificate with a role.
    pub fn issue_client(
        &self,
        name: &str,
        role: Role,
        life: Duration,
    ) -> Result<Identity, AuthorityError> {
        let mut params = params(name, role.name(), life)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        issue(&self.issuer, params)
    }

    /// TLS of the API: 1.3, HTTP/2, client certificates of our CA required.
    pub fn api_tls(&self) -> Result<Arc<rustls::ServerConfig>, AuthorityError> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate(&self.ca_pem)?).map_err(tls)?;
        let provider = provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(tls)?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![certificate(&self.server.certificate)?],
                private_key(&self.server.key)?,
            )
            .map_err(tls)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config.into())
    }

    /// TLS of `https`: the same certificate; the clients are machines that have a token and no certificate.
    pub fn https_tls(&self) -> Result<Arc<rustls::ServerConfig>, AuthorityError> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate(&self.server.certificate)?],
                private_key(&self.server.key)?,
            )
            .map_err(tls)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config.into())
    }
}

/// The role in a client certificate; `None` if it names none that we know.
pub fn role_of(certificate: &[u8]) -> Option<Role> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    parsed
        .subject()
        .iter_organization()
        .find_map(|o| Role::parse(o.as_str().ok()?))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    rustls::crypto::aws_lc_rs::default_provider().into()
}

fn new_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Certificate)
}

fn issue(
    issuer: &Issuer<'static, KeyPair>,
    params: CertificateParams,
) -> Result<Identity, AuthorityError> {
    let key = new_key()?;
    let certificate = params
        .signed_by(&key, issuer)
        .map_err(AuthorityError::Certificate)?
        .pem();
    Ok(Identity {
        certificate,
        key: key.serialize_pem(),
    })
}

fn params(
    name: &str,
    organization: &str,
    life: Duration,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(vec![]).map_err(AuthorityError::Certificate)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, organization);
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    // Clocks differ: a certificate that is not valid yet on the other side helps nobody.
    let now = std::time::SystemTime::now();
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + life).into();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn ca_params() -> Result<CertificateParams, AuthorityError> {
    let mut params = params("bootd CA", "metal", CA_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.use_authority_key_identifier_extension = false;
    Ok(params)
}

fn server_params(hosts: &[String]) -> Result<CertificateParams, AuthorityError> {
    let mut params = params("bootd", "metal", SERVER_LIFE)?;
    for host in hosts {
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(
                host.as_str()
                    .try_into()
                    .map_err(AuthorityError::Certificate)?,
            ),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn tls(error: impl std::error::Error + Send + Sync + 'static) -> AuthorityError {
    AuthorityError::Tls(Box::new(error))
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, AuthorityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(tls)
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, AuthorityError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(tls)
}

fn read(path: &Path) -> Result<String, AuthorityError> {
    fs::read_to_string(path).map_err(|source| AuthorityError::File {
        verb: "read",
        path: path.to_owned(),
        source,
    })
}

/// Writes a new file, 0600. An existing one is an error.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), AuthorityError> {
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| AuthorityError::File {
        verb: "write",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_create_wrote_load_reads_and_nothing_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("state");
        let made = Authority::create(&dir, &["10.0.0.5".into(), "boot.example".into()]).unwrap();
        let read = Authority::load(&dir).unwrap();
        assert_eq!(made.ca_pem(), read.ca_pem());
        assert_eq!(made.seal_key(), read.seal_key());
        assert!(read.api_tls().is_ok() && read.https_tls().is_ok());
        assert!(matches!(
            Authority::create(&dir, &[]),
            Err(AuthorityError::Exists(_))
        ));
        for name in ["ca.key", "server.key", "seal.key"] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777,
                0o600,
                "{name}"
            );
        }
    }

    #[test]
    fn a_role_is_the_organization_of_the_certificate() {
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::create(&home.path().join("s"), &["127.0.0.1".into()]).unwrap();
        for role in [Role::Admin, Role::Operator, Role::Planner, Role::Site] {
            let identity = authority
                .issue_client("someone", role, Duration::from_secs(60))
                .unwrap();
            let der = certificate(&identity.certificate).unwrap();
            assert_eq!(role_of(&der), Some(role));
        }
        let der = certificate(&authority.server.certificate).unwrap();
        assert_eq!(role_of(&der), None);
        assert_eq!(role_of(b"nonsense"), None);
    }
}
