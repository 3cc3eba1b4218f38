//! The rules of single documents, found by their kind.

use super::found::{Scope, items};
use super::go::quoted;
use super::names::split_host_port;
use super::{bgp, cel, containers, kubernetes, links, pem, resolvers, storage, volumes};
use crate::schema::{Url, parse_duration, print_duration};
use crate::yaml::Node;

pub(super) fn check(kind: &str, scope: &mut Scope<'_>) {
    match kind {
        "BlackholeRouteConfig" => links::blackhole(scope),
        "BondConfig" => links::bond(scope),
        "BridgeConfig" | "DummyLinkConfig" | "LinkConfig" => links::plain(scope),
        "VLANConfig" => links::vlan(scope),
        "VRFConfig" => links::vrf(scope),
        "WireguardConfig" => links::wireguard(scope),
        "VethConfig" => links::veth(scope),
        "DHCPv4Config" | "DHCPv6Config" => links::dhcp(scope),
        "HCloudVIPConfig" => links::virtual_address(scope, links::Vip::HCloud),
        "Layer2VIPConfig" => links::virtual_address(scope, links::Vip::Layer2),
        "LinkAliasConfig" => links::alias(scope),
        "RoutingRuleConfig" => links::routing_rule(scope),
        "EthernetConfig" | "DiscoveryServiceConfig" if scope.text(&["name"]).is_empty() => {
            scope.error(&["name"], "name is required");
        }
        "DiscoveryServiceConfig" => discovery_service(scope),
        "DiscoveryIdentityConfig" => discovery_identity(scope),
        "NetworkRuleConfig" => links::ingress_rule(scope),
        "HostnameConfig" => resolvers::hostname(scope),
        "KubeSpanConfig" => resolvers::kubespan(scope),
        "ResolverConfig" => resolvers::resolver(scope),
        "StaticHostConfig" => resolvers::static_host(scope),
        "TimeSyncConfig" => resolvers::time_sync(scope),
        "TCPProbeConfig" => probe(scope, "TCP"),
        "HTTPProbeConfig" => probe(scope, "HTTP"),
        "BGPInstanceConfig" => bgp::check(scope),
        "ContainerConfig" => containers::check(scope),
        "EnvironmentConfig" => environment(scope),
        "EventSinkConfig" => event_sink(scope),
        "KmsgLogConfig" => kernel_log(scope),
        "OOMConfig" => out_of_memory(scope),
        "WatchdogTimerConfig" => watchdog(scope),
        "ImageVerificationConfig" => image_verification(scope),
        "SideroLinkConfig" => siderolink(scope),
        "RegistryAuthConfig" => registry_auth(scope),
        "RegistryMirrorConfig" => registry_mirror(scope),
        "RegistryTLSConfig" => registry_tls(scope),
        other if other.starts_with("Kube") => kubernetes::check(other, scope),
        other => {
            volumes::check(other, scope);
            storage::check(other, scope);
        }
    }
}

pub(super) fn name_is_set(scope: &mut Scope<'_>) {
    if scope.text(&["name"]).is_empty() {
        scope.error(&["name"], "name must be specified");
    }
}

/// A duration's nanoseconds; zero where it is absent.
pub(super) fn duration(node: &Node, path: &[&str]) -> i128 {
    node.text_at(path).and_then(parse_duration).unwrap_or(0)
}

fn discovery_service(scope: &mut Scope<'_>) {
    let path = ["endpoint"];
    let text = scope.text(&path);
    let reason = match Url::parse(text).filter(|_| !text.is_empty()) {
        None => "endpoint is required",
        Some(url) if url.scheme.is_empty() => "endpoint scheme is required",
        Some(url) if !["http", "https", "grpc"].contains(&url.scheme.as_str()) => {
            "endpoint scheme must be http://, https:// or grpc://"
        }
        Some(url) if url.host().is_empty() => "endpoint host is required",
        Some(_) => return,
    };
    scope.error(&path, reason);
}

fn discovery_identity(scope: &mut Scope<'_>) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let path = ["clusterSecret"];
    let secret = scope.text(&path);
    if scope.text(&["clusterID"]).is_empty() {
        scope.error(&["clusterID"], "clusterID is required");
    } else if secret.is_empty() {
        scope.error(&path, "clusterSecret is required");
    } else {
        let reason = match STANDARD.decode(secret) {
            Ok(bytes) if bytes.len() == 32 => return,
            Ok(bytes) => format!(
                "invalid clusterSecret: expected 32 bytes, got {}",
                bytes.len()
            ),
            Err(_) => "invalid clusterSecret: failed to decode from base64".to_owned(),
        };
        let exact = format!("{reason}: {secret}");
        scope.secret_error(&path, &reason, exact);
    }
}

