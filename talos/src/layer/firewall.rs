//! The ingress firewall, and the proof that it does not cut the cluster off.
//!
//! Talos lets in what its rules name (default `block`), or drops what they name from any other source (default
//! `accept`). Traffic over KubeSpan's own link is always let in. A rule set that would cut off a peer bricks a node
//! that nobody can reach any more, so it is an error here and not a surprise there.

use std::fmt;
use std::net::IpAddr;

use super::address::Prefix;
use super::draft::Draft;
use super::{LayerFault, args::Cluster};
use crate::config::{Cni, Role, Toggle};
use crate::yaml::Node;

/// Which traffic a node takes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// What happens to traffic that no rule names.
    pub default_action: DefaultAction,
    /// The rules.
    pub rules: Vec<FirewallRule>,
}

/// What happens to traffic that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// It comes in; a rule drops what comes to its ports from elsewhere.
    Accept,
    /// It is dropped; a rule lets its sources in.
    Block,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallRule {
    /// A name of one's own.
    pub name: String,
    /// Which ports it is about.
    pub ports: Vec<PortRange>,
    /// Over which protocol.
    pub protocol: Protocol,
    /// From where.
    pub ingress: Vec<Ingress>,
}

/// First and last port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first one.
    pub first: u16,
    /// The last one, which may be the first.
    pub last: u16,
}

impl PortRange {
    /// Reads `443` or `50000-50001`.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |t: &str| {
            let digits = !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| t.parse().ok()).flatten()
        };
        let (first, last) = (port(first)?, port(last)?);
        (first <= last).then_some(Self { first, last })
    }
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP.
    Icmp,
    /// ICMPv6.
    Icmpv6,
}

impl Protocol {
    /// As `NetworkRuleConfig` says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
        }
    }
}

/// From where a rule lets traffic in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// A network.
    pub subnet: String,
    /// A part of it that is left out.
    pub except: Option<String>,
}

/// Who must reach the node, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// bootd, which reads and configures the node.
    pub bootd: Vec<IpAddr>,
    /// The control planes, this node included or not.
    pub control_planes: Vec<IpAddr>,
    /// The workers.
    pub workers: Vec<IpAddr>,
}

/// Who is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// bootd.
    Bootd,
    /// A control plane.
    ControlPlane,
    /// A worker.
    Worker,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bootd => "bootd",
            Self::ControlPlane => "the control plane",
            Self::Worker => "the worker",
        })
    }
}

/// What a peer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The port.
    pub port: u16,
    /// Over which protocol.
    pub protocol: Protocol,
    /// What runs there.
    pub service: &'static str,
}

const fn tcp(port: u16, service: &'static str) -> Flow {
    Flow {
        port,
        protocol: Protocol::Tcp,
        service,
    }
}

const APID: Flow = tcp(50_000, "the Talos API");
const TRUSTD: Flow = tcp(50_001, "trustd");
const ETCD_CLIENT: Flow = tcp(2379, "etcd");
const ETCD_PEER: Flow = tcp(2380, "etcd");
const API_SERVER: Flow = tcp(6443, "the Kubernetes API");
const KUBELET: Flow = tcp(10_250, "the kubelet");
const KUBESPAN: Flow = Flow {
    port: 51_820,
    protocol: Protocol::Udp,
    service: "KubeSpan",
};
const FLANNEL: Flow = Flow {
    port: 4789,
    protocol: Protocol::Udp,
    service: "flannel's VXLAN",
};

/// What each peer needs of a node of this role. With KubeSpan, cluster traffic comes over its own link, which no rule
/// touches: only its tunnel must get through.
fn required(cluster: &Cluster, role: Role, peer: Peer) -> Vec<Flow> {
    let kubespan = cluster
        .kubespan
        .as_ref()
        .is_some_and(|k| k.state == Toggle::Enabled);
    if peer == Peer::Bootd {
        return vec![APID];
    }
    if kubespan {
        return vec![KUBESPAN];
    }
    let mut flows = Vec::new();
    if role != Role::Worker {
        flows.extend([API_SERVER, TRUSTD]);
        if peer == Peer::ControlPlane {
            flows.extend([ETCD_CLIENT, ETCD_PEER]);
        }
    }
    if peer == Peer::ControlPlane {
        flows.extend([APID, KUBELET]);
    }
    if cluster.cni == Cni::Flannel {
        flows.push(FLANNEL);
    }
    flows
}

