//! RMCP framing (IPMI v2.0 §13.1), the RMCP+ session wrapper (§13.6), and the handshake messages Open Session and RAKP 1–4
//! (§13.17–§13.24).
//!
//! Promise: parsing never panics; lengths are checked once, here. Deliberately not here: keys, proofs and their comparison.

/// Bytes that are no datagram or handshake message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its own header says.
    #[error("shorter than {want} bytes: {got}")]
    Short {
        /// Least length.
        want: usize,
        /// Length seen.
        got: usize,
    },
    /// No RMCP of version 1.0.
    #[error("not RMCP version 1.0")]
    NotRmcp,
    /// An authentication type or payload type that we never speak.
    #[error("unknown format {0:#04x}")]
    Unknown(u8),
}

const RMCP_VERSION: u8 = 0x06;
/// "No acknowledge wanted" (§13.1.3): IPMI never asks for one.
const RMCP_NO_ACK: u8 = 0xff;
const CLASS_ASF: u8 = 0x06;
const CLASS_IPMI: u8 = 0x07;
const AUTH_NONE: u8 = 0x00;
const AUTH_RMCP_PLUS: u8 = 0x06;
const ENCRYPTED: u8 = 0x80;
const AUTHENTICATED: u8 = 0x40;
/// The "next header" byte of every trailer (§13.6).
const NEXT_HEADER: u8 = 0x07;

/// One received datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datagram {
    /// An ASF message, such as the answer to a ping.
    Asf,
    /// An IPMI message outside any session (v1.5 wrapper, authentication type "none").
    Sessionless(Vec<u8>),
    /// RMCP+.
    Wrapped(Wrapped),
}

/// An RMCP+ packet whose lengths are right; nothing about it is proven yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// What it carries.
    pub kind: PayloadKind,
    /// How it says it is protected.
    pub protection: Protection,
    /// Our own id, as the BMC addresses us.
    pub session: u32,
    /// The BMC's sequence number.
    pub sequence: u32,
    /// Payload, still encrypted if the protection says so.
    pub payload: Vec<u8>,
    signed: Vec<u8>,
}

impl Wrapped {
    /// What the authentication code covers, and the code, for codes of `code_len` bytes. `None` if there is no room for a
    /// trailer or its fixed bytes are wrong.
    pub fn split_code(&self, code_len: usize) -> Option<(&[u8], &[u8])> {
        let (covered, code) = self
            .signed
            .split_at_checked(self.signed.len().checked_sub(code_len)?)?;
        let trailer = covered.get(HEADER_LEN + self.payload.len()..)?;
        match trailer {
            [pad @ .., pad_len, NEXT_HEADER] if pad.len() == usize::from(*pad_len) => {
                Some((covered, code))
            }
            _ => None,
        }
    }
}

/// Length from the authentication type to the payload length, both included.
const HEADER_LEN: usize = 12;

/// Payload types (§13.27.3) that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// An IPMI message.
    Ipmi,
    /// Open Session Request.
    OpenSessionRequest,
    /// Open Session Response.
    OpenSessionResponse,
    /// RAKP Message 1.
    Rakp1,
    /// RAKP Message 2.
    Rakp2,
    /// RAKP Message 3.
    Rakp3,
    /// RAKP Message 4.
    Rakp4,
}

impl PayloadKind {
    const fn code(self) -> u8 {
        match self {
            Self::Ipmi => 0x00,
            Self::OpenSessionRequest => 0x10,
            Self::OpenSessionResponse => 0x11,
            Self::Rakp1 => 0x12,
            Self::Rakp2 => 0x13,
            Self::Rakp3 => 0x14,
            Self::Rakp4 => 0x15,
        }
    }

    const fn from_code(code: u8) -> Result<Self, FrameError> {
        match code {
            0x00 => Ok(Self::Ipmi),
            0x10 => Ok(Self::OpenSessionRequest),
            0x11 => Ok(Self::OpenSessionResponse),
            0x12 => Ok(Self::Rakp1),
            0x13 => Ok(Self::Rakp2),
            0x14 => Ok(Self::Rakp3),
            0x15 => Ok(Self::Rakp4),
            other => Err(FrameError::Unknown(other)),
        }
    }
}

