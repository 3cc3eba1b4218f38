//! Random schemas, configurations and states against the host's rules, which are written down here a second time.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::{only_local_changes, plan, replacements, settle};
use crate::diagnostics::Diagnostics;
use crate::model::Name;
use crate::path::Path;
use crate::schema::{
    Attribute, Nesting, OnUnknown, Presence, Schema, Shape, computed, optional, optional_computed,
    required,
};
use crate::value::{Object, Type, Value};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Where generated attributes stand: it decides what a schema may say there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Block,
    Set,
    Computed,
}

fn plain_types() -> impl Strategy<Value = Type> {
    prop_oneof![
        3 => Just(Type::String),
        1 => Just(Type::Bool),
        1 => Just(Type::Number),
        1 => Just(Type::list(Type::String)),
        1 => Just(Type::set(Type::Number)),
        1 => Just(Type::map(Type::String)),
    ]
}

/// A known value of a small domain, so that values meet.
fn small(ty: &Type) -> BoxedStrategy<Value> {
    let words = prop_oneof![Just("x"), Just("y")].prop_map(Value::from);
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Type::Number => (0..3i64).prop_map(Value::from).boxed(),
        Type::List(_) => proptest::collection::vec(words, 0..3)
            .prop_map(Value::List)
            .boxed(),
        Type::Set(_) => proptest::collection::vec((0..3i64).prop_map(Value::from), 0..3)
            .prop_map(Value::set)
            .boxed(),
        Type::Map(_) => proptest::collection::btree_map("[kl]", words, 0..3)
            .prop_map(Value::Map)
            .boxed(),
        Type::String | Type::Object(_) | Type::Tuple(_) | Type::Dynamic => words.boxed(),
    }
}

fn attributes(depth: u32, within: Within) -> BoxedStrategy<Vec<Attribute>> {
    proptest::collection::vec(attribute(depth, within), 1..=NAMES.len())
        .prop_map(|specs| {
            let named = specs.into_iter().zip(NAMES);
            named
                .map(|(a, n)| Attribute::dynamic(n, a.shape().clone(), a))
                .collect()
        })
        .boxed()
}

fn attribute(depth: u32, within: Within) -> BoxedStrategy<Attribute> {
    let presence = match within {
        Within::Block => prop_oneof![
            Just(Presence::Required),
            Just(Presence::Optional),
            Just(Presence::Computed),
            Just(Presence::OptionalComputed)
        ]
        .boxed(),
        Within::Set => prop_oneof![Just(Presence::Required), Just(Presence::Optional)].boxed(),
        Within::Computed => Just(Presence::Computed).boxed(),
    };
    presence
        .prop_flat_map(move |presence| {
            let plain =
                plain_types().prop_flat_map(move |ty| flagged(Shape::Plain(ty), presence, within));
            if depth == 0 {
                return plain.boxed();
            }
            let nestings = prop_oneof![
                Just(Nesting::Single),
                Just(Nesting::List),
                Just(Nesting::Set),
                Just(Nesting::Map)
            ];
            let nested = nestings.prop_flat_map(move |nesting| {
                let below = match (presence, nesting) {
                    (Presence::Computed, _) => Within::Computed,
                    (_, Nesting::Set) => Within::Set,
                    _ => within,
                };
                attributes(depth - 1, below).prop_flat_map(move |inner| {
                    flagged(Shape::Nested(nesting, inner), presence, within)
                })
            });
            prop_oneof![3 => plain, 2 => nested].boxed()
        })
        .boxed()
}

