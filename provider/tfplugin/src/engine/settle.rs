//! From what a resource returned to a state that the host accepts.
//!
//! After apply, everything that was planned and known is exactly as planned, and nothing is unknown. A resource may leave
//! planned values null and gets them filled in; one that returns something else made a mistake, which becomes a message with the path.

use std::collections::BTreeMap;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::engine::blocks::with_empty_blocks;
use crate::engine::words;
use crate::path::Path;
use crate::schema::{Attribute, Shape};
use crate::value::{Object, Value};

/// The state after a successful apply, and the resource's mistakes.
pub(crate) fn settle(
    attributes: &[Attribute],
    planned: &Object,
    returned: Object,
    found: &mut Diagnostics,
) -> Object {
    object(attributes, &Path::root(), planned, returned, found)
}

fn object(
    attributes: &[Attribute],
    at: &Path,
    planned: &Object,
    mut returned: Object,
    found: &mut Diagnostics,
) -> Object {
    let one = |a: &Attribute| {
        let path = at.clone().attr(a.name());
        let value = if a.write_only {
            Value::Null
        } else {
            attribute(
                a,
                &path,
                planned.get(a.name()),
                returned.take(a.name()),
                found,
            )
        };
        (a.name().to_owned(), value)
    };
    with_empty_blocks(attributes, attributes.iter().map(one).collect())
}

fn attribute(
    a: &Attribute,
    at: &Path,
    planned: &Value,
    returned: Value,
    found: &mut Diagnostics,
) -> Value {
    if planned.is_unknown() {
        return without_unknown(a, at, returned, found);
    }
    let returned = words::keep_attribute(a, planned, returned);
    if returned.is_null() || returned.is_unknown() || returned == *planned {
        return fill(a, at, planned.clone(), found);
    }
    match (a.nested(), planned, returned) {
        (inner @ [_, ..], Value::Object(p), Value::Object(r)) => {
            Value::Object(object(inner, at, p, r, found))
        }
        (inner @ [_, ..], Value::List(ps), Value::List(rs)) if ps.len() == rs.len() => {
            let pairs = (0u64..).zip(ps.iter().zip(rs));
            Value::List(
                pairs
                    .map(|(i, (p, r))| element(inner, &at.clone().index(i), p, r, found))
                    .collect(),
            )
        }
        (inner @ [_, ..], Value::Map(ps), Value::Map(mut rs)) if ps.keys().eq(rs.keys()) => {
            let each = |(k, p): (&String, &Value)| {
                let r = rs.remove(k).unwrap_or_default();
                (k.clone(), element(inner, &at.clone().key(k), p, r, found))
            };
            Value::Map(ps.iter().map(each).collect::<BTreeMap<_, _>>())
        }
        (_, planned, returned) if planned.is_wholly_known() => {
            found.push(differs(a, at, planned, &returned));
            returned.unknown_as_null()
        }
        (_, _, returned) => without_unknown(a, at, returned, found),
    }
}

fn element(
    inner: &[Attribute],
    at: &Path,
    planned: &Value,
    returned: Value,
    found: &mut Diagnostics,
) -> Value {
    match (planned, returned) {
        (Value::Object(p), Value::Object(r)) => Value::Object(object(inner, at, p, r, found)),
        (planned, _) => planned.clone().unknown_as_null(),
    }
}

/// The plan's value in place of one that was left out; what is unknown in it had to be told.
fn fill(a: &Attribute, at: &Path, planned: Value, found: &mut Diagnostics) -> Value {
    match (a.nested(), planned) {
        (inner @ [_, ..], Value::Object(p)) => {
            Value::Object(object(inner, at, &p, Object::new(), found))
        }
        (_, planned) => without_unknown(a, at, planned, found),
    }
}

fn without_unknown(a: &Attribute, at: &Path, value: Value, found: &mut Diagnostics) -> Value {
    if let Some(inside) = value.first_unknown() {
        let path = at.clone().join(&inside);
        found.push(
            Diagnostic::provider_bug(format!(
                "`{path}` is still unknown after the operation; it is null in the state."
            ))
            .at(path),
        );
    }
    write_only_as_null(a, value).unknown_as_null()
}

