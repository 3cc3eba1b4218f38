//! The attributes of a block or a nested object.

use std::collections::{BTreeMap, btree_map};

use crate::model::{Field, FieldType, Model, Name};
use crate::value::Value;

/// Attribute names and values, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object(BTreeMap<String, Value>);

impl Object {
    /// No attributes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The attribute's value; null where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// The attribute's value in its Rust type.
    ///
    /// A value that the type cannot hold reads as [`Field::Unknown`]: the type's validators have told the user why,
    /// and nothing may be concluded from it.
    #[must_use]
    pub fn at<T: FieldType>(&self, name: Name<T>) -> Field<T> {
        Field::from_value_or_unknown(self.get(name.name()))
    }

    /// All attributes as a [`Model`].
    #[must_use]
    pub fn model<M: Model>(&self) -> M {
        M::from_object(self)
    }

    /// Sets an attribute.
    pub fn put(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets an attribute, builder style.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.put(name, value);
        self
    }

    /// Every attribute.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Value> {
        self.0.iter()
    }

    pub(crate) fn slot(&mut self, name: &str) -> &mut Value {
        self.0.entry(name.to_owned()).or_default()
    }

    pub(crate) fn take(&mut self, name: &str) -> Value {
        self.0.remove(name).unwrap_or_default()
    }
}

impl FromIterator<(String, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = btree_map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Object {
    type Item = (&'a String, &'a Value);
    type IntoIter = btree_map::Iter<'a, String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
