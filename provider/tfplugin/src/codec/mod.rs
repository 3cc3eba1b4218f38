//! Values on the wire: MessagePack between host and plugin, JSON in stored states. Both are read against a type from the schema.

pub(crate) mod json;
pub(crate) mod msgpack;

use crate::path::Path;
use crate::value::{Type, Value};

/// A value that does not fit its type, or bytes that are no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    /// The bytes end early, go on too long, or are malformed.
    #[error("malformed bytes: {0}")]
    Malformed(&'static str),
    /// The value at the path has another type.
    #[error("expected {expected}{}", place(path))]
    Type {
        /// Where.
        path: Path,
        /// What the schema says.
        expected: &'static str,
    },
    /// An object has an attribute that the schema does not know.
    #[error("no attribute `{0}` in the schema")]
    Attribute(Path),
}

fn place(path: &Path) -> String {
    if path.steps().is_empty() {
        String::new()
    } else {
        format!(" at `{path}`")
    }
}

impl CodecError {
    fn expected(ty: &Type) -> Self {
        let expected = match ty {
            Type::Bool => "a bool",
            Type::Number => "a number",
            Type::String => "a string",
            Type::List(_) => "a list",
            Type::Set(_) => "a set",
            Type::Map(_) => "a map",
            Type::Object(_) => "an object",
            Type::Tuple(_) => "a tuple",
            Type::Dynamic => "a value with its type",
        };
        Self::Type {
            path: Path::root(),
            expected,
        }
    }

    /// The same, seen from `outer`.
    fn within(self, outer: &Path) -> Self {
        match self {
            Self::Type { path, expected } => Self::Type {
                path: outer.clone().join(&path),
                expected,
            },
            Self::Attribute(path) => Self::Attribute(outer.clone().join(&path)),
            Self::Malformed(_) => self,
        }
    }
}

/// What an attribute is that the bytes do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Null: the type is the schema's, which may have grown.
    Null,
    /// A mistake: the type came with the value, and many small objects of a large type would fill the memory.
    Refused,
}

/// Index of an element as a path has it.
fn at_index(i: usize) -> Path {
    Path::root().index(u64::try_from(i).unwrap_or(u64::MAX))
}

/// A set that came over the wire.
fn collected(ty: &Type, elements: Vec<Value>) -> Value {
    if matches!(ty, Type::Set(_)) {
        Value::set(elements)
    } else {
        Value::List(elements)
    }
}