/// How a packet is protected. Our suites know nothing between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Not at all.
    Clear,
    /// Encrypted and authenticated.
    Sealed,
}

/// Reads one datagram.
pub fn parse(bytes: &[u8]) -> Result<Datagram, FrameError> {
    let (header, rest) = split::<4>(bytes)?;
    let [version, _, _, class] = *header;
    if version != RMCP_VERSION {
        return Err(FrameError::NotRmcp);
    }
    match class {
        CLASS_ASF => Ok(Datagram::Asf),
        CLASS_IPMI => match rest.first() {
            Some(&AUTH_RMCP_PLUS) => parse_wrapped(rest).map(Datagram::Wrapped),
            Some(&AUTH_NONE) => parse_sessionless(rest).map(Datagram::Sessionless),
            Some(&other) => Err(FrameError::Unknown(other)),
            None => Err(FrameError::Short { want: 5, got: 4 }),
        },
        other => Err(FrameError::Unknown(other)),
    }
}

fn parse_wrapped(bytes: &[u8]) -> Result<Wrapped, FrameError> {
    let (header, rest) = split::<HEADER_LEN>(bytes)?;
    let [_, kind, s0, s1, s2, s3, n0, n1, n2, n3, l0, l1] = *header;
    let protection = match kind & (ENCRYPTED | AUTHENTICATED) {
        0 => Protection::Clear,
        both if both == ENCRYPTED | AUTHENTICATED => Protection::Sealed,
        half => return Err(FrameError::Unknown(half)),
    };
    let len = usize::from(u16::from_le_bytes([l0, l1]));
    let payload = rest.get(..len).ok_or(FrameError::Short {
        want: HEADER_LEN + len,
        got: bytes.len(),
    })?;
    Ok(Wrapped {
        kind: PayloadKind::from_code(kind & !(ENCRYPTED | AUTHENTICATED))?,
        protection,
        session: u32::from_le_bytes([s0, s1, s2, s3]),
        sequence: u32::from_le_bytes([n0, n1, n2, n3]),
        payload: payload.to_vec(),
        signed: bytes.to_vec(),
    })
}

/// The v1.5 wrapper without authentication: type, sequence, session id, length (§13.6).
fn parse_sessionless(bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
    let (header, rest) = split::<10>(bytes)?;
    let len = usize::from(header[9]);
    rest.get(..len)
        .map(<[u8]>::to_vec)
        .ok_or(FrameError::Short {
            want: 10 + len,
            got: bytes.len(),
        })
}

/// Wraps an IPMI message outside any session.
pub fn emit_sessionless(message: &[u8]) -> Vec<u8> {
    let len = u8::try_from(message.len()).expect("sessionless questions are a dozen bytes long");
    let mut out = vec![RMCP_VERSION, 0, RMCP_NO_ACK, CLASS_IPMI, AUTH_NONE];
    out.extend([0; 8]);
    out.push(len);
    out.extend(message);
    out
}

/// Wraps a handshake message: session 0, sequence 0, no protection.
pub fn emit_clear(kind: PayloadKind, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![RMCP_VERSION, 0, RMCP_NO_ACK, CLASS_IPMI];
    push_header(&mut out, kind.code(), 0, 0, payload);
    out
}

/// Wraps an encrypted payload for `session` and lets `sign` make the authentication code.
pub fn emit_sealed(
    kind: PayloadKind,
    session: u32,
    sequence: u32,
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let mut out = vec![RMCP_VERSION, 0, RMCP_NO_ACK, CLASS_IPMI];
    push_header(
        &mut out,
        kind.code() | ENCRYPTED | AUTHENTICATED,
        session,
        sequence,
        payload,
    );
    // Pad so that everything from the authentication type to the next header is a multiple of four bytes.
    let pad = (4 - (HEADER_LEN + payload.len() + 2) % 4) % 4;
    out.extend(std::iter::repeat_n(0xff, pad));
    out.push(u8::try_from(pad).expect("a remainder of four fits"));
    out.push(NEXT_HEADER);
    let code = sign(&out[4..]);
    out.extend(code);
    out
}

