//! The main document: the machine's half.

use super::found::{Scope, items, number, several};
use super::go::quoted;
use super::{Mode, cluster, devices, kubernetes, names};
use crate::yaml::Node;

/// What a node is, as far as its type is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ControlPlane,
    Worker,
    Unknown,
}

impl Kind {
    pub(super) fn of(main: &Node) -> Self {
        match main.text_at(&["machine", "type"]).unwrap_or_default() {
            "init" | "controlplane" => Self::ControlPlane,
            "worker" | "join" | "" => Self::Worker,
            _ => Self::Unknown,
        }
    }
}

pub(super) fn check(scope: &mut Scope<'_>) {
    if !scope.has(&["machine"]) {
        scope.error(&["machine"], "machine instructions are required");
        return;
    }
    let kind = Kind::of(scope.root);
    if scope.since_14() {
        deprecations(scope);
    }
    cluster::check(scope, kind);
    install(scope);
    host_dns(scope);
    type_name(scope);
    authority(scope, kind);
    devices::check(scope);
    kubespan(scope);
    disks(scope);
    kubelet(scope);
    system_encryption(scope);
    logging(scope);
    extensions(scope);
    node_metadata(scope);
    features(scope, kind);
    if scope.is_false(&["persist"]) {
        scope.error(&["persist"], ".persist should be enabled");
    }
    runtime_spec(scope);
    registries(scope);
    if scope.since_14() && scope.rules().locality == super::Locality::Node {
        kubernetes::legacy_versions(scope, kind);
    }
}

fn deprecations(scope: &mut Scope<'_>) {
    if !scope.items(&["machine", "files"]).is_empty() {
        scope.warn(
            &["machine", "files"],
            ".machine.files is deprecated; use dedicated configuration documents instead",
        );
    }
    if filled(scope, &["machine", "baseRuntimeSpecOverrides"]) {
        scope.warn(
            &["machine", "baseRuntimeSpecOverrides"],
            ".machine.baseRuntimeSpecOverrides is deprecated; use a CRIBaseRuntimeSpecConfig document instead",
        );
    }
}

pub(super) fn filled(scope: &Scope<'_>, path: &[&str]) -> bool {
    scope.mapping(path).is_some_and(|m| !m.is_empty())
}

fn install(scope: &mut Scope<'_>) {
    let at = ["machine", "install"];
    if !scope.is_mode(Mode::Metal) {
        return;
    }
    if !scope.has(&at) {
        if !scope.since_14() {
            let reason = "install instructions are required in \"metal\" mode";
            scope.error_with(&at, reason, "set machine.install.disk or diskSelector");
        }
        return;
    }
    let selector = ["machine", "install", "diskSelector"];
    let mut matches = scope.has(&selector);
    let mut refuse = |scope: &mut Scope<'_>, key: &str, reason: String| {
        let path = ["machine", "install", "diskSelector", key];
        scope.error(&path, format!("install disk selector is invalid: {reason}"));
        matches = false;
    };
    let kind = scope.text(&["machine", "install", "diskSelector", "type"]);
    if !scope
        .text(&["machine", "install", "diskSelector", "name"])
        .is_empty()
    {
        refuse(scope, "name", "selector on name is not supported".into());
    } else if !["", "nvme", "sd", "hdd", "ssd"].contains(&kind) {
        refuse(
            scope,
            "type",
            format!("unsupported disk type {kind}", kind = quoted(kind)),
        );
    }
    if scope.text(&["machine", "install", "disk"]).is_empty() && !matches {
        let reason = "either install disk or diskSelector should be defined";
        scope.error_with(&at, reason, "set machine.install.disk");
    }
    let arguments = ["machine", "install", "extraKernelArgs"];
    let own = scope.is_true(&["machine", "install", "grubUseUKICmdline"]);
    if !scope.items(&arguments).is_empty() && own {
        scope.error_with(
            &arguments,
            "install.extraKernelArgs and install.grubUseUKICmdline can't be used together",
            "put the arguments into the image, or set grubUseUKICmdline to false",
        );
    }
}

