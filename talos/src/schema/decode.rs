//! A document's tree to its normal form: known keys only, nulls gone, scalars in one notation.

use super::leaf::normal;
use super::{Fault, FaultReason, Leaf, Schema, Type, nearest};
use crate::yaml::{Entry, Kind, Mapping, Node, Scalar, Value};

/// Reads trees against a schema and collects everything that is wrong.
pub(crate) struct Decoder<'a> {
    schema: &'a Schema,
    path: Vec<Step>,
    faults: Vec<Fault>,
    unknown: Vec<Unknown>,
}

/// A key that the table does not have, with what stands below it.
pub(crate) struct Unknown {
    /// The keys down to it; an item of a list is its index in brackets.
    pub(crate) parents: Vec<String>,
    pub(crate) entry: Entry,
}

#[derive(Clone)]
enum Step {
    Field(&'static str),
    Key(String),
    Item(usize),
}

/// What a document turned out to be.
pub(crate) type Decoded = Result<Node, (Vec<Fault>, Vec<Unknown>)>;

impl<'a> Decoder<'a> {
    pub(crate) fn new(schema: &'a Schema) -> Self {
        Self {
            schema,
            path: Vec::new(),
            faults: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// The normal form of a document, or all its faults.
    pub(crate) fn document(mut self, node: Node, kind: &Type) -> Decoded {
        let decoded = self.value(node, kind);
        match decoded {
            Some(decoded) if self.faults.is_empty() => Ok(decoded),
            _ => Err((self.faults, self.unknown)),
        }
    }

    /// Nothing where the value is null, or wrong.
    fn value(&mut self, node: Node, kind: &Type) -> Option<Node> {
        if node.is_null() {
            return None;
        }
        match kind {
            Type::Pointer(inner) => self.value(node, inner),
            Type::Any => {
                let (line, column) = (node.line, node.column);
                let mapping = Value::Mapping(self.mapping(node)?);
                Some(self.free_form(Node::at_place(line, column, mapping)))
            }
            Type::Text => self.text(node),
            Type::Int(low, high) => self.whole_number(&node, *low, *high),
            Type::Bool => {
                let value = node.as_scalar().and_then(boolean);
                let checked = self.checked(&node, value, || "true or false".to_owned());
                if checked.is_none() && matches!(node.as_text(), Some("true" | "false")) {
                    self.hint("write it without quotes".to_owned());
                }
                checked
            }
            Type::Choice(texts) => {
                let value = node.as_scalar().and_then(|s| choice(&s.text, texts));
                let checked = self.checked(&node, value, || {
                    let all: Vec<_> = readable(texts).collect();
                    format!("one of {}", all.join(", "))
                });
                let meant = || nearest(node.as_text()?, readable(texts));
                if checked.is_none()
                    && let Some(meant) = meant()
                {
                    self.hint(format!("did you mean {meant}?"));
                }
                checked
            }
            Type::Leaf(leaf) => self.leaf(&node, *leaf),
            Type::Arguments => self.map(node, &Type::Leaf(Leaf::ArgumentValue)),
            Type::Map(inner) => self.map(node, inner),
            Type::List(inner, _) => self.list(node, inner),
            Type::Structure(index) => self.structure(node, *index),
        }
    }

    fn checked(
        &mut self,
        node: &Node,
        value: Option<Node>,
        what: impl FnOnce() -> String,
    ) -> Option<Node> {
        match value {
            Some(value) => Some(value.placed_as(node)),
            None => {
                self.expected(node, what());
                None
            }
        }
    }

    fn text(&mut self, mut node: Node) -> Option<Node> {
        let strict = self.schema.generator().newest().since_1(14);
        match &mut node.value {
            Value::Scalar(scalar) if !(strict && scalar.kind == Kind::Timestamp) => {
                scalar.kind = Kind::Text;
                Some(node)
            }
            Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => {
                self.expected(&node, "a text".to_owned());
                None
            }
        }
    }

    fn whole_number(&mut self, node: &Node, low: i128, high: i128) -> Option<Node> {
        let value = node.as_scalar().and_then(whole_number);
        let within = value.filter(|n| (low..=high).contains(n));
        let checked = self.checked(node, within.map(Node::integer), || match value {
            Some(_) => format!("between {low} and {high}"),
            None => "a whole number".to_owned(),
        });
        let quoted = || node.as_text().and_then(crate::yaml::integer);
        if checked.is_none() && value.is_none() && quoted().is_some() {
            self.hint("write it without quotes".to_owned());
        }
        checked
    }

    fn leaf(&mut self, node: &Node, leaf: Leaf) -> Option<Node> {
        match normal(leaf, node) {
            Ok(value) => Some(value.placed_as(node)),
            Err(what) => {
                self.expected(node, what.to_owned());
                None
            }
        }
    }

    fn map(&mut self, node: Node, inner: &Type) -> Option<Node> {
        let (line, column) = (node.line, node.column);
        let mapping = self.mapping(node)?;
        let mut out = Mapping::with_capacity(mapping.len());
        for mut entry in mapping {
            let value = if entry.value.is_null() {
                Some(zero_of_null(inner).placed_as(&entry.value))
            } else {
                // The key goes into the path and comes back: no copy of it.
                self.path.push(Step::Key(std::mem::take(&mut entry.key)));
                let value = self.value(entry.value, inner);
                if let Some(Step::Key(key)) = self.path.pop() {
                    entry.key = key;
                }
                value
            };
            if let Some(value) = value {
                out.push(Entry { value, ..entry });
            }
        }
        Some(Node::at_place(line, column, Value::Mapping(out)))
    }

    fn mapping(&mut self, node: Node) -> Option<Mapping> {
        match node.value {
            Value::Mapping(mapping) => Some(mapping),
            Value::Scalar(_) | Value::Sequence(_) => {
                self.expected(&node, "a mapping".to_owned());
                None
            }
        }
    }

    fn list(&mut self, node: Node, inner: &Type) -> Option<Node> {
        let Value::Sequence(items) = node.value else {
            self.expected(&node, "a list".to_owned());
            return None;
        };
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            if item.is_null() {
                // A null is an item only where items stand behind pointers.
                if matches!(inner, Type::Pointer(_)) {
                    out.push(item);
                }
            } else {
                self.path.push(Step::Item(index));
                out.extend(self.value(item, inner));
                self.path.pop();
            }
        }
        Some(Node::at_place(node.line, node.column, Value::Sequence(out)))
    }

    fn structure(&mut self, node: Node, index: usize) -> Option<Node> {
        let (line, column) = (node.line, node.column);
        let mapping = self.mapping(node)?;
        let schema = self.schema;
        let structure = schema.structure(index);
        let mut out = Mapping::with_capacity(mapping.len());
        for entry in mapping {
            let Some(field) = structure.field(&entry.key) else {
                self.unknown_key(entry, structure.fields.iter().map(|f| f.key));
                continue;
            };
            if entry.value.is_null() {
                continue;
            }
            self.path.push(Step::Field(field.key));
            let value = self.value(entry.value, &field.kind);
            self.path.pop();
            if let Some(value) = value {
                out.push(Entry { value, ..entry });
            }
        }
        Some(Node::at_place(line, column, Value::Mapping(out)))
    }

    fn unknown_key(&mut self, entry: Entry, known: impl Iterator<Item = &'static str>) {
        self.path.push(Step::Key(entry.key.clone()));
        let path = self.dotted();
        self.path.pop();
        self.faults.push(Fault {
            line: entry.line,
            column: entry.column,
            path,
            reason: FaultReason::UnknownKey {
                nearest: nearest(&entry.key, known),
            },
        });
        let parent = |step: &Step| match step {
            Step::Item(_) => format!("[{step}]"),
            Step::Field(_) | Step::Key(_) => step.to_string(),
        };
        let parents = self.path.iter().map(parent).collect();
        self.unknown.push(Unknown { parents, entry });
    }

    fn expected(&mut self, node: &Node, what: String) {
        self.faults.push(Fault {
            line: node.line,
            column: node.column,
            path: self.dotted(),
            reason: FaultReason::Expected {
                what,
                got: node.describe(),
                hint: None,
            },
        });
    }

    /// Says of the last fault what was probably meant.
    fn hint(&mut self, hint: String) {
        if let Some(Fault {
            reason: FaultReason::Expected { hint: place, .. },
            ..
        }) = self.faults.last_mut()
        {
            *place = Some(hint);
        }
    }

    fn dotted(&self) -> String {
        let steps: Vec<String> = self.path.iter().map(ToString::to_string).collect();
        steps.join(".")
    }

    /// A free-form value: keys once, numbers in their shortest form.
    fn free_form(&self, mut node: Node) -> Node {
        match &mut node.value {
            Value::Scalar(scalar) => {
                if let Some(text) = super::shortest(scalar) {
                    scalar.text = text;
                }
            }
            Value::Sequence(items) => {
                for item in items {
                    let taken = std::mem::replace(item, Node::null());
                    *item = self.free_form(taken);
                }
            }
            Value::Mapping(mapping) => {
                for entry in mapping.iter_mut() {
                    let taken = std::mem::replace(&mut entry.value, Node::null());
                    entry.value = self.free_form(taken);
                }
            }
        }
        node
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(key) => f.write_str(key),
            Self::Key(key) => f.write_str(key),
            Self::Item(index) => write!(f, "{index}"),
        }
    }
}

/// What a null item of a map or list becomes.
fn zero_of_null(inner: &Type) -> Node {
    match inner {
        Type::Text => Node::text(""),
        Type::Choice(texts) => Node::text(texts[0]),
        Type::Int(..) => Node::integer(0),
        Type::Bool => Node::boolean(false),
        Type::List(..) => Node::list([]),
        Type::Map(_) | Type::Structure(_) => Node::map::<&str>([]),
        Type::Any | Type::Leaf(_) | Type::Pointer(_) | Type::Arguments => Node::null(),
    }
}

/// The old notations are taken as Talos's library takes them, in these spellings only.
fn boolean(scalar: &Scalar) -> Option<Node> {
    match (scalar.kind, scalar.text.as_str()) {
        (Kind::Bool, text) => Some(Node::boolean(text.eq_ignore_ascii_case("true"))),
        (Kind::Text, "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON") => {
            Some(Node::boolean(true))
        }
        (Kind::Text, "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF") => {
            Some(Node::boolean(false))
        }
        _ => None,
    }
}

/// The text in the table's spelling; case does not count.
fn choice(text: &str, texts: &[&'static str]) -> Option<Node> {
    readable(texts)
        .find(|t| t.eq_ignore_ascii_case(text))
        .map(Node::text)
}

/// A zero value without a name is written, never read.
fn readable(texts: &[&'static str]) -> impl Iterator<Item = &'static str> {
    texts.iter().copied().filter(|t| !t.ends_with("(0)"))
}

/// The number of a scalar that is one, and not a text in quotes.
pub(super) fn whole_number(scalar: &Scalar) -> Option<i128> {
    match scalar.kind {
        Kind::Int => crate::yaml::integer(&scalar.text),
        Kind::Float => {
            let value: f64 = scalar.text.parse().ok()?;
            let whole = value.fract() == 0.0 && value.abs() < 9e15;
            whole.then_some(value as i128)
        }
        Kind::Null | Kind::Bool | Kind::Timestamp | Kind::Text => None,
    }
}
