//! Private keys in the encodings that Talos's own tools write and read.
//!
//! They are written out because the libraries' encoders differ where it matters: Ed25519 in PKCS#8 version 1 without
//! the public key (48 bytes) under a label of Talos's own, and SEC1 with its curve named (121 bytes), without which
//! Go refuses the key.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use ed25519_dalek::Signer as _;

use super::der::{element, octets, oid, sequence, tlv, unsigned};
use super::{Entropy, Secret, der};

const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// The label of an Ed25519 key in Talos's files.
pub(super) const ED25519_LABEL: &str = "ED25519 PRIVATE KEY";
pub(super) const EC_LABEL: &str = "EC PRIVATE KEY";
pub(super) const RSA_LABEL: &str = "RSA PRIVATE KEY";
const PKCS8_LABEL: &str = "PRIVATE KEY";

/// A key that signs certificates. Signatures are deterministic.
pub(super) enum SigningKey {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    P256(Box<p256::ecdsa::SigningKey>),
    /// Only imported ones: Talos's tools make none for an authority. With it, its PKCS#1 form.
    Rsa(Box<RsaKeyPair>, Vec<u8>),
}

/// What a private key is, as far as its PEM says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Ed25519,
    P256,
    /// ECDSA on a curve that Talos does not use.
    OtherCurve(&'static str),
    /// Bits of the modulus.
    Rsa(usize),
    Unknown,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519 => f.write_str("an Ed25519 key"),
            Self::P256 => f.write_str("an ECDSA key on P-256"),
            Self::OtherCurve(name) => write!(f, "an ECDSA key on {name}"),
            Self::Rsa(bits) => write!(f, "an RSA key of {bits} bits"),
            Self::Unknown => f.write_str("no key"),
        }
    }
}

impl KeyKind {
    pub(super) fn of(text: &str) -> Self {
        let Ok(pem) = pem::parse(text) else {
            return Self::Unknown;
        };
        Self::of_der(pem.tag(), pem.contents())
    }

    /// The same of a block's label and content.
    pub(super) fn of_der(label: &str, der: &[u8]) -> Self {
        match label {
            EC_LABEL => curve(element(der, 2)),
            RSA_LABEL => modulus_bits(der),
            ED25519_LABEL | PKCS8_LABEL => match element(der, 1) {
                Some(algorithm) if algorithm.ends_with(ED25519) => Self::Ed25519,
                Some(algorithm) if find(algorithm, RSA_ENCRYPTION) => {
                    element(der, 2).map_or(Self::Unknown, modulus_bits)
                }
                Some(algorithm) if find(algorithm, EC_PUBLIC_KEY) => curve(Some(algorithm)),
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }
}

/// The curve that a key names; Talos's own tools always name it.
fn curve(parameters: Option<&[u8]>) -> KeyKind {
    const OTHERS: [(&[u8], &str); 3] = [
        (&[0x2b, 0x81, 0x04, 0x00, 0x22], "P-384"),
        (&[0x2b, 0x81, 0x04, 0x00, 0x23], "P-521"),
        (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "secp256k1"),
    ];
    match parameters {
        Some(parameters) if find(parameters, PRIME256V1) => KeyKind::P256,
        Some(parameters) => {
            let known = OTHERS.iter().find(|(id, _)| find(parameters, id));
            KeyKind::OtherCurve(known.map_or("an unknown curve", |(_, name)| name))
        }
        None => KeyKind::OtherCurve("a curve that it does not name"),
    }
}

fn find(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}

pub(super) fn modulus_bits(pkcs1: &[u8]) -> KeyKind {
    let Some(modulus) = element(pkcs1, 1) else {
        return KeyKind::Unknown;
    };
    let start = modulus.iter().position(|b| *b != 0);
    let Some(significant) = start.map(|at| &modulus[at..]) else {
        return KeyKind::Unknown;
    };
    KeyKind::Rsa(significant.len() * 8 - significant[0].leading_zeros() as usize)
}

impl SigningKey {
    pub(super) fn ed25519(entropy: &mut dyn Entropy) -> Self {
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    pub(super) fn p256(entropy: &mut dyn Entropy) -> Self {
        loop {
            let mut scalar = [0; 32];
            entropy.fill(&mut scalar);
            // Refused are only zero and what is not below the group's order: about one in 2^32.
            if let Ok(key) = p256::ecdsa::SigningKey::from_slice(&scalar) {
                return Self::P256(Box::new(key));
            }
        }
    }

    /// A new key for a certificate that this one signs.
    pub(super) fn sibling(&self, entropy: &mut dyn Entropy) -> Self {
        match self {
            Self::Ed25519(_) => Self::ed25519(entropy),
            // An RSA authority signs for any key, and this one is made in no time.
            Self::P256(_) | Self::Rsa(..) => Self::p256(entropy),
        }
    }

    /// Reads a key in Talos's encodings or in plain PKCS#8.
    pub(super) fn from_pem(text: &str) -> Option<Self> {
        let pem = pem::parse(text).ok()?;
        match pem.tag() {
            ED25519_LABEL => Self::ed25519_from_pkcs8(pem.contents()),
            EC_LABEL => Self::p256_from_sec1(pem.contents()),
            RSA_LABEL => Self::rsa_from_pkcs1(pem.contents()),
            PKCS8_LABEL => Self::ed25519_from_pkcs8(pem.contents()).or_else(|| {
                let inner = element(pem.contents(), 2)?;
                match KeyKind::of(text) {
                    KeyKind::P256 => Self::p256_from_sec1(inner),
                    KeyKind::Rsa(_) => Self::rsa_from_pkcs1(inner),
                    KeyKind::Ed25519 | KeyKind::OtherCurve(_) | KeyKind::Unknown => None,
                }
            }),
            _ => None,
        }
    }

    fn ed25519_from_pkcs8(der: &[u8]) -> Option<Self> {
        let algorithm = element(der, 1)?;
        if !algorithm.ends_with(ED25519) {
            return None;
        }
        // The private key is an OCTET STRING inside an OCTET STRING.
        let seed: [u8; 32] = element(der, 2)?
            .strip_prefix(&[0x04, 0x20])?
            .try_into()
            .ok()?;
        Some(Self::Ed25519(Box::new(
            ed25519_dalek::SigningKey::from_bytes(&seed),
        )))
    }

    fn rsa_from_pkcs1(der: &[u8]) -> Option<Self> {
        let key = RsaKeyPair::from_der(der).ok()?;
        Some(Self::Rsa(Box::new(key), der.to_vec()))
    }

    fn p256_from_sec1(der: &[u8]) -> Option<Self> {
        let scalar = element(der, 1)?;
        p256::ecdsa::SigningKey::from_slice(scalar)
            .ok()
            .map(|key| Self::P256(Box::new(key)))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Self::Rsa(key, _) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let random = aws_lc_rs::rand::SystemRandom::new();
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("the buffer has the modulus's length, and nothing else can fail");
                signature
            }
        }
    }

    /// The AlgorithmIdentifier of its signatures.
    pub(super) fn signature_algorithm(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(_) => sequence(&[&oid(ED25519)]),
            Self::P256(_) => sequence(&[&oid(ECDSA_SHA256)]),
            Self::Rsa(..) => sequence(&[&oid(RSA_SHA256), &tlv(0x05, &[])]),
        }
    }

