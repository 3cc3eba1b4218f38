//! Whether a bundle can run a cluster: more than Talos's own tools ask, because a wrong key is seen only when a node
//! does not come up.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::key::{KeyKind, SigningKey};
use super::{Authority, Bundle, EtcdEncryption};

/// Something that is wrong with a bundle. It names the key and holds no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsFault {
    /// Its path in `secrets.yaml`.
    pub part: &'static str,
    /// What is wrong.
    pub reason: FaultKind,
}

/// What is wrong with a part of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// There is nothing.
    Missing,
    /// Not in the form that it needs.
    Form(&'static str),
    /// Not a private key that can be read.
    NotAKey,
    /// Not a certificate.
    NotACertificate,
    /// A key of another algorithm or curve.
    Algorithm {
        /// What belongs here.
        expected: &'static str,
        /// What stands here.
        got: String,
    },
    /// The certificate is not this key's.
    Mismatch,
    /// The certificate is no authority's.
    NotAnAuthority,
    /// The certificate is no longer valid.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
}

impl fmt::Display for SecretsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.part)?;
        match &self.reason {
            FaultKind::Missing => f.write_str("it is missing"),
            FaultKind::Form(expected) => write!(f, "it must be {expected}"),
            FaultKind::NotAKey => f.write_str("it is not a private key in PEM"),
            FaultKind::NotACertificate => f.write_str("it is not a certificate in PEM"),
            FaultKind::Algorithm { expected, got } => {
                write!(f, "it must be {expected}, and it is {got}")
            }
            FaultKind::Mismatch => f.write_str("it is not the certificate of the key beside it"),
            FaultKind::NotAnAuthority => f.write_str("it is not the certificate of an authority"),
            FaultKind::Expired => f.write_str("the certificate has expired"),
            FaultKind::NotYetValid => f.write_str("the certificate is not valid yet"),
        }
    }
}

/// Which keys a part may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    Ed25519,
    P256OrRsa,
}

impl Allowed {
    const fn describe(self) -> &'static str {
        match self {
            Self::Ed25519 => "an Ed25519 key",
            Self::P256OrRsa => "an ECDSA key on P-256 or an RSA key of 2048 bits or more",
        }
    }

    /// What is wrong with a key of this kind in such a place.
    pub(super) fn fault(self, kind: &KeyKind) -> Option<FaultKind> {
        if *kind == KeyKind::Unknown {
            return Some(FaultKind::NotAKey);
        }
        let expected = self.describe();
        let got = kind.to_string();
        (!self.takes(kind)).then_some(FaultKind::Algorithm { expected, got })
    }

    fn takes(self, kind: &KeyKind) -> bool {
        match kind {
            KeyKind::Ed25519 => self == Self::Ed25519,
            KeyKind::P256 => self == Self::P256OrRsa,
            KeyKind::Rsa(bits) => self == Self::P256OrRsa && *bits >= 2048,
            KeyKind::OtherCurve(_) | KeyKind::Unknown => false,
        }
    }
}

impl Bundle {
    /// Everything that would keep the cluster from running: missing parts, keys of another algorithm or curve,
    /// certificates that are not their keys', no authorities', or not valid at this time.
    pub fn inspect(&self, now: Timestamp) -> Vec<SecretsFault> {
        self.inspect_at(Some(now))
    }

    /// The first thing that would, whatever the time.
    pub(super) fn sound(self) -> Result<Self, SecretsFault> {
        match self.inspect_at(None).into_iter().next() {
            Some(fault) => Err(fault),
            None => Ok(self),
        }
    }

