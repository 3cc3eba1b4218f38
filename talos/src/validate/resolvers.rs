//! Documents about names, time and KubeSpan.

use super::documents::duration;
use super::found::{Scope, items};
use super::go::quoted;
use super::names::{is_address, is_subnet_or_address};
use crate::yaml::Node;

pub(super) fn hostname(scope: &mut Scope<'_>) {
    let path = ["hostname"];
    let hostname = scope.text(&path);
    let auto = scope.root.text_at(&["auto"]);
    if auto.is_none() && hostname.is_empty() {
        scope.error(&["auto"], "either 'auto' or 'hostname' must be set");
    }
    if auto.is_some_and(|a| a != "off") && !hostname.is_empty() {
        let hint = "set auto to off beside a fixed hostname";
        scope.error_with(
            &path,
            "'auto' and 'hostname' cannot be set at the same time",
            hint,
        );
    }
    if auto == Some("talos-addr") {
        scope.error(&["auto"], "invalid value for 'auto': talos-addr");
    }
    if hostname.is_empty() {
        return;
    }
    if hostname.len() > 253 {
        scope.error(&path, format!("fqdn is too long: {}", hostname.len()));
    }
    let first = hostname.split('.').next().unwrap_or_default();
    if first.is_empty() || first.len() > 63 {
        scope.error(
            &path,
            format!("invalid hostname {first}", first = quoted(first)),
        );
    }
}

pub(super) fn kubespan(scope: &mut Scope<'_>) {
    let mtu = ["mtu"];
    if scope.number(&mtu).is_some_and(|m| m < 1280) {
        scope.error(&mtu, "kubespan link MTU must be at least 1280");
    }
    for item in scope.items(&["filters", "endpoints"]) {
        let text = item.as_text().unwrap_or_default();
        let text = text.strip_prefix('!').unwrap_or(text);
        if !is_subnet_or_address(text) {
            let reason = format!(
                "KubeSpan endpoint filter is not valid: {text}",
                text = quoted(text)
            );
            scope.error_at(item, "filters.endpoints".into(), reason);
        }
    }
}

pub(super) fn static_host(scope: &mut Scope<'_>) {
    let name = scope.text(&["name"]);
    if name.is_empty() {
        scope.error(&["name"], "name is required");
    }
    if !is_address(name) {
        scope.error(&["name"], "name must be a valid IP address");
    }
    if scope.items(&["hostnames"]).is_empty() {
        scope.error(&["hostnames"], "at least one hostname is required");
    }
}

pub(super) fn time_sync(scope: &mut Scope<'_>) {
    if duration(scope.root, &["bootTimeout"]) < 0 {
        scope.error(&["bootTimeout"], "bootTimeout cannot be negative");
    }
    if scope.is_true(&["ntp", "useNTS"]) {
        for server in scope.items(&["ntp", "servers"]) {
            let text = server.as_text().unwrap_or_default();
            if text.parse::<std::net::IpAddr>().is_ok() {
                let reason = format!(
                    "NTS requires hostnames, not IP addresses: {text}",
                    text = quoted(text)
                );
                scope.error_at(server, "ntp.servers".into(), reason);
            }
        }
    }
    if scope.has(&["ntp"]) && scope.has(&["ptp"]) {
        scope.error(
            &["ptp"],
            "only one of ntp or ptp configuration can be specified",
        );
    }
}

/// The rules of 1.14; 1.13 has none for this document.
pub(super) fn resolver(scope: &mut Scope<'_>) {
    if !scope.since_14() {
        return;
    }
    let dns = |key: &str| scope.is_true(&["hostDNS", key]);
    let (enabled, forward, members) = (
        dns("enabled"),
        dns("forwardKubeDNSToHost"),
        dns("resolveMemberNames"),
    );
    for (key, on) in [
        ("forwardKubeDNSToHost", forward),
        ("resolveMemberNames", members),
    ] {
        if on && !enabled {
            let reason = format!("hostDNS.{key} cannot be enabled when hostDNS.enabled is false");
            scope.error(&["hostDNS", key], reason);
        }
    }
    let servers = items(scope.root, &["nameservers"]);
    let mut encrypted = 0;
    for (index, server) in servers.iter().enumerate() {
        encrypted += usize::from(nameserver(scope, server, index));
    }
    if encrypted > 0 && encrypted == servers.len() {
        scope.warn(
            &["nameservers"],
            "all configured nameservers use encrypted DNS (DoT or DoH): validating certificates requires a correct system clock, \
             so boot may stall when NTP servers are configured by hostname; consider keeping at least one plain-DNS fallback \
             or configuring NTP servers by IP address",
        );
    }
}

/// Whether it is asked over TLS.
fn nameserver(scope: &mut Scope<'_>, server: &Node, index: usize) -> bool {
    let at = format!("nameservers.{index}");
    let protocol = server.text_at(&["protocol"]).unwrap_or("Do53");
    let name = server.text_at(&["tlsServerName"]).unwrap_or_default();
    let encrypted = protocol != "Do53";
    if encrypted && name.is_empty() {
        let reason =
            format!("tlsServerName must be set when protocol is {protocol}: entry {index}");
        scope.error_at(server, at.clone(), reason);
    }
    if !encrypted && !name.is_empty() {
        let reason = format!("tlsServerName must be empty when protocol is Do53: entry {index}");
        scope.error_at(server, at.clone(), reason);
    }
    if server.text_at(&["address"]).unwrap_or_default().is_empty() {
        let reason = format!("nameserver address must be a valid IP: entry {index}");
        scope.error_at(server, at, reason);
    }
    encrypted
}
