//! Rules about all documents together. Generator 1.13 has none of them.

use super::found::{Found, Scope};
use super::go::quoted;
use super::machine::Kind;
use super::{Mode, Rules};
use crate::patch::Document;
use crate::schema::{Place, Schema};
use crate::version::Generator;
use crate::yaml::Node;

pub(super) fn check(documents: &[Document], generator: Generator, rules: Rules, found: &mut Found) {
    if !generator.newest().since_1(14) {
        return;
    }
    let nothing = Node::map::<&str>([]);
    let main = documents.iter().find(|d| d.id.is_main());
    let root = main.map_or(&nothing, |d| &d.root);
    let mut scope = Scope::whole(root, generator, rules, found);
    let all = All { documents };
    host_dns(&all, &mut scope);
    discovery(&all, &mut scope);
    containers(&all, &mut scope);
    kubespan(&all, &mut scope);
    control_planes(&all, main.is_some(), &mut scope);
}

struct All<'a> {
    documents: &'a [Document],
}

impl<'a> All<'a> {
    fn of(&self, kind: &'a str) -> impl Iterator<Item = &'a Document> {
        self.documents.iter().filter(move |d| d.id.kind == kind)
    }

    fn has(&self, kind: &'a str) -> bool {
        self.of(kind).next().is_some()
    }
}

/// Whether host DNS is configured, is on, and forwards; a document that is off leaves it to the main document.
fn host_dns_state(all: &All<'_>, scope: &Scope<'_>) -> Option<(bool, bool)> {
    let is = |root: &Node, path: &[&str]| root.text_at(path) == Some("true");
    let own = all.of("ResolverConfig").next().map(|d| &d.root);
    if let Some(root) = own.filter(|r| is(r, &["hostDNS", "enabled"])) {
        return Some((true, is(root, &["hostDNS", "forwardKubeDNSToHost"])));
    }
    scope.has(&["machine", "features", "hostDNS"]).then(|| {
        let at = |key| scope.is_true(&["machine", "features", "hostDNS", key]);
        (at("enabled"), at("forwardKubeDNSToHost"))
    })
}

fn host_dns(all: &All<'_>, scope: &mut Scope<'_>) {
    let state = host_dns_state(all, scope);
    if scope.is_mode(Mode::Container) {
        match state {
            None => scope.error(&[], "hostDNS config is required in container mode"),
            Some((enabled, forward)) => {
                if !enabled {
                    scope.error(&[], "hostDNS must be enabled in container mode");
                }
                if !forward {
                    scope.error(
                        &[],
                        "forwardKubeDNSToHost must be enabled in container mode",
                    );
                }
            }
        }
    }
    let mut servers = all
        .of("ResolverConfig")
        .flat_map(|d| super::found::items(&d.root, &["nameservers"]));
    let encrypted = servers.any(|s| s.text_at(&["protocol"]).is_some_and(|p| p != "Do53"));
    if encrypted && !state.is_some_and(|(enabled, _)| enabled) {
        scope.error(
            &[],
            "hostDNS must be enabled when using non-default DNS protocols",
        );
    }
}

/// Whether nodes find each other: the main document's own way, or documents.
fn discovers(all: &All<'_>, scope: &Scope<'_>) -> bool {
    let legacy = scope.is_true(&["cluster", "discovery", "enabled"])
        && !scope.is_true(&["cluster", "discovery", "registries", "service", "disabled"]);
    legacy || all.has("DiscoveryServiceConfig")
}

fn discovery(all: &All<'_>, scope: &mut Scope<'_>) {
    if !discovers(all, scope) {
        return;
    }
    let (id, secret) = (
        scope.text(&["cluster", "id"]).to_owned(),
        scope.text(&["cluster", "secret"]).to_owned(),
    );
    let identity = match (id.as_str(), secret.as_str()) {
        ("", "") => all.of("DiscoveryIdentityConfig").next().map(|d| {
            let text = |key| d.root.text_at(&[key]).unwrap_or_default().to_owned();
            (text("clusterID"), text("clusterSecret"))
        }),
        _ => Some((id, secret)),
    };
    let (id, secret) = identity.unwrap_or_default();
    for (value, what, key) in [(id, "ID", "id"), (secret, "secret", "secret")] {
        if value.is_empty() {
            let reason = format!(
                "cluster {what} (.cluster.{key} or DiscoveryIdentityConfig) should be set when cluster discovery (DiscoveryServiceConfig) is enabled"
            );
            scope.error(&[], reason);
        }
    }
}

fn kubespan(all: &All<'_>, scope: &mut Scope<'_>) {
    let enabled = match all.of("KubeSpanConfig").next() {
        Some(document) => document.root.text_at(&["enabled"]) == Some("true"),
        None => scope.is_true(&["machine", "network", "kubespan", "enabled"]),
    };
    if enabled && !discovers(all, scope) {
        scope.error(&[], "KubeSpan requires cluster discovery to be enabled");
    }
}

/// Containers wait for containers that exist, and not in a circle.
fn containers(all: &All<'_>, scope: &mut Scope<'_>) {
    let edges: Vec<(&str, Vec<&str>)> = all
        .of("ContainerConfig")
        .map(|d| {
            let others = super::found::items(&d.root, &["dependsOn", "containers"]);
            let others = others.iter().filter_map(Node::as_text).collect();
            (d.id.name.as_str(), others)
        })
        .collect();
    let exists = |name: &str| edges.iter().any(|(n, _)| *n == name);
    for (name, others) in &edges {
        for other in others.iter().filter(|o| !o.is_empty() && !exists(o)) {
            let reason = format!(
                "container {name} depends on container {other} which is not configured",
                name = quoted(name),
                other = quoted(other)
            );
            scope.error(&[], reason);
        }
    }
    // What waits for nothing, or only for what can start, can start.
    let mut started: Vec<&str> = Vec::new();
    loop {
        let before = started.len();
        for (name, others) in &edges {
            let ready = others
                .iter()
                .all(|o| *o == *name || started.contains(o) || !exists(o));
            if ready && !started.contains(name) {
                started.push(name);
            }
        }
        if started.len() == before {
            break;
        }
    }
    let mut stuck: Vec<&str> = edges.iter().map(|(n, _)| *n).collect();
    stuck.retain(|n| !started.contains(n));
    stuck.sort_unstable();
    if !stuck.is_empty() {
        let reason = format!("container dependsOn cycle detected: {}", stuck.join(", "));
        scope.error(&[], reason);
    }
}

fn control_planes(all: &All<'_>, has_main: bool, scope: &mut Scope<'_>) {
    let is_control_plane = has_main && Kind::of(scope.root) == Kind::ControlPlane;
    if is_control_plane {
        let runs = all.has("KubeAPIServerCAConfig")
            || scope.has(&["cluster", "ca"])
            || scope.has(&["cluster", "acceptedCAs"]);
        let secret = |key| !scope.text(&["cluster", key]).is_empty();
        let encrypted = secret("secretboxEncryptionSecret")
            || secret("aescbcEncryptionSecret")
            || all.has("KubeEtcdEncryptionConfig");
        if runs && !encrypted {
            let reason = "etcd encryption config is required for control plane machines running kube-apiserver";
            scope.error(&[], reason);
        }
        return;
    }
    let schema = Schema::of(scope.generator());
    let mut kinds: Vec<&str> = all
        .documents
        .iter()
        .map(|d| d.id.kind.as_str())
        .filter(|k| {
            schema
                .document(k)
                .is_some_and(|d| d.place == Place::ControlPlane)
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    if !kinds.is_empty() {
        let reason = format!(
            "the following document kinds are only allowed on control plane machines: [{}]",
            kinds.join(" ")
        );
        scope.error(&[], reason);
    }
}
