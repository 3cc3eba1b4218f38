//! The two walk-throughs of the field, told with this crate and beside the answers of Talos's own machinery 1.13.9.
//!
//! The first one makes a cluster of Talos 1.6.4 with Kubernetes 1.29.1 and joins its nodes over KubeSpan, with a patch
//! that some write as a strategic merge and some as JSON Patch. The second one starts from a file of talhelper's.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use talos::config::{Endpoint, Input, InstallTarget, MachineConfig, Role, generate};
use talos::layer::Peers;
use talos::patch::apply;
use talos::secrets::{Bundle, system_entropy};
use talos::talhelper;
use talos::validate::{Mode, validate};
use talos::version::{Contract, Generator};

const GENERATOR: Generator = Generator::V1_13;

const STRATEGIC: &str = "\
machine:
  network:
    kubespan:
      enabled: true
cluster:
  discovery:
    enabled: true
";

const JSON: &str = r#"[
  {"op": "add", "path": "/machine/network/kubespan", "value": {"enabled": true}},
  {"op": "replace", "path": "/cluster/discovery/enabled", "value": true}
]
"#;

const JSON_AS_YAML: &str = "\
- op: add
  path: /machine/network/kubespan
  value:
    enabled: true
- op: replace
  path: /cluster/discovery/enabled
  value: true
";

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../acctest/oracle/1.13")
}

/// What the machinery answered, by case.
fn theirs(id: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(corpus().join("goldens/walkthrough.jsonl")).unwrap();
    let mut all = text.lines().map(|line| {
        let golden: serde_json::Value = serde_json::from_str(line).unwrap();
        golden
    });
    let golden = all.find(|g| g["id"] == id).unwrap();
    match golden["out"].as_str() {
        Some(out) => Ok(out.to_owned()),
        None => Err(golden["err"].as_str().unwrap().to_owned()),
    }
}

