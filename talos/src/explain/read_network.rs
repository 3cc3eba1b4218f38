//! Links, addresses, routes and names.

use super::{Source, items, number, text, texts, toggle};
use crate::config::Toggle;
use crate::layer::{
    BgpInstance, BgpNeighbor, Bond, Bridge, Dhcp, HostEntry, Interface, Layer, Link, LinkKind,
    LinkSelector, NeighborPlace, Route, Vip, Vlan,
};
use crate::secrets::Secret;
use crate::yaml::Node;

pub(super) fn interfaces(source: &Source<'_>, layer: &mut Layer) {
    let legacy = items(source.main(&["machine", "network", "interfaces"])).iter();
    let legacy = legacy.enumerate().map(|(index, node)| device(index, node));
    let mut all: Vec<Interface> = legacy.collect();
    documents(source, &mut all);
    layer.node.network.interfaces = all;
}

/// An entry of `machine.network.interfaces`.
pub(crate) fn device(index: usize, node: &Node) -> Interface {
    let link = match (text(node, &["interface"]), node.at(&["deviceSelector"])) {
        (None, Some(selector)) => Link::Selected {
            alias: format!("net{index}"),
            selector: link_selector(selector),
        },
        (name, _) => Link::Name(name.unwrap_or_default()),
    };
    let mut interface = Interface::new(link);
    if toggle(node, &["dummy"]) == Some(Toggle::Enabled) {
        interface.kind = LinkKind::Dummy;
    } else if let Some(bond) = node.at(&["bond"]) {
        interface.kind = LinkKind::Bond(Box::new(legacy_bond(index, bond)));
    } else if let Some(bridge) = node.at(&["bridge"]) {
        interface.kind = LinkKind::Bridge(Bridge {
            links: texts(bridge.at(&["interfaces"])),
            stp: toggle(bridge, &["stp", "enabled"]),
            vlan_filtering: toggle(bridge, &["vlan", "vlanFiltering"]),
        });
    }
    interface.addresses = texts(node.at(&["addresses"]));
    interface.routes = legacy_routes(node);
    interface.dhcp = legacy_dhcp(node);
    interface.mtu = number(node, &["mtu"]);
    interface.vip = legacy_vip(node);
    let vlans = items(node.at(&["vlans"])).iter().map(|node| Vlan {
        id: number(node, &["vlanId"]).unwrap_or_default(),
        addresses: texts(node.at(&["addresses"])),
        routes: legacy_routes(node),
        dhcp: legacy_dhcp(node),
        mtu: number(node, &["mtu"]),
        vip: legacy_vip(node),
    });
    interface.vlans = vlans.collect();
    interface
}

pub(crate) fn link_selector(node: &Node) -> LinkSelector {
    LinkSelector {
        bus_path: text(node, &["busPath"]),
        hardware_address: text(node, &["hardwareAddr"]),
        permanent_address: text(node, &["permanentAddr"]),
        pci_id: text(node, &["pciID"]),
        driver: text(node, &["driver"]),
        physical: toggle(node, &["physical"]),
    }
}

fn legacy_bond(index: usize, node: &Node) -> Bond {
    let names = texts(node.at(&["interfaces"])).into_iter().map(Link::Name);
    let selectors = items(node.at(&["deviceSelectors"])).iter().enumerate();
    let selected = selectors.map(|(n, selector)| Link::Selected {
        alias: format!("bond{index}p{n}"),
        selector: link_selector(selector),
    });
    Bond {
        links: names.chain(selected).collect(),
        mode: text(node, &["mode"]).unwrap_or_default(),
        ..bond_rest(node)
    }
}

fn bond_rest(node: &Node) -> Bond {
    Bond {
        xmit_hash_policy: text(node, &["xmitHashPolicy"]),
        lacp_rate: text(node, &["lacpRate"]),
        miimon: number(node, &["miimon"]),
        up_delay: number(node, &["updelay"]),
        down_delay: number(node, &["downdelay"]),
        ..Bond::default()
    }
}

fn legacy_routes(node: &Node) -> Vec<Route> {
    let routes = items(node.at(&["routes"])).iter();
    routes.map(|node| route(node, "network")).collect()
}

fn route(node: &Node, destination: &str) -> Route {
    Route {
        destination: text(node, &[destination]),
        gateway: text(node, &["gateway"]),
        source: text(node, &["source"]),
        metric: number(node, &["metric"]),
        mtu: number(node, &["mtu"]),
    }
}

fn legacy_dhcp(node: &Node) -> Option<Dhcp> {
    toggle(node, &["dhcp"]).filter(|t| *t == Toggle::Enabled)?;
    let Some(options) = node.at(&["dhcpOptions"]) else {
        return Some(Dhcp::default());
    };
    let metric = number(options, &["routeMetric"]).filter(|m| *m != 0);
    Some(Dhcp {
        ipv4: toggle(options, &["ipv4"]).unwrap_or(Toggle::Enabled),
        ipv6: toggle(options, &["ipv6"]).unwrap_or(Toggle::Disabled),
        route_metric: metric,
        duid: text(options, &["duidv6"]),
    })
}

