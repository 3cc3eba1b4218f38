//! RMCP+ from the BMC's side: packets in and out, keys, encryption. Written apart from bootd's client on purpose.

use aes::Aes128;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::Suite;

/// What a console sent, after the RMCP header.
pub(super) enum Inbound<'a> {
    /// ASF presence ping with this tag.
    Ping(u8),
    /// An IPMI message outside a session, and the wrapper that the answer needs.
    Sessionless(&'a [u8], Wrapper),
    /// A handshake message.
    Handshake(u8, &'a [u8]),
    /// A packet of a session; `whole` runs from the authentication type to the end.
    Sealed(SealedPacket<'a>),
}

/// A packet of a session.
pub(super) struct SealedPacket<'a> {
    pub(super) session: u32,
    pub(super) sequence: u32,
    pub(super) payload: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// How a sessionless message was wrapped.
#[derive(Clone, Copy)]
pub(super) enum Wrapper {
    /// IPMI v1.5, authentication type none.
    V15,
    /// RMCP+ with session 0.
    V20,
}

pub(super) fn read(datagram: &[u8]) -> Option<Inbound<'_>> {
    let body = datagram.get(4..)?;
    if datagram[0] != 6 {
        return None;
    }
    match (datagram[3], body.first()?) {
        (6, _) => (body.len() >= 8 && body[4] == 0x80).then(|| Inbound::Ping(body[5])),
        (7, 0) => {
            let len = usize::from(*body.get(9)?);
            Some(Inbound::Sessionless(body.get(10..10 + len)?, Wrapper::V15))
        }
        (7, 6) => read_plus(body),
        _ => None,
    }
}

fn read_plus(body: &[u8]) -> Option<Inbound<'_>> {
    let kind = *body.get(1)?;
    let session = u32_at(body, 2)?;
    let sequence = u32_at(body, 6)?;
    let len = usize::from(u16::from_le_bytes([*body.get(10)?, *body.get(11)?]));
    let payload = body.get(12..12 + len)?;
    match kind {
        0x00 if session == 0 => Some(Inbound::Sessionless(payload, Wrapper::V20)),
        0x10 | 0x12 | 0x14 => Some(Inbound::Handshake(kind, payload)),
        0xc0 => Some(Inbound::Sealed(SealedPacket {
            session,
            sequence,
            payload,
            whole: body,
        })),
        _ => None,
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(four))
}

/// An ASF pong that says "IPMI is here".
pub(super) fn pong(tag: u8) -> Vec<u8> {
    let mut out = vec![6, 0, 0xff, 6, 0, 0, 0x11, 0xbe, 0x40, tag, 0, 16];
    out.extend([0, 0, 0x11, 0xbe, 0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0]);
    out
}

