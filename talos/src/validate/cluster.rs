//! The main document: the cluster's half.

use super::found::Scope;
use super::go::quoted;
use super::machine::Kind;
use super::names;
use crate::yaml::Node;

pub(super) fn check(scope: &mut Scope<'_>, kind: Kind) {
    if !scope.has(&["cluster"]) {
        scope.error(&["cluster"], "cluster instructions are required");
        return;
    }
    let endpoint = ["cluster", "controlPlane", "endpoint"];
    let has_section = scope.has(&["cluster", "controlPlane"]);
    let url = scope.text(&endpoint);
    if !scope.has(&endpoint) && (has_section || !scope.since_14()) {
        let hint = "set cluster.controlPlane.endpoint to the URL of the Kubernetes API";
        scope.error_with(&endpoint, "cluster controlplane endpoint is required", hint);
        return;
    }
    if has_section && let Some(error) = names::endpoint_error(url) {
        let reason = format!("invalid controlplane endpoint: {error}");
        scope.error(&endpoint, reason);
    }
    let domain = ["cluster", "network", "dnsDomain"];
    let text = scope.text(&domain);
    if !text.is_empty() && !names::is_dns_domain(text) {
        scope.error(&domain, format!("{} is not a valid DNS name", quoted(text)));
    }
    cloud_provider(scope);
    etcd(scope, kind);
    let key = ["cluster", "ca", "key"];
    if kind != Kind::ControlPlane && !scope.text(&key).is_empty() {
        scope.error(
            &key,
            "cluster CA key is not allowed on non-controlplane nodes (.cluster.ca)",
        );
    }
    inline_manifests(scope);
    discovery(scope);
    api_server(scope);
    for (section, name) in [
        ("controllerManager", "controller-manager"),
        ("scheduler", "scheduler"),
    ] {
        if let Some(error) = resources_error(scope.root.at(&["cluster", section, "resources"])) {
            let reason = format!("{name} resource validation failed: {error}");
            scope.error(&["cluster", section, "resources"], reason);
        }
    }
}

fn cloud_provider(scope: &mut Scope<'_>) {
    let path = ["cluster", "externalCloudProvider", "manifests"];
    let manifests = scope.items(&path);
    if !manifests.is_empty() && !scope.is_true(&["cluster", "externalCloudProvider", "enabled"]) {
        scope.error(
            &path,
            "external cloud provider is disabled, but manifests are provided",
        );
        return;
    }
    for item in manifests {
        let url = item.as_text().unwrap_or_default();
        if let Some(error) = names::endpoint_error(url) {
            let reason = format!(
                "invalid external cloud provider manifest url {url}: {error}",
                url = quoted(url)
            );
            scope.error_at(item, path.join("."), reason);
        }
    }
}

fn etcd(scope: &mut Scope<'_>, kind: Kind) {
    let at = ["cluster", "etcd"];
    if !scope.has(&at) {
        return;
    }
    if kind != Kind::ControlPlane {
        scope.error(&at, "etcd config is only allowed on control plane machines");
        return;
    }
    if !scope.has(&["cluster", "etcd", "ca"]) {
        scope.error(
            &["cluster", "etcd", "ca"],
            "key/cert combination should not be empty",
        );
    }
    let subnet = ["cluster", "etcd", "subnet"];
    let advertised = ["cluster", "etcd", "advertisedSubnets"];
    let old = scope.text(&subnet);
    let new = scope.items(&advertised);
    if !old.is_empty() && !new.is_empty() {
        scope.error(
            &subnet,
            "etcd subnet can't be set when advertised subnets are set",
        );
    }
    let check = |scope: &mut Scope<'_>, node: &Node, key: &str, what: &str| {
        let text = node.as_text().unwrap_or_default();
        let text = text.strip_prefix('!').unwrap_or(text);
        if !names::is_subnet_or_address(text) {
            let reason = format!(
                "etcd {what} subnet is not valid: {text}",
                text = quoted(text)
            );
            scope.error_at(node, format!("cluster.etcd.{key}"), reason);
        }
    };
    match (new, scope.root.at(&subnet)) {
        ([], Some(node)) if !old.is_empty() => check(scope, node, "subnet", "advertised"),
        (items, _) => items
            .iter()
            .for_each(|i| check(scope, i, "advertisedSubnets", "advertised")),
    }
    // Where nothing is said about listening, etcd listens on what it advertises.
    let (key, listen) = match scope.items(&["cluster", "etcd", "listenSubnets"]) {
        [] => ("advertisedSubnets", new),
        listen => ("listenSubnets", listen),
    };
    for item in listen {
        check(scope, item, key, "listen");
    }
}

fn inline_manifests(scope: &mut Scope<'_>) {
    let path = ["cluster", "inlineManifests"];
    let mut seen = Vec::new();
    for (index, item) in scope.items(&path).iter().enumerate() {
        let at = format!("cluster.inlineManifests.{index}");
        let name = item.text_at(&["name"]).unwrap_or_default();
        if name.trim().is_empty() {
            scope.error_at(item, at.clone(), "inline manifest name can't be empty");
        }
        if seen.contains(&name) {
            scope.error_at(
                item,
                at,
                format!(
                    "inline manifest name {name} is duplicate",
                    name = quoted(name)
                ),
            );
        }
        seen.push(name);
    }
}

