//! Layers that use every argument, several ways.

use std::collections::BTreeMap;

use talos::config::{Cni, DiskSelector, Endpoint, InstallTarget, Role, Scheduling, Toggle};
use talos::layer::*;
use talos::secrets::Secret;
use talos::yaml::parse_documents;

/// A real certificate: the machinery reads it.
fn certificate() -> String {
    let bundle = include_str!("../data/bundles/v1.13.yaml");
    let bundle = talos::secrets::Bundle::from_secrets_yaml(bundle).unwrap();
    bundle.kubernetes.certificate
}

/// Named layers of a role.
pub(crate) fn samples(role: Role, kubernetes: &str) -> Vec<(&'static str, Layer)> {
    let with = |change: fn(&mut Layer)| {
        let mut layer = base(role, kubernetes);
        change(&mut layer);
        layer
    };
    vec![
        ("plain", with(|_| {})),
        ("cluster", with(cluster)),
        ("components", with(components)),
        ("kubespan", with(kubespan)),
        ("addresses", with(addresses)),
        ("vip-vlan", with(vip_on_vlan)),
        ("vip-hcloud", with(vip_hcloud)),
        ("selected", with(selected)),
        ("bond", with(bond)),
        ("bond-selected", with(bond_of_selected)),
        ("bridge", with(bridge)),
        ("names", with(names)),
        ("registries", with(registries)),
        ("machine", with(machine)),
        ("kubelet", with(kubelet)),
        ("extension", with(extension)),
        ("sinks", with(sinks)),
        ("roots", with(roots)),
        ("firewall", with(firewall)),
        ("volumes", with(volumes)),
        ("volume-device", with(volume_device)),
        ("encryption", with(encryption)),
        ("selector", with(selector)),
        ("bgp", with(bgp)),
    ]
}

fn base(role: Role, kubernetes: &str) -> Layer {
    let endpoint = Endpoint::parse("https://10.0.0.10:6443").unwrap();
    let mut layer = Layer {
        cluster: Cluster::new("lab", endpoint, kubernetes),
        node: Node::new(role),
    };
    layer.node.hostname = Some("n-0".into());
    layer.node.install.target = Some(InstallTarget::Device("/dev/sda".into()));
    layer.node.install.image = Some("ghcr.io/siderolabs/installer:v1.13.9".into());
    layer
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|t| (*t).to_owned()).collect()
}

fn cluster(layer: &mut Layer) {
    let cluster = &mut layer.cluster;
    cluster.cni = Cni::None;
    cluster.kube_proxy = Toggle::Disabled;
    cluster.pod_cidrs = texts(&["10.1.0.0/16", "fd00:1::/56"]);
    cluster.service_cidrs = texts(&["10.2.0.0/16", "fd00:2::/112"]);
    cluster.dns_domain = Some("lab.example".into());
    cluster.cert_sans = texts(&["api.example.org"]);
    cluster.discovery.endpoint = Some("https://discovery.example.org/".into());
    layer.node.scheduling = Scheduling::ControlPlanesToo;
}

fn components(layer: &mut Layer) {
    let cluster = &mut layer.cluster;
    cluster.api_server.extra_args = map(&[("v", "2")]);
    cluster.controller_manager.extra_args = map(&[("bind-address", "0.0.0.0")]);
    cluster.scheduler.extra_args = map(&[("bind-address", "0.0.0.0")]);
    cluster.etcd.extra_args = map(&[("quota-backend-bytes", "4294967296")]);
    cluster.proxy.extra_args = map(&[("metrics-bind-address", "0.0.0.0:10249")]);
    cluster.inline_manifests = vec![InlineManifest {
        name: "ns".into(),
        contents: Secret::new("apiVersion: v1\nkind: Namespace\nmetadata:\n    name: a\n"),
    }];
    cluster.extra_manifests = texts(&["https://example.org/a.yaml"]);
}

fn kubespan(layer: &mut Layer) {
    layer.cluster.kubespan = Some(KubeSpan {
        advertise_kubernetes_networks: Some(Toggle::Enabled),
        allow_down_peer_bypass: Some(Toggle::Disabled),
        harvest_extra_endpoints: Some(Toggle::Disabled),
        mtu: Some(1300),
        endpoints: texts(&["0.0.0.0/0", "!192.168.0.0/16"]),
        ..KubeSpan::new(Toggle::Enabled)
    });
}

