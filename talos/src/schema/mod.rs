//! The documents that Talos knows: their keys in order, their types, and how a patch merges them.
//!
//! The table is data (`v1_13.txt`, printed by `acctest/oracle` from Talos's machinery), not code: one line per key.
//! Not here: rules between fields (see [`crate::validate`]).

mod decode;
mod encode;
mod leaf;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use crate::version::Generator;

pub(crate) use decode::Decoder;
pub(crate) use encode::{encode, is_zero};

/// The tables of one generator.
pub(crate) struct Schema {
    documents: BTreeMap<String, usize>,
    structures: Vec<Structure>,
}

/// A structure: its keys in the order in which they are written.
pub(crate) struct Structure {
    pub(crate) fields: Vec<Field>,
}

/// One key.
pub(crate) struct Field {
    pub(crate) key: String,
    pub(crate) kind: Type,
    /// Left out when it holds its zero value.
    pub(crate) omit_empty: bool,
    /// A patch replaces it instead of appending to it.
    pub(crate) replace: bool,
}

/// What a place may hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Text,
    Int,
    Bool,
    /// Free form.
    Any,
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
    /// A CEL expression; lost in the same way.
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
    /// An IP address and the length of its network's prefix.
    Prefix,
    /// An inline manifest: line ends and tabs at its start are dropped.
    Manifest,
    /// Base64; the text `******` stands for a redacted one.
    Base64,
    /// Any other text.
    Other,
}

impl Schema {
    /// The tables of a generator, read once.
    pub(crate) fn of(generator: Generator) -> &'static Self {
        static V1_13: OnceLock<Schema> = OnceLock::new();
        match generator {
            Generator::V1_13 | Generator::V1_14 => {
                V1_13.get_or_init(|| Self::parse(include_str!("v1_13.txt")))
            }
        }
    }

    /// The structure of a document kind; the main document's kind is `v1alpha1`.
    pub(crate) fn document(&self, kind: &str) -> Option<Type> {
        self.documents.get(kind).map(|i| Type::Structure(*i))
    }

    pub(crate) fn structure(&self, index: usize) -> &Structure {
        &self.structures[index]
    }

    fn parse(table: &str) -> Self {
        let names = table.lines().filter_map(|l| l.strip_prefix("type "));
        let index: BTreeMap<&str, usize> = names.enumerate().map(|(i, n)| (n, i)).collect();
        let mut documents = BTreeMap::new();
        let mut structures: Vec<Structure> = Vec::new();
        for line in table.lines() {
            let mut words = line.split_whitespace();
            match (line.starts_with(' '), words.next(), words.next()) {
                (false, Some("document"), Some(kind)) => {
                    let name = words.next().expect("each document names its structure");
                    documents.insert(kind.to_owned(), index[name]);
                }
                (false, Some("type"), Some(_)) => structures.push(Structure { fields: Vec::new() }),
                (true, Some(key), Some(kind)) => {
                    let flags: Vec<&str> = words.collect();
                    let current = structures.last_mut().expect("keys follow their structure");
                    current.fields.push(Field {
                        key: key.to_owned(),
                        kind: match key {
                            // Only inline manifests have a key of this name.
                            "contents" => Type::Leaf(Leaf::Manifest),
                            _ => parse_type(kind, &index),
                        },
                        omit_empty: flags.contains(&"omitempty"),
                        replace: flags.contains(&"replace"),
                    });
                }
                _ => {}
            }
        }
        Self {
            documents,
            structures,
        }
    }
}

fn parse_type(text: &str, index: &BTreeMap<&str, usize>) -> Type {
    let boxed = |rest| Box::new(parse_type(rest, index));
    if let Some(rest) = text.strip_prefix('*') {
        return Type::Pointer(boxed(rest));
    }
    if let Some(rest) = text.strip_prefix("map:") {
        return Type::Map(boxed(rest));
    }
    if text.starts_with("args:") {
        return Type::Arguments;
    }
    if let Some((name, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        let merge = match name {
            "NetworkDeviceList" => Merge::Interfaces,
            "VlanList" => Merge::ByKey("vlanId"),
            "AdmissionPluginConfigList" => Merge::ByKey("name"),
            "ConfigFileList" => Merge::ByKey("mountPath"),
            "ImageVerificationRules" => Merge::ReplaceByKey("image"),
            _ => Merge::Append,
        };
        return Type::List(boxed(rest), merge);
    }
    if let Some(name) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        return Type::Structure(index[name]);
    }
    match text {
        "string" => Type::Text,
        "bool" => Type::Bool,
        "any" => Type::Any,
        "$Duration" => Type::Leaf(Leaf::Duration),
        "$FileMode" => Type::Leaf(Leaf::FileMode),
        "$DiskSize" => Type::Leaf(Leaf::DiskSize),
        "$Expression" => Type::Leaf(Leaf::Expression),
        "$ByteSize" => Type::Leaf(Leaf::ByteSize),
        "$HardwareAddr" => Type::Leaf(Leaf::HardwareAddress),
        "$InstallDiskSizeMatcher" => Type::Leaf(Leaf::SizeCondition),
        "$Addr" => Type::Leaf(Leaf::Address),
        "$Prefix" => Type::Leaf(Leaf::Prefix),
        "$PortRange" => Type::Leaf(Leaf::PortRange),
        "$Base64Bytes" => Type::Leaf(Leaf::Base64),
        other if other.starts_with('$') => Type::Leaf(Leaf::Other),
        _ => Type::Int,
    }
}

/// Something in a document that its table does not allow. It names keys and kinds, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// 1-based line.
    pub line: usize,
    /// The keys down to the place, joined by dots.
    pub path: String,
    /// What is wrong.
    pub reason: FaultReason,
}

/// What is wrong with a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultReason {
    /// No such key in this document.
    UnknownKey,
    /// Something else belongs here.
    Expected {
        /// What belongs here.
        what: &'static str,
        /// What stands here.
        got: &'static str,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, path, reason } = self;
        match reason {
            FaultReason::UnknownKey => write!(f, "line {line}: unknown key {path}"),
            FaultReason::Expected { what, got } => {
                write!(f, "line {line}: {path} must be {what}, not {got}")
            }
        }
    }
}
