//! Our values to the protocol's messages and back.

use metal_proto::tfplugin6 as pb;
use pb::attribute_path::step::Selector;

use crate::codec::{json, msgpack};
use crate::diagnostics::{Diagnostic, Diagnostics, Severity};
use crate::path::{Path, Step};
use crate::schema::{Attribute, Nesting, Presence, Schema, Shape};
use crate::value::{Object, Type, Value};

/// Which kind of block a schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Nothing is computed in it, so a default makes an attribute merely optional.
    Provider,
    /// A resource or a data source.
    Stored,
    /// The inside of a computed attribute: a model that also serves as input is all output there.
    Computed,
}

pub(super) fn schema(schema: &Schema, block: Block) -> pb::Schema {
    pb::Schema {
        version: schema.version,
        block: Some(pb::schema::Block {
            version: schema.version,
            attributes: attributes(&schema.attributes, block),
            block_types: blocks(&schema.attributes, block),
            description: match &schema.deprecated {
                Some(instead) => format!("{}\n\n**Deprecated:** {instead}", schema.description),
                None => schema.description.clone(),
            },
            description_kind: pb::StringKind::Markdown.into(),
            deprecated: schema.deprecated.is_some(),
        }),
    }
}

fn attributes(all: &[Attribute], block: Block) -> Vec<pb::schema::Attribute> {
    let plain = all.iter().filter(|a| a.items().is_none());
    plain.map(|a| attribute(a, block)).collect()
}

fn blocks(all: &[Attribute], block: Block) -> Vec<pb::schema::NestedBlock> {
    let one = |a: &Attribute| {
        let items = a.items()?;
        let (nesting, inner) = match a.shape() {
            Shape::Nested(nesting, inner) => (*nesting, inner.as_slice()),
            // A mistake that is told in place of the schemas.
            Shape::Plain(_) => (Nesting::Single, &[][..]),
        };
        let mode = match nesting {
            Nesting::Single => pb::schema::nested_block::NestingMode::Single,
            Nesting::List => pb::schema::nested_block::NestingMode::List,
            Nesting::Set => pb::schema::nested_block::NestingMode::Set,
            Nesting::Map => pb::schema::nested_block::NestingMode::Map,
        };
        // Hosts want both numbers of a single block to be the same.
        let max = if nesting == Nesting::Single {
            items.min
        } else {
            items.max.unwrap_or(0)
        };
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Some(pb::schema::NestedBlock {
            type_name: a.name().to_owned(),
            block: Some(pb::schema::Block {
                version: 0,
                attributes: attributes(inner, block),
                block_types: blocks(inner, block),
                description: a.description(),
                description_kind: pb::StringKind::Markdown.into(),
                deprecated: a.deprecated.is_some(),
            }),
            nesting: mode.into(),
            min_items: number(items.min),
            max_items: number(max),
        })
    };
    all.iter().filter_map(one).collect()
}

fn attribute(a: &Attribute, block: Block) -> pb::schema::Attribute {
    let presence = match (a.presence(), block) {
        (Presence::OptionalComputed, Block::Provider) => Presence::Optional,
        (_, Block::Computed) => Presence::Computed,
        (presence, _) => presence,
    };
    let (ty, nested) = match a.shape() {
        Shape::Plain(ty) => (ty.to_json().to_string().into_bytes(), None),
        Shape::Nested(nesting, inner) => {
            let nesting = match nesting {
                Nesting::Single => pb::schema::object::NestingMode::Single,
                Nesting::List => pb::schema::object::NestingMode::List,
                Nesting::Set => pb::schema::object::NestingMode::Set,
                Nesting::Map => pb::schema::object::NestingMode::Map,
            };
            let block = if presence == Presence::Computed {
                Block::Computed
            } else {
                block
            };
            let attributes = inner.iter().map(|a| attribute(a, block)).collect();
            (
                Vec::new(),
                Some(pb::schema::Object {
                    attributes,
                    nesting: nesting.into(),
                }),
            )
        }
    };
    pb::schema::Attribute {
        name: a.name().to_owned(),
        r#type: ty,
        description: a.description(),
        required: presence == Presence::Required,
        optional: matches!(presence, Presence::Optional | Presence::OptionalComputed),
        computed: matches!(presence, Presence::Computed | Presence::OptionalComputed),
        sensitive: a.sensitive,
        description_kind: pb::StringKind::Markdown.into(),
        deprecated: a.deprecated.is_some(),
        nested_type: nested,
        write_only: a.write_only,
    }
}

