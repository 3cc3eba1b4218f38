//! Asks a BMC whether its cipher suite 0 is open: a session without authentication (the CVE-2013-4782 class).
//!
//! Promise: nothing but an Open Session with algorithms 0/0/0 is sent, no login and no command. bootd warns of what it finds;
//! it never uses such a session.

use super::event::Entropy;
use crate::wire::ipmi::Privilege;
use crate::wire::rmcp::{self, Algorithms, Datagram, PayloadKind, Protection};

/// What a BMC says to cipher suite 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherZero {
    /// It would open a session without any password.
    Open,
    /// It refuses, as it should.
    Refused,
}

/// One question, and how to know its answer.
#[derive(Debug, Clone, Copy)]
pub struct CipherZeroProbe {
    tag: u8,
    console: u32,
}

impl CipherZeroProbe {
    /// A question with fresh ids.
    pub fn new(entropy: &Entropy) -> Self {
        Self {
            tag: entropy.tag(),
            console: entropy.session_id(),
        }
    }

    /// The datagram to send, again if its answer does not come.
    pub fn question(self) -> Vec<u8> {
        let nothing = Algorithms {
            authentication: 0,
            integrity: 0,
            confidentiality: 0,
        };
        let payload =
            rmcp::emit_open_session(self.tag, Privilege::User.code(), self.console, nothing);
        rmcp::emit_clear(PayloadKind::OpenSessionRequest, &payload)
    }

    /// Reads a datagram; `None` if it does not answer this question.
    pub fn read(self, datagram: &[u8]) -> Option<CipherZero> {
        let Ok(Datagram::Wrapped(packet)) = rmcp::parse(datagram) else {
            return None;
        };
        if (packet.kind, packet.protection) != (PayloadKind::OpenSessionResponse, Protection::Clear)
        {
            return None;
        }
        let answer = rmcp::parse_open_session(&packet.payload).ok()?;
        if answer.tag != self.tag || answer.console.is_some_and(|id| id != self.console) {
            return None;
        }
        Some(match answer.outcome {
            Ok(_) => CipherZero::Open,
            Err(_) => CipherZero::Refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn probe() -> CipherZeroProbe {
        CipherZeroProbe {
            tag: 7,
            console: 0x0403_0201,
        }
    }

    fn check(payload: &[u8], expected: Option<CipherZero>) {
        let datagram = rmcp::emit_clear(PayloadKind::OpenSessionResponse, payload);
        assert_eq!(probe().read(&datagram), expected, "{payload:02x?}");
    }

    #[test]
    fn answers() {
        let mut open = vec![7, 0, 4, 0, 1, 2, 3, 4, 9, 9, 9, 9];
        open.extend([0; 24]);
        check(&open, Some(CipherZero::Open));
        check(&[7, 0x11], Some(CipherZero::Refused));
        check(&[7, 0x11, 0, 0, 1, 2, 3, 4], Some(CipherZero::Refused));
        check(&[8, 0x11], None);
        check(&[7, 0x11, 0, 0, 1, 2, 3, 5], None);
        assert_eq!(probe().read(&probe().question()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = probe().read(&bytes);
            let _ = probe().read(&rmcp::emit_clear(PayloadKind::OpenSessionResponse, &bytes));
        }
    }
}
