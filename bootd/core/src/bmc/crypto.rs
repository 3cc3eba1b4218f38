//! The arithmetic of cipher suites 3 and 17 (IPMI v2.0 §13.28–§13.32).
//!
//! Promise: secrets are compared in constant time only. Deliberately not here: MD5, RC4 and every suite that leaves
//! authentication, integrity or encryption out.

use aes::Aes128;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::Suite;
use crate::wire::rmcp::Algorithms;

const BLOCK: usize = 16;

impl Suite {
    /// Algorithm numbers (tables 13-17 to 13-19).
    pub(super) const fn algorithms(self) -> Algorithms {
        let (authentication, integrity) = match self {
            Self::Three => (1, 1),
            Self::Seventeen => (3, 4),
        };
        Algorithms {
            authentication,
            integrity,
            confidentiality: 1,
        }
    }

    /// Bytes of an authentication code and of RAKP 4's proof: the hash cut short.
    pub(super) const fn code_len(self) -> usize {
        match self {
            Self::Three => 12,
            Self::Seventeen => 16,
        }
    }

    /// The suite's keyed hash over `parts` in order.
    pub(super) fn keyed_hash(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Three => {
                let mut mac =
                    Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
                parts.iter().for_each(|part| mac.update(part));
                mac.finalize().into_bytes().to_vec()
            }
            Self::Seventeen => {
                let mut mac =
                    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
                parts.iter().for_each(|part| mac.update(part));
                mac.finalize().into_bytes().to_vec()
            }
        }
    }

    fn code(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let mut hash = self.keyed_hash(key, parts);
        hash.truncate(self.code_len());
        hash
    }
}

/// Constant-time comparison; different lengths are different.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// The keys of one session.
pub(super) struct Keys {
    suite: Suite,
    session: Vec<u8>,
    integrity: Vec<u8>,
    cipher: [u8; BLOCK],
}

impl Keys {
    /// Derives K1 and K2 from the session integrity key. The constants are 20 bytes for SHA-256 too (§13.32).
    pub(super) fn derive(suite: Suite, session: Vec<u8>) -> Self {
        let integrity = suite.keyed_hash(&session, &[&[1; 20]]);
        let second = suite.keyed_hash(&session, &[&[2; 20]]);
        let cipher = *second
            .first_chunk()
            .expect("both hashes are longer than an AES-128 key");
        Self {
            suite,
            session,
            integrity,
            cipher,
        }
    }

    /// RAKP 4's proof over `parts`, made with the session integrity key.
    pub(super) fn session_proof(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.suite.code(&self.session, parts)
    }

    pub(super) const fn code_len(&self) -> usize {
        self.suite.code_len()
    }

    /// The authentication code of a packet.
    pub(super) fn sign(&self, covered: &[u8]) -> Vec<u8> {
        self.suite.code(&self.integrity, &[covered])
    }

    /// AES-CBC-128 payload: initialisation vector, then the data padded 1, 2, 3, … and the pad length (§13.29).
    pub(super) fn encrypt(&self, plain: &[u8], iv: [u8; BLOCK]) -> Vec<u8> {
        let mut padded = plain.to_vec();
        let pad = (BLOCK - (plain.len() + 1) % BLOCK) % BLOCK;
        padded.extend((1u8..).take(pad));
        padded.push(u8::try_from(pad).expect("below the block length"));
        let mut out = iv.to_vec();
        out.extend(
            cbc::Encryptor::<Aes128>::new(&self.cipher.into(), &iv.into())
                .encrypt_padded_vec::<NoPadding>(&padded),
        );
        out
    }

    /// Undoes [`Self::encrypt`]; `None` if the lengths cannot be right.
    pub(super) fn decrypt(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (iv, body) = bytes.split_first_chunk::<BLOCK>()?;
        if body.is_empty() || body.len() % BLOCK != 0 {
            return None;
        }
        let mut plain = cbc::Decryptor::<Aes128>::new(&self.cipher.into(), &(*iv).into())
            .decrypt_padded_vec::<NoPadding>(body)
            .ok()?;
        // The pad's own bytes are not looked at: the packet is authenticated, and some BMCs fill them wrongly.
        let pad = usize::from(plain.pop()?);
        let keep = plain.len().checked_sub(pad)?;
        plain.truncate(keep);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn keyed_hashes_are_those_of_rfc_2202_and_rfc_4231() {
        let data: &[&[u8]] = &[b"what do ya want ", b"for nothing?"];
        assert_eq!(
            hex(&Suite::Three.keyed_hash(b"Jefe", data)),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
        assert_eq!(
            hex(&Suite::Seventeen.keyed_hash(b"Jefe", data)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn comparison_looks_at_every_byte_and_the_length() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"abc", b"ab"));
        assert!(!same(b"", b"a"));
    }

    proptest! {
        #[test]
        fn encryption_round_trips_in_whole_blocks(plain in proptest::collection::vec(any::<u8>(), 0..80), iv: [u8; 16], seventeen: bool) {
            let suite = if seventeen { Suite::Seventeen } else { Suite::Three };
            let keys = Keys::derive(suite, vec![7; 20]);
            let sealed = keys.encrypt(&plain, iv);
            prop_assert_eq!(sealed.len() % BLOCK, 0);
            prop_assert_eq!(keys.decrypt(&sealed), Some(plain));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Keys::derive(Suite::Three, vec![1]).decrypt(&bytes);
        }
    }
}
