//! Texts without secrets, for plans, logs and errors.
//!
//! Promises: in a config, every key that the table marks as a secret is blanked; then nothing is left of those values
//! and of the bundle's secrets, in any scalar and in any of the encodings in which configs, manifests, secrets files
//! and kubeconfigs hold them (as they are, and base64 at every alignment); private keys are cut out of any text. The
//! placeholder is always the same. What is no config is blanked by the names of its keys. Not here: texts that a user
//! hides in ways of their own, such as compression.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::config::MachineConfig;
use crate::patch::Draft;
use crate::schema::{Leaf, Schema, Type, Visibility};
use crate::secrets::Bundle;
use crate::version::Generator;
use crate::yaml::{Kind, Node, Scalar, Style, Value, emit_documents, parse_documents};

/// What stands in a secret's place.
pub const REDACTED: &str = "******";

/// Whether the contents of manifests and files are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contents {
    /// They are, without the secrets that are known.
    #[default]
    Shown,
    /// They are secrets as a whole.
    Hidden,
}

/// Keys whose value is a secret wherever they stand, in what is no config.
const SECRET_KEYS: [&str; 18] = [
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
    "secretboxencryptionsecret",
    "aescbcencryptionsecret",
    "secretboxEncryptionSecret",
    "aescbcEncryptionSecret",
    "client-key-data",
    "clusterSecret",
    "uniqueToken",
    "key",
];

/// Keys of a config whose contents people fill with anything.
const CONTENT_KEYS: [&str; 4] = ["contents", "content", "manifest", "pod"];

/// Secrets that are shorter are not looked for in other values: they would be found everywhere.
const SHORTEST: usize = 8;

/// Blanks the secrets of a config, a secrets file, a kubeconfig or any other text.
pub fn redact(text: &str, bundle: &Bundle) -> String {
    redact_with(text, bundle, Contents::Shown)
}

/// The same, with a word about manifests and files.
pub fn redact_with(text: &str, bundle: &Bundle, contents: Contents) -> String {
    let mut sweep = Sweep::default();
    for secret in bundle.secrets() {
        sweep.learn(secret.expose());
    }
    let config = MachineConfig::new(text);
    let drafts = Generator::ALL.into_iter().rev();
    let mut draft = drafts.filter_map(|g| Draft::read(g, &config).ok());
    if let Some(mut draft) = draft.next() {
        draft.blank(REDACTED, &mut sweep);
        for document in draft.documents_mut() {
            if contents == Contents::Hidden {
                hide_contents(&mut document.root);
            }
            sweep.clean(&mut document.root);
        }
        return draft.write().into_exposed();
    }
    match parse_documents(text) {
        Ok(mut trees) if trees.iter().any(|t| t.as_mapping().is_some()) => {
            for tree in &mut trees {
                blank_by_name(tree, &mut sweep);
            }
            trees.iter_mut().for_each(|tree| sweep.clean(tree));
            emit_documents(&trees, Style::V1_13)
        }
        Ok(_) | Err(_) => sweep.cleaned(text),
    }
}

impl Draft {
    /// Replaces what Talos's own tools replace, and nothing else: the values of keys that hold secrets.
    pub fn redact(&mut self, replacement: &str) {
        self.blank(replacement, &mut Sweep::default());
    }

    fn blank(&mut self, replacement: &str, sweep: &mut Sweep) {
        let schema = Schema::of(self.generator());
        for document in self.documents_mut() {
            let kind = document.kind.clone();
            blank(schema, &mut document.root, &kind, replacement, sweep);
            if document.id.kind == "KubeEtcdEncryptionConfig" {
                blank_key(&mut document.root, "secret", replacement, sweep);
            }
        }
    }
}

/// Blanks the secret keys of a structure, and of all below it.
fn blank(schema: &Schema, node: &mut Node, kind: &Type, replacement: &str, sweep: &mut Sweep) {
    match kind {
        Type::Pointer(inner) => blank(schema, node, inner, replacement, sweep),
        Type::List(inner, _) => {
            if let Value::Sequence(items) = &mut node.value {
                for item in items {
                    blank(schema, item, inner, replacement, sweep);
                }
            }
        }
        Type::Map(inner) => {
            for entry in node.as_mapping_mut().into_iter().flat_map(|m| m.iter_mut()) {
                blank(schema, &mut entry.value, inner, replacement, sweep);
            }
        }
        Type::Structure(index) => {
            let structure = schema.structure(*index);
            for entry in node.as_mapping_mut().into_iter().flat_map(|m| m.iter_mut()) {
                let Some(field) = structure.field(&entry.key) else {
                    continue;
                };
                match field.visibility {
                    Visibility::Plain => {
                        blank(schema, &mut entry.value, &field.kind, replacement, sweep);
                    }
                    Visibility::Secret => {
                        blank_value(&mut entry.value, &field.kind, replacement, sweep);
                    }
                }
            }
        }
        Type::Text
        | Type::Int(..)
        | Type::Bool
        | Type::Any
        | Type::Choice(_)
        | Type::Leaf(_)
        | Type::Arguments => {}
    }
}