fn probe(scope: &mut Scope<'_>, what: &str) {
    if scope.text(&["name"]).is_empty() {
        scope.error(&["name"], "probe name is required");
    }
    match what {
        "TCP" => {
            if scope.text(&["endpoint"]).is_empty() {
                scope.error(&["endpoint"], "TCP probe endpoint is required");
            }
        }
        _ => {
            let text = scope.text(&["url"]);
            match Url::parse(text).filter(|_| !text.is_empty()) {
                None => scope.error(&["url"], "HTTP probe URL is required"),
                Some(url) if url.scheme != "http" && url.scheme != "https" => {
                    let scheme = url.scheme;
                    let reason = format!(
                        "HTTP probe URL scheme must be http or https, got {scheme}",
                        scheme = quoted(&scheme)
                    );
                    scope.error(&["url"], reason);
                }
                Some(url) if url.host().is_empty() => {
                    let reason = "HTTP probe URL must be an absolute http or https URL with a non-empty host";
                    scope.error(&["url"], reason);
                }
                Some(_) => {}
            }
        }
    }
    for (key, subject) in [
        ("timeout", format!("{what} probe timeout")),
        ("interval", "probe interval".into()),
    ] {
        let value = duration(scope.root, &[key]);
        if value < 0 {
            let reason = format!("{subject} cannot be negative: {}", print_duration(value));
            scope.error(&[key], reason);
        }
    }
    let path = ["failureThreshold"];
    if let Some(count) = scope.number(&path).filter(|n| *n < 0) {
        let reason = format!("probe failure threshold cannot be negative: {count}");
        scope.error(&path, reason);
    }
}

fn environment(scope: &mut Scope<'_>) {
    for entry in scope.mapping(&["variables"]).into_iter().flatten() {
        let mut bytes = entry.key.bytes();
        let first = bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            let reason = format!("invalid environment variable name: {}", quoted(&entry.key));
            scope.error(&["variables", &entry.key], reason);
        }
    }
}

fn event_sink(scope: &mut Scope<'_>) {
    let path = ["endpoint"];
    if let Err(error) = split_host_port(scope.text(&path)) {
        let hint = "write ADDRESS:PORT";
        scope.error_with(&path, format!("event sink endpoint: {error}"), hint);
    }
}

fn kernel_log(scope: &mut Scope<'_>) {
    if scope.text(&["name"]).is_empty() {
        scope.error(&["name"], "name is required");
        return;
    }
    let path = ["url"];
    let text = scope.text(&path);
    let reason = match Url::parse(text).filter(|_| !text.is_empty()) {
        None => "url is required",
        Some(url) if url.scheme != "tcp" && url.scheme != "udp" => {
            "url scheme must be tcp:// or udp://"
        }
        Some(url) if !matches!(url.path, "" | "/") => "url path must be empty",
        Some(url) if url.port().is_empty() => "url port is required",
        Some(_) => return,
    };
    scope.error(&path, reason);
}

fn out_of_memory(scope: &mut Scope<'_>) {
    for (key, what, names) in [
        ("triggerExpression", "OOM trigger", cel::Names::OomTrigger),
        (
            "cgroupRankingExpression",
            "OOM cgroup scoring",
            cel::Names::OomScoring,
        ),
    ] {
        let text = scope.text(&[key]);
        if let Some(error) = cel::error(text, names).filter(|_| !text.is_empty()) {
            scope.error(&[key], format!("{what} expression is invalid: {error}"));
        }
    }
    if duration(scope.root, &["sampleInterval"]) < 0 {
        scope.error(
            &["sampleInterval"],
            "OOM sample interval must be longer than 0",
        );
    }
}

fn watchdog(scope: &mut Scope<'_>) {
    let timeout = duration(scope.root, &["timeout"]);
    if scope.text(&["device"]).is_empty() {
        scope.error(&["device"], "watchdog device: empty value");
    } else if timeout != 0 && timeout < 10_000_000_000 {
        scope.error(&["timeout"], "watchdog timeout: minimum value is 10s");
    }
}

