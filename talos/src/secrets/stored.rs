//! A secrets file as Talos's tools load it: any part may be missing, and only base64 is checked.
//!
//! Promises: what is read and printed again is what their tools print. Not here: whether a cluster can run with it;
//! that is [`StoredBundle::faults`] in their words, and [`Bundle::from_secrets_yaml`] for use.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use super::curve;
use super::der::element;
use super::key::{KeyKind, SigningKey, modulus_bits};
use super::{Bundle, Secret, SecretsError};
use crate::yaml::{Node, Style, TypeError, emit, parse_documents};

/// All parts of a secrets file that are there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StoredBundle {
    /// Nothing where the file holds no more than a null.
    parts: Option<Parts>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Parts {
    cluster: Option<Cluster>,
    secrets: Option<Secrets>,
    trustd: Option<String>,
    certs: Option<Certs>,
}

#[derive(Clone, PartialEq, Eq)]
struct Cluster {
    id: String,
    secret: String,
}

#[derive(Clone, PartialEq, Eq)]
struct Secrets {
    bootstrap_token: String,
    aes_cbc: String,
    secretbox: String,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Certs {
    etcd: Option<Pair>,
    kubernetes: Option<Pair>,
    aggregator: Option<Pair>,
    service_account: Option<Vec<u8>>,
    os: Option<Pair>,
}

#[derive(Clone, PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What stands in the place of a key that was blanked; it is no base64.
const REDACTED: &str = "******";

/// X25519, in an algorithm's identifier.
const X25519: &[u8] = &[0x2b, 0x65, 0x6e];

impl StoredBundle {
    /// Reads a file.
    ///
    /// # Errors
    /// Broken YAML, no document at all, values of other types, texts that are not base64.
    pub fn read(text: &str) -> Result<Self, SecretsError> {
        let documents = parse_documents(text).map_err(SecretsError::Syntax)?;
        let Some(root) = documents.first() else {
            let is_null = crate::yaml::holds_null(text);
            let empty = SecretsError::Missing("everything: it is empty");
            return is_null.then(Self::default).ok_or(empty);
        };
        if root.as_mapping().is_none() {
            return Err(SecretsError::Type(TypeError {
                line: root.line,
                key: "the file".to_owned(),
                what: "a mapping",
            }));
        }
        Self::of_tree(root).map_err(|error| error.placed(root))
    }

    fn of_tree(root: &Node) -> Result<Self, SecretsError> {
        let part = |name| root.mapping_of(name).map_err(SecretsError::Type);
        Ok(Self {
            parts: Some(Parts {
                cluster: part("cluster")?.map(cluster).transpose()?,
                secrets: part("secrets")?.map(secrets).transpose()?,
                trustd: part("trustdinfo")?
                    .map(|t| t.text_of("token"))
                    .transpose()
                    .map_err(SecretsError::Type)?,
                certs: part("certs")?.map(certs).transpose()?,
            }),
        })
    }

    /// Writes it as Talos's tools do.
    pub fn to_yaml(&self) -> Secret {
        let Some(parts) = &self.parts else {
            return Secret::new("null\n");
        };
        let text = |t: &String| Node::text(t);
        let or_null = |node: Option<Node>| node.unwrap_or_else(Node::null);
        let cluster = parts.cluster.as_ref().map(|c| {
            let entries = [("id", text(&c.id)), ("secret", text(&c.secret))];
            Node::map(entries)
        });
        let secrets = parts.secrets.as_ref().map(|s| {
            let all = [
                ("bootstraptoken", &s.bootstrap_token),
                ("aescbcencryptionsecret", &s.aes_cbc),
                ("secretboxencryptionsecret", &s.secretbox),
            ];
            let kept = all
                .into_iter()
                .filter(|(key, value)| *key == "bootstraptoken" || !value.is_empty());
            Node::map(kept.map(|(key, value)| (key, text(value))))
        });
        let trustd = parts.trustd.as_ref();
        let trustd = trustd.map(|token| Node::map([("token", text(token))]));
        let certs = parts.certs.as_ref().map(|c| {
            let key = c.service_account.as_ref();
            let key = key.map(|key| Node::map([("key", key_node(key))]));
            Node::map([
                ("etcd", or_null(c.etcd.as_ref().map(pair_node))),
                ("k8s", or_null(c.kubernetes.as_ref().map(pair_node))),
                (
                    "k8saggregator",
                    or_null(c.aggregator.as_ref().map(pair_node)),
                ),
                ("k8sserviceaccount", or_null(key)),
                ("os", or_null(c.os.as_ref().map(pair_node))),
            ])
        });
        let root = Node::map([
            ("cluster", or_null(cluster)),
            ("secrets", or_null(secrets)),
            ("trustdinfo", or_null(trustd)),
            ("certs", or_null(certs)),
        ]);
        Secret::new(emit(&root, Style::V1_13))
    }