pub(super) fn render(firewall: &Firewall, cluster: &Cluster, peers: &Peers, draft: &mut Draft) {
    let Some(rules) = checked(firewall, draft) else {
        return;
    };
    for (peer, addresses) in [
        (Peer::Bootd, &peers.bootd),
        (Peer::ControlPlane, &peers.control_planes),
        (Peer::Worker, &peers.workers),
    ] {
        for flow in required(cluster, draft.role, peer) {
            let cut: Vec<IpAddr> = addresses
                .iter()
                .copied()
                .filter(|a| !lets_in(firewall.default_action, &rules, *a, flow))
                .collect();
            if !cut.is_empty() {
                draft.fault(LayerFault::CutOff { peer, flow, cut });
            }
        }
    }
    let action = match firewall.default_action {
        DefaultAction::Accept => "accept",
        DefaultAction::Block => "block",
    };
    draft.set_in(
        "NetworkDefaultActionConfig",
        &["ingress"],
        Node::text(action),
    );
    for rule in &firewall.rules {
        draft.named("NetworkRuleConfig", &rule.name, rule_keys(rule));
    }
}

fn rule_keys(rule: &FirewallRule) -> Vec<(&'static str, Node)> {
    let ports = rule.ports.iter().map(|range| {
        if range.first == range.last {
            Node::integer(range.first)
        } else {
            Node::text(format!("{}-{}", range.first, range.last))
        }
    });
    let selector = Node::map([
        ("ports", Node::list(ports)),
        ("protocol", Node::text(rule.protocol.as_str())),
    ]);
    let ingress = rule.ingress.iter().map(|from| {
        let subnet = ("subnet", Node::text(&from.subnet));
        let except = from.except.iter().map(|e| ("except", Node::text(e)));
        Node::map(std::iter::once(subnet).chain(except))
    });
    vec![("portSelector", selector), ("ingress", Node::list(ingress))]
}

/// A rule whose networks were read.
struct Rule<'a> {
    rule: &'a FirewallRule,
    sources: Vec<(Prefix, Option<Prefix>)>,
}

fn checked<'a>(firewall: &'a Firewall, draft: &mut Draft) -> Option<Vec<Rule<'a>>> {
    let mut good = true;
    let mut rules: Vec<Rule<'a>> = Vec::new();
    for (index, rule) in firewall.rules.iter().enumerate() {
        let at = format!("ingress_firewall.rules[{index}]");
        let mut wrong = |key: &str, reason: &str, draft: &mut Draft| {
            draft.invalid(format!("{at}.{key}"), reason);
            good = false;
        };
        if rule.name.is_empty() || rules.iter().any(|r| r.rule.name == rule.name) {
            wrong("name", "each rule needs a name of its own", draft);
        }
        if rule.ports.is_empty() || rule.ports.iter().any(|p| p.first == 0 || p.first > p.last) {
            wrong("ports", "it needs ports from 1 to 65535", draft);
        }
        let mut sources = Vec::new();
        for (index, from) in rule.ingress.iter().enumerate() {
            let except = from.except.as_deref().map(Prefix::parse);
            match (Prefix::parse(&from.subnet), except) {
                (Some(subnet), None) => sources.push((subnet, None)),
                (Some(subnet), Some(Some(except))) => sources.push((subnet, Some(except))),
                _ => wrong(
                    &format!("ingress[{index}]"),
                    "it must be networks like 10.0.0.0/8",
                    draft,
                ),
            }
        }
        rules.push(Rule { rule, sources });
    }
    good.then_some(rules)
}

fn lets_in(default: DefaultAction, rules: &[Rule<'_>], from: IpAddr, flow: Flow) -> bool {
    let about = |rule: &&Rule<'_>| {
        let mut ports = rule.rule.ports.iter();
        rule.rule.protocol == flow.protocol
            && ports.any(|p| (p.first..=p.last).contains(&flow.port))
    };
    // The exceptions of all sources are taken out of the sum of them.
    let named = |rule: &Rule<'_>| {
        rule.sources.iter().any(|(subnet, _)| subnet.holds(from))
            && !rule
                .sources
                .iter()
                .any(|(_, except)| except.is_some_and(|e| e.holds(from)))
    };
    let mut rules = rules.iter().filter(about);
    match default {
        DefaultAction::Block => rules.any(named),
        DefaultAction::Accept => rules.all(named),
    }
}
