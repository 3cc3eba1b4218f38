//! The examples of `docs/guides/machine-config.md`: each fenced block is what this crate does.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

use talos::config::{Endpoint, InstallTarget, Role, generate};
use talos::layer::{
    Cluster, DefaultAction, ExtensionService, Firewall, FirewallRule, Ingress, Interface, Layer,
    Link, Node, Peers, PortRange, Protocol, Route, Vip,
};
use talos::patch::apply;
use talos::schematic::Schematic;
use talos::secrets::Bundle;
use talos::validate::{Mode, validate};
use talos::version::{Contract, Generator};

const GENERATOR: Generator = Generator::V1_13;

const GUIDE: &str = include_str!("../../docs/guides/machine-config.md");

/// The fenced blocks of one language, in order.
fn blocks(language: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut inside: Option<&str> = None;
    for line in GUIDE.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(_), Some(_)) => inside = None,
            (Some(opened), None) => {
                inside = Some(opened);
                if opened == language {
                    out.push(String::new());
                }
            }
            (None, Some(opened)) if opened == language => {
                let block = out.last_mut().unwrap();
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    out
}

fn contract(minor: u16) -> Contract {
    Contract::parse(&format!("v1.{minor}"), GENERATOR).unwrap()
}

/// What the first HCL block of the guide says.
fn layer() -> Layer {
    let hcl = &blocks("hcl")[0];
    let stated = |text: &str| {
        assert!(
            hcl.contains(&format!("\"{text}\"")),
            "{text} is not in the guide"
        );
        text.to_owned()
    };
    let endpoint = Endpoint::parse("https://10.0.0.10:6443").unwrap();
    let mut layer = Layer {
        cluster: Cluster::new("lab", endpoint, "1.34.1"),
        node: Node::new(Role::ControlPlane),
    };
    let mut link = Interface::new(Link::Name(stated("eth0")));
    link.addresses = vec![stated("10.0.0.2/24")];
    link.routes = vec![Route {
        gateway: Some(stated("10.0.0.1")),
        ..Route::default()
    }];
    layer.node.network.interfaces = vec![link];
    layer.node.network.nameservers = vec![stated("9.9.9.9")];
    layer.node.network.vip = Some(Vip::Layer2(stated("10.0.0.10")));
    layer
}

#[test]
fn one_hcl_for_any_contract() {
    let rendered = |minor| {
        let patch = layer().patch(GENERATOR, contract(minor), &Peers::default());
        patch.unwrap().unwrap()
    };
    let yaml = blocks("yaml");
    assert_eq!(yaml.len(), 2);
    for minor in 6..=11 {
        assert_eq!(rendered(minor), yaml[0], "contract 1.{minor}");
    }
    for minor in 12..=13 {
        assert_eq!(rendered(minor), yaml[1], "contract 1.{minor}");
    }
}

#[test]
fn what_a_contract_cannot_express() {
    let mut layer = layer();
    layer.node.extension_services = vec![ExtensionService {
        name: "nut".into(),
        ..ExtensionService::default()
    }];
    let faults = layer.patch(GENERATOR, contract(6), &Peers::default());
    let faults = faults.unwrap_err();
    assert_eq!(format!("{}\n", faults[0]), blocks("text")[0]);
}

#[test]
fn a_firewall_that_would_lock_out() {
    let mut layer = layer();
    layer.node.firewall = Some(Firewall {
        default_action: DefaultAction::Block,
        rules: vec![FirewallRule {
            name: "cluster".into(),
            ports: ["50000-50001", "2379-2380", "6443", "10250"]
                .map(|p| PortRange::parse(p).unwrap())
                .into(),
            protocol: Protocol::Tcp,
            ingress: vec![Ingress {
                subnet: "10.0.0.0/24".into(),
                except: None,
            }],
        }],
    });
    let mut peers = Peers::default();
    peers.bootd.push("192.0.2.5".parse().unwrap());
    let faults = layer.patch(GENERATOR, contract(13), &peers).unwrap_err();
    assert_eq!(format!("{}\n", faults[0]), blocks("text")[1]);
}

#[test]
fn the_patch_applies() {
    let hcl = &blocks("hcl")[1];
    let (_, rest) = hcl.split_once("<<-EOT\n").unwrap();
    let (indented, _) = rest.split_once("EOT\n").unwrap();
    let secrets = include_str!("../../acctest/oracle/1.13/bundles/v1.13.yaml");
    let secrets = Bundle::from_secrets_yaml(secrets).unwrap();
    let mut layer = layer();
    layer.cluster.kubernetes_version = "1.36.3".into();
    layer.node.install.target = Some(InstallTarget::Device("/dev/sda".into()));
    let config = generate(&layer.input(GENERATOR, contract(13)), &secrets).unwrap();
    // What is deleted has to be there.
    let mounts = "machine: {kubelet: {extraMounts: [{destination: /a, type: bind, source: /a}]}}";
    let config = apply(GENERATOR, &config, &[mounts]).unwrap();
    let patched = apply(GENERATOR, &config, &[indented]).unwrap();
    assert!(config.expose().contains("extraMounts") && !patched.expose().contains("extraMounts"));
    assert!(patched.expose().contains("port: 7000"));
    assert_eq!(validate(GENERATOR, &patched, Mode::Metal).unwrap(), []);
}

/// The ids that the reference states, as the factory gives them.
#[test]
fn the_schematic_ids_of_the_reference_match() {
    let id = |text: &str| Schematic::read(text).unwrap().id().as_str().to_owned();
    assert_eq!(
        id("customization: {}\n"),
        "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
    );
    let agent = id(
        "customization: {systemExtensions: {officialExtensions: [siderolabs/qemu-guest-agent]}}",
    );
    assert_eq!(
        agent,
        "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"
    );
}