fn differs(a: &Attribute, at: &Path, planned: &Value, returned: &Value) -> Diagnostic {
    let what = match (a.sensitive, short(planned), short(returned)) {
        (false, Some(p), Some(r)) => format!("`{at}` was planned as {p} and came out as {r}."),
        _ => format!("`{at}` came out different from the plan."),
    };
    Diagnostic::provider_bug(what).at(at.clone())
}

fn short(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Number(n) => Some(n.to_string()),
        Value::String(s) if s.len() <= 200 => Some(format!("{s:?}")),
        Value::String(_)
        | Value::Unknown
        | Value::List(_)
        | Value::Set(_)
        | Value::Map(_)
        | Value::Object(_)
        | Value::Dynamic(_) => None,
    }
}

/// A state that a failed operation leaves: nothing unknown, nothing write-only, and what was declared filled in from `declared`
/// (the plan of a creation) where the resource left it null.
pub(crate) fn partial(
    attributes: &[Attribute],
    declared: Option<&Object>,
    mut returned: Object,
) -> Object {
    let one = |a: &Attribute| {
        let value = returned.take(a.name());
        let value = match declared {
            Some(planned) if value.is_null() && !a.is_computed() => planned.get(a.name()).clone(),
            _ => value,
        };
        (
            a.name().to_owned(),
            write_only_as_null(a, value).unknown_as_null(),
        )
    };
    with_empty_blocks(attributes, attributes.iter().map(one).collect())
}

/// A state that a refresh or an import found. What only the state knows is kept from `before`, and so are its words for the same.
pub(crate) fn refreshed(
    attributes: &[Attribute],
    before: &Object,
    mut returned: Object,
    found: &mut Diagnostics,
) -> Object {
    let one = |a: &Attribute| {
        let value = returned.take(a.name());
        let value = if a.local && value.is_null() {
            before.get(a.name()).clone()
        } else {
            words::keep_attribute(a, before.get(a.name()), value)
        };
        (
            a.name().to_owned(),
            without_unknown(a, &Path::attribute(a.name()), value, found),
        )
    };
    with_empty_blocks(attributes, attributes.iter().map(one).collect())
}

/// An imported state has the defaults of what only the state knows, so that the first plan has nothing to change there.
pub(crate) fn with_local_defaults(attributes: &[Attribute], mut state: Object) -> Object {
    for a in attributes.iter().filter(|a| a.local) {
        if let (true, Some(default)) = (state.get(a.name()).is_null(), default_of(a)) {
            state.put(a.name(), default);
        }
    }
    state
}

/// What an attribute is where the configuration leaves it out.
pub(super) fn default_of(a: &Attribute) -> Option<Value> {
    let default = a.default.clone()?;
    Some(write_only_as_null(a, default))
}

/// Do plan and state differ in nothing but what only the state knows, and in words? Then there is nothing to do outside.
pub(crate) fn only_local_changes(
    attributes: &[Attribute],
    prior: &Object,
    planned: &Object,
) -> bool {
    let same =
        |a: &Attribute| a.local || words::alike(a, prior.get(a.name()), planned.get(a.name()));
    prior != planned
        && attributes.iter().all(same)
        && Value::Object(planned.clone()).is_wholly_known()
}

/// The value of an attribute, or of an element of it, without what is write-only inside.
pub(crate) fn write_only_as_null(a: &Attribute, value: Value) -> Value {
    if a.write_only {
        return Value::Null;
    }
    let Shape::Nested(nesting, inner) = a.shape() else {
        return value;
    };
    let clean = |mut o: Object| -> Object {
        inner
            .iter()
            .map(|i| (i.name().to_owned(), write_only_as_null(i, o.take(i.name()))))
            .collect()
    };
    let element = |v: Value| {
        if let Value::Object(o) = v {
            Value::Object(clean(o))
        } else {
            v
        }
    };
    match (value, nesting) {
        (Value::List(es), _) => Value::List(es.into_iter().map(element).collect()),
        (Value::Set(es), _) => Value::set(es.into_iter().map(element)),
        (Value::Map(es), _) => Value::Map(es.into_iter().map(|(k, e)| (k, element(e))).collect()),
        (single, _) => element(single),
    }
}
