//! `$patch: delete`: taken out of a patch's document first, applied before the rest of that document.

use super::documents::{Document, Identity};
use super::{PatchError, Source};
use crate::schema::{Schema, Type};
use crate::yaml::{Node, Value};

const DIRECTIVE: &str = "$patch";

/// One deletion.
pub(super) struct Delete {
    document: Identity,
    line: usize,
    column: usize,
    path: Vec<String>,
    /// For an item of a list: the key and value that name it.
    item: Option<(String, String)>,
}

/// Takes all deletions out of a patch's document; false where nothing of it is left.
pub(super) fn extract(
    tree: &mut Node,
    source_name: Source,
    out: &mut Vec<Delete>,
) -> Result<bool, PatchError> {
    if !holds_delete(tree) {
        return Ok(true);
    }
    let document = Identity::of(tree);
    let mut extraction = Extraction {
        named: (
            tree.text_at(&["apiVersion"]).is_some(),
            tree.text_at(&["kind"]).is_some(),
        ),
        line: tree.line,
        document,
        source_name,
        path: Vec::new(),
        out,
    };
    let gone = extraction.visit(tree, Inside::Mapping)?;
    Ok(!gone)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Mapping,
    Sequence,
}

struct Extraction<'a> {
    document: Identity,
    /// Whether the document says its apiVersion and its kind.
    named: (bool, bool),
    line: usize,
    source_name: Source,
    path: Vec<String>,
    out: &'a mut Vec<Delete>,
}

impl Extraction<'_> {
    /// True where this value is to go: it was a deletion, or nothing but deletions.
    fn visit(&mut self, node: &mut Node, inside: Inside) -> Result<bool, PatchError> {
        if is_delete(node) {
            self.push(node, inside)?;
            return Ok(true);
        }
        match &mut node.value {
            Value::Scalar(_) => Ok(false),
            Value::Mapping(mapping) => {
                let mut failed = None;
                let before = mapping.len();
                let mut keep = Vec::with_capacity(before);
                for entry in mapping.iter_mut() {
                    self.path.push(entry.key.clone());
                    let gone = self.visit(&mut entry.value, Inside::Mapping);
                    self.path.pop();
                    match gone {
                        Ok(gone) => keep.push(!gone),
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    }
                }
                if let Some(error) = failed {
                    return Err(error);
                }
                let mut keep = keep.into_iter();
                mapping.retain(|_| keep.next().unwrap_or(true));
                Ok(before > 0 && mapping.is_empty())
            }
            Value::Sequence(items) => {
                let before = items.len();
                let mut index = 0;
                while index < items.len() {
                    self.path.push(format!("[{index}]"));
                    let gone = self.visit(&mut items[index], Inside::Sequence);
                    self.path.pop();
                    if gone? {
                        items.remove(index);
                    } else {
                        index += 1;
                    }
                }
                Ok(before > 0 && items.is_empty())
            }
        }
    }

    fn push(&mut self, node: &Node, inside: Inside) -> Result<(), PatchError> {
        let item = match inside {
            Inside::Mapping if self.path.iter().any(|p| p.starts_with('[')) => {
                let theirs = format!("cannot delete an inner key in '{}'", self.path.join("."));
                let reason = "nothing inside a list item can be deleted";
                return Err(self.error(node, reason, &theirs));
            }
            Inside::Mapping => None,
            Inside::Sequence => Some(self.selector(node)?),
        };
        let reason = "the document needs apiVersion and kind; the main document cannot be deleted";
        match self.named {
            (false, _) if self.path.is_empty() => {
                let theirs = "missing apiVersion in document for which $patch: delete is used";
                return Err(self.error(node, reason, theirs));
            }
            (_, false) if self.path.is_empty() => {
                let theirs = "missing kind in document for which $patch: delete is used";
                return Err(self.error(node, reason, theirs));
            }
            (version, kind) if version != kind => {
                let theirs = format!(
                    "kind and apiVersion must be both set for path {}",
                    self.path.join(".")
                );
                return Err(self.error(node, reason, &theirs));
            }
            _ => {}
        }
        self.out.push(Delete {
            document: self.document.clone(),
            line: node.line,
            column: node.column,
            path: self.path.clone(),
            item,
        });
        Ok(())
    }

    /// The first key of a list item that is not the directive.
    fn selector(&self, node: &Node) -> Result<(String, String), PatchError> {
        let others = node.as_mapping().into_iter().flatten();
        let first = others.filter(|e| e.key != DIRECTIVE).map(|e| {
            let value = e.value.as_scalar().map(|s| s.text.clone());
            (e.key.clone(), value.unwrap_or_default())
        });
        first.into_iter().next().ok_or_else(|| {
            let theirs = format!(
                "no key:val found in sequence node for path {}",
                self.path.join(".")
            );
            self.error(
                node,
                "a list item needs a key and value that name it",
                &theirs,
            )
        })
    }

    fn error(&self, node: &Node, reason: &'static str, theirs: &str) -> PatchError {
        PatchError::Delete {
            source_name: self.source_name,
            line: node.line,
            column: node.column,
            path: self.path.join("."),
            reason,
            theirs: format!(
                "error processing patch delete statements at line {}: {theirs}",
                self.line
            ),
        }
    }
}

