//! What must never be written, and what a machine that is not ours may get.

use std::path::Path;

use acctest::site::{Plan, Site};
use acctest::tf::{Engine, Terraform};
use serde_json::Value;

const TWO_DISKS: &str = r#"
[[server]]
name = "b1"
[[server.disk]]
type = "nvme"
size = "120GB"
serial = "NV-1"
[[server.disk]]
type = "hdd"
size = "200GB"
serial = "HD-1"
"#;

fn single(site: &Site, name: &str, boxes: usize) -> Option<Terraform> {
    let Some(engine) = Engine::find() else {
        eprintln!("SKIPPED: no terraform or tofu on PATH and METAL_ENGINE is not set");
        return None;
    };
    let module = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/terraform/single"
    ));
    Some(
        site.terraform(&engine, module, name, boxes)
            .expect("terraform init"),
    )
}

fn set(tf: &Terraform, json: &str) {
    std::fs::write(tf.dir().join("more.auto.tfvars.json"), json).expect("variables are written");
}

fn disk(site: &Site, serial: &str) -> Value {
    let disks = site.disks().expect("the rack answers");
    disks
        .into_iter()
        .find(|d| d["serial"] == serial)
        .expect("the disk is in the rack")
}

#[test]
fn foreign_data_is_refused_then_kept_then_erased_only_by_name() {
    let site = Site::start(Plan {
        spec: Some(TWO_DISKS.into()),
        ..Plan::default()
    })
    .expect("the site starts");
    let Some(tf) = single(&site, "single", 1) else {
        return;
    };
    site.seed_disk("b1", "NV-1", "ext4").expect("rack").ok();
    site.seed_disk("b1", "HD-1", "random").expect("rack").ok();
    let path = disk(&site, "HD-1")["path"]
        .as_str()
        .expect("a path")
        .to_owned();
    let other = Some(digest(&path));
    let before = digest(disk(&site, "NV-1")["path"].as_str().expect("a path"));

    // The install disk holds a file system that nobody allowed to be erased.
    tf.apply()
        .expect("terraform runs")
        .fails_with(&["NV-1", "ext4", "allow_wipe"]);
    assert_eq!(
        digest(disk(&site, "NV-1")["path"].as_str().expect("a path")),
        before,
        "nothing was written"
    );

    // Allowed by name: installs; the other disk stays as it is, through install and destroy.
    set(
        &tf,
        r#"{ "allow_wipe": ["NV-1"], "wipe_disks": "written" }"#,
    );
    tf.apply().expect("terraform runs").ok();
    assert_eq!(
        Some(digest(&path)),
        other,
        "the install left the other disk alone"
    );
    tf.destroy().expect("terraform runs").ok();
    assert_eq!(disk(&site, "NV-1")["blank"], true);
    assert_eq!(
        Some(digest(&path)),
        other,
        "the wipe left the other disk alone"
    );
}

/// Content of a sparse file without reading its holes: the length and every data extent's bytes, through `sha256sum`.
fn digest(path: &str) -> String {
    // cp --sparse keeps this cheap: tar's sparse format lists only what is written.
    let out = std::process::Command::new("sh")
        .args([
            "-c",
            "tar --sparse -cf - --mtime=@0 \"$1\" 2>/dev/null | sha256sum",
            "sh",
            path,
        ])
        .output()
        .expect("tar and sha256sum run");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn an_unknown_machine_gets_nothing_unless_registration_is_open() {
    let site = Site::start(Plan::default()).expect("the site starts");
    site.power("b1", "on").expect("rack").ok();
    site.eventually("the firmware gives up", 60, || {
        let machine = site.machine("b1").ok()?;
        machine
            .to_string()
            .contains("no bootable device")
            .then_some(())
    });
    assert_eq!(
        site.machines().expect("metalctl").as_array().map(Vec::len),
        Some(0),
        "nobody was registered"
    );

    site.metalctl(&["registration", "open", "--for", "15m"])
        .expect("metalctl")
        .ok();
    site.power("b1", "pull").expect("rack").ok();
    site.power("b1", "on").expect("rack").ok();
    let machine = site.eventually("it registers", 60, || {
        let machines = site.machines().ok()?;
        machines
            .as_array()?
            .iter()
            .find(|m| m["phase"] == "discovered" && !m["hardware"].is_null())
            .cloned()
    });
    assert_eq!(
        machine["accepted"], false,
        "found, not accepted: {machine:#}"
    );
}

#[test]
fn a_server_that_is_not_accepted_is_never_written() {
    let site = Site::start(Plan::default()).expect("the site starts");
    let Some(tf) = single(&site, "single", 1) else {
        return;
    };
    set(&tf, r#"{ "accepted": false }"#);
    let name = site.servers()[0]["disks"][0]["serial"]
        .as_str()
        .expect("a serial")
        .to_owned();
    site.seed_disk("b1", &name, "ceph").expect("rack").ok();
    let path = disk(&site, &name)["path"]
        .as_str()
        .expect("a path")
        .to_owned();
    let before = digest(&path);
    tf.apply()
        .expect("terraform runs")
        .fails_with(&["b1", "accepted"]);
    assert_eq!(digest(&path), before);
}

#[test]
fn a_reused_box_with_a_stale_state_partition_installs_the_new_cluster() {
    let site = Site::start(Plan {
        spec: Some(TWO_DISKS.into()),
        ..Plan::default()
    })
    .expect("the site starts");
    let Some(tf) = single(&site, "single", 1) else {
        return;
    };
    site.seed_disk("b1", "HD-1", "talos-state")
        .expect("rack")
        .ok();
    set(&tf, r#"{ "allow_wipe": ["HD-1"] }"#);
    tf.apply().expect("terraform runs").ok();
    let kubeconfig = site
        .metalctl(&["kubeconfig", "solo"])
        .expect("metalctl answers")
        .ok()
        .text;
    assert!(kubeconfig.contains("solo"), "the new cluster answers");
    tf.destroy().expect("terraform runs").ok();
    assert_eq!(disk(&site, "HD-1")["blank"], true);
}