pub(super) fn wrap_sessionless(message: &[u8], wrapper: Wrapper) -> Vec<u8> {
    match wrapper {
        Wrapper::V15 => {
            let mut out = vec![6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            out.push(u8::try_from(message.len()).unwrap_or(u8::MAX));
            out.extend(message);
            out
        }
        Wrapper::V20 => wrap_clear(0x00, message),
    }
}

pub(super) fn wrap_clear(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![6, 0, 0xff, 7];
    push_plus(&mut out, kind, 0, 0, payload);
    out
}

fn push_plus(out: &mut Vec<u8>, kind: u8, session: u32, sequence: u32, payload: &[u8]) {
    out.extend([6, kind]);
    out.extend(session.to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(
        u16::try_from(payload.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    out.extend(payload);
}

/// An IPMI request, checked.
pub(super) struct Request<'a> {
    pub(super) netfn: u8,
    pub(super) cmd: u8,
    pub(super) data: &'a [u8],
    rq_addr: u8,
    rq_seq_lun: u8,
    rs_addr: u8,
}

pub(super) fn read_request(message: &[u8]) -> Option<Request<'_>> {
    let zero = |part: &[u8]| part.iter().fold(0u8, |a, b| a.wrapping_add(*b)) == 0;
    if message.len() < 7 || !zero(&message[..3]) || !zero(&message[3..]) {
        return None;
    }
    Some(Request {
        rs_addr: message[0],
        netfn: message[1] >> 2,
        rq_addr: message[3],
        rq_seq_lun: message[4],
        cmd: message[5],
        data: &message[6..message.len() - 1],
    })
}

impl Request<'_> {
    /// The response message with this completion code and data.
    pub(super) fn answer(&self, completion: u8, data: &[u8]) -> Vec<u8> {
        let negative = |part: &[u8]| part.iter().fold(0u8, |a, b| a.wrapping_sub(*b));
        let mut out = vec![self.rq_addr, (self.netfn | 1) << 2 | (self.rq_seq_lun & 3)];
        out.push(negative(&out));
        out.extend([self.rs_addr, self.rq_seq_lun & !3, self.cmd, completion]);
        out.extend(data);
        out.push(negative(&out[3..]));
        out
    }
}

impl Suite {
    /// Number as `ipmitool -C` takes it, and the algorithm numbers.
    pub(super) const fn numbers(self) -> (u8, [u8; 3]) {
        match self {
            Self::Three => (3, [1, 1, 1]),
            Self::Seventeen => (17, [3, 4, 1]),
        }
    }

    const fn code_len(self) -> usize {
        match self {
            Self::Three => 12,
            Self::Seventeen => 16,
        }
    }

    pub(super) fn hash(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        const ANY_LENGTH: &str = "HMAC takes keys of any length";
        match self {
            Self::Three => {
                let mac = Hmac::<Sha1>::new_from_slice(key).expect(ANY_LENGTH);
                mac.chain_update(data).finalize().into_bytes().to_vec()
            }
            Self::Seventeen => {
                let mac = Hmac::<Sha256>::new_from_slice(key).expect(ANY_LENGTH);
                mac.chain_update(data).finalize().into_bytes().to_vec()
            }
        }
    }

    /// A hash cut to the length that travels in packets and in RAKP 4.
    pub(super) fn short_hash(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let mut hash = self.hash(key, data);
        hash.truncate(self.code_len());
        hash
    }
}

pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Keys of an open session.
pub(super) struct SessionKeys {
    suite: Suite,
    integrity: Vec<u8>,
    cipher: [u8; 16],
}

impl SessionKeys {
    pub(super) fn new(suite: Suite, sik: &[u8]) -> Self {
        let mut cipher = [0; 16];
        cipher.copy_from_slice(&suite.hash(sik, &[2; 20])[..16]);
        Self {
            suite,
            integrity: suite.hash(sik, &[1; 20]),
            cipher,
        }
    }

    /// The message inside a packet; `None` if the packet is not authentic.
    pub(super) fn unseal(&self, packet: &SealedPacket<'_>) -> Option<Vec<u8>> {
        let at = packet.whole.len().checked_sub(self.suite.code_len())?;
        let (covered, code) = packet.whole.split_at(at);
        if !equal(&self.suite.short_hash(&self.integrity, covered), code) {
            return None;
        }
        let (iv, body) = packet.payload.split_at_checked(16)?;
        let iv: [u8; 16] = iv.try_into().ok()?;
        let mut plain = cbc::Decryptor::<Aes128>::new(&self.cipher.into(), &iv.into())
            .decrypt_padded_vec::<NoPadding>(body)
            .ok()?;
        let pad = usize::from(plain.pop()?);
        plain.truncate(plain.len().checked_sub(pad)?);
        Some(plain)
    }

    /// A packet for the console.
    pub(super) fn seal(&self, console: u32, sequence: u32, message: &[u8]) -> Vec<u8> {
        let mut plain = message.to_vec();
        let mut pad = 0u8;
        while !(plain.len() + 1).is_multiple_of(16) {
            pad += 1;
            plain.push(pad);
        }
        plain.push(pad);
        let iv: [u8; 16] = random();
        let mut payload = iv.to_vec();
        payload.extend(
            cbc::Encryptor::<Aes128>::new(&self.cipher.into(), &iv.into())
                .encrypt_padded_vec::<NoPadding>(&plain),
        );
        let mut out = vec![6, 0, 0xff, 7];
        push_plus(&mut out, 0xc0, console, sequence, &payload);
        let mut fill = 0u8;
        while !(out.len() - 4 + 2).is_multiple_of(4) {
            out.push(0xff);
            fill += 1;
        }
        out.extend([fill, 7]);
        let code = self.suite.short_hash(&self.integrity, &out[4..]);
        out.extend(code);
        out
    }
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
