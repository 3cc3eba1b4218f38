//! Why a patch cannot be applied: in our words, with the place, and in those of Talos's own tools.

use std::fmt;

use crate::schema::Fault;
use crate::yaml::ParseError;

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
    /// A JSON 6902 patch for a config of several documents.
    #[error(
        "{0} is a JSON 6902 patch, which Talos refuses for configs of several documents (all of contract v1.12 and later); write it as a strategic merge patch: the keys of each path as nested mappings, or the document that holds them now"
    )]
    Json(Source),
    /// An operation of a JSON 6902 patch that does not apply.
    #[error("{source_name}, line {line}, operation {operation}: {theirs}")]
    Operation {
        /// Which text.
        source_name: Source,
        /// 1-based line.
        line: usize,
        /// Its index, from 0.
        operation: usize,
        /// Why not; it names paths, never values.
        theirs: String,
    },
    /// A character that Talos's tools cannot read in what a JSON 6902 patch leaves.
    #[error(
        "{source_name} is a JSON 6902 patch, after which Talos reads no U+{code:04X}, and one is in {path:?} then; take it out, or write the patch as a strategic merge patch"
    )]
    Unprintable {
        /// Which text.
        source_name: Source,
        /// The keys down to the character.
        path: String,
        /// The character's number.
        code: u32,
    },
    /// A document that no kind of document can be.
    #[error("{source_name}, line {line}: {reason}")]
    Document {
        /// Which text.
        source_name: Source,
        /// 1-based line.
        line: usize,
        /// Its identity as Talos prints it.
        document: String,
        /// What it lacks.
        reason: &'static str,
    },
    /// A kind of document that this Talos does not have.
    #[error("{source_name}, line {line}: no document kind {kind:?} in this Talos version{}", Meant(*nearest))]
    UnknownKind {
        /// Which text.
        source_name: Source,
        /// 1-based line.
        line: usize,
        /// The kind as written.
        kind: String,
        /// Its `apiVersion` as written.
        version: String,
        /// Its name, where it has one.
        name: String,
        /// The known kind that was probably meant.
        nearest: Option<&'static str>,
    },
    /// Keys or types that the document does not have.
    #[error("{source_name}, {}", Faults(faults))]
    Faults {
        /// Which text.
        source_name: Source,
        /// Each of them.
        faults: Vec<Fault>,
        /// What Talos's own tools say.
        theirs: String,
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
    /// Two documents that exclude each other.
    #[error("{source_name}, line {line}: {document} cannot stand beside {other}")]
    Conflict {
        /// Which text.
        source_name: Source,
        /// 1-based line.
        line: usize,
        /// Kind and name.
        document: String,
        /// Kind and name of the other one.
        other: String,
    },
    /// A `$patch: delete` whose target is not there, or that cannot be addressed.
    #[error("{source_name}, line {line}, column {column}: cannot delete {path}: {reason}")]
    Delete {
        /// Which text.
        source_name: Source,
        /// 1-based line.
        line: usize,
        /// 1-based column.
        column: usize,
        /// The keys down to the target.
        path: String,
        /// Why not.
        reason: &'static str,
        /// What Talos's own tools say.
        theirs: String,
    },
    /// A free-form value of another type than the one that is there.
    #[error(
        "{source_name}, line {line}, column {column}: {path} is {right} here and {left} in the config; they cannot be merged"
    )]
    Mismatch {
        /// Which text.
        source_name: Source,
        /// 1-based line.
        line: usize,
        /// 1-based column.
        column: usize,
        /// The keys down to the value.
        path: String,
        /// What the config has.
        left: &'static str,
        /// What the patch has.
        right: &'static str,
        /// What Talos's own tools say.
        theirs: String,
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

struct Meant(Option<&'static str>);

impl fmt::Display for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(kind) => write!(f, " (did you mean {kind}?)"),
            None => Ok(()),
        }
    }
}

impl PatchError {
    /// The 1-based line that the error is about, where it is about one.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Syntax { error, .. } => Some(error.line),
            Self::Empty(_) | Self::Json(_) | Self::Unprintable { .. } => None,
            Self::Faults { faults, .. } => faults.first().map(|f| f.line),
            Self::UnknownKind { line, .. }
            | Self::Document { line, .. }
            | Self::Operation { line, .. }
            | Self::Duplicate { line, .. }
            | Self::Conflict { line, .. }
            | Self::Delete { line, .. }
            | Self::Mismatch { line, .. } => Some(*line),
        }
    }

    /// The 1-based column that the error is about, where it is about one.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Syntax { error, .. } => Some(error.column),
            Self::Faults { faults, .. } => faults.first().map(|f| f.column),
            Self::Delete { column, .. } | Self::Mismatch { column, .. } => Some(*column),
            Self::Empty(_)
            | Self::Json(_)
            | Self::Unprintable { .. }
            | Self::UnknownKind { .. }
            | Self::Document { .. }
            | Self::Operation { .. }
            | Self::Duplicate { .. }
            | Self::Conflict { .. } => None,
        }
    }

    /// The same error about a config as the JSON patch `source` left it: what is wrong stands in the patch.
    pub(super) fn after(mut self, source: Source) -> Self {
        if let Self::Faults { source_name, .. } | Self::Document { source_name, .. } = &mut self {
            *source_name = source;
        }
        self
    }

    /// What Talos's own tools say in this case. It may quote what the user wrote where theirs do.
    pub fn machinery_text(&self) -> String {
        match self {
            Self::Syntax { error, .. } => format!("decode error: {error}"),
            Self::Empty(_) | Self::Json(_) => {
                "JSON6902 patches are not supported for multi-document machine configuration".into()
            }
            Self::Unprintable { .. } => {
                "failure converting talos machine config from json to yaml: yaml: control characters are not allowed".into()
            }
            Self::Operation { theirs, .. }
            | Self::Faults { theirs, .. }
            | Self::Delete { theirs, .. }
            | Self::Mismatch { theirs, .. } => theirs.clone(),
            Self::Document {
                line,
                reason: reason @ "expected a YAML document",
                ..
            } => format!("{reason} at line {line}"),
            Self::Document {
                reason: reason @ "config not found",
                ..
            } => (*reason).to_owned(),
            Self::Document {
                line,
                document,
                reason,
                ..
            } => format!("error decoding document {document} (line {line}): {reason}"),
            Self::UnknownKind {
                line,
                kind,
                version,
                name,
                ..
            } => format!(
                "error decoding document {version}/{kind}/{name} (line {line}): {kind:?} {version:?}: not registered"
            ),
            Self::Duplicate { line, document, .. } => {
                format!("duplicate document {document} is not allowed (line {line})")
            }
            Self::Conflict {
                document, other, ..
            } => format!("conflicting documents: {other} and {document}"),
        }
    }
}
