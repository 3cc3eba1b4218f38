//! BMC sessions without sockets: RMCP+ (IPMI v2.0 §13) as a state machine that is handed datagrams, time and random bytes.
//!
//! Promises: hostile bytes never panic and never end a session; a password leaves only as a keyed hash, and only after the BMC
//! proved that it knows it too; no algorithm but the requested ones is ever used. Deliberately not here: which suite to try
//! after which (the shell's policy, because it needs memory), what a power verb is made of, SDR, SEL, FRU, SOL.

use std::fmt;
use std::time::Duration;

pub use crate::wire::ipmi::Privilege;

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
