//! Real Terraform drives the toy provider. Skipped, loudly, where no `terraform` is on PATH.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../toy/mod.rs"]
mod toy;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A working directory with the toy in a mirror of its own.
struct Rig {
    dir: TempDir,
}

struct Outcome {
    code: Option<i32>,
    text: String,
}

impl Outcome {
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self.text
    }

    fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{}", self.text);
        self.text
    }
}

impl Rig {
    /// A directory where `terraform init` has run; none where there is no Terraform.
    fn new() -> Option<Self> {
        if let Err(why) = Command::new("terraform").arg("version").output() {
            eprintln!("SKIPPED: real Terraform was not run: `terraform` on PATH: {why}");
            return None;
        }
        let rig = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let version = rig.path(&format!("mirror/example.com/test/toy/0.1.0/{}", platform()));
        fs::create_dir_all(&version).unwrap();
        fs::copy(toy::binary(), version.join("terraform-provider-toy_v0.1.0")).unwrap();
        fs::create_dir_all(rig.path("things")).unwrap();
        fs::create_dir_all(rig.path("work")).unwrap();
        let mirror = rig.path("mirror");
        let rc = format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n"
        );
        fs::write(rig.path("terraform.rc"), rc).unwrap();
        rig.write("");
        rig.run(&["init", "-input=false"]).ok();
        Some(rig)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Replaces the configuration by the provider block and this.
    fn write(&self, blocks: &str) {
        let things = self.path("things");
        let head = format!(
            "terraform {{\n  required_providers {{\n    toy = {{ source = \"example.com/test/toy\" }}\n  }}\n}}\nprovider \"toy\" {{\n  directory = {things:?}\n}}\n"
        );
        fs::write(self.path("work/main.tf"), format!("{head}{blocks}\n")).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("terraform");
        command
            .args(args)
            .arg("-no-color")
            .current_dir(self.path("work"))
            .env("TF_CLI_CONFIG_FILE", self.path("terraform.rc"))
            .env("CHECKPOINT_DISABLE", "1")
            .env_remove("TF_LOG")
            .env_remove("TF_LOG_PROVIDER")
            .env_remove("TF_REATTACH_PROVIDERS");
        command
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let output = self.command(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        Outcome {
            code: output.status.code(),
            text: String::from_utf8(text).unwrap(),
        }
    }

    fn apply(&self, blocks: &str) -> Outcome {
        self.write(blocks);
        self.run(&["apply", "-auto-approve", "-input=false"])
    }

    fn assert_plan_is_empty(&self) {
        let plan = self.run(&["plan", "-detailed-exitcode", "-input=false"]);
        assert_eq!(plan.code, Some(0), "{}", plan.text);
    }

    /// Attributes and status of each toy in the state.
    fn state(&self) -> BTreeMap<String, (Json, Option<String>)> {
        let text = fs::read_to_string(self.path("work/terraform.tfstate")).unwrap_or("{}".into());
        let state: Json = serde_json::from_str(&text).unwrap();
        let mut found = BTreeMap::new();
        for r in state["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|r| r["type"] == "toy_thing")
        {
            let instance = &r["instances"][0];
            let status = instance["status"].as_str().map(str::to_owned);
            found.insert(
                r["name"].as_str().unwrap().to_owned(),
                (instance["attributes"].clone(), status),
            );
        }
        found
    }

    fn things(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path("things"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn platform() -> String {
    let arch = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let os = if cfg!(target_os = "macos") {
        "darwin"
    } else {
        "linux"
    };
    format!("{os}_{arch}")
}

/// A thing `NAME` under the address `toy_thing.NAME`.
fn thing(name: &str, body: &str) -> String {
    format!("resource \"toy_thing\" \"{name}\" {{\n  name = \"{name}\"\n{body}\n}}\n")
}

/// Terraform breaks lines; messages are compared without that.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn validate_names_the_attribute() {
    let Some(rig) = Rig::new() else { return };
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
    let mut said: Vec<_> = json["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| {
            let code = d["snippet"]["code"].as_str().unwrap_or("no code").trim();
            format!(
                "{} | {} | {code}",
                d["summary"].as_str().unwrap(),
                flat(d["detail"].as_str().unwrap())
            )
        })
        .collect();
    said.sort();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_life() {
    let Some(rig) = Rig::new() else { return };
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
    insta::assert_json_snapshot!(a);
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
    assert_eq!(rig.run(&["plan", "-detailed-exitcode"]).code, Some(2));

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
    assert_eq!(rig.run(&["plan", "-detailed-exitcode"]).code, Some(2));
    rig.run(&["destroy", "-auto-approve"]).ok();
    assert_eq!(rig.things(), [""; 0]);
}

#[test]
fn import_then_nothing_to_do() {
    let Some(rig) = Rig::new() else { return };
    rig.apply(&thing("a", "  size = 3")).ok();
    rig.run(&["state", "rm", "toy_thing.a"]).ok();
    rig.run(&["import", "toy_thing.a", "a"]).ok();
    rig.assert_plan_is_empty();
    rig.run(&["state", "rm", "toy_thing.a"]).ok();
    let missing = rig.run(&["import", "toy_thing.a", "nobody"]).failed();
    assert!(
        flat(&missing).contains("There is no file for nobody."),
        "{missing}"
    );
}

#[test]
fn failures_keep_what_exists() {
    let Some(rig) = Rig::new() else { return };
    let failed = rig
        .apply(&thing("early", "  mode = \"fail_early\""))
        .failed();
    assert!(failed.contains("Error: Thing refused"), "{failed}");
    assert_eq!(rig.state().len(), 0);

    for (mode, said) in [
        ("fail_late", "Error: Thing half made"),
        ("panic", "The provider panicked in this operation"),
        ("lie", "`size` was planned as 1 and came out as 999."),
    ] {
        let failed = rig
            .apply(&thing("t", &format!("  mode = \"{mode}\"")))
            .failed();
        assert!(flat(&failed).contains(said), "{failed}");
        assert!(
            !failed.contains("stack backtrace") && !failed.contains("plugin crashed"),
            "{failed}"
        );
        assert_eq!(rig.state()["t"].1.as_deref(), Some("tainted"), "{mode}");
        let again = rig.apply(&thing("t", "")).ok();
        assert!(
            again.contains("# toy_thing.t is tainted, so must be replaced"),
            "{again}"
        );
        rig.assert_plan_is_empty();
        rig.run(&["destroy", "-auto-approve"]).ok();
    }

    // A failed update keeps the resource, not tainted.
    rig.apply(&thing("u", "")).ok();
    let failed = rig
        .apply(&thing("u", "  size = 2\n  mode = \"fail_early\""))
        .failed();
    assert!(failed.contains("Error: Thing refused"), "{failed}");
    let (u, status) = &rig.state()["u"];
    assert_eq!((&u["size"], status), (&1.into(), &None));
}

#[test]
fn deletions_can_be_forbidden_at_plan() {
    let Some(rig) = Rig::new() else { return };
    rig.apply(&thing("keep-me", "")).ok();
    let refused = rig.run(&["plan", "-destroy"]).failed();
    assert!(refused.contains("Error: Thing is kept"), "{refused}");
}

#[test]
fn local_changes_do_not_call_the_resource() {
    let Some(rig) = Rig::new() else { return };
    rig.apply(&thing("a", "")).ok();
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

#[test]
fn write_only_values_stay_out() {
    let Some(rig) = Rig::new() else { return };
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

#[test]
fn old_states_are_upgraded() {
    let Some(rig) = Rig::new() else { return };
    rig.apply(&thing("a", "")).ok();
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

/// Starts an apply that takes a minute, presses Ctrl-C once the thing exists, and waits for the end.
fn interrupted(rig: &Rig, blocks: &str) -> (Duration, String) {
    rig.write(blocks);
    let mut apply = rig.command(&["apply", "-auto-approve", "-input=false"]);
    // A group of its own: Ctrl-C in a terminal reaches Terraform and its plugins alike.
    let mut apply = apply
        .env("TF_LOG_PROVIDER", "INFO")
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(apply.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("thing written") {
        line.clear();
        assert_ne!(
            log.read_line(&mut line).unwrap(),
            0,
            "the apply ended before the thing was written"
        );
    }
    // The provider's own line, re-levelled by the host and with its fields.
    assert!(
        line.contains("[INFO]") && line.contains("id=slow"),
        "{line}"
    );
    let pressed = Instant::now();
    let group = format!("-{}", apply.id());
    assert!(
        Command::new("kill")
            .args(["-INT", "--", &group])
            .status()
            .unwrap()
            .success()
    );
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    let mut out = String::new();
    apply
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    assert_eq!(apply.wait().unwrap().code(), Some(1), "{out}{rest}");
    (pressed.elapsed(), out + &rest)
}

#[test]
fn ctrl_c_ends_a_slow_creation_and_keeps_its_state() {
    let Some(rig) = Rig::new() else { return };
    for mode in ["slow", "deaf"] {
        let (took, said) = interrupted(
            &rig,
            &thing("slow", &format!("  mode  = \"{mode}\"\n  delay = \"60s\"")),
        );
        assert!(said.contains("Error: Operation cancelled"), "{said}");
        assert!(took < Duration::from_secs(2), "{mode}: {took:?}");
        let (slow, status) = &rig.state()["slow"];
        assert_eq!(
            (&slow["id"], status.as_deref()),
            (&"slow".into(), Some("tainted"))
        );
        assert_eq!(rig.things(), ["slow.json"]);
        rig.apply("").ok();
    }
}

#[test]
fn operations_end_at_their_timeout() {
    let Some(rig) = Rig::new() else { return };
    let late = rig
        .apply(&thing(
            "a",
            "  mode = \"slow\"\n  delay = \"60s\"\n  timeouts = { create = \"200ms\" }",
        ))
        .failed();
    assert!(
        late.contains("Error: Operation timed out") && late.contains("timeouts.create"),
        "{late}"
    );
    assert_eq!(rig.state()["a"].1.as_deref(), Some("tainted"));
}

#[test]
fn a_debugged_provider_is_attached_to() {
    let Some(rig) = Rig::new() else { return };
    let mut toy = Command::new(toy::binary())
        .arg("-debug")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(toy.stdout.take().unwrap()).lines();
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
            .args(["-INT", &toy.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert!(toy.wait().unwrap().success());
}
