//! PEM texts: certificates and keys.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::go::quoted;
use crate::yaml::Node;

/// How closely a pair is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Whether there are PEM blocks of the right type.
    Blocks,
    /// Whether they hold what they say.
    Contents,
}

/// Whether any certificate is in it.
pub(super) fn has_certificate(text: &str) -> bool {
    let all = pem::parse_many(text).unwrap_or_default();
    all.iter()
        .any(|b| b.tag() == "CERTIFICATE" && X509Certificate::from_der(b.contents()).is_ok())
}

pub(super) fn certificate_error(text: &str) -> Option<String> {
    let Ok(block) = pem::parse(text) else {
        return Some("failed to parse PEM block".into());
    };
    X509Certificate::from_der(block.contents())
        .is_err()
        .then(|| "failed to parse certificate: x509: malformed certificate".into())
}

pub(super) fn key_error(text: &str) -> Option<String> {
    let Ok(block) = pem::parse(text) else {
        return Some("failed to parse PEM block".into());
    };
    match block.tag() {
        "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "ED25519 PRIVATE KEY" | "PRIVATE KEY" => {
            let sequence = block.contents().first() == Some(&0x30);
            (!sequence).then(|| "failed to parse private key".into())
        }
        other => Some(format!(
            "unsupported key type: {other}",
            other = quoted(other)
        )),
    }
}

/// Whether all blocks are of these types; any type where none is given.
pub(super) fn blocks_error(text: &str, types: &[&str]) -> Option<String> {
    let blocks = pem::parse_many(text).unwrap_or_default();
    let wrong = blocks
        .iter()
        .find(|b| !types.is_empty() && !types.contains(&b.tag()));
    if let Some(block) = wrong {
        let expected: Vec<String> = types.iter().map(|t| quoted(t)).collect();
        let expected = expected.join(" ");
        let tag = block.tag();
        return Some(format!(
            "unexpected PEM block type {tag}, expected one of [{expected}]",
            tag = quoted(tag)
        ));
    }
    blocks.is_empty().then(|| "no PEM blocks found".into())
}

/// A certificate and its key.
pub(super) fn pair_error(pair: &Node, depth: Depth) -> Option<String> {
    let text = |key: &str| pair.text_at(&[key]).unwrap_or_default();
    let (certificate, key) = (text("cert"), text("key"));
    if certificate.is_empty() {
        return Some("certificate is required".into());
    }
    if key.is_empty() {
        return Some("key is required".into());
    }
    if let Some(error) = blocks_error(certificate, &["CERTIFICATE"]) {
        return Some(format!("certificate: {error}"));
    }
    if let Some(error) = blocks_error(key, &[]) {
        return Some(format!("key: {error}"));
    }
    if depth == Depth::Blocks {
        return None;
    }
    if let Some(error) = certificate_error(certificate) {
        return Some(format!("certificate is invalid: {error}"));
    }
    key_error(key).map(|error| format!("key is invalid: {error}"))
}