    /// What Talos's tools find wrong with it, in their words and order.
    pub fn faults(&self) -> Vec<String> {
        let none = Parts::default();
        let parts = self.parts.as_ref().unwrap_or(&none);
        let mut found = Vec::new();
        match &parts.cluster {
            None => required(&mut found, "cluster", ""),
            Some(cluster) => {
                required(&mut found, "cluster.id", &cluster.id);
                required(&mut found, "cluster.secret", &cluster.secret);
            }
        }
        match &parts.secrets {
            None => required(&mut found, "secrets", ""),
            Some(secrets) => {
                required(
                    &mut found,
                    "secrets.bootstraptoken",
                    &secrets.bootstrap_token,
                );
                let both = "[secrets.secretboxencryptionsecret, secrets.aescbcencryptionsecret]";
                match (secrets.aes_cbc.is_empty(), secrets.secretbox.is_empty()) {
                    (true, true) => found.push(format!("one of {both} is required")),
                    (false, false) => found.push(format!("only one of {both} is allowed")),
                    (true, false) | (false, true) => {}
                }
            }
        }
        match &parts.trustd {
            None => required(&mut found, "trustdinfo", ""),
            Some(token) => required(&mut found, "trustdinfo.token", token),
        }
        match &parts.certs {
            None => required(&mut found, "certs", ""),
            Some(certs) => certs.faults(&mut found),
        }
        found
    }
}

impl From<&Bundle> for StoredBundle {
    fn from(bundle: &Bundle) -> Self {
        Self::read(bundle.to_secrets_yaml().expose()).unwrap_or_default()
    }
}

impl Certs {
    fn faults(&self, found: &mut Vec<String>) {
        let pairs = [
            ("certs.etcd", &self.etcd),
            ("certs.k8s", &self.kubernetes),
            ("certs.k8saggregator", &self.aggregator),
            ("certs.os", &self.os),
        ];
        for (name, pair) in pairs {
            match pair {
                None => required(found, name, ""),
                Some(pair) => {
                    let fault = key_fault(&pair.key, KeyOf::Pair)
                        .or_else(|| certificate_fault(&pair.certificate));
                    found.extend(fault.map(|fault| format!("{name} is invalid: {fault}")));
                }
            }
        }
        match &self.service_account {
            None => required(found, "certs.k8sserviceaccount", ""),
            Some(key) => {
                let name = "certs.k8sserviceaccount.key";
                let fault = key_fault(key, KeyOf::ServiceAccount);
                found.extend(fault.map(|fault| format!("{name} is invalid: {fault}")));
            }
        }
    }
}

fn required(found: &mut Vec<String>, part: &str, value: &str) {
    if value.is_empty() {
        found.push(format!("{part} is required"));
    }
}

/// Whose key it is: their messages differ by a colon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyOf {
    Pair,
    ServiceAccount,
}

fn key_fault(key: &[u8], whose: KeyOf) -> Option<String> {
    let Ok(block) = pem::parse(key) else {
        return Some("failed to parse PEM block".to_owned());
    };
    let what = match block.tag() {
        "RSA PRIVATE KEY" => "RSA key",
        "ED25519 PRIVATE KEY" => "Ed25519 key",
        "EC PRIVATE KEY" => "ECDSA key",
        "PRIVATE KEY" => "private key",
        other => {
            let colon = match whose {
                KeyOf::Pair => ":",
                KeyOf::ServiceAccount => "",
            };
            return Some(format!("unsupported key type{colon} {other:?}"));
        }
    };
    let der = block.contents();
    let usable = match block.tag() {
        "RSA PRIVATE KEY" => is_rsa(der),
        "EC PRIVATE KEY" => curve::is_key(der, None),
        "PRIVATE KEY" => {
            let kind = KeyKind::of_der(block.tag(), der);
            let inner = element(der, 2).unwrap_or_default();
            let parameters = || element_of_algorithm(der, 1);
            match (kind, whose) {
                (KeyKind::Rsa(_), _) => is_rsa(inner),
                (KeyKind::P256 | KeyKind::OtherCurve(_), _) => curve::is_key(inner, parameters()),
                // Go reads keys for exchanges too, and notices only where one has to sign.
                (KeyKind::Unknown, KeyOf::Pair) => element_of_algorithm(der, 0) == Some(X25519),
                (KeyKind::Unknown, KeyOf::ServiceAccount) => false,
                (KeyKind::Ed25519, _) => is_signing(key),
            }
        }
        _ => is_signing(key),
    };
    (!usable).then(|| format!("failed to parse {what}"))
}

fn is_signing(pem: &[u8]) -> bool {
    SigningKey::from_pem(&String::from_utf8_lossy(pem)).is_some()
}

/// Go takes any length; the library here only the usual ones, so that of others only the parts are counted.
fn is_rsa(pkcs1: &[u8]) -> bool {
    match modulus_bits(pkcs1) {
        KeyKind::Rsa(2048..=8192) => aws_lc_rs::rsa::KeyPair::from_der(pkcs1).is_ok(),
        KeyKind::Rsa(_) => (2..=8).all(|i| element(pkcs1, i).is_some_and(|n| !n.is_empty())),
        KeyKind::Ed25519 | KeyKind::P256 | KeyKind::OtherCurve(_) | KeyKind::Unknown => false,
    }
}

