//! Tests of the reader of `talconfig.yaml`.

use super::*;
use crate::config::Role;
use crate::layer::{Peers, Vip};
use crate::secrets::Bundle;
use crate::version::{Contract, Generator};

/// A cluster of the field: VIP, routes, name servers and a schematic, written for talhelper.
const FIELD: &str = include_str!("../../tests/data/talhelper/talconfig.yaml");

fn environment() -> BTreeMap<String, String> {
    [("domain".to_owned(), "lab.example.org".to_owned())].into()
}

#[test]
fn a_file_of_the_field_becomes_arguments() {
    let file = read(FIELD, &environment()).unwrap();
    assert_eq!(file.talos_version.as_deref(), Some("v1.6.5"));
    let names: Vec<(&str, &[String])> = file
        .nodes
        .iter()
        .map(|n| (n.name.as_str(), n.addresses.as_slice()))
        .collect();
    insta::assert_debug_snapshot!(names);
    let first = &file.nodes[0];
    let network = &first.layer.node.network;
    assert_eq!(first.layer.node.role, Role::ControlPlane);
    assert_eq!(network.nameservers, ["1.1.1.1", "8.8.8.8"]);
    let interface = &network.interfaces[0];
    assert_eq!(interface.vip, Some(Vip::Layer2("192.168.1.80".into())));
    assert_eq!(
        interface.routes[0].gateway.as_deref(),
        Some("192.168.1.254")
    );
    assert_eq!(
        first.layer.cluster.dns_domain.as_deref(),
        Some("lab.example.org")
    );
    let schematic = first.schematic.as_ref().unwrap();
    assert_eq!(schematic.extensions, ["siderolabs/qemu-guest-agent"]);
    assert_eq!(schematic.kernel_args, ["net.ifnames=0"]);
}

#[test]
fn what_was_not_taken_over_has_its_line() {
    let file = read(FIELD, &environment()).unwrap();
    let all: Vec<String> = file.unmapped.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_arguments_give_configs_in_the_layout_of_old_and_new_clusters() {
    let file = read(FIELD, &environment()).unwrap();
    for (minor, bundle) in [(6, "v1.6"), (13, "v1.13")] {
        let contract = Contract::parse(&format!("v1.{minor}"), Generator::V1_13).unwrap();
        let bundle = match bundle {
            "v1.6" => include_str!("../../tests/data/bundles/v1.6.yaml"),
            _ => include_str!("../../tests/data/bundles/v1.13.yaml"),
        };
        let bundle = Bundle::from_secrets_yaml(bundle).unwrap();
        for node in &file.nodes {
            let mut layer = node.layer.clone();
            if minor > 6 {
                layer.cluster.kubernetes_version = "v1.36.3".into();
            }
            let config = layer.render(Generator::V1_13, contract, &bundle, &Peers::default());
            let config = config.unwrap();
            let patched = crate::patch::apply(Generator::V1_13, &config, &node.patches).unwrap();
            if node.name == "cp-0" {
                assert!(patched.expose().contains("192.168.1.80"));
                assert!(patched.expose().contains("GRPC_GO_LOG_SEVERITY_LEVEL"));
            }
        }
    }
}

#[test]
fn files_that_cannot_be_read_say_where() {
    let check = |text: &str, expected: &str| {
        let error = read(text, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check("", "line 1: clusterName is missing");
    check("clusterName: a\n", "line 1: endpoint is missing");
    check(
        "clusterName: a\nendpoint: 10.0.0.1\n",
        "line 2: the cluster endpoint \"10.0.0.1\" must be a URL with https; did you mean \"https://10.0.0.1:6443\"?",
    );
    check(
        "endpoint: https://10.0.0.1:6443\nclusterName: a\nkubernetesVersion: v1.29.1\nnodes:\n  - controlPlane: true\n",
        "line 5: hostname is missing",
    );
    check(
        "clusterName: ${NAME}\n",
        "line 1: the variable NAME is not set; give it a value or a default like ${NAME:-…}",
    );
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,200}", line in 0_usize..60) {
        let mut lines: Vec<&str> = FIELD.lines().collect();
        let line = line % lines.len();
        lines[line] = &text;
        let _ = (read(&lines.join("\n"), &environment()), read(&text, &environment()));
    }
}
