//! A real engine's working directory with our provider in a mirror, beside a bootd in this process.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value as Json;
use tempfile::TempDir;
use tfplugin::kit::{Engine, Plugin, Workspace, flat};

use crate::fake::Bootd;

pub(crate) struct Rig {
    space: Workspace,
    dir: TempDir,
    pub(crate) bootd: Bootd,
}

pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Outcome {
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text);
        flat(&self.text)
    }

    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{}", self.text);
        flat(&self.text)
    }
}

impl Rig {
    /// A directory where `init` has run, beside a bootd; none where there is no engine (`METAL_ENGINE`, else PATH).
    pub(crate) fn new(hcl: &str) -> Option<Self> {
        let engine = match std::env::var_os("METAL_ENGINE") {
            Some(path) => Some(Engine::at(path).unwrap()),
            None => Engine::on_path().into_iter().next(),
        };
        let Some(engine) = engine else {
            eprintln!("SKIPPED: no engine was run: no METAL_ENGINE, no terraform, no tofu on PATH");
            return None;
        };
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let bootd = Bootd::start(dir.path());
        let binary = env!("CARGO_BIN_EXE_terraform-provider-metal");
        let plugin = Plugin::new("metal/metal", binary);
        let space = Workspace::new(engine, &plugin, dir.path()).unwrap();
        let rig = Self { space, dir, bootd };
        rig.write(hcl);
        rig.run(&["init", "-input=false"]).ok();
        Some(rig)
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn write(&self, hcl: &str) {
        fs::write(self.path("work/main.tf"), hcl).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.space.command(args);
        command
            .arg("-no-color")
            .env("TF_VAR_bundle_file", &self.bootd.bundle)
            .env("TF_LOG_PROVIDER", "TRACE")
            .env("TF_LOG_PATH", self.path("provider.log"))
            .env_remove("METAL_BUNDLE")
            .env_remove("METAL_BUNDLE_FILE");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        let output = self.command(args).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        Outcome {
            code: output.status.code(),
            text,
        }
    }

    pub(crate) fn apply(&self) -> Outcome {
        self.run(&["apply", "-auto-approve", "-input=false"])
    }

    pub(crate) fn plan(&self) -> Outcome {
        self.run(&["plan", "-input=false"])
    }

    pub(crate) fn assert_plan_is_empty(&self) {
        let plan = self.run(&["plan", "-detailed-exitcode", "-input=false"]);
        assert_eq!(plan.code, Some(0), "{}", plan.text);
    }

    pub(crate) fn state(&self) -> Json {
        serde_json::from_str(&fs::read_to_string(self.path("work/terraform.tfstate")).unwrap())
            .unwrap()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.bootd.world(|w| std::mem::take(&mut w.calls))
    }

    /// Everything wrong with a configuration: summary, text, line.
    pub(crate) fn said_by_validate(&self) -> String {
        let output = self.run(&["validate", "-json"]);
        let json: Json = serde_json::from_str(&output.text).unwrap();
        let one = |d: &Json| {
            let code = d["snippet"]["code"].as_str().unwrap_or("no code").trim();
            format!(
                "{} | {} | {code}",
                d["summary"].as_str().unwrap(),
                flat(d["detail"].as_str().unwrap())
            )
        };
        let mut said: Vec<_> = json["diagnostics"]
            .as_array()
            .unwrap()
            .iter()
            .map(one)
            .collect();
        said.sort();
        said.join("\n")
    }
}
