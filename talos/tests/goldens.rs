//! Our answers beside those of Talos's own machinery (1.13.9), made by `acctest/oracle` from the same cases.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

mod support;

use support::{Case, check_all};

#[test]
fn generated_configs() {
    check_all(|case| case.id.starts_with("gen-"), Case::encode);
}

#[test]
fn typed_inputs_equal_the_patches_that_do_the_same() {
    check_all(|case| case.id.starts_with("typed-"), Case::encode_typed);
    check_all(|case| case.id.starts_with("typed-"), Case::encode);
}

#[test]
fn patched_configs() {
    check_all(|case| case.id.starts_with("patch-"), Case::encode);
}

#[test]
fn emitter() {
    check_all(|case| case.op == "yaml", Case::yaml);
}

#[test]
fn what_we_refuse_is_refused_there_and_the_other_way_round() {
    check_all(|case| case.op == "validate", Case::verdict);
}
