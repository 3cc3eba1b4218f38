//! Random racks of blocks against the host's rules for blocks, which are written down here a second time.

use std::sync::Arc;

use proptest::prelude::*;

use super::{config_of, plan, replacements, settle};
use crate::SetOf;
use crate::diagnostics::Diagnostics;
use crate::schema::{Attribute, Nesting, Schema, Shape, same};
use crate::value::{Object, Value};

crate::model! {
    struct Item {
        /// Compared as a size.
        size: String = optional().same_if(same::size),
        /// Given or not.
        count: i64 = optional().default(1),
    }
}

crate::model! {
    struct Shelf {
        /// Given.
        name: String = required().requires_replace(),
        /// Decided.
        code: String = computed().use_state_for_unknown(),
        /// Decided from the name.
        tag: String = computed().depends_on([Shelf::name.name()]),
        /// Inside.
        item: SetOf<Item> = block(),
        /// Inside, in order.
        slot: Vec<Item> = block().max_items(2),
    }
}

crate::model! {
    struct Rack {
        /// Given.
        height: i64 = optional(),
        /// Decided.
        writes: i64 = computed(),
        /// One or none.
        stand: Shelf = block(),
        /// Many.
        shelf: Vec<Shelf> = block(),
    }
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::of::<Rack>(""))
}

/// Configurations as hosts send them: blocks that are not there are empty, and some are not known yet.
fn config(a: &Attribute) -> BoxedStrategy<Value> {
    if !a.is_configurable() {
        return Just(Value::Null).boxed();
    }
    match (a.shape(), a.name()) {
        (Shape::Nested(nesting, inner), _) => {
            let one = object(inner);
            match nesting {
                Nesting::List => {
                    let many = proptest::collection::vec(one, 0..3).prop_map(Value::List);
                    prop_oneof![9 => many, 1 => Just(Value::Unknown)].boxed()
                }
                Nesting::Set => proptest::collection::vec(one, 0..4)
                    .prop_map(Value::set)
                    .boxed(),
                Nesting::Single | Nesting::Map => {
                    prop_oneof![3 => one, 1 => Just(Value::Null)].boxed()
                }
            }
        }
        (_, "size") => prop_oneof![
            Just(Value::Null),
            Just("1KiB".into()),
            Just("1024".into()),
            Just("2KB".into()),
            Just(Value::Unknown)
        ]
        .boxed(),
        (_, "name") => prop_oneof![Just(Value::from("x")), Just(Value::from("y"))].boxed(),
        _ => prop_oneof![Just(Value::Null), (0..3i64).prop_map(Value::from)].boxed(),
    }
}

fn object(attributes: &[Attribute]) -> BoxedStrategy<Value> {
    let names: Vec<_> = attributes.iter().map(|a| a.name().to_owned()).collect();
    let values: Vec<_> = attributes.iter().map(config).collect();
    values
        .prop_map(move |vs| Object::from_iter(names.iter().cloned().zip(vs)).into())
        .boxed()
}

fn configs() -> impl Strategy<Value = Object> {
    object(&schema().attributes).prop_map(|v| v.as_object().unwrap().clone())
}

/// What an apply makes of a plan: everything that was left open is decided.
fn applied(planned: &Object) -> Object {
    fn decided(a: &Attribute, value: Value) -> Value {
        match (a.shape(), value) {
            (Shape::Nested(Nesting::List, _), Value::Unknown) => Value::List(Vec::new()),
            (Shape::Nested(_, inner), Value::Object(o)) => Value::Object(all(inner, o)),
            (Shape::Nested(_, inner), Value::List(es)) => Value::List(
                es.into_iter()
                    .map(|e| all(inner, e.as_object().unwrap().clone()).into())
                    .collect(),
            ),
            (Shape::Nested(_, inner), Value::Set(es)) => Value::set(
                es.into_iter()
                    .map(|e| all(inner, e.as_object().unwrap().clone()).into()),
            ),
            (_, Value::Unknown) if ["writes", "count"].contains(&a.name()) => 7.into(),
            (_, Value::Unknown) => "1KB".into(),
            (_, value) => value,
        }
    }
    fn all(attributes: &[Attribute], mut object: Object) -> Object {
        let one = |a: &Attribute| (a.name().to_owned(), decided(a, object.take(a.name())));
        attributes.iter().map(one).collect()
    }
    let mut found = Diagnostics::new();
    let schema = schema();
    let state = settle(
        &schema.attributes,
        planned,
        all(&schema.attributes, planned.clone()),
        &mut found,
    );
    assert!(found.is_empty(), "{found}");
    state
}

