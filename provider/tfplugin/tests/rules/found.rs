//! Mistakes of the engine that the random cases found, by name, each in its smallest form.

use std::collections::BTreeMap;
use std::sync::Arc;

use tfplugin::schema::{
    Attribute, Nesting, Schema, Shape, block, optional, optional_computed, required,
};
use tfplugin::{Object, Type};

use crate::host::Val;
use crate::session::{Action, Planned, Session};
use crate::subject::{Habits, Subject, same_text};

fn text(name: &str, spec: Attribute) -> Attribute {
    Attribute::dynamic(name, Shape::Plain(Type::String), spec)
}

fn nested(name: &str, nesting: Nesting, inner: Vec<Attribute>, spec: Attribute) -> Attribute {
    Attribute::dynamic(name, Shape::Nested(nesting, inner), spec)
}

fn object(fields: &[(&str, Val)]) -> Val {
    Val::Object(
        fields
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect::<BTreeMap<_, _>>(),
    )
}

fn word(text: &str) -> Val {
    Val::Text(text.to_owned())
}

async fn session(attribute: Attribute, habits: Habits) -> Session {
    let schema = Schema::new("").attribute(attribute);
    Session::new(Arc::new(Subject { schema, habits }))
        .await
        .unwrap()
}

/// The plan of this configuration on this state: accepted by the host, or refused with words about the configuration.
async fn check(attribute: Attribute, habits: Habits, prior: &Val, config: &Val) -> Option<Planned> {
    let session = session(attribute, habits).await;
    session.plan(prior, config).await.unwrap()
}

#[tokio::test]
async fn write_only_values_inside_an_object_that_the_resource_plans() {
    let inner = vec![
        text("name", optional_computed()),
        text("key", optional().write_only()),
    ];
    let a = nested("a", Nesting::Single, inner, optional_computed());
    for seed in 0..8 {
        let habits = Habits {
            seed,
            plans_early: true,
            ..Habits::default()
        };
        let plan = check(a.clone(), habits, &Val::Null, &object(&[("a", Val::Null)])).await;
        assert_eq!(plan.unwrap().action, Action::Create);
    }
}

#[tokio::test]
async fn write_only_values_inside_a_default() {
    let inner = vec![
        text("name", optional()),
        text("key", optional().write_only()),
    ];
    let a = nested(
        "a",
        Nesting::Single,
        inner,
        optional().default(Object::new().with("key", "k")),
    );
    let plan = check(
        a,
        Habits::default(),
        &Val::Null,
        &object(&[("a", Val::Null)]),
    )
    .await;
    let empty = object(&[("name", Val::Null), ("key", Val::Null)]);
    assert_eq!(plan.unwrap().value, object(&[("a", empty)]));
}

#[tokio::test]
async fn a_reason_to_replace_inside_something_unknown() {
    let inner = vec![text("name", optional().requires_replace())];
    let named = |name: Val| object(&[("name", name)]);
    for (nesting, empty, open) in [
        (Nesting::Single, Val::Null, Val::Unknown),
        (
            Nesting::List,
            Val::List(vec![named(Val::Null)]),
            Val::List(vec![Val::Unknown]),
        ),
        (Nesting::Map, Val::Map(BTreeMap::new()), Val::Unknown),
    ] {
        let a = nested("a", nesting, inner.clone(), optional());
        let (prior, config) = (object(&[("a", empty)]), object(&[("a", open)]));
        let plan = check(a, Habits::default(), &prior, &config).await;
        assert_eq!(plan.unwrap().action, Action::Replace, "{nesting:?}");
    }
}

#[tokio::test]
async fn elements_of_a_set_that_a_default_makes_equal() {
    let a = nested(
        "a",
        Nesting::Set,
        vec![text("mode", optional().default("x"))],
        required(),
    );
    let of = |modes: &[Val]| {
        Val::set(
            modes
                .iter()
                .map(|m| object(&[("mode", m.clone())]))
                .collect(),
        )
    };
    let same = object(&[("a", of(&[Val::Null, word("x")]))]);
    assert!(
        check(a.clone(), Habits::default(), &Val::Null, &same)
            .await
            .is_none()
    );
    let other = object(&[("a", of(&[Val::Null, word("y")]))]);
    assert!(
        check(a, Habits::default(), &Val::Null, &other)
            .await
            .is_some()
    );
}

/// Elements of sets that stay, in other words, with `mode` or `name` open in the first plan.
fn element(mode: Val, name: Val) -> Val {
    object(&[("mode", mode), ("name", name)])
}

/// What is planned for a part of the configuration must hold for the whole of it.
#[tokio::test]
async fn words_of_a_set_that_is_open_in_part() {
    let inner = || {
        vec![
            text("mode", optional().same_if(same_text)),
            text("name", optional().same_if(same_text)),
        ]
    };
    let set = |elements: &[Val]| object(&[("a", Val::set(elements.to_vec()))]);
    let prior = set(&[element(word("x"), word("y"))]);
    for (open, then) in [
        // It turns out to mean the state's element.
        (
            vec![element(word("X"), Val::Unknown)],
            vec![element(word("X"), word("y"))],
        ),
        // It does not.
        (
            vec![element(word("X"), Val::Unknown)],
            vec![element(word("X"), word("z"))],
        ),
        // It turns out to mean an element that another one means, too.
        (
            vec![
                element(word("x"), word("Z")),
                element(Val::Unknown, word("y")),
            ],
            vec![element(word("x"), word("Z")), element(word("X"), word("y"))],
        ),
    ] {
        for spec in [optional(), block()] {
            let s = session(nested("a", Nesting::Set, inner(), spec), Habits::default()).await;
            crate::lived(&s, &prior, &set(&open), &set(&then))
                .await
                .unwrap();
        }
    }
}

/// The host takes a plain collection as it is configured or as it was, never something between.
#[tokio::test]
async fn words_of_a_collection_that_is_open_in_part() {
    let list = |es: Vec<Val>| Val::List(es);
    let map = |es: Vec<Val>| {
        let keyed = ["k", "l"].iter().map(|k| (*k).to_owned()).zip(es);
        Val::Map(keyed.collect())
    };
    let check = async |ty: Type, of: fn(Vec<Val>) -> Val| {
        let a = Attribute::dynamic("a", Shape::Plain(ty), optional().same_if(same_text));
        let s = session(a, Habits::default()).await;
        let of = |es: [Val; 2]| object(&[("a", of(es.to_vec()))]);
        let prior = of([word("x"), word("y")]);
        let open = of([word("X"), Val::Unknown]);
        let then = of([word("X"), word("y")]);
        crate::lived(&s, &prior, &open, &then).await.unwrap();
    };
    check(Type::list(Type::String), list).await;
    check(Type::set(Type::String), Val::set).await;
    check(Type::map(Type::String), map).await;
}
