//! Values as Terraform has them: each may be null, or unknown until apply.
//!
//! A [`Value`] does not carry its type; the schema does. Wire encodings live in `codec`, typed access in [`crate::model`].

mod number;
mod object;
mod ty;

pub use number::{NotANumber, Number};
pub use object::Object;
pub use ty::{NotAType, Type};

use std::collections::BTreeMap;

use crate::path::{Path, Step};

/// A value of any type.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Not set.
    #[default]
    Null,
    /// To be known after apply.
    Unknown,
    /// A truth value.
    Bool(bool),
    /// An exact number.
    Number(Number),
    /// Text.
    String(String),
    /// Elements of a list or a tuple.
    List(Vec<Value>),
    /// Elements of a set, in order and without known duplicates: make it with [`Value::set`].
    Set(Vec<Value>),
    /// Elements of a map.
    Map(BTreeMap<String, Value>),
    /// Attributes.
    Object(Object),
    /// A value that carries its type, where the schema says [`Type::Dynamic`].
    Dynamic(Box<(Type, Value)>),
}

impl Value {
    /// A set of these elements: sorted, so that equal sets are equal values, and duplicates dropped.
    #[must_use]
    pub fn set(elements: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<_> = elements.into_iter().collect();
        all.sort();
        // Two elements that hold something unknown may still turn out different.
        all.dedup_by(|a, b| a == b && a.is_wholly_known());
        Self::Set(all)
    }

    /// Is it null?
    #[must_use]
    pub fn is_null(&self) -> bool {
        if let Self::Dynamic(inner) = self {
            inner.1.is_null()
        } else {
            *self == Self::Null
        }
    }