/// The host's rules for a planned block, against configuration and state.
fn host_accepts(attributes: &[Attribute], prior: &Value, config: &Object, planned: &Object) {
    for a in attributes {
        let of = |v: &Value| {
            v.as_object()
                .map_or(Value::Null, |o| o.get(a.name()).clone())
        };
        let (before, wanted, will) = (of(prior), config.get(a.name()), planned.get(a.name()));
        let Shape::Nested(nesting, inner) = a.shape() else {
            let decided = wanted.is_null() && a.is_computed();
            assert!(
                decided
                    || will == wanted
                    || (*will == before && !before.is_null() && !wanted.is_null()),
                "{}: {will:?} is neither {wanted:?} nor {before:?}",
                a.name()
            );
            continue;
        };
        assert!(
            *nesting == Nesting::Single || !will.is_null(),
            "{}",
            a.name()
        );
        if wanted.is_unknown() || will == wanted {
            assert_eq!(will, wanted, "{}", a.name());
            continue;
        }
        match (nesting, wanted, will) {
            (Nesting::Single, Value::Object(c), Value::Object(p)) => {
                host_accepts(inner, &before, c, p);
            }
            (Nesting::List, Value::List(cs), Value::List(ps)) => {
                assert_eq!(cs.len(), ps.len());
                for (i, (c, p)) in cs.iter().zip(ps).enumerate() {
                    let before = before.elements().get(i).cloned().unwrap_or_default();
                    host_accepts(
                        inner,
                        &before,
                        c.as_object().unwrap(),
                        p.as_object().unwrap(),
                    );
                }
            }
            // The host trusts sets; each planned object must still be one that is wanted.
            (Nesting::Set, Value::Set(cs), Value::Set(ps)) => {
                assert!(ps.len() <= cs.len() && ps.is_empty() == cs.is_empty());
                for p in ps.iter().map(|p| p.as_object().unwrap()) {
                    let meant = |c: &Value| {
                        let (was, is) = (c.as_object().unwrap().get("size"), p.get("size"));
                        was == is || same::size(was, is)
                    };
                    assert!(cs.iter().any(meant), "{p:?} is not among {cs:?}");
                }
            }
            _ => panic!("{}: {wanted:?} became {will:?}", a.name()),
        }
    }
}

proptest! {
    #[test]
    fn racks_are_planned_as_hosts_want_them(first in configs(), second in configs()) {
        let schema = schema();
        let created = plan(&schema, None, first.clone());
        host_accepts(&schema.attributes, &Value::Null, &first, created.planned_object());
        let state = applied(created.planned_object());
        prop_assert!(Value::Object(state.clone()).is_wholly_known());

        // The same again changes nothing, where everything is known.
        let again = plan(&schema, Some(state.clone()), first.clone());
        if Value::Object(first).is_wholly_known() {
            prop_assert_eq!(again.planned_object(), &state);
        }
        let updated = plan(&schema, Some(state.clone()), second.clone());
        let planned = updated.planned_object();
        host_accepts(&schema.attributes, &Value::Object(state.clone()), &second, planned);
        let replaced = replacements(&schema.attributes, &second, &state, planned);
        for path in replaced {
            let (before, after) = (Value::Object(state.clone()), Value::Object(planned.clone()));
            prop_assert_ne!(before.at_path(&path), after.at_path(&path));
        }
        applied(planned);
    }

    #[test]
    fn a_generated_configuration_plans_nothing(first in configs()) {
        let schema = schema();
        let state = applied(plan(&schema, None, first).planned_object());
        let config = config_of(&schema, &state);
        let planned = plan(&schema, Some(state.clone()), config);
        prop_assert_eq!(planned.planned_object(), &state);
    }
}
