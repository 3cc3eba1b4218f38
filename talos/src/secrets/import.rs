//! Bundles from other places than `secrets.yaml`: talhelper, a control plane's config, Kubernetes' own PKI.
//!
//! Promises: what a control plane's config holds comes back byte for byte; nothing is read from a file, contents are
//! arguments; no error holds a value; keys of another algorithm or curve and certificates of other keys are errors.
//! Whether certificates are still valid is [`Bundle::inspect`]'s to say.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::{Authority, Bundle, Entropy, EtcdEncryption, Secret, SecretsError, SecretsFault};
use crate::version::{Contract, Generator};
use crate::yaml::{Node, parse_documents};

/// Why no bundle can be made of something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// As for `secrets.yaml`.
    #[error(transparent)]
    Secrets(SecretsError),
    /// The values are encrypted.
    #[error(
        "the secrets file is encrypted by SOPS; decrypt it first (sops --decrypt) and import the result"
    )]
    Encrypted,
    /// A worker's config: it holds no key of an authority.
    #[error(
        "the config is a worker's, which holds no authority's key; import from a control plane's"
    )]
    Worker,
    /// There is no such key in the config.
    #[error("the config lacks {0}")]
    Config(&'static str),
    /// A value of the config cannot be used.
    #[error("line {line}: {part} of the config is not usable: {reason}")]
    ConfigValue {
        /// 1-based line.
        line: usize,
        /// The keys down to it.
        part: &'static str,
        /// Why, without the value.
        reason: &'static str,
    },
    /// A part that would keep the cluster from running.
    #[error("the imported secrets cannot run a cluster: {0}")]
    Unsound(SecretsFault),
    /// A file of the PKI is not there.
    #[error("the Kubernetes PKI lacks the file {0}")]
    File(&'static str),
    /// A file of the PKI is no PEM.
    #[error("the file {0} of the Kubernetes PKI is not PEM")]
    NotPem(&'static str),
}

impl From<SecretsError> for ImportError {
    fn from(error: SecretsError) -> Self {
        Self::Secrets(error)
    }
}

impl Bundle {
    /// Reads talhelper's `talsecret.yaml`: the same as `secrets.yaml`, but often encrypted.
    ///
    /// # Errors
    /// As [`Bundle::from_secrets_yaml`], SOPS's encryption, or a certificate of another key.
    pub fn from_talsecret(text: &str) -> Result<Self, ImportError> {
        let documents = parse_documents(text).map_err(SecretsError::Syntax)?;
        let encrypted = |root: &Node| {
            let id = root.text_at(&["cluster", "id"]);
            root.at(&["sops"]).is_some() || id.is_some_and(|id| id.starts_with("ENC["))
        };
        if documents.first().is_some_and(encrypted) {
            return Err(ImportError::Encrypted);
        }
        let bundle = Self::from_secrets_yaml(text)?;
        bundle.sound().map_err(ImportError::Unsound)
    }

    /// Takes the secrets out of a control plane's config of any contract.
    ///
    /// # Errors
    /// Broken YAML, a worker's config, a part that is not there, or one that cannot run a cluster.
    pub fn from_control_plane_config(config: &str) -> Result<Self, ImportError> {
        let documents = parse_documents(config).map_err(SecretsError::Syntax)?;
        let source = ConfigSource::new(&documents)?;
        let bundle = Self {
            cluster_id: source
                .text(
                    &["cluster", "id"],
                    "DiscoveryIdentityConfig",
                    &["clusterID"],
                )
                .ok_or(ImportError::Config("cluster.id"))?,
            cluster_secret: source
                .text(
                    &["cluster", "secret"],
                    "DiscoveryIdentityConfig",
                    &["clusterSecret"],
                )
                .map(Secret::new)
                .ok_or(ImportError::Config("cluster.secret"))?,
            bootstrap_token: source.main(&["cluster", "token"], "cluster.token")?,
            etcd_encryption: source.encryption()?,
            machine_token: source.main(&["machine", "token"], "machine.token")?,
            etcd: source.encoded(
                &["cluster", "etcd", "ca"],
                ["cluster.etcd.ca.crt", "cluster.etcd.ca.key"],
            )?,
            kubernetes: source.authority(
                &["cluster", "ca"],
                "KubeAPIServerCAConfig",
                ["cluster.ca.crt", "cluster.ca.key"],
            )?,
            aggregator: source.authority(
                &["cluster", "aggregatorCA"],
                "KubeAggregatorCAConfig",
                ["cluster.aggregatorCA.crt", "cluster.aggregatorCA.key"],
            )?,
            service_account: source.service_account()?,
            os: source.encoded(&["machine", "ca"], ["machine.ca.crt", "machine.ca.key"])?,
        };
        bundle.sound().map_err(ImportError::Unsound)
    }

    /// Takes over the authorities of a running Kubernetes, from the contents of its PKI directory by their paths in it
    /// (`ca.crt`, `ca.key`, `etcd/ca.crt`, `etcd/ca.key`, `front-proxy-ca.crt`, `front-proxy-ca.key`, `sa.key`).
    /// What Talos needs besides is made new.
    ///
    /// # Errors
    /// A file that is not there, that is no PEM, or whose key or certificate cannot run a cluster.
    pub fn from_kubernetes_pki(
        files: &BTreeMap<String, String>,
        generator: Generator,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, ImportError> {
        let kubernetes = pki_pair(files, ["ca.crt", "ca.key"])?;
        let etcd = pki_pair(files, ["etcd/ca.crt", "etcd/ca.key"])?;
        let aggregator = pki_pair(files, ["front-proxy-ca.crt", "front-proxy-ca.key"])?;
        let service_account = Secret::new(pki_file(files, "sa.key")?);
        // Contracts differ in the service account's key only, which is not made here.
        let contract = Contract::parse("v1.6", generator).map_err(|_| SecretsError::Crypto)?;
        let fresh = Self::generate(generator, contract, now, entropy)?;
        let bundle = Self {
            kubernetes,
            etcd,
            aggregator,
            service_account,
            ..fresh
        };
        bundle.sound().map_err(ImportError::Unsound)
    }
}

fn pki_pair(
    files: &BTreeMap<String, String>,
    [certificate, key]: [&'static str; 2],
) -> Result<Authority, ImportError> {
    Ok(Authority {
        certificate: pki_file(files, certificate)?,
        key: Secret::new(pki_file(files, key)?),
    })
}

fn pki_file(files: &BTreeMap<String, String>, name: &'static str) -> Result<String, ImportError> {
    let text = files.get(name).ok_or(ImportError::File(name))?;
    pem::parse(text).map_err(|_| ImportError::NotPem(name))?;
    Ok(text.clone())
}

/// A control plane's config: the main document, and those that hold the same from contract 1.14 on.
struct ConfigSource<'a> {
    main: &'a Node,
    documents: &'a [Node],
}

impl<'a> ConfigSource<'a> {
    fn new(documents: &'a [Node]) -> Result<Self, ImportError> {
        let main = documents
            .iter()
            .find(|d| d.at(&["kind"]).is_none() && d.at(&["machine"]).is_some())
            .ok_or(ImportError::Config("the main document"))?;
        match main.text_at(&["machine", "type"]) {
            Some("controlplane" | "init") => Ok(Self { main, documents }),
            Some("worker" | "join") => Err(ImportError::Worker),
            _ => Err(ImportError::Config("machine.type")),
        }
    }

    fn document(&self, kind: &str) -> Option<&'a Node> {
        let mut documents = self.documents.iter();
        documents.find(|d| d.text_at(&["kind"]) == Some(kind))
    }

    fn text(&self, main: &[&str], kind: &str, path: &[&str]) -> Option<String> {
        let legacy = self.main.text_at(main);
        legacy
            .or_else(|| self.document(kind)?.text_at(path))
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
    }

    fn main(&self, path: &[&str], part: &'static str) -> Result<Secret, ImportError> {
        let text = self.main.text_at(path).filter(|t| !t.is_empty());
        text.map(Secret::new).ok_or(ImportError::Config(part))
    }

    /// A pair in base64, as the main document holds them.
    fn encoded(
        &self,
        path: &[&str],
        [certificate, key]: [&'static str; 2],
    ) -> Result<Authority, ImportError> {
        let pair = self.main.at(path).ok_or(ImportError::Config(certificate))?;
        Ok(Authority {
            certificate: decoded(pair, "crt", certificate)?,
            key: Secret::new(decoded(pair, "key", key)?),
        })
    }

    /// A pair of the main document, or as text in a document of its own.
    fn authority(
        &self,
        main: &[&str],
        kind: &str,
        parts: [&'static str; 2],
    ) -> Result<Authority, ImportError> {
        let pair = self.document(kind).and_then(|d| d.at(&["issuingCA"]));
        let Some(pair) = pair.filter(|_| self.main.at(main).is_none()) else {
            return self.encoded(main, parts);
        };
        let plain = |key: &str, part| {
            let text = pair.text_at(&[key]).filter(|t| !t.is_empty());
            text.map(str::to_owned).ok_or(ImportError::Config(part))
        };
        Ok(Authority {
            certificate: plain("cert", parts[0])?,
            key: Secret::new(plain("key", parts[1])?),
        })
    }

    fn service_account(&self) -> Result<Secret, ImportError> {
        let part = "cluster.serviceAccount.key";
        if let Some(account) = self.main.at(&["cluster", "serviceAccount"]) {
            return decoded(account, "key", part).map(Secret::new);
        }
        self.document("KubeServiceAccountConfig")
            .and_then(|d| d.text_at(&["issuer", "privateKey"]))
            .map(Secret::new)
            .ok_or(ImportError::Config(part))
    }

    fn encryption(&self) -> Result<EtcdEncryption, ImportError> {
        let legacy = |key| {
            let text = self.main.text_at(&["cluster", key]);
            text.filter(|t| !t.is_empty()).map(Secret::new)
        };
        if let Some(key) = legacy("secretboxEncryptionSecret") {
            return Ok(EtcdEncryption::Secretbox(key));
        }
        if let Some(key) = legacy("aescbcEncryptionSecret") {
            return Ok(EtcdEncryption::AesCbc(key));
        }
        self.document("KubeEtcdEncryptionConfig")
            .and_then(first_encryption_key)
            .map(EtcdEncryption::Secretbox)
            .ok_or(ImportError::Config(
                "cluster.secretboxEncryptionSecret or cluster.aescbcEncryptionSecret",
            ))
    }
}

/// The key that writes: the first one of the first provider of the block that is about secrets.
fn first_encryption_key(document: &Node) -> Option<Secret> {
    let blocks = document.at(&["config", "resources"])?.as_sequence()?;
    let about_secrets = |block: &&Node| {
        let names = block.at(&["resources"]).and_then(Node::as_sequence);
        let mut names = names.into_iter().flatten();
        names.any(|n| n.as_text() == Some("secrets"))
    };
    let block = blocks.iter().find(about_secrets)?;
    let provider = block.at(&["providers"])?.as_sequence()?.first()?;
    let key = provider
        .at(&["secretbox", "keys"])?
        .as_sequence()?
        .first()?;
    key.text_at(&["secret"]).map(Secret::new)
}

fn decoded(pair: &Node, key: &str, part: &'static str) -> Result<String, ImportError> {
    let node = pair.at(&[key]).ok_or(ImportError::Config(part))?;
    let text = node.as_text().filter(|t| !t.is_empty());
    let bytes = STANDARD.decode(text.ok_or(ImportError::Config(part))?).ok();
    bytes
        .and_then(|b| String::from_utf8(b).ok())
        .ok_or(ImportError::ConfigValue {
            line: node.line,
            part,
            reason: "it is not base64 of PEM text",
        })
}
