//! Documents beside the parts of the main document that say the same.

use super::found::Scope;
use super::go::quoted;
use super::machine::filled;
use crate::patch::Document;
use crate::schema::parse_duration;
use crate::yaml::Node;

/// `scope` is about the main document.
pub(super) fn check(document: &Document, scope: &mut Scope<'_>) {
    let name = document.id.name.as_str();
    match document.id.kind.as_str() {
        "HostnameConfig" => hostname(scope),
        "ResolverConfig" => resolver(&document.root, scope),
        "TimeSyncConfig" => time_sync(scope),
        "KubeSpanConfig" => {
            let reason = "kubespan is already configured in v1alpha1 machine.network.kubespan";
            refuse_where_present(scope, &["machine", "network", "kubespan"], reason);
        }
        "VolumeConfig" => encryption(&document.root, name, scope),
        "UnattendedInstallConfig" => {
            let reason = "UnattendedInstallConfig config is incompatible with v1alpha1 config (.machine.install)";
            refuse_where_present(scope, &["machine", "install"], reason);
        }
        "CRIBaseRuntimeSpecConfig" => {
            let path = ["machine", "baseRuntimeSpecOverrides"];
            if filled(scope, &path) {
                let reason = "base runtime spec overrides are already set in v1alpha1 config";
                scope.error(&path, reason);
            }
        }
        "ImageCacheConfig" => {
            let reason = "image cache config is already set in v1alpha1 config";
            refuse_where_present(scope, &["machine", "features", "imageCache"], reason);
        }
        "DiscoveryIdentityConfig" => {
            let set = |key| !scope.text(&["cluster", key]).is_empty();
            if set("id") || set("secret") {
                let reason = "cluster identity is already configured in .cluster.id/.cluster.secret of the v1alpha1 config";
                scope.error(&["cluster", "id"], reason);
            }
        }
        "DiscoveryServiceConfig" => {
            let reason = "discovery service is already configured in .cluster.discovery of the v1alpha1 config";
            refuse_where_present(scope, &["cluster", "discovery"], reason);
        }
        kind => kubernetes(kind, scope),
    }
}

fn refuse_where_present(scope: &mut Scope<'_>, path: &[&str], reason: &str) {
    if scope.has(path) {
        scope.error(path, reason);
    }
}

fn hostname(scope: &mut Scope<'_>) {
    let path = ["machine", "network", "hostname"];
    let stable = ["machine", "features", "stableHostname"];
    if !scope.text(&path).is_empty() {
        let hint = "remove it and set HostnameConfig's hostname";
        scope.error_with(
            &path,
            "static hostname is already set in v1alpha1 config",
            hint,
        );
    } else if scope.is_true(&stable) {
        scope.error(&stable, "stable hostname is already set in v1alpha1 config");
    }
}

fn resolver(document: &Node, scope: &mut Scope<'_>) {
    let network = |key| ["machine", "network", key];
    let domains = network("searchDomains");
    let addresses = scope.items(&network("nameservers"));
    let names_servers = addresses
        .iter()
        .any(|a| a.as_text().is_some_and(super::names::is_address));
    let already = |key: &str| format!(".machine.network.{key} is already set in v1alpha1 config");
    if scope.has(&domains) {
        scope.error(&domains, already("searchDomains"));
    } else if names_servers {
        scope.error(&network("nameservers"), already("nameservers"));
    } else if scope.is_true(&network("disableSearchDomain")) {
        scope.error(
            &network("disableSearchDomain"),
            already("disableSearchDomain"),
        );
    } else {
        let own = document.at(&["hostDNS"]).and_then(Node::as_mapping);
        let path = ["machine", "features", "hostDNS"];
        if own.is_some_and(|m| !m.is_empty()) && scope.has(&path) {
            scope.error(
                &path,
                ".machine.features.hostDNS is already set in v1alpha1 config",
            );
        }
    }
}