fn link(name: &str) -> Interface {
    Interface::new(Link::Name(name.into()))
}

fn addresses(layer: &mut Layer) {
    let mut first = link("eth0");
    first.addresses = texts(&["10.0.0.2/24", "fd00::2/64"]);
    first.mtu = Some(9000);
    first.routes = vec![
        Route {
            gateway: Some("10.0.0.1".into()),
            metric: Some(512),
            ..Route::default()
        },
        Route {
            destination: Some("10.9.0.0/16".into()),
            gateway: Some("10.0.0.254".into()),
            source: Some("10.0.0.2".into()),
            mtu: Some(1400),
            ..Route::default()
        },
    ];
    let mut second = link("eth1");
    second.dhcp = Some(Dhcp {
        ipv6: Toggle::Enabled,
        route_metric: Some(2048),
        ..Dhcp::default()
    });
    let mut third = link("eth2");
    third.dhcp = Some(Dhcp::default());
    third.mtu = Some(1450);
    let mut dummy = link("dummy0");
    dummy.kind = LinkKind::Dummy;
    dummy.addresses = texts(&["10.7.0.1/32"]);
    let network = &mut layer.node.network;
    network.interfaces = vec![first, second, third, dummy];
    network.vip = Some(Vip::Layer2("10.0.0.10".into()));
}

fn vip_on_vlan(layer: &mut Layer) {
    let mut vlan = Vlan::new(100);
    vlan.addresses = texts(&["10.0.0.3/24"]);
    vlan.mtu = Some(1496);
    let mut other = Vlan::new(200);
    other.dhcp = Some(Dhcp::default());
    let mut interface = link("eno1");
    interface.vlans = vec![vlan, other];
    layer.node.network.interfaces = vec![interface];
    layer.node.network.vip = Some(Vip::Layer2("10.0.0.10".into()));
}

fn vip_hcloud(layer: &mut Layer) {
    let mut interface = link("eth0");
    interface.dhcp = Some(Dhcp::default());
    interface.vip = Some(Vip::HCloud {
        ip: "192.0.2.10".into(),
        token: Secret::new("secret-token"),
    });
    layer.node.network.interfaces = vec![interface];
}

fn chosen(alias: &str, address: &str) -> Link {
    Link::Selected {
        alias: alias.into(),
        selector: LinkSelector {
            hardware_address: Some(address.into()),
            ..LinkSelector::default()
        },
    }
}

fn selected(layer: &mut Layer) {
    let mut by_address = Interface::new(chosen("lan0", "00:50:56:*"));
    by_address.addresses = texts(&["10.0.0.2/24"]);
    let mut by_driver = Interface::new(Link::Selected {
        alias: "wan0".into(),
        selector: LinkSelector {
            driver: Some("igb".into()),
            bus_path: Some("0000:0*".into()),
            pci_id: Some("8086:1521".into()),
            ..LinkSelector::default()
        },
    });
    by_driver.dhcp = Some(Dhcp::default());
    layer.node.network.interfaces = vec![by_address, by_driver];
    layer.node.network.vip = Some(Vip::Layer2("10.0.0.10".into()));
}

fn bond_with(links: Vec<Link>) -> Interface {
    let mut interface = link("bond0");
    interface.kind = LinkKind::Bond(Box::new(Bond {
        links,
        mode: "802.3ad".into(),
        xmit_hash_policy: Some("layer3+4".into()),
        lacp_rate: Some("fast".into()),
        miimon: Some(100),
        up_delay: Some(200),
        down_delay: Some(200),
    }));
    interface.addresses = texts(&["10.0.0.2/24"]);
    interface
}

fn bond(layer: &mut Layer) {
    let links = ["eth0", "eth1"].map(|n| Link::Name(n.into()));
    let mut interface = bond_with(links.into());
    interface.vlans = vec![Vlan::new(7)];
    layer.node.network.interfaces = vec![interface];
}

fn bond_of_selected(layer: &mut Layer) {
    let links = vec![
        chosen("port0", "aa:bb:cc:00:00:01"),
        chosen("port1", "aa:bb:cc:00:00:02"),
    ];
    layer.node.network.interfaces = vec![bond_with(links)];
}

