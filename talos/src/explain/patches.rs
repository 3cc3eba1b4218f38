//! The smallest strategic merge patches between two configs in their normal forms.
//!
//! At most two: one that deletes, one that sets. Each document's part is tried by itself; where a part does not give
//! what it should (Talos's merge has rules of its own for some lists and values), a coarser one takes its place: a whole
//! section, then the whole document.

use super::ExplainError;
use crate::config::{MachineConfig, style};
use crate::diff::{Document, DocumentKey, documents, same};
use crate::patch::apply;
use crate::version::Generator;
use crate::yaml::{Node, Value, emit_documents};

/// Lists that a patch replaces instead of adding to them, by their last keys.
const REPLACED: [&[&str]; 6] = [
    &["cluster", "network", "podSubnets"],
    &["cluster", "network", "serviceSubnets"],
    &["cluster", "apiServer", "auditPolicy"],
    &["ingress"],
    &["portSelector", "ports"],
    &["configuration"],
];

/// How many values patches would have to say.
pub(super) fn cost(from: &[Document], to: &[Document]) -> usize {
    let gone = from.iter().filter(|d| find(to, &d.key).is_none()).count();
    let rest = to.iter().map(|target| match find(from, &target.key) {
        Some(source) => difference(&source.root, &target.root),
        None => size(&target.root),
    });
    gone + rest.sum::<usize>()
}

fn find<'a>(all: &'a [Document], key: &DocumentKey) -> Option<&'a Document> {
    all.iter().find(|d| d.key == *key)
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::Sequence(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Mapping(mapping) => 1 + mapping.iter().map(|e| size(&e.value)).sum::<usize>(),
    }
}

fn difference(from: &Node, to: &Node) -> usize {
    if same(from, to) {
        return 0;
    }
    match (&from.value, &to.value) {
        (Value::Mapping(left), Value::Mapping(right)) => {
            let gone = left.iter().filter(|e| right.value(&e.key).is_none());
            let rest = right.iter().map(|e| match left.value(&e.key) {
                Some(value) => difference(value, &e.value),
                None => size(&e.value),
            });
            gone.count() + rest.sum::<usize>()
        }
        _ => size(to),
    }
}

/// The patches that make one config of another.
pub(super) fn between(
    generator: Generator,
    from: &[Document],
    to: &[Document],
) -> Result<Vec<String>, ExplainError> {
    let mut deletions = Vec::new();
    let mut settings = Vec::new();
    for source in from.iter().filter(|d| find(to, &d.key).is_none()) {
        if source.key.is_main() {
            return Err(ExplainError::Missing("the main document"));
        }
        deletions.push(whole_deletion(&source.key));
    }
    for target in to {
        let Some(source) = find(from, &target.key) else {
            settings.push(target.root.clone());
            continue;
        };
        if same(&source.root, &target.root) {
            continue;
        }
        let part = document(generator, source, target)?;
        deletions.extend(part.delete);
        settings.extend(part.set);
    }
    let texts = [deletions, settings].into_iter();
    let texts = texts.filter(|documents| !documents.is_empty());
    Ok(texts
        .map(|documents| emit_documents(&documents, style(generator)))
        .collect())
}

/// What is deleted and what is set in one document.
#[derive(Default)]
struct Part {
    delete: Option<Node>,
    set: Option<Node>,
}

/// How much of a document is written anew where something in it differs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grain {
    /// Only what differs.
    Value,
    /// What stands below the second key.
    Section,
    /// Everything.
    Document,
}

fn document(
    generator: Generator,
    source: &Document,
    target: &Document,
) -> Result<Part, ExplainError> {
    if let Some(secret) = changed_secret(source, target) {
        return Err(ExplainError::Secrets(secret));
    }
    for grain in [Grain::Value, Grain::Section, Grain::Document] {
        if grain == Grain::Document && source.key.is_main() {
            break;
        }
        let part = build(source, target, grain);
        if gives(generator, source, target, &part) {
            return Ok(part);
        }
    }
    Err(ExplainError::Irreproducible(target.key.to_string()))
}

/// Places whose values are the cluster's secrets, by document: patches never hold them.
const SECRETS: [(&str, &[&str]); 15] = [
    ("v1alpha1", &["machine", "token"]),
    ("v1alpha1", &["machine", "ca"]),
    ("v1alpha1", &["cluster", "secret"]),
    ("v1alpha1", &["cluster", "token"]),
    ("v1alpha1", &["cluster", "ca"]),
    ("v1alpha1", &["cluster", "aggregatorCA"]),
    ("v1alpha1", &["cluster", "serviceAccount"]),
    ("v1alpha1", &["cluster", "etcd", "ca"]),
    ("v1alpha1", &["cluster", "secretboxEncryptionSecret"]),
    ("v1alpha1", &["cluster", "aescbcEncryptionSecret"]),
    ("DiscoveryIdentityConfig", &["clusterSecret"]),
    ("KubeAPIServerCAConfig", &["issuingCA"]),
    ("KubeAggregatorCAConfig", &["issuingCA"]),
    ("KubeServiceAccountConfig", &["issuer", "privateKey"]),
    ("KubeEtcdEncryptionConfig", &["config"]),
];

