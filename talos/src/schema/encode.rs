//! A normal form to the tree that is written: keys in their order, zero values left out or spelled out.

use super::{Leaf, Presence, Schema, Type, Weight};
use crate::yaml::{Entry, Kind, Mapping, Node, Scalar, Value, forgotten};

/// The tree of a value as it is written.
pub(crate) fn encode(schema: &Schema, node: Node, kind: &Type) -> Node {
    match (kind, node.value) {
        (Type::Pointer(inner), value) => encode(schema, Node::new(value), inner),
        (Type::Structure(index), Value::Mapping(mapping)) => structure(schema, mapping, *index),
        (Type::List(inner, _), Value::Sequence(items)) => {
            Node::list(items.into_iter().map(|i| encode(schema, i, inner)))
        }
        (Type::Map(inner), Value::Mapping(mapping)) => {
            sorted(mapping, |v| encode(schema, v, inner))
        }
        (Type::Arguments, Value::Mapping(mapping)) => sorted(mapping, argument),
        (Type::Any, value) => free_form(Node::new(value)),
        (_, value) => Node::new(value),
    }
}

/// Arguments are written in a way of their own: an empty one is null, for it has neither form, and less is quoted.
fn argument(value: Node) -> Node {
    let as_node = |item: Node| match item.value {
        Value::Scalar(scalar) => Node::new(Value::Scalar(forgotten(&scalar.text))),
        other @ (Value::Sequence(_) | Value::Mapping(_)) => Node::new(other),
    };
    match value.value {
        Value::Scalar(scalar) if scalar.text.is_empty() || scalar.kind == Kind::Null => {
            Node::null()
        }
        Value::Sequence(items) => Node::list(items.into_iter().map(as_node)),
        other @ (Value::Scalar(_) | Value::Mapping(_)) => as_node(Node::new(other)),
    }
}

fn structure(schema: &Schema, mut mapping: Mapping, index: usize) -> Node {
    let fields = &schema.structure(index).fields;
    let mut out = Mapping::with_capacity(mapping.len());
    for field in fields {
        // The entry's own key is used again: a new text would be an allocation for each line of the config.
        let entry = match (field.presence, mapping.take(field.key)) {
            (Presence::OmitEmpty, None) => continue,
            (Presence::OmitEmpty, Some(e)) if is_zero(schema, &e.value, &field.kind) => continue,
            (_, Some(e)) => Entry::new(e.key, encode(schema, e.value, &field.kind)),
            (Presence::Always, None) => Entry::new(field.key, zero(schema, &field.kind)),
        };
        out.push(entry);
    }
    Node::new(Value::Mapping(out))
}

fn sorted(mut mapping: Mapping, value: impl Fn(Node) -> Node) -> Node {
    for entry in mapping.iter_mut() {
        let taken = std::mem::replace(&mut entry.value, Node::null());
        entry.value = value(taken);
    }
    mapping.sort_natural();
    Node::new(Value::Mapping(mapping))
}

fn free_form(node: Node) -> Node {
    match node.value {
        Value::Scalar(scalar) if scalar.kind == Kind::Bool => {
            Node::boolean(scalar.text.eq_ignore_ascii_case("true"))
        }
        Value::Scalar(_) => node,
        Value::Sequence(items) => Node::list(items.into_iter().map(free_form)),
        Value::Mapping(mapping) => sorted(mapping, free_form),
    }
}

/// Whether a value is what an absent one would be.
pub(crate) fn is_zero(schema: &Schema, node: &Node, kind: &Type) -> bool {
    match kind {
        Type::Pointer(_) => false,
        Type::Text
        | Type::Leaf(
            Leaf::Base64
            | Leaf::ByteSize
            | Leaf::Size
            | Leaf::Expression
            | Leaf::SizeCondition
            | Leaf::Address
            | Leaf::AddressPort
            | Leaf::Prefix
            | Leaf::Url
            | Leaf::Manifest,
        ) => node.as_text().is_none_or(str::is_empty),
        Type::Choice(texts) => node.as_text().is_none_or(|t| t == texts[0]),
        Type::Leaf(Leaf::RoutingTable) => node.as_text().is_none_or(|t| t == "unspec"),
        Type::Int(..) => node.as_text().is_none_or(|t| t == "0"),
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
            let mut counted = fields.iter().filter(|f| f.weight == Weight::Counts);
            counted.all(|f| {
                let value = mapping.value(f.key);
                value.is_none_or(|v| is_zero(schema, v, &f.kind))
            })
        }),
    }
}

/// How an absent value is written where its key always is.
pub(crate) fn zero(schema: &Schema, kind: &Type) -> Node {
    match kind {
        Type::Pointer(_) => Node::null(),
        Type::Text => Node::text(""),
        Type::Choice(texts) => Node::text(texts[0]),
        Type::Int(..) => Node::integer(0),
        Type::Bool => Node::boolean(false),
        Type::Any | Type::Map(_) | Type::Arguments => Node::map::<&str>([]),
        Type::List(..) => Node::list([]),
        Type::Structure(index) => structure(schema, Mapping::default(), *index),
        Type::Leaf(Leaf::Duration) => Node::text("0s"),
        Type::Leaf(Leaf::FileMode) => Node::new(Value::Scalar(Scalar::raw(Kind::Int, "0o0"))),
        Type::Leaf(Leaf::DiskSize) => Node::text("0 B"),
        Type::Leaf(Leaf::RoutingTable) => Node::text("unspec"),
        Type::Leaf(
            Leaf::ByteSize
            | Leaf::Size
            | Leaf::Expression
            | Leaf::SizeCondition
            | Leaf::Address
            | Leaf::AddressPort
            | Leaf::Prefix
            | Leaf::Manifest
            | Leaf::HardwareAddress
            | Leaf::ArgumentValue
            | Leaf::PortRange
            | Leaf::Url
            | Leaf::Base64,
        ) => Node::text(""),
    }
}