fn push_header(out: &mut Vec<u8>, kind: u8, session: u32, sequence: u32, payload: &[u8]) {
    let len = u16::try_from(payload.len()).expect("our payloads are below 300 bytes");
    out.extend([AUTH_RMCP_PLUS, kind]);
    out.extend(session.to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(len.to_le_bytes());
    out.extend(payload);
}

fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), FrameError> {
    bytes.split_first_chunk::<N>().ok_or(FrameError::Short {
        want: N,
        got: bytes.len(),
    })
}

/// The three algorithm numbers of a cipher suite (§13.28).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithms {
    /// RAKP authentication.
    pub authentication: u8,
    /// Integrity.
    pub integrity: u8,
    /// Confidentiality.
    pub confidentiality: u8,
}

/// Open Session Request (§13.17): exactly one proposal per kind.
pub fn emit_open_session(tag: u8, privilege: u8, console: u32, algorithms: Algorithms) -> Vec<u8> {
    let mut out = vec![tag, privilege, 0, 0];
    out.extend(console.to_le_bytes());
    for (kind, algorithm) in [
        (0, algorithms.authentication),
        (1, algorithms.integrity),
        (2, algorithms.confidentiality),
    ] {
        out.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
    }
    out
}

/// RAKP Message 1 (§13.20).
pub fn emit_rakp1(tag: u8, bmc: u32, random: [u8; 16], role: u8, username: &[u8]) -> Vec<u8> {
    let len = u8::try_from(username.len()).expect("checked to be at most 16 bytes");
    let mut out = vec![tag, 0, 0, 0];
    out.extend(bmc.to_le_bytes());
    out.extend(random);
    out.extend([role, 0, 0, len]);
    out.extend(username);
    out
}

/// RAKP Message 3 (§13.22). With a status other than zero the proof is empty and the BMC forgets the session.
pub fn emit_rakp3(tag: u8, status: Status, bmc: u32, proof: &[u8]) -> Vec<u8> {
    let mut out = vec![tag, status.0, 0, 0];
    out.extend(bmc.to_le_bytes());
    out.extend(proof);
    out
}

/// RMCP+ status codes (table 13-15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u8);

impl Status {
    /// No error.
    pub const OK: Self = Self(0x00);
    /// A proof did not verify.
    pub const INVALID_INTEGRITY: Self = Self(0x0f);
}

/// The BMC's answer to a handshake message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// Tag of the message that it answers.
    pub tag: u8,
    /// Our session id; some BMCs leave it out of a refusal.
    pub console: Option<u32>,
    /// What was accepted, or why not.
    pub outcome: Result<T, Status>,
}

/// Accepted Open Session (§13.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The BMC's session id.
    pub bmc: u32,
    /// What it chose; to be compared with what was asked for.
    pub algorithms: Algorithms,
}

/// Accepted RAKP Message 2 (§13.21).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rakp2 {
    /// The BMC's random number.
    pub random: [u8; 16],
    /// The BMC's GUID.
    pub guid: [u8; 16],
    /// Its proof that it knows the password.
    pub proof: Vec<u8>,
}

/// Accepted RAKP Message 4 (§13.23).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rakp4 {
    /// Its proof that it computed the same session key.
    pub proof: Vec<u8>,
}

/// Reads the answer to Open Session.
pub fn parse_open_session(payload: &[u8]) -> Result<Answer<Opened>, FrameError> {
    answer(payload, |body| {
        let (bmc, rest) = split::<4>(body)?;
        let (records, _) = split::<24>(rest)?;
        Ok(Opened {
            bmc: u32::from_le_bytes(*bmc),
            algorithms: Algorithms {
                authentication: records[4],
                integrity: records[12],
                confidentiality: records[20],
            },
        })
    })
}

