//! YAML as Talos reads and writes it: an order-preserving tree with line numbers, a parser that keeps scalar text,
//! and an emitter in the block style of the library that Talos uses.
//!
//! Promises: duplicate keys are an error; parsing never panics; `parse(emit(tree)) == tree`, where equality does not
//! look at lines. Not here: what a key means (see `schema`), comments (they are dropped).

mod emit;
mod line;
mod natural;
mod parse;
mod plain;
mod scalar;
mod strict;
mod typed;

pub use emit::{Style, emit, emit_documents};
pub(crate) use emit::{emit_as_written, emit_json_layout, sort_keys};
pub use natural::natural_cmp;
pub(crate) use parse::leading_documents;
pub(crate) use parse::within_bounds;
pub use parse::{ParseError, parse_bytes, parse_documents};
pub use scalar::{Kind, Scalar};
pub(crate) use scalar::{forgotten, integer, quote_key};
pub use typed::TypeError;
pub(crate) use typed::holds_null;

/// A value and the place where it began.
#[derive(Clone, Debug)]
pub struct Node {
    /// 1-based line in the source; 0 for a value that no source had.
    pub line: usize,
    /// 1-based column, counted in characters; 0 for a value that no source had.
    pub column: usize,
    /// Whether it was written in flow style, which only messages repeat.
    pub(crate) flow: bool,
    /// Which text it came from: 0 is a config or none, n the patch n-1.
    pub(crate) origin: u32,
    /// The value itself.
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A single value, with its text as written.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys in the order of the source, each once.
    Mapping(Mapping),
}

/// The entries of a mapping, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    entries: Vec<Entry>,
}

/// One key of a mapping and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// 1-based line of the key; 0 for a key that no source had.
    pub line: usize,
    /// 1-based column of the key; 0 for a key that no source had.
    pub column: usize,
    /// The key's text.
    pub key: String,
    /// The value.
    pub value: Node,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Node {
    /// A value that no source had.
    pub fn new(value: Value) -> Self {
        Self::at_place(0, 0, value)
    }

    /// A value that began there.
    pub(crate) fn at_place(line: usize, column: usize, value: Value) -> Self {
        Self {
            line,
            column,
            flow: false,
            origin: 0,
            value,
        }
    }

    /// Says of the whole tree which text it came from.
    pub(crate) fn stamp(&mut self, origin: u32) {
        self.origin = origin;
        match &mut self.value {
            Value::Scalar(_) => {}
            Value::Sequence(items) => items.iter_mut().for_each(|i| i.stamp(origin)),
            Value::Mapping(mapping) => mapping.iter_mut().for_each(|e| e.value.stamp(origin)),
        }
    }

    /// The same value at another one's place.
    pub(crate) fn placed_as(mut self, other: &Self) -> Self {
        self.line = other.line;
        self.column = other.column;
        self
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Value::Scalar(Scalar::text(text)))
    }

    /// `true` or `false`.
    pub fn boolean(value: bool) -> Self {
        Self::new(Value::Scalar(Scalar::raw(
            Kind::Bool,
            if value { "true" } else { "false" },
        )))
    }

    /// A whole number.
    pub fn integer(value: impl Into<i128>) -> Self {
        Self::new(Value::Scalar(Scalar::raw(
            Kind::Int,
            value.into().to_string(),
        )))
    }

    /// The null value.
    pub fn null() -> Self {
        Self::new(Value::Scalar(Scalar::raw(Kind::Null, "null")))
    }

    /// A list.
    pub fn list(items: impl IntoIterator<Item = Node>) -> Self {
        Self::new(Value::Sequence(items.into_iter().collect()))
    }

    /// A list of texts.
    pub fn texts<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::list(items.into_iter().map(Node::text))
    }

    /// A mapping with these entries; a key given twice keeps its first place and its last value.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Node)>) -> Self {
        let entries = entries.into_iter();
        let mut mapping = Mapping::with_capacity(entries.size_hint().0);
        for (key, value) in entries {
            mapping.set(key, value);
        }
        Self::new(Value::Mapping(mapping))
    }

    /// The scalar, where it is one.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// The text of a scalar that is not null.
    pub fn as_text(&self) -> Option<&str> {
        self.as_scalar()
            .filter(|s| s.kind != Kind::Null)
            .map(|s| s.text.as_str())
    }

    /// The mapping, where it is one.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// The mapping, for changing it.
    pub fn as_mapping_mut(&mut self) -> Option<&mut Mapping> {
        match &mut self.value {
            Value::Mapping(mapping) => Some(mapping),
            Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// The items, where it is a list.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            Value::Scalar(_) | Value::Mapping(_) => None,
        }
    }

    /// Whether it is the null value.
    pub fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(|s| s.kind == Kind::Null)
    }

    /// The value below a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter()
            .try_fold(self, |node, key| node.as_mapping()?.value(key))
    }

    /// The text of the scalar below a path of keys.
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_text()
    }

    /// What kind of value it is, in words for a message.
    pub fn describe(&self) -> &'static str {
        match &self.value {
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Null => "null",
                Kind::Bool => "a boolean",
                Kind::Int | Kind::Float => "a number",
                Kind::Timestamp => "a timestamp",
                Kind::Text => "a text",
            },
        }
    }
}

impl Entry {
    /// An entry that no source had.
    pub(crate) fn new(key: impl Into<String>, value: Node) -> Self {
        Self {
            line: value.line,
            column: value.column,
            key: key.into(),
            value,
        }
    }
}

impl Mapping {
    pub(crate) fn with_capacity(entries: usize) -> Self {
        Self {
            entries: Vec::with_capacity(entries),
        }
    }

    /// The entries, for changing their values.
    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Entry> {
        self.entries.iter_mut()
    }

    /// Takes a key and its value out of a mapping that nobody looks at afterwards: the rest loses its order.
    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|e| e.key == key)?;
        Some(self.entries.swap_remove(index))
    }

    /// Keeps the entries that are wanted.
    pub(crate) fn retain(&mut self, wanted: impl FnMut(&Entry) -> bool) {
        self.entries.retain(wanted);
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// The entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key == key)
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.value)
    }

    /// The value of a key, for changing it.
    pub fn value_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|e| e.key == key)
            .map(|e| &mut e.value)
    }

    /// Sets a key: in its place where it exists, else at the end.
    pub fn set(&mut self, key: impl Into<String>, value: Node) {
        let key = key.into();
        match self.value_mut(&key) {
            Some(place) => *place = value,
            None => self.entries.push(Entry::new(key, value)),
        }
    }

    /// The value at an index that is known to exist.
    pub(crate) fn value_at_mut(&mut self, index: usize) -> &mut Node {
        &mut self.entries[index].value
    }

    /// Appends an entry whose key is known to be absent.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|e| e.key == key)?;
        Some(self.entries.remove(index).value)
    }

    /// Orders the keys as the emitter of free-form maps does.
    pub fn sort_natural(&mut self) {
        if self.entries.len() > 1 {
            self.entries.sort_by(|a, b| natural_cmp(&a.key, &b.key));
        }
    }
}

impl<'a> IntoIterator for &'a Mapping {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

impl IntoIterator for Mapping {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests;
