//! Tests of the typed layer: what each contract says, and what none can.

use super::*;
use crate::config::{Endpoint, Role, Toggle};

fn contract(minor: u16) -> Contract {
    Contract::parse(&format!("v1.{minor}"), Generator::default()).unwrap()
}

fn layer(role: Role) -> Layer {
    let endpoint = Endpoint::parse("https://10.0.0.10:6443").unwrap();
    Layer {
        cluster: Cluster::new("lab", endpoint, "v1.31.4"),
        node: Node::new(role),
    }
}

fn patch(layer: &Layer, minor: u16) -> String {
    layer
        .patch(Generator::default(), contract(minor), &Peers::default())
        .unwrap()
        .unwrap_or_default()
}

fn faults(layer: &Layer, minor: u16, peers: &Peers) -> String {
    let faults = layer.patch(Generator::default(), contract(minor), peers);
    let all: Vec<String> = faults
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    all.join("\n")
}

fn with_network() -> Layer {
    let mut layer = layer(Role::ControlPlane);
    let mut interface = Interface::new(Link::Name("eth0".into()));
    interface.addresses = vec!["10.0.0.2/24".into()];
    interface.routes = vec![Route {
        gateway: Some("10.0.0.1".into()),
        ..Route::default()
    }];
    let mut vlan = Vlan::new(100);
    vlan.dhcp = Some(Dhcp::default());
    interface.vlans = vec![vlan];
    layer.node.network = Network {
        interfaces: vec![interface],
        nameservers: vec!["9.9.9.9".into()],
        time_servers: vec!["ntp.example.org".into()],
        vip: Some(Vip::Layer2("10.0.0.10".into())),
        ..Network::default()
    };
    layer
}

#[test]
fn a_network_before_documents() {
    insta::assert_snapshot!(patch(&with_network(), 11));
}

#[test]
fn a_network_as_documents() {
    insta::assert_snapshot!(patch(&with_network(), 12));
}

#[test]
fn workers_carry_no_virtual_address() {
    let mut layer = with_network();
    layer.node.role = Role::Worker;
    for minor in [6, 13] {
        assert!(!patch(&layer, minor).contains("10.0.0.10"));
    }
    layer.node.network.interfaces.clear();
    assert!(!patch(&layer, 13).contains("10.0.0.10"));
}

#[test]
fn a_virtual_address_alone_is_on_whatever_card_there_is() {
    let mut layer = layer(Role::ControlPlane);
    layer.node.network.vip = Some(Vip::Layer2("10.0.0.10".into()));
    let expected = "\
machine:
    network:
        interfaces:
            - deviceSelector:
                physical: true
              dhcp: true
              vip:
                ip: 10.0.0.10
";
    for minor in [7, 11, 12, 13] {
        assert_eq!(patch(&layer, minor), expected, "1.{minor}");
    }
    assert_eq!(
        faults(&layer, 6, &Peers::default()),
        "network.vip: the contract v1.6 cannot express it, v1.7 is the first that can; state the interface that shall carry it"
    );
    layer.node.network.vip = Some(Vip::Layer2("somewhere".into()));
    assert_eq!(
        faults(&layer, 13, &Peers::default()),
        "network.vip: it is not an address"
    );
}

