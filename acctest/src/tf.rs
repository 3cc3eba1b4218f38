//! Drives a real Terraform or OpenTofu: a working directory, a provider mirror, and the commands of a user.
//!
//! The provider is installed through a `filesystem_mirror`, as a user would install it; never by `dev_overrides`.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::Value;
use tfplugin::kit::{self, Outcome, Plugin, Workspace};

/// A Terraform or OpenTofu executable.
#[derive(Debug, Clone)]
pub struct Engine(kit::Engine);

impl Engine {
    /// `METAL_ENGINE`, else `terraform`, else `tofu` on PATH. `None`: there is no engine here, and a story must say so and skip.
    ///
    /// # Panics
    /// `METAL_ENGINE` is no engine: a story that was meant to run must not skip.
    pub fn find() -> Option<Self> {
        match std::env::var_os("METAL_ENGINE") {
            Some(path) => match kit::Engine::at(path) {
                Ok(engine) => Some(Self(engine)),
                Err(why) => panic!("METAL_ENGINE: {why}"),
            },
            None => kit::Engine::on_path().into_iter().next().map(Self),
        }
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
        let flat = kit::flat(&self.text);
        for word in words {
            assert!(
                flat.contains(&kit::flat(word)),
                "`{word}` is not in:\n{}",
                self.text
            );
        }
        self
    }
}

impl From<Outcome> for Ran {
    fn from(outcome: Outcome) -> Self {
        Self {
            code: outcome.code.unwrap_or(-1),
            text: outcome.stdout + &outcome.stderr,
        }
    }
}

/// A root module in a directory of its own, with the provider in a mirror beside it.
#[derive(Debug)]
pub struct Terraform {
    space: Workspace,
}

impl Terraform {
    /// Copies the `.tf` files of `module` below `dir`, installs `provider` (an executable) into a mirror, and runs `init`.
    pub fn init(engine: Engine, module: &Path, dir: &Path, provider: &Path) -> io::Result<Self> {
        let space = Workspace::new(engine.0, &Plugin::new("metal/metal", provider), dir)?;
        for entry in std::fs::read_dir(module)? {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new("tf")) {
                let name = path.file_name().unwrap_or_default();
                std::fs::copy(&path, space.module().join(name))?;
            }
        }
        let this = Self { space };
        this.run(&["init", "-input=false", "-no-color"])?.ok();
        Ok(this)
    }

    /// The directory of the module and its state.
    pub fn dir(&self) -> &Path {
        self.space.module()
    }

    /// Writes values for the module's variables.
    pub fn variables(&self, values: &Value) -> io::Result<()> {
        self.space.variables(values)
    }

    /// A command with the environment of a user who set nothing but the CLI config.
    pub fn command(&self, args: &[&str]) -> Command {
        self.space.command(args)
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> io::Result<Ran> {
        self.space.run(args).map(Ran::from)
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
