//! Configurations and states of a schema, as a host may send them.

use std::collections::BTreeMap;

use metal_proto::tfplugin6::schema::object::NestingMode;

use crate::choices::Choices;
use crate::host::{Attr, Ty, Val};

const NUMBERS: [&str; 8] = [
    "0",
    "1",
    "-2",
    "0.5",
    "0.1",
    "18446744073709551616",
    "123456789012345678901234567890.25",
    "9223372036854775807",
];

/// May values be open until apply?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Plan,
    Apply,
}

/// A configuration that passed the host's own checks of the schema.
pub(crate) fn config(attrs: &[Attr], c: &mut Choices<'_>, when: When) -> Val {
    let one = |a: &Attr| (a.name.clone(), configured(a, c, when));
    Val::Object(attrs.iter().map(one).collect())
}

fn configured(a: &Attr, c: &mut Choices<'_>, when: When) -> Val {
    if let (true, Some((nesting, inner))) = (a.block, &a.nested) {
        if *nesting == NestingMode::Single && c.pick(3) == 0 {
            return Val::Null;
        }
        return arranged(*nesting, c, &mut |c| config(inner, c, when));
    }
    if !a.optional && !a.required || a.optional && c.pick(3) == 0 {
        return Val::Null;
    }
    if when == When::Plan && c.rarely(9) {
        return Val::Unknown;
    }
    match &a.nested {
        None => any(&a.ty, c, when),
        Some((nesting, inner)) => arranged(*nesting, c, &mut |c| {
            if when == When::Plan && *nesting != NestingMode::Single && c.rarely(15) {
                return Val::Unknown;
            }
            config(inner, c, when)
        }),
    }
}

/// A state that a refresh may have brought: anything of the schema's type.
pub(crate) fn state(attrs: &[Attr], c: &mut Choices<'_>) -> Val {
    let one = |a: &Attr| {
        let value = match &a.nested {
            _ if a.write_only || !a.block && c.rarely(5) => Val::Null,
            None => any(&a.ty, c, When::Apply),
            Some((nesting, inner)) => arranged(*nesting, c, &mut |c| state(inner, c)),
        };
        (a.name.clone(), value)
    };
    Val::Object(attrs.iter().map(one).collect())
}

/// What the configuration is at apply: the same, with values in place of what was unknown.
pub(crate) fn resolved(attrs: &[Attr], config: &Val, c: &mut Choices<'_>) -> Val {
    let one = |a: &Attr| {
        let value = config.attr(&a.name);
        let value = match (&a.nested, value) {
            (_, Val::Unknown) => configured(a, c, When::Apply),
            (None, value) => known(&value, &a.ty, c),
            (Some((_, inner)), value) => {
                let mut element = |v: &Val| match v {
                    Val::Unknown => self::config(inner, c, When::Apply),
                    v => resolved(inner, v, c),
                };
                match &value {
                    Val::Object(_) => element(&value),
                    Val::List(es) => Val::List(es.iter().map(element).collect()),
                    Val::Set(es) => Val::set(es.iter().map(element).collect()),
                    Val::Map(es) => {
                        Val::Map(es.iter().map(|(k, v)| (k.clone(), element(v))).collect())
                    }
                    _ => value,
                }
            }
        };
        (a.name.clone(), value)
    };
    Val::Object(attrs.iter().map(one).collect())
}

fn known(value: &Val, ty: &Ty, c: &mut Choices<'_>) -> Val {
    match (value, ty) {
        (Val::Unknown, ty) => any(ty, c, When::Apply),
        (Val::List(es), Ty::List(e)) => Val::List(es.iter().map(|v| known(v, e, c)).collect()),
        (Val::List(es), Ty::Tuple(ts)) => {
            Val::List(es.iter().zip(ts).map(|(v, t)| known(v, t, c)).collect())
        }
        (Val::Set(es), Ty::Set(e)) => Val::set(es.iter().map(|v| known(v, e, c)).collect()),
        (Val::Map(es), Ty::Map(e)) => Val::Map(
            es.iter()
                .map(|(k, v)| (k.clone(), known(v, e, c)))
                .collect(),
        ),
        (Val::Object(fs), Ty::Object(ts)) => Val::Object(
            fs.iter()
                .map(|(k, v)| (k.clone(), known(v, &ts[k], c)))
                .collect(),
        ),
        (Val::Dynamic(inner), _) => {
            let value = known(&inner.1, &inner.0, c);
            Val::Dynamic(Box::new((inner.0.clone(), value)))
        }
        (other, _) => other.clone(),
    }
}

/// The same in other words: text in another mix of upper and lower case.
pub(crate) fn rewritten(value: &Val, c: &mut Choices<'_>) -> Val {
    match value {
        Val::Text(t) => Val::Text(match c.pick(3) {
            0 => t.clone(),
            1 => t.to_ascii_uppercase(),
            _ => t.to_ascii_lowercase(),
        }),
        Val::List(es) => Val::List(es.iter().map(|e| rewritten(e, c)).collect()),
        Val::Set(es) => Val::set(es.iter().map(|e| rewritten(e, c)).collect()),
        Val::Map(es) => Val::Map(
            es.iter()
                .map(|(k, e)| (k.clone(), rewritten(e, c)))
                .collect(),
        ),
        Val::Object(es) => Val::Object(
            es.iter()
                .map(|(k, e)| (k.clone(), rewritten(e, c)))
                .collect(),
        ),
        Val::Dynamic(inner) => Val::Dynamic(Box::new((inner.0.clone(), rewritten(&inner.1, c)))),
        Val::Null | Val::Unknown | Val::Bool(_) | Val::Number(_) => value.clone(),
    }
}

