//! The test kit on the toy: the same steps in process and on engines: the oldest and the newest of each product that can run them, with
//! `METAL_FULL=1` every one. (The stories in `terraform/` run on all of them always.)

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/engines.rs"]
mod engines;
mod toy;
#[path = "../examples/toy/main.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is for the example")]
mod toy_provider;

use std::fs;
use std::path::Path;

use serde_json::json;
use tfplugin::kit::{Effect, Engine, Product, Step, Steps, Version};
use toy_provider::Toy;

const SOURCE: &str = "example.com/test/toy";

/// What a host must have for steps to run on it.
#[derive(Clone, Copy)]
enum Needs {
    Resources,
    Functions,
    WriteOnly,
    Actions,
}

impl Needs {
    fn are_met_by(self, engine: &Engine) -> bool {
        let since = match (self, engine.product) {
            (Self::Resources, _) => Version::new(1, 6),
            (Self::Functions, Product::Terraform) => Version::new(1, 8),
            (Self::Functions, Product::OpenTofu) => Version::new(1, 7),
            (Self::WriteOnly, _) => Version::new(1, 11),
            (Self::Actions, Product::Terraform) => Version::new(1, 14),
            (Self::Actions, Product::OpenTofu) => return false,
        };
        engine.version >= since
    }
}

/// Runs the steps in process and on every engine of this run; each gets a directory of its own for the toy's things.
async fn check(steps: impl Fn(&Path) -> Steps) {
    check_where(Needs::Resources, steps).await;
}

/// As [`check`], on the engines that can.
async fn check_where(needs: Needs, steps: impl Fn(&Path) -> Steps) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let things = dir.path().join("in-process");
    fs::create_dir_all(&things).unwrap();
    let run = steps(&things).run_in_process(Toy::default).await;
    run.unwrap_or_else(|why| panic!("in process: {why}"));
    for engine in chosen(needs) {
        let things = dir.path().join(format!("things-{}", engine.id()));
        fs::create_dir_all(&things).unwrap();
        steps(&things)
            .run_on_all(&[engine], toy::binary(), dir.path())
            .unwrap();
    }
}

