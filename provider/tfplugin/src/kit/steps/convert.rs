//! Values of HCL to the types of a schema, values to JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::scope::text;
use crate::path::Path;
use crate::value::{Number, Type, Value};

/// The value in the schema's type, as hosts convert it; missing attributes are null.
pub(super) fn conform(value: Value, ty: &Type, at: &Path) -> Result<Value, String> {
    let wrong = |what: &str| {
        Err(format!(
            "Incorrect attribute value type: `{at}` must be {what}."
        ))
    };
    match (ty, value) {
        (Type::Dynamic, value) => Ok(dynamic(value)),
        (_, Value::Null) => Ok(Value::Null),
        (_, Value::Unknown) => Ok(Value::Unknown),
        (Type::String, value) => match text(&value) {
            Ok(text) => Ok(text.map_or(Value::Unknown, Value::from)),
            Err(_) => wrong("a string"),
        },
        (Type::Number, Value::Number(n)) => Ok(Value::Number(n)),
        (Type::Number, Value::String(s)) => match s.parse::<Number>() {
            Ok(n) => Ok(n.into()),
            Err(_) => wrong("a number"),
        },
        (Type::Number, _) => wrong("a number"),
        (Type::Bool, Value::Bool(b)) => Ok(b.into()),
        (Type::Bool, value) => match value.as_str() {
            Some("true") => Ok(true.into()),
            Some("false") => Ok(false.into()),
            _ => wrong("a bool"),
        },
        (Type::List(element), Value::List(es) | Value::Set(es)) => {
            elements(es, element, at).map(Value::List)
        }
        (Type::Set(element), Value::List(es) | Value::Set(es)) => {
            elements(es, element, at).map(Value::set)
        }
        (Type::Tuple(types), Value::List(es)) if types.len() == es.len() => {
            let all = (0..).zip(es).zip(types);
            let all = all.map(|((i, e), t)| conform(e, t, &at.clone().index(i)));
            all.collect::<Result<_, _>>().map(Value::List)
        }
        (Type::List(_) | Type::Set(_) | Type::Tuple(_), _) => wrong("a list"),
        (Type::Map(element), value) => match fields(value) {
            Some(fields) => {
                let all = fields.into_iter().map(|(key, value)| {
                    let value = conform(value, element, &at.clone().key(&key))?;
                    Ok((key, value))
                });
                all.collect::<Result<_, _>>().map(Value::Map)
            }
            None => wrong("a map"),
        },
        (Type::Object(types), value) => match fields(value) {
            Some(fields) => object(fields, types, at),
            None => wrong("an object"),
        },
    }
}

fn object(
    mut fields: BTreeMap<String, Value>,
    types: &BTreeMap<String, Type>,
    at: &Path,
) -> Result<Value, String> {
    let all = types.iter().map(|(name, ty)| {
        let value = fields.remove(name).unwrap_or_default();
        Ok((name.clone(), conform(value, ty, &at.clone().attr(name))?))
    });
    let object = all.collect::<Result<_, String>>()?;
    // Engines drop it in silence; here it is a slip of the pen.
    match fields.keys().next() {
        Some(unknown) => Err(format!("Unsupported argument: `{at}` has no `{unknown}`.")),
        None => Ok(Value::Object(object)),
    }
}

fn elements(all: Vec<Value>, ty: &Type, at: &Path) -> Result<Vec<Value>, String> {
    let all = (0..).zip(all);
    all.map(|(i, e)| conform(e, ty, &at.clone().index(i)))
        .collect()
}

fn fields(value: Value) -> Option<BTreeMap<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields.into_iter().collect()),
        Value::Map(elements) => Some(elements),
        Value::Null
        | Value::Unknown
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::List(_)
        | Value::Set(_)
        | Value::Dynamic(_) => None,
    }
}

/// A value with the type that it has by itself.
fn dynamic(value: Value) -> Value {
    if matches!(value, Value::Null | Value::Unknown | Value::Dynamic(_)) {
        return value;
    }
    Value::Dynamic(Box::new((own_type(&value), value)))
}

fn own_type(value: &Value) -> Type {
    match value {
        Value::Bool(_) => Type::Bool,
        Value::Number(_) => Type::Number,
        Value::String(_) => Type::String,
        Value::List(es) | Value::Set(es) => Type::Tuple(es.iter().map(own_type).collect()),
        Value::Map(es) => Type::Object(es.iter().map(|(k, v)| (k.clone(), own_type(v))).collect()),
        Value::Object(o) => Type::Object(o.iter().map(|(k, v)| (k.clone(), own_type(v))).collect()),
        Value::Dynamic(inner) => inner.0.clone(),
        Value::Null | Value::Unknown => Type::Dynamic,
    }
}

/// The value as JSON, null in place of what is unknown. For people and comparisons: numbers are `f64`.
pub(super) fn json(value: &Value) -> Json {
    match value {
        Value::Null | Value::Unknown => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => {
            serde_json::from_str(&n.to_string()).unwrap_or_else(|_| n.to_f64().into())
        }
        Value::String(s) => s.as_str().into(),
        Value::List(es) | Value::Set(es) => es.iter().map(json).collect(),
        Value::Map(es) => map(es.iter(), json),
        Value::Object(o) => map(o.iter(), json),
        Value::Dynamic(inner) => json(&inner.1),
    }
}

/// `true` in place of everything unknown, as engines print it.
pub(super) fn unknowns(value: &Value) -> Json {
    match value {
        Value::Unknown => true.into(),
        Value::List(es) | Value::Set(es) => es.iter().map(unknowns).collect(),
        Value::Map(es) => map(es.iter(), unknowns),
        Value::Object(o) => map(o.iter(), unknowns),
        Value::Dynamic(inner) => unknowns(&inner.1),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false.into(),
    }
}

fn map<'a>(
    fields: impl Iterator<Item = (&'a String, &'a Value)>,
    each: fn(&Value) -> Json,
) -> Json {
    let all: Map<_, _> = fields.map(|(k, v)| (k.clone(), each(v))).collect();
    all.into()
}

/// The value as a state stores it: JSON text with exact numbers.
pub(super) fn stored(value: &Value) -> String {
    let quoted = |s: &str| Json::from(s).to_string();
    let listed = |es: &[Value]| es.iter().map(stored).collect::<Vec<_>>().join(",");
    let fields = |fields: &mut dyn Iterator<Item = (&String, &Value)>| {
        let all: Vec<_> = fields
            .map(|(k, v)| format!("{}:{}", quoted(k), stored(v)))
            .collect();
        format!("{{{}}}", all.join(","))
    };
    match value {
        Value::Null | Value::Unknown => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => quoted(s),
        Value::List(es) | Value::Set(es) => format!("[{}]", listed(es)),
        Value::Map(es) => fields(&mut es.iter()),
        Value::Object(o) => fields(&mut o.iter()),
        Value::Dynamic(inner) => format!(
            "{{\"type\":{},\"value\":{}}}",
            inner.0.to_json(),
            stored(&inner.1)
        ),
    }
}
