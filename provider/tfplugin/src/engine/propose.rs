//! Configuration and state to a proposal, and what in it becomes "known after apply".
//!
//! The host's own proposal is not used: on create it holds null for nested values that the provider decides, and for sets it guesses.

use std::collections::BTreeMap;

use crate::engine::blocks;
use crate::engine::settle::default_of;
use crate::engine::words;
use crate::path::Path;
use crate::schema::{Attribute, Nesting, OnUnknown, Schema, Shape};
use crate::value::{Object, Value};

/// What the configuration declares; elsewhere defaults; elsewhere the state's value where the provider decides; else null.
pub(crate) fn propose(attributes: &[Attribute], config: &Object, prior: Option<&Object>) -> Object {
    let one = |a: &Attribute| {
        let before = prior.map(|p| p.get(a.name()));
        (
            a.name().to_owned(),
            propose_attribute(a, config.get(a.name()), before),
        )
    };
    attributes.iter().map(one).collect()
}

fn propose_attribute(a: &Attribute, config: &Value, prior: Option<&Value>) -> Value {
    if a.write_only {
        return Value::Null;
    }
    if config.is_null() && a.items.is_some() {
        return blocks::none_of(a);
    }
    if config.is_null() {
        return match (default_of(a), prior) {
            (Some(default), _) => default,
            (None, Some(before)) if a.is_computed() => before.clone(),
            // A null of a dynamic attribute keeps its type.
            (None, _) => config.clone(),
        };
    }
    match (a.shape(), &a.same_if) {
        (Shape::Nested(Nesting::Set, inner), _) => {
            set_of(inner, config, prior.map_or(&[], Value::elements))
        }
        (Shape::Nested(nesting, inner), _) => {
            over_objects(*nesting, config, prior, &|config, prior| {
                Value::Object(propose(inner, config, prior))
            })
        }
        (Shape::Plain(_), Some(same)) => words::planned(same, prior.into_iter(), config.clone()),
        (Shape::Plain(_), None) => config.clone(),
    }
}

/// Elements of a set have no place, so nothing of the state's belongs to one of them but its words.
fn set_of(inner: &[Attribute], config: &Value, before: &[Value]) -> Value {
    let Value::Set(elements) = config else {
        return config.clone();
    };
    let alone = |e: &Value| {
        e.as_object()
            .map_or_else(|| e.clone(), |o| Value::Object(propose(inner, o, None)))
    };
    words::reworded(inner, elements.iter().map(alone).collect(), before)
}

/// Puts "known after apply" wherever the provider decides in an update.
pub(crate) fn mark_unknown(
    schema: &Schema,
    prior: &Object,
    config: &Value,
    planned: Value,
) -> Value {
    match (planned, config) {
        (Value::Object(planned), Value::Object(config)) => {
            Value::Object(mark(&schema.attributes, config, Some(prior), planned))
        }
        (planned, _) => planned,
    }
}

/// Puts "known after apply" wherever the provider decides in a creation.
pub(super) fn mark_created(schema: &Schema, config: &Object, planned: Value) -> Value {
    if let Value::Object(planned) = planned {
        Value::Object(mark(&schema.attributes, config, None, planned))
    } else {
        planned
    }
}

fn mark(
    attributes: &[Attribute],
    config: &Object,
    prior: Option<&Object>,
    mut planned: Object,
) -> Object {
    for a in attributes {
        let before = prior.map(|p| p.get(a.name()));
        let value = mark_attribute(a, config.get(a.name()), before, planned.take(a.name()));
        planned.put(a.name(), value);
    }
    if let Some(prior) = prior {
        mark_dependents(attributes, config, prior, &mut planned);
    }
    planned
}

/// Values that the provider decides and that follow from others: unknown where one of these changes, and so on until nothing follows.
fn mark_dependents(
    attributes: &[Attribute],
    config: &Object,
    prior: &Object,
    planned: &mut Object,
) {
    follow(attributes, config, prior, planned, &|_| false);
}

