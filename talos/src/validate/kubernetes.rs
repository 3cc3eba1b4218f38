//! Documents of 1.14 about Kubernetes, and the versions that a Talos runs.

use std::net::IpAddr;

use super::found::{Scope, items, several};
use super::go::quoted;
use super::machine::{Kind, ROLES};
use super::names::{self, dns_subdomain, endpoint_error, is_subnet_or_address};
use super::{Locality, cluster, pem};
use crate::schema::{Url, parse_prefix};
use crate::version::Generator;

/// Fields of the kubelet's own config that Talos decides.
const PROTECTED: [&str; 13] = [
    "apiVersion",
    "authentication",
    "authorization",
    "cgroupRoot",
    "kind",
    "kubeletCgroups",
    "port",
    "protectKernelDefaults",
    "resolvConf",
    "rotateCertificates",
    "systemCgroups",
    "staticPodPath",
    "seccompDefault",
];

pub(super) fn protected_fields(scope: &mut Scope<'_>, path: &[&str]) {
    let Some(config) = scope.mapping(path) else {
        return;
    };
    for field in PROTECTED.iter().filter(|f| config.value(f).is_some()) {
        let path: Vec<&str> = path.iter().chain([field]).copied().collect();
        let reason = format!(
            "kubelet configuration field {field} can't be overridden",
            field = quoted(field)
        );
        scope.error(&path, reason);
    }
}

pub(super) fn check(kind: &str, scope: &mut Scope<'_>) {
    match kind {
        "KubeAdmissionControlConfig" if scope.text(&["name"]).is_empty() => {
            scope.error(&["name"], "admission control plugin name is required");
        }
        "KubeAggregatorCAConfig" | "KubeAPIServerCAConfig" => authority(scope, kind),
        "KubeAPIServerConfig" => api_server(scope),
        "KubeAuthorizerConfig" => authorizer(scope),
        "KubeClusterConfig" => cluster_name(scope),
        "KubeControllerManagerConfig" => workload(scope, "kube-controller-manager"),
        "KubeSchedulerConfig" => workload(scope, "scheduler"),
        "KubeProxyConfig" => proxy(scope),
        "KubeEtcdEncryptionConfig" if !filled(scope, "config") => {
            scope.error(&["config"], "etcd encryption config is required");
        }
        "KubeExternalManifestConfig" => manifest(scope, "manifest"),
        "KubeInlineManifestConfig" => manifest_name(scope, "manifest"),
        "KubeStaticPodConfig" => {
            manifest_name(scope, "static pod");
            if !filled(scope, "pod") {
                scope.error(&["pod"], "static pod spec is required");
            }
        }
        "KubeFlannelCNIConfig" => {
            if scope.text(&["backendType"]).is_empty() {
                scope.error(&["backendType"], "flannel backend type must be specified");
            }
            resources(scope);
        }
        "KubeletConfig" => {
            image(scope, "kubelet");
            protected_fields(scope, &["config"]);
        }
        "KubePrismConfig" => {
            let port = scope.number(&["port"]).unwrap_or(0);
            if !(1..=65535).contains(&port) {
                let reason = format!("invalid port {port}: must be in range 1-65535");
                scope.error(&["port"], reason);
            }
        }
        "KubeNetworkConfig" => network(scope),
        "KubeNodeConfig" => node(scope),
        "KubeServiceAccountConfig" => service_account(scope),
        "KubeTalosAPIAccessConfig" => {
            for role in scope.items(&["allowedRoles"]) {
                let text = role.as_text().unwrap_or_default();
                if !ROLES.contains(&text) {
                    let reason =
                        format!("invalid role {text} in .allowedRoles", text = quoted(text));
                    scope.error_at(role, "allowedRoles".into(), reason);
                }
            }
        }
        _ => {}
    }
}

fn filled(scope: &Scope<'_>, key: &str) -> bool {
    scope.mapping(&[key]).is_some_and(|m| !m.is_empty())
}

