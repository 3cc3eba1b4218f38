//! Different words for the same: which value keeps the words that it has.
//!
//! A plan keeps the state's words where the configuration means the same, a state the plan's where the resource answers in its own.
//!
//! The host plans twice, and the first time parts of the configuration may be unknown. Whatever is planned then must hold the second time.
//! So a plan decides about words one text, number or bool at a time ([`reworded`]): such a value is either unknown, and its plan promises
//! nothing, or it is the same both times. A decision about a whole collection or a whole element of a set would not be.

use crate::path::Path;
use crate::schema::{Attribute, SameIf, Shape};
use crate::value::{Object, Value};

/// The words that a plan has for a configured value: those of the first of `befores` that means the same. A collection is planned as it is
/// configured, for the host takes it as configured or as it was, and which of these could depend on what is not known yet.
pub(super) fn planned<'a>(
    same: &SameIf,
    mut befores: impl Iterator<Item = &'a Value> + Clone,
    config: Value,
) -> Value {
    if befores.clone().any(|b| *b == config) {
        return config;
    }
    match befores.find(|b| alike_alone(b, &config) && same(b, &config)) {
        Some(before) => before.clone(),
        None => config,
    }
}

/// Are both single values of one type? Then nothing of one can be known while the rest is not.
fn alike_alone(before: &Value, config: &Value) -> bool {
    match (before, config) {
        (Value::Dynamic(b), Value::Dynamic(c)) => b.0 == c.0 && alike_alone(&b.1, &c.1),
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => true,
        _ => false,
    }
}

/// The elements of a set in the words of the state's elements. Elements of a set have no place, so each value in them takes the words that
/// any element of the state has for it there. Two elements that would become one keep their own.
pub(super) fn reworded(inner: &[Attribute], elements: Vec<Value>, states: &[Value]) -> Value {
    let states: Vec<_> = states.iter().collect();
    let own = Value::set(elements);
    let states = if inner.iter().any(has_words) {
        states
    } else {
        Vec::new()
    };
    if states.is_empty() {
        return own;
    }
    let each = own.elements().iter().cloned();
    let kept = Value::set(each.map(|e| reword_element(inner, e, &states)));
    if kept.elements().len() == own.elements().len() {
        kept
    } else {
        own
    }
}

fn has_words(a: &Attribute) -> bool {
    a.same_if.is_some() || a.nested().iter().any(has_words)
}

fn reword_element(inner: &[Attribute], element: Value, states: &[&Value]) -> Value {
    let Value::Object(mut object) = element else {
        return element;
    };
    for a in inner.iter().filter(|a| has_words(a)) {
        let before = states
            .iter()
            .filter_map(|s| Some(s.as_object()?.get(a.name())));
        let own = object.take(a.name());
        let value = match (a.shape(), &a.same_if) {
            (Shape::Nested(_, inner), _) => reword_nested(inner, own, &before.collect::<Vec<_>>()),
            (Shape::Plain(_), Some(same)) => planned(same, before, own),
            (Shape::Plain(_), None) => own,
        };
        object.put(a.name(), value);
    }
    Value::Object(object)
}

fn reword_nested(inner: &[Attribute], own: Value, befores: &[&Value]) -> Value {
    match own {
        Value::List(es) => {
            let at = |i: usize| befores.iter().filter_map(move |b| b.elements().get(i));
            let each = es.into_iter().enumerate();
            let each = each.map(|(i, e)| reword_element(inner, e, &at(i).collect::<Vec<_>>()));
            Value::List(each.collect())
        }
        Value::Map(es) => {
            let each = es.into_iter().map(|(k, e)| {
                let at = Path::root().key(&k);
                let before: Vec<_> = befores.iter().map(|b| b.at_path(&at)).collect();
                (k, reword_element(inner, e, &before))
            });
            Value::Map(each.collect())
        }
        Value::Set(es) => {
            let before: Vec<_> = befores.iter().flat_map(|b| b.elements()).cloned().collect();
            reworded(inner, es, &before)
        }
        single => reword_element(inner, single, befores),
    }
}

