//! Different words for the same: which value keeps the words that it has.
//!
//! A plan keeps the state's words where the configuration means the same, a state the plan's where the resource answers in its own.

use crate::schema::{Attribute, SameIf, Shape};
use crate::value::{Object, Value};

/// Do two values mean the same, in every element of a collection? The host takes such a value as a whole or not at all.
pub(super) fn means(same: &SameIf, before: &Value, after: &Value) -> bool {
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
pub(super) fn partners<'a>(
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
pub(super) fn keep(attributes: &[Attribute], before: &Object, mut found: Object) -> Object {
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
    fn partners_are_given_away_once() {
        let (all, some) = (
            [Value::from("A"), Value::from("a"), Value::from("b")],
            [Value::from("A"), Value::from("c")],
        );
        let found = partners(&all, &some, same::ignoring_case);
        assert_eq!(found, [Some(&some[0]), None, None]);
    }
}