fn chosen(needs: Needs) -> Vec<Engine> {
    let mut able = engines::engines("the steps ran in process only");
    able.retain(|engine| needs.are_met_by(engine));
    if std::env::var("METAL_FULL").is_ok_and(|full| full == "1") {
        return able;
    }
    able.sort_by_key(|engine| engine.version);
    let mut ends = Vec::new();
    for product in [Product::Terraform, Product::OpenTofu] {
        let mut line = able.iter().filter(|engine| engine.product == product);
        ends.extend(line.next().cloned());
        ends.extend(line.next_back().cloned());
    }
    ends
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

#[tokio::test]
async fn functions_are_called_in_expressions() {
    check_where(Needs::Functions, |things| {
        let head = provider(things);
        let config = format!(
            r#"{head}
resource "toy_thing" "a" {{
  name   = provider::toy::join("-", "a", provider::toy::join(null, "b"))
  size   = provider::toy::grow({{ width = 1, height = 2 }}, 3).width
  labels = {{ all = provider::toy::join("+", ["x", "y"]...) }}
}}
output "later" {{
  value = provider::toy::join("-", toy_thing.a.id, toy_thing.a.revision)
}}
output "wrapped" {{
  value = provider::toy::wrap([1, "x"])
}}
"#
        );
        let wrong =
            |call: &str| format!("{head}output \"x\" {{\n  value = provider::toy::{call}\n}}\n");
        Steps::new(SOURCE)
            .step(
                Step::plan(&config)
                    .planned("toy_thing.a", "name", "a-b")
                    .planned("toy_thing.a", "size", 4)
                    .output(
                        "wrapped",
                        json!({"note": null, "twice": [[1, "x"], [1, "x"]]}),
                    ),
            )
            .step(
                Step::apply(&config)
                    .planned("toy_thing.a", "labels.all", "x+y")
                    .state("toy_thing.a", "id", "a-b")
                    .output("later", "a-b-1"),
            )
            .step(
                Step::plan(wrong(r#"join("-", "ok", "forbidden")"#))
                    .refused(&["Invalid value for \"parts\" parameter: this word is forbidden."]),
            )
            .step(
                Step::plan(wrong("grow(null, 5)"))
                    .refused(&["Invalid value for \"area\" parameter: argument must not be null."]),
            )
            .step(Step::plan(wrong("nothing()")).refused(&["provider::toy::nothing"]))
            .step(Step::plan(wrong("version(1)")).refused(&["Too many function arguments"]))
    })
    .await;
}

#[tokio::test]
async fn ephemeral_values_go_into_write_only_attributes() {
    check_where(Needs::WriteOnly, |things| {
        let config = |body: &str| {
            format!(
                r#"{}
ephemeral "toy_ticket" "t" {{
  name   = toy_thing.first.id
  length = 40
}}
resource "toy_thing" "first" {{
  name = "t"
}}
resource "toy_thing" "a" {{
  name = "a"
{body}
}}
"#,
                provider(things)
            )
        };
        let secret = config("  password_wo = ephemeral.toy_ticket.t.token\n  password_wo_version = toy_thing.first.revision");
        let stored = config("  labels = { token = ephemeral.toy_ticket.t.token }");
        let log = things.join("tickets.log");
        let open = things.join("t.ticket");
        let closed = move || {
            let log = fs::read_to_string(&log).unwrap();
            let (opened, closed) = (log.matches("open t").count(), log.matches("close t").count());
            assert!(opened > 0 && opened == closed && !open.exists(), "{log}");
        };
        Steps::new(SOURCE)
            .step(
                Step::apply(&secret)
                    .unknown("toy_thing.a", "password_length")
                    .planned("toy_thing.a", "password_wo", json!(null))
                    .state("toy_thing.a", "password_length", 40)
                    .state("toy_thing.a", "password_wo", json!(null)),
            )
            .step(Step::plan(stored).after(closed.clone()).refused(&["phemeral value"]))
            .step(
                Step::plan(secret.replace("length = 40", "length = 3"))
                    .after(closed.clone())
                    .refused(&["`length` must be between 4 and 64"]),
            )
            .step(Step::apply(&secret).after(closed).effect("toy_thing.a", Effect::Nothing))
            .step(Step::destroy().absent("toy_thing.a"))
    })
    .await;
}

#[tokio::test]
async fn resources_trigger_actions() {
    check_where(Needs::Actions, |things| {
        let config = |size: u8, stamp: &str, when: &str| {
            format!(
                r#"{}
action "toy_stamp" "s" {{
  config {{
    name  = toy_thing.a.id
    steps = 3
{stamp}
  }}
}}
resource "toy_thing" "a" {{
  name = "a"
  size = {size}
  lifecycle {{
    action_trigger {{
      events  = [{when}]
      actions = [action.toy_stamp.s]
    }}
  }}
}}
"#,
                provider(things)
            )
        };
        let stamp = things.join("a.stamp");
        let again = stamp.clone();
        Steps::new(SOURCE)
            .step(
                Step::apply(config(1, "", "after_create, after_update"))
                    .invokes("action.toy_stamp.s", "toy_thing.a")
                    .said("step 3 of 3"),
            )
            .step(
                Step::apply(config(2, "", "after_create"))
                    .after(move || fs::remove_file(&stamp).unwrap())
                    .effect("toy_thing.a", Effect::Update),
            )
            .step(
                Step::apply(config(3, "    mode = \"fail\"", "after_update"))
                    .after(move || assert!(!again.exists(), "nothing triggered it"))
                    .refused(&["Stamp broke"])
                    .state("toy_thing.a", "size", 3),
            )
            .step(
                Step::plan(
                    config(4, "", "after_update").replace("toy_thing.a.id", "\"unstampable\""),
                )
                .refused(&["Cannot be stamped"]),
            )
            .step(
                Step::plan(config(3, "", "after_update").replace("toy_thing.a.id", "\"nobody\""))
                    .refused(&["Stamp for nobody"]),
            )
            .step(Step::apply(config(3, "", "after_create")).effect("toy_thing.a", Effect::Nothing))
            .step(Step::destroy().absent("toy_thing.a"))
    })
    .await;
}

#[tokio::test]
async fn blocks_are_repeated() {
    check(|things| {
        let head = provider(things);
        let numbered = |how: &str, name: &str| {
            format!("{head}resource \"toy_thing\" \"n\" {{\n  {how}\n  name = {name}\n}}\n")
        };
        let counted = |n: u8| numbered(&format!("count = {n}"), "\"n-${count.index}\"");
        let output = "output \"ids\" {\n  value = toy_thing.n[*].id\n}\n";
        let keyed = format!(
            r#"{}
resource "toy_thing" "k" {{
  for_each = {{ x = 1, y = 2 }}
  name     = "k-${{each.key}}"
  size     = each.value
}}
resource "toy_thing" "s" {{
  for_each = toset(["a"])
  name     = each.value
  labels   = {{ other = toy_thing.k["x"].id, first = toy_thing.n[0].id }}
}}
"#,
            counted(1)
        );
        Steps::new(SOURCE)
            .step(
                Step::apply(counted(2) + output)
                    .effect("toy_thing.n[0]", Effect::Create)
                    .state("toy_thing.n[1]", "id", "n-1")
                    .output("ids", json!(["n-0", "n-1"])),
            )
            .step(
                Step::apply(keyed)
                    .effect("toy_thing.n[0]", Effect::Nothing)
                    .effect("toy_thing.n[1]", Effect::Delete)
                    .state("toy_thing.k[\"y\"]", "size", 2)
                    .state("toy_thing.s[\"a\"]", "labels", json!({"other": "k-x", "first": "n-0"})),
            )
            .step(
                Step::apply(numbered("", "\"n-0\""))
                    .effect("toy_thing.n", Effect::Nothing)
                    .effect("toy_thing.k[\"x\"]", Effect::Delete)
                    .absent("toy_thing.n[0]"),
            )
            .step(Step::apply(counted(1)).effect("toy_thing.n[0]", Effect::Nothing))
            .step(Step::apply(counted(0)).absent("toy_thing.n[0]"))
            .step(
                Step::plan(format!(
                    "{}{}",
                    numbered("", "\"m\""),
                    "resource \"toy_thing\" \"o\" {\n  count = toy_thing.n.revision\n  name  = \"o\"\n}\n"
                ))
                .refused(&["Invalid count argument"]),
            )
            .step(
                Step::plan(numbered("for_each = [\"a\"]", "each.key"))
                    .refused(&["Invalid for_each argument"]),
            )
    })
    .await;
}

/// What only an engine reads is told, and nothing of it is guessed at.
#[tokio::test]
async fn what_is_not_read_in_process_is_said() {
    let thing =
        |body: &str| format!("resource \"toy_thing\" \"a\" {{\n  name = \"a\"\n{body}\n}}\n");
    let lifecycle = |body: &str| thing(&format!("  lifecycle {{\n{body}\n  }}"));
    let trigger = |body: &str| lifecycle(&format!("    action_trigger {{\n{body}\n    }}"));
    for (config, what) in [
        (thing("  size = 1 + 1"), "`1 + 1`"),
        (thing("  size = true ? 1 : 2"), "`true ? 1 : 2`"),
        (thing("  size = length([])"), "`length(…)`"),
        (
            thing("  labels = { for k in [\"x\"] : k => k }"),
            "for k in",
        ),
        (thing("  email = \"%{ if true }x%{ endif }\""), "`%{ … }`"),
        (thing("  dynamic \"part\" {\n  }"), "`dynamic`"),
        (
            thing("  provisioner \"local-exec\" {\n  }"),
            "`provisioner`",
        ),
        (lifecycle("    prevent_destroy = true"), "`prevent_destroy`"),
        (lifecycle("    precondition {\n    }"), "`precondition`"),
        (trigger("      condition = true"), "`condition`"),
        (
            "action \"toy_stamp\" \"s\" {\n  count = 2\n}\n".to_owned(),
            "`count`",
        ),
        ("locals {\n}\n".to_owned(), "`locals` blocks"),
        ("module \"m\" {\n}\n".to_owned(), "`module` blocks"),
    ] {
        let steps = Steps::new(SOURCE).step(Step::plan(&config));
        let why = steps.run_in_process(Toy::default).await.unwrap_err();
        let said = why.to_string();
        assert!(
            said.contains(what) && said.contains("run this step on an engine"),
            "{said}\n{config}"
        );
    }
    let unknown = trigger("      events  = [after_create]\n      actions = [action.toy_stamp.s]");
    let steps = Steps::new(SOURCE).step(Step::plan(unknown));
    assert_eq!(
        steps.run_in_process(Toy::default).await.unwrap_err().why,
        "toy_thing.a: nothing is declared as `action.toy_stamp.s`, which it triggers"
    );
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
        (
            plan().invokes("action.toy_stamp.s", "toy_thing.a"),
            "step 1: toy_thing.a does not trigger action.toy_stamp.s: []",
        ),
        (plan().output("x", 1), "step 1: there is no output.x"),
    ] {
        assert_eq!(said(step).await, expected);
    }
}
