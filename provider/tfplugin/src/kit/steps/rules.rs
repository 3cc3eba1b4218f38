//! What a host demands of a plan and of a result, in the host's words. Written from the host's side, shared with nothing of the engine.

use super::schema::Attr;
use crate::path::Path;
use crate::schema::Nesting;
use crate::value::{Object, Value};

/// Checks a plan against configuration and prior state.
pub(super) fn plan_is_valid(
    attributes: &[Attr],
    config: &Object,
    prior: Option<&Object>,
    planned: &Object,
) -> Result<(), String> {
    planned_object(attributes, config, prior, planned, &Path::root())
        .map_err(|why| format!("Provider produced invalid plan: {why}"))
}

fn planned_object(
    attributes: &[Attr],
    config: &Object,
    prior: Option<&Object>,
    planned: &Object,
    at: &Path,
) -> Result<(), String> {
    for a in attributes {
        let before = prior.map_or(&Value::Null, |p| p.get(&a.name));
        let at = at.clone().attr(&a.name);
        planned_value(a, config.get(&a.name), before, planned.get(&a.name), &at)?;
    }
    Ok(())
}

fn planned_value(
    a: &Attr,
    config: &Value,
    prior: &Value,
    planned: &Value,
    at: &Path,
) -> Result<(), String> {
    if a.write_only {
        return if planned.is_null() {
            Ok(())
        } else {
            Err(format!("`{at}` is write-only and has a value"))
        };
    }
    if planned == config || (planned == prior && !prior.is_null() && !config.is_null()) {
        return Ok(());
    }
    if config.is_null() && a.computed {
        return Ok(());
    }
    let wrong = || {
        Err(format!(
            "`{at}`: planned {planned:?} does not match the configuration {config:?}"
        ))
    };
    let Some((nesting, inner)) = &a.nested else {
        return wrong();
    };
    match (nesting, config, planned) {
        (Nesting::Single, Value::Object(c), Value::Object(p)) => {
            planned_object(inner, c, prior.as_object(), p, at)
        }
        (Nesting::List, Value::List(cs), Value::List(ps)) if cs.len() == ps.len() => {
            for ((i, c), p) in (0..).zip(cs).zip(ps) {
                let before = prior
                    .elements()
                    .get(usize::try_from(i).unwrap_or(usize::MAX));
                element(inner, c, before, p, &at.clone().index(i))?;
            }
            Ok(())
        }
        (Nesting::Map, Value::Map(cs), Value::Map(ps)) if cs.keys().eq(ps.keys()) => {
            for (key, c) in cs {
                let at = at.clone().key(key);
                let before = if let Value::Map(elements) = prior {
                    elements.get(key)
                } else {
                    None
                };
                element(inner, c, before, &ps[key], &at)?;
            }
            Ok(())
        }
        // Elements of sets have no partner that a host could find; their number is what it compares.
        (Nesting::Set, Value::Set(cs), Value::Set(ps)) if cs.len() == ps.len() => Ok(()),
        _ => wrong(),
    }
}

fn element(
    inner: &[Attr],
    config: &Value,
    prior: Option<&Value>,
    planned: &Value,
    at: &Path,
) -> Result<(), String> {
    match (config, planned) {
        (Value::Object(c), Value::Object(p)) => {
            planned_object(inner, c, prior.and_then(Value::as_object), p, at)
        }
        (c, p) if c == p => Ok(()),
        _ => Err(format!("`{at}` is not what the configuration says")),
    }
}

/// Checks a later value against an earlier one: what was known stays, what was unknown may be anything.
pub(super) fn agrees(planned: &Value, now: &Value, at: &Path) -> Result<(), String> {
    let differ = || Err(format!("`{at}`: was {planned:?}, but now {now:?}"));
    match (planned, now) {
        (Value::Unknown, _) => Ok(()),
        (Value::Object(p), Value::Object(n)) => {
            for (name, value) in p {
                agrees(value, n.get(name), &at.clone().attr(name))?;
            }
            Ok(())
        }
        (Value::Map(p), Value::Map(n)) if p.keys().eq(n.keys()) => {
            for (key, value) in p {
                agrees(value, &n[key], &at.clone().key(key))?;
            }
            Ok(())
        }
        (Value::List(p), Value::List(n)) if p.len() == n.len() => {
            for ((i, value), now) in (0..).zip(p).zip(n) {
                agrees(value, now, &at.clone().index(i))?;
            }
            Ok(())
        }
        // An element that was not known may have become like another one.
        (Value::Set(p), Value::Set(n)) if !planned.is_wholly_known() && n.len() <= p.len() => {
            Ok(())
        }
        (p, n) if p == n => Ok(()),
        _ => differ(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_stays() {
        let planned = Value::from(Object::new().with("a", 1).with("b", Value::Unknown));
        let at = Path::root();
        let now = |a: i64| Value::from(Object::new().with("a", a).with("b", "x"));
        assert_eq!(agrees(&planned, &now(1), &at), Ok(()));
        let why = agrees(&planned, &now(2), &at).unwrap_err();
        assert!(why.starts_with("`a`: was"), "{why}");
    }
}
