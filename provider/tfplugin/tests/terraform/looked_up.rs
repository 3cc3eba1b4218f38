//! What exists already: data sources, imports with generated configuration, and the engine's own test files.

use std::fs;

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, thing};

pub(crate) const STORIES: &[Story] = &[
    Story::new(
        "data_sources_are_read",
        Feature::DataSources,
        data_sources_are_read,
    ),
    Story::new(
        "configuration_is_generated_for_what_exists",
        Feature::GeneratedConfig,
        configuration_is_generated_for_what_exists,
    ),
    Story::new("test_files_run", Feature::TestFiles, test_files_run),
];

fn data_sources_are_read(rig: &Rig) {
    let look = |prefix: &str| {
        format!(
            "data \"toy_things\" \"found\" {{\n  prefix = {prefix}\n}}\noutput \"ids\" {{\n  value = data.toy_things.found.ids\n}}\n"
        )
    };
    let _ = rig.apply(&(thing("ab", "") + &thing("cd", ""))).ok();
    let _ = rig
        .apply(&(thing("ab", "") + &thing("cd", "") + &look("\"a\"")))
        .ok();
    let ids = rig.run(&["output", "-json", "ids"]);
    assert_eq!(ids.stdout.trim(), r#"["ab"]"#);

    // With a prefix that is not known yet, it is read in the apply.
    let late = "resource \"terraform_data\" \"p\" {\n  input = \"c\"\n}\n";
    let planned = rig
        .plan(&(thing("ab", "") + &thing("cd", "") + late + &look("terraform_data.p.output")))
        .ok();
    assert!(planned.contains("will be read during apply"), "{planned}");
    let _ = rig.run(&["apply", "-auto-approve", "-input=false"]).ok();
    let ids = rig.run(&["output", "-json", "ids"]);
    assert_eq!(ids.stdout.trim(), r#"["cd"]"#);
}

fn configuration_is_generated_for_what_exists(rig: &Rig) {
    let _ = rig
        .apply(&thing(
            "a",
            "  size = 3\n  place = { row = \"r\", shelf = \"s\" }",
        ))
        .ok();
    let _ = rig.run(&["state", "rm", "toy_thing.a"]).ok();
    rig.write("import {\n  to = toy_thing.a\n  id = \"a\"\n}\n");
    let planned = rig
        .run(&["plan", "-input=false", "-generate-config-out=made.tf"])
        .ok();
    assert!(planned.contains("1 to import, 0 to add"), "{planned}");
    let made = fs::read_to_string(rig.path("work/made.tf")).unwrap();
    assert!(made.contains("resource \"toy_thing\" \"a\""), "{made}");
    assert!(
        made.contains("size") && !made.contains("revision"),
        "{made}"
    );
    let applied = rig.run(&["apply", "-auto-approve", "-input=false"]).ok();
    assert!(applied.contains("1 imported"), "{applied}");
    rig.assert_plan_is_empty();
}

fn test_files_run(rig: &Rig) {
    rig.write("resource \"toy_thing\" \"a\" {\n  name = \"tested\"\n  size = var.size\n}\nvariable \"size\" {\n  default = 2\n}\n");
    let file = r#"
run "made" {
  assert {
    condition     = toy_thing.a.revision == 1 && toy_thing.a.id == "tested"
    error_message = "not made"
  }
}
run "changed" {
  variables { size = 5 }
  assert {
    condition     = toy_thing.a.revision == 2
    error_message = "not changed"
  }
}
"#;
    fs::write(rig.path("work/things.tftest.hcl"), file).unwrap();
    let ran = rig.run(&["test"]).ok();
    assert!(ran.contains("2 passed, 0 failed."), "{ran}");
    assert_eq!(rig.things(), [""; 0], "test files clean up");
}
