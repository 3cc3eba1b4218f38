//! A real engine drives the real provider against a bootd in this process. Skipped, loudly, where there is none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../fake/mod.rs"]
mod fake;
mod import;
mod limits;
mod restart;
mod rig;
mod update;

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fake::Install;
use rig::Rig;
use tfplugin::kit::flat;

const LAB: &str = include_str!("../fixtures/lab.tf");

/// The provider block and one claimed box of a class, for small steps.
const HEAD: &str = r#"
variable "bundle_file" { type = string }
terraform {
  required_providers {
    metal = { source = "metal/metal" }
  }
}
provider "metal" { bundle_file = var.bundle_file }
"#;

const NODE: &str = r#"
resource "metal_server" "b1" {
  name     = "b1"
  mac      = "52:54:00:00:00:01"
  accepted = true
}
resource "talos_secrets" "lab" {
  provider      = metal
  name          = "lab"
  talos_version = "v1.13.9"
}
resource "metal_image" "this" { talos_version = "v1.13.9" }
resource "metal_server_claim" "a" {
  name      = "lab/a"
  server_id = metal_server.b1.id
}
resource "talos_machine_config" "a" {
  provider     = metal
  cluster      = { secrets_id = talos_secrets.lab.id, endpoint = "https://10.0.0.10:6443", kubernetes_version = "v1.36.3" }
  name         = "a"
  role         = "controlplane"
  server_id    = metal_server_claim.a.server_id
  image_id     = metal_image.this.id
  install_disk = { type = "nvme" }
}
"#;

#[test]
fn validate_names_what_is_wrong() {
    let wrong = r#"
resource "metal_server" "a" {
  name = "Bad_Name"
  mac  = "52:54:00"
  bmc  = { address = "10.0.0.1", protocol = "telnet" }
}
resource "metal_server" "b" { name = "b" }
resource "metal_server_class" "c" {
  name  = "c"
  match = {
    memory    = "64GX"
    cpu_cores = ">= lots"
    disks     = [{ size = "100" }]
    labels    = { rack = "a||b" }
  }
}
resource "metal_server_claim" "d" {
  name            = "no-slash"
  server_class_id = "c"
  server_id       = "b"
  wipe            = { disks = "some" }
}
resource "metal_image" "e" {
  talos_version = "newest"
  kernel_args   = ["talos.config=http://x", "a=$${b}"]
}
resource "talos_machine_config" "f" {
  provider     = metal
  cluster      = { secrets_id = "lab", endpoint = "http://10.0.0.10", kubernetes_version = "latest" }
  name         = "f"
  role         = "boss"
  server_id    = "b"
  image_id     = "i"
  install_disk = {}
  patches      = ["machine:\n  nonsense: 1\n"]
}
resource "talos_cluster" "g" {
  provider = metal
  cluster  = { secrets_id = "lab", endpoint = "https://10.0.0.10:6443", kubernetes_version = "v1.36.3" }
  nodes = {
    a = { id = "lab/a", name = "a", role = "controlplane", server_id = "b1" }
    b = { id = "lab/b", name = "b", role = "controlplane", server_id = "b1" }
    c = { id = "other/c", name = "c", role = "worker" }
  }
  wait_for = { kubernetes = "api" }
}
"#;
    let Some(rig) = Rig::new(&format!("{HEAD}{wrong}")) else {
        return;
    };
    insta::assert_snapshot!(rig.said_by_validate());
    assert!(rig.calls().is_empty());
}

