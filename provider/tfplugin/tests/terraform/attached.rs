//! A provider that a person started, and that the engine attaches to.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, thing};

pub(crate) const STORIES: &[Story] = &[Story::new(
    "a_debugged_provider_is_attached_to",
    Feature::Reattach,
    a_debugged_provider_is_attached_to,
)];

fn a_debugged_provider_is_attached_to(rig: &Rig) {
    let mut toy = Command::new(Rig::toy())
        .arg("-debug")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(toy.stdout.take().unwrap()).lines();
    let export = lines
        .find_map(|l| {
            Some(
                l.unwrap()
                    .split_once("TF_REATTACH_PROVIDERS='")?
                    .1
                    .to_owned(),
            )
        })
        .unwrap();
    rig.write(&thing("a", ""));
    for _ in 0..2 {
        let mut apply = rig.command(&["apply", "-auto-approve"]);
        let output = apply
            .env("TF_REATTACH_PROVIDERS", export.trim_end_matches('\''))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(rig.things(), ["a.json"]);
    assert!(
        Command::new("kill")
            .args(["-INT", &toy.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert!(toy.wait().unwrap().success());
}
