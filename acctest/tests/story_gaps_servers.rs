//! The small promises of a `metal_server`: a quiet timeline, a box held in the agent, one that is turned off when it goes.

use std::path::PathBuf;

use acctest::site::{Plan, Site};
use acctest::tf::{Engine, Terraform};

const MODULE: &str = r#"
terraform {
  required_providers {
    metal = { source = "metal/metal" }
  }
}
variable "bundle_file" { type = string }
variable "boxes" { type = any }
variable "idle" { default = "off" }
provider "metal" { bundle_file = var.bundle_file }
resource "metal_server" "box" {
  for_each = var.boxes
  name     = each.key
  mac      = each.value.mac
  bmc = {
    address     = each.value.bmc
    port        = each.value.port
    credentials = each.value.credentials
  }
  accepted   = true
  idle       = var.idle
  on_destroy = "power_off"
}
"#;

fn site() -> Option<(Site, Terraform)> {
    let Some(engine) = Engine::find() else {
        eprintln!("SKIPPED: no terraform or tofu on PATH and METAL_ENGINE is not set");
        return None;
    };
    let site = Site::start(Plan {
        stage_seconds: 30,
        ..Plan::default()
    })
    .expect("the site starts");
    let module: PathBuf = site.path("module");
    std::fs::create_dir(&module).expect("a directory");
    std::fs::write(module.join("main.tf"), MODULE).expect("a module");
    let tf = site
        .terraform(&engine, &module, "servers", 1)
        .expect("init");
    Some((site, tf))
}

fn power(site: &Site) -> String {
    let machine = site.machine("b1").expect("the rack answers");
    machine["power"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_server_rests_quietly_or_in_the_agent_and_goes_dark() {
    let Some((site, tf)) = site() else { return };
    tf.apply().expect("terraform runs").ok();
    site.eventually("the idle box is off", 60, || {
        (power(&site) == "off").then_some(())
    });
    let story = site
        .metalctl(&["timeline", "b1"])
        .expect("metalctl")
        .ok()
        .text;
    assert!(
        story.contains("was told that its boot is over"),
        "the agent asks once more:\n{story}"
    );
    assert!(
        !story.contains(" ! "),
        "an inspection is no alarm:\n{story}"
    );
    assert!(
        story.contains("its BMC is bound to it: GUID and SMBIOS UUID are the same"),
        "{story}"
    );

    let hold = r#"{"idle":"hold"}"#;
    std::fs::write(tf.dir().join("more.auto.tfvars.json"), hold).expect("variables are written");
    tf.apply().expect("terraform runs").ok();
    let reports = |story: &str| story.matches("agent 0.1.0 reports").count();
    let before = reports(&story);
    site.eventually("the box is held in the agent", 60, || {
        let story = site
            .metalctl(&["timeline", "b1"])
            .expect("metalctl")
            .ok()
            .text;
        (reports(&story) > before && power(&site) == "on").then_some(())
    });

    tf.destroy().expect("terraform runs").ok();
    assert_eq!(power(&site), "off", "on_destroy = power_off");
    assert_eq!(site.machines().expect("metalctl"), serde_json::json!([]));
}