fn host_dns(scope: &mut Scope<'_>) {
    let dns = ["machine", "features", "hostDNS"];
    let enabled = scope.is_true(&["machine", "features", "hostDNS", "enabled"]);
    let forward = scope.is_true(&["machine", "features", "hostDNS", "forwardKubeDNSToHost"]);
    if scope.is_mode(Mode::Container) && !scope.since_14() {
        if !enabled {
            scope.error(&dns, "feature HostDNS should be enabled in container mode (.machine.features.hostDNS.enabled)");
        }
        if !forward {
            scope.error(&dns, "feature HostDNS should forward kube-dns to host in container mode (.machine.features.hostDNS.forwardKubeDNSToHost)");
        }
    }
    if forward && !enabled {
        scope.error(&dns, "feature hostDNS.forwardKubeDNSToHost requires hostDNS.enabled to be true (.machine.features.hostDNS)");
    }
}

fn type_name(scope: &mut Scope<'_>) {
    let path = ["machine", "type"];
    let written = scope.text(&path);
    if matches!(written, "" | "join") {
        let reason = format!(
            "use \"worker\" instead of {written} for machine type",
            written = quoted(written)
        );
        scope.warn(&path, reason);
    }
}

fn authority(scope: &mut Scope<'_>, kind: Kind) {
    let ca = ["machine", "ca"];
    let has = scope.has(&ca);
    let accepted = !scope.items(&["machine", "acceptedCAs"]).is_empty();
    let key = !scope.text(&["machine", "ca", "key"]).is_empty();
    if !has && !accepted {
        scope.error(
            &ca,
            "issuing CA or some accepted CAs are required (.machine.ca, machine.acceptedCAs)",
        );
    }
    match kind {
        Kind::ControlPlane => {
            cluster::cni(scope);
            if !has {
                scope.error(&ca, "issuing CA is required (.machine.ca)");
            } else if !key {
                let path = ["machine", "ca", "key"];
                scope.error(
                    &path,
                    "issuing CA key is required for controlplane nodes (.machine.ca.key)",
                );
            }
        }
        Kind::Worker => {
            devices::no_virtual_addresses(scope);
            if has && key {
                let path = ["machine", "ca", "key"];
                scope.error(&path, "issuing Talos API CA key is not allowed on non-controlplane nodes (.machine.ca)");
            }
            if has && scope.text(&["machine", "ca", "crt"]).is_empty() && !accepted {
                let path = ["machine", "ca", "crt"];
                scope.error(&path, "trusted CA certificates are required on non-controlplane nodes (.machine.ca.crt, .machine.acceptedCAs)");
            }
            let path = ["cluster", "ca", "key"];
            if !scope.text(&path).is_empty() {
                scope.error(&path, "issuing Kubernetes API CA key is not allowed on non-controlplane nodes (.cluster.ca)");
            }
        }
        Kind::Unknown => {
            let path = ["machine", "type"];
            let reason = format!("unknown machine type {}", quoted(scope.text(&path)));
            scope.error_with(&path, reason, "write controlplane or worker");
        }
    }
}

fn kubespan(scope: &mut Scope<'_>) {
    let at = ["machine", "network", "kubespan"];
    if !scope.is_true(&["machine", "network", "kubespan", "enabled"]) {
        return;
    }
    let mtu = ["machine", "network", "kubespan", "mtu"];
    if scope.number(&mtu).is_some_and(|m| m != 0 && m < 1280) {
        scope.error(&mtu, "kubespan link MTU must be at least 1280");
    }
    if !scope.since_14() {
        if !scope.is_true(&["cluster", "discovery", "enabled"]) {
            scope.error(
                &at,
                ".cluster.discovery should be enabled when .machine.network.kubespan is enabled",
            );
        }
        for key in ["id", "secret"] {
            if scope.text(&["cluster", key]).is_empty() {
                let reason = format!(
                    ".cluster.{key} should be set when .machine.network.kubespan is enabled"
                );
                scope.error(&["cluster", key], reason);
            }
        }
    }
    let path = ["machine", "network", "kubespan", "filters"];
    let endpoints = ["machine", "network", "kubespan", "filters", "endpoints"];
    for item in scope.items(&endpoints) {
        let text = item.as_text().unwrap_or_default();
        let text = text.strip_prefix('!').unwrap_or(text);
        if !names::is_subnet_or_address(text) {
            let reason = format!(
                "KubeSpan endpoint filter is not valid: {text}",
                text = quoted(text)
            );
            scope.error_at(item, path.join(".") + ".endpoints", reason);
        }
    }
    let excluded = [
        "machine",
        "network",
        "kubespan",
        "filters",
        "excludeAdvertisedNetworks",
    ];
    for item in scope.items(&excluded) {
        let text = item.as_text().unwrap_or_default();
        if crate::schema::parse_prefix(text).is_none() {
            let reason = format!(
                "KubeSpan exclude advertised networks filter is not valid: {text}",
                text = quoted(text)
            );
            scope.error_at(item, excluded.join("."), reason);
        }
    }
}

