//! Two normal forms of one type to one. Right is the patch.

use std::borrow::Cow;
use std::collections::HashMap;

use super::go::mismatch;
use super::{PatchError, Source};
use crate::schema::{Field, Leaf, Merge, Patching, Schema, Type, Url, is_zero};
use crate::yaml::{Entry, Kind, Mapping, Node, Value};

pub(super) struct Merger<'a> {
    schema: &'a Schema,
    source: Source,
    /// Keys of the table are not copied.
    path: Vec<Cow<'static, str>>,
    /// The kind of a document that is not the main one.
    kind: Option<String>,
}

/// Whether a zero value counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zero {
    /// It is as good as absent.
    Keeps,
    /// It stands behind a pointer: it was written, so it counts.
    Overwrites,
}

impl<'a> Merger<'a> {
    pub(super) fn new(schema: &'a Schema, source: Source) -> Self {
        Self {
            schema,
            source,
            path: Vec::new(),
            kind: None,
        }
    }

    /// Errors name this kind of document.
    pub(super) fn inside(mut self, kind: &str) -> Self {
        self.kind = Some(kind.to_owned());
        self
    }

    pub(super) fn merge(
        &mut self,
        left: &mut Node,
        right: Node,
        kind: &Type,
    ) -> Result<(), PatchError> {
        self.value(left, right, kind, Zero::Keeps)
    }

    fn value(
        &mut self,
        left: &mut Node,
        right: Node,
        kind: &Type,
        zero: Zero,
    ) -> Result<(), PatchError> {
        match kind {
            Type::Pointer(inner) => self.value(left, right, inner, Zero::Overwrites),
            Type::Structure(index) => self.structure(left, right, *index),
            Type::List(inner, merge) => self.list(left, right, inner, *merge),
            Type::Map(inner) => self.map(left, right, inner),
            Type::Any => self.free_form(left, right),
            Type::Arguments => {
                each(right, |(key, value)| put(left, &key, value));
                Ok(())
            }
            Type::Bool | Type::Leaf(Leaf::ByteSize | Leaf::Expression) => {
                *left = right;
                Ok(())
            }
            Type::Leaf(Leaf::Size) => {
                // A size in bytes stays in sight where a patch adds one in per cent.
                let is_percent = |node: &Node| node.as_text().is_some_and(|t| t.contains('%'));
                let hidden =
                    is_percent(&right) && !is_percent(left) && !is_zero(self.schema, left, kind);
                if !hidden && !is_zero(self.schema, &right, kind) {
                    *left = right;
                }
                Ok(())
            }
            Type::Leaf(Leaf::Url) => {
                let parts = |node: &Node| node.as_text().map(str::to_owned);
                if let (Some(before), Some(after)) = (parts(left), parts(&right)) {
                    *left = Node::text(Url::over(&before, &after)).placed_as(&right);
                }
                Ok(())
            }
            Type::Text | Type::Int(..) | Type::Choice(_) | Type::Leaf(_) => {
                if zero == Zero::Overwrites || !is_zero(self.schema, &right, kind) {
                    *left = right;
                }
                Ok(())
            }
        }
    }

    fn structure(&mut self, left: &mut Node, right: Node, index: usize) -> Result<(), PatchError> {
        let fields = &self.schema.structure(index).fields;
        let is_key = |f: &Field| f.kind == Type::Leaf(Leaf::Base64);
        if fields.iter().all(is_key) {
            // A certificate and its key are read as bytes that are there even if empty: nothing of the old ones stays.
            *left = right;
            return Ok(());
        }
        let (Some(left), Value::Mapping(mut right)) = (left.as_mapping_mut(), right.value) else {
            return Ok(());
        };
        for field in &self.schema.structure(index).fields {
            match right.take(field.key) {
                Some(entry) => self.field(left, entry.value, field)?,
                None => self.absent(left, field)?,
            }
        }
        Ok(())
    }