fn changed_secret(source: &Document, target: &Document) -> Option<String> {
    let changed = |(kind, path): &&(&str, &[&str])| {
        *kind == source.key.kind
            && match (source.root.at(path), target.root.at(path)) {
                (Some(left), Some(right)) => !same(left, right),
                (None, Some(_)) => true,
                (_, None) => false,
            }
    };
    let (kind, path) = SECRETS.iter().find(changed)?;
    let path = path.join(".");
    Some(match *kind {
        "v1alpha1" => path,
        kind => format!("{kind} {path}"),
    })
}

/// Whether a part does what it should.
fn gives(generator: Generator, source: &Document, target: &Document, part: &Part) -> bool {
    let text = |node: &Node| emit_documents([node], style(generator));
    let patches: Vec<String> = [&part.delete, &part.set]
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    let config = MachineConfig::new(text(&source.root));
    let patched = apply(generator, &config, &patches);
    let result = patched.ok().and_then(|c| documents(generator, &c).ok());
    result.is_some_and(|all| match all.as_slice() {
        [only] => same(&only.root, &target.root),
        _ => false,
    })
}

fn build(source: &Document, target: &Document, grain: Grain) -> Part {
    if grain == Grain::Document {
        return Part {
            delete: Some(whole_deletion(&source.key)),
            set: Some(target.root.clone()),
        };
    }
    let mut walk = Walk {
        grain,
        path: Vec::new(),
    };
    let (delete, set) = walk.compare(&source.root, &target.root);
    let headed = |body: Node| {
        let entries = body.as_mapping().cloned().unwrap_or_default().into_iter();
        let entries = entries.map(|e| (e.key, e.value));
        Node::map(head(&source.key).into_iter().chain(entries))
    };
    Part {
        delete: delete.map(headed),
        set: set.map(headed),
    }
}

fn head(key: &DocumentKey) -> Vec<(String, Node)> {
    if key.is_main() {
        return Vec::new();
    }
    let mut out = vec![
        ("apiVersion".to_owned(), Node::text("v1alpha1")),
        ("kind".to_owned(), Node::text(&key.kind)),
    ];
    if !key.name.is_empty() {
        out.push(("name".to_owned(), Node::text(&key.name)));
    }
    out
}

fn deletion() -> Node {
    Node::map([("$patch", Node::text("delete"))])
}

fn whole_deletion(key: &DocumentKey) -> Node {
    let delete = ("$patch".to_owned(), Node::text("delete"));
    Node::map(head(key).into_iter().chain([delete]))
}

struct Walk {
    grain: Grain,
    path: Vec<String>,
}

impl Walk {
    /// What is deleted and what is set below a place whose values differ.
    fn compare(&mut self, from: &Node, to: &Node) -> (Option<Node>, Option<Node>) {
        let coarse = self.grain == Grain::Section && self.path.len() == 2;
        match (&from.value, &to.value) {
            _ if coarse || self.is_replaced() => {
                let delete = (!self.is_replaced()).then(deletion);
                (delete, Some(to.clone()))
            }
            (Value::Mapping(left), Value::Mapping(right)) => {
                let mut delete = Vec::new();
                let mut set = Vec::new();
                for entry in left {
                    match right.value(&entry.key) {
                        None => delete.push((entry.key.clone(), deletion())),
                        Some(value) if same(&entry.value, value) => {}
                        Some(value) => {
                            self.path.push(entry.key.clone());
                            let (inner_delete, inner_set) = self.compare(&entry.value, value);
                            self.path.pop();
                            delete.extend(inner_delete.map(|d| (entry.key.clone(), d)));
                            set.extend(inner_set.map(|s| (entry.key.clone(), s)));
                        }
                    }
                }
                for entry in right {
                    if left.value(&entry.key).is_none() {
                        set.push((entry.key.clone(), entry.value.clone()));
                    }
                }
                let some = |entries: Vec<(String, Node)>| {
                    (!entries.is_empty()).then(|| Node::map(entries))
                };
                (some(delete), some(set))
            }
            (Value::Sequence(left), Value::Sequence(right)) => {
                let is_prefix =
                    left.len() < right.len() && left.iter().zip(right).all(|(l, r)| same(l, r));
                if is_prefix {
                    let rest = right[left.len()..].iter().cloned();
                    (None, Some(Node::list(rest)))
                } else {
                    (Some(deletion()), Some(to.clone()))
                }
            }
            // A merge takes a zero value for an absent one.
            _ if is_zero(to) => (Some(deletion()), Some(to.clone())),
            (Value::Scalar(_), Value::Scalar(_)) => (None, Some(to.clone())),
            _ => (Some(deletion()), Some(to.clone())),
        }
    }

    fn is_replaced(&self) -> bool {
        let ends = |keys: &&&[&str]| {
            let at = self.path.len().checked_sub(keys.len());
            at.is_some_and(|at| self.path[at..].iter().zip(keys.iter()).all(|(a, b)| a == b))
        };
        REPLACED.iter().any(|keys| ends(&keys))
    }
}

fn is_zero(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => matches!(scalar.text.as_str(), "" | "0" | "null" | "0s"),
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(mapping) => mapping.is_empty(),
    }
}
