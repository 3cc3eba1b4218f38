//! From a state to a configuration that plans nothing against it, as short as it can be.
//!
//! Left out: what only the provider sets, write-only values, defaults, deprecated attributes, and of attributes that exclude one another
//! all but the first.

use crate::engine::blocks::with_empty_blocks;
use crate::engine::propose::over_objects;
use crate::schema::{Attribute, Presence, Rule, Schema, Shape};
use crate::value::{Object, Value};

/// The configuration of a state.
pub(crate) fn config_of(schema: &Schema, state: &Object) -> Object {
    object(&schema.attributes, &schema.rules, state)
}

fn object(attributes: &[Attribute], rules: &[Rule], state: &Object) -> Object {
    let one = |a: &Attribute| (a.name().to_owned(), attribute(a, state.get(a.name())));
    let mut config: Object = attributes.iter().map(one).collect();
    for rule in rules {
        for name in rule.surplus(&config) {
            config.put(name, Value::Null);
        }
    }
    with_empty_blocks(attributes, config)
}

fn attribute(a: &Attribute, value: &Value) -> Value {
    let needed = a.presence() == Presence::Required;
    let spare = a.write_only || !a.is_configurable() || a.default.as_ref() == Some(value);
    if spare || (a.deprecated.is_some() && !needed) {
        return Value::Null;
    }
    match a.shape() {
        Shape::Plain(_) => value.clone(),
        Shape::Nested(nesting, inner) => over_objects(*nesting, value, None, &|o, _| {
            Value::Object(object(inner, &a.rules, o))
        }),
    }
}
