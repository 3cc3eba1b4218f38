//! Rust structs for blocks: one declaration of an attribute gives its name, type, documentation and rules.
//!
//! [`model!`](crate::model!) declares a struct whose fields are [`Field`]s, the attributes of its schema, and one typed [`Name`] per attribute,
//! so that no attribute name is written twice. [`choices!`](crate::choices!) declares an enum of words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use crate::function::Takes;
use crate::schema::{Attribute, Nesting, Shape, Validator, validators};
use crate::value::{Number, Object, Type, Value};

/// The name of an attribute, with its Rust type.
pub struct Name<T>(&'static str, PhantomData<fn() -> T>);

impl<T> Name<T> {
    /// A name; `r#` of a raw identifier is dropped.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name, PhantomData)
    }

    /// The name as HCL writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.strip_prefix("r#").unwrap_or(self.0)
    }
}

impl<T> Clone for Name<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Name<T> {}

impl<T> fmt::Debug for Name<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<T> AsRef<str> for Name<T> {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

impl<T> From<Name<T>> for String {
    fn from(name: Name<T>) -> Self {
        name.name().to_owned()
    }
}

/// What an attribute holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field<T> {
    /// Not set.
    #[default]
    Null,
    /// To be known after apply.
    Unknown,
    /// Set and known.
    Known(T),
}

impl<T> Field<T> {
    /// The value, if it is set and known.
    pub fn known(&self) -> Option<&T> {
        if let Self::Known(v) = self {
            Some(v)
        } else {
            None
        }
    }

    /// The value, if it is set and known.
    pub fn into_known(self) -> Option<T> {
        if let Self::Known(v) = self {
            Some(v)
        } else {
            None
        }
    }

    /// Is it not set?
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Is it to be known after apply?
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// Is it set and known?
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }

    /// The same with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Self::Null => Field::Null,
            Self::Unknown => Field::Unknown,
            Self::Known(v) => Field::Known(f(v)),
        }
    }
}

impl<T: FieldType> Field<T> {
    /// Unknown also where `T` cannot hold the value.
    pub(crate) fn from_value_or_unknown(value: &Value) -> Self {
        if value.is_null() {
            Self::Null
        } else if value.is_unknown() {
            Self::Unknown
        } else {
            T::from_value(value).map_or(Self::Unknown, Self::Known)
        }
    }
}

impl<T> From<T> for Field<T> {
    fn from(v: T) -> Self {
        Self::Known(v)
    }
}

impl From<&str> for Field<String> {
    fn from(v: &str) -> Self {
        Self::Known(v.to_owned())
    }
}

impl<T> From<Option<T>> for Field<T> {
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::Null, Self::Known)
    }
}

impl<T: FieldType> From<Field<T>> for Value {
    fn from(field: Field<T>) -> Self {
        match field {
            Field::Null => Self::Null,
            Field::Unknown => Self::Unknown,
            Field::Known(v) => v.into_value(),
        }
    }
}

/// A Rust type that an attribute may have.
pub trait FieldType: Sized {
    /// How the schema shows it.
    fn shape() -> Shape;

    /// Rules that every value of it keeps, checked at `terraform validate`.
    fn validators() -> Vec<Validator> {
        Vec::new()
    }

    /// What an argument of this type may be besides known; see [`parameters!`](crate::parameters!).
    #[doc(hidden)]
    fn takes() -> Takes {
        Takes::Known
    }

    /// The same of the elements, where this type gathers a variadic parameter's arguments.
    #[doc(hidden)]
    fn elements_take() -> Takes {
        Takes::Known
    }

    /// Reads a value that is neither null nor unknown as a whole; none where it is not of this type, or holds something that is unknown
    /// and the type has no room for that.
    fn from_value(value: &Value) -> Option<Self>;

    /// The value.
    fn into_value(self) -> Value;
}

/// A struct of attributes. Implemented by [`model!`](crate::model!).
pub trait Model: Sized {
    /// The schema's attributes.
    fn attributes() -> Vec<Attribute>;

    /// Reads every field; see [`Object::at`].
    fn from_object(object: &Object) -> Self;

    /// Writes every field.
    fn into_object(self) -> Object;
}

impl FieldType for String {
    fn shape() -> Shape {
        Shape::Plain(Type::String)
    }

    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }

    fn into_value(self) -> Value {
        Value::String(self)
    }
}

impl FieldType for bool {
    fn shape() -> Shape {
        Shape::Plain(Type::Bool)
    }

    fn from_value(value: &Value) -> Option<Self> {
        value.as_bool()
    }

    fn into_value(self) -> Value {
        Value::Bool(self)
    }
}

impl FieldType for Number {
    fn shape() -> Shape {
        Shape::Plain(Type::Number)
    }

    fn from_value(value: &Value) -> Option<Self> {
        value.as_number().cloned()
    }

    fn into_value(self) -> Value {
        Value::Number(self)
    }
}

macro_rules! whole_numbers {
    ($($t:ty),*) => { $(impl FieldType for $t {
        fn shape() -> Shape {
            Shape::Plain(Type::Number)
        }

        fn validators() -> Vec<Validator> {
            vec![validators::whole(Number::from(<$t>::MIN), Number::from(<$t>::MAX))]
        }

        fn from_value(value: &Value) -> Option<Self> {
            let number = value.as_number()?;
            let signed = number.to_i64().and_then(|n| <$t>::try_from(n).ok());
            signed.or_else(|| number.to_u64().and_then(|n| <$t>::try_from(n).ok()))
        }

        fn into_value(self) -> Value {
            Value::Number(Number::from(self))
        }
    })* };
}
whole_numbers!(u8, u16, u32, u64, i32, i64);