/// Reads RAKP Message 2.
pub fn parse_rakp2(payload: &[u8]) -> Result<Answer<Rakp2>, FrameError> {
    answer(payload, |body| {
        let (random, rest) = split::<16>(body)?;
        let (guid, proof) = split::<16>(rest)?;
        Ok(Rakp2 {
            random: *random,
            guid: *guid,
            proof: proof.to_vec(),
        })
    })
}

/// Reads RAKP Message 4.
pub fn parse_rakp4(payload: &[u8]) -> Result<Answer<Rakp4>, FrameError> {
    answer(payload, |body| {
        Ok(Rakp4 {
            proof: body.to_vec(),
        })
    })
}

/// The part that all answers share: tag, status, two reserved bytes, our session id.
fn answer<T>(
    payload: &[u8],
    accepted: impl FnOnce(&[u8]) -> Result<T, FrameError>,
) -> Result<Answer<T>, FrameError> {
    let ([tag, status], _) = split::<2>(payload)?;
    let status = Status(*status);
    if status != Status::OK {
        // OpenIPMI's simulator sends two bytes; others send our id as well.
        let console = payload.get(4..8).and_then(<[u8]>::first_chunk);
        return Ok(Answer {
            tag: *tag,
            console: console.map(|id| u32::from_le_bytes(*id)),
            outcome: Err(status),
        });
    }
    let (head, body) = split::<8>(payload)?;
    Ok(Answer {
        tag: *tag,
        console: Some(u32::from_le_bytes([head[4], head[5], head[6], head[7]])),
        outcome: Ok(accepted(body)?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sealed_packet_is_padded_to_four_and_split_again() {
        for len in 0..40usize {
            let payload = vec![0x5a; len];
            let bytes = emit_sealed(PayloadKind::Ipmi, 7, 9, &payload, |covered| {
                assert_eq!(covered.len() % 4, 0, "payload of {len}");
                vec![0xcc; 16]
            });
            let Datagram::Wrapped(wrapped) = parse(&bytes).unwrap() else {
                panic!("not RMCP+");
            };
            assert_eq!((wrapped.session, wrapped.sequence), (7, 9));
            assert_eq!(wrapped.payload, payload);
            let (covered, code) = wrapped.split_code(16).unwrap();
            assert_eq!(covered, &bytes[4..bytes.len() - 16]);
            assert_eq!(code, [0xcc; 16]);
            assert_eq!(wrapped.split_code(bytes.len()), None);
        }
    }

    #[test]
    fn refusals_with_and_without_our_id() {
        let short = parse_open_session(&[3, 0x11]).unwrap();
        assert_eq!((short.tag, short.console), (3, None));
        assert_eq!(short.outcome, Err(Status(0x11)));
        let long = parse_rakp2(&[4, 0x0d, 0, 0, 1, 0, 0, 0]).unwrap();
        assert_eq!((long.tag, long.console), (4, Some(1)));
    }

    #[test]
    fn half_protected_packets_are_unknown() {
        let mut bytes = emit_clear(PayloadKind::Ipmi, &[1, 2, 3]);
        bytes[5] = 0x40;
        assert_eq!(parse(&bytes), Err(FrameError::Unknown(0x40)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), plausible: bool) {
            let mut bytes = bytes;
            if plausible {
                bytes.splice(0..0, [6, 0, 0xff, 7, 6]);
            }
            if let Ok(Datagram::Wrapped(wrapped)) = parse(&bytes) {
                let _ = wrapped.split_code(12);
                let _ = wrapped.split_code(16);
            }
            let _ = parse_open_session(&bytes);
            let _ = parse_rakp2(&bytes);
            let _ = parse_rakp4(&bytes);
        }

        #[test]
        fn clear_packets_survive_the_round_trip(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let Ok(Datagram::Wrapped(wrapped)) = parse(&emit_clear(PayloadKind::Rakp1, &payload)) else {
                return Err(TestCaseError::fail("not RMCP+"));
            };
            prop_assert_eq!(wrapped.kind, PayloadKind::Rakp1);
            prop_assert_eq!(wrapped.protection, Protection::Clear);
            prop_assert_eq!(wrapped.payload, payload);
        }
    }
}