fn secrets(contract: &str) -> Bundle {
    let path = corpus().join(format!("bundles/{contract}.yaml"));
    Bundle::from_secrets_yaml(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The cluster of the first story, with a contract and the Kubernetes of that time.
fn node(contract: &str, kubernetes: &str, role: Role) -> Input {
    let contract = Contract::parse(contract, GENERATOR).unwrap();
    let endpoint = Endpoint::parse("https://192.0.2.10:6443").unwrap();
    let mut input = Input::new(contract, role, "hybrid", endpoint, kubernetes);
    input.install.target = Some(InstallTarget::Device("/dev/vda".into()));
    input.install.image = Some("ghcr.io/siderolabs/installer:v1.6.4".into());
    input
}

fn faults(config: &MachineConfig) -> Vec<String> {
    let found = validate(GENERATOR, config, Mode::Metal).unwrap();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn a_cluster_of_talos_1_6_joins_over_kubespan() {
    let secrets = secrets("v1.6");
    for (role, short) in [(Role::ControlPlane, "cp"), (Role::Worker, "wk")] {
        let config = generate(&node("v1.6.4", "1.29.1", role), &secrets).unwrap();
        assert_eq!(
            config.expose(),
            theirs(&format!("wt-kubespan-{short}")).unwrap()
        );
        assert!(!config.expose().contains("kubespan"));

        let patched = [STRATEGIC, JSON, JSON_AS_YAML]
            .map(|patch| apply(GENERATOR, &config, &[patch]).unwrap());
        let [strategic, json, yaml] = &patched;
        assert_eq!(strategic.expose(), json.expose());
        assert_eq!(strategic.expose(), yaml.expose());
        assert_eq!(
            strategic.expose(),
            theirs(&format!("wt-kubespan-{short}-strategic")).unwrap()
        );
        assert_eq!(
            json.expose(),
            theirs(&format!("wt-kubespan-{short}-json")).unwrap()
        );
        assert_eq!(faults(strategic), Vec::<String>::new());
    }
}

#[test]
fn secrets_of_its_own_do_as_well() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let contract = Contract::parse("v1.6.4", GENERATOR).unwrap();
    let fresh = Bundle::generate(GENERATOR, contract, now, &mut system_entropy).unwrap();
    assert_eq!(fresh.inspect(now), []);
    let imported = Bundle::from_secrets_yaml(fresh.to_secrets_yaml().expose()).unwrap();
    for role in [Role::ControlPlane, Role::Worker] {
        let config = generate(&node("v1.6.4", "1.29.1", role), &imported).unwrap();
        let patched = apply(GENERATOR, &config, &[JSON]).unwrap();
        assert_eq!(faults(&patched), Vec::<String>::new());
        if role == Role::ControlPlane {
            let back = Bundle::from_control_plane_config(patched.expose()).unwrap();
            assert_eq!(back, fresh);
        }
    }
}

/// The trap of both walk-throughs: the same JSON patch for a cluster that is born today.
#[test]
fn the_json_patch_does_not_fit_new_clusters_and_says_what_does() {
    let document = "apiVersion: v1alpha1\nkind: KubeSpanConfig\nenabled: true\n";
    for (contract, kubernetes, instead) in [
        ("v1.12", "1.35.4", STRATEGIC),
        ("v1.13", "1.36.3", document),
    ] {
        let secrets = secrets(contract);
        let config = generate(&node(contract, kubernetes, Role::ControlPlane), &secrets).unwrap();
        let error = apply(GENERATOR, &config, &[JSON]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "patch 0 is a JSON 6902 patch, which Talos refuses for configs of several documents (all of contract v1.12 and later); write it as a strategic merge patch: the keys of each path as nested mappings, or the document that holds them now"
        );
        assert_eq!(
            error.machinery_text(),
            theirs(&format!("wt-kubespan-cp-{contract}-json")).unwrap_err()
        );
        let patched = apply(GENERATOR, &config, &[instead]).unwrap();
        assert_eq!(
            patched.expose(),
            theirs(&format!("wt-kubespan-cp-{contract}-strategic")).unwrap()
        );
        assert_eq!(faults(&patched), Vec::<String>::new());
    }
}

#[test]
fn a_file_of_talhelpers_becomes_configs_schematics_and_a_list_of_what_is_left() {
    let text = include_str!("data/talhelper/talconfig.yaml");
    let environment: BTreeMap<String, String> =
        [("domain".into(), "lab.example.org".into())].into();
    let file = talhelper::read(text, &environment).unwrap();
    let contract = Contract::parse(file.talos_version.as_deref().unwrap(), GENERATOR).unwrap();
    assert_eq!(contract.to_string(), "v1.6");
    let secrets = secrets("v1.6");

    for (node, schematic) in file
        .nodes
        .iter()
        .zip(["wt-schematic-cp", "wt-schematic-wk"])
    {
        let config = node
            .layer
            .render(GENERATOR, contract, &secrets, &peers())
            .unwrap();
        let config = apply(GENERATOR, &config, &node.patches).unwrap();
        // The machinery takes it, writes it back unchanged, and finds nothing wrong.
        let case = format!("wt-talhelper-{}", node.name);
        assert_eq!(config.expose(), theirs(&case).unwrap());
        let verdict = theirs(&format!("{case}-metal")).unwrap();
        let verdict: serde_json::Value = serde_json::from_str(&verdict).unwrap();
        assert_eq!(verdict["error"], serde_json::Value::Null);
        assert_eq!(faults(&config), Vec::<String>::new());

        let own = node.schematic.as_ref().unwrap();
        let expected = theirs(schematic).unwrap();
        assert_eq!(format!("# {}\n{}", own.id(), own.to_yaml()), expected);
    }
    let first = theirs("wt-talhelper-cp-0").unwrap();
    for part in [
        "ip: 192.168.1.80",
        "gateway: 192.168.1.254",
        "- 1.1.1.1",
        "- 8.8.8.8",
        "disk: /dev/sda",
    ] {
        assert!(first.contains(part), "{part}");
    }

    let left: Vec<String> = file.unmapped.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(left.join("\n"), @r"
    line 21: patches[1]: it names a file, whose content is not at hand; put the content here
    line 26: nodes[0].arch: talhelper has no such key
    line 42: nodes[0].nodeLabels.image: it is a Go template; write what it gives
    line 51: nodes[1].machineSpec.secureboot: an image's kind belongs to metal_image
    line 56: nodes[1].networkInterfaces[0].wireguard: no argument says it; write a patch for this node
    ");
}

/// bootd, which the firewall of a node must let in.
fn peers() -> Peers {
    let mut peers = Peers::default();
    peers.bootd.push("192.168.1.5".parse().unwrap());
    peers
}
