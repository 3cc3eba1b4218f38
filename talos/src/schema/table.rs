//! Reads `table.txt`, whose head says what its lines mean. The text is part of the program: a mistake in it is a
//! panic at first use, which every test makes.

use std::collections::HashMap;

use super::{
    Document, Field, Leaf, Merge, Patching, Place, Presence, Schema, Structure, Type, Visibility,
    Weight,
};
use crate::version::Generator;

const TABLE: &str = include_str!("table.txt");

/// The part of the table that a generator knows.
pub(super) fn read(generator: Generator) -> Schema {
    let mut names = Names::default();
    for line in TABLE.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("enum") if !line.starts_with(' ') => {
                let name = words.next().expect("each enum has a name");
                let texts = words.filter_map(|word| match word.strip_prefix("14:") {
                    Some(text) => generator.newest().since_1(14).then_some(text),
                    None => Some(word),
                });
                // Read once for each generator, and kept as long as the program runs.
                names.choices.insert(name, texts.collect::<Vec<_>>().leak());
            }
            Some("type") if !line.starts_with(' ') => {
                let next = names.structures.len();
                let name = words.next().expect("each structure has a name");
                names.structures.insert(name, next);
            }
            _ => {}
        }
    }
    let mut schema = Schema {
        documents: HashMap::new(),
        structures: Vec::new(),
        generator,
    };
    for line in TABLE.lines() {
        let mut words = line.split_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else {
            continue;
        };
        if line.starts_with(' ') {
            let flags: Vec<&str> = words.collect();
            if is_known(generator, &flags) {
                let current = schema.structures.last_mut();
                let fields = &mut current.expect("keys follow their structure").fields;
                fields.push(field(generator, first, names.kind(second), &flags));
            }
        } else if first == "type" {
            schema.structures.push(Structure { fields: Vec::new() });
        } else if first == "document" {
            let structure = words.next().expect("each document names its structure");
            let flags: Vec<&str> = words.collect();
            if is_known(generator, &flags) {
                let document = Document {
                    structure: names.structures[structure],
                    place: match flags.contains(&"controlplane") {
                        true => Place::ControlPlane,
                        false => Place::Anywhere,
                    },
                    group: flags.iter().find_map(|f| f.strip_prefix("group:")),
                };
                schema.documents.insert(second, document);
            }
        }
    }
    schema
}

fn is_known(generator: Generator, flags: &[&str]) -> bool {
    !flags.contains(&"14") || generator.newest().since_1(14)
}

fn field(generator: Generator, key: &'static str, kind: Type, flags: &[&str]) -> Field {
    let has = |flag: &str| flags.contains(&flag);
    let omitted = has("omitempty") || (has("omitempty14") && generator.newest().since_1(14));
    Field {
        key,
        kind,
        presence: match omitted {
            true => Presence::OmitEmpty,
            false => Presence::Always,
        },
        weight: match has("hollow") {
            true => Weight::Hollow,
            false => Weight::Counts,
        },
        patching: match has("replace") {
            true => Patching::Replace,
            false => Patching::Merge,
        },
        visibility: match has("secret") {
            true => Visibility::Secret,
            false => Visibility::Plain,
        },
    }
}

#[derive(Default)]
struct Names {
    choices: HashMap<&'static str, &'static [&'static str]>,
    structures: HashMap<&'static str, usize>,
}

impl Names {
    fn kind(&self, text: &'static str) -> Type {
        let boxed = |rest| Box::new(self.kind(rest));
        if let Some(rest) = text.strip_prefix('*') {
            return Type::Pointer(boxed(rest));
        }
        if let Some(rest) = text.strip_prefix("map:") {
            return Type::Map(boxed(rest));
        }
        if let Some((rule, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
            let merge = match rule.split_once(':') {
                Some(("by", key)) => Merge::ByKey(key),
                Some(("set", key)) => Merge::ReplaceByKey(key),
                _ if rule == "interfaces" => Merge::Interfaces,
                _ => Merge::Append,
            };
            return Type::List(boxed(rest), merge);
        }
        if let Some(name) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            return Type::Structure(self.structures[name]);
        }
        match text.strip_prefix('$') {
            Some(name) => match self.choices.get(name) {
                Some(choices) => Type::Choice(choices),
                None => Type::Leaf(leaf(name)),
            },
            None => plain(text),
        }
    }
}

fn plain(text: &str) -> Type {
    let signed = |bits: u32| Type::Int(-(1 << (bits - 1)), (1 << (bits - 1)) - 1);
    let unsigned = |bits: u32| Type::Int(0, (1 << bits) - 1);
    match text {
        "string" => Type::Text,
        "bool" => Type::Bool,
        "any" => Type::Any,
        "args" => Type::Arguments,
        "int" | "int64" => signed(64),
        "int32" => signed(32),
        "int16" => signed(16),
        "int8" => signed(8),
        "uint" | "uint64" => unsigned(64),
        "uint32" => unsigned(32),
        "uint16" => unsigned(16),
        "uint8" => unsigned(8),
        other => panic!("the table has no type {other}"),
    }
}

fn leaf(name: &str) -> Leaf {
    match name {
        "Duration" => Leaf::Duration,
        "FileMode" => Leaf::FileMode,
        "DiskSize" => Leaf::DiskSize,
        "ByteSize" => Leaf::ByteSize,
        "Size" => Leaf::Size,
        "Expression" => Leaf::Expression,
        "HardwareAddr" => Leaf::HardwareAddress,
        "InstallDiskSizeMatcher" => Leaf::SizeCondition,
        "Addr" => Leaf::Address,
        "AddrPort" => Leaf::AddressPort,
        "Prefix" => Leaf::Prefix,
        "PortRange" => Leaf::PortRange,
        "Base64Bytes" => Leaf::Base64,
        "Manifest" => Leaf::Manifest,
        "URL" | "Endpoint" => Leaf::Url,
        "RoutingTable" => Leaf::RoutingTable,
        other => panic!("the table has no form {other}"),
    }
}
