//! The `timeouts` attribute: how long each operation may take, in Go's duration syntax.

use std::time::Duration;

use crate::duration;
use crate::model::{Field, Name};
use crate::schema::validators::positive_duration;
use crate::value::Object;

crate::model! {
    /// How long each operation may take. In a resource's model: `timeouts: Timeouts = optional().local()`.
    pub struct Timeouts {
        /// How long creation may take, for example `45m`.
        pub create: String = optional().validate(positive_duration()),
        /// How long a refresh may take.
        pub read: String = optional().validate(positive_duration()),
        /// How long an update in place may take.
        pub update: String = optional().validate(positive_duration()),
        /// How long deletion may take.
        pub delete: String = optional().validate(positive_duration()),
    }
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Makes a resource.
    Create,
    /// Refreshes a resource or reads a data source.
    Read,
    /// Changes a resource in place.
    Update,
    /// Deletes a resource.
    Delete,
    /// Plans a change.
    Plan,
    /// Finds a resource that exists.
    Import,
    /// Takes the provider block.
    Configure,
    /// Lists what exists.
    List,
    /// Calls a function.
    Call,
    /// Opens an ephemeral resource.
    Open,
    /// Makes an ephemeral resource live longer.
    Renew,
    /// Ends an ephemeral resource.
    Close,
    /// Does an action.
    Invoke,
}

impl Operation {
    /// The verb, as messages say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Plan => "plan",
            Self::Import => "import",
            Self::Configure => "configure",
            Self::List => "list",
            Self::Call => "call",
            Self::Open => "open",
            Self::Renew => "renew",
            Self::Close => "close",
            Self::Invoke => "invoke",
        }
    }
}

impl Operation {
    /// What is interrupted, as messages say it.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Call => "function call",
            Self::Open => "opening",
            Self::Renew => "renewal",
            Self::Close => "closing",
            Self::Invoke => "action",
            Self::Create
            | Self::Read
            | Self::Update
            | Self::Delete
            | Self::Plan
            | Self::Import
            | Self::Configure
            | Self::List => self.as_str(),
        }
    }
}

/// How long operations may take where the user does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultTimeouts {
    /// Creation.
    pub create: Duration,
    /// Refresh.
    pub read: Duration,
    /// Update in place.
    pub update: Duration,
    /// Deletion.
    pub delete: Duration,
}

impl Default for DefaultTimeouts {
    /// 20 minutes each; 1 minute for a refresh.
    fn default() -> Self {
        let long = Duration::from_secs(20 * 60);
        Self {
            create: long,
            read: Duration::from_secs(60),
            update: long,
            delete: long,
        }
    }
}

impl Timeouts {
    /// The attribute that holds it.
    pub const NAME: Name<Self> = Name::new("timeouts");

    /// How long `operation` may take, given the block that may hold `timeouts`; none for operations without a limit.
    pub(crate) fn of(
        block: &Object,
        operation: Operation,
        defaults: DefaultTimeouts,
    ) -> Option<Duration> {
        let set = block.at(Self::NAME).into_known().unwrap_or_default();
        let (said, default) = match operation {
            Operation::Create => (set.create, defaults.create),
            Operation::Read => (set.read, defaults.read),
            Operation::Update => (set.update, defaults.update),
            Operation::Delete => (set.delete, defaults.delete),
            Operation::Plan
            | Operation::Import
            | Operation::Configure
            | Operation::List
            | Operation::Call
            | Operation::Open
            | Operation::Renew
            | Operation::Close
            | Operation::Invoke => return None,
        };
        let said: Field<Duration> = said.map(|t| duration::parse(&t).unwrap_or(default));
        Some(said.into_known().unwrap_or(default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn said_wins_over_default() {
        let block = Object::new().with("timeouts", Object::new().with("create", "90s"));
        let of = |op| Timeouts::of(&block, op, DefaultTimeouts::default());
        assert_eq!(of(Operation::Create), Some(Duration::from_secs(90)));
        assert_eq!(of(Operation::Delete), Some(Duration::from_secs(1200)));
        assert_eq!(of(Operation::Plan), None);
    }
}
