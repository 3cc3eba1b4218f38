//! Identity beside the state, and what is imported by it.

use std::fs;

use serde_json::{Value as Json, json};

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat};

pub(crate) const STORIES: &[Story] = &[
    Story::new(
        "identities_are_stored",
        Feature::Identity,
        identities_are_stored,
    )
    .without(identities_do_not_disturb),
    Story::new(
        "imports_go_by_identity",
        Feature::Identity,
        imports_go_by_identity,
    ),
    Story::new(
        "old_identities_are_upgraded",
        Feature::Identity,
        old_identities_are_upgraded,
    ),
];

/// A mark `NAME` under the address `toy_mark.NAME`.
pub(crate) fn mark(name: &str, body: &str) -> String {
    format!("resource \"toy_mark\" \"{name}\" {{\n  name = \"{name}\"\n{body}\n}}\n")
}

/// The only instance of the only mark in the state.
fn instance(rig: &Rig) -> Json {
    let state = rig.raw_state();
    let all = state["resources"].as_array().unwrap();
    let mark = all.iter().find(|r| r["type"] == "toy_mark").unwrap();
    mark["instances"][0].clone()
}

/// Made, changed, replaced, deleted: everywhere.
fn life(rig: &Rig) {
    let _ = rig.apply(&mark("a", "  text = \"x\"")).ok();
    rig.assert_plan_is_empty();
    let changed = rig.apply(&mark("a", "  text = \"xyz\"")).ok();
    assert!(changed.contains("1 changed"), "{changed}");
    let replaced = rig.apply(&mark("a", "  drawer = \"attic\"")).ok();
    assert!(replaced.contains("# forces replacement"), "{replaced}");
    assert_eq!(rig.things(), ["attic.a.mark"]);
    rig.assert_plan_is_empty();
}

fn identities_are_stored(rig: &Rig) {
    life(rig);
    let stored = instance(rig);
    assert_eq!(stored["identity_schema_version"], 1);
    assert_eq!(
        stored["identity"],
        json!({ "name": "a", "drawer": "attic" })
    );
    // Another mark in its place is no drift: nobody's file is taken for one's own.
    fs::write(rig.path("things/attic.a.mark"), "-> b").unwrap();
    let refused = flat(&rig.run(&["plan", "-input=false"]).failed());
    assert!(
        refused.contains("Error: Another resource in its place"),
        "{refused}"
    );
    fs::write(rig.path("things/attic.a.mark"), "").unwrap();
    let _ = rig.apply("").ok();
    assert_eq!(rig.things(), [""; 0]);
}

/// An engine that knows no identities stores none, and nothing else is different.
fn identities_do_not_disturb(rig: &Rig) {
    life(rig);
    assert_eq!(instance(rig)["identity"], Json::Null);
    let _ = rig.apply("").ok();
    assert_eq!(rig.things(), [""; 0]);
}

fn imports_go_by_identity(rig: &Rig) {
    fs::write(rig.path("things/main.a.mark"), "found").unwrap();
    let import = |identity: &str| {
        format!(
            "import {{\n  to = toy_mark.a\n  identity = {identity}\n}}\n{}",
            mark("a", "  text = \"found\"")
        )
    };
    let imported = rig.apply(&import("{ name = \"a\" }")).ok();
    assert!(imported.contains("1 imported"), "{imported}");
    assert_eq!(
        instance(rig)["identity"],
        json!({ "name": "a", "drawer": "main" })
    );
    rig.assert_plan_is_empty();
    let _ = rig.run(&["state", "rm", "toy_mark.a"]).ok();
    let missing = flat(&rig.plan(&import("{ name = \"nobody\" }")).failed());
    assert!(
        missing.contains("There is no file for nobody in main."),
        "{missing}"
    );
}

fn old_identities_are_upgraded(rig: &Rig) {
    let _ = rig.apply(&mark("a", "")).ok();
    let file = rig.path("work/terraform.tfstate");
    let mut state = rig.raw_state();
    let instance = &mut state["resources"][0]["instances"][0];
    instance["identity_schema_version"] = 0.into();
    instance["identity"] = json!({ "title": "a" });
    fs::write(&file, state.to_string()).unwrap();
    rig.assert_plan_is_empty();
    state["resources"][0]["instances"][0]["identity"] = json!({ "title": ["a"] });
    fs::write(&file, state.to_string()).unwrap();
    let refused = flat(&rig.run(&["plan", "-input=false"]).failed());
    assert!(
        refused.contains("Error: Identity cannot be read"),
        "{refused}"
    );
}
