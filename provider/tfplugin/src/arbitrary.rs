//! Arbitrary types and values for the property tests.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::value::{Number, Object, Type, Value};

/// Any type, a few levels deep.
pub(crate) fn types() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        Just(Type::Bool),
        Just(Type::Number),
        Just(Type::String),
        Just(Type::Dynamic)
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(Type::list),
            inner.clone().prop_map(Type::set),
            inner.clone().prop_map(Type::map),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Type::Tuple),
            proptest::collection::btree_map("[a-c]", inner, 0..3).prop_map(Type::Object),
        ]
    })
}

/// A type and a value of it, null and unknown at any place.
pub(crate) fn typed_value() -> impl Strategy<Value = (Type, Value)> {
    types().prop_flat_map(|ty| {
        let value = value(&ty);
        (Just(ty), value)
    })
}

fn numbers() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        any::<f64>().prop_filter_map("finite", Number::from_f64),
        "-?[0-9]{1,30}(\\.[0-9]{1,30})?".prop_map(|t| t.parse().unwrap()),
    ]
}

/// A value of `ty`, null or unknown at any place.
pub(crate) fn value(ty: &Type) -> BoxedStrategy<Value> {
    let many = |e: &Type| proptest::collection::vec(value(e), 0..3);
    let known = match ty {
        Type::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Type::Number => numbers().prop_map(Value::from).boxed(),
        Type::String => "[a-c]{0,2}|\\PC{0,40}".prop_map(Value::from).boxed(),
        Type::List(e) => many(e).prop_map(Value::List).boxed(),
        Type::Set(e) => many(e).prop_map(Value::set).boxed(),
        Type::Map(e) => proptest::collection::btree_map("[a-c]{1,2}", value(e), 0..3)
            .prop_map(Value::Map)
            .boxed(),
        Type::Tuple(types) => types
            .iter()
            .map(value)
            .collect::<Vec<_>>()
            .prop_map(Value::List)
            .boxed(),
        Type::Object(fields) => {
            let names: Vec<_> = fields.keys().cloned().collect();
            let values = fields.values().map(value).collect::<Vec<_>>();
            values
                .prop_map(move |vs| Object::from_iter(names.iter().cloned().zip(vs)).into())
                .boxed()
        }
        Type::Dynamic => {
            let concrete =
                Type::Object(BTreeMap::from([("d".to_owned(), Type::list(Type::Number))]));
            value(&concrete)
                .prop_map(move |v| Value::Dynamic(Box::new((concrete.clone(), v))))
                .boxed()
        }
    };
    prop_oneof![8 => known, 1 => Just(Value::Null), 1 => Just(Value::Unknown)].boxed()
}
