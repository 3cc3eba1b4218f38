//! Places, words and layout of findings. The rules themselves are held against the machinery by the goldens.

use super::*;

const CONTROL_PLANE: &str = include_str!("../../tests/data/goldens/gen-1.13-controlplane.out");

#[test]
fn violations_name_line_and_path() {
    let config = "machine:\n    type: bogus\n    certSANs: []\ncluster:\n    controlPlane: {}\n";
    let found = validate(Generator::V1_13, &MachineConfig::new(config), Mode::Metal).unwrap();
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    cluster.controlPlane.endpoint: cluster controlplane endpoint is required (set cluster.controlPlane.endpoint to the URL of the Kubernetes API)
    machine.install: install instructions are required in "metal" mode (set machine.install.disk or diskSelector)
    machine.ca: issuing CA or some accepted CAs are required (.machine.ca, machine.acceptedCAs)
    line 2, column 5: machine.type: unknown machine type "bogus" (write controlplane or worker)
    "#);
}

#[test]
fn what_is_no_config_is_an_error() {
    let check = |text: &str| validate(Generator::V1_13, &MachineConfig::new(text), Mode::Metal);
    let error = check("machine:\n    typo: 1\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the config, line 2, column 5: unknown key machine.typo (did you mean type?)"
    );
    assert!(matches!(
        check("machine: ["),
        Err(PatchError::Syntax { .. })
    ));
}

#[test]
fn places_are_those_of_the_patch_that_wrote_what_is_wrong() {
    let config = MachineConfig::new(CONTROL_PLANE);
    let mut draft = Draft::read(Generator::V1_13, &config).unwrap();
    draft.patch(0, "machine:\n  sysctls: {a.b: c}\n").unwrap();
    let second = "machine:\n  nodeLabels:\n    fine: yes\n---\napiVersion: v1alpha1\nkind: LinkConfig\nname: x0\naddresses:\n  - address: 0.0.0.0/0\n";
    draft.patch(1, second).unwrap();
    let report = draft.validate(Rules::of(Mode::Metal));
    let all: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(all.join("\n"), @"patch 1, line 9, column 5: LinkConfig/x0 addresses.0: address 0 must be a valid IP address");
    assert_eq!(
        report.machinery_error().unwrap(),
        "1 error occurred:\n\t* LinkConfig/x0: address 0 must be a valid IP address\n\n"
    );
}

#[test]
fn secrets_are_not_shown() {
    let mut draft = Draft::read(Generator::V1_13, &MachineConfig::new(CONTROL_PLANE)).unwrap();
    let patch =
        "machine: {network: {interfaces: [{interface: a, wireguard: {privateKey: cGxhbnRlZA==}}]}}";
    draft.patch(0, patch).unwrap();
    let report = draft.validate(Rules::of(Mode::Metal));
    assert!(!report.errors.is_empty());
    for error in &report.errors {
        assert!(!error.to_string().contains("cGxhbnRlZA"), "{error}");
    }
    assert!(report.machinery_error().unwrap().contains("cGxhbnRlZA"));
}

#[test]
fn strict_makes_errors_of_warnings() {
    let mut draft = Draft::read(Generator::V1_13, &MachineConfig::new(CONTROL_PLANE)).unwrap();
    draft
        .patch(0, "cluster: {network: {cni: {name: custom}}}")
        .unwrap();
    let lenient = draft.validate(Rules::of(Mode::Metal));
    let strict = draft.validate(Rules {
        strictness: Strictness::Strict,
        ..Rules::of(Mode::Metal)
    });
    assert_eq!((lenient.errors.len(), lenient.warnings.len()), (0, 1));
    assert_eq!((strict.errors.len(), strict.warnings.len()), (1, 0));
}