/// The modifiers that make sense for such an attribute.
fn flagged(shape: Shape, presence: Presence, within: Within) -> BoxedStrategy<Attribute> {
    let default = match &shape {
        Shape::Plain(ty) => proptest::option::weighted(0.4, small(ty)).boxed(),
        Shape::Nested(..) => Just(None).boxed(),
    };
    let flags = (any::<bool>(), any::<bool>(), 0..4u8, default);
    flags
        .prop_map(move |(keep, replace, rare, default)| {
            let spec = match presence {
                Presence::Required => required(),
                Presence::Optional => optional(),
                Presence::Computed => computed(),
                Presence::OptionalComputed => optional_computed(),
            };
            let mut a = Attribute::dynamic("", shape.clone(), spec);
            let may_default = matches!(presence, Presence::Optional | Presence::OptionalComputed);
            if let (true, Some(value)) = (may_default, default) {
                a = a.default(value);
            }
            if keep && a.is_computed() {
                a = a.use_state_for_unknown();
            }
            if replace {
                a = a.requires_replace();
            }
            match rare {
                0 if !a.is_computed() && within == Within::Block => a.write_only(),
                1 => a.local(),
                _ => a,
            }
        })
        .boxed()
}

/// May values be unknown?
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Plan,
    Apply,
}

fn configs(all: &[Attribute], when: When) -> BoxedStrategy<Object> {
    let values: Vec<_> = all.iter().map(|a| config(a, when)).collect();
    let names: Vec<_> = all.iter().map(|a| a.name().to_owned()).collect();
    values
        .prop_map(move |vs| names.iter().cloned().zip(vs).collect())
        .boxed()
}

fn config(a: &Attribute, when: When) -> BoxedStrategy<Value> {
    let nulls = match a.presence() {
        Presence::Computed => return Just(Value::Null).boxed(),
        Presence::Required => 0,
        Presence::Optional | Presence::OptionalComputed => 3,
    };
    let unknowns = u32::from(when == When::Plan);
    let known = value(a, &|inner| configs(inner, when));
    prop_oneof![6 => known, nulls => Just(Value::Null), unknowns => Just(Value::Unknown)].boxed()
}

/// A value of an attribute whose objects come from `objects`.
fn value(
    a: &Attribute,
    objects: &dyn Fn(&[Attribute]) -> BoxedStrategy<Object>,
) -> BoxedStrategy<Value> {
    match a.shape() {
        Shape::Plain(ty) => small(ty),
        Shape::Nested(nesting, inner) => {
            let one = objects(inner).prop_map(Value::Object);
            match nesting {
                Nesting::Single => one.boxed(),
                Nesting::List => proptest::collection::vec(one, 0..3)
                    .prop_map(Value::List)
                    .boxed(),
                Nesting::Set => proptest::collection::vec(one, 0..3)
                    .prop_map(Value::set)
                    .boxed(),
                Nesting::Map => proptest::collection::btree_map("[kl]", one, 0..3)
                    .prop_map(Value::Map)
                    .boxed(),
            }
        }
    }
}

/// What a resource does with a plan: it finds a value for everything that is unknown. The values are all alike, but typed.
fn decided(all: &[Attribute], planned: &Object) -> Object {
    all.iter()
        .map(|a| (a.name().to_owned(), decide(a, planned.get(a.name()))))
        .collect()
}

fn decide(a: &Attribute, planned: &Value) -> Value {
    match (planned, a.shape()) {
        (Value::Unknown, Shape::Plain(Type::Bool)) => true.into(),
        (Value::Unknown, Shape::Plain(Type::Number)) => 2.into(),
        (Value::Unknown, Shape::Plain(Type::String)) => "decided".into(),
        // Null is a fine answer to "known after apply".
        (Value::Unknown, _) => Value::Null,
        (Value::Object(o), Shape::Nested(_, inner)) => decided(inner, o).into(),
        (Value::List(es), Shape::Nested(..)) => {
            Value::List(es.iter().map(|e| decide(a, e)).collect())
        }
        (Value::Map(es), Shape::Nested(..)) => {
            Value::Map(es.iter().map(|(k, e)| (k.clone(), decide(a, e))).collect())
        }
        (known, _) => known.clone(),
    }
}

/// The host's check of a plan: every breach of a rule.
fn breaches(
    all: &[Attribute],
    config: &Object,
    prior: Option<&Object>,
    planned: &Object,
) -> Vec<String> {
    let mut found = Vec::new();
    for a in all {
        let before = prior.map_or(&Value::Null, |p| p.get(a.name()));
        for b in breach(a, config.get(a.name()), before, planned.get(a.name())) {
            found.push(format!("{}: {b}", a.name()));
        }
    }
    found
}

