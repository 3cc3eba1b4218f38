//! What is wrong with a document, and where.

use std::fmt;

/// Something in a document that its table does not allow. It names keys and kinds, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// 1-based line.
    pub line: usize,
    /// 1-based column.
    pub column: usize,
    /// The keys down to the place, joined by dots.
    pub path: String,
    /// What is wrong.
    pub reason: FaultReason,
}

/// What is wrong with a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultReason {
    /// No such key in this document.
    UnknownKey {
        /// The known key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// Something else belongs here.
    Expected {
        /// What belongs here.
        what: String,
        /// What stands here.
        got: &'static str,
        /// What was probably meant.
        hint: Option<String>,
    },
}

impl Fault {
    /// Whether a value has the wrong type.
    pub(crate) fn is_type(&self) -> bool {
        matches!(self.reason, FaultReason::Expected { .. })
    }

    /// What to do about it, where one thing is likely.
    pub fn hint(&self) -> Option<String> {
        match &self.reason {
            FaultReason::UnknownKey { nearest } => nearest.map(|key| format!("write {key}")),
            FaultReason::Expected { hint, .. } => hint.clone(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            path,
            reason,
        } = self;
        // What a JSON patch moved here from elsewhere in the config was never written at a place.
        if *line > 0 {
            write!(f, "line {line}, column {column}: ")?;
        }
        match reason {
            FaultReason::UnknownKey { nearest } => {
                write!(f, "unknown key {path}")?;
                match nearest {
                    Some(key) => write!(f, " (did you mean {key}?)"),
                    None => Ok(()),
                }
            }
            FaultReason::Expected { what, got, hint } => {
                write!(f, "{path} must be {what}, not {got}")?;
                match hint {
                    Some(hint) => write!(f, " ({hint})"),
                    None => Ok(()),
                }
            }
        }
    }
}
