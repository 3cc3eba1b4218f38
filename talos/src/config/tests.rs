//! Tests of the config room: facts of Talos, and what must never happen.

use super::*;
use crate::secrets::Bundle;
use crate::version::{Contract, Generator};

fn input() -> Input {
    let contract = Contract::parse("v1.13", Generator::V1_13).unwrap();
    let endpoint = Endpoint::parse("https://10.0.0.10:6443").unwrap();
    Input::new(contract, Role::Worker, "lab", endpoint, "v1.36.3")
}

fn bundle() -> Bundle {
    Bundle::from_secrets_yaml(include_str!("../../tests/data/bundles/v1.13.yaml")).unwrap()
}

#[test]
fn inputs_that_cannot_be_written_say_why() {
    let check = |change: fn(&mut Input), expected: &str| {
        let mut input = input();
        change(&mut input);
        let error = generate(&input, &bundle()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        |i| i.kubernetes_version = "v1.30.0".into(),
        "Talos v1.13 runs Kubernetes 1.31 to 1.36, not v1.30.0",
    );
    check(
        |i| i.kubernetes_version = "latest".into(),
        "\"latest\" is not a Kubernetes version; write it like v1.36.3",
    );
    check(|i| i.cluster_name.clear(), "the cluster needs a name");
    check(
        |i| i.install.target = Some(InstallTarget::Selector(DiskSelector::default())),
        "the install disk selector is empty: it would take any disk; name a serial, wwid, size or type",
    );
}

#[test]
fn workers_hold_no_key_of_an_authority() {
    let bundle = bundle();
    let config = generate(&input(), &bundle).unwrap();
    for key in [
        &bundle.os.key,
        &bundle.kubernetes.key,
        &bundle.etcd.key,
        &bundle.aggregator.key,
        &bundle.service_account,
    ] {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(key.expose());
        assert!(!config.expose().contains(&encoded));
    }
    assert_eq!(
        format!("{config:?}"),
        format!("MachineConfig({} bytes)", config.expose().len())
    );
}

#[test]
fn documents_are_appended_after_separators() {
    let mut config = MachineConfig::new("version: v1alpha1\n");
    config.append(&[
        event_sink("10.0.0.2:8082"),
        kernel_log("bootd", "tcp://10.0.0.2:8083"),
        trusted_roots("site", "-----BEGIN\nx\n"),
    ]);
    insta::assert_snapshot!(config.expose(), @r"
    version: v1alpha1
    ---
    apiVersion: v1alpha1
    kind: EventSinkConfig
    endpoint: 10.0.0.2:8082
    ---
    apiVersion: v1alpha1
    kind: KmsgLogConfig
    name: bootd
    url: tcp://10.0.0.2:8083
    ---
    apiVersion: v1alpha1
    kind: TrustedRootsConfig
    name: site
    certificates: |
        -----BEGIN
        x
    ");
}

#[test]
fn early_configs_fit_a_command_line_or_are_none() {
    let early = EarlyConfig::new(&[unassigned("w-0"), event_sink("10.0.0.2:8082")]);
    assert!(
        early
            .yaml()
            .starts_with("apiVersion: v1alpha1\nkind: HostnameConfig\nauto: \"off\"\n")
    );
    let argument = early.kernel_argument(b"ab").unwrap();
    assert_eq!(argument, "talos.config.early=YWI=");
    assert_eq!(early.kernel_argument(&[0; 2000]), None);
}
