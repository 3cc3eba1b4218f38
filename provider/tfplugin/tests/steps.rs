//! The test kit on the toy: the same steps in process and on every engine that is here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod toy;
#[path = "../examples/toy/main.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is for the example")]
mod toy_provider;

use std::fs;
use std::path::Path;

use serde_json::json;
use tfplugin::kit::{Effect, Engine, Step, Steps};
use toy_provider::Toy;

const SOURCE: &str = "example.com/test/toy";

/// Runs the steps in process and on the engines of this machine; each gets a directory of its own for the toy's things.
async fn check(steps: impl Fn(&Path) -> Steps) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let things = dir.path().join("in-process");
    fs::create_dir_all(&things).unwrap();
    let run = steps(&things).run_in_process(Toy::default).await;
    run.unwrap_or_else(|why| panic!("in process: {why}"));
    let engines = Engine::on_path();
    if engines.is_empty() {
        eprintln!("SKIPPED: the steps ran in process only: no terraform and no tofu on PATH");
    }
    for engine in engines {
        let things = dir.path().join(format!("things-{}", engine.id()));
        fs::create_dir_all(&things).unwrap();
        steps(&things)
            .run_on_all(&[engine], toy::binary(), dir.path())
            .unwrap();
    }
}

fn provider(things: &Path) -> String {
    format!("provider \"toy\" {{\n  directory = {things:?}\n}}\n")
}

