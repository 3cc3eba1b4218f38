//! What one provider process has planned so far (hcl.md §12): new and changed servers and classes, claims and nodes of this plan.
//!
//! Terraform walks servers, then classes, then claims, then nodes, because each refers to the one before. Deliberately not kept anywhere
//! else: the apply is another process and starts empty. Forgotten as soon as the thing exists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use metal_proto::metal::v1 as pb;

/// The plan of one process.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Planned>);

#[derive(Debug, Default)]
struct Planned {
    servers: BTreeSet<String>,
    /// Scope of every class that was looked at.
    scopes: BTreeMap<String, Vec<String>>,
    classes: BTreeSet<String>,
    /// By server.
    claims: BTreeMap<String, pb::ClaimConfig>,
    /// Birth contracts by name.
    secrets: BTreeMap<String, String>,
    /// Node to server.
    nodes: BTreeMap<String, String>,
}

/// How a class stands in this plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassPlan {
    /// bootd knows what there is to know.
    Settled,
    /// The class is new or changed: bootd cannot pick from it yet.
    Pending,
    /// Boxes of its scope are new or changed: bootd may find none yet.
    Growing,
}

impl Memory {
    /// A server that is new or changed.
    pub(crate) fn server(&self, id: &str) {
        self.lock().servers.insert(id.to_owned());
    }

    /// The server is as planned.
    pub(crate) fn server_done(&self, id: &str) {
        self.lock().servers.remove(id);
    }

    pub(crate) fn is_server_pending(&self, id: &str) -> bool {
        self.lock().servers.contains(id)
    }

    /// A class that was planned, with its scope; changed or not.
    pub(crate) fn class(&self, name: &str, scope: Vec<String>, plan: ClassPlan) {
        let mut all = self.lock();
        all.scopes.insert(name.to_owned(), scope);
        if plan != ClassPlan::Settled {
            all.classes.insert(name.to_owned());
        }
    }

    pub(crate) fn class_done(&self, name: &str) {
        self.lock().classes.remove(name);
    }

    pub(crate) fn class_plan(&self, name: &str) -> ClassPlan {
        let all = self.lock();
        let growing = |scope: &Vec<String>| scope.iter().any(|s| all.servers.contains(s));
        if all.classes.contains(name) {
            ClassPlan::Pending
        } else if all.scopes.get(name).is_some_and(growing) {
            ClassPlan::Growing
        } else {
            ClassPlan::Settled
        }
    }

    /// A claim that holds a box in this plan.
    pub(crate) fn claim(&self, server: &str, config: pb::ClaimConfig) {
        self.lock().claims.insert(server.to_owned(), config);
    }

    pub(crate) fn claim_on(&self, server: &str) -> Option<pb::ClaimConfig> {
        self.lock().claims.get(server).cloned()
    }

    pub(crate) fn secrets(&self, name: &str, contract: &str) {
        self.lock()
            .secrets
            .insert(name.to_owned(), contract.to_owned());
    }

    pub(crate) fn contract_of(&self, secrets: &str) -> Option<String> {
        self.lock().secrets.get(secrets).cloned()
    }

    /// Puts a node on a server; another node that is already there is returned.
    pub(crate) fn node(&self, node: &str, server: &str) -> Option<String> {
        let mut all = self.lock();
        let other = all
            .nodes
            .iter()
            .find(|(n, s)| *s == server && *n != node)
            .map(|(n, _)| n.clone());
        all.nodes.insert(node.to_owned(), server.to_owned());
        other
    }

    /// A panic elsewhere leaves plain data behind, which stays usable.
    fn lock(&self) -> MutexGuard<'_, Planned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_waits_for_itself_and_its_boxes() {
        let memory = Memory::default();
        memory.server("b1");
        memory.class("any", vec!["b1".into(), "b2".into()], ClassPlan::Pending);
        assert_eq!(memory.class_plan("any"), ClassPlan::Pending);
        memory.class_done("any");
        assert_eq!(memory.class_plan("any"), ClassPlan::Growing);
        memory.server_done("b1");
        assert_eq!(memory.class_plan("any"), ClassPlan::Settled);
        assert_eq!(memory.class_plan("other"), ClassPlan::Settled);
    }

    #[test]
    fn two_nodes_on_one_server_are_seen() {
        let memory = Memory::default();
        assert_eq!(memory.node("lab/a", "b1"), None);
        assert_eq!(memory.node("lab/a", "b1"), None);
        assert_eq!(memory.node("lab/b", "b1"), Some("lab/a".into()));
        assert_eq!(memory.node("lab/c", "b2"), None);
    }
}
