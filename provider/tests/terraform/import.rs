//! What bootd has is imported without a change, and data sources let through what they are asked for.

use std::fs;

use crate::rig::Rig;
use crate::{HEAD, NODE};

const CLUSTER: &str = r#"
resource "metal_server_class" "any" {
  name    = "any"
  match   = { memory = ">= 8GB", labels = { rack = "a|b" } }
  servers = [metal_server.b1.id]
}
resource "talos_cluster" "lab" {
  provider = metal
  cluster  = { secrets_id = talos_secrets.lab.id, endpoint = "https://10.0.0.10:6443", kubernetes_version = "v1.36.3" }
  nodes    = { a = talos_machine_config.a.node }
}
"#;

/// Every resource and the id that finds it.
fn imports(image: &str) -> String {
    [
        ("metal_server.b1", "mac:52-54-00-00-00-01"),
        ("metal_server_class.any", "any"),
        ("metal_server_claim.a", "lab/a"),
        ("metal_image.this", image),
        ("talos_secrets.lab", "lab"),
        ("talos_machine_config.a", "lab/a"),
        ("talos_cluster.lab", "lab"),
    ]
    .map(|(to, id)| format!("import {{\n  to = {to}\n  id = {id:?}\n}}\n"))
    .concat()
}

#[test]
fn every_resource_is_imported_without_a_change() {
    let hcl = format!("{HEAD}{NODE}{CLUSTER}");
    let Some(rig) = Rig::new(&hcl) else { return };
    rig.apply().ok();
    rig.assert_plan_is_empty();
    let image = rig
        .bootd
        .world(|w| w.images.keys().next().cloned().unwrap());
    fs::remove_file(rig.path("work/terraform.tfstate")).unwrap();
    rig.calls();
    rig.write(&format!("{hcl}{}", imports(&image)));
    let plan = rig.plan().ok();
    assert!(
        plan.contains("7 to import, 0 to add, 0 to change, 0 to destroy"),
        "{plan}"
    );
    rig.apply().ok();
    assert_eq!(rig.calls(), Vec::<String>::new(), "an import only reads");
    rig.write(&hcl);
    rig.assert_plan_is_empty();
}

#[test]
fn what_is_not_there_is_not_imported() {
    let one = |to: &str, id: &str| {
        format!("{HEAD}{NODE}{CLUSTER}import {{\n  to = {to}\n  id = {id:?}\n}}\n")
    };
    let Some(rig) = Rig::new(&one("metal_server.b1", "mac:52:54:00:00:00:99")) else {
        return;
    };
    let said = rig.plan().failed();
    assert!(
        said.contains("server mac:52:54:00:00:00:99 does not exist"),
        "{said}"
    );
    rig.write(&one("talos_machine_config.a", "no-slash"));
    let said = rig.plan().failed();
    assert!(said.contains("import it as CLUSTER/NODE"), "{said}");
    for (to, id) in [
        ("metal_server_class.any", "nothing"),
        ("metal_server_claim.a", "lab/nothing"),
        ("metal_image.this", "nothing"),
        ("talos_secrets.lab", "nothing"),
        ("talos_machine_config.a", "lab/nothing"),
        ("talos_cluster.lab", "nothing"),
    ] {
        rig.write(&one(to, id));
        let said = rig.plan().failed();
        assert!(said.contains("non-existent remote object"), "{to}: {said}");
    }
}

#[test]
fn the_data_source_lets_through_what_its_filter_says() {
    use metal_proto::metal::v1 as pb;
    let server = |name: &str, mac: &str, rack: &str| {
        format!(
            "resource \"metal_server\" \"{name}\" {{\n  name = {name:?}\n  mac = \"52:54:00:00:00:{mac}\"\n  accepted = true\n  labels = {{ rack = {rack:?} }}\n}}\n"
        )
    };
    let data = |name: &str, filter: &str| {
        format!(
            "data \"metal_servers\" \"{name}\" {{\n  {filter}\n  depends_on = [metal_server.b1, metal_server.b2, metal_server.b3]\n}}\noutput \"{name}\" {{ value = join(\",\", data.metal_servers.{name}.servers[*].id) }}\n"
        )
    };
    let hcl = [
        HEAD.to_owned(),
        server("b1", "01", "a"),
        server("b2", "02", "a"),
        server("b3", "03", "b"),
        data("all", ""),
        data("rack", "filter = { labels = { rack = \"a\" } }"),
        data("state", "filter = { phases = [\"running\", \"wiping\"] }"),
        data(
            "both",
            "filter = { labels = { rack = \"a\" }, phases = [\"running\"] }",
        ),
    ]
    .concat();
    let Some(rig) = Rig::new(&hcl) else { return };
    rig.bootd.world(|w| {
        w.phases.insert("b1".into(), pb::Phase::Running);
        w.phases.insert("b3".into(), pb::Phase::Wiping);
    });
    rig.apply().ok();
    let outputs = rig.state()["outputs"].clone();
    for (name, ids) in [
        ("all", "b1,b2,b3"),
        ("rack", "b1,b2"),
        ("state", "b1,b3"),
        ("both", "b1"),
    ] {
        assert_eq!(outputs[name]["value"], ids, "{name}");
    }
    rig.write(&hcl.replace("wiping", "sleeping"));
    let said = rig.plan().failed();
    assert!(
        said.contains("sleeping") && said.contains("quarantined"),
        "{said}"
    );
}