/// A configuration of which this one may come: some of it is not known yet.
pub(crate) fn opened(attrs: &[Attr], config: &Val, c: &mut Choices<'_>) -> Val {
    let one = |a: &Attr| {
        let value = config.attr(&a.name);
        let value = match &a.nested {
            // Blocks are there or not; what they hold may be open.
            Some((_, inner)) if a.block => each(&value, &mut |e| opened(inner, e, c)),
            _ if !a.optional && !a.required || c.rarely(12) => unknown_if(a, value),
            Some((nesting, inner)) => {
                let whole = *nesting != NestingMode::Single;
                each(&value, &mut |e| match e {
                    Val::Object(_) if whole && c.rarely(12) => Val::Unknown,
                    Val::Object(_) => opened(inner, e, c),
                    other => other.clone(),
                })
            }
            None => opened_inside(&value, c),
        };
        (a.name.clone(), value)
    };
    match config {
        Val::Object(_) => Val::Object(attrs.iter().map(one).collect()),
        other => other.clone(),
    }
}

/// What may be set can be open; the rest is null.
fn unknown_if(a: &Attr, value: Val) -> Val {
    if a.optional || a.required {
        Val::Unknown
    } else {
        value
    }
}

fn opened_inside(value: &Val, c: &mut Choices<'_>) -> Val {
    let mut one = |e: &Val| {
        if c.rarely(5) {
            Val::Unknown
        } else {
            opened_inside(e, c)
        }
    };
    match value {
        Val::Object(es) => Val::Object(es.iter().map(|(k, e)| (k.clone(), one(e))).collect()),
        collection => each(collection, &mut one),
    }
}

/// The value with something else in place of each element or attribute; a single object of nested attributes is its own element.
fn each(value: &Val, f: &mut dyn FnMut(&Val) -> Val) -> Val {
    match value {
        Val::List(es) => Val::List(es.iter().map(f).collect()),
        Val::Set(es) => Val::set(es.iter().map(f).collect()),
        Val::Map(es) => Val::Map(es.iter().map(|(k, e)| (k.clone(), f(e))).collect()),
        Val::Object(_) => f(value),
        other => other.clone(),
    }
}

fn arranged(
    nesting: NestingMode,
    c: &mut Choices<'_>,
    one: &mut dyn FnMut(&mut Choices<'_>) -> Val,
) -> Val {
    match nesting {
        NestingMode::Single | NestingMode::Invalid => one(c),
        NestingMode::List => Val::List((0..c.pick(3)).map(|_| one(c)).collect()),
        NestingMode::Set => Val::set((0..c.pick(4)).map(|_| one(c)).collect()),
        NestingMode::Map => Val::Map(keys(c).map(|k| (k, one(c))).collect()),
    }
}

/// Any value of a type but null.
fn any(ty: &Ty, c: &mut Choices<'_>, when: When) -> Val {
    let inside = |ty: &Ty, c: &mut Choices<'_>| {
        if when == When::Plan && c.rarely(12) {
            Val::Unknown
        } else {
            any(ty, c, when)
        }
    };
    match ty {
        Ty::Bool => Val::Bool(c.pick(2) == 1),
        Ty::Number => Val::Number(c.of(&NUMBERS).to_owned()),
        Ty::Text => Val::Text(c.of(&["x", "X", "y", "", "ü"]).to_owned()),
        Ty::List(e) => Val::List((0..c.pick(3)).map(|_| inside(e, c)).collect()),
        Ty::Set(e) => Val::set((0..c.pick(4)).map(|_| inside(e, c)).collect()),
        Ty::Map(e) => Val::Map(keys(c).map(|k| (k, inside(e, c))).collect()),
        Ty::Tuple(ts) => Val::List(ts.iter().map(|t| inside(t, c)).collect()),
        Ty::Object(ts) => {
            // Attributes of a plain object may be null.
            let mut one = |t: &Ty| if c.rarely(6) { Val::Null } else { inside(t, c) };
            Val::Object(ts.iter().map(|(k, t)| (k.clone(), one(t))).collect())
        }
        Ty::Dynamic => {
            let ty = c.of(&[
                Ty::Text,
                Ty::Number,
                Ty::List(Box::new(Ty::Bool)),
                Ty::Tuple(vec![Ty::Text]),
            ]);
            let value = any(&ty, c, when);
            Val::Dynamic(Box::new((ty, value)))
        }
    }
}

fn keys(c: &mut Choices<'_>) -> std::vec::IntoIter<String> {
    let many = c.pick(3);
    let all: BTreeMap<String, ()> = (0..many)
        .map(|_| (c.of(&["k", "l", "m n"]).to_owned(), ()))
        .collect();
    all.into_keys().collect::<Vec<_>>().into_iter()
}