fn discovery(scope: &mut Scope<'_>) {
    let off = scope.is_true(&["cluster", "discovery", "registries", "service", "disabled"]);
    if !scope.is_true(&["cluster", "discovery", "enabled"]) || off {
        return;
    }
    let endpoint = ["cluster", "discovery", "registries", "service", "endpoint"];
    let text = scope.text(&endpoint);
    if !text.is_empty() {
        match crate::schema::Url::parse(text) {
            Some(url) if !url.scheme.is_empty() || text.starts_with('/') => {
                if !matches!(url.path, "" | "/") {
                    scope.error(&endpoint, "cluster discovery service path should be empty");
                }
            }
            Some(_) | None => {
                let reason = format!(
                    "cluster discovery service registry endpoint is invalid: parse {text}: invalid URI for request",
                    text = quoted(text)
                );
                scope.error(&endpoint, reason);
            }
        }
    }
    for key in ["id", "secret"] {
        if scope.text(&["cluster", key]).is_empty() {
            let reason = format!("cluster discovery service requires .cluster.{key}");
            scope.error(&["cluster", key], reason);
        }
    }
}

pub(super) const AUTHORIZERS: [&str; 3] = ["Node", "RBAC", "Webhook"];

fn api_server(scope: &mut Scope<'_>) {
    let path = ["cluster", "apiServer", "authorizationConfig"];
    let authorizers = scope.items(&path);
    let arguments = scope.mapping(&["cluster", "apiServer", "extraArgs"]);
    if !authorizers.is_empty() {
        let keys: Vec<&str> = arguments
            .into_iter()
            .flatten()
            .map(|e| e.key.as_str())
            .collect();
        if keys.contains(&"authorization-mode") {
            scope.error(&path, "authorization-mode cannot be used in conjunction with AuthorizationConfig, use eitherr AuthorizationConfig or authorization-mode");
            return;
        }
        if keys.iter().any(|k| k.starts_with("authorization-webhook-")) {
            scope.error(&path, "authorization-webhook-* flags cannot be used in conjunction with AuthorizationConfig, use either AuthorizationConfig or authorization-webhook-* flags");
            return;
        }
    }
    for item in authorizers {
        let kind = item.text_at(&["type"]).unwrap_or_default();
        let reason = if kind.is_empty() {
            "authorizer type must be set".to_owned()
        } else if item.text_at(&["name"]).unwrap_or_default().is_empty() {
            "authorizer name must be set".to_owned()
        } else if !AUTHORIZERS.contains(&kind) {
            format!(
                "authorizer type {kind} is not allowed, allowed types are [{}]",
                AUTHORIZERS.join(" ")
            )
        } else {
            continue;
        };
        let reason = format!("apiserver authorization config validation failed: {reason}");
        scope.error_at(item, path.join("."), reason);
        return;
    }
    if let Some(error) = resources_error(scope.root.at(&["cluster", "apiServer", "resources"])) {
        let reason = format!("apiserver resource validation failed: {error}");
        scope.error(&["cluster", "apiServer", "resources"], reason);
    }
}

/// A pod has processors and memory, nothing else.
pub(super) fn resources_error(resources: Option<&Node>) -> Option<String> {
    let sections = ["requests", "limits"].into_iter();
    let mut keys = sections
        .filter_map(|s| resources?.at(&[s])?.as_mapping())
        .flatten();
    keys.find(|e| e.key != "cpu" && e.key != "memory")
        .map(|e| format!("unsupported pod resource {}", quoted(&e.key)))
}

pub(super) fn cni(scope: &mut Scope<'_>) {
    if scope.since_14() && !scope.has(&["cluster", "network"]) {
        return;
    }
    let at = ["cluster", "network", "cni"];
    let name = match scope.has(&at) {
        true => scope.text(&["cluster", "network", "cni", "name"]),
        false => "flannel",
    };
    let urls_path = ["cluster", "network", "cni", "urls"];
    let urls = scope.items(&urls_path);
    if !["flannel", "custom", "none"].contains(&name) {
        let reason = "cni name should be one of [\"flannel\", \"custom\", \"none\"]";
        scope.error(&["cluster", "network", "cni", "name"], reason);
        return;
    }
    if name == "custom" {
        if urls.is_empty() {
            scope.warn(&at, "\"urls\" field should not be empty for \"custom\" CNI");
        }
        for item in urls {
            if let Some(error) = names::endpoint_error(item.as_text().unwrap_or_default()) {
                scope.error_at(item, urls_path.join("."), error);
            }
        }
    } else if !urls.is_empty() {
        scope.error(
            &urls_path,
            format!(
                "\"urls\" field should be empty for {name} CNI",
                name = quoted(name)
            ),
        );
    }
    if name == "flannel" {
        return;
    }
    let arguments = ["cluster", "network", "cni", "flannel", "extraArgs"];
    if !scope.items(&arguments).is_empty() {
        let reason = format!(
            "\"flanneldExtraArgs\" field should be empty for {name} CNI",
            name = quoted(name)
        );
        scope.error(&arguments, reason);
    }
    let policies = [
        "cluster",
        "network",
        "cni",
        "flannel",
        "kubeNetworkPoliciesEnabled",
    ];
    if scope.is_true(&policies) {
        let reason = format!(
            "\"flannelKubeNetworkPoliciesEnabled\" should not be enabled for {name} CNI",
            name = quoted(name)
        );
        scope.error(&policies, reason);
    }
}
