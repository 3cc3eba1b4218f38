//! Registries, their mirrors and their TLS: a section of the machine, or documents of their own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::documents::document;
use super::generate::{Entries, Plan};
use super::input::{Registry, RegistryTls};
use crate::yaml::Node;

impl Plan<'_> {
    /// Up to contract 1.11, registries stand in the machine section.
    pub(super) fn registries_in_machine(&self) -> Option<Node> {
        if self.since_1(12) {
            return None;
        }
        let mut mirrors = Vec::new();
        // Kubernetes' images moved when this contract was the newest.
        let moved = "k8s.gcr.io";
        let mirrored = |r: &Registry| r.endpoints.is_some();
        if self.since_1(2)
            && !self.since_1(3)
            && !self.input.registries.get(moved).is_some_and(mirrored)
        {
            let both = Node::texts(["https://registry.k8s.io", "https://k8s.gcr.io"]);
            mirrors.push((moved, Node::map([("endpoints", both)])));
        }
        let mut configs = Vec::new();
        for (host, registry) in &self.input.registries {
            if let Some(endpoints) = &registry.endpoints {
                let endpoints = Node::texts(endpoints);
                mirrors.push((host.as_str(), Node::map([("endpoints", endpoints)])));
            }
            if let Some(tls) = &registry.tls {
                let tls = tls_entries(tls, |pem| STANDARD.encode(pem));
                let config = Node::map([("tls", Node::map(tls))]);
                configs.push((host.as_str(), config));
            }
        }
        if self.input.registries.is_empty() && mirrors.is_empty() {
            return None;
        }
        let parts = [("mirrors", mirrors), ("config", configs)];
        let filled = parts.into_iter().filter(|(_, entries)| !entries.is_empty());
        Some(Node::map(filled.map(|(key, entries)| {
            let mut node = Node::map(entries);
            if let Some(mapping) = node.as_mapping_mut() {
                mapping.sort_natural();
            }
            (key, node)
        })))
    }

    /// From contract 1.12 on, each registry has documents of its own.
    pub(super) fn registries_as_documents(&self) -> Vec<Node> {
        if !self.since_1(12) {
            return Vec::new();
        }
        let all = || self.input.registries.iter();
        let mirrors = all().filter_map(|(host, r)| mirror_document(host, r));
        let tls = all().filter_map(|(host, r)| Some(tls_document(host, r.tls.as_ref()?)));
        mirrors.chain(tls).collect()
    }
}

fn mirror_document(host: &str, registry: &Registry) -> Option<Node> {
    let endpoints = registry.endpoints.as_ref()?;
    let url = |endpoint: &String| Node::map([("url", Node::text(endpoint))]);
    let urls = Node::list(endpoints.iter().map(url));
    let urls = Some(("endpoints", urls)).filter(|_| !endpoints.is_empty());
    let name = ("name", Node::text(host));
    let entries = [name].into_iter().chain(urls);
    Some(document("RegistryMirrorConfig", entries))
}

fn tls_document(host: &str, tls: &RegistryTls) -> Node {
    let name = ("name", Node::text(host));
    let entries = tls_entries(tls, str::to_owned);
    document("RegistryTLSConfig", [name].into_iter().chain(entries))
}

fn tls_entries(tls: &RegistryTls, encoded: impl Fn(&str) -> String) -> Entries {
    let mut out: Entries = Vec::new();
    if let Some(pem) = tls.ca().filter(|pem| !pem.is_empty()) {
        out.push(("ca", Node::text(encoded(pem))));
    }
    if tls.skips_verification() {
        out.push(("insecureSkipVerify", Node::boolean(true)));
    }
    out
}