/// Of PKCS#8, the algorithm's identifier and what else it says.
fn element_of_algorithm(pkcs8: &[u8], index: usize) -> Option<&[u8]> {
    // Its content comes without the tag and the length that an element of a sequence is looked for by.
    let content = element(pkcs8, 1)?;
    let (oid, rest) = content.split_at_checked(2 + usize::from(*content.get(1)?))?;
    match index {
        0 => oid.get(2..),
        _ => rest.get(2..),
    }
}

fn certificate_fault(certificate: &[u8]) -> Option<String> {
    let Ok(block) = pem::parse(certificate) else {
        return Some("failed to parse PEM block".to_owned());
    };
    let parsed = x509_parser::parse_x509_certificate(block.contents());
    parsed
        .is_err()
        .then(|| "failed to parse certificate".to_owned())
}

fn cluster(node: &Node) -> Result<Cluster, SecretsError> {
    let text = |key| node.text_of(key).map_err(SecretsError::Type);
    Ok(Cluster {
        id: text("id")?,
        secret: text("secret")?,
    })
}

fn secrets(node: &Node) -> Result<Secrets, SecretsError> {
    let text = |key| node.text_of(key).map_err(SecretsError::Type);
    Ok(Secrets {
        bootstrap_token: text("bootstraptoken")?,
        aes_cbc: text("aescbcencryptionsecret")?,
        secretbox: text("secretboxencryptionsecret")?,
    })
}

fn certs(node: &Node) -> Result<Certs, SecretsError> {
    let pair = |name, parts: [&'static str; 2]| {
        let found = node.mapping_of(name).map_err(SecretsError::Type)?;
        let pair = |node: &Node| {
            Ok(Pair {
                certificate: decoded(node, "crt", parts[0])?,
                key: decoded(node, "key", parts[1])?,
            })
        };
        found.map(pair).transpose()
    };
    let account = node.mapping_of("k8sserviceaccount");
    Ok(Certs {
        etcd: pair("etcd", ["certs.etcd.crt", "certs.etcd.key"])?,
        kubernetes: pair("k8s", ["certs.k8s.crt", "certs.k8s.key"])?,
        aggregator: pair(
            "k8saggregator",
            ["certs.k8saggregator.crt", "certs.k8saggregator.key"],
        )?,
        service_account: account
            .map_err(SecretsError::Type)?
            .map(|a| decoded(a, "key", "certs.k8sserviceaccount.key"))
            .transpose()?,
        os: pair("os", ["certs.os.crt", "certs.os.key"])?,
    })
}

/// Base64 as Go's library takes it: line ends anywhere, and stray bits in the last character.
fn decoded(node: &Node, key: &str, part: &'static str) -> Result<Vec<u8>, SecretsError> {
    let text = node.text_of(key).map_err(SecretsError::Type)?;
    if key == "key" && text == REDACTED {
        return Ok(text.into_bytes());
    }
    let lax = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, lax);
    let compact: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    engine.decode(compact).map_err(|_| SecretsError::Invalid {
        line: None,
        part,
        reason: "it is not base64",
    })
}

fn key_node(key: &[u8]) -> Node {
    if key == REDACTED.as_bytes() {
        return Node::text(REDACTED);
    }
    Node::text(STANDARD.encode(key))
}

fn pair_node(pair: &Pair) -> Node {
    let certificate = STANDARD.encode(&pair.certificate);
    Node::map([
        ("crt", Node::text(certificate)),
        ("key", key_node(&pair.key)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../tests/data/bundles/v1.13.yaml");

    #[test]
    fn a_whole_file_comes_back_and_has_no_fault() {
        let bundle = StoredBundle::read(FILE).unwrap();
        assert_eq!(bundle.to_yaml().expose(), FILE);
        assert_eq!(bundle.faults(), Vec::<String>::new());
    }

    #[test]
    fn missing_parts_are_printed_as_null_and_named() {
        let bundle =
            StoredBundle::read("cluster: {id: x}\ncerts: {os: {key: '******'}}\n").unwrap();
        insta::assert_snapshot!(bundle.to_yaml().expose(), @r#"
        cluster:
            id: x
            secret: ""
        secrets: null
        trustdinfo: null
        certs:
            etcd: null
            k8s: null
            k8saggregator: null
            k8sserviceaccount: null
            os:
                crt: ""
                key: '******'
        "#);
        insta::assert_snapshot!(bundle.faults().join("\n"), @r"
        cluster.secret is required
        secrets is required
        trustdinfo is required
        certs.etcd is required
        certs.k8s is required
        certs.k8saggregator is required
        certs.os is invalid: failed to parse PEM block
        certs.k8sserviceaccount is required
        ");
        assert_eq!(
            StoredBundle::read("null\n").unwrap().to_yaml().expose(),
            "null\n"
        );
        assert!(StoredBundle::read("# nothing\n").is_err());
        assert!(StoredBundle::read("cluster: [1]\n").is_err());
    }
}
