//! Documents about links, addresses, routes and the firewall.

use std::net::IpAddr;

use super::cel;
use super::documents::{duration, name_is_set};
use super::found::{Scope, items, number};
use super::go::{base64, quoted};
use super::names::is_address;
use crate::schema::parse_prefix;
use crate::yaml::Node;

pub(super) fn plain(scope: &mut Scope<'_>) {
    name_is_set(scope);
    common(scope, scope.root);
}

/// Addresses and routes of any link.
fn common(scope: &mut Scope<'_>, link: &Node) {
    for (index, item) in items(link, &["addresses"]).iter().enumerate() {
        let reason = match parse_prefix(item.text_at(&["address"]).unwrap_or_default()) {
            None => format!("address {index} must be specified"),
            Some((address, _)) if address.is_unspecified() => {
                format!("address {index} must be a valid IP address")
            }
            Some(_) => continue,
        };
        scope.error_at(item, format!("addresses.{index}"), reason);
    }
    for (index, item) in items(link, &["routes"]).iter().enumerate() {
        let destination = parse_prefix(item.text_at(&["destination"]).unwrap_or_default());
        if destination.is_some_and(|(address, _)| address.is_unspecified()) {
            let reason = format!("route {index} destination must be a valid IP prefix");
            scope.error_at(item, format!("routes.{index}.destination"), reason);
        }
        for key in ["gateway", "source"] {
            let address: Option<IpAddr> = item.text_at(&[key]).and_then(|t| t.parse().ok());
            if address.is_some_and(|a| a.is_unspecified()) {
                let reason = format!("route {index} {key} must be a valid IP address");
                scope.error_at(item, format!("routes.{index}.{key}"), reason);
            }
        }
    }
}

pub(super) fn bond(scope: &mut Scope<'_>) {
    name_is_set(scope);
    if scope.items(&["links"]).is_empty() {
        scope.error(&["links"], "at least one link must be specified");
    }
    match scope.text(&["bondMode"]) {
        "" => scope.error(&["bondMode"], "bond mode must be specified"),
        "802.3ad" => {
            for key in ["miimon", "updelay", "downdelay"] {
                if !scope.has(&[key]) {
                    scope.warn(&[key], format!("{key} was not specified for 802.3ad bond"));
                }
            }
        }
        _ => {}
    }
    common(scope, scope.root);
}

pub(super) fn vlan(scope: &mut Scope<'_>) {
    name_is_set(scope);
    let id = scope.number(&["vlanID"]).unwrap_or(0);
    if !(1..=4094).contains(&id) {
        scope.error(
            &["vlanID"],
            "vlanID must be specified and between 1 and 4094",
        );
    }
    if scope.text(&["parent"]).is_empty() {
        scope.error(&["parent"], "parent must be specified");
    }
    common(scope, scope.root);
}

pub(super) fn vrf(scope: &mut Scope<'_>) {
    name_is_set(scope);
    let table = scope.text(&["table"]);
    if matches!(table, "" | "unspec" | "local" | "main" | "default") {
        let table = if table.is_empty() { "unspec" } else { table };
        scope.error(
            &["table"],
            format!("cannot create vrf with reserved table {table}"),
        );
    }
    common(scope, scope.root);
}

/// What is wrong with a key; never the key itself.
fn wireguard_key_error(key: &str) -> Option<String> {
    match base64(key) {
        Ok(raw) if raw.len() == 32 => None,
        Ok(_) => Some("invalid wireguard key length".to_owned()),
        Err(error) => Some(error),
    }
}

