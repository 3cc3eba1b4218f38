//! Killing anything loses nothing: bootd, terraform, and two callers at once.

use std::path::Path;
use std::time::{Duration, Instant};

use acctest::site::{Plan, Site};
use acctest::tf::{Engine, Terraform};

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

fn phase(site: &Site, server: &str) -> Option<String> {
    let machines = site.machines().ok()?;
    let machine = machines
        .as_array()?
        .iter()
        .find(|m| m["name"] == server)?
        .clone();
    machine["phase"].as_str().map(str::to_owned)
}

fn count(text: &str, words: &str) -> usize {
    text.lines().filter(|l| l.contains(words)).count()
}

#[test]
fn kill_nine_of_bootd_in_the_middle_of_an_apply() {
    let mut site = Site::start(Plan::default()).expect("the site starts");
    let Some(tf) = single(&site, "single", 1) else {
        return;
    };
    let log = site.path("apply.log");
    let mut apply = tf.start_apply(&log).expect("terraform starts");
    site.eventually("the install starts", 60, || {
        (phase(&site, "b1")? == "installing").then_some(())
    });
    site.kill_bootd().expect("bootd is killed");
    site.start_bootd().expect("bootd starts again");
    let code = apply.wait().expect("terraform ends");
    let said = std::fs::read_to_string(&log).expect("a log");
    assert!(
        code.success(),
        "the apply ends well:\n{said}\n{}",
        site.logs()
    );
    assert_eq!(tf.plan().expect("terraform runs").code, 0);
}

#[test]
fn sigint_returns_soon_and_the_next_apply_continues() {
    let site = Site::start(Plan::default()).expect("the site starts");
    let Some(tf) = single(&site, "single", 1) else {
        return;
    };
    let log = site.path("apply.log");
    let mut apply = tf.start_apply(&log).expect("terraform starts");
    site.eventually("the install starts", 60, || {
        (phase(&site, "b1")? == "installing").then_some(())
    });
    let pid = i32::try_from(apply.id()).expect("a pid");
    let sent = std::process::Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
    let from = Instant::now();
    apply.wait().expect("terraform ends");
    let said = std::fs::read_to_string(&log).expect("a log");
    // Terraform itself needs a moment around the provider's 2 s.
    assert!(
        from.elapsed() < Duration::from_secs(10),
        "it took {:?}:\n{said}",
        from.elapsed()
    );
    let state = std::fs::read_to_string(tf.dir().join("terraform.tfstate")).expect("a state");
    assert!(state.contains("solo/cp"), "the id was kept:\n{said}");

    tf.apply().expect("terraform runs").ok();
    let story = site
        .metalctl(&["timeline", "b1"])
        .expect("metalctl answers")
        .ok()
        .text;
    assert_eq!(count(&story, "wiping"), 0, "nothing was wiped:\n{story}");
    assert_eq!(
        count(&story, "etcd bootstrapped"),
        1,
        "bootstrapped once:\n{story}"
    );
    assert_eq!(tf.plan().expect("terraform runs").code, 0);
}

#[test]
fn two_applies_that_want_the_last_box() {
    let site = Site::start(Plan::default()).expect("the site starts");
    let Some(first) = single(&site, "first", 1) else {
        return;
    };
    first.apply().expect("terraform runs").ok();
    let Some(second) = single(&site, "second", 1) else {
        return;
    };
    let file = second.dir().join("cluster.auto.tfvars.json");
    std::fs::write(file, r#"{ "cluster": "other" }"#).expect("variables are written");
    second
        .apply()
        .expect("terraform runs")
        .fails_with(&["solo/cp", "b1"]);
    first.plan().expect("terraform runs").ok();
}
