//! `list` blocks, which `terraform query` runs.

use std::fs;

use serde_json::Value as Json;

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat};

pub(crate) const STORIES: &[Story] = &[
    Story::new(
        "queries_find_marks",
        Feature::ListResources,
        queries_find_marks,
    ),
    Story::new(
        "found_marks_become_configuration",
        Feature::ListResources,
        found_marks_become_configuration,
    ),
    Story::new(
        "queries_are_checked",
        Feature::ListResources,
        queries_are_checked,
    ),
];

/// The query file; what is listed is not in the module.
fn ask(rig: &Rig, config: &str, more: &str) {
    let text = format!(
        "list \"toy_mark\" \"all\" {{\n  provider = toy\n{more}\n  config {{\n{config}\n  }}\n}}\n"
    );
    fs::write(rig.path("work/marks.tfquery.hcl"), text).unwrap();
}

/// The identities that a query found, with their names.
fn found(rig: &Rig) -> Vec<(String, Json)> {
    let said = rig.run(&["query", "-json"]).ok();
    let lines = said
        .lines()
        .filter_map(|l| serde_json::from_str::<Json>(l).ok());
    let found = lines.filter(|l| l["type"] == "list_resource_found");
    let one = |l: Json| {
        let found = &l["list_resource_found"];
        let name = found["display_name"].as_str().unwrap().to_owned();
        (name, found["identity"].clone())
    };
    found.map(one).collect()
}

fn marks(rig: &Rig) {
    for name in ["main.b", "main.a", "main.odd", "attic.c"] {
        fs::write(rig.path(&format!("things/{name}.mark")), name).unwrap();
    }
}

fn queries_find_marks(rig: &Rig) {
    marks(rig);
    ask(rig, "", "");
    let all = found(rig);
    let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a in main", "b in main", "odd in main"]);
    assert_eq!(
        all[0].1,
        serde_json::json!({ "name": "a", "drawer": "main" })
    );
    let said = flat(&rig.run(&["query"]).ok());
    assert!(said.contains("Odd mark"), "{said}");
    ask(rig, "    drawer = \"attic\"", "  include_resource = true");
    assert_eq!(found(rig).len(), 1);
    ask(rig, "", "  limit = 2");
    assert_eq!(found(rig).len(), 2);
}

fn found_marks_become_configuration(rig: &Rig) {
    marks(rig);
    ask(rig, "    drawer = \"attic\"", "");
    let _ = rig.run(&["query", "-generate-config-out=made.tf"]).ok();
    let made = flat(&fs::read_to_string(rig.path("work/made.tf")).unwrap());
    assert!(
        made.contains(r#"drawer = "attic" name = "c" text = "attic.c""#),
        "{made}"
    );
    assert!(made.contains("identity = {"), "{made}");
    // As it is, it imports and changes nothing.
    fs::remove_file(rig.path("work/marks.tfquery.hcl")).unwrap();
    let applied = rig.run(&["apply", "-auto-approve", "-input=false"]).ok();
    assert!(
        applied.contains("1 imported, 0 added, 0 changed, 0 destroyed"),
        "{applied}"
    );
    rig.assert_plan_is_empty();
}

fn queries_are_checked(rig: &Rig) {
    ask(rig, "    drawer = \"thing\"", "");
    let refused = flat(&rig.run(&["query"]).failed());
    assert!(refused.contains("Error: Things are no marks"), "{refused}");
    ask(rig, "    drawer = \"locked\"", "");
    let refused = flat(&rig.run(&["query"]).failed());
    assert!(refused.contains("Error: Drawer locked"), "{refused}");
}