fn breach(a: &Attribute, config: &Value, prior: &Value, planned: &Value) -> Vec<String> {
    if a.write_only {
        return if planned.is_null() {
            vec![]
        } else {
            vec!["write-only value in the plan".into()]
        };
    }
    if planned == config || (planned == prior && !prior.is_null() && !config.is_null()) {
        return vec![];
    }
    if config.is_null() && a.is_computed() {
        return vec![];
    }
    let different = || vec![format!("planned {planned:?}, configured {config:?}")];
    let Shape::Nested(nesting, inner) = a.shape() else {
        return different();
    };
    let one = |c: &Value, p: &Value, n: &Value| match (c, n) {
        (Value::Object(c), Value::Object(n)) => breaches(inner, c, p.as_object(), n),
        _ if c == n => vec![],
        _ => vec![format!("element {n:?} for {c:?}")],
    };
    match (nesting, config, planned) {
        (Nesting::Single, c, n) => one(c, prior, n),
        (Nesting::List, Value::List(cs), Value::List(ns)) if cs.len() == ns.len() => {
            let before = |i: usize| prior.elements().get(i).cloned().unwrap_or_default();
            (0..cs.len())
                .flat_map(|i| one(&cs[i], &before(i), &ns[i]))
                .collect()
        }
        (Nesting::Map, Value::Map(cs), Value::Map(ns)) if cs.keys().eq(ns.keys()) => {
            let before = |k: &String| prior.at_path(&Path::root().key(k)).clone();
            cs.iter()
                .flat_map(|(k, c)| one(c, &before(k), &ns[k]))
                .collect()
        }
        (Nesting::Set, Value::Set(cs), Value::Set(ns)) => {
            let fits = |n: &&Value| cs.iter().any(|c| one(c, &Value::Null, n).is_empty());
            ns.iter()
                .filter(|n| !fits(n))
                .map(|n| format!("set element {n:?}"))
                .collect()
        }
        _ => different(),
    }
}

/// What a plan must hold where the provider decides: every deviation. An object that the state does not have has no state to keep.
fn decisions(
    all: &[Attribute],
    config: &Object,
    prior: Option<&Object>,
    planned: &Object,
) -> Vec<String> {
    let mut found = Vec::new();
    for a in all.iter().filter(|a| !a.write_only) {
        let (c, n) = (config.get(a.name()), planned.get(a.name()));
        let before = prior.map(|p| p.get(a.name()));
        let decided = c.is_null() && a.is_computed() && a.default.is_none();
        let expected = match (a.on_unknown, before) {
            (OnUnknown::KeepState, Some(before)) => before,
            _ => &Value::Unknown,
        };
        if decided && n != expected {
            found.push(format!("{}: {n:?}, not {expected:?}", a.name()));
        }
        let Shape::Nested(nesting, inner) = a.shape() else {
            continue;
        };
        let pairs: Vec<_> = match nesting {
            Nesting::Single => vec![(Path::root(), c)],
            Nesting::List | Nesting::Map => c.elements_at(&Path::root()),
            Nesting::Set => vec![],
        };
        for (at, c) in pairs {
            let before = before.and_then(|b| b.at_path(&at).as_object());
            if let (Value::Object(c), Value::Object(n)) = (c, n.at_path(&at)) {
                found.extend(decisions(inner, c, before, n));
            }
        }
    }
    found
}

/// A schema, a configuration that is applied, and one that is planned after it.
fn cases() -> impl Strategy<Value = (Arc<Schema>, Object, Object)> {
    attributes(2, Within::Block).prop_flat_map(|all| {
        let first = configs(&all, When::Apply);
        let second = configs(&all, When::Plan);
        let schema = Schema {
            attributes: all,
            ..Schema::default()
        };
        (Just(Arc::new(schema)), first, second)
    })
}

fn create(schema: &Arc<Schema>, config: &Object) -> Object {
    let planned = plan(schema, None, config.clone());
    let returned = decided(&schema.attributes, planned.planned_object());
    let mut found = Diagnostics::new();
    let state = settle(
        &schema.attributes,
        planned.planned_object(),
        returned,
        &mut found,
    );
    assert!(found.is_empty(), "{found}");
    state
}

