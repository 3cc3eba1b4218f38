//! Certificates (RFC 5280) with exactly the extensions that Talos's tools write.
//!
//! They are written out because the usual library puts each organization into an RDN of its own, while Talos's roles
//! stand in one, and because an RFC 6979 signature makes the result a function of its arguments.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::der::{bits, octets, oid, sequence, set_of, tlv, unsigned};
use super::key::{SigningKey, encode_pem};

const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// The name of a certificate's holder.
#[derive(Default)]
pub(super) struct Name<'a> {
    /// All in one RDN.
    pub(super) organizations: &'a [&'a str],
    pub(super) common_name: Option<&'a str>,
}

impl Name<'_> {
    fn to_der(&self) -> Vec<u8> {
        let attribute = |kind: &[u8], text: &str| {
            // PrintableString where every character allows it, as Go does; else UTF8String.
            let printable = text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b));
            let tag = if printable { 0x13 } else { 0x0c };
            sequence(&[&oid(kind), &tlv(tag, text.as_bytes())])
        };
        let mut rdns = Vec::new();
        if !self.organizations.is_empty() {
            let all = self.organizations.iter();
            rdns.push(set_of(all.map(|o| attribute(ORGANIZATION, o)).collect()));
        }
        if let Some(name) = self.common_name {
            rdns.push(set_of(vec![attribute(COMMON_NAME, name)]));
        }
        tlv(0x30, &rdns.concat())
    }
}

/// When a certificate holds.
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Validity {
    fn to_der(&self) -> Vec<u8> {
        sequence(&[&time(self.from), &time(self.until)])
    }
}

/// UTCTime up to 2049, GeneralizedTime after it (RFC 5280 §4.1.2.5).
fn time(at: Timestamp) -> Vec<u8> {
    let t = at.to_zoned(TimeZone::UTC);
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        t.month(),
        t.day(),
        t.hour(),
        t.minute(),
        t.second()
    );
    if (1950..2050).contains(&t.year()) {
        tlv(0x17, format!("{:02}{rest}", t.year() % 100).as_bytes())
    } else {
        tlv(0x18, format!("{:04}{rest}", t.year()).as_bytes())
    }
}

/// What a key may be used for (RFC 5280 §4.2.1.3), as the bits of the first byte.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Usage {
    DigitalSignature = 0x80,
    SignatureAndEncipherment = 0xa0,
    SignatureAndCertSign = 0x84,
}

/// A self-signed authority.
pub(super) fn authority(
    key: &SigningKey,
    name: &Name<'_>,
    validity: &Validity,
    serial: [u8; 16],
    key_id: [u8; 20],
) -> String {
    let extensions = [
        key_usage(Usage::SignatureAndCertSign),
        extended_key_usage(&[SERVER_AUTH, CLIENT_AUTH]),
        extension(
            BASIC_CONSTRAINTS,
            Criticality::Critical,
            &sequence(&[&tlv(0x01, &[0xff])]),
        ),
        extension(SUBJECT_KEY_ID, Criticality::Normal, &octets(&key_id)),
    ];
    let name = name.to_der();
    certificate(key, &name, &name, key, validity, serial, &extensions)
}

/// A certificate for clients, signed by an authority.
pub(super) fn client(
    issuer: &Issuer<'_>,
    key: &SigningKey,
    name: &Name<'_>,
    usage: Usage,
    validity: &Validity,
    serial: [u8; 16],
) -> String {
    let mut extensions = vec![key_usage(usage), extended_key_usage(&[CLIENT_AUTH])];
    if let Some(id) = &issuer.key_id {
        let id = sequence(&[&tlv(0x80, id)]);
        extensions.push(extension(AUTHORITY_KEY_ID, Criticality::Normal, &id));
    }
    certificate(
        issuer.key,
        &issuer.name,
        &name.to_der(),
        key,
        validity,
        serial,
        &extensions,
    )
}

/// An authority that signs: its key, and what its certificate says.
pub(super) struct Issuer<'a> {
    key: &'a SigningKey,
    name: Vec<u8>,
    key_id: Option<Vec<u8>>,
    ends: Timestamp,
}

impl<'a> Issuer<'a> {
    /// Reads name and key id from the authority's certificate.
    pub(super) fn new(certificate_pem: &str, key: &'a SigningKey) -> Option<Self> {
        let pem = pem::parse(certificate_pem).ok()?;
        let (_, parsed) = X509Certificate::from_der(pem.contents()).ok()?;
        let key_id = parsed.iter_extensions().find_map(|e| {
            use x509_parser::extensions::ParsedExtension;
            if let ParsedExtension::SubjectKeyIdentifier(id) = e.parsed_extension() {
                Some(id.0.to_vec())
            } else {
                None
            }
        });
        Some(Self {
            key,
            name: parsed.subject().as_raw().to_vec(),
            key_id,
            ends: Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?,
        })
    }

    /// When the authority ends.
    pub(super) fn ends(&self) -> Timestamp {
        self.ends
    }
}

fn certificate(
    signer: &SigningKey,
    issuer: &[u8],
    subject: &[u8],
    key: &SigningKey,
    validity: &Validity,
    mut serial: [u8; 16],
    extensions: &[Vec<u8>],
) -> String {
    // A serial number is positive; zero would be an encoding of its own.
    serial[15] |= 1;
    let algorithm = signer.signature_algorithm();
    let body = sequence(&[
        &tlv(0xa0, &unsigned(&[2])),
        &unsigned(&serial),
        &algorithm,
        issuer,
        &validity.to_der(),
        subject,
        &key.public_key_info(),
        &tlv(0xa3, &tlv(0x30, &extensions.concat())),
    ]);
    let signature = signer.sign(&body);
    let der = sequence(&[&body, &algorithm, &bits(&signature)]);
    encode_pem("CERTIFICATE", der)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Criticality {
    Critical,
    Normal,
}

fn extension(kind: &[u8], criticality: Criticality, value: &[u8]) -> Vec<u8> {
    let critical = match criticality {
        Criticality::Critical => tlv(0x01, &[0xff]),
        Criticality::Normal => Vec::new(),
    };
    sequence(&[&oid(kind), &critical, &octets(value)])
}

fn key_usage(usage: Usage) -> Vec<u8> {
    let bits = usage as u8;
    let unused = bits.trailing_zeros() as u8;
    extension(
        KEY_USAGE,
        Criticality::Critical,
        &tlv(0x03, &[unused, bits]),
    )
}

fn extended_key_usage(purposes: &[&[u8]]) -> Vec<u8> {
    let all: Vec<u8> = purposes.iter().flat_map(|p| oid(p)).collect();
    extension(EXTENDED_KEY_USAGE, Criticality::Normal, &tlv(0x30, &all))
}