#[test]
fn a_lab_lives_and_goes() {
    let Some(rig) = Rig::new(LAB) else { return };
    let plan = rig.plan().ok();
    assert!(
        plan.contains("known after the new servers are inspected (bootd https://127.0.0.1:"),
        "{plan}"
    );
    assert!(!plan.contains("planted-bmc-password"));
    rig.apply().ok();
    rig.assert_plan_is_empty();
    let calls = rig.calls();
    let at = |call: &str| {
        calls
            .iter()
            .position(|c| c == call)
            .unwrap_or_else(|| panic!("{call} in {calls:?}"))
    };
    assert!(
        at("put server b1") < at("put class any") && at("put class any") < at("put claim lab/cp-0")
    );
    assert!(
        at("put claim lab/cp-0") < at("put node lab/cp-0")
            && at("put node lab/w-1") < at("put cluster lab")
    );
    rig.bootd.world(|w| {
        assert_eq!(w.servers["b6"].mac, "52:54:00:00:00:0a");
        assert!(
            w.passwords.iter().all(|p| p == "planted-bmc-password"),
            "{:?}",
            w.passwords
        );
        assert!(
            w.expected
                .iter()
                .all(|t| t.len() == 1 && t[0].fingerprint == "00"),
            "{:?}",
            w.expected
        );
        let mut boxes: Vec<_> = w.claims.values().map(|c| c.server_id.clone()).collect();
        boxes.sort();
        boxes.dedup();
        assert_eq!(boxes.len(), 5);
    });
    upgrade_and_protect(&rig);
    secrets_are_nowhere(&rig);
    rig.write(LAB);
    rig.apply().ok();
    rig.calls();
    rig.run(&["destroy", "-auto-approve", "-input=false"]).ok();
    let calls = rig.calls();
    let at = |call: &str| {
        calls
            .iter()
            .position(|c| c == call)
            .unwrap_or_else(|| panic!("{call} in {calls:?}"))
    };
    assert!(at("delete cluster lab") < at("delete node lab/cp-0"));
    assert!(at("delete node lab/cp-0") < at("release claim lab/cp-0"));
    assert!(
        at("release claim lab/w-1") < at("delete class any")
            && at("delete class any") < at("delete server b1")
    );
    assert!(at("delete node lab/w-1") < at("delete secrets lab"));
}

