//! The arguments of Kubernetes: the node's own and the cluster's, as legacy keys or, from contract 1.14 on, documents.

use super::args::{Cluster, Component, InlineManifest, KubeSpan, Kubelet, Node};
use super::draft::Draft;
use super::links::on;
use super::machine::texts;
use crate::config::Toggle;
use crate::yaml::Node as Yaml;

/// The first contract whose Kubernetes is documents.
const DOCUMENTS: u16 = 14;

pub(super) fn render(cluster: &Cluster, node: &Node, draft: &mut Draft) {
    node_object(node, draft);
    kubelet(&node.kubelet, draft);
    kubespan(cluster, draft);
    if let Some(endpoint) = &cluster.discovery.endpoint {
        if !endpoint.starts_with("https://") {
            draft.invalid("discovery.endpoint", "it must be a URL with https");
        }
        let endpoint = Yaml::text(endpoint);
        if draft.since(DOCUMENTS) {
            draft.named(
                "DiscoveryServiceConfig",
                "default",
                vec![("endpoint", endpoint)],
            );
        } else {
            let path = ["cluster", "discovery", "registries", "service", "endpoint"];
            draft.set(&path, endpoint);
        }
    }
    if draft.is_control_plane() {
        components(cluster, draft);
        manifests(cluster, draft);
    }
}

/// Labels, annotations and taints.
fn node_object(node: &Node, draft: &mut Draft) {
    for (argument, legacy, document, values) in [
        ("labels", "nodeLabels", "labels", &node.labels),
        (
            "annotations",
            "nodeAnnotations",
            "annotations",
            &node.annotations,
        ),
        ("taints", "nodeTaints", "taints", &node.taints),
    ] {
        if values.is_empty() {
            continue;
        }
        if argument == "annotations" && !draft.needs(8, argument, "annotate the node by kubectl") {
            continue;
        }
        if draft.since(DOCUMENTS) {
            draft.set_in("KubeNodeConfig", &[document], texts(values));
        } else {
            draft.set(&["machine", legacy], texts(values));
        }
    }
}

fn kubelet(kubelet: &Kubelet, draft: &mut Draft) {
    let documents = draft.since(DOCUMENTS);
    let put = |draft: &mut Draft, legacy: &str, document: &str, value: Yaml| {
        if documents {
            draft.set_in("KubeletConfig", &[document], value);
        } else {
            draft.set(&["machine", "kubelet", legacy], value);
        }
    };
    if let Some(image) = &kubelet.image {
        put(draft, "image", "image", Yaml::text(image));
    }
    if !kubelet.cluster_dns.is_empty() {
        let servers = Yaml::texts(&kubelet.cluster_dns);
        put(draft, "clusterDNS", "clusterDNS", servers);
    }
    if !kubelet.extra_args.is_empty() {
        put(draft, "extraArgs", "extraArgs", texts(&kubelet.extra_args));
    }
    if let Some(config) = &kubelet.extra_config {
        if config.as_mapping().is_some() {
            put(draft, "extraConfig", "config", config.clone());
        } else {
            draft.invalid("kubelet.extra_config", "it must be a mapping");
        }
    }
    if !kubelet.valid_subnets.is_empty() {
        let subnets = Yaml::texts(&kubelet.valid_subnets);
        if documents {
            draft.set_in("KubeNodeConfig", &["nodeIP", "validSubnets"], subnets);
        } else {
            let path = ["machine", "kubelet", "nodeIP", "validSubnets"];
            draft.set(&path, subnets);
        }
    }
    if documents && !kubelet.extra_mounts.is_empty() {
        draft.gone(
            "kubelet.extra_mounts",
            "its KubeletConfig has none; use a user volume, which the kubelet sees anyway",
        );
    } else {
        for mount in &kubelet.extra_mounts {
            let item = Yaml::map([
                ("destination", Yaml::text(&mount.destination)),
                ("type", Yaml::text(&mount.kind)),
                ("source", Yaml::text(&mount.source)),
                ("options", Yaml::texts(&mount.options)),
            ]);
            draft.push(&["machine", "kubelet", "extraMounts"], item);
        }
    }
}

