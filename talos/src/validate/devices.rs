//! The main document's network interfaces.

use std::collections::HashMap;
use std::net::IpAddr;

use super::bond;
use super::found::{Scope, items};
use super::go::{base64, quoted};
use super::names::{address_or_network_error, split_host_port};
use crate::schema::parse_prefix;
use crate::yaml::Node;

const PATH: [&str; 3] = ["machine", "network", "interfaces"];

pub(super) fn check(scope: &mut Scope<'_>) {
    let devices = scope.items(&PATH);
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for (index, device) in devices.iter().enumerate() {
        let at = place(index);
        let own = text(device, "interface");
        let (bond, bridge) = (device.at(&["bond"]), device.at(&["bridge"]));
        if bond.is_some() && bridge.is_some() {
            let reason = format!(
                "interface has both bridge and bond sections set {own}: config sections are mutually exclusive",
                own = quoted(own)
            );
            scope.error_at(device, at.clone(), reason);
        }
        let mut members: &[Node] = &[];
        if let Some(bond) = bond {
            members = items(bond, &["interfaces"]);
            if !members.is_empty() && !items(bond, &["deviceSelectors"]).is_empty() {
                let reason = format!(
                    "interface {own} has both interfaces and selectors set: config sections are mutually exclusive",
                    own = quoted(own)
                );
                scope.error_at(bond, format!("{at}.bond"), reason);
            }
        }
        if let Some(bridge) = bridge {
            members = items(bridge, &["interfaces"]);
        }
        for member in members {
            let name = member.as_text().unwrap_or_default();
            if let Some(other) = owners.get(name).filter(|other| **other != own) {
                let reason = format!(
                    "interface {name} is declared as part of two separate links: {other} and {own}",
                    name = quoted(name),
                    other = quoted(other),
                    own = quoted(own)
                );
                scope.error_at(member, at.clone(), reason);
            }
            owners.insert(name, own);
        }
    }
    for (index, device) in devices.iter().enumerate() {
        if device.text_at(&["ignore"]) == Some("true") {
            continue;
        }
        let at = place(index);
        identity(scope, device, &at);
        addressing(scope, device, &at, &owners);
        routes(scope, device, &at);
    }
}

fn place(index: usize) -> String {
    format!("{}.{index}", PATH.join("."))
}

fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.text_at(&[key]).unwrap_or_default()
}

pub(super) fn no_virtual_addresses(scope: &mut Scope<'_>) {
    let reason = "virtual (shared) IP is not allowed on non-controlplane nodes";
    for (index, device) in scope.items(&PATH).iter().enumerate() {
        if let Some(vip) = device.at(&["vip"]) {
            scope.error_at(vip, format!("{}.vip", place(index)), reason);
        }
        for vlan in items(device, &["vlans"]) {
            if let Some(vip) = vlan.at(&["vip"]) {
                scope.error_at(vip, format!("{}.vlans.vip", place(index)), reason);
            }
        }
    }
}

fn identity(scope: &mut Scope<'_>, device: &Node, at: &str) {
    let selector = device.at(&["deviceSelector"]);
    let both = "[networking.os.device.interface], [networking.os.device.deviceSelector]";
    match (text(device, "interface"), selector) {
        ("", None) => {
            let reason = format!("{both}: required either config section to be set");
            scope.error_at(device, at.to_owned(), reason);
        }
        ("", Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            let reason = format!("{both}: config sections are mutually exclusive");
            scope.error_at(device, at.to_owned(), reason);
        }
    }
    if selector.is_some_and(is_empty) {
        let reason = "[networking.os.device.deviceSelector]: config section should contain at least one field";
        scope.error_at(device, format!("{at}.deviceSelector"), reason);
    }
    if let Some(bond) = device.at(&["bond"]) {
        bond::check(scope, bond, &format!("{at}.bond"));
    }
    if let Some(wireguard) = device.at(&["wireguard"]) {
        check_wireguard(scope, wireguard, &format!("{at}.wireguard"));
    }
    vlans(scope, device, at);
}

fn is_empty(selector: &Node) -> bool {
    let mut entries = selector.as_mapping().into_iter().flatten();
    entries.all(|e| e.value.as_text() == Some(""))
}

/// What is wrong with a WireGuard key, without the key.
fn key_error(key: &str) -> Option<(String, String)> {
    match base64(key) {
        Ok(raw) if raw.len() == 32 => None,
        Ok(raw) => Some((
            format!("wrong key length: {}", raw.len()),
            format!("wrong key {key} length: {}", raw.len(), key = quoted(key)),
        )),
        Err(error) => Some((error.clone(), error)),
    }
}