    fn inspect_at(&self, now: Option<Timestamp>) -> Vec<SecretsFault> {
        let mut found = Found(Vec::new());
        found.form(
            "cluster.id",
            &self.cluster_id,
            |_| true,
            "a text that names the cluster",
        );
        found.bytes("cluster.secret", self.cluster_secret.expose(), &[32]);
        found.token("secrets.bootstraptoken", self.bootstrap_token.expose());
        found.token("trustdinfo.token", self.machine_token.expose());
        match &self.etcd_encryption {
            EtcdEncryption::Secretbox(key) => {
                found.bytes("secrets.secretboxencryptionsecret", key.expose(), &[32]);
            }
            EtcdEncryption::AesCbc(key) => found.bytes(
                "secrets.aescbcencryptionsecret",
                key.expose(),
                &[16, 24, 32],
            ),
        }
        for (authority, parts, allowed) in [
            (
                &self.etcd,
                ["certs.etcd.crt", "certs.etcd.key"],
                Allowed::P256OrRsa,
            ),
            (
                &self.kubernetes,
                ["certs.k8s.crt", "certs.k8s.key"],
                Allowed::P256OrRsa,
            ),
            (
                &self.aggregator,
                ["certs.k8saggregator.crt", "certs.k8saggregator.key"],
                Allowed::P256OrRsa,
            ),
            (&self.os, ["certs.os.crt", "certs.os.key"], Allowed::Ed25519),
        ] {
            found.authority(authority, parts, allowed, now);
        }
        let account = self.service_account.expose();
        found.key("certs.k8sserviceaccount.key", account, Allowed::P256OrRsa);
        found.0
    }
}

struct Found(Vec<SecretsFault>);

impl Found {
    fn add(&mut self, part: &'static str, reason: FaultKind) {
        self.0.push(SecretsFault { part, reason });
    }

    fn form(
        &mut self,
        part: &'static str,
        text: &str,
        good: impl Fn(&str) -> bool,
        expected: &'static str,
    ) {
        if text.is_empty() {
            self.add(part, FaultKind::Missing);
        } else if !good(text) {
            self.add(part, FaultKind::Form(expected));
        }
    }

    fn bytes(&mut self, part: &'static str, text: &str, lengths: &[usize]) {
        let good = |text: &str| {
            let bytes = STANDARD.decode(text);
            bytes.is_ok_and(|b| lengths.contains(&b.len()))
        };
        let expected = match lengths {
            [32] => "32 bytes in base64",
            _ => "16, 24 or 32 bytes in base64",
        };
        self.form(part, text, good, expected);
    }

    fn token(&mut self, part: &'static str, text: &str) {
        let half = |text: &str, length| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            text.len() == length && text.bytes().all(plain)
        };
        let good = |text: &str| {
            let halves = text.split_once('.');
            halves.is_some_and(|(id, secret)| half(id, 6) && half(secret, 16))
        };
        let expected = "6 and 16 lower-case letters and digits with a dot between them";
        self.form(part, text, good, expected);
    }

    /// The key, where it is a good one.
    fn key(&mut self, part: &'static str, text: &str, allowed: Allowed) -> Option<SigningKey> {
        if text.is_empty() {
            self.add(part, FaultKind::Missing);
            return None;
        }
        if let Some(fault) = allowed.fault(&KeyKind::of(text)) {
            self.add(part, fault);
            return None;
        }
        let key = SigningKey::from_pem(text);
        if key.is_none() {
            self.add(part, FaultKind::NotAKey);
        }
        key
    }

    fn authority(
        &mut self,
        authority: &Authority,
        [certificate_part, key_part]: [&'static str; 2],
        allowed: Allowed,
        now: Option<Timestamp>,
    ) {
        let key = self.key(key_part, authority.key.expose(), allowed);
        if authority.certificate.is_empty() {
            self.add(certificate_part, FaultKind::Missing);
            return;
        }
        let pem = pem::parse(&authority.certificate).ok();
        let parsed = pem.as_ref().and_then(|p| {
            let parsed = X509Certificate::from_der(p.contents());
            parsed.ok().map(|(_, certificate)| certificate)
        });
        let Some(certificate) = parsed else {
            self.add(certificate_part, FaultKind::NotACertificate);
            return;
        };
        if !certificate.is_ca() {
            self.add(certificate_part, FaultKind::NotAnAuthority);
        }
        let now = now.map(Timestamp::as_second);
        if now.is_some_and(|now| certificate.validity().not_after.timestamp() < now) {
            self.add(certificate_part, FaultKind::Expired);
        }
        if now.is_some_and(|now| certificate.validity().not_before.timestamp() > now) {
            self.add(certificate_part, FaultKind::NotYetValid);
        }
        let matches = |key: &SigningKey| key.public_key_info() == certificate.public_key().raw;
        if key.is_some_and(|key| !matches(&key)) {
            self.add(certificate_part, FaultKind::Mismatch);
        }
    }
}