#[test]
fn what_a_contract_cannot_express_names_both() {
    let mut layer = layer(Role::Worker);
    layer.node.extension_services = vec![ExtensionService {
        name: "nut".into(),
        environment: vec![crate::secrets::Secret::new("A=b")],
        ..ExtensionService::default()
    }];
    layer.node.network.bgp = vec![BgpInstance {
        name: "x".into(),
        local_asn: 1,
        ..BgpInstance::default()
    }];
    layer.node.volumes = vec![UserVolume {
        name: "data".into(),
        provisioning: Provisioning {
            disk: VolumeDisk::Expression("true".into()),
            ..Provisioning::default()
        },
        filesystem: None,
        encryption: None,
    }];
    insta::assert_snapshot!(faults(&layer, 6, &Peers::default()), @r#"
    network.bgp[0]: the contract v1.6 cannot express it, v1.14 is the first that can; run a BGP daemon in the cluster, or use network.vip
    extension_services["nut"]: the contract v1.6 cannot express it, v1.7 is the first that can; write the file with files
    volumes[0].disk: the contract v1.6 cannot express it, v1.10 is the first that can; before, only a device path can name the disk
    "#);
}

#[test]
fn values_that_cannot_be_used_are_all_reported() {
    let mut layer = with_network();
    layer.node.network.interfaces[0].addresses = vec!["10.0.0.2".into()];
    layer.node.network.nameservers = vec!["dns.example.org".into()];
    layer.node.network.vip = None;
    layer.cluster.kubespan = Some(KubeSpan {
        mtu: Some(1000),
        ..KubeSpan::new(Toggle::Enabled)
    });
    layer.cluster.discovery.state = Toggle::Disabled;
    insta::assert_snapshot!(faults(&layer, 13, &Peers::default()), @r"
    network.interfaces[0].addresses[0]: it must be an address with its prefix length, like 10.0.0.2/24
    network.nameservers[0]: it is not an address
    kubespan: KubeSpan finds its peers by the discovery service; enable discovery
    kubespan.mtu: it must be 1280 or more
    ");
}

fn firewall(default_action: DefaultAction, rules: &[(&str, &str, Protocol, &str)]) -> Firewall {
    let rules = rules
        .iter()
        .map(|(name, ports, protocol, subnet)| FirewallRule {
            name: (*name).into(),
            ports: vec![PortRange::parse(ports).unwrap()],
            protocol: *protocol,
            ingress: vec![Ingress {
                subnet: (*subnet).into(),
                except: None,
            }],
        });
    Firewall {
        default_action,
        rules: rules.collect(),
    }
}

fn peers() -> Peers {
    let all = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
    Peers {
        bootd: all(&["192.0.2.5"]),
        control_planes: all(&["10.0.0.2", "10.0.0.3"]),
        workers: all(&["10.0.1.2"]),
    }
}

#[test]
fn a_firewall_that_cuts_peers_off_says_which_port_and_peer() {
    let mut layer = layer(Role::ControlPlane);
    layer.node.firewall = Some(firewall(
        DefaultAction::Block,
        &[
            ("apid", "50000-50001", Protocol::Tcp, "10.0.0.0/16"),
            ("etcd", "2379-2380", Protocol::Tcp, "10.0.0.2/32"),
        ],
    ));
    insta::assert_snapshot!(faults(&layer, 13, &peers()), @r"
    ingress_firewall: it would cut off bootd 192.0.2.5 from the Talos API on port 50000/tcp; add a rule that lets it in
    ingress_firewall: it would cut off the control plane 10.0.0.2, 10.0.0.3 from the Kubernetes API on port 6443/tcp; add a rule that lets it in
    ingress_firewall: it would cut off the control plane 10.0.0.3 from etcd on port 2379/tcp; add a rule that lets it in
    ingress_firewall: it would cut off the control plane 10.0.0.3 from etcd on port 2380/tcp; add a rule that lets it in
    ingress_firewall: it would cut off the control plane 10.0.0.2, 10.0.0.3 from the kubelet on port 10250/tcp; add a rule that lets it in
    ingress_firewall: it would cut off the control plane 10.0.0.2, 10.0.0.3 from flannel's VXLAN on port 4789/udp; add a rule that lets it in
    ingress_firewall: it would cut off the worker 10.0.1.2 from the Kubernetes API on port 6443/tcp; add a rule that lets it in
    ingress_firewall: it would cut off the worker 10.0.1.2 from flannel's VXLAN on port 4789/udp; add a rule that lets it in
    ");
}

#[test]
fn with_kubespan_only_its_tunnel_and_bootd_need_a_rule() {
    let mut layer = layer(Role::ControlPlane);
    layer.cluster.kubespan = Some(KubeSpan::new(Toggle::Enabled));
    layer.node.firewall = Some(firewall(
        DefaultAction::Block,
        &[
            ("apid", "50000", Protocol::Tcp, "192.0.2.0/24"),
            ("kubespan", "51820", Protocol::Udp, "10.0.0.0/24"),
        ],
    ));
    insta::assert_snapshot!(
        faults(&layer, 13, &peers()),
        @"ingress_firewall: it would cut off the worker 10.0.1.2 from KubeSpan on port 51820/udp; add a rule that lets it in"
    );
}

#[test]
fn a_rule_under_accept_drops_what_it_does_not_name() {
    let mut layer = layer(Role::Worker);
    let rule = ("kubelet", "10250", Protocol::Tcp, "10.0.0.2/32");
    layer.node.firewall = Some(firewall(DefaultAction::Accept, &[rule]));
    insta::assert_snapshot!(
        faults(&layer, 13, &peers()),
        @"ingress_firewall: it would cut off the control plane 10.0.0.3 from the kubelet on port 10250/tcp; add a rule that lets it in"
    );
    layer.node.firewall = Some(firewall(DefaultAction::Accept, &[]));
    assert!(patch(&layer, 13).contains("ingress: accept"));
}
