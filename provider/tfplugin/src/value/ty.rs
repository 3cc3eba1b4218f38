//! Types as the protocol writes them: a JSON expression such as `["list","string"]`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// An exact number.
    Number,
    /// Unicode text.
    String,
    /// Ordered elements of one type.
    List(Box<Type>),
    /// Distinct elements of one type, without order.
    Set(Box<Type>),
    /// Elements of one type under text keys.
    Map(Box<Type>),
    /// Attributes, each of its own type.
    Object(BTreeMap<String, Type>),
    /// Elements, each of its own type.
    Tuple(Vec<Type>),
    /// Any type; the value carries it.
    Dynamic,
}

/// The JSON is no type expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a type expression: {0}")]
pub struct NotAType(String);

impl Type {
    /// `list(element)`.
    #[must_use]
    pub fn list(element: Self) -> Self {
        Self::List(Box::new(element))
    }

    /// `set(element)`.
    #[must_use]
    pub fn set(element: Self) -> Self {
        Self::Set(Box::new(element))
    }

    /// `map(element)`.
    #[must_use]
    pub fn map(element: Self) -> Self {
        Self::Map(Box::new(element))
    }

    /// The type expression.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Bool => json!("bool"),
            Self::Number => json!("number"),
            Self::String => json!("string"),
            Self::Dynamic => json!("dynamic"),
            Self::List(e) => json!(["list", e.to_json()]),
            Self::Set(e) => json!(["set", e.to_json()]),
            Self::Map(e) => json!(["map", e.to_json()]),
            Self::Tuple(es) => json!(["tuple", es.iter().map(Self::to_json).collect::<Vec<_>>()]),
            Self::Object(attributes) => {
                let fields: serde_json::Map<_, _> = attributes
                    .iter()
                    .map(|(name, t)| (name.clone(), t.to_json()))
                    .collect();
                json!(["object", fields])
            }
        }
    }

    /// Reads a type expression.
    ///
    /// # Errors
    /// [`NotAType`] with the part that is none.
    pub fn from_json(json: &Json) -> Result<Self, NotAType> {
        let bad = || NotAType(json.to_string());
        if let Some(name) = json.as_str() {
            return match name {
                "bool" => Ok(Self::Bool),
                "number" => Ok(Self::Number),
                "string" => Ok(Self::String),
                "dynamic" => Ok(Self::Dynamic),
                _ => Err(bad()),
            };
        }
        let parts = json.as_array().ok_or_else(bad)?;
        // A third part of an object lists optional attributes; they are null where absent.
        let [kind, inner, ..] = parts.as_slice() else {
            return Err(bad());
        };
        match kind.as_str() {
            Some("list") => Ok(Self::list(Self::from_json(inner)?)),
            Some("set") => Ok(Self::set(Self::from_json(inner)?)),
            Some("map") => Ok(Self::map(Self::from_json(inner)?)),
            Some("tuple") => {
                let elements = inner.as_array().ok_or_else(bad)?;
                Ok(Self::Tuple(
                    elements
                        .iter()
                        .map(Self::from_json)
                        .collect::<Result<_, _>>()?,
                ))
            }
            Some("object") => {
                let fields = inner.as_object().ok_or_else(bad)?;
                let typed = fields
                    .iter()
                    .map(|(name, t)| Ok((name.clone(), Self::from_json(t)?)));
                Ok(Self::Object(typed.collect::<Result<_, _>>()?))
            }
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_round_trip() {
        for text in [
            r#""string""#,
            r#"["list","number"]"#,
            r#"["set",["object",{"a":"bool","b":["map","dynamic"]}]]"#,
            r#"["tuple",["string","number"]]"#,
        ] {
            let json: Json = serde_json::from_str(text).unwrap();
            assert_eq!(Type::from_json(&json).unwrap().to_json(), json);
        }
        for text in [r#""int""#, "[]", r#"["list"]"#, r#"["object",[]]"#, "7"] {
            assert!(
                Type::from_json(&serde_json::from_str(text).unwrap()).is_err(),
                "{text}"
            );
        }
    }
}
