//! A normal form to the tree that is written: keys in their order, zero values left out or spelled out.

use super::{Leaf, Schema, Type};
use crate::yaml::{Mapping, Node, Value};

/// The tree of a value as it is written.
pub(crate) fn encode(schema: &Schema, node: &Node, kind: &Type) -> Node {
    match (kind, &node.value) {
        (Type::Pointer(inner), _) => encode(schema, node, inner),
        (Type::Structure(index), Value::Mapping(mapping)) => structure(schema, mapping, *index),
        (Type::List(inner, _), Value::Sequence(items)) => {
            Node::list(items.iter().map(|i| encode(schema, i, inner)))
        }
        (Type::Map(inner), Value::Mapping(mapping)) => {
            sorted(mapping, |v| encode(schema, v, inner))
        }
        (Type::Arguments, Value::Mapping(mapping)) => sorted(mapping, |value| {
            // An empty argument is written as null: it has neither form.
            let empty = value.as_text() == Some("");
            if empty { Node::null() } else { value.clone() }
        }),
        (Type::Any, _) => free_form(node),
        _ => node.clone(),
    }
}

fn structure(schema: &Schema, mapping: &Mapping, index: usize) -> Node {
    let mut out = Vec::new();
    for field in &schema.structure(index).fields {
        let value = mapping.value(&field.key);
        if field.omit_empty && value.is_none_or(|v| is_zero(schema, v, &field.kind)) {
            continue;
        }
        let node = match value {
            Some(value) => encode(schema, value, &field.kind),
            None => zero(schema, &field.kind),
        };
        out.push((field.key.as_str(), node));
    }
    Node::map(out)
}

fn sorted(mapping: &Mapping, value: impl Fn(&Node) -> Node) -> Node {
    let mut node = Node::map(mapping.iter().map(|e| (e.key.as_str(), value(&e.value))));
    if let Some(mapping) = node.as_mapping_mut() {
        mapping.sort_natural();
    }
    node
}

fn free_form(node: &Node) -> Node {
    match &node.value {
        Value::Scalar(_) => node.clone(),
        Value::Sequence(items) => Node::list(items.iter().map(free_form)),
        Value::Mapping(mapping) => sorted(mapping, free_form),
    }
}

/// Whether a value is what an absent one would be.
pub(crate) fn is_zero(schema: &Schema, node: &Node, kind: &Type) -> bool {
    match kind {
        Type::Pointer(_) => false,
        Type::Text
        | Type::Leaf(
            Leaf::Other
            | Leaf::Base64
            | Leaf::ByteSize
            | Leaf::Expression
            | Leaf::SizeCondition
            | Leaf::Address
            | Leaf::Prefix
            | Leaf::Manifest,
        ) => node.as_text().is_none_or(str::is_empty),
        Type::Int => node.as_text().is_none_or(|t| t == "0"),
        Type::Bool => node.as_text().is_none_or(|t| t == "false"),
        Type::Leaf(Leaf::Duration) => node.as_text().is_none_or(|t| t == "0s"),
        Type::Leaf(Leaf::DiskSize) => node.as_text().is_none_or(|t| t == "0" || t == "0 B"),
        Type::Leaf(Leaf::FileMode) => node.as_text().is_none_or(|t| t == "0o0"),
        Type::Leaf(Leaf::HardwareAddress | Leaf::PortRange | Leaf::ArgumentValue) => {
            node.as_text().is_some_and(str::is_empty)
        }
        Type::Any | Type::Map(_) | Type::Arguments => {
            node.is_null() || node.as_mapping().is_some_and(Mapping::is_empty)
        }
        Type::List(..) => node.as_sequence().is_some_and(<[Node]>::is_empty),
        Type::Structure(index) => node.as_mapping().is_some_and(|mapping| {
            let fields = &schema.structure(*index).fields;
            fields.iter().all(|f| {
                let value = mapping.value(&f.key);
                value.is_none_or(|v| is_zero(schema, v, &f.kind))
            })
        }),
    }
}

/// How an absent value is written where its key always is.
fn zero(schema: &Schema, kind: &Type) -> Node {
    match kind {
        Type::Pointer(_) => Node::null(),
        Type::Text => Node::text(""),
        Type::Int => Node::integer(0),
        Type::Bool => Node::boolean(false),
        Type::Any | Type::Map(_) | Type::Arguments => Node::map::<&str>([]),
        Type::List(..) => Node::list([]),
        Type::Structure(index) => structure(schema, &Mapping::default(), *index),
        Type::Leaf(Leaf::Duration) => Node::text("0s"),
        Type::Leaf(Leaf::FileMode) => Node::integer(0),
        Type::Leaf(Leaf::DiskSize) => Node::text("0 B"),
        Type::Leaf(
            Leaf::ByteSize
            | Leaf::Expression
            | Leaf::SizeCondition
            | Leaf::Address
            | Leaf::Prefix
            | Leaf::Manifest
            | Leaf::HardwareAddress
            | Leaf::ArgumentValue
            | Leaf::PortRange
            | Leaf::Base64
            | Leaf::Other,
        ) => Node::text(""),
    }
}
