//! A provider that a person started, and that the engine attaches to.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, thing};

pub(crate) const STORIES: &[Story] = &[Story::new(
    "a_debugged_provider_is_attached_to",
    Feature::Reattach,
    a_debugged_provider_is_attached_to,
)];

/// A toy that ends with its story, however that ends.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // Ended already where all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_debugged_provider_is_attached_to(rig: &Rig) {
    let toy = Command::new(Rig::toy())
        .arg("-debug")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut toy = Started(toy);
    let mut lines = BufReader::new(toy.0.stdout.take().unwrap()).lines();
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
            .args(["-INT", &toy.0.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert!(toy.0.wait().unwrap().success());
}
