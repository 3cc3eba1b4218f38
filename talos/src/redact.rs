//! Texts without secrets, for plans, logs and errors.
//!
//! Promises: no secret of the bundle is left in the result, in any of the encodings in which configs, secrets files
//! and kubeconfigs hold it. Keys that hold secrets of other kinds are blanked by their names.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::secrets::Bundle;

/// What stands in a secret's place.
pub const REDACTED: &str = "******";

/// Keys whose scalar value is a secret wherever they stand.
const SECRET_KEYS: [&str; 14] = [
    "password",
    "auth",
    "identityToken",
    "privateKey",
    "presharedKey",
    "apiToken",
    "passphrase",
    "token",
    "secret",
    "bootstraptoken",
    "secretboxEncryptionSecret",
    "aescbcEncryptionSecret",
    "client-key-data",
    "key",
];

/// Blanks the bundle's secrets in any text, and in YAML every scalar whose key says that it is one, private keys, and
/// join tokens inside URLs.
pub fn redact(text: &str, bundle: &Bundle) -> String {
    let mut out = text.to_owned();
    for secret in bundle.secrets() {
        for form in forms(secret.expose()) {
            out = out.replace(&form, REDACTED);
        }
    }
    let mut lines = Lines::default();
    for line in out.split_inclusive('\n') {
        lines.take(line);
    }
    lines.out
}

/// The ways in which a secret is written: as it is, in base64, and without its last line end.
fn forms(secret: &str) -> Vec<String> {
    let mut all = Vec::new();
    for text in [secret, secret.trim_end()] {
        if text.is_empty() {
            continue;
        }
        all.push(text.to_owned());
        all.push(STANDARD.encode(text));
        all.push(URL_SAFE.encode(text));
    }
    all
}

#[derive(Default)]
struct Lines {
    out: String,
    /// Inside a PEM block that holds a private key, with its indentation.
    in_key: bool,
    /// The indentation of a secret key whose value is a block that follows.
    block: Option<usize>,
}

impl Lines {
    fn take(&mut self, line: &str) {
        let body = line.trim_end_matches('\n');
        let indent = body.len() - body.trim_start_matches([' ', '-']).len();
        if let Some(parent) = self.block {
            if body.trim().is_empty() || indent > parent {
                return;
            }
            self.block = None;
        }
        if self.in_key {
            self.in_key = !body.contains("-----END ");
            return;
        }
        if body.contains("-----BEGIN ") && body.contains("PRIVATE KEY-----") {
            self.in_key = !body.contains("-----END ");
            let spaces = body.len() - body.trim_start_matches(' ').len();
            self.line(&format!("{}{REDACTED}", " ".repeat(spaces)));
            return;
        }
        self.line(&self.blanked(body, indent));
        if is_block_of_secret(body) {
            self.block = Some(indent);
        }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn blanked(&self, body: &str, indent: usize) -> String {
        let (head, rest) = body.split_at(indent);
        if let Some((key, value)) = rest.split_once(':')
            && SECRET_KEYS.contains(&key.trim_matches(['"', '\'']))
            && !matches!(value.trim(), "" | "\"\"" | "{}" | "[]" | "null")
        {
            return format!("{head}{key}: '{REDACTED}'");
        }
        match body.find("jointoken=") {
            None => body.to_owned(),
            Some(at) => {
                let start = at + "jointoken=".len();
                let end = body[start..]
                    .find(['&', '"', '\'', ' '])
                    .map_or(body.len(), |e| start + e);
                format!("{}{REDACTED}{}", &body[..start], &body[end..])
            }
        }
    }
}

/// `passphrase: |` and the like.
fn is_block_of_secret(body: &str) -> bool {
    let rest = body.trim_start_matches([' ', '-']);
    rest.split_once(':').is_some_and(|(key, value)| {
        SECRET_KEYS.contains(&key.trim_matches(['"', '\''])) && value.trim().starts_with(['|', '>'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        Bundle::from_secrets_yaml(include_str!("../tests/data/bundles/v1.13.yaml")).unwrap()
    }

    #[test]
    fn nothing_of_the_bundle_is_left() {
        let bundle = bundle();
        let file = bundle.to_secrets_yaml();
        let golden = include_str!("../tests/data/goldens/gen-1.13-controlplane.out");
        for text in [file.expose(), golden] {
            let clean = redact(text, &bundle);
            for secret in bundle.secrets() {
                for form in forms(secret.expose()) {
                    assert!(text != clean && !clean.contains(&form));
                }
            }
            assert!(clean.contains(&bundle.cluster_id), "the id is no secret");
        }
    }

    #[test]
    fn planted_secrets_of_other_kinds() {
        let config = "\
apiVersion: v1alpha1
kind: WireguardConfig
name: wg0
privateKey: planted-1
peers:
    - publicKey: kept
      presharedKey: planted-2
apiUrl: grpc://host?jointoken=planted-3&x=1
static:
    passphrase: |
        planted-4
        planted-5
    slot: 0
files:
    - content: |
        -----BEGIN RSA PRIVATE KEY-----
        planted-6
        -----END RSA PRIVATE KEY-----
        kept
";
        insta::assert_snapshot!(redact(config, &bundle()), @r"
        apiVersion: v1alpha1
        kind: WireguardConfig
        name: wg0
        privateKey: '******'
        peers:
            - publicKey: kept
              presharedKey: '******'
        apiUrl: grpc://host?jointoken=******&x=1
        static:
            passphrase: '******'
            slot: 0
        files:
            - content: |
                ******
                kept
        ");
    }
}
