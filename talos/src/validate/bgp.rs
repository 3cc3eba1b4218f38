//! BGP instances (1.14).

use std::net::IpAddr;

use super::documents::{duration, name_is_set};
use super::found::{Scope, items};
use super::go::quoted;
use super::kubernetes::masked;
use crate::schema::parse_prefix;
use crate::yaml::Node;

pub(super) fn check(scope: &mut Scope<'_>) {
    name_is_set(scope);
    if scope.number(&["localASN"]).unwrap_or(0) == 0 {
        scope.error(&["localASN"], "localASN must be specified");
    }
    let router: Option<IpAddr> = scope.text(&["routerID"]).parse().ok();
    if router.is_some_and(|r| r.is_ipv6()) {
        scope.error(&["routerID"], "routerID must be an IPv4 address");
    }
    let neighbors = scope.items(&["neighbors"]);
    if neighbors.is_empty() {
        scope.warn(
            &["neighbors"],
            "BGPInstanceConfig has no neighbors configured",
        );
    }
    let in_vrf = !scope.text(&["vrf"]).is_empty();
    let mut seen = Vec::new();
    for (index, neighbor) in neighbors.iter().enumerate() {
        let at = format!("neighbors.{index}");
        let text = |key: &str| neighbor.text_at(&[key]).unwrap_or_default();
        let key = match (text("address"), text("link")) {
            (address, "") if !address.is_empty() => Some(address),
            ("", link) if !link.is_empty() => Some(link),
            _ => {
                let reason =
                    format!("neighbor[{index}]: exactly one of address or link must be set");
                scope.error_at(neighbor, at.clone(), reason);
                None
            }
        };
        timing(scope, neighbor, index, in_vrf);
        let Some(key) = key else {
            continue;
        };
        if seen.contains(&key) {
            let reason = format!(
                "neighbor[{index}]: duplicate neighbor {key}",
                key = quoted(key)
            );
            scope.error_at(neighbor, at, reason);
        }
        seen.push(key);
    }
    imports(scope);
}

fn timing(scope: &mut Scope<'_>, neighbor: &Node, index: usize, in_vrf: bool) {
    let at = format!("neighbors.{index}");
    let mut errors = Vec::new();
    if duration(neighbor, &["holdTime"]) < 0 {
        errors.push("holdTime must not be negative".to_owned());
    }
    if let Some(bfd) = neighbor.at(&["bfd"]) {
        if in_vrf {
            errors.push("bfd is not supported for VRF-bound BGP instances".to_owned());
        }
        for key in ["transmitInterval", "receiveInterval"] {
            if duration(bfd, &[key]) < 0 {
                errors.push(format!("bfd.{key} must not be negative"));
            }
        }
    }
    for error in errors {
        scope.error_at(neighbor, at.clone(), format!("neighbor[{index}]: {error}"));
    }
}

type Prefix = (IpAddr, u8);

fn overlap(a: Prefix, b: Prefix) -> bool {
    let bits = a.1.min(b.1);
    a.0.is_ipv4() == b.0.is_ipv4() && masked(a.0, bits) == masked(b.0, bits)
}

fn show((address, bits): Prefix) -> String {
    format!("{address}/{bits}")
}

fn imports(scope: &mut Scope<'_>) {
    let own = scope.text(&["name"]);
    let mut sources = Vec::new();
    let mut selectors: Vec<(Prefix, usize)> = Vec::new();
    for (index, route) in scope.items(&["importRoutes"]).iter().enumerate() {
        let at = format!("importRoutes.{index}");
        let mut errors = Vec::new();
        let source = route.text_at(&["bgpInstance"]).unwrap_or_default();
        if source.is_empty() {
            errors.push("bgpInstance must be specified".to_owned());
        } else if source == own {
            errors.push(format!(
                "cannot import from the same BGP instance {source}",
                source = quoted(source)
            ));
        }
        let prefixes = items(route, &["prefixes"]);
        if prefixes.is_empty() {
            errors.push("at least one prefix must be specified".to_owned());
        }
        for error in errors.drain(..) {
            scope.error_at(route, at.clone(), format!("importRoutes[{index}]: {error}"));
        }
        let parsed: Vec<Option<Prefix>> = prefixes
            .iter()
            .map(|p| parse_prefix(p.as_text().unwrap_or_default()))
            .collect();
        own_prefixes(scope, route, index, &parsed);
        if sources.contains(&source) && !source.is_empty() {
            let reason = format!(
                "importRoutes[{index}]: duplicate source BGP instance {source}",
                source = quoted(source)
            );
            scope.error_at(route, at.clone(), reason);
        }
        sources.push(source);
        for prefix in parsed
            .into_iter()
            .flatten()
            .filter(|p| masked(p.0, p.1) == p.0)
        {
            for (other, from) in selectors
                .iter()
                .filter(|(o, i)| *i != index && overlap(*o, prefix))
            {
                let reason = format!(
                    "importRoutes[{index}]: prefix {} overlaps importRoutes[{from}] prefix {}",
                    show(prefix),
                    show(*other)
                );
                scope.error_at(route, at.clone(), reason);
            }
            selectors.push((prefix, index));
        }
    }
}

fn own_prefixes(scope: &mut Scope<'_>, route: &Node, index: usize, parsed: &[Option<Prefix>]) {
    let at = format!("importRoutes.{index}.prefixes");
    for (i, prefix) in parsed.iter().enumerate() {
        let head = format!("importRoutes[{index}].prefixes[{i}]");
        let Some(prefix) = *prefix else {
            scope.error_at(route, at.clone(), format!("{head}: invalid prefix"));
            continue;
        };
        if masked(prefix.0, prefix.1) != prefix.0 {
            let reason = format!("{head}: prefix {} must be masked", show(prefix));
            scope.error_at(route, at.clone(), reason);
        }
        for (j, other) in parsed[..i].iter().enumerate() {
            if let Some(other) = other.filter(|o| overlap(*o, prefix)) {
                let reason = format!(
                    "{head}: prefix {} overlaps prefixes[{j}] {}",
                    show(prefix),
                    show(other)
                );
                scope.error_at(route, at.clone(), reason);
            }
        }
    }
}
