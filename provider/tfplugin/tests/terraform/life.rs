//! The life of a resource: made, changed, replaced, drifted, imported, gone.

use std::fs;

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat, thing};

pub(crate) const STORIES: &[Story] = &[
    Story::new("a_life", Feature::Resources, a_life),
    Story::new(
        "deletions_can_be_forbidden_at_plan",
        Feature::Resources,
        deletions_can_be_forbidden_at_plan,
    ),
    Story::new(
        "local_changes_do_not_call_the_resource",
        Feature::Resources,
        local_changes_do_not_call_the_resource,
    ),
    Story::new(
        "import_then_nothing_to_do",
        Feature::Import,
        import_then_nothing_to_do,
    ),
    Story::new(
        "old_states_are_upgraded",
        Feature::StateUpgrade,
        old_states_are_upgraded,
    ),
];

fn a_life(rig: &Rig) {
    let body = |size: &str| {
        format!(
            r#"  size        = {size}
  parts       = [{{ label = "x" }}, {{ label = "y", color = "red", count = 3 }}]
  spares      = {{ k = {{ label = "z" }} }}
  ports       = [{{ number = 80 }}, {{ number = 53, protocol = "udp" }}]
  place       = {{ row = "r", shelf = "s" }}
  labels      = {{ who = terraform_data.who.output }}
  email       = "A@example.com""#
        )
    };
    let who = "resource \"terraform_data\" \"who\" {\n  input = \"me\"\n}\ndata \"toy_things\" \"all\" {\n  depends_on = [toy_thing.a]\n}\noutput \"ids\" {\n  value = data.toy_things.all.ids\n}\n";
    let made = rig
        .apply(&format!("{who}{}", thing("a", &body("0.1"))))
        .ok();
    assert!(
        made.contains("+ id              = \"a\""),
        "the id is known at plan: {made}"
    );
    assert_eq!(rig.things(), ["a.json"]);
    let (a, _) = &rig.state()["a"];
    insta::assert_json_snapshot!("a_life", a);
    assert!(rig.run(&["output", "-json", "ids"]).ok().contains("\"a\""));
    rig.assert_plan_is_empty();

    // Another way to write the same, and a bigger size: in place.
    let changed = body("0.30000000000000000000001").replace("A@example", "a@EXAMPLE");
    let updated = rig.apply(&format!("{who}{}", thing("a", &changed))).ok();
    assert!(
        updated.contains("# toy_thing.a will be updated in-place"),
        "{updated}"
    );
    assert!(
        flat(&updated).contains("~ revision = 1 -> (known after apply)"),
        "{updated}"
    );
    assert!(!updated.contains("~ email"), "{updated}");
    let (a, _) = &rig.state()["a"];
    assert_eq!(
        (&a["revision"], &a["parts"][0]["color"]),
        (&2.into(), &"grey".into())
    );
    rig.assert_plan_is_empty();

    // Drift is seen and repaired.
    fs::write(rig.path("things/a.json"), r#"{"size":"7","revision":2}"#).unwrap();
    rig.assert_plan_has_changes();

    // Another name: replaced.
    let replaced = rig
        .apply(&format!(
            "{who}{}",
            thing("a", &body("5")).replace("name = \"a\"", "name = \"b\"")
        ))
        .ok();
    assert!(replaced.contains("# forces replacement"), "{replaced}");
    assert_eq!(rig.things(), ["b.json"]);
    rig.assert_plan_is_empty();

    // Gone outside: made again.
    fs::remove_file(rig.path("things/b.json")).unwrap();
    rig.assert_plan_has_changes();
    let _ = rig.run(&["destroy", "-auto-approve"]).ok();
    assert_eq!(rig.things(), [""; 0]);
}

fn deletions_can_be_forbidden_at_plan(rig: &Rig) {
    let _ = rig.apply(&thing("keep-me", "")).ok();
    let refused = rig.run(&["plan", "-destroy"]).failed();
    assert!(refused.contains("Error: Thing is kept"), "{refused}");
}

fn local_changes_do_not_call_the_resource(rig: &Rig) {
    let _ = rig.apply(&thing("a", "")).ok();
    let changed = rig
        .apply(&thing(
            "a",
            "  mode = \"fail_early\"\n  timeouts = { create = \"3m\" }",
        ))
        .ok();
    assert!(
        changed.contains("1 changed") && !changed.contains("known after apply"),
        "{changed}"
    );
    let (a, _) = &rig.state()["a"];
    assert_eq!(
        (&a["revision"], &a["timeouts"]["create"]),
        (&1.into(), &"3m".into())
    );
    rig.assert_plan_is_empty();
}

fn import_then_nothing_to_do(rig: &Rig) {
    let _ = rig.apply(&thing("a", "  size = 3")).ok();
    let _ = rig.run(&["state", "rm", "toy_thing.a"]).ok();
    let _ = rig.run(&["import", "toy_thing.a", "a"]).ok();
    rig.assert_plan_is_empty();
    let _ = rig.run(&["state", "rm", "toy_thing.a"]).ok();
    let missing = rig.run(&["import", "toy_thing.a", "nobody"]).failed();
    assert!(
        flat(&missing).contains("There is no file for nobody."),
        "{missing}"
    );
}

fn old_states_are_upgraded(rig: &Rig) {
    let _ = rig.apply(&thing("a", "")).ok();
    let file = rig.path("work/terraform.tfstate");
    let text = fs::read_to_string(&file).unwrap();
    let store = |text: String| fs::write(&file, text).unwrap();
    store(
        text.replace("\"schema_version\": 1", "\"schema_version\": 0")
            .replace(
                "\"name\": \"a\",\n            \"p",
                "\"title\": \"a\",\n            \"p",
            ),
    );
    assert!(fs::read_to_string(&file).unwrap().contains("title"));
    rig.assert_plan_is_empty();
    store(text.replace("\"schema_version\": 1", "\"schema_version\": 7"));
    let refused = rig.run(&["plan"]).failed();
    assert!(
        refused.contains("managed by newer provider version"),
        "{refused}"
    );
}
