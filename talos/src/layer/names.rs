//! Names, time, BGP and announced endpoints, as keys of the main document or as documents.

use std::net::IpAddr;

use super::draft::Draft;
use super::links::{DOCUMENTS, on};
use super::network::{BgpInstance, NeighborPlace, Network};
use crate::yaml::Node;

type Entries = Vec<(&'static str, Node)>;

pub(super) fn render(network: &Network, draft: &mut Draft) {
    names(network, draft);
    for (index, instance) in network.bgp.iter().enumerate() {
        bgp(instance, &format!("network.bgp[{index}]"), draft);
    }
    if !network.announced_endpoints.is_empty()
        && draft.needs(8, "network.announced_endpoints", "leave it out")
    {
        let endpoints = Node::texts(&network.announced_endpoints);
        draft.set_in(
            "KubeSpanEndpointsConfig",
            &["extraAnnouncedEndpoints"],
            endpoints,
        );
    }
}

/// Name servers, search domains, time servers and hosts.
fn names(network: &Network, draft: &mut Draft) {
    for (index, server) in network.nameservers.iter().enumerate() {
        if server.parse::<IpAddr>().is_err() {
            draft.invalid(
                format!("network.nameservers[{index}]"),
                "it is not an address",
            );
        }
    }
    for (index, host) in network.hosts.iter().enumerate() {
        if host.ip.parse::<IpAddr>().is_err() {
            draft.invalid(format!("network.hosts[{index}].ip"), "it is not an address");
        }
    }
    if draft.since(DOCUMENTS) {
        name_documents(network, draft);
        return;
    }
    let main = |key: &'static str| ["machine", "network", key];
    if !network.nameservers.is_empty() {
        draft.set(&main("nameservers"), Node::texts(&network.nameservers));
    }
    if !network.search_domains.is_empty() {
        draft.set(&main("searchDomains"), Node::texts(&network.search_domains));
    }
    if let Some(off) = network.disable_search_domain {
        draft.set(&main("disableSearchDomain"), on(off));
    }
    for host in &network.hosts {
        let aliases = Node::texts(&host.names);
        let entry = Node::map([("ip", Node::text(&host.ip)), ("aliases", aliases)]);
        draft.push(&main("extraHostEntries"), entry);
    }
    if !network.time_servers.is_empty() {
        draft.set(
            &["machine", "time", "servers"],
            Node::texts(&network.time_servers),
        );
    }
}

fn name_documents(network: &Network, draft: &mut Draft) {
    let resolver = "ResolverConfig";
    if !network.nameservers.is_empty() {
        let servers = network.nameservers.iter();
        let items = servers.map(|s| Node::map([("address", Node::text(s))]));
        draft.set_in(resolver, &["nameservers"], Node::list(items));
    }
    if !network.search_domains.is_empty() {
        let domains = Node::texts(&network.search_domains);
        draft.set_in(resolver, &["searchDomains", "domains"], domains);
    }
    if let Some(off) = network.disable_search_domain {
        draft.set_in(resolver, &["searchDomains", "disableDefault"], on(off));
    }
    for host in &network.hosts {
        let names = Node::texts(&host.names);
        draft.named("StaticHostConfig", &host.ip, vec![("hostnames", names)]);
    }
    if !network.time_servers.is_empty() {
        let servers = Node::texts(&network.time_servers);
        draft.set_in("TimeSyncConfig", &["ntp", "servers"], servers);
    }
}

fn bgp(instance: &BgpInstance, at: &str, draft: &mut Draft) {
    if !draft.needs(
        14,
        at,
        "run a BGP daemon in the cluster, or use network.vip",
    ) {
        return;
    }
    if instance.name.is_empty() || instance.local_asn == 0 {
        draft.invalid(at, "it needs a name and a local_asn");
    }
    let mut out: Entries = vec![("localASN", Node::integer(instance.local_asn))];
    for (key, text) in [
        ("routerID", &instance.router_id),
        ("routeSource", &instance.route_source),
    ] {
        if let Some(text) = text {
            out.push((key, Node::text(text)));
        }
    }
    if !instance.advertise.is_empty() {
        out.push(("advertise", Node::texts(&instance.advertise)));
    }
    for (key, toggle) in [
        ("multipath", instance.multipath),
        ("installRoutes", instance.install_routes),
    ] {
        if let Some(toggle) = toggle {
            out.push((key, on(toggle)));
        }
    }
    let neighbors = instance.neighbors.iter().map(|neighbor| {
        let place = match &neighbor.at {
            NeighborPlace::Address(address) => ("address", Node::text(address)),
            NeighborPlace::Link(link) => ("link", Node::text(link)),
        };
        let mut out: Entries = vec![place, ("peerASN", Node::integer(neighbor.peer_asn))];
        if let Some(time) = &neighbor.hold_time {
            out.push(("holdTime", Node::text(time)));
        }
        Node::map(out)
    });
    let neighbors: Vec<Node> = neighbors.collect();
    if !neighbors.is_empty() {
        out.push(("neighbors", Node::list(neighbors)));
    }
    draft.named("BGPInstanceConfig", &instance.name, out);
}
