//! Documents in their normal form, and who they are.

use super::{PatchError, Source};
use crate::schema::{Decoder, Fault, Schema, Type, Unknown, nearest};
use crate::version::Generator;
use crate::yaml::{Entry, Node, Style, Value, emit_as_written};

/// The kind of the main document, which has none of its own.
pub(crate) const MAIN: &str = "v1alpha1";

#[derive(Clone)]
pub(crate) struct Document {
    pub(crate) id: Identity,
    pub(crate) kind: Type,
    pub(crate) root: Node,
}

/// What makes a document the same as another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Identity {
    pub(crate) fn of(tree: &Node) -> Self {
        let text = |key| tree.text_at(&[key]).unwrap_or_default().to_owned();
        let kind = Some(text("kind")).filter(|k| !k.is_empty());
        Self {
            version: text("apiVersion"),
            name: kind.as_ref().map(|_| text("name")).unwrap_or_default(),
            kind: kind.unwrap_or_else(|| MAIN.to_owned()),
        }
    }

    pub(crate) fn is_main(&self) -> bool {
        self.kind == MAIN
    }

    /// Kind and, where it has one, name.
    pub(crate) fn label(&self) -> String {
        match self.name.as_str() {
            "" => self.kind.clone(),
            name => format!("{}/{name}", self.kind),
        }
    }

    /// As Talos prints it.
    pub(crate) fn whole(&self) -> String {
        format!("{}/{}/{}", self.version, self.kind, self.name)
    }

    pub(super) fn duplicate(&self, source_name: Source, line: usize) -> PatchError {
        PatchError::Duplicate {
            source_name,
            line,
            document: self.whole(),
        }
    }
}

impl Document {
    /// A document's normal form.
    pub(super) fn read(
        generator: Generator,
        tree: Node,
        source_name: Source,
    ) -> Result<Self, PatchError> {
        let id = Identity::of(&tree);
        let kind = known_kind(generator, &tree, &id, source_name)?;
        let line = tree.line;
        let decoded = Decoder::new(Schema::of(generator)).document(tree, &kind);
        match decoded {
            Ok(mut root) => {
                if let Source::Patch(index) = source_name {
                    root.stamp(u32::try_from(index + 1).unwrap_or(u32::MAX));
                }
                Ok(Self { id, kind, root })
            }
            Err((faults, unknown)) => Err(PatchError::Faults {
                source_name,
                theirs: theirs(&id, line, &faults, unknown),
                faults,
            }),
        }
    }
}

fn known_kind(
    generator: Generator,
    tree: &Node,
    id: &Identity,
    source_name: Source,
) -> Result<Type, PatchError> {
    let lacks = |reason| PatchError::Document {
        source_name,
        line: tree.line,
        document: id.whole(),
        reason,
    };
    let Some(mapping) = tree.as_mapping() else {
        return Err(lacks("expected a YAML document"));
    };
    let schema = Schema::of(generator);
    let kind = tree.text_at(&["kind"]).unwrap_or_default();
    let of_main = ["machine", "cluster", "debug", "persist"];
    let is_main = mapping.iter().any(|e| of_main.contains(&e.key.as_str()));
    match (kind, id.version.as_str()) {
        ("", "v1alpha1") => {}
        ("", _) if is_main => {}
        ("", _) => return Err(lacks("missing kind")),
        (_, "") if !is_main => return Err(lacks("missing apiVersion")),
        _ => {}
    }
    let document = schema.document(&id.kind);
    let right_version = id.is_main() || is_main || id.version == "v1alpha1";
    match document.filter(|_| right_version && (kind.is_empty() || kind != MAIN)) {
        Some(document) => Ok(Type::Structure(document.structure)),
        None => Err(PatchError::UnknownKind {
            source_name,
            line: tree.line,
            kind: id.kind.clone(),
            version: id.version.clone(),
            name: id.name.clone(),
            nearest: nearest(&id.kind, schema.kinds()).filter(|k| *k != id.kind),
        }),
    }
}

/// Types come before unknown keys there, and unknown keys are shown with all that stands below them.
fn theirs(id: &Identity, line: usize, faults: &[Fault], unknown: Vec<Unknown>) -> String {
    let head = format!("error decoding document {} (line {line}): ", id.whole());
    let wrong = faults.iter().find(|f| f.is_type());
    if let Some(fault) = wrong {
        let kind = match id.is_main() {
            true => "",
            false => &id.kind,
        };
        return format!("{head}error decoding {kind}: yaml: construct errors: {fault}");
    }
    let mut tree = Node::map::<&str>([]);
    for Unknown { parents, entry } in unknown {
        insert(&mut tree, &parents, entry);
    }
    sort(&mut tree);
    let body = emit_as_written(&tree, Style::V1_13);
    format!("{head}unknown keys found during decoding:\n{body}")
}

fn insert(tree: &mut Node, parents: &[String], entry: Entry) {
    let Some(mapping) = tree.as_mapping_mut() else {
        return;
    };
    match parents.split_first() {
        None => mapping.set(entry.key, entry.value),
        Some((first, rest)) => {
            if mapping.value(first).is_none() {
                mapping.set(first.as_str(), Node::map::<&str>([]));
            }
            if let Some(inner) = mapping.value_mut(first) {
                insert(inner, rest, entry);
            }
        }
    }
}

/// Keys of the parents are sorted; what the user wrote keeps its order. Of a list, only the wrong items are shown.
fn sort(tree: &mut Node) {
    if tree.line > 0 {
        return;
    }
    let Value::Mapping(mapping) = &mut tree.value else {
        return;
    };
    let is_item = |key: &str| key.starts_with('[') && key.ends_with(']');
    let list = mapping.iter().all(|e| is_item(&e.key)) && !mapping.is_empty();
    if !list {
        mapping.sort_natural();
    }
    mapping.iter_mut().for_each(|e| sort(&mut e.value));
    if list {
        let items = std::mem::take(mapping).into_iter().map(|e| e.value);
        tree.value = Value::Sequence(items.collect());
    }
}