fn blank_value(node: &mut Node, kind: &Type, replacement: &str, sweep: &mut Sweep) {
    let text = node.as_text().unwrap_or_default();
    if text.is_empty() {
        return;
    }
    let blanked = if *kind == Type::Leaf(Leaf::Url) {
        let (blanked, token) = without_token(text, replacement);
        if let Some(token) = token {
            sweep.learn(&token);
        }
        blanked
    } else if *kind == Type::Leaf(Leaf::Base64) {
        sweep.learn(text);
        if let Ok(decoded) = STANDARD.decode(text) {
            sweep.learn(&String::from_utf8_lossy(&decoded));
        }
        match replacement {
            REDACTED => REDACTED.to_owned(),
            other => STANDARD.encode(other),
        }
    } else {
        sweep.learn(text);
        replacement.to_owned()
    };
    node.value = Value::Scalar(Scalar::text(blanked));
}

/// A URL whose join token is replaced, and the token. Talos prints its query sorted and escaped then.
fn without_token(url: &str, replacement: &str) -> (String, Option<String>) {
    let Some((head, query)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let mut token = None;
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key == "jointoken" {
            token = Some(value.to_owned());
            pairs.push((key, escaped(replacement)));
        } else {
            pairs.push((key, value.to_owned()));
        }
    }
    pairs.sort_by(|a, b| a.0.cmp(b.0));
    let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
    (format!("{head}?{}", pairs.join("&")), token)
}

/// As a query's value is escaped.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
        out
    })
}

/// Blanks a key wherever it stands in a free-form value.
fn blank_key(node: &mut Node, key: &str, replacement: &str, sweep: &mut Sweep) {
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => {
            for item in items {
                blank_key(item, key, replacement, sweep);
            }
        }
        Value::Mapping(mapping) => {
            for entry in mapping.iter_mut() {
                if entry.key == key {
                    sweep.learn(entry.value.as_text().unwrap_or_default());
                    entry.value.value = Value::Scalar(Scalar::text(replacement));
                } else {
                    blank_key(&mut entry.value, key, replacement, sweep);
                }
            }
        }
    }
}

/// Blanks what is no config by the names of its keys.
fn blank_by_name(node: &mut Node, sweep: &mut Sweep) {
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter_mut().for_each(|item| blank_by_name(item, sweep)),
        Value::Mapping(mapping) => {
            for entry in mapping.iter_mut() {
                let filled = entry.value.as_text().is_some_and(|t| !t.is_empty());
                if filled && SECRET_KEYS.contains(&entry.key.as_str()) {
                    let kind = match entry.key.as_str() {
                        "key" | "client-key-data" => Type::Leaf(Leaf::Base64),
                        _ => Type::Text,
                    };
                    blank_value(&mut entry.value, &kind, REDACTED, sweep);
                } else {
                    blank_by_name(&mut entry.value, sweep);
                }
            }
        }
    }
}

fn hide_contents(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter_mut().for_each(hide_contents),
        Value::Mapping(mapping) => {
            for entry in mapping.iter_mut() {
                if CONTENT_KEYS.contains(&entry.key.as_str()) {
                    entry.value = Node::text(REDACTED);
                } else {
                    hide_contents(&mut entry.value);
                }
            }
        }
    }
}

/// Looks for known secrets in every other value.
#[derive(Default)]
struct Sweep {
    forms: Vec<Form>,
}

/// One way in which a secret is written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Form {
    text: String,
    reach: Reach,
}

/// How much of a text goes with a form that is found in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Itself,
    /// All base64 around it: its neighbours hold bits of the secret.
    Run,
}

impl Sweep {
    fn learn(&mut self, secret: &str) {
        for text in [secret, secret.trim_end()] {
            if text.len() < SHORTEST || text == REDACTED {
                continue;
            }
            self.forms.push(Form {
                text: text.to_owned(),
                reach: Reach::Itself,
            });
            let encoded = encodings(text.as_bytes()).into_iter();
            self.forms.extend(encoded.map(|text| Form {
                text,
                reach: Reach::Run,
            }));
        }
    }

    fn clean(&mut self, node: &mut Node) {
        // The longest first, so that no part of a secret is left behind a shorter one.
        self.forms
            .sort_by_key(|form| std::cmp::Reverse(form.text.len()));
        self.forms.dedup();
        self.walk(node);
    }

    fn walk(&self, node: &mut Node) {
        match &mut node.value {
            Value::Scalar(scalar) => {
                let cleaned = self.cleaned(&scalar.text);
                if cleaned != scalar.text {
                    *scalar = Scalar::raw(Kind::Text, cleaned);
                }
            }
            Value::Sequence(items) => items.iter_mut().for_each(|item| self.walk(item)),
            Value::Mapping(mapping) => {
                for entry in mapping.iter_mut() {
                    entry.key = self.cleaned(&entry.key);
                    self.walk(&mut entry.value);
                }
            }
        }
    }

