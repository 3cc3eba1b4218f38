//! Steps against a bootd in this process: in process without any engine, and on the engine of this machine where there is one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test program uses its part")]
mod fake;

use std::path::Path;
use std::sync::Arc;

use fake::{Bootd, Install};
use terraform_provider_metal::{Environment, Metal};
use tfplugin::kit::{Effect, Engine, Plugin, Step, Steps, Workspace};

const SERVER: &str = r#"
resource "metal_server" "b1" {
  name     = "b1"
  mac      = "52:54:00:00:00:01"
  accepted = true
}
"#;

const CLAIM: &str = r#"
resource "metal_server_claim" "a" {
  name      = "lab/a"
  server_id = metal_server.b1.id
}
"#;

const LAB: &str = r#"
resource "talos_secrets" "lab" {
  provider      = metal
  name          = "lab"
  talos_version = "v1.13.9"
}
resource "metal_image" "this" { talos_version = "v1.13.9" }
"#;

/// A node `NAME` on `SERVER`.
fn node(name: &str, server: &str) -> String {
    format!(
        r#"
resource "talos_machine_config" "{name}" {{
  provider     = metal
  cluster      = {{ secrets_id = talos_secrets.lab.id, endpoint = "https://10.0.0.10:6443", kubernetes_version = "v1.36.3" }}
  name         = "{name}"
  role         = "controlplane"
  server_id    = {server}
  image_id     = metal_image.this.id
  install_disk = {{ type = "nvme" }}
}}
"#
    )
}

fn claimed(name: &str) -> String {
    node(name, "metal_server_claim.a.server_id")
}

/// Runs the steps twice, each time against a fresh bootd. The steps may look at it and change it.
fn check(steps: impl Fn(&str, &Arc<Bootd>) -> Steps) {
    let fresh = |dir: &Path| {
        std::fs::create_dir_all(dir).unwrap();
        let bootd = Arc::new(Bootd::start(dir));
        let head = format!(
            "provider \"metal\" {{\n  bundle_file = {:?}\n}}\n",
            bootd.bundle
        );
        (steps(&head, &bootd), bootd)
    };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (run, _bootd) = fresh(&dir.path().join("in-process"));
    let done = runtime.block_on(run.run_in_process(|| Metal::new(Environment::default())));
    done.unwrap_or_else(|why| panic!("in process: {why}"));

    let engine = match std::env::var_os("METAL_ENGINE") {
        Some(path) => Some(Engine::at(path).unwrap()),
        None => Engine::on_path().into_iter().next(),
    };
    let Some(engine) = engine else {
        eprintln!("SKIPPED: the steps ran in process only: no METAL_ENGINE, no terraform, no tofu");
        return;
    };
    let binary = env!("CARGO_BIN_EXE_terraform-provider-metal");
    let plugin = Plugin::new("metal/metal", binary);
    let (run, _bootd) = fresh(&dir.path().join("engine"));
    let space = Workspace::new(engine.clone(), &plugin, dir.path().join("space")).unwrap();
    run.run_on(&space)
        .unwrap_or_else(|why| panic!("{engine}: {why}"));
}

#[test]
fn a_node_lives_and_goes() {
    check(|head, bootd| {
        let all = format!("{head}{SERVER}{CLAIM}{LAB}{}", claimed("a"));
        let image = Arc::clone(bootd);
        Steps::new("metal/metal")
            .step(
                Step::apply(&all)
                    .effect("metal_server.b1", Effect::Create)
                    .planned("metal_server_claim.a", "name", "lab/a")
                    .effect("talos_machine_config.a", Effect::Create)
                    .state("metal_server_claim.a", "server_id", "b1")
                    .state("talos_machine_config.a", "id", "lab/a")
                    .state("talos_machine_config.a", "install_disk.type", "nvme"),
            )
            .step(
                Step::apply(all.replace("v1.36.3", "v1.36.4"))
                    .effect("talos_machine_config.a", Effect::Update)
                    .effect("metal_server_claim.a", Effect::Nothing)
                    .state(
                        "talos_machine_config.a",
                        "cluster.kubernetes_version",
                        "v1.36.4",
                    ),
            )
            .step(
                Step::apply(&all)
                    .after(move || image.world(|w| w.images.clear()))
                    .effect("metal_image.this", Effect::Create),
            )
            .step(
                Step::destroy()
                    .effect("metal_server.b1", Effect::Delete)
                    .absent("metal_server.b1"),
            )
    });
}

#[test]
fn a_node_needs_a_claim_of_its_own() {
    check(|head, _| {
        let bare = format!("{head}{SERVER}{LAB}{}", node("a", "metal_server.b1.id"));
        let two = format!("{head}{SERVER}{CLAIM}{LAB}{}{}", claimed("a"), claimed("b"));
        Steps::new("metal/metal")
            .step(Step::plan(bare).refused(&[
                "Error: Server has no claim",
                "add a metal_server_claim { server_id = \"b1\" }",
            ]))
            .step(Step::plan(two).refused(&["Two nodes on one server", "both name server \"b1\""]))
    });
}

#[test]
fn a_failed_installation_is_continued() {
    check(|head, bootd| {
        let all = format!("{head}{SERVER}{CLAIM}{LAB}{}", claimed("a"));
        let (broken, repaired) = (Arc::clone(bootd), Arc::clone(bootd));
        let none = "resource \"metal_server_claim\" \"z\" {\n  name = \"lab/z\"\n  server_class_id = \"none\"\n}\n";
        Steps::new("metal/metal")
            .step(
                Step::apply(&all)
                    .after(move || broken.world(|w| w.install = Install::Fails))
                    .refused(&[
                        "Error: Machine did not finish installing",
                        "node lab/a: b1 was power-cycled 3 times but never asked for an address.",
                        "Hint: compare the boot NIC with its port",
                    ])
                    .state("talos_machine_config.a", "id", "lab/a"),
            )
            .step(
                Step::apply(&all)
                    .after(move || repaired.world(|w| w.install = Install::Works))
                    .effect("talos_machine_config.a", Effect::Replace)
                    .effect("metal_server_claim.a", Effect::Nothing),
            )
            .step(
                Step::plan(format!("{all}{none}"))
                    .refused(&["Error: No free server", "b1 is held by claim other/x"]),
            )
    });
}

#[test]
fn what_cannot_be_is_refused_before_bootd_is_asked() {
    check(|head, bootd| {
        let wrong = format!(
            "{head}resource \"metal_server\" \"a\" {{\n  name = \"Bad_Name\"\n  mac  = \"52:54:00\"\n}}\n"
        );
        let asked = Arc::clone(bootd);
        Steps::new("metal/metal")
            .step(Step::plan(wrong).refused(&["`name` must be", "`mac` must be"]))
            .step(
                Step::plan(head)
                    .after(move || assert_eq!(asked.world(|w| w.calls.clone()), [""; 0])),
            )
    });
}