pub(super) fn wireguard(scope: &mut Scope<'_>) {
    name_is_set(scope);
    let key = scope.text(&["privateKey"]);
    if key.is_empty() {
        scope.error(&["privateKey"], "wireguard private key must be specified");
    } else if let Some(error) = wireguard_key_error(key) {
        scope.error(
            &["privateKey"],
            format!("wireguard private key is invalid: {error}"),
        );
    }
    let port = ["listenPort"];
    if scope
        .number(&port)
        .is_some_and(|p| !(0..=65535).contains(&p))
    {
        scope.error(&port, "wireguard listen port must be between 0 and 65535");
    }
    for (index, peer) in scope.items(&["peers"]).iter().enumerate() {
        let at = format!("peers.{index}");
        let public = peer.text_at(&["publicKey"]).unwrap_or_default();
        if public.is_empty() {
            let reason =
                format!("wireguard peer public key must be specified (peer index {index})");
            scope.error_at(peer, at.clone(), reason);
        } else if let Some(error) = wireguard_key_error(public) {
            let reason =
                format!("wireguard peer public key is invalid (peer index {index}): {error}");
            scope.error_at(peer, at.clone(), reason);
        }
        let shared = peer.text_at(&["presharedKey"]).unwrap_or_default();
        if let Some(error) = wireguard_key_error(shared).filter(|_| !shared.is_empty()) {
            let reason =
                format!("wireguard peer preshared key is invalid (peer index {index}): {error}");
            scope.error_at(peer, at.clone(), reason);
        }
        if duration(peer, &["persistentKeepaliveInterval"]) < 0 {
            let reason = format!(
                "wireguard peer persistent keepalive interval cannot be negative (peer index {index})"
            );
            scope.error_at(peer, at, reason);
        }
    }
    common(scope, scope.root);
}

pub(super) fn veth(scope: &mut Scope<'_>) {
    let (name, peer) = (scope.text(&["name"]), scope.text(&["peer", "name"]));
    let checks: [(&str, &str, &[&str]); 2] = [
        ("name", name, &["name"]),
        ("peer name", peer, &["peer", "name"]),
    ];
    for (field, value, path) in checks {
        let reason = if value.is_empty() {
            "must be specified".to_owned()
        } else if value.len() > 15 {
            "must not exceed 15 bytes".to_owned()
        } else if value == "." || value == ".." {
            format!("must not be {value}", value = quoted(value))
        } else if value.contains(['/', ':']) {
            "must not contain '/' or ':'".to_owned()
        } else if value.contains(|c: char| c.is_whitespace() || c.is_control()) {
            "must not contain whitespace or non-printable characters".to_owned()
        } else {
            continue;
        };
        scope.error(path, format!("{field} {reason}"));
    }
    if !name.is_empty() && name == peer {
        scope.error(&["peer", "name"], "name and peer name must be different");
    }
    common(scope, scope.root);
    if let Some(peer) = scope.root.at(&["peer"]) {
        common(scope, peer);
    }
}

