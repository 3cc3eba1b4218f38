//! `$patch: delete`: taken out of a patch first, applied to the config before the rest of the patch.

use super::documents::{Documents, MAIN};
use super::{DocumentId, PatchError, Source};
use crate::schema::{Schema, Type};
use crate::yaml::{Node, Value};

const DIRECTIVE: &str = "$patch";

/// One deletion.
pub(super) struct Delete {
    document: DocumentId,
    line: usize,
    path: Vec<String>,
    /// For an item of a list: the key and value that name it.
    item: Option<(String, String)>,
}

impl Delete {
    /// Takes all deletions out of a patch's document; false where the document itself is deleted.
    pub(super) fn extract(
        tree: &mut Node,
        document: &DocumentId,
        source_name: Source,
        out: &mut Vec<Self>,
    ) -> Result<bool, PatchError> {
        let mut extraction = Extraction {
            document,
            source_name,
            path: Vec::new(),
            out,
        };
        if is_delete(tree) {
            if document.0 == MAIN {
                return Err(extraction.error(tree.line, "the main document cannot be deleted"));
            }
            extraction.push(tree.line, None);
            return Ok(false);
        }
        extraction.walk(tree)?;
        Ok(true)
    }

    /// Applies it. A document that is not there needs no deletion.
    pub(super) fn apply(
        &self,
        documents: &mut Documents,
        source: Source,
    ) -> Result<(), PatchError> {
        let schema = documents.schema();
        let Some(document) = documents.find(&self.document) else {
            return Ok(());
        };
        if self.path.is_empty() {
            documents.remove(&self.document);
            return Ok(());
        }
        let kind = document.kind.clone();
        let done = self.remove(schema, &mut document.root, &kind);
        done.map_err(|reason| PatchError::Delete {
            source_name: source,
            line: self.line,
            path: self.path.join("."),
            reason,
        })
    }

    fn remove(&self, schema: &Schema, root: &mut Node, kind: &Type) -> Result<(), &'static str> {
        let missing = "it is not in the config";
        let (last, parents) = self.path.split_last().ok_or(missing)?;
        let mut node = root;
        let mut kind = kind.clone();
        for key in parents {
            kind = child(schema, &kind, key).ok_or("no such key in this document")?;
            node = node
                .as_mapping_mut()
                .and_then(|m| m.value_mut(key))
                .ok_or(missing)?;
        }
        child(schema, &kind, last).ok_or("no such key in this document")?;
        let fixed = is_structure(&kind);
        let mapping = node.as_mapping_mut().ok_or(missing)?;
        let Some((key, value)) = &self.item else {
            // A key of a structure is always there, if only with its zero value.
            let found = mapping.remove(last).is_some() || fixed;
            return found.then_some(()).ok_or(missing);
        };
        let list = mapping.value_mut(last).ok_or(missing)?;
        let Value::Sequence(items) = &mut list.value else {
            return Err("it is no list");
        };
        let at = items
            .iter()
            .position(|i| i.text_at(&[key]) == Some(value))
            .ok_or(missing)?;
        items.remove(at);
        Ok(())
    }
}

fn is_structure(kind: &Type) -> bool {
    match kind {
        Type::Pointer(inner) => is_structure(inner),
        Type::Structure(_) => true,
        Type::Text
        | Type::Int
        | Type::Bool
        | Type::Any
        | Type::Leaf(_)
        | Type::List(..)
        | Type::Map(_)
        | Type::Arguments => false,
    }
}

/// The type below a key.
fn child(schema: &Schema, kind: &Type, key: &str) -> Option<Type> {
    match kind {
        Type::Pointer(inner) => child(schema, inner, key),
        Type::Structure(index) => {
            let fields = &schema.structure(*index).fields;
            fields.iter().find(|f| f.key == key).map(|f| f.kind.clone())
        }
        Type::Map(inner) => Some((**inner).clone()),
        Type::Any | Type::Arguments => Some(Type::Any),
        Type::Text | Type::Int | Type::Bool | Type::Leaf(_) | Type::List(..) => None,
    }
}

fn is_delete(node: &Node) -> bool {
    node.text_at(&[DIRECTIVE]) == Some("delete")
}

struct Extraction<'a> {
    document: &'a DocumentId,
    source_name: Source,
    path: Vec<String>,
    out: &'a mut Vec<Delete>,
}

impl Extraction<'_> {
    fn walk(&mut self, node: &mut Node) -> Result<(), PatchError> {
        let Some(mapping) = node.as_mapping_mut() else {
            return Ok(());
        };
        let keys: Vec<String> = mapping.iter().map(|e| e.key.clone()).collect();
        for key in keys {
            let Some(value) = mapping.value_mut(&key) else {
                continue;
            };
            self.path.push(key.clone());
            if is_delete(value) {
                self.push(value.line, None);
                mapping.remove(&key);
            } else if let Value::Sequence(items) = &mut value.value {
                self.items(items)?;
            } else {
                self.walk(value)?;
            }
            self.path.pop();
        }
        Ok(())
    }

    fn items(&mut self, items: &mut Vec<Node>) -> Result<(), PatchError> {
        for item in items.iter() {
            if is_delete(item) {
                let selector = item.as_mapping().and_then(|m| {
                    let mut others = m.iter().filter(|e| e.key != DIRECTIVE);
                    others.find_map(|e| Some((e.key.clone(), e.value.as_text()?.to_owned())))
                });
                let selector = selector.ok_or_else(|| {
                    self.error(item.line, "a list item needs a key and value that name it")
                })?;
                self.push(item.line, Some(selector));
            } else if let Some(line) = inner_delete(item) {
                return Err(self.error(line, "nothing inside a list item can be deleted"));
            }
        }
        items.retain(|item| !is_delete(item));
        Ok(())
    }

    fn push(&mut self, line: usize, item: Option<(String, String)>) {
        self.out.push(Delete {
            document: self.document.clone(),
            line,
            path: self.path.clone(),
            item,
        });
    }

    fn error(&self, line: usize, reason: &'static str) -> PatchError {
        PatchError::Delete {
            source_name: self.source_name,
            line,
            path: self.path.join("."),
            reason,
        }
    }
}

/// The line of a deletion somewhere below.
fn inner_delete(node: &Node) -> Option<usize> {
    match &node.value {
        Value::Scalar(_) => None,
        Value::Sequence(items) => items.iter().find_map(inner_or_self),
        Value::Mapping(mapping) => mapping.iter().find_map(|e| inner_or_self(&e.value)),
    }
}

fn inner_or_self(node: &Node) -> Option<usize> {
    if is_delete(node) {
        Some(node.line)
    } else {
        inner_delete(node)
    }
}
