//! Sealing: AES-256-GCM with a key that is never in the database, bound to the row that the value stands in.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use bootd_core::secret::Secret;

/// The sealing key, and what is derived from it.
pub struct Seal {
    key: LessSafeKey,
    derive: hmac::Key,
}

/// A sealed value could not be opened: wrong key, wrong row, or a damaged database.
#[derive(Debug, thiserror::Error)]
#[error("the sealed value of {row} cannot be opened: wrong sealing key or damaged database")]
pub struct Unsealable {
    /// Which row.
    pub row: String,
}

impl Seal {
    /// Makes a key file, 0600. Refuses to replace one.
    pub fn create(path: &Path) -> io::Result<()> {
        let mut key = [0u8; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        std::fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)?
            .write_all(&key)
    }

    /// Reads a key file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let key: [u8; 32] = std::fs::read(path)?.try_into().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "a sealing key has 32 bytes")
        })?;
        Ok(Self::new(&key))
    }

    /// From the key itself.
    pub fn new(key: &[u8; 32]) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes");
        Self {
            key: LessSafeKey::new(unbound),
            derive: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// Seals `plain` for `row` (table/name/column).
    pub fn seal(&self, row: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0u8; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the system has a random generator");
        let mut body = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(row.as_bytes()),
                &mut body,
            )
            .expect("values are far below AES-GCM's limit");
        let mut out = nonce.to_vec();
        out.append(&mut body);
        out
    }

    /// Opens what was sealed for `row`.
    pub fn open(&self, row: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, Unsealable> {
        let bad = || Unsealable {
            row: row.to_owned(),
        };
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or_else(bad)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| bad())?;
        let mut body = body.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(row.as_bytes()), &mut body)
            .map_err(|_| bad())?;
        Ok(Secret::new(plain.to_vec()))
    }

    /// 256 bits that only the holder of the key can compute, in hex: boot tokens and nonces need not be stored then.
    pub fn derive(&self, purpose: &str, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.derive);
        for part in std::iter::once(&purpose).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex(context.sign().as_ref())
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[sealing key]")
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_in_its_own_row_only() {
        let seal = Seal::new(&[7; 32]);
        let sealed = seal.seal("servers/b1/bmc_password", b"hunter2");
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        let open = seal.open("servers/b1/bmc_password", &sealed).unwrap();
        assert_eq!(open.expose(), b"hunter2");
        assert!(seal.open("servers/b2/bmc_password", &sealed).is_err());
        assert!(
            Seal::new(&[8; 32])
                .open("servers/b1/bmc_password", &sealed)
                .is_err()
        );
    }

    #[test]
    fn derived_values_depend_on_every_part() {
        let seal = Seal::new(&[7; 32]);
        let token = seal.derive("token", &["b1", "2"]);
        assert_eq!(token.len(), 64);
        assert_eq!(token, seal.derive("token", &["b1", "2"]));
        assert_ne!(token, seal.derive("token", &["b12", ""]));
        assert_ne!(token, seal.derive("nonce", &["b1", "2"]));
    }
}
