//! JSON, as states are stored.
//!
//! Lenient where a schema has grown or shrunk without a new version: attributes that are not in the schema are dropped, missing ones are null.
//! Numbers are read from their text, so that they stay exact.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::codec::{CodecError, at_index, collected};
use crate::path::Path;
use crate::value::{Object, Type, Value};

/// Reads a value of `ty`. JSON has no unknown.
pub(crate) fn from_bytes(bytes: &[u8], ty: &Type) -> Result<Value, CodecError> {
    let raw: &RawValue = parse(
        std::str::from_utf8(bytes).map_err(|_| CodecError::Malformed("text that is not UTF-8"))?,
    )?;
    read(raw, ty)
}

fn parse<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, CodecError> {
    serde_json::from_str(text)
        .map_err(|_| CodecError::Malformed("JSON of another shape than the schema"))
}

fn read(raw: &RawValue, ty: &Type) -> Result<Value, CodecError> {
    let text = raw.get().trim();
    if text == "null" {
        return Ok(Value::Null);
    }
    let misfit = |_| CodecError::expected(ty);
    match ty {
        Type::Bool => parse(text).map(Value::Bool).map_err(misfit),
        Type::String => parse(text).map(Value::String).map_err(misfit),
        Type::Number => {
            // Terraform writes numbers as JSON numbers; text is what other tools leave.
            let number = parse::<String>(text).unwrap_or_else(|_| text.to_owned());
            number
                .parse()
                .map(Value::Number)
                .map_err(|_| CodecError::expected(ty))
        }
        Type::List(e) | Type::Set(e) => {
            let elements = parse::<Vec<&RawValue>>(text).map_err(misfit)?;
            let values = elements.into_iter().enumerate();
            let values =
                values.map(|(i, raw)| read(raw, e).map_err(|err| err.within(&at_index(i))));
            Ok(collected(ty, values.collect::<Result<_, _>>()?))
        }
        Type::Tuple(types) => {
            let elements = parse::<Vec<&RawValue>>(text).map_err(misfit)?;
            if elements.len() != types.len() {
                return Err(CodecError::expected(ty));
            }
            elements
                .into_iter()
                .zip(types)
                .map(|(raw, t)| read(raw, t))
                .collect::<Result<_, _>>()
                .map(Value::List)
        }
        Type::Map(e) => {
            let elements = parse::<BTreeMap<String, &RawValue>>(text).map_err(misfit)?;
            let values = elements.into_iter().map(|(k, raw)| {
                let value = read(raw, e).map_err(|err| err.within(&Path::root().key(&k)))?;
                Ok((k, value))
            });
            values.collect::<Result<_, _>>().map(Value::Map)
        }
        Type::Object(attributes) => {
            let fields = parse::<BTreeMap<String, &RawValue>>(text).map_err(misfit)?;
            let values = attributes.iter().map(|(name, t)| {
                let value = match fields.get(name) {
                    Some(raw) => read(raw, t).map_err(|err| err.within(&Path::attribute(name)))?,
                    None => Value::Null,
                };
                Ok((name.clone(), value))
            });
            values.collect::<Result<Object, _>>().map(Value::Object)
        }
        Type::Dynamic => dynamic(text),
    }
}

/// `{"type": …, "value": …}`.
fn dynamic(text: &str) -> Result<Value, CodecError> {
    let bad = |_| CodecError::expected(&Type::Dynamic);
    let fields = parse::<BTreeMap<String, &RawValue>>(text).map_err(bad)?;
    let (Some(ty), Some(value)) = (fields.get("type"), fields.get("value")) else {
        return Err(CodecError::expected(&Type::Dynamic));
    };
    let ty =
        Type::from_json(&parse(ty.get())?).map_err(|_| CodecError::expected(&Type::Dynamic))?;
    let value = read(value, &ty)?;
    Ok(Value::Dynamic(Box::new((ty, value))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary::types;
    use proptest::prelude::*;

    fn object(fields: &[(&str, Type)]) -> Type {
        Type::Object(
            fields
                .iter()
                .map(|(n, t)| ((*n).to_owned(), t.clone()))
                .collect(),
        )
    }

    #[test]
    fn states_are_read_leniently_and_exactly() {
        let ty = object(&[
            ("n", Type::Number),
            ("tags", Type::set(Type::String)),
            ("new", Type::Bool),
            ("any", Type::Dynamic),
        ]);
        let text = r#"{"n":123456789012345678901234567890.5,"tags":["b","a"],"gone":[1],"any":{"type":"bool","value":true}}"#;
        let value = from_bytes(text.as_bytes(), &ty).unwrap();
        assert_eq!(
            value
                .at_path(&Path::attribute("n"))
                .as_number()
                .unwrap()
                .to_string(),
            "123456789012345678901234567890.5"
        );
        assert_eq!(
            value.at_path(&Path::attribute("tags")),
            &Value::set(["a".into(), "b".into()])
        );
        assert_eq!(value.at_path(&Path::attribute("new")), &Value::Null);
        assert_eq!(value.as_object().unwrap().get("gone"), &Value::Null);
    }

    #[test]
    fn misfits_name_their_path() {
        let ty = object(&[("disks", Type::list(object(&[("size", Type::Number)])))]);
        let error = from_bytes(br#"{"disks":[{"size":"big"}]}"#, &ty).unwrap_err();
        assert_eq!(error.to_string(), "expected a number at `disks[0].size`");
        assert!(from_bytes(b"[", &ty).is_err());
    }

    proptest! {
        #[test]
        fn hostile_text_does_not_panic(text in "[\\[\\]{}\",:a0-9.e-]{0,40}", ty in types()) {
            let _ = from_bytes(text.as_bytes(), &ty);
        }
    }
}