fn authority(scope: &mut Scope<'_>, kind: &str) {
    let path = ["issuingCA"];
    match scope.root.at(&path) {
        None if kind == "KubeAggregatorCAConfig" => scope.error(&path, "issuing CA is not set"),
        None => {}
        Some(pair) => {
            if let Some(error) = pem::pair_error(pair, pem::Depth::Contents) {
                scope.error(&path, format!("issuing CA: {error}"));
            }
        }
    }
    for (index, ca) in scope.items(&["acceptedCAs"]).iter().enumerate() {
        if let Some(error) = pem::blocks_error(ca.as_text().unwrap_or_default(), &["CERTIFICATE"]) {
            let reason = format!("accepted CA #{index}: {error}");
            scope.error_at(ca, format!("acceptedCAs.{index}"), reason);
        }
    }
}

fn image(scope: &mut Scope<'_>, what: &str) {
    let text = scope.text(&["image"]);
    if text.is_empty() {
        scope.error(&["image"], format!("{what} image cannot be empty"));
    } else if scope.rules().locality == Locality::Node
        && let Some(error) = image_error(scope.generator(), text)
    {
        scope.error(&["image"], format!("{what} image is not valid: {error}"));
    }
}

/// Whether the generator's own Talos runs the Kubernetes of an image.
pub(super) fn image_error(generator: Generator, image: &str) -> Option<String> {
    let fail = |error: String| {
        Some(format!(
            "failed to parse Kubernetes version from image reference {image}: {error}",
            image = quoted(image)
        ))
    };
    let Some((_, version)) = image.rsplit_once(":v") else {
        return fail(format!(
            "invalid image reference: {image}",
            image = quoted(image)
        ));
    };
    let version = version.split('@').next().unwrap_or_default();
    let release = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<u32> = release.split('.').map_while(|n| n.parse().ok()).collect();
    let &[major, minor, _] = numbers.as_slice() else {
        return fail("No Major.Minor.Patch elements found".into());
    };
    let (oldest, newest) = generator.newest().kubernetes_minors();
    let talos = match generator {
        Generator::V1_13 => "1.13.9",
        Generator::V1_14 => "1.14.0-rc.1",
    };
    let misfit = match (major, minor) {
        (0, _) => "old",
        (1, minor) if minor < u32::from(oldest) => "old",
        (1, minor) if minor <= u32::from(newest) => return None,
        _ => "new",
    };
    Some(format!(
        "version of Kubernetes {version} is too {misfit} to be used with Talos {talos}"
    ))
}

/// The images of the main document, which 1.14 compares with its own version.
pub(super) fn legacy_versions(scope: &mut Scope<'_>, kind: Kind) {
    let mut checks: Vec<([&str; 3], &str)> = vec![(["machine", "kubelet", "image"], "kubelet")];
    if kind == Kind::ControlPlane {
        checks.extend([
            (["cluster", "apiServer", "image"], "kube-apiserver"),
            (
                ["cluster", "controllerManager", "image"],
                "kube-controller-manager",
            ),
            (["cluster", "scheduler", "image"], "kube-scheduler"),
        ]);
    }
    for (path, what) in checks {
        let text = scope.text(&path);
        if let Some(error) = image_error(scope.generator(), text).filter(|_| !text.is_empty()) {
            scope.error(&path, format!("{what} image is not valid: {error}"));
        }
    }
}

fn resources(scope: &mut Scope<'_>) {
    if let Some(error) = cluster::resources_error(scope.root.at(&["resources"])) {
        scope.error(&["resources"], error);
    }
}

fn workload(scope: &mut Scope<'_>, what: &str) {
    if scope.is_false(&["enabled"]) {
        return;
    }
    image(scope, what);
    resources(scope);
}

fn api_server(scope: &mut Scope<'_>) {
    image(scope, "kube-apiserver");
    let denied = [
        ("anonymous-auth", "KubeAuthenticationConfig"),
        ("authentication-config", "KubeAuthenticationConfig"),
        ("authorization-config", "KubeAuthorizationConfig"),
        ("authorization-mode", "KubeAuthorizationConfig"),
        ("authorization-webhook-", "KubeAuthorizationConfig"),
        ("oidc-", "KubeAuthenticationConfig"),
    ];
    let arguments = scope.mapping(&["extraArgs"]);
    for (prefix, instead) in denied {
        for entry in arguments.into_iter().flatten() {
            if entry.key.starts_with(prefix) {
                let reason = format!(
                    "kube-apiserver extra argument {} is not allowed: use {instead}",
                    quoted(&entry.key)
                );
                scope.error(&["extraArgs", &entry.key], reason);
            }
        }
    }
    resources(scope);
}

