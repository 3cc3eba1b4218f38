//! A patch's text to the steps that it takes.

use super::delete::{Delete, extract};
use super::documents::{Document, Identity};
use super::json::{self, Operation};
use super::{PatchError, Source};
use crate::version::Generator;
use crate::yaml::{Node, leading_documents, parse_documents};

pub(super) enum Patch {
    /// No document at all. Talos takes it for a JSON patch without operations.
    Empty,
    Strategic(Vec<Step>),
    Json(Vec<Operation>),
}

/// One thing that a strategic patch does.
pub(super) enum Step {
    Delete(Delete),
    Merge(Document),
}

impl Patch {
    /// What it does where it is a JSON patch.
    pub(super) fn operations(self) -> Vec<Operation> {
        match self {
            Self::Json(operations) => operations,
            Self::Empty | Self::Strategic(_) => Vec::new(),
        }
    }

    pub(super) fn read(
        generator: Generator,
        text: &str,
        source_name: Source,
    ) -> Result<Self, PatchError> {
        let trees = match parse_documents(text) {
            Ok(trees) => trees,
            Err(error) => {
                // Talos's tools read one document after the other: what is wrong before the broken one comes first.
                steps(generator, leading_documents(text), source_name)?;
                return Err(PatchError::Syntax { source_name, error });
            }
        };
        if let [root] = trees.as_slice()
            && root.as_sequence().is_some()
        {
            return json::operations(root, text, source_name).map(Self::Json);
        }
        if trees.is_empty() {
            return Ok(Self::Empty);
        }
        let steps = steps(generator, trees, source_name)?;
        if steps.is_empty() {
            return Err(PatchError::Document {
                source_name,
                line: 1,
                document: String::new(),
                reason: "config not found",
            });
        }
        Ok(Self::Strategic(steps))
    }
}

/// What each document of a strategic patch does.
fn steps(
    generator: Generator,
    trees: Vec<Node>,
    source_name: Source,
) -> Result<Vec<Step>, PatchError> {
    let mut steps = Vec::new();
    let mut known: Vec<Identity> = Vec::new();
    for mut tree in trees {
        let mut deletes = Vec::new();
        let rest = extract(&mut tree, source_name, &mut deletes)?;
        steps.extend(deletes.into_iter().map(Step::Delete));
        if !rest || is_empty(&tree) {
            continue;
        }
        let id = Identity::of(&tree);
        let once = !generator.newest().since_1(14);
        if once && known.contains(&id) {
            return Err(id.duplicate(source_name, tree.line));
        }
        let document = Document::read(generator, tree, source_name)?;
        known.push(id);
        steps.push(Step::Merge(document));
    }
    Ok(steps)
}

/// Whether Talos's tools see nothing in it.
fn is_empty(tree: &Node) -> bool {
    tree.as_mapping().is_some_and(|mapping| {
        mapping.iter().all(|e| {
            e.value.as_scalar().is_some() && matches!(e.key.as_str(), "version" | "kind" | "name")
        })
    })
}
