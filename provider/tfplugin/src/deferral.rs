//! Deferral: an answer that has to wait for a later run, because something is not known yet.
//!
//! Only a host that says so takes such an answer ([`Context::defer`](crate::Context::defer) tells); to every other host it is an error.

use crate::diagnostics::Diagnostic;

/// Why an answer has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deferral {
    /// The resource's configuration holds values that are known only after apply.
    ResourceConfigUnknown,
    /// The provider's configuration does. Said while configuring, it holds for every resource and data source of the run.
    ProviderConfigUnknown,
    /// Something that the resource needs does not exist yet.
    AbsentPrerequisite,
}

impl Deferral {
    /// What a person reads where the host cannot defer.
    pub(crate) fn refusal(self) -> Diagnostic {
        let what = match self {
            Self::ResourceConfigUnknown => "a value of its configuration",
            Self::ProviderConfigUnknown => "a value of the provider block",
            Self::AbsentPrerequisite => "something that it needs",
        };
        let why = match self {
            Self::ResourceConfigUnknown | Self::ProviderConfigUnknown => {
                "is known only after another resource is applied"
            }
            Self::AbsentPrerequisite => "does not exist yet",
        };
        Diagnostic::error("Not known yet")
            .detail(format!(
                "This has to wait: {what} {why}, and this host cannot defer it to a later run."
            ))
            .hint("apply what it depends on first, for example with -target, then run the same command again")
    }
}

/// Does the host take deferred answers?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deferrals {
    /// It plans what it can and comes again.
    Allowed,
    /// It would take one for a mistake of the provider.
    #[default]
    Refused,
}
