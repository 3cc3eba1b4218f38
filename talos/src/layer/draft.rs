//! What a rendering collects: the main document's keys, the documents beside it, and everything that is wrong.

use super::LayerFault;
use crate::config::Role;
use crate::version::Contract;
use crate::yaml::{Mapping, Node, Value};

pub(super) struct Draft {
    pub(super) contract: Contract,
    pub(super) role: Role,
    main: Node,
    documents: Vec<Node>,
    faults: Vec<LayerFault>,
}

impl Draft {
    pub(super) fn new(contract: Contract, role: Role) -> Self {
        Self {
            contract,
            role,
            main: Node::map::<&str>([]),
            documents: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub(super) fn is_control_plane(&self) -> bool {
        self.role != Role::Worker
    }

    pub(super) fn since(&self, minor: u16) -> bool {
        self.contract.since_1(minor)
    }

    /// Whether the contract has what an argument asks for; if not, that is noted.
    pub(super) fn needs(
        &mut self,
        minor: u16,
        argument: impl Into<String>,
        instead: &'static str,
    ) -> bool {
        let there = self.since(minor);
        if !there {
            self.unsupported(minor, argument, instead);
        }
        there
    }

    pub(super) fn unsupported(
        &mut self,
        minor: u16,
        argument: impl Into<String>,
        instead: &'static str,
    ) {
        self.fault(LayerFault::Contract {
            argument: argument.into(),
            contract: self.contract,
            since: Some(minor),
            instead,
        });
    }

    /// An argument that later contracts no longer have.
    pub(super) fn gone(&mut self, argument: impl Into<String>, instead: &'static str) {
        self.fault(LayerFault::Contract {
            argument: argument.into(),
            contract: self.contract,
            since: None,
            instead,
        });
    }

    pub(super) fn invalid(&mut self, argument: impl Into<String>, reason: impl Into<String>) {
        self.fault(LayerFault::Invalid {
            argument: argument.into(),
            reason: reason.into(),
        });
    }

    pub(super) fn fault(&mut self, fault: LayerFault) {
        self.faults.push(fault);
    }

    /// Sets a key of the main document.
    pub(super) fn set(&mut self, path: &[&str], value: Node) {
        set_at(&mut self.main, path, value);
    }

    /// Adds an item to a list of the main document.
    pub(super) fn push(&mut self, path: &[&str], item: Node) {
        let mut items = match self.main.at(path).map(|n| &n.value) {
            Some(Value::Sequence(items)) => items.clone(),
            _ => Vec::new(),
        };
        items.push(item);
        self.set(path, Node::list(items));
    }

    /// Sets a key of the document of a kind that has no name, which is there once.
    pub(super) fn set_in(&mut self, kind: &str, path: &[&str], value: Node) {
        let place = self
            .documents
            .iter_mut()
            .find(|d| d.text_at(&["kind"]) == Some(kind));
        match place {
            Some(document) => set_at(document, path, value),
            None => {
                let mut document = head(kind, None);
                set_at(&mut document, path, value);
                self.documents.push(document);
            }
        }
    }

    /// Adds a document that has a name.
    pub(super) fn named(&mut self, kind: &str, name: &str, entries: Vec<(&str, Node)>) {
        let mut document = head(kind, Some(name));
        for (key, value) in entries {
            set_at(&mut document, &[key], value);
        }
        self.documents.push(document);
    }

    /// The main document where something is in it, and the others; or everything that is wrong.
    pub(super) fn finish(self) -> Result<Vec<Node>, Vec<LayerFault>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let filled = self.main.as_mapping().is_some_and(|m| !m.is_empty());
        let main = filled.then_some(self.main);
        Ok(main.into_iter().chain(self.documents).collect())
    }
}

fn head(kind: &str, name: Option<&str>) -> Node {
    let entries = [("apiVersion", "v1alpha1"), ("kind", kind)].into_iter();
    let name = name.map(|n| ("name", n));
    Node::map(entries.chain(name).map(|(k, v)| (k, Node::text(v))))
}

fn set_at(root: &mut Node, path: &[&str], value: Node) {
    let Some((key, rest)) = path.split_first() else {
        *root = value;
        return;
    };
    if root.as_mapping().is_none() {
        *root = Node::new(Value::Mapping(Mapping::default()));
    }
    let Some(mapping) = root.as_mapping_mut() else {
        return;
    };
    if let Some(place) = mapping.value_mut(key) {
        set_at(place, rest, value);
        return;
    }
    let mut inner = Node::map::<&str>([]);
    set_at(&mut inner, rest, value);
    mapping.set(*key, inner);
}
