//! `provider_meta`: what a module says of itself reaches the provider with each of its resources and data sources.

use std::fs;

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat};

pub(crate) const STORIES: &[Story] = &[Story::new(
    "modules_say_who_they_are",
    Feature::ModuleMeta,
    modules_say_who_they_are,
)];

const BLOCKS: &str =
    "resource \"toy_mark\" \"a\" {\n  name = \"a\"\n}\ndata \"toy_things\" \"all\" {}\n";

fn named(module: &str) -> String {
    format!("terraform {{\n  provider_meta \"toy\" {{\n    module = {module:?}\n  }}\n}}\n")
}

/// The different requests that a module's name came with since the last look.
fn log(rig: &Rig) -> Vec<String> {
    let file = rig.path("things/modules.log");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let _ = fs::remove_file(file);
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    lines
}

fn modules_say_who_they_are(rig: &Rig) {
    let _ = rig.apply(BLOCKS).ok();
    assert_eq!(log(rig), [""; 0], "nothing was said");
    let _ = rig.run(&["destroy", "-auto-approve"]).ok();

    let nursery = format!("{}{BLOCKS}", named("nursery"));
    let _ = rig.apply(&nursery).ok();
    let made = ["create by nursery", "plan by nursery", "read by nursery"];
    assert_eq!(log(rig), made);
    rig.assert_plan_is_empty();
    assert_eq!(log(rig), ["plan by nursery", "read by nursery"]);
    let _ = rig.run(&["destroy", "-auto-approve"]).ok();
    let gone = log(rig);
    assert!(gone.contains(&"delete by nursery".to_owned()), "{gone:?}");

    // The provider's rules hold for it, and what it does not know is the host's to refuse.
    let wrong = flat(&rig.plan(&format!("{}{BLOCKS}", named("A B"))).failed());
    for said in ["In the module's provider_meta block", "`module` must be"] {
        assert!(wrong.contains(said), "{wrong}");
    }
    let strange = named("nursery").replace("module =", "colour =");
    let refused = flat(&rig.plan(&format!("{strange}{BLOCKS}")).failed());
    assert!(refused.contains("colour"), "{refused}");
}