fn bridge(layer: &mut Layer) {
    let mut interface = link("br0");
    interface.kind = LinkKind::Bridge(Bridge {
        links: texts(&["eth0", "eth1"]),
        stp: Some(Toggle::Enabled),
        vlan_filtering: Some(Toggle::Disabled),
    });
    interface.dhcp = Some(Dhcp::default());
    layer.node.network.interfaces = vec![interface];
}

fn names(layer: &mut Layer) {
    let network = &mut layer.node.network;
    network.nameservers = texts(&["9.9.9.9", "2620:fe::fe"]);
    network.search_domains = texts(&["example.org"]);
    network.time_servers = texts(&["time.cloudflare.com"]);
    network.hosts = vec![HostEntry {
        ip: "10.0.0.20".into(),
        names: texts(&["storage", "storage.example.org"]),
    }];
}

fn registries(layer: &mut Layer) {
    let mirror = RegistryArgs {
        endpoints: texts(&[
            "https://mirror.example.org/v2/docker",
            "http://10.0.0.5:5000",
        ]),
        override_path: Some(Toggle::Enabled),
        ..RegistryArgs::default()
    };
    let private = RegistryArgs {
        ca: Some(certificate()),
        auth: RegistryAuth {
            username: Some("u".into()),
            password: Some(Secret::new("p")),
            ..RegistryAuth::default()
        },
        ..RegistryArgs::default()
    };
    let token = RegistryArgs {
        danger_skip_tls_verify: Some(Toggle::Enabled),
        auth: RegistryAuth {
            identity_token: Some(Secret::new("t")),
            ..RegistryAuth::default()
        },
        ..RegistryArgs::default()
    };
    let all = [
        ("docker.io", mirror),
        ("registry.example.org", private),
        ("10.0.0.5:5000", token),
    ];
    layer.node.registries = all.map(|(host, args)| (host.into(), args)).into();
}

fn machine(layer: &mut Layer) {
    let node = &mut layer.node;
    node.labels = map(&[("topology.kubernetes.io/zone", "par-1")]);
    node.taints = map(&[("dedicated", "gpu:NoSchedule")]);
    node.sysctls = map(&[("net.core.somaxconn", "65535")]);
    node.sysfs = map(&[(
        "devices.system.cpu.cpu0.cpufreq.scaling_governor",
        "performance",
    )]);
    node.kernel_modules = vec![
        KernelModule {
            name: "br_netfilter".into(),
            parameters: texts(&["nf_conntrack_max=131072"]),
        },
        KernelModule {
            name: "zfs".into(),
            parameters: Vec::new(),
        },
    ];
    node.files = vec![File {
        path: "/var/etc/a.conf".into(),
        content: Secret::new("line\nother\n"),
        permissions: 0o640,
        operation: FileOperation::Create,
    }];
    node.environment = map(&[("GRPC_GO_LOG_SEVERITY_LEVEL", "error")]);
    node.udev_rules = texts(&["SUBSYSTEM==\"drm\", KERNEL==\"renderD*\", GROUP=\"44\""]);
}

fn kubelet(layer: &mut Layer) {
    layer.node.annotations = map(&[("example.org/rack", "r4")]);
    let kubelet = &mut layer.node.kubelet;
    kubelet.extra_args = map(&[("rotate-server-certificates", "true")]);
    kubelet.valid_subnets = texts(&["10.0.0.0/24", "!10.0.0.10/32"]);
    kubelet.cluster_dns = texts(&["10.96.0.10"]);
    let config = "serializeImagePulls: false\nmaxPods: 200\n";
    kubelet.extra_config = Some(parse_documents(config).unwrap().remove(0));
    kubelet.extra_mounts = vec![ExtraMount {
        destination: "/var/local".into(),
        kind: "bind".into(),
        source: "/var/local".into(),
        options: texts(&["bind", "rshared", "rw"]),
    }];
}

fn extension(layer: &mut Layer) {
    layer.node.extension_services = vec![ExtensionService {
        name: "nut-client".into(),
        files: [(
            "/usr/local/etc/nut/upsmon.conf".to_owned(),
            Secret::new("MONITOR ups@10.0.0.1 1 remote pass slave"),
        )]
        .into(),
        environment: vec![Secret::new("UPS_NAME=ups")],
    }];
}