    /// Is it, as a whole, unknown?
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        if let Self::Dynamic(inner) = self {
            inner.1.is_unknown()
        } else {
            *self == Self::Unknown
        }
    }

    /// Is nothing in it unknown?
    #[must_use]
    pub fn is_wholly_known(&self) -> bool {
        self.first_unknown().is_none()
    }

    /// Where the first unknown value in it is.
    #[must_use]
    pub fn first_unknown(&self) -> Option<Path> {
        match self {
            Self::Unknown => Some(Path::root()),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => None,
            Self::List(es) => (0u64..)
                .zip(es)
                .find_map(|(i, e)| e.first_unknown().map(|p| Path::root().index(i).join(&p))),
            // Elements of a set have no path of their own.
            Self::Set(es) => es
                .iter()
                .find_map(Self::first_unknown)
                .map(|_| Path::root()),
            Self::Map(es) => es
                .iter()
                .find_map(|(k, e)| e.first_unknown().map(|p| Path::root().key(k).join(&p))),
            Self::Object(o) => o
                .iter()
                .find_map(|(k, e)| e.first_unknown().map(|p| Path::root().attr(k).join(&p))),
            Self::Dynamic(inner) => inner.1.first_unknown(),
        }
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(s) = self {
            Some(s)
        } else {
            None
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self {
            Some(*b)
        } else {
            None
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<&Number> {
        if let Self::Number(n) = self {
            Some(n)
        } else {
            None
        }
    }

    /// The attributes, if it is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(o) = self {
            Some(o)
        } else {
            None
        }
    }

    /// The elements of a list or set; nothing for other values.
    #[must_use]
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::List(es) | Self::Set(es) => es,
            Self::Null
            | Self::Unknown
            | Self::Bool(_)
            | Self::Number(_)
            | Self::String(_)
            | Self::Map(_)
            | Self::Object(_)
            | Self::Dynamic(_) => &[],
        }
    }

    /// Elements of a list, set or map that is at `at`, each with its path; elements of sets have the set's.
    pub(crate) fn elements_at(&self, at: &Path) -> Vec<(Path, &Self)> {
        match (self, self.elements()) {
            (Self::Map(es), _) => es.iter().map(|(k, e)| (at.clone().key(k), e)).collect(),
            (Self::Set(es), _) => es.iter().map(|e| (at.clone(), e)).collect(),
            (_, es) => (0u64..)
                .zip(es)
                .map(|(i, e)| (at.clone().index(i), e))
                .collect(),
        }
    }

    /// The value at `path`: null below null, unknown below unknown, null where there is nothing.
    #[must_use]
    pub fn at_path(&self, path: &Path) -> &Self {
        let mut here = self;
        for step in path.steps() {
            here = match (here, step) {
                (Self::Unknown, _) => return &Self::Unknown,
                (Self::Object(o), Step::Attribute(name)) => o.get(name),
                (Self::Map(es), Step::Key(key)) => es.get(key).unwrap_or(&Self::Null),
                (Self::List(es), Step::Index(i)) => usize::try_from(*i)
                    .ok()
                    .and_then(|i| es.get(i))
                    .unwrap_or(&Self::Null),
                _ => return &Self::Null,
            };
        }
        here
    }

    /// The place of `path`, to be written to; none where the way there is null, unknown or leads through a set.
    pub(crate) fn place(&mut self, path: &Path) -> Option<&mut Self> {
        let mut here = self;
        for step in path.steps() {
            here = match (here, step) {
                (Self::Object(o), Step::Attribute(name)) => o.slot(name),
                (Self::Map(es), Step::Key(key)) => es.get_mut(key)?,
                (Self::List(es), Step::Index(i)) => es.get_mut(usize::try_from(*i).ok()?)?,
                _ => return None,
            };
        }
        Some(here)
    }

    /// The same with null in place of everything unknown.
    #[must_use]
    pub fn unknown_as_null(self) -> Self {
        match self {
            Self::Unknown => Self::Null,
            Self::List(es) => Self::List(es.into_iter().map(Self::unknown_as_null).collect()),
            Self::Set(es) => Self::set(es.into_iter().map(Self::unknown_as_null)),
            Self::Map(es) => Self::Map(
                es.into_iter()
                    .map(|(k, e)| (k, e.unknown_as_null()))
                    .collect(),
            ),
            Self::Object(o) => Self::Object(
                o.into_iter()
                    .map(|(k, e)| (k, e.unknown_as_null()))
                    .collect(),
            ),
            Self::Dynamic(inner) => Self::Dynamic(Box::new((inner.0, inner.1.unknown_as_null()))),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => self,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<Number> for Value {
    fn from(n: Number) -> Self {
        Self::Number(n)
    }
}

impl From<Object> for Value {
    fn from(o: Object) -> Self {
        Self::Object(o)
    }
}

macro_rules! from_whole {
    ($($t:ty),*) => { $(impl From<$t> for Value {
        fn from(n: $t) -> Self { Self::Number(Number::from(n)) }
    })* };
}
from_whole!(i32, i64, u16, u32, u64, usize);

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(elements: Vec<T>) -> Self {
        Self::List(elements.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_compare_without_order() {
        let set = |es: &[&str]| Value::set(es.iter().map(|e| Value::from(*e)));
        assert_eq!(set(&["b", "a", "a"]), set(&["a", "b"]));
        assert_eq!(
            Value::set([Value::Unknown, Value::Unknown])
                .elements()
                .len(),
            2
        );
    }

    #[test]
    fn paths_read_and_write() {
        let disks = Value::List(vec![Object::new().with("size", 1).into(), Value::Unknown]);
        let mut v = Value::from(Object::new().with("disks", disks));
        let size = Path::attribute("disks").index(0).attr("size");
        assert_eq!(v.at_path(&size), &Value::from(1));
        assert_eq!(
            v.at_path(&Path::attribute("disks").index(1).attr("size")),
            &Value::Unknown
        );
        assert_eq!(v.at_path(&Path::attribute("disks").index(9)), &Value::Null);
        *v.place(&size).unwrap() = Value::from(2);
        assert_eq!(v.at_path(&size), &Value::from(2));
        assert_eq!(v.first_unknown().unwrap().to_string(), "disks[1]");
        assert!(v.unknown_as_null().is_wholly_known());
    }
}
