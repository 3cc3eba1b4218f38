//! The network arguments: links, addresses, routes, names and time.

use crate::config::Toggle;
use crate::secrets::Secret;

/// A node's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its links.
    pub interfaces: Vec<Interface>,
    /// Addresses of name servers.
    pub nameservers: Vec<String>,
    /// Domains in which short names are looked up.
    pub search_domains: Vec<String>,
    /// Whether the node's own domain is left out of the search.
    pub disable_search_domain: Option<Toggle>,
    /// NTP servers.
    pub time_servers: Vec<String>,
    /// Names of addresses, as in `/etc/hosts`.
    pub hosts: Vec<HostEntry>,
    /// A virtual address of the control planes, on the link whose network holds it, or, where no link is stated, on
    /// the node's cards (contract 1.7 and later), which then ask a DHCP server; workers leave it out.
    pub vip: Option<Vip>,
    /// BGP speakers (contract 1.14 and later).
    pub bgp: Vec<BgpInstance>,
    /// KubeSpan endpoints that the node announces besides its own (contract 1.8 and later).
    pub announced_endpoints: Vec<String>,
}

/// An address and its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// The address.
    pub ip: String,
    /// Its names.
    pub names: Vec<String>,
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Which one.
    pub link: Link,
    /// What it is made of.
    pub kind: LinkKind,
    /// Addresses with their prefix lengths.
    pub addresses: Vec<String>,
    /// Routes through it.
    pub routes: Vec<Route>,
    /// Whether and how it asks a DHCP server.
    pub dhcp: Option<Dhcp>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// A virtual address on this link; workers leave it out.
    pub vip: Option<Vip>,
    /// VLANs on it.
    pub vlans: Vec<Vlan>,
}

impl Interface {
    /// A physical link with nothing stated about it.
    pub const fn new(link: Link) -> Self {
        Self {
            link,
            kind: LinkKind::Physical,
            addresses: Vec::new(),
            routes: Vec::new(),
            dhcp: None,
            mtu: None,
            vip: None,
            vlans: Vec::new(),
        }
    }
}

/// How a link is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The kernel's name.
    Name(String),
    /// By its properties. From contract 1.12 on the link gets this alias, by which its documents name it.
    Selected {
        /// The alias; none that the kernel could use.
        alias: String,
        /// What the link must have.
        selector: LinkSelector,
    },
}

impl Link {
    /// The name or the alias.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Selected { alias, .. } => alias,
        }
    }
}

/// Properties that a link must have, all of them. Texts are globs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkSelector {
    /// The bus path.
    pub bus_path: Option<String>,
    /// The hardware address.
    pub hardware_address: Option<String>,
    /// The hardware address that it was made with (contract 1.9 and later).
    pub permanent_address: Option<String>,
    /// The PCI id (`vendor:product`).
    pub pci_id: Option<String>,
    /// The kernel's driver.
    pub driver: Option<String>,
    /// Whether it must be a physical link (contract 1.7 and later).
    pub physical: Option<Toggle>,
}

/// What a link is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A card.
    Physical,
    /// Nothing.
    Dummy,
    /// Several links as one.
    Bond(Box<Bond>),
    /// A switch.
    Bridge(Bridge),
}

/// Several links as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bond {
    /// The links, each by name or by properties.
    pub links: Vec<Link>,
    /// `802.3ad`, `active-backup`, …
    pub mode: String,
    /// `layer2`, `layer3+4`, …
    pub xmit_hash_policy: Option<String>,
    /// `slow` or `fast`.
    pub lacp_rate: Option<String>,
    /// Milliseconds between link checks.
    pub miimon: Option<u32>,
    /// Milliseconds before a link counts as up.
    pub up_delay: Option<u32>,
    /// Milliseconds before a link counts as down.
    pub down_delay: Option<u32>,
}

/// A switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Its ports.
    pub links: Vec<String>,
    /// Spanning tree.
    pub stp: Option<Toggle>,
    /// VLAN filtering.
    pub vlan_filtering: Option<Toggle>,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The network; absent or `0.0.0.0/0` or `::/0` = the default route of the gateway's family.
    pub destination: Option<String>,
    /// The next hop; absent = the destination is on the link.
    pub gateway: Option<String>,
    /// The source address.
    pub source: Option<String>,
    /// The smaller, the better.
    pub metric: Option<u32>,
    /// Bytes.
    pub mtu: Option<u32>,
}

/// How a link asks a DHCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcp {
    /// DHCPv4; on without further words.
    pub ipv4: Toggle,
    /// DHCPv6; off without further words.
    pub ipv6: Toggle,
    /// The metric of routes learned.
    pub route_metric: Option<u32>,
    /// The DHCPv6 identifier in hex.
    pub duid: Option<String>,
}

impl Default for Dhcp {
    fn default() -> Self {
        Self {
            ipv4: Toggle::Enabled,
            ipv6: Toggle::Disabled,
            route_metric: None,
            duid: None,
        }
    }
}

/// A VLAN on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// 1 to 4094.
    pub id: u16,
    /// Addresses with their prefix lengths.
    pub addresses: Vec<String>,
    /// Routes through it.
    pub routes: Vec<Route>,
    /// Whether and how it asks a DHCP server.
    pub dhcp: Option<Dhcp>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// A virtual address on it; workers leave it out.
    pub vip: Option<Vip>,
}

impl Vlan {
    /// A VLAN with nothing stated about it.
    pub const fn new(id: u16) -> Self {
        Self {
            id,
            addresses: Vec::new(),
            routes: Vec::new(),
            dhcp: None,
            mtu: None,
            vip: None,
        }
    }
}

/// An address that moves between control planes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vip {
    /// By gratuitous ARP: all control planes are on one network.
    Layer2(String),
    /// By Hetzner Cloud's API.
    HCloud {
        /// The address.
        ip: String,
        /// The API's token.
        token: Secret,
    },
}

impl Vip {
    /// The address.
    pub fn ip(&self) -> &str {
        match self {
            Self::Layer2(ip) | Self::HCloud { ip, .. } => ip,
        }
    }
}

/// A BGP speaker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BgpInstance {
    /// A name of one's own.
    pub name: String,
    /// Its own number.
    pub local_asn: u32,
    /// An IPv4 address.
    pub router_id: Option<String>,
    /// The source address of learned routes.
    pub route_source: Option<String>,
    /// Links whose addresses are announced.
    pub advertise: Vec<String>,
    /// Whether equal routes are used at once.
    pub multipath: Option<Toggle>,
    /// Whether learned routes are installed.
    pub install_routes: Option<Toggle>,
    /// Its neighbours.
    pub neighbors: Vec<BgpNeighbor>,
}

/// A BGP neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpNeighbor {
    /// Where it is.
    pub at: NeighborPlace,
    /// Its number.
    pub peer_asn: u32,
    /// The session's hold time, as `90s`.
    pub hold_time: Option<String>,
}

/// Where a BGP neighbour is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeighborPlace {
    /// At an address.
    Address(String),
    /// At the other end of a link.
    Link(String),
}