#[tokio::test]
async fn a_life() {
    check(|things| {
        let head = provider(things);
        let thing = |body: &str| {
            format!("{head}resource \"toy_thing\" \"a\" {{\n  name = \"a\"\n{body}\n}}\n")
        };
        let file = things.join("a.json");
        Steps::new(SOURCE)
            .step(
                Step::apply(thing(
                    "  size = 0.30000000000000000000001\n  parts = [{ label = \"x\" }, { label = \"y\", color = \"red\" }]\n  labels = { \"a b\" = 1 }\n  ports = [{ number = \"53\" }]",
                ))
                .effect("toy_thing.a", Effect::Create)
                .planned("toy_thing.a", "id", "a")
                .planned("toy_thing.a", "parts[0].count", 1)
                .unknown("toy_thing.a", "parts[0].color")
                .unknown("toy_thing.a", "revision")
                .state("toy_thing.a", "parts[0].color", "grey")
                .state("toy_thing.a", "parts[1].color", "red")
                .state("toy_thing.a", "labels[\"a b\"]", "1")
                .state("toy_thing.a", "ports[0].protocol", "tcp"),
            )
            .step(
                Step::plan(thing("  size = 2"))
                    .effect("toy_thing.a", Effect::Update)
                    .unknown("toy_thing.a", "revision")
                    .state("toy_thing.a", "revision", 1),
            )
            .step(
                Step::apply(thing("  size = 2\n  email = \"A@example.com\""))
                    .effect("toy_thing.a", Effect::Update)
                    .state("toy_thing.a", "revision", 2)
                    .state("toy_thing.a", "parts", json!(null)),
            )
            .step(
                Step::apply(thing("  size = 2\n  email = \"a@EXAMPLE.com\""))
                    .effect("toy_thing.a", Effect::Nothing)
                    .state("toy_thing.a", "email", "A@example.com"),
            )
            .step(
                Step::apply(thing("  size = 2").replace("name = \"a\"", "name = \"b\""))
                    .effect("toy_thing.a", Effect::Replace)
                    .state("toy_thing.a", "id", "b"),
            )
            .step(
                Step::apply(thing("  size = 2"))
                    .after({
                        let gone = things.join("b.json");
                        move || fs::remove_file(&gone).unwrap()
                    })
                    .effect("toy_thing.a", Effect::Create),
            )
            .step(
                Step::apply(thing("  size = 2"))
                    .after(move || fs::write(&file, r#"{"size":"7","revision":1}"#).unwrap())
                    .effect("toy_thing.a", Effect::Update)
                    .state("toy_thing.a", "size", 2),
            )
            .step(Step::apply(&head).effect("toy_thing.a", Effect::Delete).absent("toy_thing.a"))
    })
    .await;
}

#[tokio::test]
async fn references_give_the_order() {
    check(|things| {
        let config = format!(
            r#"{}
variable "who" {{
  default = "me"
}}
data "toy_things" "all" {{
  prefix     = "b"
  depends_on = [toy_thing.b]
}}
resource "toy_thing" "c" {{
  name   = "c-${{data.toy_things.all.ids[0]}}"
  labels = {{ first = toy_thing.b.id, who = var.who, revision = toy_thing.b.revision }}
}}
resource "toy_thing" "b" {{
  name = "b"
}}
"#,
            provider(things)
        );
        Steps::new(SOURCE)
            .step(
                Step::apply(&config)
                    .planned("toy_thing.c", "labels.first", "b")
                    .unknown("toy_thing.c", "labels.revision")
                    .unknown("toy_thing.c", "name")
                    .state("toy_thing.c", "name", "c-b")
                    .state(
                        "toy_thing.c",
                        "labels",
                        json!({"first": "b", "who": "me", "revision": "1"}),
                    )
                    .state("data.toy_things.all", "ids", json!(["b"])),
            )
            .step(
                Step::destroy()
                    .effect("toy_thing.b", Effect::Delete)
                    .absent("toy_thing.b")
                    .absent("toy_thing.c"),
            )
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    check(|things| {
        let head = provider(things);
        let thing = |body: &str| format!("{head}resource \"toy_thing\" \"a\" {{\n{body}\n}}\n");
        Steps::new(SOURCE)
            .step(Step::plan(thing("")).refused(&["Missing required argument", "\"name\""]))
            .step(
                Step::plan(thing("  name = \"a\"\n  colour = 1"))
                    .refused(&["Unsupported argument", "\"colour\""]),
            )
            .step(
                Step::plan(thing("  name = \"a\"\n  revision = 1"))
                    .refused(&["Read-only attribute"]),
            )
            .step(
                Step::apply(thing("  name = \"a\"\n  size = 2000\n  mode = \"fast\""))
                    .refused(&["`size` must be between 0 and 1000", "`mode` must be one of"]),
            )
            .step(
                Step::apply(thing("  name = \"a\"\n  mode = \"fail_early\""))
                    .refused(&["Thing refused"])
                    .absent("toy_thing.a"),
            )
            .step(
                Step::apply(thing("  name = \"a\"\n  mode = \"fail_late\""))
                    .refused(&["Thing half made"])
                    .state("toy_thing.a", "id", "a"),
            )
            .step(
                Step::apply(thing("  name = \"a\""))
                    .effect("toy_thing.a", Effect::Replace)
                    .state("toy_thing.a", "revision", 1),
            )
            .step(
                Step::apply(thing("  name = \"a\"\n  mode = \"lie\"\n  size = 3"))
                    .refused(&["`size` was planned as 3 and came out as 999."]),
            )
            .step(Step::destroy())
            .step(Step::apply(thing("  name = \"keep-me\"")))
            .step(
                Step::destroy()
                    .refused(&["Thing is kept"])
                    .state("toy_thing.a", "id", "keep-me"),
            )
    })
    .await;
}

#[tokio::test]
async fn what_exists_is_imported() {
    check(|things| {
        let config = format!(
            "{}resource \"toy_thing\" \"a\" {{\n  name = \"found\"\n  size = 3\n}}\n",
            provider(things)
        );
        let empty = provider(things);
        let file = things.join("found.json");
        Steps::new(SOURCE)
            .step(Step::apply(empty))
            .step(Step::plan(&config).effect("toy_thing.a", Effect::Create))
            .step(
                Step::import("toy_thing.a", "found")
                    .after(move || fs::write(&file, r#"{"size":"3","revision":4}"#).unwrap())
                    .state("toy_thing.a", "revision", 4),
            )
            .step(Step::destroy().absent("toy_thing.a"))
            .step(Step::import("toy_thing.a", "nobody").refused(&["There is no file for nobody."]))
    })
    .await;
}

/// A step that says something untrue fails, in process as on an engine.
#[tokio::test]
async fn wrong_expectations_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let config = provider(dir.path()) + "resource \"toy_thing\" \"a\" {\n  name = \"a\"\n}\n";
    let said = async |step: Step| {
        let steps = Steps::new(SOURCE).step(step);
        steps
            .run_in_process(Toy::default)
            .await
            .unwrap_err()
            .to_string()
    };
    let plan = || Step::plan(&config);
    for (step, expected) in [
        (
            plan().effect("toy_thing.a", Effect::Update),
            "step 1: toy_thing.a: planned Some(Create), expected Update",
        ),
        (
            plan().unknown("toy_thing.a", "name"),
            "step 1: toy_thing.a: `name` is known at plan: Some(String(\"a\"))",
        ),
        (
            plan().planned("toy_thing.a", "size", 2),
            "step 1: toy_thing.a: `size` is 1, expected 2",
        ),
        (
            plan().refused(&["no"]),
            "step 1: it should have been refused with [\"no\"]",
        ),
        (
            plan().state("toy_thing.b", "size", 1),
            "step 1: there is no toy_thing.b",
        ),
    ] {
        assert_eq!(said(step).await, expected);
    }
}