fn disks(scope: &mut Scope<'_>) {
    for (index, disk) in scope.items(&["machine", "disks"]).iter().enumerate() {
        if disk.is_null() {
            let reason = format!("machine.disks[{index}] is null");
            scope.error_at(disk, format!("machine.disks.{index}"), reason);
            continue;
        }
        let device = disk.text_at(&["device"]).unwrap_or_default();
        let partitions = items(disk, &["partitions"]);
        for partition in partitions.iter().rev().skip(1).rev() {
            let size = partition.text_at(&["size"]).unwrap_or("0");
            if matches!(size, "0" | "0 B") {
                let reason = format!(
                    "partition for disk {device} is set to occupy full disk, but it's not the last partition in the list",
                    device = quoted(device)
                );
                scope.error_at(
                    partition,
                    format!("machine.disks.{index}.partitions"),
                    reason,
                );
            }
        }
    }
}

fn kubelet(scope: &mut Scope<'_>) {
    let path = ["machine", "kubelet", "nodeIP", "validSubnets"];
    for item in scope.items(&path) {
        let text = item.as_text().unwrap_or_default();
        let text = text.strip_prefix('!').unwrap_or(text);
        if !names::is_subnet_or_address(text) {
            let reason = format!(
                "kubelet nodeIP subnet is not valid: {text}",
                text = quoted(text)
            );
            scope.error_at(item, path.join("."), reason);
        }
    }
    kubernetes::protected_fields(scope, &["machine", "kubelet", "extraConfig"]);
}

fn system_encryption(scope: &mut Scope<'_>) {
    for (key, label) in [("ephemeral", "EPHEMERAL"), ("state", "STATE")] {
        let at = ["machine", "systemDiskEncryption", key];
        if !scope.has(&at) {
            continue;
        }
        let keys = scope.items(&["machine", "systemDiskEncryption", key, "keys"]);
        if keys.is_empty() {
            scope.error(
                &at,
                format!(
                    "partition {label}: no encryption keys provided",
                    label = quoted(label)
                ),
            );
        }
        let mut used = Vec::new();
        for item in keys {
            let slot = number(item, &["slot"]).unwrap_or(0);
            let path = format!("{}.keys", at.join("."));
            if used.contains(&slot) {
                let reason = format!(
                    "partition {label}: encryption key slot {slot} is already in use",
                    label = quoted(label)
                );
                scope.error_at(item, path.clone(), reason);
            }
            used.push(slot);
            let kinds = ["nodeID", "static", "kms", "tpm"];
            if kinds.iter().all(|k| item.at(&[k]).is_none()) {
                let reason = format!(
                    "partition {label}: encryption key at slot {slot} doesn't have the configuration parameters",
                    label = quoted(label)
                );
                scope.error_at(item, path, reason);
            }
        }
    }
}

fn logging(scope: &mut Scope<'_>) {
    let path = ["machine", "logging", "destinations"];
    for item in scope.items(&path) {
        let path = path.join(".");
        match item.text_at(&["endpoint"]) {
            None => scope.error_at(item, path.clone(), "empty logging endpoint"),
            Some(text) => {
                let url = crate::schema::Url::parse(text);
                if url.as_ref().is_none_or(|u| u.authority.is_empty()) {
                    scope.error_at(item, path.clone(), "empty logging endpoint's host");
                }
                let scheme = url.map(|u| u.scheme).unwrap_or_default();
                if scheme != "tcp" && scheme != "udp" {
                    let reason = format!(
                        "unexpected logging endpoint scheme {scheme}",
                        scheme = quoted(&scheme)
                    );
                    scope.error_at(item, path.clone(), reason);
                }
            }
        }
        let format = item.text_at(&["format"]).unwrap_or_default();
        if format != "json_lines" {
            scope.error_at(
                item,
                path,
                format!("unknown logging format {format}", format = quoted(format)),
            );
        }
    }
}

fn extensions(scope: &mut Scope<'_>) {
    let path = ["machine", "install", "extensions"];
    let all = scope.items(&path);
    let mut seen = Vec::new();
    for item in all {
        let image = item.text_at(&["image"]).unwrap_or_default();
        if seen.contains(&image) {
            let reason = format!("duplicate system extension {image}", image = quoted(image));
            scope.error_at(item, path.join("."), reason);
        }
        seen.push(image);
    }
    if !all.is_empty() {
        scope.warn(&path, ".machine.install.extensions is deprecated, please see https://docs.siderolabs.com/talos/latest/platform-specific-installations/boot-assets");
    }
}

