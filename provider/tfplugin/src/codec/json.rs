//! JSON, as states are stored.
//!
//! Lenient where a schema has grown or shrunk without a new version: attributes that are not in the schema are dropped, missing ones are null.
//! Numbers are read from their text, so that they stay exact.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use crate::codec::{CodecError, Missing, at_index, collected};
use crate::path::Path;
use crate::value::{Object, Type, Value};

/// Dynamic values may hold dynamic values.
const DEPTH_MAX: usize = 64;

/// Reads a value of `ty`. JSON has no unknown.
pub(crate) fn from_bytes(bytes: &[u8], ty: &Type) -> Result<Value, CodecError> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| CodecError::Malformed("text that is not UTF-8"))?;
    read(text, ty, Missing::Null, DEPTH_MAX)
}

fn read(text: &str, ty: &Type, missing: Missing, depth: usize) -> Result<Value, CodecError> {
    let misfit = RefCell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let seed = Seed {
        ty,
        missing,
        depth,
        misfit: &misfit,
    };
    let read = seed
        .deserialize(&mut json)
        .and_then(|v| json.end().map(|()| v));
    read.map_err(|_| {
        misfit.take().unwrap_or(CodecError::Malformed(
            "text that is no JSON, or nested too deeply",
        ))
    })
}

/// A type that reads its values in one pass.
#[derive(Clone, Copy)]
struct Seed<'a> {
    ty: &'a Type,
    missing: Missing,
    depth: usize,
    /// The parser's errors are text: the one with the path is kept here on the way out.
    misfit: &'a RefCell<Option<CodecError>>,
}