fn time_sync(scope: &mut Scope<'_>) {
    let at = |key| ["machine", "time", key];
    let both = "in both v1alpha1 and new-style configuration";
    let timeout = scope.text(&at("bootTimeout"));
    if scope.is_true(&at("disabled")) {
        scope.error(
            &at("disabled"),
            format!("time sync cannot be disabled {both}"),
        );
    } else if !scope.items(&at("servers")).is_empty() {
        scope.error(
            &at("servers"),
            format!("time servers cannot be specified {both}"),
        );
    } else if parse_duration(timeout).is_some_and(|t| t != 0) {
        scope.error(
            &at("bootTimeout"),
            format!("boot timeout cannot be specified {both}"),
        );
    }
}

fn encryption(document: &Node, name: &str, scope: &mut Scope<'_>) {
    let key = match name {
        "STATE" => "state",
        "EPHEMERAL" => "ephemeral",
        _ => return,
    };
    let provider = document
        .text_at(&["encryption", "provider"])
        .unwrap_or("none");
    let keys = document
        .at(&["encryption", "keys"])
        .and_then(Node::as_sequence);
    if provider == "none" && keys.is_none_or(<[Node]>::is_empty) {
        return;
    }
    let reason = format!(
        "system disk encryption for {name} is configured in both v1alpha1.Config and VolumeConfig",
        name = quoted(name)
    );
    refuse_where_present(scope, &["machine", "systemDiskEncryption", key], &reason);
}

/// Kind, the part of the main document that says the same, and what the machinery says about it; the first counts.
const KUBERNETES: [(&str, &[&str], &str); 24] = [
    (
        "KubeAdmissionControlConfig",
        &["cluster", "apiServer", "admissionControl"],
        "admission control plugin config is already set in v1alpha1 config",
    ),
    (
        "KubeAuthorizerConfig",
        &["cluster", "apiServer", "admissionControl"],
        "admission control plugin config is already set in v1alpha1 config",
    ),
    (
        "KubeAggregatorCAConfig",
        &["cluster", "aggregatorCA"],
        "kube-apiserver aggregator CA is already set in v1alpha1 config (.cluster.aggregatorCA), please remove it and use the new KubeAggregatorCAConfig document instead",
    ),
    (
        "KubeAPIServerConfig",
        &["cluster", "apiServer"],
        "kube-apiserver config is already set in v1alpha1 config (.cluster.apiServer)",
    ),
    (
        "KubeAPIServerConfig",
        &["cluster", "controlPlane", "localAPIServerPort"],
        "kube-apiserver API port is already set in v1alpha1 config (.cluster.controlPlane.localAPIServerPort)",
    ),
    (
        "KubeAPIServerCAConfig",
        &["cluster", "ca"],
        "kube-apiserver CA is already set in v1alpha1 config (.cluster.ca)",
    ),
    (
        "KubeAuditPolicyConfig",
        &["cluster", "apiServer", "auditPolicy"],
        "audit policy config is already set in v1alpha1 config",
    ),
    (
        "KubeClusterConfig",
        &["cluster", "clusterName"],
        "cluster name is already set in the v1alpha1 config (.cluster.clusterName). Please remove it and use only the new KubeClusterConfig document to avoid conflicts",
    ),
    (
        "KubeClusterConfig",
        &["cluster", "controlPlane", "endpoint"],
        "cluster endpoint is already set in the v1alpha1 config (.cluster.controlPlane.endpoint). Please remove it and use only the new KubeClusterConfig document to avoid conflicts",
    ),
    (
        "KubeControllerManagerConfig",
        &["cluster", "controllerManager"],
        "kube-controller-manager config is already set in v1alpha1 config (.cluster.controllerManager)",
    ),
    (
        "KubeControllerManagerConfig",
        &["machine", "controlPlane", "controllerManager"],
        "kube-controller-manager config is already set in v1alpha1 config (.machine.controlplane.controllerManager)",
    ),
    (
        "KubeSchedulerConfig",
        &["cluster", "scheduler"],
        "kube-scheduler config is already set in v1alpha1 config (.cluster.scheduler)",
    ),
    (
        "KubeSchedulerConfig",
        &["machine", "controlPlane", "scheduler"],
        "kube-scheduler config is already set in v1alpha1 config (.machine.controlplane.scheduler)",
    ),
    (
        "KubeCoreDNSConfig",
        &["cluster", "coreDNS"],
        "CoreDNS config is already set in v1alpha1 config (.cluster.coreDNS)",
    ),
    (
        "KubeCredentialProviderConfig",
        &["machine", "kubelet"],
        "cannot use KubeCredentialProviderConfig with legacy kubelet configuration (.machine.kubelet)",
    ),
    (
        "KubeFlannelCNIConfig",
        &["cluster", "network"],
        "cluster network config in v1alpha1 config (.machine.cluster.network) can't be used with KubeFlannelCNIConfig document, please remove it to avoid conflicts",
    ),
    (
        "KubeletConfig",
        &["machine", "kubelet"],
        "kubelet config is already set in v1alpha1 config (.machine.kubelet)",
    ),
    (
        "KubePrismConfig",
        &["machine", "features", "kubePrism"],
        "KubePrism config in v1alpha1 config (.machine.features.kubePrism) can't be used with KubePrismConfig document, please remove it to avoid conflicts",
    ),
    (
        "KubeNetworkConfig",
        &["cluster", "network"],
        "cluster network config is already set in the v1alpha1 config (.machine.cluster.network). Please remove it and use only the new KubeNetworkConfig document to avoid conflicts",
    ),
    (
        "KubeProxyConfig",
        &["cluster", "proxy"],
        "cluster proxy config in v1alpha1 config (.machine.cluster.proxy) can't be used with KubeProxyConfig document, please remove it to avoid conflicts",
    ),
    (
        "KubeServiceAccountConfig",
        &["cluster", "serviceAccount"],
        "service account is already set in v1alpha1 config (.cluster.serviceAccount)",
    ),
    (
        "KubeTalosAPIAccessConfig",
        &["machine", "features", "kubernetesTalosAPIAccess"],
        ".machine.features.kubernetesTalosAPIAccess is already set in v1alpha1 config",
    ),
    (
        "KubeEtcdEncryptionConfig",
        &["cluster", "secretboxEncryptionSecret"],
        "etcd encryption config is already set in v1alpha1 config",
    ),
    (
        "KubeEtcdEncryptionConfig",
        &["cluster", "aescbcEncryptionSecret"],
        "etcd encryption config is already set in v1alpha1 config",
    ),
];

