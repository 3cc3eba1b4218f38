//! A directory with real Terraform and our provider in a file system mirror, beside a bootd in this process.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::fake::Bootd;

pub(crate) struct Rig {
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

/// Terraform breaks lines and draws boxes; messages are compared without that.
pub(crate) fn flat(text: &str) -> String {
    text.split_whitespace()
        .filter(|w| !["│", "╷", "╵"].contains(w))
        .collect::<Vec<_>>()
        .join(" ")
}

impl Rig {
    /// A directory where `terraform init` has run, beside a bootd; none where there is no Terraform.
    pub(crate) fn new(hcl: &str) -> Option<Self> {
        if let Err(why) = Command::new("terraform").arg("version").output() {
            eprintln!("SKIPPED: real Terraform was not run: `terraform` on PATH: {why}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let bootd = Bootd::start(dir.path());
        let rig = Self { dir, bootd };
        let arch = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let version = rig.path(&format!(
            "mirror/registry.terraform.io/metal/metal/0.1.0/linux_{arch}"
        ));
        fs::create_dir_all(&version).unwrap();
        fs::create_dir_all(rig.path("work")).unwrap();
        fs::copy(
            env!("CARGO_BIN_EXE_terraform-provider-metal"),
            version.join("terraform-provider-metal_v0.1.0"),
        )
        .unwrap();
        let mirror = rig.path("mirror");
        let rc = format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n"
        );
        fs::write(rig.path("terraform.rc"), rc).unwrap();
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
        let mut command = Command::new("terraform");
        command
            .args(args)
            .arg("-no-color")
            .current_dir(self.path("work"))
            .env("TF_CLI_CONFIG_FILE", self.path("terraform.rc"))
            .env("TF_VAR_bundle_file", &self.bootd.bundle)
            .env("TF_LOG_PROVIDER", "TRACE")
            .env("TF_LOG_PATH", self.path("provider.log"))
            .env("CHECKPOINT_DISABLE", "1")
            .env_remove("METAL_BUNDLE")
            .env_remove("METAL_BUNDLE_FILE")
            .env_remove("TF_LOG");
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
