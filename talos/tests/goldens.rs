//! Our answers beside those of Talos's own machinery (1.13.9), made by `acctest/oracle` from the same cases.

mod support;

use support::{Case, check_all};

#[test]
fn generated_configs() {
    check_all(|case| case.id.starts_with("gen-"), Case::encode);
}

#[test]
fn typed_inputs_equal_the_patches_that_do_the_same() {
    check_all(|case| case.id.starts_with("typed-"), Case::encode_typed);
}

#[test]
fn emitter() {
    check_all(|case| case.op == "yaml", Case::yaml);
}
