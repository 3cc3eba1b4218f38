//! A cluster's secrets: made, read and written as the `secrets.yaml` of Talos's own tools, and the client
//! certificates that follow from them.
//!
//! Promises: no value of [`Secret`] appears in `Debug` or `Display`; what is read and written again is byte-equal;
//! client certificates are made when they are needed and not kept. Time and randomness are arguments, except for the
//! RSA key of the service account, which the cryptographic library makes by itself. Not here: where bundles are kept.

mod access;
mod curve;
mod der;
mod file;
mod import;
mod inspect;
mod key;
mod stored;
mod talosconfig;
mod x509;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use jiff::Timestamp;
use sha2::Digest as _;

pub use access::{ClientCertificate, ClientError, KubernetesUser, Role};
pub use import::ImportError;
pub use inspect::{FaultKind, SecretsFault};
use key::SigningKey;
pub use stored::StoredBundle;
pub use talosconfig::{Context, Talosconfig, TalosconfigError};
use x509::{Name, Validity};

use crate::version::{Contract, Generator};
use crate::yaml::Node;

/// A text that must not be shown: without `Debug`, `Display` and serialization of its content.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where random bytes come from.
pub trait Entropy {
    /// Fills the whole slice.
    fn fill(&mut self, bytes: &mut [u8]);
}

impl<F: FnMut(&mut [u8])> Entropy for F {
    fn fill(&mut self, bytes: &mut [u8]) {
        self(bytes);
    }
}

/// The operating system's randomness, for shells.
pub fn system_entropy(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system's randomness is there once the system runs");
}

/// A certificate authority: certificate and private key, both as PEM text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: Secret,
}

/// With what etcd's secrets are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdEncryption {
    /// Contract 1.3 and later.
    Secretbox(Secret),
    /// Older clusters.
    AesCbc(Secret),
}

/// All secrets of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The cluster's id: opaque, and no secret.
    pub cluster_id: String,
    /// The key of the discovery service's data.
    pub cluster_secret: Secret,
    /// Kubernetes' bootstrap token.
    pub bootstrap_token: Secret,
    /// The key of etcd's secrets.
    pub etcd_encryption: EtcdEncryption,
    /// The token with which a node asks for its certificate.
    pub machine_token: Secret,
    /// etcd's authority.
    pub etcd: Authority,
    /// Kubernetes' authority.
    pub kubernetes: Authority,
    /// The authority of the aggregation layer.
    pub aggregator: Authority,
    /// The key that signs service account tokens.
    pub service_account: Secret,
    /// The authority of Talos's own API.
    pub os: Authority,
}

/// Ten years, as Talos's tools count them.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(87_600);

/// Why a bundle cannot be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// Not YAML.
    #[error("the secrets file is not valid YAML: {0}")]
    Syntax(crate::yaml::ParseError),
    /// A value of another type than the file has there.
    #[error("the secrets file, {0}")]
    Type(crate::yaml::TypeError),
    /// A part that every cluster needs is absent.
    #[error("the secrets file lacks {0}")]
    Missing(&'static str),
    /// A part that is there cannot be used.
    #[error("{}{part} of the secrets file is not usable: {reason}", Line(*line))]
    Invalid {
        /// Its 1-based line, where it was read from a file.
        line: Option<usize>,
        /// Its path in the file.
        part: &'static str,
        /// Why, without the value.
        reason: &'static str,
    },
    /// A key of another algorithm or curve than what belongs there.
    #[error("{}{fault}", Line(*line))]
    Unfit {
        /// Its 1-based line, where it was read from a file.
        line: Option<usize>,
        /// Which part, what belongs there, and what stands there.
        fault: SecretsFault,
    },
    /// The cryptographic library refused to make a key.
    #[error("no key could be made")]
    Crypto,
}

struct Line(Option<usize>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(line) => write!(f, "line {line}: "),
            None => Ok(()),
        }
    }
}

