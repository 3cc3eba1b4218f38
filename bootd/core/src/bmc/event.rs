//! What a session is given besides datagrams and time, and what it tells its owner.

use crate::id::Timestamp;

/// Random bytes for one call: enough for whatever the call may need, never used twice.
#[derive(Clone, Copy)]
pub struct Entropy(pub [u8; 40]);

impl Entropy {
    pub(super) fn session_id(&self) -> u32 {
        let id = u32::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]);
        // Zero means "outside any session".
        if id == 0 { 1 } else { id }
    }

    pub(super) const fn tag(&self) -> u8 {
        self.0[4]
    }

    pub(super) fn block(&self) -> [u8; 16] {
        let mut block = [0; 16];
        block.copy_from_slice(&self.0[8..24]);
        block
    }
}

/// What a session tells its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session is open and has its privilege: commands may be submitted.
    Opened,
    /// The answer to the submitted command.
    Answered {
        /// Completion code.
        completion: u8,
        /// Data after it.
        data: Vec<u8>,
    },
    /// The session did not come to be. It is over.
    Failed(Failure),
    /// A command stayed without an answer. The session is over.
    Lost {
        /// The command.
        asked: &'static str,
    },
    /// The session was closed. It is over.
    Closed,
}

/// Why a session did not come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The BMC says that it does not support the suite's algorithms.
    SuiteNotOffered,
    /// The BMC's proof does not fit our password.
    WrongPassword,
    /// No such user.
    UnknownUser,
    /// The user may not have the privilege.
    Privilege,
    /// No free session.
    NoSlot,
    /// The BMC chose algorithms that were not proposed.
    OtherAlgorithms,
    /// RAKP 4 does not fit: the BMC mixes another key in (K_G), or speaks another dialect.
    KeyMismatch,
    /// Another RMCP+ status.
    Status {
        /// The message that was answered so.
        asked: &'static str,
        /// The status.
        status: u8,
    },
    /// No answer to this message, all restarts included.
    Silent {
        /// The message.
        asked: &'static str,
    },
}

/// The newest thing that the BMC answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The message that it answered.
    pub what: &'static str,
    /// When.
    pub at: Timestamp,
}

/// How long a command waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// All waits of [`Timing::command`].
    Full,
    /// The first two only: for the first command after a pause, when the BMC may have dropped the session and stays silent.
    Short,
}

/// A command was submitted while the session could not take one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session is not open, or a command is in flight")]
pub struct Busy;
