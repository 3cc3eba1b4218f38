//! A config between its texts: read once, patched and validated as it is, written once.

use super::documents::{Document, Identity};
use super::json::{self, Operation};
use super::merge::Merger;
use super::read::{Patch, Step};
use super::{PatchError, Source};
use crate::config::{GenerateError, Input, MachineConfig, style};
use crate::schema::{Schema, encode};
use crate::secrets::Bundle;
use crate::version::Generator;
use crate::yaml::{Node, emit_documents, leading_documents, parse_documents, sort_keys};

/// A config's documents in their normal form. It holds secrets: it has no `Debug`.
#[derive(Clone)]
pub struct Draft {
    generator: Generator,
    documents: Vec<Document>,
}

impl Draft {
    /// Reads a config.
    ///
    /// # Errors
    /// It is not YAML, or not a config of this generator.
    pub fn read(generator: Generator, config: &MachineConfig) -> Result<Self, PatchError> {
        let source_name = Source::Config;
        let text = config.expose();
        let trees = match parse_documents(text) {
            Ok(trees) => trees,
            Err(error) => {
                // Talos's tools read one document after the other: what is wrong before the broken one comes first.
                Self::of_trees(generator, leading_documents(text))?;
                return Err(PatchError::Syntax { source_name, error });
            }
        };
        if trees.is_empty() {
            return Err(PatchError::Document {
                source_name,
                line: 1,
                document: String::new(),
                reason: "config not found",
            });
        }
        Self::of_trees(generator, trees)
    }

    /// Makes a config from typed inputs, without ever writing it.
    ///
    /// # Errors
    /// An input that no config can hold.
    pub fn generate(input: &Input, bundle: &Bundle) -> Result<Self, GenerateError> {
        let trees = crate::config::trees(input, bundle)?;
        Ok(Self::of_generated(input, trees))
    }

    /// The same of whatever the machinery takes, as [`crate::config::generate_unchecked`] does. For comparing, not for
    /// machines.
    ///
    /// # Errors
    /// What the machinery refuses too.
    pub fn generate_unchecked(input: &Input, bundle: &Bundle) -> Result<Self, GenerateError> {
        let trees = crate::config::trees_unchecked(input, bundle)?;
        Ok(Self::of_generated(input, trees))
    }

    fn of_generated(input: &Input, trees: Vec<Node>) -> Self {
        let schema = Schema::of(input.generator);
        let documents = trees.into_iter().filter_map(|root| {
            let id = Identity::of(&root);
            let structure = schema.document(&id.kind)?.structure;
            let kind = crate::schema::Type::Structure(structure);
            Some(Document { id, kind, root })
        });
        Self {
            generator: input.generator,
            documents: documents.collect(),
        }
    }

    fn of_trees(generator: Generator, trees: Vec<Node>) -> Result<Self, PatchError> {
        let mut out = Self {
            generator,
            documents: Vec::with_capacity(trees.len()),
        };
        for tree in trees {
            let id = Identity::of(&tree);
            if out.documents.iter().any(|d| d.id == id) {
                return Err(id.duplicate(Source::Config, tree.line));
            }
            let document = Document::read(generator, tree, Source::Config)?;
            out.documents.push(document);
            out.last_is_alone(Source::Config)?;
        }
        Ok(out)
    }

    /// Applies one patch; `index` names it in errors.
    ///
    /// # Errors
    /// It is not a patch, or does not apply. The draft is of no use then.
    pub fn patch(&mut self, index: usize, text: &str) -> Result<(), PatchError> {
        let source = Source::Patch(index);
        match Patch::read(self.generator, text, source)? {
            Patch::Strategic(steps) => steps.into_iter().try_for_each(|s| self.step(s, source)),
            Patch::Empty if self.documents.len() > 1 => Err(PatchError::Empty(source)),
            Patch::Json(_) if self.documents.len() != 1 => Err(PatchError::Json(source)),
            patch @ (Patch::Empty | Patch::Json(_)) => self.operate(&patch.operations(), source),
        }
    }

    /// The operations of a JSON patch; even none of them takes the config through JSON.
    fn operate(&mut self, operations: &[Operation], source: Source) -> Result<(), PatchError> {
        let documents = std::mem::take(&mut self.documents);
        let schema = Schema::of(self.generator);
        let mut trees: Vec<Node> = documents
            .into_iter()
            .map(|d| encode(schema, d.root, &d.kind))
            .collect();
        for tree in &mut trees {
            json::apply(tree, operations, source)?;
            sort_keys(tree);
            tree.line = 1;
        }
        *self = Self::of_trees(self.generator, trees).map_err(|e| e.after(source))?;
        Ok(())
    }

    fn step(&mut self, step: Step, source: Source) -> Result<(), PatchError> {
        let schema = Schema::of(self.generator);
        match step {
            Step::Delete(delete) => {
                let Some(at) = self.documents.iter().position(|d| delete.means(&d.id)) else {
                    // A document that is not there needs no deletion.
                    return Ok(());
                };
                if delete.is_whole() {
                    self.documents.remove(at);
                    return Ok(());
                }
                delete.apply(schema, &mut self.documents[at], source)
            }
            Step::Merge(patch) => match self.documents.iter_mut().find(|d| d.id == patch.id) {
                Some(left) => {
                    let mut merger = Merger::new(schema, source);
                    if !patch.id.is_main() {
                        merger = merger.inside(&patch.id.kind);
                    }
                    merger.merge(&mut left.root, patch.root, &patch.kind)
                }
                None => {
                    self.documents.push(patch);
                    self.last_is_alone(source)
                }
            },
        }
    }

    /// Documents of a group exclude each other where they have the same name.
    fn last_is_alone(&self, source_name: Source) -> Result<(), PatchError> {
        let schema = Schema::of(self.generator);
        let group = |d: &Document| schema.document(&d.id.kind).and_then(|k| k.group);
        let Some((last, others)) = self.documents.split_last() else {
            return Ok(());
        };
        let Some(own) = group(last) else {
            return Ok(());
        };
        let other = others.iter().find(|d| {
            group(d) == Some(own) && d.id.kind != last.id.kind && d.id.name == last.id.name
        });
        match other {
            None => Ok(()),
            Some(other) => Err(PatchError::Conflict {
                source_name,
                line: last.root.line,
                document: last.id.label(),
                other: other.id.label(),
            }),
        }
    }

    /// Which generator's rules it follows.
    pub fn generator(&self) -> Generator {
        self.generator
    }

    pub(crate) fn documents(&self) -> &[Document] {
        &self.documents
    }

    pub(crate) fn documents_mut(&mut self) -> &mut [Document] {
        &mut self.documents
    }

    /// The text: the main document first, the others in order of appearance.
    pub fn write(self) -> MachineConfig {
        let schema = Schema::of(self.generator);
        let (main, others): (Vec<_>, Vec<_>) =
            self.documents.into_iter().partition(|d| d.id.is_main());
        let ordered = main.into_iter().chain(others);
        let trees: Vec<Node> = ordered.map(|d| encode(schema, d.root, &d.kind)).collect();
        MachineConfig::new(emit_documents(&trees, style(self.generator)))
    }
}
