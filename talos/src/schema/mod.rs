//! The documents that Talos knows: their keys in order, their types, and how a patch merges them.
//!
//! One table (`table.txt`) says all of it, for both generators; reading, unknown keys, merging, writing and redaction
//! follow it. A test holds it against the fields of Talos's own machinery 1.13.9. Not here: rules between fields
//! (see [`crate::validate`]).

mod decode;
mod encode;
mod fault;
mod leaf;
mod number;
mod table;
mod url;

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::version::Generator;

pub(crate) use decode::{Decoder, Unknown};
pub(crate) use encode::{encode, is_zero};
pub use fault::{Fault, FaultReason};
pub(crate) use leaf::parse_prefix;
pub(crate) use number::{Size, parse_duration, parse_size, print_duration, shortest};
pub(crate) use url::Url;

/// The tables of one generator.
pub(crate) struct Schema {
    documents: HashMap<&'static str, Document>,
    structures: Vec<Structure>,
    generator: Generator,
}

/// A kind of document.
#[derive(Clone, Copy)]
pub(crate) struct Document {
    pub(crate) structure: usize,
    pub(crate) place: Place,
    /// Documents of one group and one name exclude each other.
    pub(crate) group: Option<&'static str>,
}

/// Where a kind of document may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Anywhere,
    ControlPlane,
}

/// A structure: its keys in the order in which they are written.
pub(crate) struct Structure {
    pub(crate) fields: Vec<Field>,
}

/// One key.
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) kind: Type,
    /// Whether it is left out when it holds its zero value.
    pub(crate) presence: Presence,
    /// Whether it keeps its structure from being left out.
    pub(crate) weight: Weight,
    /// How a patch's value meets the one that is there.
    pub(crate) patching: Patching,
    /// Whether a plan may show it.
    pub(crate) visibility: Visibility,
}

/// Whether a key is written with its zero value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Always,
    OmitEmpty,
}

/// Whether a key with a value makes its structure more than zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Counts,
    Hollow,
}

/// Whether a patch's value is merged into the one that is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patching {
    Merge,
    Replace,
}

/// Whether a value is a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    Plain,
    Secret,
}

/// What a place may hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Text,
    /// A whole number between two bounds.
    Int(i128, i128),
    Bool,
    /// A mapping of free form.
    Any,
    /// One of these texts; the first is the zero value.
    Choice(&'static [&'static str]),
    /// A value with a form of its own.
    Leaf(Leaf),
    /// May be absent, which differs from being zero.
    Pointer(Box<Type>),
    List(Box<Type>, Merge),
    Map(Box<Type>),
    /// Command line arguments: a patch replaces each key.
    Arguments,
    Structure(usize),
}

/// How a patch's list meets the one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    Append,
    /// By `interface`, else by an equal `deviceSelector`.
    Interfaces,
    /// Items with the same value of this key are merged.
    ByKey(&'static str),
    /// Items with the same value of this key are replaced.
    ReplaceByKey(&'static str),
}

/// Scalars (and argument values) that are rewritten or checked in some way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    Duration,
    FileMode,
    DiskSize,
    /// Lost by a merge whose patch lacks it (a defect of the machinery that equality includes).
    ByteSize,
    /// A size in bytes or per cent.
    Size,
    /// A CEL expression; lost by a merge as a byte size is.
    Expression,
    HardwareAddress,
    /// A text or a list of texts.
    ArgumentValue,
    /// A number or a range.
    PortRange,
    /// The condition of a disk's size: an operator and a size.
    SizeCondition,
    /// An IP address.
    Address,
    /// An IP address and a port.
    AddressPort,
    /// An IP address and the length of its network's prefix.
    Prefix,
    /// An inline manifest: line ends and tabs at its start are dropped.
    Manifest,
    /// Base64; the text `******` stands for a redacted one.
    Base64,
    Url,
    /// A name or number of a routing table.
    RoutingTable,
}

impl Schema {
    /// The tables of a generator, read once.
    pub(crate) fn of(generator: Generator) -> &'static Self {
        static V1_13: OnceLock<Schema> = OnceLock::new();
        static V1_14: OnceLock<Schema> = OnceLock::new();
        match generator {
            Generator::V1_13 => V1_13.get_or_init(|| table::read(generator)),
            Generator::V1_14 => V1_14.get_or_init(|| table::read(generator)),
        }
    }

    /// Which generator's tables these are.
    pub(crate) fn generator(&self) -> Generator {
        self.generator
    }

    /// A document kind; the main document's kind is `v1alpha1`.
    pub(crate) fn document(&self, kind: &str) -> Option<Document> {
        self.documents.get(kind).copied()
    }

    /// All document kinds.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.documents.keys().copied()
    }

    pub(crate) fn structure(&self, index: usize) -> &Structure {
        &self.structures[index]
    }
}

impl Structure {
    pub(crate) fn field(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.key == key)
    }
}

/// The known text that is most like this one, where one is alike enough to be what was meant.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = text.to_lowercase();
    let allowed = (wanted.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|candidate| (distance(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, drop, change or swap with their neighbour. Long texts are cut: nobody means a key of 64 letters.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests;