fn proxy(scope: &mut Scope<'_>) {
    if scope.is_false(&["enabled"]) {
        return;
    }
    image(scope, "proxy");
    match scope.text(&["mode"]) {
        "" | "nftables" => {}
        mode @ ("iptables" | "ipvs") => {
            let reason = format!(
                "proxy mode {mode} is not recommended, please switch to nftables if possible",
                mode = quoted(mode)
            );
            scope.warn(&["mode"], reason);
        }
        mode => {
            let reason = format!(
                "invalid proxy mode {mode}: supported modes are iptables, ipvs and nftables",
                mode = quoted(mode)
            );
            scope.error(&["mode"], reason);
        }
    }
    if filled(scope, "extraArgs") {
        let reason = "extra arguments for kube-proxy may not work as expected, please use configuration instead";
        scope.warn(&["extraArgs"], reason);
    }
    resources(scope);
}

fn authorizer(scope: &mut Scope<'_>) {
    let kind = scope.text(&["type"]);
    if scope.text(&["name"]).is_empty() {
        scope.error(&["name"], "authorizer name is required");
    }
    if kind.is_empty() {
        scope.error(&["type"], "authorizer type is required");
    }
    if !cluster::AUTHORIZERS.contains(&kind) {
        let known = cluster::AUTHORIZERS.join(" ");
        let reason = format!("authorizer type {kind} is not allowed, allowed types are [{known}]");
        scope.error(&["type"], reason);
    }
    let webhook = filled(scope, "webhook");
    if kind == "Webhook" && !webhook {
        let reason = "authorizer webhook configuration is required for Webhook authorizer type";
        scope.error(&["webhook"], reason);
    }
    if kind != "Webhook" && webhook {
        let reason = "authorizer webhook configuration is not allowed non-Webhook authorizer types";
        scope.warn(&["webhook"], reason);
    }
}

fn cluster_name(scope: &mut Scope<'_>) {
    if scope.text(&["clusterName"]).is_empty() {
        scope.error(&["clusterName"], "clusterName must be specified");
    }
    match scope.text(&["endpoint"]) {
        "" => scope.error(&["endpoint"], "endpoint must be specified"),
        url => {
            if let Some(error) = endpoint_error(url) {
                scope.error(
                    &["endpoint"],
                    format!("cluster endpoint is invalid: {error}"),
                );
            }
        }
    }
}

fn manifest_name(scope: &mut Scope<'_>, what: &str) {
    let name = scope.text(&["name"]);
    if name.is_empty() {
        scope.error(&["name"], format!("{what} name is required"));
    } else if let Err(error) = dns_subdomain(name) {
        scope.error(&["name"], format!("{what} name is invalid: {error}"));
    }
}

fn manifest(scope: &mut Scope<'_>, what: &str) {
    manifest_name(scope, what);
    let text = scope.text(&["url"]);
    match Url::parse(text).filter(|_| !text.is_empty()) {
        None => scope.error(&["url"], "manifest URL is required"),
        Some(url) if url.scheme != "http" && url.scheme != "https" => {
            let reason = format!(
                "manifest URL scheme must be http or https: {}",
                quoted(&url.scheme)
            );
            scope.error(&["url"], reason);
        }
        Some(_) => {}
    }
}

fn service_account(scope: &mut Scope<'_>) {
    let path = ["issuer", "privateKey"];
    match scope.text(&path) {
        "" => scope.error(&path, "service issuer private key is required"),
        key => {
            if let Some(error) = pem::key_error(key) {
                scope.error(
                    &path,
                    format!("service issuer private key is invalid: {error}"),
                );
            }
        }
    }
    let path = ["issuer", "issuerURL"];
    if scope.text(&path).is_empty() {
        scope.error(&path, "service issuer URL is required");
    }
}

fn node(scope: &mut Scope<'_>) {
    for subnet in scope.items(&["nodeIP", "validSubnets"]) {
        let text = subnet.as_text().unwrap_or_default();
        let text = text.strip_prefix('!').unwrap_or(text);
        if !is_subnet_or_address(text) {
            let reason = format!("nodeIP subnet is not valid: {text}", text = quoted(text));
            scope.error_at(subnet, "nodeIP.validSubnets".into(), reason);
        }
    }
    type Check = fn(&crate::yaml::Mapping) -> Vec<String>;
    let checks: [(&str, Check); 3] = [
        ("labels", names::labels),
        ("annotations", names::annotations),
        ("taints", names::taints),
    ];
    for (key, check) in checks {
        let errors = scope.mapping(&[key]).map(check).unwrap_or_default();
        let texts: Vec<&str> = errors.iter().map(String::as_str).collect();
        if !texts.is_empty() {
            scope.error(&[key], format!("invalid node {key}: {}", several(&texts)));
        }
    }
}