/// Whether there is anything to take out: nearly all patches have nothing, and need no copy of every path.
fn holds_delete(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(_) => false,
        Value::Sequence(items) => items.iter().any(holds_delete),
        Value::Mapping(mapping) => {
            is_delete(node) || mapping.iter().any(|e| holds_delete(&e.value))
        }
    }
}

fn is_delete(node: &Node) -> bool {
    node.text_at(&[DIRECTIVE]) == Some("delete")
}

const MISSING: &str = "it is not in the config";

impl Delete {
    pub(super) fn means(&self, id: &Identity) -> bool {
        self.document == *id
    }

    /// Whether it deletes the whole document.
    pub(super) fn is_whole(&self) -> bool {
        self.path.is_empty()
    }

    pub(super) fn apply(
        &self,
        schema: &Schema,
        document: &mut Document,
        source_name: Source,
    ) -> Result<(), PatchError> {
        let kind = document.kind.clone();
        let done = self.remove(schema, &mut document.root, &kind);
        done.map_err(|(reason, theirs)| PatchError::Delete {
            source_name,
            line: self.line,
            column: self.column,
            path: self.path.join("."),
            reason,
            theirs: self.theirs(theirs),
        })
    }

    fn theirs(&self, reason: &str) -> String {
        let Identity {
            version,
            kind,
            name,
        } = &self.document;
        let path = self.path.join(".");
        let inner = format!("failed to delete path '{path}': {reason}");
        match name.as_str() {
            "" => format!("patch delete: path '{path}' in document '{version}/{kind}': {inner}"),
            _ => format!("named patch delete: document {version}/{kind}: {inner}"),
        }
    }

    fn remove(
        &self,
        schema: &Schema,
        root: &mut Node,
        kind: &Type,
    ) -> Result<(), (&'static str, &'static str)> {
        let missing = (MISSING, "lookup failed");
        let unknown = ("no such key in this document", "lookup failed");
        let (last, parents) = self.path.split_last().ok_or(missing)?;
        let mut node = root;
        let mut kind = kind.clone();
        for key in parents {
            if let Type::List(..) = through(&kind) {
                return Err((
                    "nothing in a list inside a list item can be deleted",
                    "searching for complex paths in slices is not supported",
                ));
            }
            kind = child(schema, &kind, key).ok_or(unknown)?;
            let mapping = node.as_mapping_mut().ok_or(missing)?;
            if mapping.value(key).is_none() && matches!(kind, Type::Structure(_)) {
                // A structure that is no pointer is always there, if only with its zero values.
                mapping.set(key.as_str(), Node::map::<&str>([]));
            }
            node = mapping.value_mut(key).ok_or(missing)?;
        }
        if let Some((key, value)) = &self.item {
            let Type::List(inner, _) = through(&kind) else {
                return Err(("it is no list", "lookup failed"));
            };
            let named = child(schema, inner, key).is_some_and(|k| is_named_by(&k));
            let Value::Sequence(items) = &mut node.value else {
                return Err(missing);
            };
            let at = items.iter().position(|i| {
                let own = i.text_at(&[key]).unwrap_or_default();
                named && i.as_mapping().is_some() && own == value
            });
            items.remove(at.ok_or(missing)?);
            return Ok(());
        }
        child(schema, &kind, last).ok_or(unknown)?;
        // A key of a structure is always there, if only with its zero value.
        let fixed = matches!(through(&kind), Type::Structure(_));
        let mapping = node.as_mapping_mut().ok_or(missing)?;
        let found = mapping.remove(last).is_some() || fixed;
        found.then_some(()).ok_or(missing)
    }
}

/// A type without the pointers before it.
fn through(mut kind: &Type) -> &Type {
    while let Type::Pointer(inner) = kind {
        kind = inner;
    }
    kind
}

/// Whether a list item can be named by a key of this type: the machinery compares texts only.
fn is_named_by(kind: &Type) -> bool {
    matches!(kind, Type::Text | Type::Choice(_) | Type::Leaf(_))
}

/// The type below a key.
fn child(schema: &Schema, kind: &Type, key: &str) -> Option<Type> {
    match through(kind) {
        Type::Structure(index) => schema.structure(*index).field(key).map(|f| f.kind.clone()),
        Type::Map(inner) => Some((**inner).clone()),
        Type::Any | Type::Arguments => Some(Type::Any),
        Type::Text
        | Type::Int(..)
        | Type::Bool
        | Type::Choice(_)
        | Type::Leaf(_)
        | Type::Pointer(_)
        | Type::List(..) => None,
    }
}