fn legacy_vip(node: &Node) -> Option<Vip> {
    let ip = text(node, &["vip", "ip"])?;
    let token = text(node, &["vip", "hcloud", "apiToken"]);
    Some(match token {
        Some(token) => Vip::HCloud {
            ip,
            token: Secret::new(token),
        },
        None => Vip::Layer2(ip),
    })
}

/// Links from documents. A link that only DHCP or a virtual address names counts too.
fn documents(source: &Source<'_>, all: &mut Vec<Interface>) {
    for (kind, make) in [
        ("LinkConfig", LinkKind::Physical),
        ("DummyLinkConfig", LinkKind::Dummy),
        ("BondConfig", LinkKind::Bond(Box::default())),
        ("BridgeConfig", LinkKind::Bridge(Bridge::default())),
    ] {
        for (name, node) in source.all(kind) {
            let mut interface = Interface::new(link(source, name));
            interface.kind = match &make {
                LinkKind::Bond(_) => {
                    let names = texts(node.at(&["links"]));
                    LinkKind::Bond(Box::new(Bond {
                        links: names.iter().map(|n| link(source, n)).collect(),
                        mode: text(node, &["bondMode"]).unwrap_or_default(),
                        ..bond_rest(node)
                    }))
                }
                LinkKind::Bridge(_) => LinkKind::Bridge(Bridge {
                    links: texts(node.at(&["links"])),
                    stp: toggle(node, &["stp", "enabled"]),
                    vlan_filtering: toggle(node, &["vlan", "filtering"]),
                }),
                LinkKind::Physical | LinkKind::Dummy => make.clone(),
            };
            interface.addresses = addresses(node);
            interface.routes = routes(node);
            interface.mtu = number(node, &["mtu"]);
            all.push(interface);
        }
    }
    for (name, node) in source.all("VLANConfig") {
        let parent = text(node, &["parent"]).unwrap_or_default();
        let mut vlan = Vlan::new(number(node, &["vlanID"]).unwrap_or_default());
        vlan.addresses = addresses(node);
        vlan.routes = routes(node);
        vlan.mtu = number(node, &["mtu"]);
        vlan.dhcp = dhcp(source, name);
        vlan.vip = vip(source, name);
        interface(source, all, &parent).vlans.push(vlan);
    }
    let vlans: Vec<&str> = source.all("VLANConfig").map(|(name, _)| name).collect();
    let mut names: Vec<&str> = Vec::new();
    for kind in ["DHCPv4Config", "DHCPv6Config"] {
        names.extend(source.all(kind).map(|(name, _)| name));
    }
    for kind in ["Layer2VIPConfig", "HCloudVIPConfig"] {
        names.extend(source.all(kind).filter_map(|(_, n)| n.text_at(&["link"])));
    }
    for name in names {
        if !vlans.contains(&name) {
            let place = interface(source, all, name);
            place.dhcp = dhcp(source, name);
            place.vip = vip(source, name);
        }
    }
}

/// The interface of a name, which may be new.
fn interface<'i>(
    source: &Source<'_>,
    all: &'i mut Vec<Interface>,
    name: &str,
) -> &'i mut Interface {
    let at = all.iter().position(|i| i.link.name() == name);
    let at = at.unwrap_or_else(|| {
        all.push(Interface::new(link(source, name)));
        all.len() - 1
    });
    &mut all[at]
}

/// A link by its name; its alias is read back only in the words in which it is written.
fn link(source: &Source<'_>, name: &str) -> Link {
    let alias = source.all("LinkAliasConfig").find(|(n, _)| *n == name);
    let selector = alias
        .and_then(|(_, node)| node.text_at(&["selector", "match"]))
        .and_then(parse_expression);
    match selector {
        Some(selector) => Link::Selected {
            alias: name.to_owned(),
            selector,
        },
        None => Link::Name(name.to_owned()),
    }
}

fn parse_expression(text: &str) -> Option<LinkSelector> {
    let mut selector = LinkSelector::default();
    for term in text.split(" && ") {
        if term == "link.kind == \"\"" {
            selector.physical = Some(Toggle::Enabled);
            continue;
        }
        let (field, pattern) = match term.strip_prefix("glob(\"") {
            Some(rest) => {
                let (pattern, field) = rest.split_once("\", ")?;
                (field.strip_suffix(')')?, pattern)
            }
            None => {
                let (field, value) = term.split_once(" == ")?;
                (field, value.strip_prefix('"')?.strip_suffix('"')?)
            }
        };
        let place = match field {
            "mac(link.hardware_addr)" => &mut selector.hardware_address,
            "mac(link.permanent_addr)" => &mut selector.permanent_address,
            "link.bus_path" => &mut selector.bus_path,
            "link.pciid" => &mut selector.pci_id,
            "link.driver" => &mut selector.driver,
            _ => return None,
        };
        *place = Some(pattern.to_owned());
    }
    Some(selector)
}

