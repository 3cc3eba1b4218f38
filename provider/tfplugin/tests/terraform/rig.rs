//! A working directory with the toy, on one engine: what every story drives.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;
use tempfile::TempDir;
use tfplugin::kit::{Engine, Outcome, Plugin, Workspace};

pub(crate) use tfplugin::kit::flat;

use crate::toy;

/// A working directory with the toy in a mirror of its own, and a directory for its things.
pub(crate) struct Rig {
    space: Workspace,
    _dir: TempDir,
}

impl Rig {
    /// A directory where `init` has run.
    pub(crate) fn new(engine: &Engine) -> Self {
        // Beside the toy, so that the mirror links it and copies nothing.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let toy = Plugin::new("example.com/test/toy", toy::binary());
        let space = Workspace::new(engine.clone(), &toy, dir.path()).unwrap();
        fs::create_dir_all(dir.path().join("things")).unwrap();
        let rig = Self { space, _dir: dir };
        rig.write("");
        let _ = rig.run(&["init", "-input=false"]).ok();
        rig
    }

    /// A path in the directory that holds `work/` (the module) and `things/` (the toy's files).
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.space.dir().join(below)
    }

    /// The executable of the toy, to run it by hand.
    pub(crate) fn toy() -> &'static Path {
        toy::binary()
    }

    /// The engine of this story.
    pub(crate) fn engine(&self) -> &Engine {
        self.space.engine()
    }

    /// Replaces the configuration by the provider block and this.
    pub(crate) fn write(&self, blocks: &str) {
        let things = self.path("things");
        let head = format!(
            "terraform {{\n  required_providers {{\n    toy = {{ source = \"example.com/test/toy\" }}\n  }}\n}}\nprovider \"toy\" {{\n  directory = {things:?}\n}}\n"
        );
        self.space.write(&format!("{head}{blocks}\n")).unwrap();
    }

    /// A command without colours.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.space.command(args);
        command.arg("-no-color");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        let args: Vec<_> = args.iter().copied().chain(["-no-color"]).collect();
        self.space.run(&args).unwrap()
    }

    /// Writes the configuration and applies it.
    pub(crate) fn apply(&self, blocks: &str) -> Outcome {
        self.write(blocks);
        self.run(&["apply", "-auto-approve", "-input=false"])
    }

    /// Writes the configuration and plans it.
    pub(crate) fn plan(&self, blocks: &str) -> Outcome {
        self.write(blocks);
        self.run(&["plan", "-input=false"])
    }

    /// A plan that would change something.
    #[track_caller]
    pub(crate) fn assert_plan_has_changes(&self) {
        let plan = self.run(&["plan", "-detailed-exitcode", "-input=false"]);
        assert_eq!(plan.code, Some(2), "{}{}", plan.stdout, plan.stderr);
    }

    /// A plan that would change nothing.
    #[track_caller]
    pub(crate) fn assert_plan_is_empty(&self) {
        let plan = self.run(&["plan", "-detailed-exitcode", "-input=false"]);
        assert_eq!(plan.code, Some(0), "{}{}", plan.stdout, plan.stderr);
    }

    /// The file of the state.
    pub(crate) fn raw_state(&self) -> Json {
        let text = fs::read_to_string(self.path("work/terraform.tfstate")).unwrap_or("{}".into());
        serde_json::from_str(&text).unwrap()
    }

    /// Attributes and status of each toy_thing in the state.
    pub(crate) fn state(&self) -> BTreeMap<String, (Json, Option<String>)> {
        let mut found = BTreeMap::new();
        for r in self.raw_state()["resources"]
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

    /// The files that the toy has made.
    pub(crate) fn things(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path("things"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A thing `NAME` under the address `toy_thing.NAME`.
pub(crate) fn thing(name: &str, body: &str) -> String {
    format!("resource \"toy_thing\" \"{name}\" {{\n  name = \"{name}\"\n{body}\n}}\n")
}
