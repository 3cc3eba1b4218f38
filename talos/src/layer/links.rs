//! The network arguments as keys of the main document (until contract 1.11) or as documents (from 1.12 on).

use std::net::IpAddr;

use super::address::Prefix;
use super::cel;
use super::draft::Draft;
use super::network::{
    Bond, Bridge, Dhcp, Interface, Link, LinkKind, LinkSelector, Network, Route, Vip, Vlan,
};
use crate::config::Toggle;
use crate::yaml::Node;

/// The first contract whose network is documents.
pub(super) const DOCUMENTS: u16 = 12;

type Entries = Vec<(&'static str, Node)>;

pub(super) fn render(network: &Network, draft: &mut Draft) {
    if let (Some(vip), []) = (&network.vip, network.interfaces.as_slice()) {
        return vip_alone(vip, draft);
    }
    let interfaces = with_shared_vip(network, draft);
    for (index, interface) in interfaces.iter().enumerate() {
        let at = format!("network.interfaces[{index}]");
        check_interface(interface, &at, draft);
        if draft.since(DOCUMENTS) {
            documents(interface, &at, draft);
        } else {
            let device = device(interface, &at, draft);
            draft.push(&["machine", "network", "interfaces"], device);
        }
    }
}

/// A virtual address about whose link nothing is said: on what the node's card is. A document would need the link's
/// name, and an alias takes one link only, while a machine may have several cards; so this stays a key of the main
/// document in every contract.
fn vip_alone(vip: &Vip, draft: &mut Draft) {
    if !draft.is_control_plane() {
        return;
    }
    check_part(&[], &[], Some(vip), "network", draft);
    if !draft.needs(7, "network.vip", "state the interface that shall carry it") {
        return;
    }
    let card = LinkSelector {
        physical: Some(Toggle::Enabled),
        ..LinkSelector::default()
    };
    let mut device: Entries = vec![
        ("deviceSelector", selector_keys(&card)),
        ("dhcp", Node::boolean(true)),
    ];
    device.extend(vip_keys(Some(vip), draft));
    draft.push(&["machine", "network", "interfaces"], Node::map(device));
}

/// The interfaces, with the node's virtual address on the one whose network holds it.
fn with_shared_vip(network: &Network, draft: &mut Draft) -> Vec<Interface> {
    let mut interfaces = network.interfaces.clone();
    let Some(vip) = network.vip.as_ref().filter(|_| draft.is_control_plane()) else {
        return interfaces;
    };
    let Ok(address) = vip.ip().parse::<IpAddr>() else {
        draft.invalid("network.vip", "it is not an address");
        return interfaces;
    };
    let holds = |addresses: &[String]| {
        let mut networks = addresses.iter().filter_map(|a| Prefix::parse(a));
        networks.any(|p| p.holds(address))
    };
    for interface in &mut interfaces {
        if holds(&interface.addresses) {
            interface.vip = Some(vip.clone());
            return interfaces;
        }
        if let Some(vlan) = interface.vlans.iter_mut().find(|v| holds(&v.addresses)) {
            vlan.vip = Some(vip.clone());
            return interfaces;
        }
    }
    match interfaces.as_mut_slice() {
        [only] if only.vlans.is_empty() => only.vip = Some(vip.clone()),
        _ => draft.invalid(
            "network.vip",
            "no interface has an address in its network; state vip inside the interface that shall carry it",
        ),
    }
    interfaces
}

fn check_interface(interface: &Interface, at: &str, draft: &mut Draft) {
    if let Link::Selected { alias, selector } = &interface.link {
        check_selector(alias, selector, at, draft);
    } else if interface.link.name().is_empty() {
        draft.invalid(format!("{at}.interface"), "it is empty");
    }
    check_part(
        &interface.addresses,
        &interface.routes,
        interface.vip.as_ref(),
        at,
        draft,
    );
    for (index, vlan) in interface.vlans.iter().enumerate() {
        let at = format!("{at}.vlans[{index}]");
        if !(1..=4094).contains(&vlan.id) {
            draft.invalid(format!("{at}.id"), "a VLAN's id is 1 to 4094");
        }
        check_part(&vlan.addresses, &vlan.routes, vlan.vip.as_ref(), &at, draft);
    }
    if let LinkKind::Bond(bond) = &interface.kind {
        if bond.mode.is_empty() || bond.links.is_empty() {
            draft.invalid(format!("{at}.bond"), "it needs a mode and links");
        }
        for (index, link) in bond.links.iter().enumerate() {
            if let Link::Selected { alias, selector } = link {
                check_selector(alias, selector, &format!("{at}.bond.links[{index}]"), draft);
            }
        }
    }
}

fn check_selector(alias: &str, selector: &LinkSelector, at: &str, draft: &mut Draft) {
    if let Err(reason) = cel::link(selector) {
        draft.invalid(format!("{at}.selector"), reason);
    }
    if selector.permanent_address.is_some() {
        draft.needs(
            9,
            format!("{at}.selector.permanent_address"),
            "use hardware_address",
        );
    }
    if selector.physical.is_some() {
        draft.needs(7, format!("{at}.selector.physical"), "name the link");
    }
    if alias.is_empty() && draft.since(DOCUMENTS) {
        draft.invalid(format!("{at}.alias"), "a selected link needs an alias");
    }
}

fn check_part(
    addresses: &[String],
    routes: &[Route],
    vip: Option<&Vip>,
    at: &str,
    draft: &mut Draft,
) {
    for (index, address) in addresses.iter().enumerate() {
        if Prefix::parse(address).is_none() {
            let reason = "it must be an address with its prefix length, like 10.0.0.2/24";
            draft.invalid(format!("{at}.addresses[{index}]"), reason);
        }
    }
    for (index, route) in routes.iter().enumerate() {
        let at = format!("{at}.routes[{index}]");
        let network = route.destination.as_deref();
        if network.is_some_and(|n| Prefix::parse(n).is_none()) {
            let reason = "it must be a network like 10.1.0.0/16";
            draft.invalid(format!("{at}.destination"), reason);
        }
        for (key, text) in [("gateway", &route.gateway), ("source", &route.source)] {
            let bad = |t: &String| t.parse::<IpAddr>().is_err();
            if text.as_ref().is_some_and(bad) {
                draft.invalid(format!("{at}.{key}"), "it is not an address");
            }
        }
        if network.is_none() && route.gateway.is_none() {
            draft.invalid(at, "a route needs a destination or a gateway");
        }
    }
    if vip.is_some_and(|v| v.ip().parse::<IpAddr>().is_err()) {
        draft.invalid(format!("{at}.vip"), "it is not an address");
    }
}

/// One entry of `machine.network.interfaces`.
fn device(interface: &Interface, at: &str, draft: &mut Draft) -> Node {
    let mut out: Entries = match &interface.link {
        Link::Name(name) => vec![("interface", Node::text(name))],
        Link::Selected { selector, .. } => vec![("deviceSelector", selector_keys(selector))],
    };
    match &interface.kind {
        LinkKind::Physical => {}
        LinkKind::Dummy => out.push(("dummy", Node::boolean(true))),
        LinkKind::Bond(bond) => out.push(("bond", bond_keys(bond))),
        LinkKind::Bridge(bridge) => out.push(("bridge", bridge_keys(bridge))),
    }
    out.extend(device_part(
        &interface.addresses,
        &interface.routes,
        interface.dhcp.as_ref(),
        interface.mtu,
    ));
    out.extend(vip_keys(interface.vip.as_ref(), draft));
    let vlans: Vec<Node> = interface
        .vlans
        .iter()
        .map(|vlan| {
            let mut out: Entries = vec![("vlanId", Node::integer(vlan.id))];
            out.extend(device_part(
                &vlan.addresses,
                &vlan.routes,
                vlan.dhcp.as_ref(),
                vlan.mtu,
            ));
            out.extend(vip_keys(vlan.vip.as_ref(), draft));
            Node::map(out)
        })
        .collect();
    if !vlans.is_empty() {
        out.push(("vlans", Node::list(vlans)));
    }
    let selected = matches!(interface.link, Link::Selected { .. });
    if selected && interface.kind != LinkKind::Physical {
        let reason = "a link that is made has a name, no selector";
        draft.invalid(format!("{at}.selector"), reason);
    }
    Node::map(out)
}

fn device_part(
    addresses: &[String],
    routes: &[Route],
    dhcp: Option<&Dhcp>,
    mtu: Option<u32>,
) -> Entries {
    let mut out: Entries = Vec::new();
    if !addresses.is_empty() {
        out.push(("addresses", Node::texts(addresses)));
    }
    if !routes.is_empty() {
        out.push(("routes", Node::list(routes.iter().map(legacy_route))));
    }
    if let Some(dhcp) = dhcp {
        out.push(("dhcp", Node::boolean(true)));
        if *dhcp != Dhcp::default() {
            let mut options: Entries = Vec::new();
            if let Some(metric) = dhcp.route_metric {
                options.push(("routeMetric", Node::integer(metric)));
            }
            options.push(("ipv4", on(dhcp.ipv4)));
            options.push(("ipv6", on(dhcp.ipv6)));
            if let Some(duid) = &dhcp.duid {
                options.push(("duidv6", Node::text(duid)));
            }
            out.push(("dhcpOptions", Node::map(options)));
        }
    }
    if let Some(mtu) = mtu {
        out.push(("mtu", Node::integer(mtu)));
    }
    out
}

fn legacy_route(route: &Route) -> Node {
    let mut out: Entries = Vec::new();
    let network = route
        .destination
        .as_deref()
        .unwrap_or_else(|| match &route.gateway {
            Some(gateway) if gateway.contains(':') => "::/0",
            _ => "0.0.0.0/0",
        });
    out.push(("network", Node::text(network)));
    out.extend(route_rest(route));
    Node::map(out)
}

fn route_rest(route: &Route) -> Entries {
    let mut out: Entries = Vec::new();
    for (key, text) in [("gateway", &route.gateway), ("source", &route.source)] {
        if let Some(text) = text {
            out.push((key, Node::text(text)));
        }
    }
    for (key, number) in [("metric", route.metric), ("mtu", route.mtu)] {
        if let Some(number) = number {
            out.push((key, Node::integer(number)));
        }
    }
    out
}

fn vip_keys(vip: Option<&Vip>, draft: &Draft) -> Option<(&'static str, Node)> {
    let vip = vip.filter(|_| draft.is_control_plane())?;
    let mut out: Entries = vec![("ip", Node::text(vip.ip()))];
    if let Vip::HCloud { token, .. } = vip {
        let token = Node::text(token.expose());
        out.push(("hcloud", Node::map([("apiToken", token)])));
    }
    Some(("vip", Node::map(out)))
}

fn selector_keys(selector: &LinkSelector) -> Node {
    let mut out: Entries = Vec::new();
    for (key, text) in [
        ("busPath", &selector.bus_path),
        ("hardwareAddr", &selector.hardware_address),
        ("permanentAddr", &selector.permanent_address),
        ("pciID", &selector.pci_id),
        ("driver", &selector.driver),
    ] {
        if let Some(text) = text {
            out.push((key, Node::text(text)));
        }
    }
    if let Some(physical) = selector.physical {
        out.push(("physical", on(physical)));
    }
    Node::map(out)
}

fn bond_keys(bond: &Bond) -> Node {
    let mut names = Vec::new();
    let mut selectors = Vec::new();
    for link in &bond.links {
        match link {
            Link::Name(name) => names.push(Node::text(name)),
            Link::Selected { selector, .. } => selectors.push(selector_keys(selector)),
        }
    }
    let mut out: Entries = Vec::new();
    if !names.is_empty() {
        out.push(("interfaces", Node::list(names)));
    }
    if !selectors.is_empty() {
        out.push(("deviceSelectors", Node::list(selectors)));
    }
    out.push(("mode", Node::text(&bond.mode)));
    out.extend(bond_rest(bond));
    Node::map(out)
}

fn bond_rest(bond: &Bond) -> Entries {
    let mut out: Entries = Vec::new();
    for (key, text) in [
        ("xmitHashPolicy", &bond.xmit_hash_policy),
        ("lacpRate", &bond.lacp_rate),
    ] {
        if let Some(text) = text {
            out.push((key, Node::text(text)));
        }
    }
    for (key, number) in [
        ("miimon", bond.miimon),
        ("updelay", bond.up_delay),
        ("downdelay", bond.down_delay),
    ] {
        if let Some(number) = number {
            out.push((key, Node::integer(number)));
        }
    }
    out
}

fn bridge_keys(bridge: &Bridge) -> Node {
    let mut out: Entries = vec![("interfaces", Node::texts(&bridge.links))];
    if let Some(stp) = bridge.stp {
        out.push(("stp", Node::map([("enabled", on(stp))])));
    }
    if let Some(filtering) = bridge.vlan_filtering {
        out.push(("vlan", Node::map([("vlanFiltering", on(filtering))])));
    }
    Node::map(out)
}

/// The documents of one link.
fn documents(interface: &Interface, at: &str, draft: &mut Draft) {
    let name = interface.link.name();
    alias(&interface.link, draft);
    let mut entries: Entries = Vec::new();
    let kind = match &interface.kind {
        LinkKind::Physical => "LinkConfig",
        LinkKind::Dummy => "DummyLinkConfig",
        LinkKind::Bond(bond) => {
            for link in &bond.links {
                alias(link, draft);
            }
            let links = bond.links.iter().map(|l| Node::text(l.name()));
            entries.push(("links", Node::list(links)));
            entries.push(("bondMode", Node::text(&bond.mode)));
            entries.extend(bond_rest(bond));
            "BondConfig"
        }
        LinkKind::Bridge(bridge) => {
            entries.push(("links", Node::texts(&bridge.links)));
            if let Some(stp) = bridge.stp {
                entries.push(("stp", Node::map([("enabled", on(stp))])));
            }
            if let Some(filtering) = bridge.vlan_filtering {
                entries.push(("vlan", Node::map([("filtering", on(filtering))])));
            }
            "BridgeConfig"
        }
    };
    let part = link_part(&interface.addresses, &interface.routes, interface.mtu);
    // A link about which only DHCP is said needs no document of its own.
    if interface.kind != LinkKind::Physical || !part.is_empty() || interface.dhcp.is_none() {
        entries.extend(part);
        draft.named(kind, name, entries);
    }
    dhcp(interface.dhcp.as_ref(), name, draft);
    vip_document(interface.vip.as_ref(), name, draft);
    for (index, vlan) in interface.vlans.iter().enumerate() {
        vlan_documents(vlan, name, &format!("{at}.vlans[{index}]"), draft);
    }
}

fn vlan_documents(vlan: &Vlan, parent: &str, at: &str, draft: &mut Draft) {
    let name = format!("{parent}.{}", vlan.id);
    // The kernel takes 15 bytes.
    if name.len() > 15 {
        let reason = format!("{name} is too long for a link's name; give {parent} a shorter alias");
        draft.invalid(at, reason);
    }
    let mut entries: Entries = vec![
        ("vlanID", Node::integer(vlan.id)),
        ("parent", Node::text(parent)),
    ];
    entries.extend(link_part(&vlan.addresses, &vlan.routes, vlan.mtu));
    draft.named("VLANConfig", &name, entries);
    dhcp(vlan.dhcp.as_ref(), &name, draft);
    vip_document(vlan.vip.as_ref(), &name, draft);
}

fn alias(link: &Link, draft: &mut Draft) {
    let Link::Selected { alias, selector } = link else {
        return;
    };
    let Ok(expression) = cel::link(selector) else {
        return;
    };
    let selector = Node::map([("match", Node::text(expression))]);
    draft.named("LinkAliasConfig", alias, vec![("selector", selector)]);
}

fn link_part(addresses: &[String], routes: &[Route], mtu: Option<u32>) -> Entries {
    let mut out: Entries = Vec::new();
    if let Some(mtu) = mtu {
        out.push(("mtu", Node::integer(mtu)));
    }
    if !addresses.is_empty() {
        let items = addresses
            .iter()
            .map(|a| Node::map([("address", Node::text(a))]));
        out.push(("addresses", Node::list(items)));
    }
    if !routes.is_empty() {
        let items = routes.iter().map(|route| {
            let mut out: Entries = Vec::new();
            let network = route.destination.as_deref();
            // Without a destination it is the default route of the gateway's family.
            let explicit = network.filter(|n| {
                route.gateway.is_none() || !Prefix::parse(n).is_some_and(|p| p.is_everything())
            });
            if let Some(network) = explicit {
                out.push(("destination", Node::text(network)));
            }
            out.extend(route_rest(route));
            Node::map(out)
        });
        out.push(("routes", Node::list(items)));
    }
    out
}

fn dhcp(dhcp: Option<&Dhcp>, name: &str, draft: &mut Draft) {
    let Some(dhcp) = dhcp else { return };
    let mut entries: Entries = Vec::new();
    if let Some(metric) = dhcp.route_metric {
        entries.push(("routeMetric", Node::integer(metric)));
    }
    if dhcp.ipv4 == Toggle::Enabled {
        draft.named("DHCPv4Config", name, entries.clone());
    }
    if dhcp.ipv6 == Toggle::Enabled {
        if let Some(duid) = &dhcp.duid {
            entries.push(("clientIdentifier", Node::text("duid")));
            entries.push(("duidRaw", Node::text(duid)));
        }
        draft.named("DHCPv6Config", name, entries);
    }
}

fn vip_document(vip: Option<&Vip>, link: &str, draft: &mut Draft) {
    let Some(vip) = vip.filter(|_| draft.is_control_plane()) else {
        return;
    };
    let mut entries: Entries = vec![("link", Node::text(link))];
    let kind = match vip {
        Vip::Layer2(_) => "Layer2VIPConfig",
        Vip::HCloud { token, .. } => {
            entries.push(("apiToken", Node::text(token.expose())));
            "HCloudVIPConfig"
        }
    };
    draft.named(kind, vip.ip(), entries);
}

pub(super) fn on(toggle: Toggle) -> Node {
    Node::boolean(toggle == Toggle::Enabled)
}
