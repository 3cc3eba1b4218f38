//! What differs between two configs, and what the difference costs a running node.
//!
//! Promises: the order of documents and of keys does not count; both sides are read as Talos's machinery reads them, so
//! a value that is written otherwise and means the same is no change; no secret of the bundle is in the result. The
//! class of each change follows what Talos of that version does with it. Not here: what the node is doing (a reboot
//! that drains, an upgrade that waits for etcd).

mod class;
mod tree;

use std::fmt;

pub use class::ChangeClass;
pub(crate) use tree::{Document, DocumentKey, documents, same, written};

use crate::config::MachineConfig;
use crate::patch::PatchError;
use crate::redact::{REDACTED, redact};
use crate::secrets::Bundle;
use crate::version::{Generator, TalosVersion};
use crate::yaml::{Node, Style, Value, emit};

/// Everything that differs between two configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Each place that differs, in the order of the documents and their keys.
    pub changes: Vec<Change>,
}

impl Diff {
    /// The most that any change costs.
    pub fn class(&self) -> ChangeClass {
        let classes = self.changes.iter().map(|c| c.class);
        classes.max().unwrap_or(ChangeClass::None)
    }
}

/// One place that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The document's kind (`v1alpha1` is the main one) and, where it has one, name.
    pub document: String,
    /// The keys down to the place; empty for a whole document.
    pub path: Vec<String>,
    /// The value before, without secrets; absent where there was none.
    pub before: Option<String>,
    /// The value afterwards, without secrets; absent where there is none.
    pub after: Option<String>,
    /// What it costs.
    pub class: ChangeClass,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.before, &self.after) {
            (None, _) => '+',
            (_, None) => '-',
            (Some(_), Some(_)) => '~',
        };
        write!(f, "{sign} {}", self.document)?;
        if !self.path.is_empty() {
            write!(f, " {}", self.path.join("."))?;
        }
        match (&self.before, &self.after) {
            (Some(before), Some(after)) if before == after => {
                f.write_str(": (a secret changed)")?
            }
            (Some(before), Some(after)) => write!(f, ": {before} -> {after}")?,
            (Some(value), None) | (None, Some(value)) => write!(f, ": {value}")?,
            (None, None) => {}
        }
        write!(f, " ({})", self.class)
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes
            .iter()
            .try_for_each(|change| writeln!(f, "{change}"))
    }
}

/// Compares two configs of a node that runs this Talos.
///
/// # Errors
/// One of them is no config: syntax, document kinds, keys or types.
pub fn diff(
    generator: Generator,
    before: &MachineConfig,
    after: &MachineConfig,
    talos: &TalosVersion,
    bundle: &Bundle,
) -> Result<Diff, PatchError> {
    let left = documents(generator, before)?;
    let right = documents(generator, after)?;
    let mut places = Vec::new();
    for old in &left {
        let new = right.iter().find(|d| d.key == old.key);
        tree::places(old, new, &mut places);
    }
    for new in &right {
        if left.iter().all(|d| d.key != new.key) {
            places.push(tree::Place {
                document: new.key.clone(),
                path: Vec::new(),
                before: None,
                after: Some(new.root.clone()),
            });
        }
    }
    let changes = places.into_iter().map(|place| {
        let key = place.path.last().map_or("", String::as_str);
        let show = |node: &Node| shown(key, node, bundle);
        Change {
            class: class::class(&place, talos),
            document: place.document.to_string(),
            before: place.before.as_ref().map(show),
            after: place.after.as_ref().map(show),
            path: place.path,
        }
    });
    Ok(Diff {
        changes: changes.collect(),
    })
}

/// Keys whose value is a secret wherever they stand, also one that no bundle has.
const SECRET_KEYS: [&str; 18] = [
    "token",
    "secret",
    "clusterSecret",
    "key",
    "crt",
    "cert",
    "privateKey",
    "presharedKey",
    "aescbcEncryptionSecret",
    "secretboxEncryptionSecret",
    "password",
    "auth",
    "identityToken",
    "apiToken",
    "passphrase",
    "uniqueToken",
    "jointoken",
    "apiUrl",
];

/// Texts of the user's own, of which nobody knows what is in them.
const OPAQUE_KEYS: [&str; 4] = ["content", "contents", "manifest", "environment"];

fn blanked(key: &str, node: &Node) -> Node {
    match &node.value {
        Value::Scalar(_) if SECRET_KEYS.contains(&key) => Node::text(REDACTED),
        Value::Scalar(scalar) if OPAQUE_KEYS.contains(&key) => {
            Node::text(format!("({} bytes)", scalar.text.len()))
        }
        Value::Sequence(items) if OPAQUE_KEYS.contains(&key) => {
            Node::text(format!("({} items)", items.len()))
        }
        Value::Scalar(_) => node.clone(),
        Value::Sequence(items) => Node::list(items.iter().map(|item| blanked("", item))),
        Value::Mapping(mapping) => Node::map(
            mapping
                .iter()
                .map(|e| (e.key.as_str(), blanked(&e.key, &e.value))),
        ),
    }
}

/// A value in one line, without secrets.
fn shown(key: &str, node: &Node, bundle: &Bundle) -> String {
    let text = redact(&emit(&blanked(key, node), Style::V1_13), bundle);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let line = lines.join(" ");
    match line.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
