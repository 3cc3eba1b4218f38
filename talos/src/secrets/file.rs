//! `secrets.yaml`: the file that `talosctl gen secrets` writes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::inspect::Allowed;
use super::key::KeyKind;
use super::{Authority, Bundle, EtcdEncryption, Secret, SecretsError, SecretsFault};
use crate::yaml::{Node, Style, emit, parse_documents};

impl Bundle {
    /// Reads a `secrets.yaml`. Unknown keys are ignored, as Talos's tools do.
    ///
    /// # Errors
    /// Broken YAML, a missing part, one that is not base64 of PEM, or a key of another algorithm or curve; with the
    /// part and its line, never with a value. Whether certificates are those of their keys and still valid is
    /// [`Bundle::inspect`]'s to say.
    pub fn from_secrets_yaml(text: &str) -> Result<Self, SecretsError> {
        let documents = parse_documents(text).map_err(SecretsError::Syntax)?;
        let root = documents
            .first()
            .ok_or(SecretsError::Missing("everything: it is empty"))?;
        Self::of_tree(root).map_err(|error| error.placed(root))
    }

    fn of_tree(root: &Node) -> Result<Self, SecretsError> {
        let bundle = Self {
            cluster_id: filled(root, &["cluster", "id"], "cluster.id")?.to_owned(),
            cluster_secret: secret(root, &["cluster", "secret"], "cluster.secret")?,
            bootstrap_token: secret(
                root,
                &["secrets", "bootstraptoken"],
                "secrets.bootstraptoken",
            )?,
            etcd_encryption: encryption(root)?,
            machine_token: secret(root, &["trustdinfo", "token"], "trustdinfo.token")?,
            etcd: pair(root, "etcd", ["certs.etcd.crt", "certs.etcd.key"])?,
            kubernetes: pair(root, "k8s", ["certs.k8s.crt", "certs.k8s.key"])?,
            aggregator: pair(
                root,
                "k8saggregator",
                ["certs.k8saggregator.crt", "certs.k8saggregator.key"],
            )?,
            service_account: Secret::new(pem_text(
                root,
                &["certs", "k8sserviceaccount", "key"],
                "certs.k8sserviceaccount.key",
            )?),
            os: pair(root, "os", ["certs.os.crt", "certs.os.key"])?,
        };
        bundle.validate()?;
        Ok(bundle)
    }

    /// Writes it as Talos's tools do.
    pub fn to_secrets_yaml(&self) -> Secret {
        let (encryption, key) = match &self.etcd_encryption {
            EtcdEncryption::Secretbox(key) => ("secretboxencryptionsecret", key),
            EtcdEncryption::AesCbc(key) => ("aescbcencryptionsecret", key),
        };
        let text = |secret: &Secret| Node::text(secret.expose());
        let encoded = |pem: &str| Node::text(STANDARD.encode(pem));
        let pair = |authority: &Authority| {
            Node::map([
                ("crt", encoded(&authority.certificate)),
                ("key", encoded(authority.key.expose())),
            ])
        };
        let root = Node::map([
            (
                "cluster",
                Node::map([
                    ("id", Node::text(&self.cluster_id)),
                    ("secret", text(&self.cluster_secret)),
                ]),
            ),
            (
                "secrets",
                Node::map([
                    ("bootstraptoken", text(&self.bootstrap_token)),
                    (encryption, text(key)),
                ]),
            ),
            (
                "trustdinfo",
                Node::map([("token", text(&self.machine_token))]),
            ),
            (
                "certs",
                Node::map([
                    ("etcd", pair(&self.etcd)),
                    ("k8s", pair(&self.kubernetes)),
                    ("k8saggregator", pair(&self.aggregator)),
                    (
                        "k8sserviceaccount",
                        Node::map([("key", encoded(self.service_account.expose()))]),
                    ),
                    ("os", pair(&self.os)),
                ]),
            ),
        ]);
        Secret::new(emit(&root, Style::V1_13))
    }

    /// Checks what a cluster cannot do without: every key and certificate is one, keys are of the algorithm that belongs
    /// there, and the discovery key has its size.
    ///
    /// # Errors
    /// The first part that is not usable.
    pub fn validate(&self) -> Result<(), SecretsError> {
        let filled = |text: &str, part| {
            let missing = SecretsError::Missing(part);
            (!text.is_empty()).then_some(()).ok_or(missing)
        };
        filled(&self.cluster_id, "cluster.id")?;
        filled(self.bootstrap_token.expose(), "secrets.bootstraptoken")?;
        filled(self.machine_token.expose(), "trustdinfo.token")?;
        let bytes = STANDARD.decode(self.cluster_secret.expose());
        if bytes.is_ok_and(|b| b.len() != 32) || self.cluster_secret.expose().is_empty() {
            return Err(SecretsError::Invalid {
                line: None,
                part: "cluster.secret",
                reason: "it is not 32 bytes in base64",
            });
        }
        for (authority, key, certificate, allowed) in [
            (
                &self.etcd,
                "certs.etcd.key",
                "certs.etcd.crt",
                Allowed::P256OrRsa,
            ),
            (
                &self.kubernetes,
                "certs.k8s.key",
                "certs.k8s.crt",
                Allowed::P256OrRsa,
            ),
            (
                &self.aggregator,
                "certs.k8saggregator.key",
                "certs.k8saggregator.crt",
                Allowed::P256OrRsa,
            ),
            (&self.os, "certs.os.key", "certs.os.crt", Allowed::Ed25519),
        ] {
            is_key(authority.key.expose(), key, allowed)?;
            is_pem(&authority.certificate, certificate)?;
        }
        let account = self.service_account.expose();
        is_key(account, "certs.k8sserviceaccount.key", Allowed::P256OrRsa)
    }
}

