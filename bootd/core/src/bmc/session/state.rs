//! Where a session stands.

use super::super::crypto::Keys;
use super::super::event::Patience;
use super::super::window::Window;
use crate::wire::ipmi::Command;

pub(super) enum State {
    Idle,
    /// Channel capabilities were asked for; a hint only.
    Asking {
        rq_seq: u8,
    },
    Opening {
        console: u32,
        tag: u8,
    },
    /// RAKP 1 is out.
    Naming(Naming),
    /// RAKP 3 is out.
    Proving(Proving),
    Live(Live),
    Over,
}

pub(super) struct Naming {
    pub(super) console: u32,
    pub(super) bmc: u32,
    pub(super) tag: u8,
    pub(super) random: [u8; 16],
}

pub(super) struct Proving {
    pub(super) console: u32,
    pub(super) bmc: u32,
    pub(super) tag: u8,
    pub(super) keys: Keys,
    /// What RAKP 4 must prove.
    pub(super) expected: Vec<u8>,
}

pub(super) struct Live {
    pub(super) console: u32,
    pub(super) bmc: u32,
    pub(super) keys: Keys,
    /// Outbound session sequence number that was used last.
    pub(super) sequence: u32,
    pub(super) window: Window,
    pub(super) rq_seq: u8,
    pub(super) flight: Option<Flight>,
}

#[derive(Clone, Copy)]
pub(super) struct Flight {
    pub(super) command: Command,
    pub(super) purpose: Purpose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Our own Set Session Privilege at the start.
    Raise,
    /// The owner's command.
    Ask(Patience),
    /// Our own Close Session at the end.
    Close,
}
