//! A fingerprint of a write-only password, kept in the resource's private state: enough to notice that it changed without its version.
//!
//! Promises: salted and stretched, so that the state gives no password away to who guesses less than very many times; compared in
//! constant time. Deliberately not here: the password itself, which only travels to bootd.

use std::num::NonZeroU32;

use aws_lc_rs::{pbkdf2, rand};

/// Rounds of PBKDF2-HMAC-SHA256: about 5 ms, once per server with a password and plan.
const ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not zero");
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// The fingerprint of a password, with a salt of its own; none where the system has no random numbers.
pub(crate) fn fingerprint(password: &str) -> Option<String> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).ok()?;
    let mut hash = [0; HASH_BYTES];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, ROUNDS, &salt, password.as_bytes(), &mut hash);
    Some(hex(&[&salt[..], &hash[..]].concat()))
}

/// Was the fingerprint made from another password? One that cannot be read says nothing.
pub(crate) fn differs(fingerprint: &str, password: &str) -> bool {
    let Some(bytes) = unhex(fingerprint).filter(|b| b.len() == SALT_BYTES + HASH_BYTES) else {
        return false;
    };
    let (salt, hash) = bytes.split_at(SALT_BYTES);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::verify(algorithm, ROUNDS, salt, password.as_bytes(), hash).is_err()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let pair = |p: &[u32]| u8::try_from(p.first()? * 16 + p.get(1)?).ok();
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_password_is_noticed_and_the_same_is_not() {
        let kept = fingerprint("hunter2").unwrap();
        assert!(!differs(&kept, "hunter2"));
        assert!(differs(&kept, "hunter3"));
        assert_ne!(kept, fingerprint("hunter2").unwrap(), "a salt of its own");
        assert!(!kept.contains("hunter"));
        for unreadable in ["", "zz", "abc", &kept[2..]] {
            assert!(!differs(unreadable, "hunter2"), "{unreadable}");
        }
    }
}
