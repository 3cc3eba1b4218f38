//! Tests of the patch room: facts of Talos, and what must never happen.

use proptest::prelude::*;

use super::*;

const GENERATOR: Generator = Generator::V1_13;

fn config() -> MachineConfig {
    MachineConfig::new(include_str!(
        "../../tests/data/goldens/gen-1.13-controlplane.out"
    ))
}

fn refused(patch: &str) -> String {
    apply(GENERATOR, &config(), &[patch])
        .unwrap_err()
        .to_string()
}

#[test]
fn errors_name_the_patch_the_line_and_the_key() {
    let check = |patch: &str, expected: &str| assert_eq!(refused(patch), expected);
    check(
        "machine:\n  kubelet:\n    imag: x\n  typo: {a: 1}\n",
        "patch 0, line 3, column 5: unknown key machine.kubelet.imag (did you mean image?); line 4, column 3: unknown key machine.typo (did you mean type?)",
    );
    check(
        "machine:\n  certSANs: x\n",
        "patch 0, line 2, column 13: machine.certSANs must be a list, not a text",
    );
    check(
        "apiVersion: v1alpha1\nkind: Nonsense\n",
        "patch 0, line 1: no document kind \"Nonsense\" in this Talos version",
    );
    check(
        "machine:\n  type: worker\n  type: worker\n",
        "patch 0 is not valid YAML: line 3, column 3: the key \"type\" is already set at line 2",
    );
    check(
        "machine:\n  nodeLabels:\n    none:\n      $patch: delete\n",
        "patch 0, line 4, column 7: cannot delete machine.nodeLabels.none: it is not in the config",
    );
    check("# nothing\n", "patch 0 is empty");
    assert!(refused("- op: add\n  path: /x\n").contains("JSON 6902"));
    assert!(
        refused("cluster: {apiServer: {admissionControl: [{name: PodSecurity, configuration: {a: {$patch: delete}}}]}}")
            .contains("nothing inside a list item")
    );
}

#[test]
fn a_missing_document_needs_no_deletion() {
    let patch = "apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: none\n$patch: delete\n";
    assert_eq!(apply(GENERATOR, &config(), &[patch]).unwrap(), config());
}

#[test]
fn null_over_a_free_form_value_is_an_error() {
    let first = "cluster: {apiServer: {auditPolicy: {rules: []}}}";
    let extra = |v: &str| format!("machine: {{kubelet: {{extraConfig: {{a: {v}}}}}}}");
    let patches = [first.to_owned(), extra("1"), extra("null")];
    let error = apply(GENERATOR, &config(), &patches).unwrap_err();
    assert_eq!(
        error.to_string(),
        "patch 2, line 1, column 38: machine.kubelet.extraConfig.a is null here and a number in the config; they cannot be merged"
    );
    assert_eq!(error.line(), Some(1));
}

#[test]
fn no_error_shows_a_value() {
    for patch in [
        "machine: {token: [planted]}",
        "machine: {planted-key-is-shown: planted}",
        "machine: {files: [{permissions: planted}]}",
    ] {
        let error = refused(patch).replace("planted-key-is-shown", "");
        assert!(!error.contains("planted"), "{error}");
    }
}

#[test]
fn a_patch_is_checked_without_a_config() {
    assert_eq!(check_patch(GENERATOR, "machine:\n  env: {A: b}\n"), Ok(()));
    assert_eq!(
        check_patch(GENERATOR, "machine:\n  env: 1\n")
            .unwrap_err()
            .line(),
        Some(2)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn patching_never_panics(
        section in "(machine|cluster|kind|\\$patch|name)",
        key in "(network|kubelet|install|nodeLabels|files|disks|apiServer|registries|etcd|env)",
        inner in "(interfaces|extraConfig|disk|a|permissions|admissionControl|\\$patch|wipe|mirrors)",
        value in "[a-z0-9\\[\\]{}:,\\-\"'~ .]{0,20}|\\[\\{interface: a, \\$patch: delete\\}\\]|delete|null",
        twice in any::<bool>(),
    ) {
        let patch = format!("{section}:\n  {key}:\n    {inner}: {value}\n");
        let patches = if twice { vec![patch.clone(), patch] } else { vec![patch] };
        if let Ok(patched) = apply(GENERATOR, &config(), &patches) {
            // What was written is a config again, and stays as it is.
            let again: [&str; 0] = [];
            let rewritten = apply(GENERATOR, &patched, &again);
            prop_assert_eq!(rewritten, Ok(patched));
        }
    }
}