fn without_write_only(all: &[Attribute], config: &Object) -> Object {
    let keep = |a: &&Attribute| !a.write_only;
    all.iter()
        .filter(keep)
        .map(|a| (a.name().to_owned(), config.get(a.name()).clone()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn generated_schemas_are_sound((schema, _, _) in cases()) {
        prop_assert_eq!(schema.mistakes(), vec![]);
    }

    #[test]
    fn creations_keep_the_rules((schema, _, config) in cases()) {
        let planned = plan(&schema, None, config.clone());
        prop_assert_eq!(breaches(&schema.attributes, &config, None, planned.planned_object()), Vec::<String>::new());
        prop_assert_eq!(decisions(&schema.attributes, &config, None, planned.planned_object()), Vec::<String>::new());
        for a in schema.attributes.iter().filter(|a| config.get(a.name()).is_null()) {
            if let Some(default) = &a.default {
                prop_assert_eq!(planned.planned_object().get(a.name()), default);
            }
        }
    }

    #[test]
    fn updates_keep_the_rules((schema, first, second) in cases()) {
        let prior = create(&schema, &first);
        let planned = plan(&schema, Some(prior.clone()), second.clone());
        let all = &schema.attributes;
        prop_assert_eq!(breaches(all, &second, Some(&prior), planned.planned_object()), Vec::<String>::new());
        if planned.touched {
            let found = decisions(all, &second, Some(&prior), planned.planned_object());
            prop_assert_eq!(found, Vec::<String>::new());
        }
        for path in replacements(all, &second, &prior, planned.planned_object()) {
            prop_assert!(planned.changes(path.clone()), "{} does not change", path);
        }
    }

    #[test]
    fn a_second_plan_is_empty((schema, config, _) in cases()) {
        let state = create(&schema, &config);
        prop_assert!(Value::from(state.clone()).is_wholly_known());
        let again = plan(&schema, Some(state.clone()), config.clone());
        prop_assert_eq!(again.planned_object(), &state);
        prop_assert!(!again.touched && !again.changes_anything());
        prop_assert_eq!(replacements(&schema.attributes, &config, &state, again.planned_object()), BTreeSet::new());
    }

    #[test]
    fn nothing_is_unknown_unless_something_declared_changes((schema, first, second) in cases()) {
        let prior = create(&schema, &first);
        let planned = plan(&schema, Some(prior.clone()), second.clone());
        let local = |name: &str| schema.attributes.iter().any(|a| a.name() == name && a.local);
        let declared = without_write_only(&schema.attributes, &second);
        let same = declared.iter().filter(|(n, _)| !local(n)).all(|(n, v)| v == first.get(n));
        if same {
            let others = planned.planned_object().iter().filter(|(n, _)| !local(n));
            for (name, value) in others {
                prop_assert_eq!(value, prior.get(name), "{}", name);
            }
        }
    }

    #[test]
    fn settled_states_are_the_plan((schema, first, second) in cases()) {
        let prior = create(&schema, &first);
        // At apply the host has resolved everything that the configuration left open.
        let config: Object = second.into_iter().map(|(n, v)| {
            let resolved = if v.is_wholly_known() { v } else { first.get(&n).clone() };
            (n, resolved)
        }).collect();
        let planned = plan(&schema, Some(prior), config);
        let planned = planned.planned_object();
        for returned in [decided(&schema.attributes, planned), Object::new()] {
            let complete = returned != Object::new();
            let mut found = Diagnostics::new();
            let state = settle(&schema.attributes, planned, returned, &mut found);
            prop_assert!(Value::from(state.clone()).is_wholly_known());
            prop_assert!(!complete || found.is_empty(), "{}", found);
            for (name, value) in planned.iter().filter(|(_, v)| v.is_wholly_known()) {
                prop_assert_eq!(state.get(name), value);
            }
        }
    }
}

fn text(name: &'static str, spec: Attribute) -> Attribute {
    Attribute::of(Name::<String>::new(name), "", spec)
}

#[test]
fn local_changes_stay_in_the_state() {
    let all = vec![
        text("id", computed()),
        text("name", required()),
        text("mode", optional().local()),
    ];
    let schema = Arc::new(Schema {
        attributes: all,
        ..Schema::default()
    });
    let config = |name: &str, mode: &str| Object::new().with("name", name).with("mode", mode);
    let state = create(&schema, &config("n", "fast"));
    let check = |c: Object| {
        plan(&schema, Some(state.clone()), c)
            .planned_object()
            .clone()
    };
    let local = check(config("n", "slow"));
    assert_eq!(local.get("id"), &Value::from("decided"));
    assert!(only_local_changes(&schema.attributes, &state, &local));
    let real = check(config("m", "slow"));
    assert_eq!(real.get("id"), &Value::Unknown);
    assert!(!only_local_changes(&schema.attributes, &state, &real));
}

#[test]
fn a_result_that_differs_from_the_plan_is_named() {
    let all = vec![
        text("id", computed()),
        text("name", required()),
        text("token", computed().sensitive()),
    ];
    let planned = Object::new()
        .with("id", Value::Unknown)
        .with("name", "n")
        .with("token", "secret");
    let returned = Object::new()
        .with("id", Value::Unknown)
        .with("name", "m")
        .with("token", "other");
    let mut found = Diagnostics::new();
    let state = settle(&all, &planned, returned, &mut found);
    let details: Vec<_> = found.iter().map(|d| d.detail.as_str()).collect();
    insta::assert_snapshot!(details.join("\n"), @r#"
    `id` is still unknown after the operation; it is null in the state.
    `name` was planned as "n" and came out as "m".
    `token` came out different from the plan.
    "#);
    assert_eq!(state.get("id"), &Value::Null);
}

#[test]
fn a_removed_or_unknown_value_replaces_where_a_change_would() {
    let all = vec![
        text("key", optional().requires_replace()),
        text("own", computed().requires_replace()),
    ];
    let prior = Object::new().with("key", "k").with("own", "o");
    let check = |key: Value| {
        let config = Object::new().with("key", key.clone());
        let planned = Object::new().with("key", key).with("own", Value::Unknown);
        replacements(&all, &config, &prior, &planned)
    };
    let by_key = BTreeSet::from([Path::attribute("key")]);
    assert_eq!(check("k".into()), BTreeSet::new());
    assert_eq!(check(Value::Null), by_key);
    assert_eq!(check(Value::Unknown), by_key);
}

#[test]
fn a_plan_refuses_what_the_host_would_refuse() {
    let nested = Attribute::dynamic(
        "place",
        Shape::Nested(
            Nesting::Single,
            vec![text("row", optional()), text("tag", computed())],
        ),
        optional(),
    );
    let schema = Arc::new(Schema {
        attributes: vec![
            text("id", computed()),
            text("name", required()),
            text("color", optional_computed()),
            text("key", optional().write_only()),
            nested,
        ],
        ..Schema::default()
    });
    let config = Object::new()
        .with("name", "n")
        .with("color", "red")
        .with("place", Object::new().with("row", "1"));
    let mut plan = plan(&schema, None, config);
    plan.set("id", "n");
    plan.set(Path::attribute("place").attr("tag"), "t");
    assert_eq!(plan.planned_object().get("id"), &Value::from("n"));
    let tag = Path::attribute("place").attr("tag");
    assert_eq!(plan.planned.at_path(&tag), &Value::from("t"));
    for path in ["name", "color", "key", "nothing", "place"] {
        plan.set(path, "x");
    }
    plan.require_replace("nothing");
    let said: Vec<_> = plan.mistakes.iter().map(|d| d.detail.as_str()).collect();
    insta::assert_snapshot!(said.join("\n"), @"
    The plan of `name` was refused: it is for the configuration to set.
    The plan of `color` was refused: it is set by the configuration.
    The plan of `key` was refused: it is write-only.
    The plan of `nothing` was refused: it is not in the schema.
    The plan of `place` was refused: it is for the configuration to set.
    The plan of `nothing` was refused: it is the reason of a replacement and is not in the schema.
    ");
}