impl SecretsError {
    /// With the line on which the part stands in its file.
    fn placed(mut self, root: &Node) -> Self {
        let at = |part: &str| {
            let keys: Vec<&str> = part.split('.').collect();
            root.at(&keys).map(|node| node.line).filter(|l| *l > 0)
        };
        match &mut self {
            Self::Invalid { line, part, .. } => *line = at(part),
            Self::Unfit { line, fault } => *line = at(fault.part),
            Self::Syntax(_) | Self::Type(_) | Self::Missing(_) | Self::Crypto => {}
        }
        self
    }
}

impl Bundle {
    /// Makes the secrets of a new cluster. The RSA key (contract 1.7 and later) takes most of a second.
    ///
    /// # Errors
    /// [`SecretsError::Crypto`] only.
    pub fn generate(
        generator: Generator,
        contract: Contract,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, SecretsError> {
        let random = |entropy: &mut dyn Entropy| {
            let mut bytes = [0; 32];
            entropy.fill(&mut bytes);
            bytes
        };
        let service_account = if contract.since_1(7) {
            key::rsa_4096().map_err(|_| SecretsError::Crypto)?
        } else {
            SigningKey::p256(entropy).to_pem()
        };
        let cluster_id = match generator {
            Generator::V1_13 => URL_SAFE.encode(random(entropy)),
            Generator::V1_14 => STANDARD.encode(random(entropy)),
        };
        Ok(Self {
            cluster_id,
            cluster_secret: Secret::new(STANDARD.encode(random(entropy))),
            bootstrap_token: token(entropy),
            etcd_encryption: EtcdEncryption::Secretbox(Secret::new(
                STANDARD.encode(random(entropy)),
            )),
            machine_token: token(entropy),
            etcd: authority(SigningKey::p256(entropy), &["etcd"], now, entropy),
            kubernetes: authority(SigningKey::p256(entropy), &["kubernetes"], now, entropy),
            // Talos's tools name nobody here.
            aggregator: authority(SigningKey::p256(entropy), &[], now, entropy),
            os: authority(SigningKey::ed25519(entropy), &["talos"], now, entropy),
            service_account,
        })
    }

    /// The SHA-256 of the OS authority's certificate in lower-case hex: it names the cluster, and tells nothing.
    pub fn fingerprint(&self) -> String {
        let der = pem::parse(&self.os.certificate).map(|p| p.into_contents());
        hex(&sha2::Sha256::digest(der.unwrap_or_default()))
    }

    /// Every text of the bundle that must not be shown, as written in files of any form.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let encryption = match &self.etcd_encryption {
            EtcdEncryption::Secretbox(secret) | EtcdEncryption::AesCbc(secret) => secret,
        };
        [
            &self.cluster_secret,
            &self.bootstrap_token,
            &self.machine_token,
            encryption,
            &self.etcd.key,
            &self.kubernetes.key,
            &self.aggregator.key,
            &self.service_account,
            &self.os.key,
        ]
        .into_iter()
    }
}

fn authority(
    key: SigningKey,
    organizations: &[&str],
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Authority {
    let name = Name {
        organizations,
        common_name: None,
    };
    let validity = Validity {
        from: now,
        until: later(now, AUTHORITY_LIFETIME),
    };
    let mut key_id = [0; 20];
    entropy.fill(&mut key_id);
    Authority {
        certificate: x509::authority(&key, &name, &validity, serial(entropy), key_id),
        key: key.to_pem(),
    }
}

fn serial(entropy: &mut dyn Entropy) -> [u8; 16] {
    let mut serial = [0; 16];
    entropy.fill(&mut serial);
    serial
}

/// `now + lifetime`, or the end of time as this calendar knows it.
fn later(now: Timestamp, lifetime: Duration) -> Timestamp {
    now.saturating_add(lifetime).unwrap_or(Timestamp::MAX)
}

/// Six characters, a dot, sixteen characters; each equally likely.
fn token(entropy: &mut dyn Entropy) -> Secret {
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut character = || {
        loop {
            let mut byte = [0];
            entropy.fill(&mut byte);
            // 252 is the largest multiple of 36 in a byte.
            if byte[0] < 252 {
                return char::from(ALPHABET[usize::from(byte[0] % 36)]);
            }
        }
    };
    let mut text: String = (0..6).map(|_| character()).collect();
    text.push('.');
    text.extend((0..16).map(|_| character()));
    Secret::new(text)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