/// Do two values of an attribute differ in words at most?
pub(super) fn alike(a: &Attribute, before: &Value, after: &Value) -> bool {
    before == after || has_words(a) && keep_attribute(a, before, after.clone()) == *before
}

/// Two elements of a set that mean the same, if there are such.
pub(super) fn twins(inner: &[Attribute], elements: &[Value]) -> bool {
    let plain = |a: &&Attribute| !has_words(a);
    if inner.iter().all(|a| plain(&a)) {
        return false;
    }
    let objects: Vec<_> = elements
        .iter()
        .filter(|e| e.is_wholly_known())
        .filter_map(Value::as_object)
        .collect();
    let twins = |x: &Object, y: &Object| {
        let mut plain = inner.iter().filter(plain);
        plain.all(|a| x.get(a.name()) == y.get(a.name())) && keep(inner, x, y.clone()) == *x
    };
    let mut rest = objects.as_slice();
    while let [first, others @ ..] = rest {
        if others.iter().any(|other| twins(first, other)) {
            return true;
        }
        rest = others;
    }
    false
}

/// Do two values mean the same, in every element of a collection? The host takes such a value as a whole or not at all.
fn means(same: &SameIf, before: &Value, after: &Value) -> bool {
    let known = |v: &Value| v.is_wholly_known() && !v.is_null();
    if before == after {
        return true;
    }
    if !known(before) || !known(after) {
        return false;
    }
    if same(before, after) {
        return true;
    }
    match (before, after) {
        (Value::List(bs), Value::List(es)) => {
            bs.len() == es.len() && bs.iter().zip(es).all(|(b, e)| means(same, b, e))
        }
        (Value::Map(bs), Value::Map(es)) => {
            bs.keys().eq(es.keys()) && bs.values().zip(es.values()).all(|(b, e)| means(same, b, e))
        }
        (Value::Set(bs), Value::Set(es)) => {
            let partners = partners(es, bs, |e, b| means(same, b, e));
            bs.len() == es.len() && partners.iter().all(Option::is_some)
        }
        _ => false,
    }
}

/// For each element of a set its partner among `before`, each of which is given away once: an equal one first.
fn partners<'a>(
    elements: &[Value],
    before: &'a [Value],
    same: impl Fn(&Value, &Value) -> bool,
) -> Vec<Option<&'a Value>> {
    let mut free: Vec<_> = before.iter().map(Some).collect();
    // Sets are sorted.
    let equal = |e: &Value| before.binary_search(e).ok();
    let mut found: Vec<_> = elements
        .iter()
        .map(|e| equal(e).and_then(|i| free[i].take()))
        .collect();
    for (element, partner) in elements.iter().zip(&mut found) {
        if partner.is_none() {
            let next = free
                .iter_mut()
                .find(|f| f.is_some_and(|b| same(element, b)));
            *partner = next.and_then(Option::take);
        }
    }
    found
}

/// What was found, in the words of `before` where these mean the same.
fn keep(attributes: &[Attribute], before: &Object, mut found: Object) -> Object {
    for a in attributes {
        let value = keep_attribute(a, before.get(a.name()), found.take(a.name()));
        found.put(a.name(), value);
    }
    found
}

/// As [`keep`], for one attribute.
pub(super) fn keep_attribute(a: &Attribute, before: &Value, found: Value) -> Value {
    if before.is_null() || found.is_null() {
        return found;
    }
    match (a.shape(), &a.same_if) {
        (Shape::Nested(_, inner), _) => keep_nested(inner, before, found),
        (Shape::Plain(_), Some(same)) if means(same, before, &found) => before.clone(),
        (Shape::Plain(_), _) => found,
    }
}