/// Everything of KubeSpan but its switch, which generation writes.
fn kubespan(cluster: &Cluster, draft: &mut Draft) {
    let Some(kubespan) = &cluster.kubespan else {
        return;
    };
    if kubespan.state == Toggle::Enabled && cluster.discovery.state == Toggle::Disabled {
        draft.invalid(
            "kubespan",
            "KubeSpan finds its peers by the discovery service; enable discovery",
        );
    }
    if kubespan.mtu.is_some_and(|mtu| mtu < 1280) {
        draft.invalid("kubespan.mtu", "it must be 1280 or more");
    }
    for (key, networks) in [
        ("filters.endpoints", &kubespan.endpoints),
        (
            "filters.exclude_advertised_networks",
            &kubespan.exclude_advertised_networks,
        ),
    ] {
        for (index, network) in networks.iter().enumerate() {
            let plain = match key {
                "filters.endpoints" => network.strip_prefix('!').unwrap_or(network),
                _ => network,
            };
            if super::address::Prefix::parse(plain).is_none() {
                let reason = "it must be a network like 10.0.0.0/8";
                draft.invalid(format!("kubespan.{key}[{index}]"), reason);
            }
        }
    }
    if !kubespan.exclude_advertised_networks.is_empty() {
        let argument = "kubespan.filters.exclude_advertised_networks";
        draft.needs(12, argument, "leave it out");
    }
    for (path, value) in kubespan_keys(kubespan) {
        if draft.since(13) {
            draft.set_in("KubeSpanConfig", path, value);
        } else {
            let legacy = ["machine", "network", "kubespan"];
            let path: Vec<&str> = legacy.iter().chain(path).copied().collect();
            draft.set(&path, value);
        }
    }
}

fn kubespan_keys(kubespan: &KubeSpan) -> Vec<(&'static [&'static str], Yaml)> {
    let mut out: Vec<(&'static [&'static str], Yaml)> = Vec::new();
    for (path, toggle) in [
        (
            &["advertiseKubernetesNetworks"] as &[&str],
            kubespan.advertise_kubernetes_networks,
        ),
        (&["allowDownPeerBypass"], kubespan.allow_down_peer_bypass),
        (&["harvestExtraEndpoints"], kubespan.harvest_extra_endpoints),
    ] {
        if let Some(toggle) = toggle {
            out.push((path, on(toggle)));
        }
    }
    if let Some(mtu) = kubespan.mtu {
        out.push((&["mtu"], Yaml::integer(mtu)));
    }
    for (path, networks) in [
        (&["filters", "endpoints"] as &[&str], &kubespan.endpoints),
        (
            &["filters", "excludeAdvertisedNetworks"],
            &kubespan.exclude_advertised_networks,
        ),
    ] {
        if !networks.is_empty() {
            out.push((path, Yaml::texts(networks)));
        }
    }
    out
}

fn components(cluster: &Cluster, draft: &mut Draft) {
    let parts: [(&Component, &str, &str); 5] = [
        (&cluster.api_server, "apiServer", "KubeAPIServerConfig"),
        (
            &cluster.controller_manager,
            "controllerManager",
            "KubeControllerManagerConfig",
        ),
        (&cluster.scheduler, "scheduler", "KubeSchedulerConfig"),
        (&cluster.proxy, "proxy", "KubeProxyConfig"),
        // etcd's arguments stay where they were.
        (&cluster.etcd, "etcd", ""),
    ];
    for (component, legacy, document) in parts {
        if component.extra_args.is_empty() {
            continue;
        }
        let arguments = texts(&component.extra_args);
        if draft.since(DOCUMENTS) && !document.is_empty() {
            draft.set_in(document, &["extraArgs"], arguments);
        } else {
            draft.set(&["cluster", legacy, "extraArgs"], arguments);
        }
    }
}

fn manifests(cluster: &Cluster, draft: &mut Draft) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, manifest) in cluster.inline_manifests.iter().enumerate() {
        let InlineManifest { name, contents } = manifest;
        if name.is_empty() || seen.contains(&name.as_str()) {
            let at = format!("inline_manifests[{index}].name");
            draft.invalid(at, "each manifest needs a name of its own");
        }
        seen.push(name);
        let text = Yaml::text(contents.expose());
        if draft.since(DOCUMENTS) {
            draft.named("KubeInlineManifestConfig", name, vec![("manifest", text)]);
        } else {
            let item = Yaml::map([("name", Yaml::text(name)), ("contents", text)]);
            draft.push(&["cluster", "inlineManifests"], item);
        }
    }
    for (index, url) in cluster.extra_manifests.iter().enumerate() {
        if !url.starts_with("https://") && !url.starts_with("http://") {
            let at = format!("extra_manifests[{index}]");
            draft.invalid(at, "it must be a URL with http or https");
        }
        if draft.since(DOCUMENTS) {
            let name = format!("extra-{index}");
            let url = Yaml::text(url);
            draft.named("KubeExternalManifestConfig", &name, vec![("url", url)]);
        } else {
            draft.push(&["cluster", "extraManifests"], Yaml::text(url));
        }
    }
}
