//! Drives a real Terraform or OpenTofu: a working directory, a provider mirror, and the commands of a user.
//!
//! The provider is installed through a `filesystem_mirror`, as a user would install it; never by `dev_overrides`.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A Terraform or OpenTofu executable.
#[derive(Debug, Clone)]
pub struct Engine {
    path: PathBuf,
}

impl Engine {
    /// `METAL_ENGINE`, else `terraform`, else `tofu` on PATH. `None`: there is no engine here, and a story must say so and skip.
    pub fn find() -> Option<Self> {
        if let Some(path) = std::env::var_os("METAL_ENGINE") {
            return Some(Self { path: path.into() });
        }
        let path = std::env::var_os("PATH")?;
        ["terraform", "tofu"]
            .iter()
            .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
            .find(|candidate| candidate.is_file())
            .map(|path| Self { path })
    }
}

/// What a command of the engine said.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output and standard error, in that order.
    pub text: String,
}

impl Ran {
    /// Panics with the whole output unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "the command failed:\n{}", self.text);
        self
    }

    /// Panics with the whole output unless the command failed and said every one of `words`.
    #[track_caller]
    pub fn fails_with(self, words: &[&str]) -> Self {
        assert_ne!(
            self.code, 0,
            "the command should have failed:\n{}",
            self.text
        );
        // Terraform wraps lines and draws a box: compare the words, not the layout.
        let flat = flatten(&self.text);
        for word in words {
            assert!(
                flat.contains(&flatten(word)),
                "`{word}` is not in:\n{}",
                self.text
            );
        }
        self
    }
}

fn flatten(text: &str) -> String {
    text.replace(['│', '╷', '╵'], " ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// A root module in a directory of its own, with the provider in a mirror beside it.
#[derive(Debug)]
pub struct Terraform {
    engine: Engine,
    dir: PathBuf,
    cli_config: PathBuf,
}

impl Terraform {
    /// Copies the `.tf` files of `module` to `dir`, installs `provider` (an executable) into a mirror, and runs `init`.
    pub fn init(engine: Engine, module: &Path, dir: &Path, provider: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        for entry in std::fs::read_dir(module)? {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new("tf")) {
                std::fs::copy(&path, dir.join(path.file_name().unwrap_or_default()))?;
            }
        }
        let mirror = dir.join("mirror");
        for host in ["registry.terraform.io", "registry.opentofu.org"] {
            let home = mirror.join(host).join("metal/metal/0.1.0/linux_amd64");
            std::fs::create_dir_all(&home)?;
            let target = home.join("terraform-provider-metal_v0.1.0");
            if std::fs::hard_link(provider, &target).is_err() {
                std::fs::copy(provider, &target)?;
            }
        }
        let cli_config = dir.join("cli.tfrc");
        let text = format!(
            "provider_installation {{\n  filesystem_mirror {{ path = {:?} }}\n}}\n",
            mirror
        );
        std::fs::write(&cli_config, text)?;
        let this = Self {
            engine,
            dir: dir.to_owned(),
            cli_config,
        };
        this.run(&["init", "-input=false", "-no-color"])?.ok();
        Ok(this)
    }

    /// The directory of the module, its state and its mirror.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes values for the module's variables.
    pub fn variables(&self, values: &Value) -> io::Result<()> {
        std::fs::write(self.dir.join("story.auto.tfvars.json"), values.to_string())
    }

    /// A command with the environment of a user who set nothing but the CLI config.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.engine.path);
        command
            .args(args)
            .current_dir(&self.dir)
            .env("TF_CLI_CONFIG_FILE", &self.cli_config)
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_IN_AUTOMATION", "1")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> io::Result<Ran> {
        let out = self.command(args).output()?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        Ok(Ran {
            code: out.status.code().unwrap_or(-1),
            text,
        })
    }

    /// `apply -auto-approve`.
    pub fn apply(&self) -> io::Result<Ran> {
        self.run(&["apply", "-auto-approve", "-input=false", "-no-color"])
    }

    /// `apply` in the background; its output goes to `log`.
    pub fn start_apply(&self, log: &Path) -> io::Result<Child> {
        let out = std::fs::File::create(log)?;
        self.command(&["apply", "-auto-approve", "-input=false", "-no-color"])
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
    }

    /// `plan`; exit code 2 means changes.
    pub fn plan(&self) -> io::Result<Ran> {
        self.run(&["plan", "-detailed-exitcode", "-input=false", "-no-color"])
    }

    /// `destroy -auto-approve`.
    pub fn destroy(&self) -> io::Result<Ran> {
        self.run(&["destroy", "-auto-approve", "-input=false", "-no-color"])
    }
}