fn check_wireguard(scope: &mut Scope<'_>, wireguard: &Node, at: &str) {
    if let Some((reason, exact)) = key_error(text(wireguard, "privateKey")) {
        let reason = format!("private key is invalid: {reason}");
        scope.secret_error_at(
            wireguard,
            format!("{at}.privateKey"),
            reason,
            format!("private key is invalid: {exact}"),
        );
    }
    for peer in items(wireguard, &["peers"]) {
        let at = format!("{at}.peers");
        if let Some((_, exact)) = key_error(text(peer, "publicKey")) {
            scope.error_at(peer, at.clone(), format!("public key invalid: {exact}"));
        }
        let endpoint = text(peer, "endpoint");
        let valid = split_host_port(endpoint)
            .is_ok_and(|(host, _)| !host.contains(':') || host.parse::<IpAddr>().is_ok());
        if !endpoint.is_empty() && !valid {
            scope.error_at(
                peer,
                at.clone(),
                format!(
                    "peer endpoint {endpoint} is invalid",
                    endpoint = quoted(endpoint)
                ),
            );
        }
        for allowed in items(peer, &["allowedIPs"]) {
            let text = allowed.as_text().unwrap_or_default();
            if parse_prefix(text).is_none() {
                let reason = format!(
                    "peer allowed IP {shown} is invalid: invalid CIDR address: {text}",
                    shown = quoted(text)
                );
                scope.error_at(allowed, at.clone(), reason);
            }
        }
    }
}

fn vlans(scope: &mut Scope<'_>, device: &Node, at: &str) {
    let own = text(device, "interface");
    for vlan in items(device, &["vlans"]) {
        let at = format!("{at}.vlans");
        let id = vlan.text_at(&["vlanId"]).unwrap_or("0");
        let name = format!("{own}.{id}");
        let addresses = items(vlan, &["addresses"]);
        let cidr = text(vlan, "cidr");
        if !addresses.is_empty() && !cidr.is_empty() {
            let reason = format!(
                "[networking.os.device.vlan] {name}: vlan can't have both .cidr and .addresses set"
            );
            scope.error_at(vlan, at.clone(), reason);
        }
        if let Some(error) = Some(cidr)
            .filter(|c| !c.is_empty())
            .and_then(address_or_network_error)
        {
            let reason = format!("[networking.os.device.vlan.CIDR] {name}: {error}");
            scope.error_at(vlan, at.clone(), reason);
        }
        for address in addresses {
            if let Some(error) = address.as_text().and_then(address_or_network_error) {
                let reason = format!("[networking.os.device.vlan.addresses] {name}: {error}");
                scope.error_at(address, at.clone(), reason);
            }
        }
    }
}

fn addressing(scope: &mut Scope<'_>, device: &Node, at: &str, owners: &HashMap<&str, &str>) {
    let own = text(device, "interface");
    let addresses = items(device, &["addresses"]);
    let cidr = text(device, "cidr");
    let vip = device.at(&["vip"]);
    let dhcp = device.text_at(&["dhcp"]) == Some("true");
    let any = dhcp || !cidr.is_empty() || !addresses.is_empty() || vip.is_some();
    if owners.contains_key(own) && any {
        let reason = format!(
            "[networking.os.device] {own}: bonded/bridged interface shouldn't have any addressing methods configured",
            own = quoted(own)
        );
        scope.error_at(device, at.to_owned(), reason);
    }
    if !addresses.is_empty() && !cidr.is_empty() {
        let reason = format!(
            "[networking.os.device] {own}: interface can't have both .cidr and .addresses set",
            own = quoted(own)
        );
        scope.error_at(device, at.to_owned(), reason);
    }
    if !cidr.is_empty() {
        if let Some(error) = address_or_network_error(cidr) {
            let reason = format!(
                "[networking.os.device.CIDR] {own}: {error}",
                own = quoted(own)
            );
            scope.error_at(device, format!("{at}.cidr"), reason);
        }
        let reason = format!(
            "{own}: machine.network.interface.cidr is deprecated, please use machine.network.interface.addresses",
            own = quoted(own)
        );
        scope.warn_at(device, format!("{at}.cidr"), reason);
    }
    for address in addresses {
        if let Some(error) = address.as_text().and_then(address_or_network_error) {
            let reason = format!(
                "[networking.os.device.addresses] {own}: {error}",
                own = quoted(own)
            );
            scope.error_at(address, format!("{at}.addresses"), reason);
        }
    }
    if let Some(vip) = vip {
        let address = text(vip, "ip");
        if address.parse::<IpAddr>().is_err() {
            let reason = format!(
                "[networking.os.device.vip] failed to parse {address} as IP address",
                address = quoted(address)
            );
            scope.error_at(vip, format!("{at}.vip.ip"), reason);
        }
    }
}

fn routes(scope: &mut Scope<'_>, device: &Node, at: &str) {
    for (index, route) in items(device, &["routes"]).iter().enumerate() {
        let at = format!("{at}.routes.{index}");
        let name = format!("networking.os.device.route[{index}]");
        let (network, gateway) = (text(route, "network"), text(route, "gateway"));
        let invalid = |scope: &mut Scope<'_>, key: &str, value: &str| {
            let reason = format!(
                "[{name}.{key}] {value}: invalid network address",
                value = quoted(value)
            );
            scope.error_at(route, format!("{at}.{key}"), reason);
        };
        if !network.is_empty() && parse_prefix(network).is_none() {
            invalid(scope, "network", network);
        }
        if !gateway.is_empty() && gateway.parse::<IpAddr>().is_err() {
            invalid(scope, "gateway", gateway);
        }
        if network.is_empty() && gateway.is_empty() {
            let reason = format!("[{name}]: either network or gateway should be set");
            scope.error_at(route, at.clone(), reason);
        }
        let source = text(route, "source");
        if !source.is_empty() && source.parse::<IpAddr>().is_err() {
            invalid(scope, "source", source);
        }
    }
}