/// As [`mark_dependents`], without what is `settled`.
pub(crate) fn follow(
    attributes: &[Attribute],
    config: &Object,
    prior: &Object,
    planned: &mut Object,
    settled: &dyn Fn(&str) -> bool,
) {
    let decided = |a: &&Attribute| {
        config.get(a.name()).is_null() && a.default.is_none() && !settled(a.name())
    };
    let dependents = attributes.iter().filter(decided);
    let mut waiting: Vec<_> = dependents
        .filter_map(|a| Some((a.name(), a.depends_on.as_deref()?)))
        .collect();
    loop {
        let before = waiting.len();
        waiting.retain(|(name, needs)| {
            let changed = needs.iter().any(|n| {
                let need = attributes.iter().find(|a| a.name() == n);
                !need.is_some_and(|a| words::alike(a, prior.get(n), planned.get(n)))
            });
            if changed {
                planned.put(*name, Value::Unknown);
            }
            !changed
        });
        if waiting.len() == before {
            return;
        }
    }
}

fn mark_attribute(a: &Attribute, config: &Value, prior: Option<&Value>, planned: Value) -> Value {
    if a.write_only {
        return planned;
    }
    if config.is_null() {
        let decided = a.is_computed() && a.default.is_none();
        let waits = a.on_unknown == OnUnknown::KeepState || a.depends_on.is_some();
        let kept = waits && prior.is_some();
        return if decided && !kept {
            Value::Unknown
        } else {
            planned
        };
    }
    match a.shape() {
        Shape::Plain(_) => planned,
        Shape::Nested(_, inner) => mark_nested(inner, config, prior, planned),
    }
}

/// The proposal has the configuration's shape. Inside sets nothing is the provider's to decide (a rule of schemas).
fn mark_nested(
    inner: &[Attribute],
    config: &Value,
    prior: Option<&Value>,
    planned: Value,
) -> Value {
    match (config, planned) {
        (Value::Object(c), Value::Object(n)) => {
            Value::Object(mark(inner, c, prior.and_then(Value::as_object), n))
        }
        (Value::List(cs), Value::List(ns)) => {
            let before = |i: usize| prior.and_then(|p| p.elements().get(i));
            let pairs = cs.iter().zip(ns).enumerate();
            let marked = pairs.map(|(i, (c, n))| mark_nested(inner, c, before(i), n));
            Value::List(marked.collect())
        }
        (Value::Map(cs), Value::Map(mut ns)) => {
            for (key, n) in &mut ns {
                let before = prior.map(|p| p.at_path(&Path::root().key(key)));
                let c = cs.get(key).unwrap_or(&Value::Null);
                *n = mark_nested(inner, c, before, std::mem::take(n));
            }
            Value::Map(ns)
        }
        (_, planned) => planned,
    }
}

/// Rebuilds a nested value object by object, each with the state's object of the same place.
pub(super) fn over_objects(
    nesting: Nesting,
    config: &Value,
    prior: Option<&Value>,
    build: &dyn Fn(&Object, Option<&Object>) -> Value,
) -> Value {
    let one = |config: &Value, prior: Option<&Value>| {
        let before = prior.and_then(Value::as_object);
        config
            .as_object()
            .map_or_else(|| config.clone(), |o| build(o, before))
    };
    match (nesting, config) {
        (Nesting::Single, config) => one(config, prior),
        (Nesting::List, Value::List(es)) => {
            let before = |i: usize| prior.and_then(|p| p.elements().get(i));
            Value::List(
                es.iter()
                    .enumerate()
                    .map(|(i, e)| one(e, before(i)))
                    .collect(),
            )
        }
        // Elements of a set have no place.
        (Nesting::Set, Value::Set(es)) => Value::set(es.iter().map(|e| one(e, None))),
        (Nesting::Map, Value::Map(es)) => {
            let empty = BTreeMap::new();
            let before = if let Some(Value::Map(p)) = prior {
                p
            } else {
                &empty
            };
            Value::Map(
                es.iter()
                    .map(|(k, e)| (k.clone(), one(e, before.get(k))))
                    .collect(),
            )
        }
        (_, other) => other.clone(),
    }
}