/// Label and lines of one block as Go writes it: what nearly every file has, and quick to see.
fn usual_block(text: &str) -> Option<(&str, &str)> {
    let (label, rest) = text.strip_prefix("-----BEGIN ")?.split_once("-----\n")?;
    let rest = rest.strip_suffix("-----\n")?.strip_suffix(label)?;
    let body = rest.strip_suffix("\n-----END ")?;
    is_base64_in_lines(body).then_some((label, body))
}

/// Whether it is base64 in lines of 64 digits, without decoding more than the last one, which may be shorter.
fn is_base64_in_lines(body: &str) -> bool {
    const LINE: usize = 64;
    let digit = |b: &u8| b.is_ascii_alphanumeric() | (*b == b'+') | (*b == b'/');
    let (lines, last) = body.as_bytes().as_chunks::<{ LINE + 1 }>();
    // No early exit inside a line: the compiler looks at 16 bytes at a time then.
    lines.iter().all(|line| {
        let fits = line[..LINE].iter().fold(true, |fits, b| fits & digit(b));
        fits && line[LINE] == b'\n'
    }) && !last.is_empty()
        && STANDARD.decode_slice(last, &mut [0; LINE]).is_ok()
}

/// Label and content of the first block.
fn pem_block<'a>(
    text: &'a str,
    part: &'static str,
) -> Result<(Cow<'a, str>, Vec<u8>), SecretsError> {
    let decoded = usual_block(text).and_then(|(label, body)| {
        let der = STANDARD.decode(body.replace('\n', "")).ok()?;
        Some((label.into(), der))
    });
    if let Some(block) = decoded {
        return Ok(block);
    }
    let block = pem::parse(text).map_err(|_| SecretsError::Invalid {
        line: None,
        part,
        reason: "failed to parse PEM block",
    })?;
    Ok((block.tag().to_owned().into(), block.into_contents()))
}

fn is_pem(text: &str, part: &'static str) -> Result<(), SecretsError> {
    match usual_block(text) {
        Some(_) => Ok(()),
        None => pem_block(text, part).map(|_| ()),
    }
}

fn is_key(text: &str, part: &'static str, allowed: Allowed) -> Result<(), SecretsError> {
    let (label, der) = pem_block(text, part)?;
    match allowed.fault(&KeyKind::of_der(&label, &der)) {
        Some(reason) => Err(SecretsError::Unfit {
            line: None,
            fault: SecretsFault { part, reason },
        }),
        None => Ok(()),
    }
}

fn filled<'a>(root: &'a Node, path: &[&str], part: &'static str) -> Result<&'a str, SecretsError> {
    root.text_at(path)
        .filter(|text| !text.is_empty())
        .ok_or(SecretsError::Missing(part))
}

fn secret(root: &Node, path: &[&str], part: &'static str) -> Result<Secret, SecretsError> {
    filled(root, path, part).map(Secret::new)
}

fn encryption(root: &Node) -> Result<EtcdEncryption, SecretsError> {
    let key = |name| {
        root.text_at(&["secrets", name])
            .filter(|text| !text.is_empty())
            .map(Secret::new)
    };
    let (box_key, cbc_key) = (
        key("secretboxencryptionsecret"),
        key("aescbcencryptionsecret"),
    );
    match (box_key, cbc_key) {
        (Some(key), None) => Ok(EtcdEncryption::Secretbox(key)),
        (None, Some(key)) => Ok(EtcdEncryption::AesCbc(key)),
        (None, None) => Err(SecretsError::Missing(
            "secrets.secretboxencryptionsecret or secrets.aescbcencryptionsecret",
        )),
        (Some(_), Some(_)) => Err(SecretsError::Invalid {
            line: None,
            part: "secrets.aescbcencryptionsecret",
            reason: "only one encryption secret may be there",
        }),
    }
}

fn pair(root: &Node, name: &str, parts: [&'static str; 2]) -> Result<Authority, SecretsError> {
    Ok(Authority {
        certificate: pem_text(root, &["certs", name, "crt"], parts[0])?,
        key: Secret::new(pem_text(root, &["certs", name, "key"], parts[1])?),
    })
}

fn pem_text(root: &Node, path: &[&str], part: &'static str) -> Result<String, SecretsError> {
    let encoded = filled(root, path, part)?;
    STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or(SecretsError::Invalid {
            line: None,
            part,
            reason: "it is not base64 of PEM text",
        })
}