impl Seed<'_> {
    fn misfit<E: serde::de::Error>(&self) -> E {
        self.failed(CodecError::expected(self.ty))
    }

    fn failed<E: serde::de::Error>(&self, why: CodecError) -> E {
        self.misfit.replace(Some(why));
        E::custom("")
    }

    /// Tells where the misfit inside was.
    fn within(&self, at: impl FnOnce() -> Path) {
        let inside = self.misfit.take();
        self.misfit.replace(inside.map(|why| why.within(&at())));
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        // These two are read from their text: digits stay exact, and a dynamic value's type may come after the value.
        if matches!(self.ty, Type::Number | Type::Dynamic) {
            let raw: &RawValue = serde::Deserialize::deserialize(json)?;
            let read = match raw.get() {
                "null" => Ok(Value::Null),
                text if *self.ty == Type::Number => number(text),
                text => dynamic(text, self.depth),
            };
            return read.map_err(|why| self.failed(why));
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    /// Also called for every kind of value that has no method here.
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.misfit.replace(Some(CodecError::expected(self.ty)));
        f.write_str("another type")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, b: bool) -> Result<Value, E> {
        match self.ty {
            Type::Bool => Ok(Value::Bool(b)),
            _ => Err(self.misfit()),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        match self.ty {
            Type::String => Ok(Value::String(text.to_owned())),
            _ => Err(self.misfit()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut json: A) -> Result<Value, A::Error> {
        let mut types = match self.ty {
            Type::List(e) | Type::Set(e) => Types::Same(e),
            Type::Tuple(es) => Types::Each(es.iter()),
            _ => return Err(self.misfit()),
        };
        let mut elements = Vec::new();
        while let Some(ty) = types.next() {
            let element = json.next_element_seed(Seed { ty, ..self });
            match element.inspect_err(|_| self.within(|| at_index(elements.len())))? {
                Some(element) => elements.push(element),
                None if matches!(types, Types::Same(_)) => return Ok(collected(self.ty, elements)),
                None => return Err(self.misfit()),
            }
        }
        match json.next_element::<IgnoredAny>()? {
            None => Ok(collected(self.ty, elements)),
            Some(_) => Err(self.misfit()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut json: A) -> Result<Value, A::Error> {
        match self.ty {
            Type::Map(ty) => {
                let mut elements = BTreeMap::new();
                while let Some(key) = json.next_key::<String>()? {
                    let value = json.next_value_seed(Seed { ty, ..self });
                    let value = value.inspect_err(|_| self.within(|| Path::root().key(&key)))?;
                    elements.insert(key, value);
                }
                Ok(Value::Map(elements))
            }
            Type::Object(attributes) => self.object(attributes, json),
            _ => Err(self.misfit()),
        }
    }
}

impl Seed<'_> {
    fn object<'de, A: MapAccess<'de>>(
        self,
        attributes: &BTreeMap<String, Type>,
        mut json: A,
    ) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(key) = json.next_key::<Key<'de>>()? {
            let Some((name, ty)) = attributes.get_key_value(key.as_str()) else {
                json.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = json.next_value_seed(Seed { ty, ..self });
            let value = value.inspect_err(|_| self.within(|| Path::attribute(name)))?;
            object.put(name.clone(), value);
        }
        if object.iter().len() < attributes.len() {
            if self.missing == Missing::Refused {
                return Err(A::Error::custom("missing attributes"));
            }
            for name in attributes.keys() {
                object.slot(name);
            }
        }
        Ok(Value::Object(object))
    }
}

/// The types of the elements to come.
enum Types<'a> {
    Same(&'a Type),
    Each(std::slice::Iter<'a, Type>),
}

impl<'a> Types<'a> {
    fn next(&mut self) -> Option<&'a Type> {
        match self {
            Self::Same(ty) => Some(ty),
            Self::Each(types) => types.next(),
        }
    }
}

/// A name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

impl Key<'_> {
    fn as_str(&self) -> &str {
        &self.0
    }
}

/// Terraform writes numbers as JSON numbers; text is what other tools leave.
fn number(text: &str) -> Result<Value, CodecError> {
    let quoted = serde_json::from_str::<String>(text);
    let digits = quoted.as_deref().unwrap_or(text);
    digits
        .parse()
        .map(Value::Number)
        .map_err(|_| CodecError::expected(&Type::Number))
}

/// `{"type": …, "value": …}`.
fn dynamic(text: &str, depth: usize) -> Result<Value, CodecError> {
    let bad = || CodecError::expected(&Type::Dynamic);
    let depth = depth
        .checked_sub(1)
        .ok_or(CodecError::Malformed("nested too deeply"))?;
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|_| bad())?;
    let (Some(ty), Some(value)) = (fields.get("type"), fields.get("value")) else {
        return Err(bad());
    };
    let ty = serde_json::from_str(ty.get()).map_err(|_| bad())?;
    let ty = Type::from_json(&ty).map_err(|_| bad())?;
    let value = read(value.get(), &ty, Missing::Refused, depth)?;
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
        for (text, ty, at) in [
            (r#"{"disks":{}}"#, &ty, "expected a list at `disks`"),
            (
                r#"{"disks":[{},7]}"#,
                &ty,
                "expected an object at `disks[1]`",
            ),
            (
                r#"{"k":[true]}"#,
                &Type::map(Type::list(Type::String)),
                r#"expected a string at `["k"][0]`"#,
            ),
            (
                r#"["a"]"#,
                &Type::Tuple(vec![Type::String, Type::Bool]),
                "expected a tuple",
            ),
            (
                r#"["a",true,1]"#,
                &Type::Tuple(vec![Type::String, Type::Bool]),
                "expected a tuple",
            ),
            ("true", &Type::Number, "expected a number"),
        ] {
            let said = from_bytes(text.as_bytes(), ty).unwrap_err().to_string();
            assert!(said.starts_with(at), "{text}: {said}");
        }
    }

    #[test]
    fn types_that_values_bring_along_are_not_trusted() {
        let check = |text: &str| from_bytes(text.as_bytes(), &Type::Dynamic).is_ok();
        assert!(check(r#"{"value":[1,"2"],"type":["list","number"]}"#));
        assert!(!check(r#"{"type":["object",{"a":"bool"}],"value":{}}"#));
        let deep = r#"{"type":"dynamic","value":"#.repeat(100_000);
        assert!(!check(&deep));
        assert!(!check(&(deep + "1" + &"}".repeat(100_000))));
        assert!(from_bytes("[".repeat(100_000).as_bytes(), &Type::list(Type::Bool)).is_err());
    }

    proptest! {
        #[test]
        fn hostile_text_does_not_panic(text in "[\\[\\]{}\",:a0-9.e-]{0,40}", ty in types()) {
            let _ = from_bytes(text.as_bytes(), &ty);
        }
    }
}