fn image_verification(scope: &mut Scope<'_>) {
    for (index, rule) in scope.items(&["rules"]).iter().enumerate() {
        let at = format!("rules.{index}");
        let mut errors: Vec<&str> = Vec::new();
        let pattern = rule.text_at(&["image"]).unwrap_or_default();
        let is = |key: &str| rule.text_at(&[key]) == Some("true");
        let (skip, deny) = (is("skip"), is("deny"));
        let (keyless, public) = (rule.at(&["keyless"]), rule.at(&["publicKey"]));
        let verified = keyless.is_some() || public.is_some();
        if pattern.is_empty() {
            errors.push("imagePattern must be specified");
        }
        if skip && deny {
            errors.push("skip and deny cannot both be true");
        }
        if (skip || deny) && verified {
            errors.push("verifiers cannot be configured if skip or deny is true");
        }
        if !skip && !deny && !verified {
            errors.push("at least one verifier must be configured");
        }
        if keyless.is_some() && public.is_some() {
            errors.push("only one of keyless or publicKey verifier can be configured");
        }
        let empty = |node: &Node, key: &str| node.text_at(&[key]).unwrap_or_default().is_empty();
        if let Some(keyless) = keyless {
            if empty(keyless, "issuer") {
                errors.push("verifier OIDC issuer must be specified");
            }
            if empty(keyless, "subject") && empty(keyless, "subjectRegex") {
                errors.push("verifier subject or subjectRegex must be specified");
            }
        }
        if public.is_some_and(|p| empty(p, "certificate")) {
            errors.push("verifier certificates must be specified");
        }
        for error in errors {
            scope.error_at(rule, at.clone(), format!("rule {index}: {error}"));
        }
        pattern_warnings(scope, rule, index, pattern);
    }
}

fn pattern_warnings(scope: &mut Scope<'_>, rule: &Node, index: usize, pattern: &str) {
    let at = format!("rules.{index}.image");
    let only =
        "but matching only applies to the image registry and repository, not the tag or digest";
    if pattern.contains('@') {
        let reason = format!("rule {index}: imagePattern contains '@' {only}");
        scope.warn_at(rule, at.clone(), reason);
    }
    if pattern
        .split_once('/')
        .is_some_and(|(_, rest)| rest.contains(':'))
    {
        let reason = format!("rule {index}: imagePattern contains ':' {only}");
        scope.warn_at(rule, at.clone(), reason);
    }
    if !pattern.contains('/') && pattern != "*" && !pattern.is_empty() {
        let reason = format!(
            "rule {index}: imagePattern does not contain a '/', image references like 'nginx' are matched as 'docker.io/nginx' (normalized)"
        );
        scope.warn_at(rule, at, reason);
    }
}

fn siderolink(scope: &mut Scope<'_>) {
    let path = ["apiUrl"];
    let text = scope.text(&path);
    let reason = match Url::parse(text).filter(|_| !text.is_empty()) {
        None => "apiUrl is required",
        Some(url) if url.scheme != "https" && url.scheme != "grpc" => {
            "apiUrl scheme must be https:// or grpc://"
        }
        Some(url) if !matches!(url.path, "" | "/") => "apiUrl path must be empty",
        Some(_) => return,
    };
    scope.error(&path, reason);
}

fn registry_auth(scope: &mut Scope<'_>) {
    name_is_set(scope);
    let set = |key: &str| !scope.text(&[key]).is_empty();
    let (user, token, auth) = (set("username"), set("identityToken"), set("auth"));
    if user && token {
        let reason =
            "only one of username/password or identityToken authentication can be specified";
        scope.error(&["identityToken"], reason);
    }
    if auth && (user || token) {
        let reason =
            "only one of auth, username/password or identityToken authentication can be specified";
        scope.error(&["auth"], reason);
    }
}

fn registry_mirror(scope: &mut Scope<'_>) {
    name_is_set(scope);
    for (index, endpoint) in items(scope.root, &["endpoints"]).iter().enumerate() {
        let text = endpoint.text_at(&["url"]).unwrap_or_default();
        let at = format!("endpoints.{index}.url");
        match Url::parse(text).filter(|_| !text.is_empty()) {
            None => {
                let reason = format!("endpoints[{index}].url must be specified");
                scope.error_at(endpoint, at, reason);
            }
            Some(url) if url.scheme != "http" && url.scheme != "https" => {
                let reason = format!(
                    "endpoints[{index}].url has unsupported scheme: {}",
                    quoted(&url.scheme)
                );
                scope.error_at(endpoint, at, reason);
            }
            Some(_) => {}
        }
    }
}

fn registry_tls(scope: &mut Scope<'_>) {
    name_is_set(scope);
    let ca = scope.text(&["ca"]);
    if !ca.is_empty() && !pem::has_certificate(ca) {
        scope.error(&["ca"], "ca must be a valid PEM-encoded certificate");
    }
    let path = ["clientIdentity"];
    let Some(identity) = scope.root.at(&path) else {
        return;
    };
    if scope.since_14() {
        if let Some(error) = pem::pair_error(identity, pem::Depth::Blocks) {
            scope.error(&path, format!("client identity: {error}"));
        }
        return;
    }
    if let Some(error) = pem::certificate_error(identity.text_at(&["cert"]).unwrap_or_default()) {
        scope.error(
            &["clientIdentity", "cert"],
            format!("client identity certificate is invalid: {error}"),
        );
    }
    if let Some(error) = pem::key_error(identity.text_at(&["key"]).unwrap_or_default()) {
        scope.error(
            &["clientIdentity", "key"],
            format!("client identity key is invalid: {error}"),
        );
    }
}
