//! Who may register: machines that nobody declared.

use std::sync::Mutex;
use std::time::Duration;

use bootd_core::id::Timestamp;
use serde::Deserialize;

/// `[registration] mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nobody; the window cannot be opened.
    Closed,
    /// Only machines that a `metal_server` names; a window may be opened for a while.
    #[default]
    Declared,
    /// Everybody.
    Open,
}

/// The mode and the window that an operator opened. The window does not outlive the process: closed is the safe answer.
#[derive(Debug)]
pub struct Registration {
    mode: Mode,
    until: Mutex<Timestamp>,
}

impl Registration {
    /// Without a window.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            until: Mutex::new(Timestamp(0)),
        }
    }

    /// Admits unknown machines for a while; `None` where the mode forbids it.
    pub fn open(&self, now: Timestamp, during: Duration) -> Option<Timestamp> {
        if self.mode == Mode::Closed {
            return None;
        }
        let mut until = self.until.lock().unwrap_or_else(|e| e.into_inner());
        *until = now + during;
        Some(*until)
    }

    /// May an unknown machine register now?
    pub fn admits(&self, now: Timestamp) -> bool {
        match self.mode {
            Mode::Closed => false,
            Mode::Open => true,
            Mode::Declared => now < *self.until.lock().unwrap_or_else(|e| e.into_inner()),
        }
    }
}