fn sinks(layer: &mut Layer) {
    layer.node.event_sink = Some("10.0.0.5:8082".into());
    layer.node.kernel_logs = vec![KernelLog {
        name: "bootd".into(),
        url: "tcp://10.0.0.5:8083/".into(),
    }];
}

fn roots(layer: &mut Layer) {
    layer.node.trusted_roots = vec![TrustedRoots {
        name: "site".into(),
        certificates: certificate(),
    }];
}

fn firewall(layer: &mut Layer) {
    let rule = |name: &str, ports: &[&str], protocol| FirewallRule {
        name: name.into(),
        ports: ports.iter().map(|p| PortRange::parse(p).unwrap()).collect(),
        protocol,
        ingress: vec![
            Ingress {
                subnet: "10.0.0.0/16".into(),
                except: Some("10.0.9.0/24".into()),
            },
            Ingress {
                subnet: "fd00::/8".into(),
                except: None,
            },
        ],
    };
    layer.node.firewall = Some(Firewall {
        default_action: DefaultAction::Block,
        rules: vec![
            rule("talos", &["50000-50001", "10250"], Protocol::Tcp),
            rule("kubespan", &["51820"], Protocol::Udp),
        ],
    });
}

fn volumes(layer: &mut Layer) {
    layer.node.system_volumes = vec![SystemVolume {
        name: "EPHEMERAL".into(),
        provisioning: Provisioning {
            max_size: Some("100GiB".into()),
            grow: Some(Toggle::Disabled),
            ..Provisioning::default()
        },
        encryption: None,
    }];
    layer.node.volumes = vec![
        UserVolume {
            name: "data".into(),
            provisioning: Provisioning {
                disk: VolumeDisk::Expression("disk.transport == \"nvme\" && !system_disk".into()),
                min_size: Some("10GiB".into()),
                max_size: Some("200GB".into()),
                grow: Some(Toggle::Enabled),
            },
            filesystem: Some("ext4".into()),
            encryption: Some(Encryption {
                keys: vec![
                    EncryptionKey::Tpm,
                    EncryptionKey::Static(Secret::new("passphrase")),
                ],
            }),
        },
        UserVolume {
            name: "bulk".into(),
            provisioning: Provisioning {
                disk: VolumeDisk::Selector(DiskSelector {
                    kind: Some("hdd".into()),
                    size: Some(">= 1TB".into()),
                    model: Some("ST*".into()),
                    ..DiskSelector::default()
                }),
                min_size: Some("10GiB".into()),
                ..Provisioning::default()
            },
            filesystem: None,
            encryption: None,
        },
    ];
}

fn volume_device(layer: &mut Layer) {
    layer.node.volumes = vec![UserVolume {
        name: "data".into(),
        provisioning: Provisioning {
            disk: VolumeDisk::Device("/dev/disk/by-id/wwn-0x1".into()),
            max_size: Some("200GB".into()),
            ..Provisioning::default()
        },
        filesystem: None,
        encryption: None,
    }];
}

fn encryption(layer: &mut Layer) {
    layer.node.system_volumes = ["EPHEMERAL", "STATE"]
        .map(|name| SystemVolume {
            name: name.into(),
            provisioning: Provisioning::default(),
            encryption: Some(Encryption {
                keys: vec![
                    EncryptionKey::NodeId,
                    EncryptionKey::Kms("https://kms.example.org".into()),
                ],
            }),
        })
        .into();
}

fn selector(layer: &mut Layer) {
    layer.node.install.target = Some(InstallTarget::Selector(DiskSelector {
        serial: Some("S64".into()),
        wwid: Some("eui.00".into()),
        ..DiskSelector::default()
    }));
    layer.node.install.extra_kernel_args = texts(&["console=ttyS0"]);
}

fn bgp(layer: &mut Layer) {
    layer.node.network.bgp = vec![BgpInstance {
        name: "fabric".into(),
        local_asn: 65_001,
        router_id: Some("10.0.0.2".into()),
        advertise: texts(&["lo"]),
        neighbors: vec![BgpNeighbor {
            at: NeighborPlace::Address("10.0.0.1".into()),
            peer_asn: 65_000,
            hold_time: Some("90s".into()),
        }],
        ..BgpInstance::default()
    }];
}