/// Any value; the attribute's type is dynamic.
impl FieldType for Value {
    fn shape() -> Shape {
        Shape::Plain(Type::Dynamic)
    }

    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }

    fn into_value(self) -> Value {
        self
    }
}

/// An element that may be null or unknown by itself.
impl<T: FieldType> FieldType for Field<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn validators() -> Vec<Validator> {
        T::validators()
    }

    fn takes() -> Takes {
        Takes::Unknown
    }

    fn from_value(value: &Value) -> Option<Self> {
        Some(Self::from_value_or_unknown(value))
    }

    fn into_value(self) -> Value {
        self.into()
    }
}

/// An element or an argument that may be null.
impl<T: FieldType> FieldType for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn validators() -> Vec<Validator> {
        T::validators()
    }

    fn takes() -> Takes {
        Takes::Null
    }

    fn from_value(value: &Value) -> Option<Self> {
        if value.is_null() {
            Some(None)
        } else {
            T::from_value(value).map(Some)
        }
    }

    fn into_value(self) -> Value {
        self.map_or(Value::Null, T::into_value)
    }
}

/// A list.
impl<T: FieldType> FieldType for Vec<T> {
    fn shape() -> Shape {
        T::shape().many(Nesting::List)
    }

    fn validators() -> Vec<Validator> {
        each_of::<T>()
    }

    fn elements_take() -> Takes {
        T::takes()
    }

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::List(es) = value {
            es.iter().map(T::from_value).collect()
        } else {
            None
        }
    }

    fn into_value(self) -> Value {
        Value::List(self.into_iter().map(T::into_value).collect())
    }
}

/// A set of plain values.
impl<T: FieldType + Ord> FieldType for BTreeSet<T> {
    fn shape() -> Shape {
        T::shape().many(Nesting::Set)
    }

    fn validators() -> Vec<Validator> {
        each_of::<T>()
    }

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Set(es) = value {
            es.iter().map(T::from_value).collect()
        } else {
            None
        }
    }

    fn into_value(self) -> Value {
        Value::set(self.into_iter().map(T::into_value))
    }
}

/// A set of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetOf<T>(pub Vec<T>);

impl<T: FieldType> FieldType for SetOf<T> {
    fn shape() -> Shape {
        T::shape().many(Nesting::Set)
    }

    fn validators() -> Vec<Validator> {
        each_of::<T>()
    }

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Set(es) = value {
            es.iter()
                .map(T::from_value)
                .collect::<Option<_>>()
                .map(Self)
        } else {
            None
        }
    }

    fn into_value(self) -> Value {
        Value::set(self.0.into_iter().map(T::into_value))
    }
}

/// A map.
impl<T: FieldType> FieldType for BTreeMap<String, T> {
    fn shape() -> Shape {
        T::shape().many(Nesting::Map)
    }

    fn validators() -> Vec<Validator> {
        each_of::<T>()
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Map(es) = value else { return None };
        es.iter()
            .map(|(k, e)| Some((k.clone(), T::from_value(e)?)))
            .collect()
    }

    fn into_value(self) -> Value {
        Value::Map(self.into_iter().map(|(k, e)| (k, e.into_value())).collect())
    }
}

/// A value without rules inside, for example an object that comes whole from another resource: every attribute of it must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plain<T>(pub T);

impl<T: FieldType> FieldType for Plain<T> {
    fn shape() -> Shape {
        Shape::Plain(T::shape().ty())
    }

    fn validators() -> Vec<Validator> {
        T::validators()
    }

    fn from_value(value: &Value) -> Option<Self> {
        T::from_value(value).map(Self)
    }

    fn into_value(self) -> Value {
        self.0.into_value()
    }
}

fn each_of<T: FieldType>() -> Vec<Validator> {
    T::validators().into_iter().map(validators::each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::model! {
        /// A rule.
        struct Rule {
            /// Raw identifier.
            r#match: String = required(),
            /// Numbers.
            ports: Vec<u16> = optional(),
            /// Nested.
            labels: BTreeMap<String, Leaf> = optional(),
        }
    }
    crate::model! {
        struct Leaf {
            on: bool = optional_computed(),
        }
    }

    #[test]
    fn models_round_trip() {
        assert_eq!(Rule::r#match.name(), "match");
        let rule = Rule {
            r#match: "x".into(),
            ports: vec![1, 2].into(),
            labels: BTreeMap::from([("a".to_owned(), Leaf { on: Field::Unknown })]).into(),
        };
        let object = Object::from(rule.clone());
        assert_eq!(object.model::<Rule>(), rule);
        assert_eq!(object.get("ports"), &Value::from(vec![1, 2]));
    }

    #[test]
    fn what_a_type_cannot_hold_is_unknown() {
        let object = |v: Value| Object::new().with(Rule::ports, v);
        assert_eq!(object(vec![70_000].into()).at(Rule::ports), Field::Unknown);
        assert_eq!(
            object(Value::List(vec![Value::Unknown])).at(Rule::ports),
            Field::Unknown
        );
        assert_eq!(object(Value::Null).at(Rule::ports), Field::Null);
        assert_eq!(
            object(vec![80].into()).at(Rule::ports),
            Field::Known(vec![80])
        );
    }
}