    /// The SubjectPublicKeyInfo.
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        let algorithm = match self {
            Self::Ed25519(_) => sequence(&[&oid(ED25519)]),
            Self::P256(_) => sequence(&[&oid(EC_PUBLIC_KEY), &oid(PRIME256V1)]),
            Self::Rsa(..) => sequence(&[&oid(RSA_ENCRYPTION), &tlv(0x05, &[])]),
        };
        sequence(&[&algorithm, &der::bits(&self.public_key())])
    }

    fn public_key(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.verifying_key().to_bytes().to_vec(),
            Self::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::Rsa(_, pkcs1) => {
                let number = |index| unsigned(element(pkcs1, index).unwrap_or_default());
                sequence(&[&number(1), &number(2)])
            }
        }
    }

    /// The private key as Talos writes it.
    pub(super) fn to_pem(&self) -> Secret {
        match self {
            Self::Ed25519(key) => {
                let inner = octets(key.as_bytes());
                let der = sequence(&[
                    &unsigned(&[0]),
                    &sequence(&[&oid(ED25519)]),
                    &octets(&inner),
                ]);
                Secret::new(encode_pem(ED25519_LABEL, der))
            }
            Self::P256(key) => {
                let der = sequence(&[
                    &unsigned(&[1]),
                    &octets(&key.to_bytes()),
                    &tlv(0xa0, &oid(PRIME256V1)),
                    &tlv(0xa1, &der::bits(&self.public_key())),
                ]);
                Secret::new(encode_pem(EC_LABEL, der))
            }
            Self::Rsa(_, pkcs1) => Secret::new(encode_pem(RSA_LABEL, pkcs1.clone())),
        }
    }
}

/// A fresh RSA key of 4096 bits in PKCS#1. It takes most of a second, and its randomness is the system's.
///
/// # Errors
/// The cryptographic library refused.
pub(super) fn rsa_4096() -> Result<Secret, aws_lc_rs::error::Unspecified> {
    let key = rsa::KeyPair::generate(rsa::KeySize::Rsa4096)?;
    let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key)?;
    let pkcs1 = element(pkcs8.as_ref(), 2).ok_or(aws_lc_rs::error::Unspecified)?;
    Ok(Secret::new(encode_pem(RSA_LABEL, pkcs1.to_vec())))
}

/// PEM with the line ends of Go's encoder.
pub(super) fn encode_pem(label: &str, der: Vec<u8>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}
