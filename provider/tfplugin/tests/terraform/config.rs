//! What a configuration may say: checks at validate, values that stay in it.

use std::fs;

use serde_json::Value as Json;

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat, thing};

pub(crate) const STORIES: &[Story] = &[
    Story::new(
        "validate_names_the_attribute",
        Feature::Validation,
        validate_names_the_attribute,
    ),
    Story::new(
        "write_only_values_stay_out",
        Feature::WriteOnly,
        write_only_values_stay_out,
    ),
];

fn validate_names_the_attribute(rig: &Rig) {
    rig.write(&thing(
        "a",
        r#"  size     = 2000
  mode     = "fast"
  parts    = [{ label = "b" }, { label = "a" }, { label = "", count = 1.5 }]
  spares   = { "k" = { label = "x", count = 70000 } }
  place    = { row = "1" }
  labels   = { "x" = null }
  timeouts = { create = "soon" }"#,
    ));
    let json: Json = serde_json::from_str(&rig.run(&["validate", "-json"]).failed()).unwrap();
    let mut said = Vec::new();
    for d in json["diagnostics"].as_array().unwrap() {
        let detail = flat(d["detail"].as_str().unwrap());
        let code = d["snippet"]["code"].as_str().unwrap_or_default().trim();
        // The line of the attribute; for paths into nested ones, engines before 1.15 show the block's.
        let attribute = code.split_whitespace().next().unwrap();
        let in_nested = detail.contains('.') && attribute == "resource";
        assert!(
            in_nested || detail.contains(&format!("`{attribute}")),
            "{d}"
        );
        said.push(format!("{} | {detail}", d["summary"].as_str().unwrap()));
    }
    said.sort();
    insta::assert_snapshot!("validate_names_the_attribute", said.join("\n"));
}

fn write_only_values_stay_out(rig: &Rig) {
    let body = |version: u8, password: &str| {
        thing(
            "a",
            &format!("  password_wo = \"{password}\"\n  password_wo_version = {version}"),
        )
    };
    let mut seen = rig.apply(&body(1, "correct-horse")).ok();
    rig.assert_plan_is_empty();
    seen += &rig.apply(&body(2, "correct-horse-battery")).ok();
    let (a, _) = &rig.state()["a"];
    assert_eq!(
        (&a["password_length"], &a["password_wo"]),
        (&21.into(), &Json::Null)
    );
    seen += &rig.run(&["show", "-json"]).ok();
    seen += &fs::read_to_string(rig.path("work/terraform.tfstate")).unwrap();
    assert!(!seen.contains("correct-horse"));
}
