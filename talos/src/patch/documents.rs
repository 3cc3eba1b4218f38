//! The documents of a config or a patch, in their normal forms.

use super::delete::Delete;
use super::merge::Merger;
use super::{DocumentId, PatchError, Source, label};
use crate::config::style;
use crate::schema::{Decoder, Schema, Type, encode};
use crate::version::Generator;
use crate::yaml::{Node, emit_documents, parse_documents};

/// The kind of the main document, which has none of its own.
pub(super) const MAIN: &str = "v1alpha1";

pub(super) struct Document {
    pub(super) id: DocumentId,
    pub(super) kind: Type,
    pub(super) root: Node,
}

pub(super) struct Documents {
    generator: Generator,
    all: Vec<Document>,
}

impl Documents {
    /// A config's documents.
    pub(super) fn config(generator: Generator, text: &str) -> Result<Self, PatchError> {
        let source_name = Source::Config;
        let trees =
            parse_documents(text).map_err(|error| PatchError::Syntax { source_name, error })?;
        let mut out = Self {
            generator,
            all: Vec::new(),
        };
        for tree in trees {
            let id = id_of(&tree);
            out.add(id, &tree, source_name)?;
        }
        Ok(out)
    }

    /// A patch's deletions and the rest of it.
    pub(super) fn patch(
        generator: Generator,
        text: &str,
        source_name: Source,
    ) -> Result<(Vec<Delete>, Self), PatchError> {
        let trees =
            parse_documents(text).map_err(|error| PatchError::Syntax { source_name, error })?;
        let mut deletes = Vec::new();
        let mut out = Self {
            generator,
            all: Vec::new(),
        };
        let mut found = false;
        for mut tree in trees {
            if tree.as_sequence().is_some() {
                return Err(PatchError::Json(source_name));
            }
            let empty = tree.as_mapping().is_some_and(|m| m.is_empty());
            if empty {
                continue;
            }
            found = true;
            let id = id_of(&tree);
            known_kind(generator, &id, tree.line, source_name)?;
            if Delete::extract(&mut tree, &id, source_name, &mut deletes)? {
                out.add(id, &tree, source_name)?;
            }
        }
        if found {
            Ok((deletes, out))
        } else {
            Err(PatchError::Empty(source_name))
        }
    }

    fn add(&mut self, id: DocumentId, tree: &Node, source_name: Source) -> Result<(), PatchError> {
        let kind = known_kind(self.generator, &id, tree.line, source_name)?;
        if self.all.iter().any(|d| d.id == id) {
            return Err(PatchError::Duplicate {
                source_name,
                line: tree.line,
                document: label(&id),
            });
        }
        let root = Decoder::new(Schema::of(self.generator))
            .document(tree, &kind)
            .map_err(|faults| PatchError::Faults {
                source_name,
                faults,
            })?;
        self.all.push(Document { id, kind, root });
        Ok(())
    }

    pub(super) fn into_documents(self) -> Vec<Document> {
        self.all
    }

    pub(super) fn find(&mut self, id: &DocumentId) -> Option<&mut Document> {
        self.all.iter_mut().find(|d| d.id == *id)
    }

    pub(super) fn remove(&mut self, id: &DocumentId) {
        self.all.retain(|d| d.id != *id);
    }

    pub(super) fn schema(&self) -> &'static Schema {
        Schema::of(self.generator)
    }

    /// Merges a patch's document in, or appends it.
    pub(super) fn merge(&mut self, patch: Document, source: Source) -> Result<(), PatchError> {
        let schema = self.schema();
        match self.find(&patch.id) {
            Some(left) => {
                Merger::new(schema, source).merge(&mut left.root, patch.root, &patch.kind)
            }
            None => {
                self.all.push(patch);
                Ok(())
            }
        }
    }

    /// The text: the main document first, the others in order of appearance.
    pub(super) fn encode(&self) -> String {
        let schema = self.schema();
        let is_main = |d: &&Document| d.id.0 == MAIN;
        let ordered = self.all.iter().filter(is_main).chain(
            self.all.iter().filter(|d| !is_main(d)), // the rest keeps its order
        );
        let trees: Vec<Node> = ordered.map(|d| encode(schema, &d.root, &d.kind)).collect();
        emit_documents(&trees, style(self.generator))
    }
}

fn known_kind(
    generator: Generator,
    id: &DocumentId,
    line: usize,
    source_name: Source,
) -> Result<Type, PatchError> {
    Schema::of(generator)
        .document(&id.0)
        .ok_or_else(|| PatchError::UnknownKind {
            source_name,
            line,
            kind: id.0.clone(),
        })
}

/// Kind and name; a document without a kind is the main one.
pub(super) fn id_of(tree: &Node) -> DocumentId {
    match tree.text_at(&["kind"]) {
        Some(kind) => {
            let name = tree.text_at(&["name"]).unwrap_or_default();
            (kind.to_owned(), name.to_owned())
        }
        None => (MAIN.to_owned(), String::new()),
    }
}