pub(super) fn diagnostics(all: Diagnostics) -> Vec<pb::Diagnostic> {
    all.into_iter().map(diagnostic).collect()
}

fn diagnostic(d: Diagnostic) -> pb::Diagnostic {
    let severity = match d.severity {
        Severity::Error => pb::diagnostic::Severity::Error,
        Severity::Warning => pb::diagnostic::Severity::Warning,
    };
    pb::Diagnostic {
        severity: severity.into(),
        detail: d.text(),
        summary: d.summary,
        attribute: d.path.as_ref().filter(|p| !p.steps().is_empty()).map(path),
    }
}

pub(super) fn path(path: &Path) -> pb::AttributePath {
    let step = |s: &Step| {
        let selector = match s {
            Step::Attribute(name) => Selector::AttributeName(name.clone()),
            Step::Key(key) => Selector::ElementKeyString(key.clone()),
            Step::Index(i) => Selector::ElementKeyInt(i64::try_from(*i).unwrap_or(i64::MAX)),
        };
        pb::attribute_path::Step {
            selector: Some(selector),
        }
    };
    pb::AttributePath {
        steps: path.steps().iter().map(step).collect(),
    }
}

/// The object in a message; none where it is null or left out.
pub(super) fn read(
    value: Option<&pb::DynamicValue>,
    ty: &Type,
) -> Result<Option<Object>, Diagnostic> {
    let Some(value) = value else { return Ok(None) };
    let read = match (value.msgpack.as_slice(), value.json.as_slice()) {
        ([], []) => return Ok(None),
        ([], text) => json::from_bytes(text, ty),
        (bytes, _) => msgpack::from_bytes(bytes, ty),
    };
    match read {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(Value::Null) => Ok(None),
        Ok(_) => Err(unreadable("a block is no object")),
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

fn unreadable(why: &str) -> Diagnostic {
    Diagnostic::error("Message cannot be read")
        .detail(format!(
            "The host sent a value that does not fit the provider's schema: {why}."
        ))
        .hint("run terraform init again, so that host and provider agree about the schema")
}

/// The message of an object, or of null. A value that does not fit the schema is the provider's mistake.
pub(super) fn write(object: Option<Object>, ty: &Type) -> Result<pb::DynamicValue, Diagnostic> {
    encoded(&object.map_or(Value::Null, Value::Object), ty)
}

fn encoded(value: &Value, ty: &Type) -> Result<pb::DynamicValue, Diagnostic> {
    match msgpack::to_bytes(value, ty) {
        Ok(msgpack) => Ok(pb::DynamicValue {
            msgpack,
            json: Vec::new(),
        }),
        Err(error) => Err(Diagnostic::provider_bug(format!(
            "A value does not fit the schema: {error}."
        ))),
    }
}

/// The message of an object that is not known at all.
pub(super) fn write_unknown(ty: &Type) -> Result<pb::DynamicValue, Diagnostic> {
    encoded(&Value::Unknown, ty)
}

/// The message of an object with null in place of attributes that do not fit the schema.
pub(super) fn write_what_fits(object: Object, ty: &Type) -> pb::DynamicValue {
    let empty = std::collections::BTreeMap::new();
    let types = if let Type::Object(types) = ty {
        types
    } else {
        &empty
    };
    let fits = |(name, value): (String, Value)| match types.get(&name) {
        Some(t) if msgpack::to_bytes(&value, t).is_ok() => Some((name, value)),
        _ => None,
    };
    let fitting: Object = object.into_iter().filter_map(fits).collect();
    write(Some(fitting), ty).expect("every attribute was just seen to fit")
}