pub(super) fn dhcp(scope: &mut Scope<'_>) {
    name_is_set(scope);
    let raw = !scope.text(&["duidRaw"]).is_empty();
    let duid = scope.text(&["clientIdentifier"]) == "duid";
    if raw && !duid {
        scope.error(
            &["duidRaw"],
            "duidRaw can only be set if clientIdentifier is 'duid'",
        );
    }
    if duid && !raw {
        scope.error(
            &["duidRaw"],
            "duidRaw must be set if clientIdentifier is 'duid'",
        );
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Vip {
    Layer2,
    HCloud,
}

pub(super) fn virtual_address(scope: &mut Scope<'_>, vip: Vip) {
    let name = scope.text(&["name"]);
    if name.is_empty() {
        scope.error(&["name"], "name must be specified");
    } else if !is_address(name) {
        let reason = format!(
            "name must be a valid IP address: ParseAddr({name}): unable to parse IP",
            name = quoted(name)
        );
        scope.error(&["name"], reason);
    }
    if scope.text(&["link"]).is_empty() {
        scope.error(&["link"], "link must be specified");
    }
    if vip == Vip::HCloud && scope.text(&["apiToken"]).is_empty() {
        scope.error(&["apiToken"], "apiToken must be specified");
    }
}

pub(super) fn alias(scope: &mut Scope<'_>) {
    let name = scope.text(&["name"]);
    if name.is_empty() {
        scope.error(&["name"], "name must be specified");
    } else if let Some((prefix, suffix)) = name.split_once('%')
        && (suffix != "d" || prefix.is_empty())
    {
        let reason = format!(
            "name {name} contains an invalid format verb, use %d suffix",
            name = quoted(name)
        );
        scope.error(&["name"], reason);
    }
    let path = ["selector", "match"];
    match scope.text(&path) {
        "" => scope.error(&path, "link selector is required"),
        text => {
            if let Some(error) = cel::error(text, cel::Names::Link) {
                scope.error(&path, format!("link selector is invalid: {error}"));
            }
        }
    }
}

pub(super) fn blackhole(scope: &mut Scope<'_>) {
    name_is_set(scope);
    let name = scope.text(&["name"]);
    if parse_prefix(name).is_none() {
        let reason = match name.contains('/') {
            false => format!("netip.ParsePrefix({name}): no '/'", name = quoted(name)),
            true => format!(
                "netip.ParsePrefix({name}): unable to parse IP",
                name = quoted(name)
            ),
        };
        scope.error(
            &["name"],
            format!("name must be a valid address prefix: {reason}"),
        );
    }
}

pub(super) fn routing_rule(scope: &mut Scope<'_>) {
    name_is_set(scope);
    let name = scope.text(&["name"]);
    let digits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    let priority: Option<u32> = digits.then(|| name.parse().ok()).flatten();
    if priority.is_none() {
        let why = if digits {
            "value out of range"
        } else {
            "invalid syntax"
        };
        let reason = format!(
            "invalid name: must be priority parsable unsigned integer: strconv.ParseUint: parsing {name}: {why}",
            name = quoted(name)
        );
        scope.error(&["name"], reason);
    }
    // A priority that cannot be read counts as the first reserved one there.
    if matches!(priority.unwrap_or(0), 0 | 32500 | 32766 | 32767) && (priority.is_some() || !digits)
    {
        let reason = "priority must be between 1 and 32765 (excluding reserved priorities [0 32500 32766 32767])";
        scope.error(&["name"], reason);
    }
    let no_table = matches!(scope.text(&["table"]), "" | "unspec");
    if no_table && matches!(scope.text(&["action"]), "" | "unspec" | "unicast") {
        scope.error(
            &["table"],
            "either table or a non-unicast action must be specified",
        );
    }
    let mark = |key: &str| scope.number(&[key]).unwrap_or(0);
    if mark("fwMask") != 0 && mark("fwMark") == 0 {
        scope.error(&["fwMask"], "fwMask requires fwMark to be set");
    }
}

pub(super) fn ingress_rule(scope: &mut Scope<'_>) {
    if scope.text(&["name"]).is_empty() {
        scope.error(&["name"], "name is required");
        return;
    }
    let path = ["portSelector", "ports"];
    let ports = scope.items(&path);
    if ports.is_empty() {
        scope.error(&path, "portSelector.ports is required");
        return;
    }
    let mut ranges: Vec<(i128, i128)> = ports.iter().filter_map(range).collect();
    ranges.sort_by_key(|(low, _)| *low);
    let show = |(low, high): &(i128, i128)| format!("{low}-{high}");
    for (index, range) in ranges.iter().enumerate() {
        let before = index.checked_sub(1).map(|i| &ranges[i]);
        let reason = match before {
            _ if range.0 > range.1 => format!("invalid port range: {}", show(range)),
            Some(before) if range.0 <= before.1 => {
                format!(
                    "invalid port range: {}, overlaps with {}",
                    show(range),
                    show(before)
                )
            }
            _ => continue,
        };
        scope.error(&path, reason);
        return;
    }
    for (index, rule) in scope.items(&["ingress"]).iter().enumerate() {
        if parse_prefix(rule.text_at(&["subnet"]).unwrap_or_default()).is_none() {
            let at = format!("ingress.{index}.subnet");
            scope.error_at(rule, at, "invalid subnet: invalid Prefix");
            return;
        }
    }
}

fn range(node: &Node) -> Option<(i128, i128)> {
    if let Some(port) = number(node, &[]) {
        return Some((port, port));
    }
    let (low, high) = node.as_text()?.split_once('-')?;
    Some((low.parse().ok()?, high.parse().ok()?))
}