fn keep_nested(inner: &[Attribute], before: &Value, found: Value) -> Value {
    match (before, found) {
        (Value::Object(b), Value::Object(f)) => Value::Object(keep(inner, b, f)),
        (Value::List(bs), Value::List(fs)) => {
            let each = |(i, f)| match bs.get(i) {
                Some(b) => keep_nested(inner, b, f),
                None => f,
            };
            Value::List(fs.into_iter().enumerate().map(each).collect())
        }
        (Value::Map(bs), Value::Map(fs)) => {
            let each = |(k, f)| match bs.get(&k) {
                Some(b) => (k, keep_nested(inner, b, f)),
                None => (k, f),
            };
            Value::Map(fs.into_iter().map(each).collect())
        }
        (Value::Set(bs), Value::Set(fs)) => {
            let same = |f: &Value, b: &Value| keep_nested(inner, b, f.clone()) == *b;
            let partners = partners(&fs, bs, same);
            let pairs = fs.iter().zip(partners);
            Value::set(pairs.map(|(f, partner)| partner.unwrap_or(f).clone()))
        }
        (_, found) => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model as _;
    use crate::schema::same;

    crate::model! {
        struct Disk {
            /// How large.
            size: String = optional().same_if(same::size),
            /// What it is called.
            label: String = optional(),
        }
    }
    crate::model! {
        struct Host {
            /// Disks in order.
            disks: Vec<Disk> = optional(),
            /// Disks without.
            spare: crate::SetOf<Disk> = optional(),
            /// How long.
            keep: String = optional().same_if(same::duration),
        }
    }

    fn disk(size: &str, label: &str) -> Value {
        Object::new()
            .with(Disk::size, size)
            .with(Disk::label, label)
            .into()
    }

    #[test]
    fn words_are_kept_where_they_mean_the_same() {
        let host = |disks: Vec<Value>, spare: Vec<Value>, keep: &str| {
            Object::new()
                .with(Host::disks, Value::List(disks))
                .with(Host::spare, Value::set(spare))
                .with(Host::keep, keep)
        };
        let before = host(
            vec![disk("1GiB", "a")],
            vec![disk("1KB", "a"), disk("1KiB", "b"), disk("2KB", "c")],
            "90m",
        );
        let found = host(
            vec![disk("1024MiB", "z"), disk("1MB", "b")],
            vec![disk("1024", "b"), disk("1000B", "a"), disk("2000", "d")],
            "1h30m",
        );
        let kept = host(
            vec![disk("1GiB", "z"), disk("1MB", "b")],
            vec![disk("1KB", "a"), disk("1KiB", "b"), disk("2000", "d")],
            "90m",
        );
        assert_eq!(keep(&Host::attributes(), &before, found), kept);
    }

    #[test]
    fn a_plan_takes_words_from_anywhere_in_the_states_set() {
        let inner = Disk::attributes();
        let states = [disk("1GiB", "a"), disk("1KB", "b"), disk("1000B", "c")];
        let check = |elements: Vec<Value>, kept: Vec<Value>| {
            assert_eq!(reworded(&inner, elements, &states), Value::set(kept));
        };
        check(
            vec![disk("1024MiB", "z"), disk("1000", "b")],
            vec![disk("1GiB", "z"), disk("1KB", "b")],
        );
        // A value that the state has, too, is in its words already.
        check(vec![disk("1000B", "b")], vec![disk("1000B", "b")]);
        let open = Object::new()
            .with(Disk::size, "1024MiB")
            .with(Disk::label, Value::Unknown);
        let kept = Object::new()
            .with(Disk::size, "1GiB")
            .with(Disk::label, Value::Unknown);
        check(vec![open.into()], vec![kept.into()]);
        // Two that would become one.
        let both = vec![disk("1024MiB", "z"), disk("1GiB", "z")];
        assert!(twins(&inner, &both));
        check(both.clone(), both);
        assert!(!twins(&inner, &[disk("1GiB", "z"), disk("1024MiB", "y")]));
    }

    #[test]
    fn partners_are_given_away_once() {
        let (all, some) = (
            [Value::from("A"), Value::from("a"), Value::from("b")],
            [Value::from("A"), Value::from("c")],
        );
        let found = partners(&all, &some, same::ignoring_case);
        assert_eq!(found, [Some(&some[0]), None, None]);
    }
}
