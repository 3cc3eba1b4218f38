//! The main story: eight powered-off boxes become a cluster of five nodes, and go back blank and free.

use std::path::Path;

use acctest::site::{Plan, Site};
use acctest::tf::Engine;

fn lab() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/terraform/lab"
    ))
}

fn engine() -> Option<Engine> {
    let found = Engine::find();
    if found.is_none() {
        eprintln!("SKIPPED: no terraform or tofu on PATH and METAL_ENGINE is not set");
    }
    found
}

#[test]
fn apply_takes_boxes_to_a_cluster_and_destroy_gives_them_back() {
    let Some(engine) = engine() else { return };
    let site = Site::start(Plan {
        servers: 8,
        ..Plan::default()
    })
    .expect("the site starts");
    let tf = site
        .terraform(&engine, lab(), "lab", 8)
        .expect("terraform init");
    tf.apply().expect("terraform runs").ok();

    let again = tf.plan().expect("terraform runs");
    assert_eq!(
        again.code, 0,
        "a second plan changes nothing:\n{}",
        again.text
    );
    let again = tf.apply().expect("terraform runs").ok();
    assert!(
        again.text.contains("0 added, 0 changed, 0 destroyed"),
        "{}",
        again.text
    );

    let machines = site.machines().expect("metalctl answers");
    let running: Vec<&str> = machines
        .as_array()
        .expect("a list")
        .iter()
        .filter(|m| m["phase"] == "running")
        .filter_map(|m| m["name"].as_str())
        .collect();
    assert_eq!(running.len(), 5, "five nodes run: {machines:#}");
    let story = site
        .metalctl(&["timeline", running[0]])
        .expect("metalctl answers")
        .ok()
        .text;
    for seen in ["dhcp", "tftp", "http", "agent", "talos", "running"] {
        assert!(
            story.to_lowercase().contains(seen),
            "`{seen}` is not in the story:\n{story}"
        );
    }
    let kubeconfig = site
        .metalctl(&["kubeconfig", "lab"])
        .expect("metalctl answers")
        .ok()
        .text;
    assert!(
        kubeconfig.contains("https://10.0.0.10:6443"),
        "a kubeconfig for the endpoint"
    );

    tf.destroy().expect("terraform runs").ok();
    let disks = site.disks().expect("the rack answers");
    assert_eq!(disks.len(), 8);
    for disk in &disks {
        assert_eq!(
            disk["blank"], true,
            "every disk is blank after destroy: {disk:#}"
        );
    }
    let left = site.machines().expect("metalctl answers");
    assert_eq!(
        left.as_array().map(Vec::len),
        Some(0),
        "destroy forgot the servers: {left:#}"
    );
}

#[test]
fn no_secret_is_in_state_plan_log_or_timeline() {
    let Some(engine) = engine() else { return };
    let site = Site::start(Plan {
        servers: 1,
        ..Plan::default()
    })
    .expect("the site starts");
    let single = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/terraform/single"
    ));
    let tf = site
        .terraform(&engine, single, "single", 1)
        .expect("terraform init");
    let plan = tf.plan().expect("terraform runs").text;
    let applied = tf.apply().expect("terraform runs").ok().text;

    let mut secrets = vec!["PRIVATE KEY".to_owned()];
    for server in site.servers() {
        secrets.push(
            server["bmc"]["password"]
                .as_str()
                .expect("rack.json holds it")
                .to_owned(),
        );
    }
    // The cluster's own secrets, as an admin may read them: none of their words may stand anywhere else.
    let talosconfig = site
        .metalctl(&["talosconfig", "solo"])
        .expect("metalctl answers")
        .ok()
        .text;
    for line in talosconfig
        .lines()
        .filter_map(|l| l.trim().strip_prefix("key: "))
    {
        secrets.push(line.to_owned());
    }
    assert!(secrets.len() >= 3, "there is something to look for");

    let timeline = site
        .metalctl(&["timeline", "b1"])
        .expect("metalctl answers")
        .text;
    let mut places = vec![
        ("plan", plan),
        ("apply", applied),
        ("timeline", timeline),
        ("logs", site.logs()),
    ];
    places.push((
        "state",
        std::fs::read_to_string(tf.dir().join("terraform.tfstate")).expect("a state file"),
    ));
    places.push((
        "bootd.log",
        std::fs::read_to_string(site.path("bootd.log")).expect("a log"),
    ));
    for (place, text) in &places {
        for secret in &secrets {
            assert!(
                !text.contains(secret.as_str()),
                "a secret stands in the {place}"
            );
        }
        for token in text.split("token=").skip(1) {
            let shown: String = token
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            assert!(shown.len() < 16, "a boot token stands in the {place}");
        }
    }
}

#[test]
fn bootd_and_the_rack_run_as_different_users() {
    let Some(engine) = engine() else { return };
    if std::fs::metadata("/proc/self")
        .map(|m| std::os::unix::fs::MetadataExt::uid(&m))
        .unwrap_or(1)
        != 0
    {
        eprintln!("SKIPPED: running two processes as two users needs root");
        return;
    }
    let plan = Plan {
        servers: 1,
        users: Some((65531, 65532)),
        ..Plan::default()
    };
    let site = Site::start(plan).expect("the site starts");
    let single = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/terraform/single"
    ));
    let tf = site
        .terraform(&engine, single, "single", 1)
        .expect("terraform init");
    tf.apply().expect("terraform runs").ok();
    tf.destroy().expect("terraform runs").ok();
}
