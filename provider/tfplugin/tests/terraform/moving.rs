//! States of older versions and of other types.

use std::fs;

use serde_json::json;

use super::identity::mark;
use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat, thing};

pub(crate) const STORIES: &[Story] = &[
    Story::new(
        "things_become_marks",
        Feature::MoveState,
        things_become_marks,
    ),
    Story::new(
        "marks_of_every_version",
        Feature::StateUpgrade,
        marks_of_every_version,
    ),
    Story::new(
        "generated_configurations_are_short",
        Feature::GeneratedConfig,
        generated_configurations_are_short,
    ),
];

fn things_become_marks(rig: &Rig) {
    let _ = rig.apply(&thing("a", "  size = 3")).ok();
    assert_eq!(rig.things(), ["a.json"]);
    let body = "  drawer = \"thing\"\n  text = jsonencode({ revision = 1, size = \"3\" })";
    let to_mark = format!(
        "moved {{\n  from = toy_thing.a\n  to   = toy_mark.a\n}}\n{}",
        mark("a", body)
    );
    let moved = rig.apply(&to_mark).ok();
    assert!(
        moved.contains("0 added, 0 changed, 0 destroyed"),
        "the same file is now a mark: {moved}"
    );
    assert_eq!(rig.things(), ["a.json"]);
    assert!(rig.state().is_empty(), "no thing is left");
    rig.assert_plan_is_empty();
    // The other way nobody has declared.
    let back = format!(
        "moved {{\n  from = toy_mark.a\n  to   = toy_thing.a\n}}\n{}",
        thing("a", "")
    );
    let refused = flat(&rig.plan(&back).failed());
    assert!(
        refused.contains("`toy_thing` takes states of no other type"),
        "{refused}"
    );
}

fn marks_of_every_version(rig: &Rig) {
    let _ = rig.apply(&mark("a", "  text = \"abc\"")).ok();
    let file = rig.path("work/terraform.tfstate");
    let mut state = rig.raw_state();
    for (version, attributes) in [
        (0, json!({ "title": "a", "text": "abc" })),
        (1, json!({ "name": "a", "text": "abc" })),
    ] {
        let instance = &mut state["resources"][0]["instances"][0];
        instance["schema_version"] = version.into();
        instance["attributes"] = attributes;
        fs::write(&file, state.to_string()).unwrap();
        rig.assert_plan_is_empty();
    }
    state["resources"][0]["instances"][0]["attributes"] = json!({ "name": { "first": "a" } });
    fs::write(&file, state.to_string()).unwrap();
    let refused = flat(&rig.run(&["plan", "-input=false"]).failed());
    assert!(refused.contains("expected a string at `name`"), "{refused}");
}

/// What is generated is what the person would have written, and plans no change.
fn generated_configurations_are_short(rig: &Rig) {
    fs::write(rig.path("things/main.a.mark"), "found").unwrap();
    let import = "import {\n  to = toy_mark.a\n  id = \"a\"\n}\n";
    rig.write(import);
    let plan = ["plan", "-input=false", "-generate-config-out=made.tf"];
    let planned = rig.run(&plan).ok();
    assert!(
        planned.contains("1 to import, 0 to add, 0 to change, 0 to destroy"),
        "{planned}"
    );
    let made = flat(&fs::read_to_string(rig.path("work/made.tf")).unwrap());
    assert!(made.contains(r#"name = "a""#), "{made}");
    assert!(made.contains(r#"text = "found""#), "{made}");
}