/// The pods' part of a node: its mask, where it is one.
struct Masks {
    four: Option<u8>,
    six: Option<u8>,
}

fn network(scope: &mut Scope<'_>) {
    let mut mask = |key: &str, longest: u8, usual: u8| {
        let written = scope.number(&[key]).unwrap_or(0);
        match u8::try_from(written) {
            Ok(0) => Some(usual),
            Ok(bits) if bits <= longest => Some(bits),
            _ => {
                scope.error(&[key], format!("{key} must be between 1 and {longest}"));
                None
            }
        }
    };
    let masks = Masks {
        four: mask("nodeCIDRMaskSizeIPv4", 32, 24),
        six: mask("nodeCIDRMaskSizeIPv6", 128, 64),
    };
    let (pods, services) = (
        items(scope.root, &["podSubnets"]),
        items(scope.root, &["serviceSubnets"]),
    );
    let texts = |nodes: &'_ [crate::yaml::Node]| -> Vec<String> {
        let all = nodes
            .iter()
            .map(|n| n.as_text().unwrap_or_default().to_owned());
        all.collect()
    };
    let pod_size = |address: IpAddr, bits: u8| pod_subnet_error(&masks, address, bits);
    if let Some(error) = subnets_error(&texts(pods), pod_size) {
        scope.error(&["podSubnets"], format!("pod subnets: {error}"));
    }
    if let Some(error) = subnets_error(&texts(services), service_subnet_error) {
        scope.error(&["serviceSubnets"], format!("service subnets: {error}"));
    }
    if pods.len() != services.len() {
        let reason = "the number of pod subnets must match the number of service subnets";
        scope.error(&["serviceSubnets"], reason);
    }
}

fn length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn pod_subnet_error(masks: &Masks, address: IpAddr, bits: u8) -> Option<String> {
    let mask = match address {
        IpAddr::V4(_) => masks.four,
        IpAddr::V6(_) => masks.six,
    }?;
    if bits > mask {
        return Some(format!(
            "invalid subnet: {address}/{bits} is smaller than the per-node pod CIDR mask size /{mask}"
        ));
    }
    (mask - bits > 16).then(|| {
        format!(
            "invalid subnet: {address}/{bits} is too large for the per-node pod CIDR mask size /{mask}, the difference must be at most 16 bits"
        )
    })
}

fn service_subnet_error(address: IpAddr, bits: u8) -> Option<String> {
    let host = length(address) - bits;
    (host > 20).then(|| {
        format!(
            "invalid subnet: {address}/{bits} is too large, it must be at least /{} (at most 20 host identifier bits)",
            length(address) - 20
        )
    })
}

fn subnets_error(
    subnets: &[String],
    size: impl Fn(IpAddr, u8) -> Option<String>,
) -> Option<String> {
    if subnets.is_empty() {
        return Some("at least one subnet must be specified".into());
    }
    if subnets.len() > 2 {
        return Some("at most two subnets can be specified for dual-stack clusters".into());
    }
    let mut families = Vec::new();
    for subnet in subnets {
        let Some((address, bits)) = parse_prefix(subnet) else {
            return Some("invalid subnet: invalid Prefix".into());
        };
        if masked(address, bits) != address {
            return Some(format!(
                "invalid subnet: {address}/{bits} is not a valid CIDR"
            ));
        }
        if length(address) - bits < 4 {
            let larger = bits.saturating_sub(4);
            return Some(format!(
                "invalid subnet: /{bits} is too small, it must be larger than /{larger}"
            ));
        }
        if let Some(error) = size(address, bits) {
            return Some(error);
        }
        families.push(address.is_ipv4());
    }
    (families.len() == 2 && families[0] == families[1]).then(|| {
        "at most one IPv4 and one IPv6 subnet can be specified for dual-stack clusters".into()
    })
}

/// The network's own address.
pub(super) fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(four) & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(six) & mask).into())
        }
    }
}