    fn cleaned(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for form in &self.forms {
            if out.len() >= form.text.len() && out.contains(form.text.as_str()) {
                out = match form.reach {
                    Reach::Itself => out.replace(form.text.as_str(), REDACTED),
                    Reach::Run => without_runs(&out, &form.text),
                };
            }
        }
        let out = without_private_keys(&out);
        match out.split_once("jointoken=") {
            None => out,
            Some((head, rest)) => {
                let end = rest.find(['&', '"', '\'', ' ', '\n']).unwrap_or(rest.len());
                format!("{head}jointoken={REDACTED}{}", &rest[end..])
            }
        }
    }
}

/// Base64 of a secret, alone and inside a longer text, where up to two bytes before it shift its letters.
fn encodings(secret: &[u8]) -> Vec<String> {
    let mut all = vec![STANDARD.encode(secret), URL_SAFE.encode(secret)];
    for shift in 0..3 {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(secret);
        // Letters at both ends also hold bits of the neighbours.
        let from = [0, 2, 3][shift];
        let to = shifted.len() / 3 * 4;
        for text in [STANDARD.encode(&shifted), URL_SAFE.encode(&shifted)] {
            let core = &text[from..to.max(from)];
            if core.len() > SHORTEST {
                all.push(core.to_owned());
            }
        }
    }
    all
}

/// A text without the runs of base64 that hold this one.
fn without_runs(text: &str, core: &str) -> String {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(core) {
        let head = rest[..at].trim_end_matches(is_base64);
        out.push_str(head);
        out.push_str(REDACTED);
        rest = rest[at + core.len()..].trim_start_matches(is_base64);
    }
    out.push_str(rest);
    out
}

/// A text with its private keys in PEM cut out.
fn without_private_keys(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "PRIVATE KEY-----";
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let label_end = rest[at..].find('\n').map_or(rest.len(), |n| at + n);
        let private = rest[at..label_end].contains(END);
        if !private {
            out.push_str(&rest[..at + BEGIN.len()]);
            rest = &rest[at + BEGIN.len()..];
            continue;
        }
        out.push_str(&rest[..at]);
        out.push_str(REDACTED);
        rest = match rest[label_end..].find(END) {
            Some(end) => &rest[label_end + end + END.len()..],
            None => "",
        };
    }
    out.push_str(rest);
    out
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
                let secret = secret.expose().trim_end();
                for form in encodings(secret.as_bytes())
                    .into_iter()
                    .chain([secret.to_owned()])
                {
                    assert!(!clean.contains(&form));
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
privateKey: planted-private
peers:
    - publicKey: kept
      presharedKey: planted-shared
---
apiVersion: v1alpha1
kind: SideroLinkConfig
apiUrl: grpc://host?x=1&jointoken=planted-token
---
machine:
    type: worker
    token: planted-machine-token
    files:
        - path: /a
          permissions: 0o600
          op: create
          content: |
            -----BEGIN RSA PRIVATE KEY-----
            planted
            -----END RSA PRIVATE KEY-----
            token planted-machine-token, kept
cluster:
    inlineManifests:
        - name: a
          contents: 'data: eDpwbGFudGVkLW1hY2hpbmUtdG9rZW46eQ=='
";
        let shown = redact(config, &bundle());
        assert!(
            !shown.contains("planted") && !shown.contains("cGxhbnRlZC"),
            "{shown}"
        );
        insta::assert_snapshot!(shown, @r#"
        version: ""
        machine:
            type: worker
            token: '******'
            certSANs: []
            files:
                - content: |
                    ******
                    token ******, kept
                  permissions: 0o600
                  path: /a
                  op: create
        cluster:
            inlineManifests:
                - name: a
                  contents: 'data: ******'
        ---
        apiVersion: v1alpha1
        kind: WireguardConfig
        name: wg0
        privateKey: '******'
        peers:
            - publicKey: kept
              presharedKey: '******'
        ---
        apiVersion: v1alpha1
        kind: SideroLinkConfig
        apiUrl: grpc://host?jointoken=******&x=1
        "#);
        let hidden = redact_with(config, &bundle(), Contents::Hidden);
        assert!(
            !hidden.contains("data:") && !hidden.contains(", kept"),
            "{hidden}"
        );
    }

    #[test]
    fn other_texts() {
        let bundle = bundle();
        let token = bundle.machine_token.expose();
        let log = format!("GET /?jointoken=planted&x=1 with {token}\n\tno yaml: [");
        let clean = redact(&log, &bundle);
        assert_eq!(
            clean,
            format!("GET /?jointoken={REDACTED}&x=1 with {REDACTED}\n\tno yaml: [")
        );
    }
}
