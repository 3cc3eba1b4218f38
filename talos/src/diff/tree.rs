//! Documents in their normal forms, and the places where two of them differ.

use std::fmt;

use crate::config::MachineConfig;
use crate::patch::{PatchError, apply};
use crate::version::Generator;
use crate::yaml::{Node, Value, parse_documents};

/// A document's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocumentKey {
    /// `v1alpha1` for the main one.
    pub(crate) kind: String,
    /// Empty where it has none.
    pub(crate) name: String,
}

impl DocumentKey {
    pub(crate) fn of(root: &Node) -> Self {
        let text = |key| root.text_at(&[key]).map(str::to_owned);
        let kind = text("kind");
        Self {
            name: text("name").filter(|_| kind.is_some()).unwrap_or_default(),
            kind: kind.unwrap_or_else(|| "v1alpha1".to_owned()),
        }
    }

    pub(crate) fn is_main(&self) -> bool {
        self.kind == "v1alpha1"
    }
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.name.is_empty() {
            write!(f, "/{}", self.name)?;
        }
        Ok(())
    }
}

/// A document as the machinery would write it.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) key: DocumentKey,
    pub(crate) root: Node,
}

/// The documents of a config as the machinery would write them.
pub(crate) fn documents(
    generator: Generator,
    config: &MachineConfig,
) -> Result<Vec<Document>, PatchError> {
    let none: [&str; 0] = [];
    Ok(written(&apply(generator, config, &none)?))
}

/// The documents of a config that is in its normal form already.
pub(crate) fn written(config: &MachineConfig) -> Vec<Document> {
    let trees = parse_documents(config.expose()).unwrap_or_default();
    let all = trees.into_iter().map(|root| Document {
        key: DocumentKey::of(&root),
        root,
    });
    all.collect()
}

/// Whether two values mean the same: the order of keys does not count, that of items does.
pub(crate) fn same(left: &Node, right: &Node) -> bool {
    match (&left.value, &right.value) {
        (Value::Mapping(left), Value::Mapping(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|e| right.value(&e.key).is_some_and(|r| same(&e.value, r)))
        }
        (Value::Sequence(left), Value::Sequence(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (left, right) => left == right,
    }
}

/// A place where two documents differ.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) document: DocumentKey,
    pub(super) path: Vec<String>,
    pub(super) before: Option<Node>,
    pub(super) after: Option<Node>,
}

/// The places where a document differs from another one, or from nothing.
pub(super) fn places(old: &Document, new: Option<&Document>, out: &mut Vec<Place>) {
    let mut walk = Walk {
        document: &old.key,
        path: Vec::new(),
        out,
    };
    match new {
        Some(new) => walk.compare(&old.root, &new.root),
        None => walk.found(Some(&old.root), None),
    }
}

struct Walk<'a> {
    document: &'a DocumentKey,
    path: Vec<String>,
    out: &'a mut Vec<Place>,
}

impl Walk<'_> {
    fn found(&mut self, before: Option<&Node>, after: Option<&Node>) {
        self.out.push(Place {
            document: self.document.clone(),
            path: self.path.clone(),
            before: before.cloned(),
            after: after.cloned(),
        });
    }

    fn at(&mut self, key: impl Into<String>, before: Option<&Node>, after: Option<&Node>) {
        self.path.push(key.into());
        match (before, after) {
            (Some(before), Some(after)) => self.compare(before, after),
            (before, after) => self.found(before, after),
        }
        self.path.pop();
    }

    fn compare(&mut self, old: &Node, new: &Node) {
        if same(old, new) {
            return;
        }
        match (&old.value, &new.value) {
            (Value::Mapping(left), Value::Mapping(right)) => {
                for entry in left {
                    self.at(
                        entry.key.as_str(),
                        Some(&entry.value),
                        right.value(&entry.key),
                    );
                }
                for entry in right {
                    if left.value(&entry.key).is_none() {
                        self.at(entry.key.as_str(), None, Some(&entry.value));
                    }
                }
            }
            (Value::Sequence(left), Value::Sequence(right)) => self.items(old, new, left, right),
            _ => self.found(Some(old), Some(new)),
        }
    }

    fn items(&mut self, old: &Node, new: &Node, left: &[Node], right: &[Node]) {
        let (Some(before), Some(after)) = (names(left), names(right)) else {
            self.found(Some(old), Some(new));
            return;
        };
        let start = self.out.len();
        for (item, name) in left.iter().zip(&before) {
            let other = after.iter().position(|n| n == name);
            self.at(name.as_str(), Some(item), other.map(|i| &right[i]));
        }
        for (item, name) in right.iter().zip(&after) {
            if !before.contains(name) {
                self.at(name.as_str(), None, Some(item));
            }
        }
        // The same items in another order.
        if self.out.len() == start {
            self.found(Some(old), Some(new));
        }
    }
}

/// Keys by which items of a list are told apart.
const NAMES: [&str; 9] = [
    "name",
    "interface",
    "vlanId",
    "mountPath",
    "path",
    "device",
    "destination",
    "url",
    "address",
];

/// What tells each item apart, where each has something of its own.
fn names(items: &[Node]) -> Option<Vec<String>> {
    let name = |item: &Node| {
        let mut keys = NAMES.iter();
        keys.find_map(|key| item.text_at(&[key])).map(str::to_owned)
    };
    let names: Vec<String> = items.iter().map(name).collect::<Option<_>>()?;
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    sorted.dedup();
    (sorted.len() == names.len()).then_some(names)
}
