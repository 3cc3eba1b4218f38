//! Tests of the inverse. The corpus is in `tests/explain.rs`.

use super::*;

const BUNDLE: &str = include_str!("../../tests/data/bundles/v1.13.yaml");
const CONFIG: &str = include_str!("../../tests/data/goldens/gen-1.13-controlplane.out");

fn bundle() -> Bundle {
    Bundle::from_secrets_yaml(BUNDLE).unwrap()
}

fn explained(patch: &str) -> Explained {
    let config = MachineConfig::new(CONFIG);
    let config = apply(Generator::V1_13, &config, &[patch]).unwrap();
    explain(Generator::V1_13, &config, &bundle(), None).unwrap()
}

#[test]
fn what_an_argument_can_say_needs_no_patch() {
    let explained = explained(
        "\
machine:
    sysctls: {a: b}
    nodeLabels: {zone: par}
---
apiVersion: v1alpha1
kind: Layer2VIPConfig
name: 10.0.0.10
link: eth0
---
apiVersion: v1alpha1
kind: DHCPv4Config
name: eth0
",
    );
    assert_eq!(explained.contract.to_string(), "v1.13");
    assert_eq!(explained.patches, [""; 0]);
    let node = &explained.layer.node;
    assert_eq!(node.sysctls["a"], "b");
    assert_eq!(node.labels["zone"], "par");
    assert_eq!(node.network.interfaces.len(), 1);
}

#[test]
fn the_rest_is_the_smallest_patch() {
    let explained = explained(
        "\
machine:
    features:
        kubePrism: {port: 7000}
        diskQuotaSupport: {$patch: delete}
cluster:
    apiServer:
        admissionControl:
            - name: PodSecurity
              $patch: delete
",
    );
    insta::assert_snapshot!(explained.patches.join("======\n"), @r"
    machine:
        features:
            diskQuotaSupport:
                $patch: delete
    cluster:
        apiServer:
            admissionControl:
                $patch: delete
    ======
    machine:
        features:
            kubePrism:
                port: 7000
    ");
}

#[test]
fn other_secrets_are_named() {
    let mut other = bundle();
    other.machine_token = crate::secrets::Secret::new("aaaaaa.bbbbbbbbbbbbbbbb");
    let config = MachineConfig::new(CONFIG);
    let error = explain(Generator::V1_13, &config, &other, None).unwrap_err();
    assert_eq!(error, ExplainError::Secrets("machine.token".to_owned()));
}

#[test]
fn what_is_no_complete_config_says_what_it_lacks() {
    let check = |text: &str, expected: &str| {
        let config = MachineConfig::new(text);
        let error = explain(Generator::V1_13, &config, &bundle(), None).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check("machine: {}", "machine.type");
    check("machine: {type: worker}", "controlPlane.endpoint");
    check("machine: [", "not valid YAML");
}
