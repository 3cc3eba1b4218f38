//! Every resource changes in place what may change, and tells what a person should know of it.

use crate::fake::warning;
use crate::rig::Rig;
use crate::{HEAD, NODE};

const REST: &str = r#"
resource "metal_server_class" "any" {
  name  = "any"
  match = { memory = ">= 8GB" }
}
resource "talos_cluster" "lab" {
  provider = metal
  cluster  = { secrets_id = talos_secrets.lab.id, endpoint = "https://10.0.0.10:6443", kubernetes_version = "v1.36.3" }
  nodes    = { a = talos_machine_config.a.node }
}
"#;

#[test]
fn every_resource_is_updated_in_place() {
    let hcl = format!("{HEAD}{NODE}{REST}");
    let Some(rig) = Rig::new(&hcl) else { return };
    rig.apply().ok();
    rig.calls();
    let changed = [
        ("  accepted = true", "  accepted = true\n  labels = { rack = \"a\" }"),
        ("match = { memory = \">= 8GB\" }", "match = { memory = \">= 16GB\" }"),
        ("  server_id = metal_server.b1.id", "  server_id = metal_server.b1.id\n  allow_wipe = [\"S-b1\"]"),
        ("resource \"metal_image\" \"this\" { talos_version = \"v1.13.9\" }", "resource \"metal_image\" \"this\" {\n  talos_version = \"v1.13.9\"\n  name = \"plain\"\n}"),
        ("  name          = \"lab\"", "  name          = \"lab\"\n  deletion_protection = true"),
        ("  install_disk = { type = \"nvme\" }", "  install_disk = { type = \"nvme\" }\n  labels = { tier = \"gold\" }"),
        ("  nodes    = {", "  deletion_protection = true\n  nodes    = {"),
    ]
    .iter()
    .fold(hcl, |hcl, (old, new)| {
        assert!(hcl.contains(old), "{old}");
        hcl.replacen(old, new, 1)
    });
    rig.write(&changed);
    let plan = rig.plan().ok();
    assert!(
        plan.contains("0 to add, 7 to change, 0 to destroy"),
        "{plan}"
    );
    rig.apply().ok();
    rig.assert_plan_is_empty();
    rig.bootd.world(|w| {
        assert_eq!(w.servers["b1"].labels["rack"], "a");
        let memory = w.classes["any"].r#match.clone().unwrap().memory_bytes;
        assert_eq!(memory.unwrap().min, Some(16_000_000_000));
        let claim = w.claims["lab/a"].config.clone().unwrap();
        assert_eq!(claim.allow_wipe, ["S-b1"]);
        assert_eq!(
            w.images
                .values()
                .next()
                .unwrap()
                .config
                .clone()
                .unwrap()
                .name,
            "plain"
        );
        assert!(w.secrets["lab"].config.clone().unwrap().deletion_protection);
        assert_eq!(
            w.nodes["lab/a"].config.clone().unwrap().labels["tier"],
            "gold"
        );
        assert!(
            w.clusters["lab"]
                .config
                .clone()
                .unwrap()
                .deletion_protection
        );
    });
    // What is protected now is not destroyed, and the plan says so.
    let said = rig.run(&["plan", "-destroy", "-input=false"]).failed();
    assert!(said.contains("Deletion is protected"), "{said}");
}

fn with_password(password: &str, version: u32) -> String {
    format!(
        "{HEAD}resource \"metal_server\" \"b1\" {{\n  name = \"b1\"\n  mac = \"52:54:00:00:00:01\"\n  labels = {{ v = \"{version}\" }}\n  bmc = {{\n    address = \"10.0.8.1\"\n    username = \"admin\"\n    password_wo = {password:?}\n    password_wo_version = {version}\n  }}\n}}\n"
    )
}

#[test]
fn a_changed_password_is_sent_with_its_version_and_noticed_without() {
    let Some(rig) = Rig::new(&with_password("planted-one", 1)) else {
        return;
    };
    let sent = || rig.bootd.world(|w| std::mem::take(&mut w.passwords));
    rig.apply().ok();
    assert_eq!(sent(), ["planted-one"]);
    let plan = rig.plan().ok();
    assert!(!plan.contains("Changed password"), "{plan}");
    rig.write(&with_password("planted-two", 1));
    let plan = rig.plan().ok();
    assert!(
        plan.contains("Warning: Changed password is not sent")
            && plan.contains("raise password_wo_version to send it"),
        "{plan}"
    );
    // A change of something else does not smuggle it in.
    rig.write(&with_password("planted-two", 1).replace("v = \"1\"", "v = \"other\""));
    rig.apply().ok();
    assert_eq!(sent(), [""]);
    rig.write(&with_password("planted-two", 2));
    rig.apply().ok();
    assert_eq!(sent(), ["planted-two"]);
    rig.assert_plan_is_empty();
    let plan = rig.plan().ok();
    assert!(!plan.contains("Changed password"), "{plan}");
    let state = std::fs::read_to_string(rig.path("work/terraform.tfstate")).unwrap();
    assert!(!state.contains("planted"), "{state}");
}

#[test]
fn warnings_of_an_apply_are_shown() {
    // The class is new in this plan, so that the box and what the node does to it are known at apply only.
    let hcl = format!("{HEAD}{NODE}").replace(
        "  server_id = metal_server.b1.id",
        "  server_class_id = metal_server_class.any.id",
    );
    let class = "resource \"metal_server_class\" \"any\" {\n  name = \"any\"\n  servers = [metal_server.b1.id]\n}\n";
    let Some(rig) = Rig::new(&format!("{hcl}{class}")) else {
        return;
    };
    rig.bootd.world(|w| {
        w.remarks = vec![warning("Config travels in clear")];
        w.released = vec![warning("Server is quarantined")];
    });
    let said = rig.apply().ok();
    assert!(
        said.contains("Warning: Config travels in clear")
            && said.contains("node lab/a: somebody should know (bootd https://127.0.0.1:"),
        "{said}"
    );
    let said = rig.run(&["destroy", "-auto-approve", "-input=false"]).ok();
    assert!(
        said.contains("Warning: Server is quarantined") && said.contains("claim lab/a"),
        "{said}"
    );
}

#[test]
fn on_destroy_reaches_bootd_and_the_deletion_waits_for_it() {
    let hcl = format!("{HEAD}{NODE}");
    let server = &hcl[..hcl.find("resource \"talos_secrets\"").unwrap()];
    let off = server.replace(
        "  accepted = true",
        "  accepted = true\n  on_destroy = \"power_off\"",
    );
    let Some(rig) = Rig::new(&off) else { return };
    rig.apply().ok();
    use metal_proto::metal::v1::OnDestroy;
    let told = rig.bootd.world(|w| w.servers["b1"].on_destroy());
    assert_eq!(told, OnDestroy::PowerOff);
    rig.run(&["destroy", "-auto-approve", "-input=false"]).ok();
    assert!(rig.calls().contains(&"delete server b1".to_owned()));
}
