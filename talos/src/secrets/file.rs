//! `secrets.yaml`: the file that `talosctl gen secrets` writes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Authority, Bundle, EtcdEncryption, Secret, SecretsError};
use crate::yaml::{Node, Style, emit, parse_documents};

impl Bundle {
    /// Reads a `secrets.yaml`. Unknown keys are ignored, as Talos's tools do.
    ///
    /// # Errors
    /// Broken YAML, a missing part, or one that is not base64 of PEM; never with a value in its text.
    pub fn from_secrets_yaml(text: &str) -> Result<Self, SecretsError> {
        let documents = parse_documents(text).map_err(SecretsError::Syntax)?;
        let root = documents
            .first()
            .ok_or(SecretsError::Missing("everything: it is empty"))?;
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

    /// Checks what a cluster cannot do without: every key and certificate is one, and the discovery key has its size.
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
                part: "cluster.secret",
                reason: "it is not 32 bytes in base64",
            });
        }
        for (authority, key, certificate) in [
            (&self.etcd, "certs.etcd.key", "certs.etcd.crt"),
            (&self.kubernetes, "certs.k8s.key", "certs.k8s.crt"),
            (
                &self.aggregator,
                "certs.k8saggregator.key",
                "certs.k8saggregator.crt",
            ),
            (&self.os, "certs.os.key", "certs.os.crt"),
        ] {
            is_pem(authority.key.expose(), key)?;
            is_pem(&authority.certificate, certificate)?;
        }
        is_pem(self.service_account.expose(), "certs.k8sserviceaccount.key")
    }
}

/// Whether the text is one block as Go writes it: what nearly every file has, and quick to see.
fn is_usual_pem(text: &str) -> bool {
    let body = || {
        let (label, rest) = text.strip_prefix("-----BEGIN ")?.split_once("-----\n")?;
        let (body, end) = rest.split_once("\n-----END ")?;
        (end.strip_suffix("-----\n")? == label).then_some(body)
    };
    body().is_some_and(is_base64_in_lines)
}

/// Whether lines are base64, without decoding them: whole groups of four digits, of which only the last may be padded.
fn is_base64_in_lines(body: &str) -> bool {
    let Some((head, last)) = body
        .len()
        .checked_sub(4)
        .and_then(|at| body.split_at_checked(at))
    else {
        return false;
    };
    let digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    // No early exit: the compiler looks at 16 bytes at a time then.
    let fits = head
        .bytes()
        .fold(true, |fits, b| fits & (digit(b) | (b == b'\n')));
    let digits = head.len() - head.bytes().filter(|b| *b == b'\n').count();
    fits && digits.is_multiple_of(4) && STANDARD.decode_slice(last, &mut [0; 3]).is_ok()
}

fn is_pem(text: &str, part: &'static str) -> Result<(), SecretsError> {
    if is_usual_pem(text) {
        return Ok(());
    }
    let reason = "failed to parse PEM block";
    pem::parse(text)
        .map(|_| ())
        .map_err(|_| SecretsError::Invalid { part, reason })
}

fn filled<'a>(
    root: &'a Node,
    path: &[&str],
    part: &'static str,
) -> Result<&'a str, SecretsError> {
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
            part,
            reason: "it is not base64 of PEM text",
        })
}
