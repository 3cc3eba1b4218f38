//! BMC sessions without sockets: RMCP+ (IPMI v2.0 §13) as a state machine that is handed datagrams, time and random bytes.
//!
//! Promises: hostile bytes never panic and never end a session; a password leaves only as a keyed hash, and only after the BMC
//! proved that it knows it too; no algorithm but the requested ones is ever used. Deliberately not here: which suite to try
//! after which (the shell's policy, because it needs memory), what a power verb is made of, SDR, SEL, FRU, SOL.

mod binding;
mod crypto;
mod event;
mod probe;
mod session;
mod window;

use std::fmt;
use std::time::Duration;

use crate::secret::Secret;

pub use crate::wire::ipmi::Privilege;
pub use binding::{Bound, Proof, Verdict, judge, readings};
pub use event::{Busy, Entropy, Event, Failure, Heard, Patience};
pub use probe::{CipherZero, CipherZeroProbe};
pub use session::Session;

/// Cipher suites that we speak (IPMI v2.0 table 22-20; suite 17 from the 2009 addendum).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128.
    Three,
    /// RAKP-HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128.
    Seventeen,
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Three => "3",
            Self::Seventeen => "17",
        })
    }
}

/// How often and how patiently a session repeats itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Wait after each sending of one handshake message; when used up, the handshake starts again with new ids.
    pub handshake: Vec<Duration>,
    /// How many times a handshake is started before the BMC counts as silent.
    pub handshakes_max: u32,
    /// Wait after each sending of one command; when used up, the session is lost.
    pub command: Vec<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            handshake: vec![ms(400), ms(800)],
            handshakes_max: 6,
            command: vec![ms(500), ms(1000), ms(2000), ms(4000), ms(4000)],
        }
    }
}

/// Longest user name of IPMI v2.0.
pub const USERNAME_BYTES_MAX: usize = 16;
/// Longest password of IPMI v2.0; many BMCs keep 16 bytes only.
pub const PASSWORD_BYTES_MAX: usize = 20;

/// Who logs in, with what right and by which suite.
#[derive(Debug, Clone)]
pub struct Login {
    username: String,
    password: Secret<String>,
    /// The privilege that the session asks for.
    pub privilege: Privilege,
    /// The suite that it uses.
    pub suite: Suite,
}

/// Credentials that cannot travel in RMCP+.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLogin {
    /// Longer than [`USERNAME_BYTES_MAX`].
    #[error("the user name has {got} bytes, IPMI knows at most {USERNAME_BYTES_MAX}")]
    Username {
        /// Its length.
        got: usize,
    },
    /// Longer than [`PASSWORD_BYTES_MAX`].
    #[error("the password has more than {PASSWORD_BYTES_MAX} bytes")]
    Password,
}

impl Login {
    /// Checks the lengths.
    ///
    /// # Errors
    /// The user name or the password is too long.
    pub fn new(
        username: String,
        password: Secret<String>,
        privilege: Privilege,
        suite: Suite,
    ) -> Result<Self, BadLogin> {
        if username.len() > USERNAME_BYTES_MAX {
            return Err(BadLogin::Username {
                got: username.len(),
            });
        }
        if password.expose().len() > PASSWORD_BYTES_MAX {
            return Err(BadLogin::Password);
        }
        Ok(Self {
            username,
            password,
            privilege,
            suite,
        })
    }
}