/// What a node's document conflicts with, in the machinery's order.
const NODE: [&[&str]; 8] = [
    &["cluster", "allowSchedulingOnControlPlanes"],
    &["cluster", "allowSchedulingOnMasters"],
    &["machine", "kubelet", "skipNodeRegistration"],
    &["machine", "kubelet", "registerWithFQDN"],
    &["machine", "kubelet", "nodeIP"],
    &["machine", "nodeLabels"],
    &["machine", "nodeAnnotations"],
    &["machine", "nodeTaints"],
];

fn kubernetes(kind: &str, scope: &mut Scope<'_>) {
    if kind == "KubeNodeConfig" {
        if let Some(path) = NODE.iter().find(|p| scope.has(p)) {
            let reason = format!(".{} is already set in v1alpha1 config", path.join("."));
            scope.error(path, reason);
        }
        return;
    }
    let mut rules = KUBERNETES.iter().filter(|(k, ..)| *k == kind);
    if let Some((_, path, reason)) = rules.find(|(_, path, _)| counts(scope, path)) {
        scope.error(path, *reason);
    }
}

/// Whether a part says something: empty texts, lists and free-form values do not.
fn counts(scope: &Scope<'_>, path: &[&str]) -> bool {
    let Some(node) = scope.root.at(path) else {
        return false;
    };
    let empty_list = node.as_sequence().is_some_and(<[Node]>::is_empty);
    let empty_text = matches!(node.as_text(), Some("" | "0"));
    let free = path.last() == Some(&"auditPolicy") && !filled(scope, path);
    !node.is_null() && !empty_list && !empty_text && !free
}
