//! A document's tree to its normal form: known keys only, nulls gone, scalars in one notation.

use super::leaf::normal;
use super::{Fault, FaultReason, Leaf, Schema, Type};
use crate::yaml::{Entry, Kind, Mapping, Node, Scalar, Value};

/// Reads trees against a schema and collects everything that is wrong.
pub(crate) struct Decoder<'a> {
    schema: &'a Schema,
    path: Vec<String>,
    faults: Vec<Fault>,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(schema: &'a Schema) -> Self {
        Self {
            schema,
            path: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// The normal form of a document, or all its faults.
    pub(crate) fn document(mut self, node: &Node, kind: &Type) -> Result<Node, Vec<Fault>> {
        let decoded = self.value(node, kind);
        match decoded {
            Some(decoded) if self.faults.is_empty() => Ok(decoded),
            _ => Err(self.faults),
        }
    }

    /// Nothing where the value is null, or wrong.
    fn value(&mut self, node: &Node, kind: &Type) -> Option<Node> {
        if node.is_null() && *kind != Type::Any {
            return None;
        }
        let value = match kind {
            Type::Pointer(inner) => return self.value(node, inner),
            Type::Any => return Some(free_form(node)),
            Type::Text => node.as_scalar().map(|s| Node::text(&s.text)),
            Type::Int => node.as_scalar().and_then(whole_number),
            Type::Bool => node.as_scalar().and_then(boolean),
            Type::Leaf(leaf) => return self.leaf(node, *leaf),
            Type::Arguments => return self.map(node, &Type::Leaf(Leaf::ArgumentValue)),
            Type::Map(inner) => return self.map(node, inner),
            Type::List(inner, _) => return self.list(node, inner),
            Type::Structure(index) => return self.structure(node, *index),
        };
        if value.is_none() {
            let what = if *kind == Type::Int {
                "a whole number"
            } else if *kind == Type::Bool {
                "true or false"
            } else {
                "a text"
            };
            self.expected(node, what);
        }
        value.map(|v| at_line(v, node.line))
    }

    fn leaf(&mut self, node: &Node, leaf: Leaf) -> Option<Node> {
        match normal(leaf, node) {
            Ok(value) => Some(at_line(value, node.line)),
            Err(what) => {
                self.expected(node, what);
                None
            }
        }
    }

    fn map(&mut self, node: &Node, inner: &Type) -> Option<Node> {
        let Some(mapping) = node.as_mapping() else {
            self.expected(node, "a mapping");
            return None;
        };
        let mut out = Mapping::default();
        for entry in mapping {
            self.path.push(entry.key.clone());
            let null = entry.value.is_null();
            let value = if null {
                Some(zero_of_null(inner, entry.value.line))
            } else {
                self.value(&entry.value, inner)
            };
            self.path.pop();
            if let Some(value) = value {
                out.push(Entry {
                    line: entry.line,
                    key: entry.key.clone(),
                    value,
                });
            }
        }
        Some(at_line(Node::new(Value::Mapping(out)), node.line))
    }

    fn list(&mut self, node: &Node, inner: &Type) -> Option<Node> {
        let Some(items) = node.as_sequence() else {
            self.expected(node, "a list");
            return None;
        };
        let mut out = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.path.push(index.to_string());
            if item.is_null() {
                out.push(zero_of_null(inner, item.line));
            } else {
                out.extend(self.value(item, inner));
            }
            self.path.pop();
        }
        Some(at_line(Node::list(out), node.line))
    }

    fn structure(&mut self, node: &Node, index: usize) -> Option<Node> {
        let Some(mapping) = node.as_mapping() else {
            self.expected(node, "a mapping");
            return None;
        };
        let structure = self.schema.structure(index);
        for entry in mapping {
            if structure.fields.iter().all(|f| f.key != entry.key) {
                let path = self.path_to(&entry.key);
                self.faults.push(Fault {
                    line: entry.line,
                    path,
                    reason: FaultReason::UnknownKey,
                });
            }
        }
        let mut out = Mapping::default();
        for field in &structure.fields {
            let Some(entry) = mapping.entry(&field.key) else {
                continue;
            };
            if entry.value.is_null() {
                continue;
            }
            self.path.push(entry.key.clone());
            let value = self.value(&entry.value, &field.kind);
            self.path.pop();
            if let Some(value) = value {
                out.push(Entry {
                    line: entry.line,
                    key: entry.key.clone(),
                    value,
                });
            }
        }
        Some(at_line(Node::new(Value::Mapping(out)), node.line))
    }

    fn expected(&mut self, node: &Node, what: &'static str) {
        self.faults.push(Fault {
            line: node.line,
            path: self.path.join("."),
            reason: FaultReason::Expected {
                what,
                got: node.describe(),
            },
        });
    }

    fn path_to(&self, key: &str) -> String {
        let parents = self.path.iter().map(String::as_str);
        parents.chain([key]).collect::<Vec<_>>().join(".")
    }
}

fn at_line(mut node: Node, line: usize) -> Node {
    node.line = line;
    node
}

/// What a null item of a map or list becomes.
fn zero_of_null(inner: &Type, line: usize) -> Node {
    let node = match inner {
        Type::Text => Node::text(""),
        Type::Int => Node::integer(0),
        Type::Bool => Node::boolean(false),
        Type::List(..) => Node::list([]),
        Type::Map(_) | Type::Structure(_) => Node::map::<&str>([]),
        Type::Any | Type::Leaf(_) | Type::Pointer(_) | Type::Arguments => Node::null(),
    };
    at_line(node, line)
}

fn boolean(scalar: &Scalar) -> Option<Node> {
    match (scalar.kind, scalar.text.to_ascii_lowercase().as_str()) {
        (Kind::Bool, text) => Some(Node::boolean(text == "true")),
        (Kind::Text, "y" | "yes" | "on") => Some(Node::boolean(true)),
        (Kind::Text, "n" | "no" | "off") => Some(Node::boolean(false)),
        _ => None,
    }
}

fn whole_number(scalar: &Scalar) -> Option<Node> {
    match scalar.kind {
        Kind::Int => crate::yaml::integer(&scalar.text).map(Node::integer),
        Kind::Float => {
            let value: f64 = scalar.text.parse().ok()?;
            let whole = value.fract() == 0.0 && value.abs() < 9e15;
            whole.then(|| Node::integer(value as i64))
        }
        Kind::Null | Kind::Bool | Kind::Timestamp | Kind::Text => None,
    }
}

/// A free-form value: keys in natural order, numbers in their shortest form.
fn free_form(node: &Node) -> Node {
    let value = match &node.value {
        Value::Scalar(scalar) => {
            let text = super::leaf::shortest_number(scalar);
            Value::Scalar(Scalar {
                kind: scalar.kind,
                text: text.unwrap_or_else(|| scalar.text.clone()),
            })
        }
        Value::Sequence(items) => Value::Sequence(items.iter().map(free_form).collect()),
        Value::Mapping(mapping) => {
            let mut out = Mapping::default();
            for entry in mapping {
                out.push(Entry {
                    line: entry.line,
                    key: entry.key.clone(),
                    value: free_form(&entry.value),
                });
            }
            Value::Mapping(out)
        }
    };
    Node {
        line: node.line,
        value,
    }
}
