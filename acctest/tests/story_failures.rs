//! Machines that do not do what they should: the apply fails within the stage's deadline and tells the story.

use std::path::Path;

use acctest::site::{Plan, Site};
use acctest::tf::{Engine, Ran};

/// Applies the single-node module to a box with a fault.
fn apply_with(fault: &str) -> Option<(Ran, Site)> {
    let Some(engine) = Engine::find() else {
        eprintln!("SKIPPED: no terraform or tofu on PATH and METAL_ENGINE is not set");
        return None;
    };
    let site = Site::start(Plan {
        stage_seconds: 6,
        ..Plan::default()
    })
    .expect("the site starts");
    let module = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/terraform/single"
    ));
    let tf = site
        .terraform(&engine, module, "single", 1)
        .expect("terraform init");
    site.fault("b1", fault).expect("rack").ok();
    Some((tf.apply().expect("terraform runs"), site))
}

fn check(fault: &str, words: &[&str]) {
    let Some((ran, _site)) = apply_with(fault) else {
        return;
    };
    let ran = ran.fails_with(words);
    assert!(ran.text.contains("Hint:"), "one next step:\n{}", ran.text);
}

#[test]
fn a_machine_that_never_asks_for_dhcp() {
    check("no-dhcp", &["b1", "DHCP"]);
}

#[test]
fn a_machine_that_stalls_in_tftp() {
    check("tftp-stall", &["b1", "snponly.efi"]);
}

#[test]
fn a_machine_that_shows_a_wrong_token() {
    check("wrong-token", &["b1", "token"]);
}

#[test]
fn a_bmc_that_refuses_the_login() {
    check("bmc-refuses-login", &["b1", "BMC", "credentials"]);
}