    fn field(&mut self, left: &mut Mapping, right: Node, field: &Field) -> Result<(), PatchError> {
        let Some(place) = left.value_mut(field.key) else {
            let right = if let Type::List(inner, merge) = &field.kind
                && matches!(merge, Merge::ByKey(_) | Merge::Interfaces)
                && right.as_sequence().is_some()
            {
                self.among_themselves(right, inner, *merge)?
            } else {
                right
            };
            left.push(Entry::new(field.key, right));
            return Ok(());
        };
        if field.patching == Patching::Replace {
            let empty = right.as_mapping().is_some_and(Mapping::is_empty);
            if !empty {
                *place = right;
            }
            return Ok(());
        }
        self.path.push(Cow::Borrowed(field.key));
        self.value(place, right, &field.kind, Zero::Keeps)?;
        self.path.pop();
        Ok(())
    }

    /// A key that the patch lacks keeps its value, but for the types that Talos's machinery loses.
    fn absent(&mut self, left: &mut Mapping, field: &Field) -> Result<(), PatchError> {
        match &field.kind {
            Type::Leaf(Leaf::ByteSize | Leaf::Expression) => {
                left.remove(field.key);
            }
            Type::Structure(index) => {
                if let Some(inner) = left.value_mut(field.key) {
                    self.structure(inner, Node::map::<&str>([]), *index)?;
                }
            }
            Type::Text
            | Type::Int(..)
            | Type::Bool
            | Type::Any
            | Type::Choice(_)
            | Type::Leaf(_)
            | Type::Pointer(_)
            | Type::List(..)
            | Type::Map(_)
            | Type::Arguments => {}
        }
        Ok(())
    }

    fn list(
        &mut self,
        left: &mut Node,
        right: Node,
        inner: &Type,
        merge: Merge,
    ) -> Result<(), PatchError> {
        let (Value::Sequence(left), Value::Sequence(right)) = (&mut left.value, right.value) else {
            return Ok(());
        };
        let before = left.len();
        for (index, item) in right.into_iter().enumerate() {
            let same = match merge {
                // Only what was there is replaced, of several the last.
                Merge::ReplaceByKey(_) => {
                    let mut there = left[..before].iter_mut().rev();
                    there.find(|l| is_same(l, &item, merge))
                }
                Merge::Append | Merge::ByKey(_) | Merge::Interfaces => {
                    left.iter_mut().find(|l| is_same(l, &item, merge))
                }
            };
            match (same, merge) {
                (None, _) | (Some(_), Merge::Append) => left.push(item),
                (Some(place), Merge::ReplaceByKey(_)) => *place = item,
                (Some(place), Merge::ByKey(_) | Merge::Interfaces) => {
                    self.path.push(Cow::Owned(index.to_string()));
                    self.value(place, item, inner, Zero::Keeps)?;
                    self.path.pop();
                }
            }
        }
        Ok(())
    }

    /// Items of a keyed list meet even where there was no list before: those of one key become one.
    fn among_themselves(
        &mut self,
        items: Node,
        inner: &Type,
        merge: Merge,
    ) -> Result<Node, PatchError> {
        let mut all = Node::list([]).placed_as(&items);
        self.list(&mut all, items, inner, merge)?;
        Ok(all)
    }

    fn map(&mut self, left: &mut Node, right: Node, inner: &Type) -> Result<(), PatchError> {
        self.entries(left, right, |merger, place, value| {
            merger.value(place, value, inner, Zero::Keeps)
        })
    }

    /// Merges two mappings key by key; a null is overwritten.
    fn entries(
        &mut self,
        left: &mut Node,
        right: Node,
        mut merge: impl FnMut(&mut Self, &mut Node, Node) -> Result<(), PatchError>,
    ) -> Result<(), PatchError> {
        let (Some(left), Value::Mapping(right)) = (left.as_mapping_mut(), right.value) else {
            return Ok(());
        };
        let mut index = Index::of(left, right.len());
        for entry in right {
            match index.place(left, &entry.key) {
                Some(place) if !place.is_null() => {
                    self.path.push(Cow::Owned(entry.key));
                    merge(self, place, entry.value)?;
                    self.path.pop();
                }
                Some(place) => *place = entry.value,
                None => {
                    index.add(&entry.key, left.len());
                    left.push(entry);
                }
            }
        }
        Ok(())
    }

