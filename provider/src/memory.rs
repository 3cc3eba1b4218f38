//! What this process has planned: servers and classes that are new or change in this plan, claims, and which node has which server.
//!
//! Terraform plans in graph order (servers → class → claims → nodes) in one process, so a claim can tell "there will be a box" from
//! "there is no box" (`hcl.md` §12). What was applied is forgotten: bootd knows it then.

use std::collections::{BTreeMap, BTreeSet};

use metal_proto::metal::v1::ClaimConfig;

/// One process's memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    servers: BTreeSet<String>,
    classes: BTreeMap<String, Vec<String>>,
    changed_classes: BTreeSet<String>,
    claims: BTreeMap<String, ClaimConfig>,
    nodes: BTreeMap<String, String>,
    contracts: BTreeMap<String, String>,
}

impl Memory {
    /// A server will be made or changed.
    pub(crate) fn plan_server(&mut self, name: &str) {
        self.servers.insert(name.to_owned());
    }

    /// A server was made or changed.
    pub(crate) fn settle_server(&mut self, name: &str) {
        self.servers.remove(name);
    }

    /// A class stands in this plan; `changes` tells whether it will be made or changed.
    pub(crate) fn plan_class(&mut self, name: &str, servers: Vec<String>, changes: Changes) {
        self.classes.insert(name.to_owned(), servers);
        if changes == Changes::Yes {
            self.changed_classes.insert(name.to_owned());
        }
    }

    /// A class was made or changed.
    pub(crate) fn settle_class(&mut self, name: &str) {
        self.changed_classes.remove(name);
    }

    /// Can bootd not answer for this class yet?
    pub(crate) fn class_is_open(&self, name: &str) -> bool {
        let servers = self.classes.get(name).map_or(&[][..], Vec::as_slice);
        self.changed_classes.contains(name) || servers.iter().any(|s| self.servers.contains(s))
    }

    /// Can bootd not answer for this server yet?
    pub(crate) fn server_is_open(&self, name: &str) -> bool {
        self.servers.contains(name)
    }

    /// A claim will take this server.
    pub(crate) fn plan_claim(&mut self, server: &str, claim: ClaimConfig) {
        self.claims.insert(server.to_owned(), claim);
    }

    /// The claim that will take a server.
    pub(crate) fn claim_of(&self, server: &str) -> Option<ClaimConfig> {
        self.claims.get(server).cloned()
    }

    /// A node will run on a server; the node that had it already in this plan.
    pub(crate) fn plan_node(&mut self, server: &str, node: &str) -> Option<String> {
        let other = self.nodes.insert(server.to_owned(), node.to_owned())?;
        (other != node).then_some(other)
    }

    /// Secrets will be made with this birth version.
    pub(crate) fn plan_secrets(&mut self, name: &str, talos_version: &str) {
        self.contracts
            .insert(name.to_owned(), talos_version.to_owned());
    }

    /// The birth version of secrets that are new in this plan.
    pub(crate) fn contract_of(&self, secrets: &str) -> String {
        self.contracts.get(secrets).cloned().unwrap_or_default()
    }
}

/// Does a resource change in this plan?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changes {
    /// It is made or changed.
    Yes,
    /// It stays.
    No,
}