fn addresses(node: &Node) -> Vec<String> {
    let addresses = items(node.at(&["addresses"])).iter();
    addresses.filter_map(|a| text(a, &["address"])).collect()
}

fn routes(node: &Node) -> Vec<Route> {
    let routes = items(node.at(&["routes"])).iter();
    routes.map(|node| route(node, "destination")).collect()
}

fn dhcp(source: &Source<'_>, name: &str) -> Option<Dhcp> {
    let find = |kind| source.all(kind).find(|(n, _)| *n == name).map(|(_, n)| n);
    let (v4, v6) = (find("DHCPv4Config"), find("DHCPv6Config"));
    let any = v4.or(v6)?;
    let state = |found: Option<&Node>| match found {
        Some(_) => Toggle::Enabled,
        None => Toggle::Disabled,
    };
    Some(Dhcp {
        ipv4: state(v4),
        ipv6: state(v6),
        route_metric: number(any, &["routeMetric"]),
        duid: v6.and_then(|n| text(n, &["duidRaw"])),
    })
}

fn vip(source: &Source<'_>, name: &str) -> Option<Vip> {
    let on = |kind| {
        let mut documents = source.all(kind);
        documents.find(move |(_, n)| n.text_at(&["link"]) == Some(name))
    };
    if let Some((ip, _)) = on("Layer2VIPConfig") {
        return Some(Vip::Layer2(ip.to_owned()));
    }
    let (ip, node) = on("HCloudVIPConfig")?;
    Some(Vip::HCloud {
        ip: ip.to_owned(),
        token: Secret::new(text(node, &["apiToken"])?),
    })
}

pub(super) fn names(source: &Source<'_>, layer: &mut Layer) {
    let network = &mut layer.node.network;
    let main = |key: &'static str| source.main(&["machine", "network", key]);
    network.nameservers = texts(main("nameservers"));
    network.search_domains = texts(main("searchDomains"));
    let mut search = main("disableSearchDomain").and_then(|n| toggle(n, &[]));
    if let Some(resolver) = source.one("ResolverConfig") {
        let servers = items(resolver.at(&["nameservers"])).iter();
        network.nameservers = servers.filter_map(|s| text(s, &["address"])).collect();
        network.search_domains = texts(resolver.at(&["searchDomains", "domains"]));
        search = search.or_else(|| toggle(resolver, &["searchDomains", "disableDefault"]));
    }
    network.disable_search_domain = search;
}

pub(super) fn rest(source: &Source<'_>, layer: &mut Layer) {
    let network = &mut layer.node.network;
    let path = ["machine", "time", "servers"];
    let servers = source.either(&path, "TimeSyncConfig", &["ntp", "servers"]);
    network.time_servers = texts(servers);
    let legacy = items(source.main(&["machine", "network", "extraHostEntries"])).iter();
    let legacy = legacy.map(|node| HostEntry {
        ip: text(node, &["ip"]).unwrap_or_default(),
        names: texts(node.at(&["aliases"])),
    });
    let documents = source.all("StaticHostConfig");
    let documents = documents.map(|(name, node)| HostEntry {
        ip: name.to_owned(),
        names: texts(node.at(&["hostnames"])),
    });
    network.hosts = legacy.chain(documents).collect();
    let endpoints = source.one("KubeSpanEndpointsConfig");
    let endpoints = endpoints.and_then(|d| d.at(&["extraAnnouncedEndpoints"]));
    network.announced_endpoints = texts(endpoints);
}

pub(super) fn bgp(source: &Source<'_>, layer: &mut Layer) {
    let instances = source.all("BGPInstanceConfig").map(|(name, node)| {
        let neighbors = items(node.at(&["neighbors"])).iter().filter_map(|node| {
            let at = match text(node, &["address"]) {
                Some(address) => NeighborPlace::Address(address),
                None => NeighborPlace::Link(text(node, &["link"])?),
            };
            Some(BgpNeighbor {
                at,
                peer_asn: number(node, &["peerASN"])?,
                hold_time: text(node, &["holdTime"]),
            })
        });
        BgpInstance {
            name: name.to_owned(),
            local_asn: number(node, &["localASN"]).unwrap_or_default(),
            router_id: text(node, &["routerID"]),
            route_source: text(node, &["routeSource"]),
            advertise: texts(node.at(&["advertise"])),
            multipath: toggle(node, &["multipath"]),
            install_routes: toggle(node, &["installRoutes"]),
            neighbors: neighbors.collect(),
        }
    });
    layer.node.network.bgp = instances.collect();
}