/// A version of the image is a change in place whose kind is known at plan; the birth version is not for raising.
fn upgrade_and_protect(rig: &Rig) {
    rig.write(&LAB.replace(
        "resource \"metal_image\" \"this\" { talos_version = \"v1.13.9\" }",
        "resource \"metal_image\" \"this\" { talos_version = \"v1.13.10\" }",
    ));
    let plan = rig.plan().ok();
    assert!(
        plan.contains(r#"change = "install" -> "upgrade""#),
        "{plan}"
    );
    assert!(
        plan.contains("0 to add, 6 to change, 0 to destroy"),
        "{plan}"
    );
    let raised = LAB.replacen(
        "  name          = \"lab\"\n  talos_version = \"v1.13.9\"",
        "  name          = \"lab\"\n  talos_version = \"v1.14.0\"",
        1,
    );
    rig.write(&raised);
    let refused = rig.plan().failed();
    assert!(
        refused.contains("to upgrade Talos edit metal_image"),
        "{refused}"
    );
    let two = LAB.replace("cp-2 = \"controlplane\", ", "");
    rig.write(&two);
    let refused = rig.plan().failed();
    assert!(
        refused.contains("The cluster has 2 control planes"),
        "{refused}"
    );
}

fn secrets_are_nowhere(rig: &Rig) {
    rig.write(&LAB.replace("\"v1.36.3\"", "\"v1.36.4\""));
    rig.run(&["plan", "-input=false", "-out=saved"]).ok();
    let saved = rig.run(&["show", "-json", "saved"]).text;
    let state = fs::read_to_string(rig.path("work/terraform.tfstate")).unwrap();
    let log = fs::read_to_string(rig.path("provider.log")).unwrap();
    // The key's own text, without its frame and line breaks.
    let key = rig.bootd.key.lines().nth(1).unwrap();
    assert!(
        state.contains("ca_certificate") && log.contains("provider"),
        "the texts are what they seem"
    );
    for (name, text) in [("plan", &saved), ("state", &state), ("log", &log)] {
        // `terraform show -json` repeats the configuration, literals included.
        let text = text.split("\"configuration\":").next().unwrap();
        assert!(!text.contains("planted-bmc-password"), "password in {name}");
        assert!(!text.contains(key), "key in {name}");
    }
}

#[test]
fn an_interrupted_creation_continues() {
    let Some(rig) = Rig::new(&format!("{HEAD}{NODE}")) else {
        return;
    };
    rig.bootd.world(|w| w.install = Install::Stalls);
    let mut apply = rig
        .command(&["apply", "-auto-approve", "-input=false"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(120);
    while !rig.bootd.world(|w| w.nodes.contains_key("lab/a")) {
        assert!(
            Instant::now() < patience && apply.try_wait().unwrap().is_none(),
            "the node was never stated"
        );
        std::thread::yield_now();
    }
    let began = Instant::now();
    let sent = Command::new("kill")
        .args(["-INT", &apply.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let mut text = String::new();
    apply
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    apply
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(apply.wait().unwrap().code(), Some(1), "{text}");
    eprintln!("Terraform ended {:?} after SIGINT", began.elapsed());
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let text = flat(&text);
    assert!(
        text.contains("Error: Stopped waiting")
            && text.contains("goes on with it, and nothing is lost"),
        "{text}"
    );
    let node = rig.state()["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["type"] == "talos_machine_config")
        .unwrap()
        .clone();
    assert_eq!(node["instances"][0]["attributes"]["id"], "lab/a");
    assert_eq!(node["instances"][0]["status"], "tainted");
    rig.bootd.world(|w| w.install = Install::Works);
    rig.calls();
    rig.apply().ok();
    rig.assert_plan_is_empty();
    let calls = rig.calls();
    assert!(!calls.iter().any(|c| c.starts_with("release")), "{calls:?}");
}

#[test]
fn failures_tell_the_story_and_lose_nothing() {
    let Some(rig) = Rig::new(&format!("{HEAD}{NODE}")) else {
        return;
    };
    rig.bootd.world(|w| w.install = Install::Fails);
    let text = rig.apply().failed();
    assert!(
        text.contains("Error: Machine did not finish installing"),
        "{text}"
    );
    assert!(
        text.contains("node lab/a: b1 was power-cycled 3 times but never asked for an address."),
        "{text}"
    );
    assert!(
        text.contains("Hint: compare the boot NIC with its port"),
        "{text}"
    );
    rig.bootd.world(|w| w.install = Install::Works);
    rig.apply().ok();
    // A shortage names the holder, at the attribute.
    let more = "resource \"metal_server_claim\" \"z\" {\n  name = \"lab/z\"\n  server_class_id = \"none\"\n}\n";
    rig.write(&format!("{HEAD}{NODE}{more}"));
    let text = rig.plan().failed();
    assert!(
        text.contains("Error: No free server") && text.contains("b1 is held by claim other/x"),
        "{text}"
    );
    assert!(text.contains("server_class_id = \"none\""), "{text}");
    // Gone is gone, and no answer is no answer.
    rig.write(&format!("{HEAD}{NODE}"));
    rig.bootd.world(|w| w.images.clear());
    let text = rig.plan().ok();
    assert!(text.contains("metal_image.this will be created"), "{text}");
    rig.apply().ok();
    let state = rig.state()["resources"].clone();
    let dead = fs::read_to_string(&rig.bootd.bundle).unwrap();
    let line = dead.lines().next().unwrap().to_owned();
    fs::write(
        &rig.bootd.bundle,
        dead.replace(&line, "endpoint = \"https://127.0.0.1:1\""),
    )
    .unwrap();
    let text = rig.plan().failed();
    assert!(
        text.contains("Error: bootd is not reachable") && text.contains("https://127.0.0.1:1"),
        "{text}"
    );
    assert_eq!(rig.state()["resources"], state);
}
