//! Nested blocks: a list or set of blocks that is not there is empty, never null.

use crate::engine::propose::over_objects;
use crate::schema::{Attribute, Nesting, Shape};
use crate::value::{Object, Value};

/// What a block is where there is none.
pub(super) fn none_of(a: &Attribute) -> Value {
    match a.shape() {
        Shape::Nested(Nesting::List, _) => Value::List(Vec::new()),
        Shape::Nested(Nesting::Set, _) => Value::set([]),
        Shape::Nested(Nesting::Single | Nesting::Map, _) | Shape::Plain(_) => Value::Null,
    }
}

/// The same with empty collections where blocks are null. For states and answers of code that left them out.
pub(crate) fn with_empty_blocks(attributes: &[Attribute], mut object: Object) -> Object {
    for a in attributes.iter().filter(|a| a.items.is_some()) {
        let value = match (object.take(a.name()), a.shape()) {
            (Value::Null, _) => none_of(a),
            (value, Shape::Nested(nesting, inner)) => {
                over_objects(*nesting, &value, None, &|o, _| {
                    Value::Object(with_empty_blocks(inner, o.clone()))
                })
            }
            (value, Shape::Plain(_)) => value,
        };
        object.put(a.name(), value);
    }
    object
}