fn node_metadata(scope: &mut Scope<'_>) {
    type Check = fn(&crate::yaml::Mapping) -> Vec<String>;
    let checks: [(&str, &str, Check); 3] = [
        ("nodeLabels", "labels", names::labels),
        ("nodeAnnotations", "annotations", names::annotations),
        ("nodeTaints", "taints", names::taints),
    ];
    for (key, what, check) in checks {
        let path = ["machine", key];
        let errors = scope.mapping(&path).map(check).unwrap_or_default();
        let texts: Vec<&str> = errors.iter().map(String::as_str).collect();
        if !texts.is_empty() {
            let reason = format!("invalid machine node {what}: {}", several(&texts));
            scope.error(&path, reason);
        }
    }
}

pub(super) const ROLES: [&str; 7] = [
    "os:admin",
    "os:operator",
    "os:reader",
    "os:etcd:backup",
    "os:image:verifier",
    "os:meta:writer",
    "os:impersonator",
];

fn features(scope: &mut Scope<'_>, kind: Kind) {
    let at = ["machine", "features", "kubernetesTalosAPIAccess"];
    if scope.is_true(&["machine", "features", "kubernetesTalosAPIAccess", "enabled"]) {
        if kind != Kind::ControlPlane {
            scope.error(
                &at,
                "feature Kubernetes Talos API Access can only be enabled on control plane machines",
            );
        }
        let path = [
            "machine",
            "features",
            "kubernetesTalosAPIAccess",
            "allowedRoles",
        ];
        for item in scope.items(&path) {
            let role = item.as_text().unwrap_or_default();
            if !ROLES.contains(&role) {
                let reason = format!(
                    "invalid role {role} in allowed roles for Kubernetes Talos API Access",
                    role = quoted(role)
                );
                scope.error_at(item, path.join("."), reason);
            }
        }
    }
    let path = ["machine", "features", "nodeAddressSortAlgorithm"];
    let algorithm = scope.text(&path);
    let known = ["", "v1", "v2"];
    if !known.iter().any(|k| k.eq_ignore_ascii_case(algorithm)) {
        let reason = format!(
            "invalid node address sort algorithm: {algorithm} does not belong to AddressSortAlgorithm values"
        );
        scope.error_with(&path, reason, "write v1 or v2");
    }
}

/// The OCI runtime's own types: the parts that people override.
pub(super) fn runtime_spec_error(spec: Option<&Node>) -> Option<String> {
    let expected: [(&[&str], &str); 5] = [
        (&["process", "rlimits"], "[]specs.POSIXRlimit"),
        (&["process", "args"], "[]string"),
        (&["process", "env"], "[]string"),
        (&["mounts"], "[]specs.Mount"),
        (&["hostname"], "string"),
    ];
    let spec = spec?;
    expected.iter().find_map(|(path, kind)| {
        let node = spec.at(path).filter(|n| !n.is_null())?;
        let wrong = match kind.starts_with("[]") {
            true => node.as_sequence().is_none(),
            false => node.as_scalar().is_none(),
        };
        let got = match node.describe() {
            "a text" => "string",
            "a number" => "number",
            "a boolean" => "bool",
            "a list" => "array",
            _ => "object",
        };
        let holder = if path.len() > 1 { "Process" } else { "Spec" };
        let field = path.join(".");
        wrong.then(|| {
            format!(
                "json: cannot unmarshal {got} into Go struct field {holder}.{field} of type {kind}"
            )
        })
    })
}

fn runtime_spec(scope: &mut Scope<'_>) {
    let path = ["machine", "baseRuntimeSpecOverrides"];
    if let Some(error) = runtime_spec_error(scope.root.at(&path)) {
        let reason = format!("failed to unmarshal base runtime spec overrides: {error}");
        scope.error(&path, reason);
    }
}

fn registries(scope: &mut Scope<'_>) {
    for section in ["config", "mirrors"] {
        let mapping = scope.mapping(&["machine", "registries", section]);
        for entry in mapping.into_iter().flatten() {
            if entry.value.is_null() {
                let reason = format!("registries.{section}[{}] is null", quoted(&entry.key));
                scope.error(&["machine", "registries", section, &entry.key], reason);
            }
        }
    }
}
