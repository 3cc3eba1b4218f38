//! Functions: pure computations that a configuration calls as `provider::NAME::FUNCTION(…)` (Terraform and OpenTofu since 1.8 and 1.7).
//!
//! One declaration ([`parameters!`](crate::parameters!)) gives the parameters' names, types, documentation and rules; the engine counts the
//! arguments, keeps null and unknown away from a function that does not ask for them, and checks what it returns.
//! Deliberately not here: anything that needs the provider's configuration. Hosts call functions on a provider that they never configure,
//! and compare the results of plan and apply: the same arguments must give the same result.

mod call;
mod signature;

use std::fmt;

pub(crate) use call::Declared;
pub use signature::{Parameter, Parameters, Signature, Takes, parameter, variadic};

use crate::context::Context;
use crate::diagnostics::Diagnostic;
use crate::model::{FieldType, Name};
use crate::value::{Object, Value};

/// The arguments of one call.
#[derive(Clone, Debug)]
pub struct Call {
    arguments: Object,
}

impl Call {
    /// Every argument.
    ///
    /// # Errors
    /// An argument that its type cannot hold, by name and place.
    pub fn arguments<P: Parameters>(&self) -> Result<P, FunctionError> {
        P::from_call(self)
    }

    /// One argument; a list of all further ones for a variadic parameter.
    ///
    /// # Errors
    /// An argument that its type cannot hold, by name and place.
    pub fn argument<T: FieldType>(&self, name: Name<T>) -> Result<T, FunctionError> {
        T::from_value(self.value(name)).ok_or_else(|| {
            FunctionError::new("its value, or a part of it, cannot be used here: it is null, unknown or out of range").at(name)
        })
    }

    /// One argument, untyped.
    #[must_use]
    pub fn value(&self, name: impl AsRef<str>) -> &Value {
        self.arguments.get(name.as_ref())
    }
}

/// Why a call failed: all that the protocol has room for is a text and the argument at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    text: String,
    at: Option<At>,
    argument: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct At {
    parameter: &'static str,
    element: Option<usize>,
}

impl FunctionError {
    /// A failure. The host puts the function's or parameter's name before the text, and a full stop after it.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            at: None,
            argument: None,
        }
    }

    /// The argument of this parameter is at fault; of a variadic one the first, unless [`Self::element`] says which.
    #[must_use]
    pub fn at<T>(mut self, parameter: Name<T>) -> Self {
        self.at = Some(At {
            parameter: parameter.name(),
            element: None,
        });
        self
    }

    /// Which of the arguments of a variadic parameter, counted from zero.
    #[must_use]
    pub fn element(mut self, index: usize) -> Self {
        if let Some(at) = &mut self.at {
            at.element = Some(index);
        }
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The argument at fault, counted from zero. Known once the engine has seen the error.
    #[must_use]
    pub fn argument(&self) -> Option<usize> {
        self.argument
    }

    pub(crate) fn at_argument(mut self, argument: usize) -> Self {
        self.argument = Some(argument);
        self
    }

    /// As hosts continue it.
    fn settled(mut self, signature: &Signature) -> Self {
        self.argument = self.argument.or_else(|| signature.place(&self));
        self.text
            .truncate(self.text.trim_end_matches(['.', ' ', '\n']).len());
        self
    }
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.argument {
            Some(argument) => write!(f, "argument {}: {}", argument + 1, self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for FunctionError {}

impl From<Diagnostic> for FunctionError {
    fn from(d: Diagnostic) -> Self {
        match d.text() {
            text if text.is_empty() => Self::new(d.summary),
            text => Self::new(format!("{}: {text}", d.summary)),
        }
    }
}

/// A function.
#[tonic::async_trait]
pub trait Function: Send + Sync + 'static {
    /// Its name after `provider::NAME::`.
    fn name(&self) -> &'static str;

    /// Asked once, when the process starts.
    fn signature(&self) -> Signature;

    /// Computes. Reads no clock, no random numbers, no files and nothing of the provider's configuration; see the module.
    /// Arguments that are null or unknown arrive only where the parameter's type takes them. Where the result's type is dynamic,
    /// a plain [`Value`] will do: the engine finds its type.
    ///
    /// # Errors
    /// Why there is no result, and which argument is at fault.
    async fn call(&self, cx: &Context, call: &Call) -> Result<Value, FunctionError>;
}
