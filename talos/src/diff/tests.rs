//! Tests of the diff: what counts as a change, and what it costs.

use super::*;

const CONFIG: &str = include_str!("../../tests/data/goldens/gen-1.13-controlplane.out");

fn bundle() -> Bundle {
    Bundle::from_secrets_yaml(include_str!("../../tests/data/bundles/v1.13.yaml")).unwrap()
}

fn between(before: &str, after: &str, talos: &str) -> Diff {
    diff(
        Generator::V1_13,
        &MachineConfig::new(before),
        &MachineConfig::new(after),
        &talos.parse().unwrap(),
        &bundle(),
    )
    .unwrap()
}

fn patched(patch: &str) -> String {
    let config = MachineConfig::new(CONFIG);
    let patched = crate::patch::apply(Generator::V1_13, &config, &[patch]).unwrap();
    patched.into_exposed()
}

#[test]
fn the_same_written_otherwise_is_no_change() {
    let (main, rest) = CONFIG.split_once("---\n").unwrap();
    let turned = format!("{rest}---\n{main}");
    let diff = between(CONFIG, &turned, "v1.13.9");
    assert_eq!(diff.changes, []);
    assert_eq!(diff.class(), ChangeClass::None);
}

#[test]
fn each_change_has_its_place_and_its_class() {
    let patch = "\
machine:
    install:
        image: example.org/installer:v2
    files:
        - {path: /var/a, op: create, permissions: 0o600, content: x}
    sysctls:
        a: b
cluster:
    network:
        podSubnets: [10.1.0.0/16]
---
apiVersion: v1alpha1
kind: HostnameConfig
auto: off
hostname: n-0
---
apiVersion: v1alpha1
kind: EventSinkConfig
endpoint: 10.0.0.1:80
";
    let diff = between(CONFIG, &patched(patch), "v1.13.9");
    assert_eq!(diff.class(), ChangeClass::Reinstall);
    insta::assert_snapshot!(diff.to_string(), @r#"
    ~ v1alpha1 machine.install.image: ghcr.io/siderolabs/installer:v1.13.9 -> example.org/installer:v2 (upgrade)
    + v1alpha1 machine.files: - content: (1 bytes) permissions: 0o600 path: /var/a op: create (reboot)
    + v1alpha1 machine.sysctls: a: b (apply)
    ~ v1alpha1 cluster.network.podSubnets: - 10.244.0.0/16 -> - 10.1.0.0/16 (reinstall)
    ~ HostnameConfig auto: stable -> "off" (apply)
    + HostnameConfig hostname: n-0 (apply)
    + EventSinkConfig: apiVersion: v1alpha1 kind: EventSinkConfig endpoint: 10.0.0.1:80 (apply)
    "#);
}

#[test]
fn a_secret_that_changes_shows_no_value() {
    let token = bundle().machine_token.expose().to_owned();
    let other = CONFIG.replacen(&token, "aaaaaa.bbbbbbbbbbbbbbbb", 1);
    let text = between(CONFIG, &other, "v1.13.9").to_string();
    assert!(text.starts_with("~ v1alpha1 machine.token"), "{text}");
    assert!(
        !text.contains(&token) && !text.contains("bbbbbbbb"),
        "{text}"
    );
}

#[test]
fn what_costs_a_reboot_depends_on_the_version() {
    let check = |patch: &str, talos: &str, class: ChangeClass| {
        let found = between(CONFIG, &patched(patch), talos).class();
        assert_eq!(found, class, "{talos}: {patch}");
    };
    let annotations = "machine: {nodeAnnotations: {a: b}}";
    check(annotations, "v1.7.5", ChangeClass::Reboot);
    check(annotations, "v1.8.0", ChangeClass::Apply);
    let udev = "machine: {udev: {rules: [x]}}";
    check(udev, "v1.13.9", ChangeClass::Reboot);
    check(udev, "v1.14.0", ChangeClass::Apply);
    check("machine: {type: worker}", "v1.13.9", ChangeClass::Reinstall);
    check(
        "machine: {install: {extraKernelArgs: [x]}}",
        "v1.13.9",
        ChangeClass::Upgrade,
    );
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,200}", line in 0_usize..30) {
        let mut lines: Vec<&str> = CONFIG.lines().collect();
        lines[line] = &text;
        let talos = "v1.13.9".parse().unwrap();
        let (before, after) = (MachineConfig::new(CONFIG), MachineConfig::new(lines.join("\n")));
        let _ = diff(Generator::V1_13, &before, &after, &talos, &bundle());
    }
}

#[test]
fn a_mapping_that_comes_as_a_whole_costs_what_is_in_it() {
    let bare = "machine: {type: worker}\ncluster: {}\n";
    let class = |after: &str| between(bare, after, "v1.13.9").class();
    let pods = "machine: {type: worker}\ncluster: {network: {podSubnets: [10.1.0.0/16]}}\n";
    assert_eq!(class(pods), ChangeClass::Reinstall);
    let disk = "machine: {type: worker, install: {diskSelector: {serial: S1}}}\ncluster: {}\n";
    assert_eq!(class(disk), ChangeClass::Reinstall);
    let labels = "machine: {type: worker, nodeLabels: {a: b}}\ncluster: {}\n";
    assert_eq!(class(labels), ChangeClass::Apply);
}
