//! Strategic merge patches, as Talos's own tools apply them.
//!
//! Promises: patches apply in order, each document of a patch to the document of the same kind and name; the result is
//! written anew, as Talos's machinery writes it. No input panics. No message holds a value of a config. Not here:
//! whether the result makes sense (see [`crate::validate`]); JSON 6902 patches, which Talos refuses for every config
//! of several documents, that is for contract 1.12 and later.

mod delete;
mod documents;
mod merge;

use std::fmt;

use crate::config::MachineConfig;
use crate::schema::Fault;
use crate::version::Generator;
use crate::yaml::ParseError;
use documents::Documents;

/// Why a patch cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// Not YAML.
    #[error("{source_name} is not valid YAML: {error}")]
    Syntax {
        /// Which text.
        source_name: Source,
        /// Where and why.
        error: ParseError,
    },
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(Source),
    /// A JSON 6902 patch.
    #[error(
        "{0} is a JSON 6902 patch, which Talos refuses for configs of several documents; write it as a strategic merge patch"
    )]
    Json(Source),
    /// A kind of document that this Talos does not have.
    #[error("{source_name}, line {line}: no document kind {kind:?} in this Talos version")]
    UnknownKind {
        /// Which text.
        source_name: Source,
        /// 1-based line.
        line: usize,
        /// The kind as written.
        kind: String,
    },
    /// Keys or types that the document does not have.
    #[error("{source_name}, {}", Faults(faults))]
    Faults {
        /// Which text.
        source_name: Source,
        /// Each of them.
        faults: Vec<Fault>,
    },
    /// The same document twice.
    #[error("{source_name}, line {line}: the document {document} is there twice")]
    Duplicate {
        /// Which text.
        source_name: Source,
        /// 1-based line of the second one.
        line: usize,
        /// Kind and name.
        document: String,
    },
    /// A `$patch: delete` whose target is not there, or that cannot be addressed.
    #[error("{source_name}, line {line}: cannot delete {path}: {reason}")]
    Delete {
        /// Which text.
        source_name: Source,
        /// 1-based line.
        line: usize,
        /// The keys down to the target.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// A free-form value of another type than the one that is there.
    #[error(
        "{source_name}, line {line}: {path} is {right} here and {left} in the config; they cannot be merged"
    )]
    Mismatch {
        /// Which text.
        source_name: Source,
        /// 1-based line.
        line: usize,
        /// The keys down to the value.
        path: String,
        /// What the config has.
        left: &'static str,
        /// What the patch has.
        right: &'static str,
    },
}

/// Which of the texts an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The config that is patched.
    Config,
    /// The patch with this index, from 0.
    Patch(usize),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("the config"),
            Self::Patch(index) => write!(f, "patch {index}"),
        }
    }
}

struct Faults<'a>(&'a [Fault]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl PatchError {
    /// The 1-based line that the error is about, where it is about one.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Syntax { error, .. } => Some(error.line),
            Self::Empty(_) | Self::Json(_) => None,
            Self::Faults { faults, .. } => faults.first().map(|f| f.line),
            Self::UnknownKind { line, .. }
            | Self::Duplicate { line, .. }
            | Self::Delete { line, .. }
            | Self::Mismatch { line, .. } => Some(*line),
        }
    }
}

/// Applies patches in order and writes the result as the generator's machinery does.
///
/// # Errors
/// The first text that cannot be used, with its line.
pub fn apply<P: AsRef<str>>(
    generator: Generator,
    config: &MachineConfig,
    patches: &[P],
) -> Result<MachineConfig, PatchError> {
    let mut documents = Documents::config(generator, config.expose())?;
    for (index, patch) in patches.iter().enumerate() {
        let source = Source::Patch(index);
        let (deletes, patch) = Documents::patch(generator, patch.as_ref(), source)?;
        for delete in &deletes {
            delete.apply(&mut documents, source)?;
        }
        for document in patch.into_documents() {
            documents.merge(document, source)?;
        }
    }
    Ok(MachineConfig::new(documents.encode()))
}

/// Checks a patch by itself: syntax, document kinds, keys and types. Whether a deletion finds its target is seen only
/// when it is applied.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn check_patch(generator: Generator, patch: &str) -> Result<(), PatchError> {
    Documents::patch(generator, patch, Source::Patch(0)).map(|_| ())
}

/// Checks a config by itself: syntax, document kinds, keys and types.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn check_config(generator: Generator, config: &MachineConfig) -> Result<(), PatchError> {
    Documents::config(generator, config.expose()).map(|_| ())
}

/// A document's identity: kind and, where it has one, name.
pub(crate) type DocumentId = (String, String);

fn label((kind, name): &DocumentId) -> String {
    if name.is_empty() {
        kind.clone()
    } else {
        format!("{kind}/{name}")
    }
}

#[cfg(test)]
mod tests;