    fn free_form(&mut self, left: &mut Node, right: Node) -> Result<(), PatchError> {
        if free_type(left) != free_type(&right) {
            let kind = self.kind.as_deref();
            let path: Vec<&str> = kind
                .into_iter()
                .chain(self.path.iter().map(|step| &**step))
                .collect();
            return Err(PatchError::Mismatch {
                source_name: self.source,
                line: right.line,
                column: right.column,
                path: self.path.join("."),
                left: left.describe(),
                right: right.describe(),
                theirs: mismatch(&path, left, &right),
            });
        }
        if left.as_mapping().is_some() {
            return self.entries(left, right, Self::free_form);
        }
        match (&mut left.value, right.value) {
            (Value::Sequence(left), Value::Sequence(right)) => left.extend(right),
            (Value::Scalar(left), Value::Scalar(right)) => {
                let zero = match right.kind {
                    Kind::Text => right.text.is_empty(),
                    Kind::Int | Kind::Float => matches!(right.text.as_str(), "0" | "-0" | "0.0"),
                    Kind::Null | Kind::Bool | Kind::Timestamp => false,
                };
                if !zero {
                    *left = right;
                }
            }
            // The types are equal, as was checked above.
            _ => {}
        }
        Ok(())
    }
}

/// Finds keys of a mapping without looking at each, where both sides are large.
struct Index(Option<HashMap<String, usize>>);

impl Index {
    fn of(left: &Mapping, right: usize) -> Self {
        let large = left.len() * right > 4096;
        Self(large.then(|| {
            let keys = left.iter().enumerate();
            keys.map(|(i, e)| (e.key.clone(), i)).collect()
        }))
    }

    fn place<'m>(&self, left: &'m mut Mapping, key: &str) -> Option<&'m mut Node> {
        match &self.0 {
            None => left.value_mut(key),
            Some(index) => index.get(key).map(|at| left.value_at_mut(*at)),
        }
    }

    fn add(&mut self, key: &str, at: usize) {
        if let Some(index) = &mut self.0 {
            index.insert(key.to_owned(), at);
        }
    }
}

/// The type that must agree in a free-form merge.
fn free_type(node: &Node) -> (u8, Option<Kind>) {
    match &node.value {
        Value::Scalar(scalar) => (0, Some(scalar.kind)),
        Value::Sequence(_) => (1, None),
        Value::Mapping(_) => (2, None),
    }
}

fn each(node: Node, mut with: impl FnMut((String, Node))) {
    if let Value::Mapping(mapping) = node.value {
        for entry in mapping {
            with((entry.key, entry.value));
        }
    }
}

fn put(left: &mut Node, key: &str, value: Node) {
    if let Some(mapping) = left.as_mapping_mut() {
        mapping.set(key, value);
    }
}

/// Whether an item of a keyed list is the one that a patch's item means.
fn is_same(left: &Node, right: &Node, merge: Merge) -> bool {
    // No key is the same as an empty one.
    let key_of = |node: &Node, key: &str| match node.text_at(&[key]) {
        None | Some("0") => String::new(),
        Some(text) => text.to_owned(),
    };
    let equal = |key: &str| key_of(left, key) == key_of(right, key);
    match merge {
        Merge::Append => false,
        Merge::ByKey(key) | Merge::ReplaceByKey(key) => equal(key),
        Merge::Interfaces => {
            (equal("interface") && !key_of(right, "interface").is_empty())
                || right.at(&["deviceSelector"]).is_some_and(|selector| {
                    // Talos compares the pointer of this field, which is never equal.
                    selector.at(&["physical"]).is_none()
                        && left.at(&["deviceSelector"]) == Some(selector)
                })
        }
    }
}
