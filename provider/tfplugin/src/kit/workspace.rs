//! A root module in a directory of its own, with the provider in a mirror, and the commands of a user.
//!
//! The provider is installed through a `filesystem_mirror`, as a user would do it; never by `dev_overrides`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use super::engine::{Engine, without_settings};

/// The provider to install.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Its address in configurations: `NAMESPACE/NAME`, or `HOST/NAMESPACE/NAME`.
    pub source: String,
    /// The version to install it as.
    pub version: String,
    /// Its executable.
    pub binary: PathBuf,
}

impl Plugin {
    /// Version 0.1.0 of a provider.
    #[must_use]
    pub fn new(source: impl Into<String>, binary: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            version: "0.1.0".to_owned(),
            binary: binary.into(),
        }
    }

    fn name(&self) -> &str {
        self.source.rsplit('/').next().unwrap_or_default()
    }

    /// The directories of the mirror: one per registry that the address may mean.
    fn homes(&self) -> Vec<String> {
        match self.source.split('/').count() {
            3 => vec![self.source.clone()],
            _ => ["registry.terraform.io", "registry.opentofu.org"]
                .map(|host| format!("{host}/{}", self.source))
                .into(),
        }
    }

    /// Installs it below `mirror`; the executable is linked where it can be.
    fn install(&self, mirror: &Path) -> io::Result<()> {
        for home in self.homes() {
            let home = mirror.join(home).join(&self.version).join(platform());
            fs::create_dir_all(&home)?;
            let target = home.join(format!(
                "terraform-provider-{}_v{}",
                self.name(),
                self.version
            ));
            if fs::hard_link(&self.binary, &target).is_err() {
                fs::copy(&self.binary, &target)?;
            }
        }
        Ok(())
    }
}

/// `linux_amd64` and its like, as engines name platforms.
fn platform() -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    };
    format!("{os}_{arch}")
}

/// What a command of the engine said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// What is printed, in one paragraph without line breaks and boxes: engines wrap lines as they like.
    #[must_use]
    pub fn flat(&self) -> String {
        flat(&format!("{}\n{}", self.stdout, self.stderr))
    }

    /// Both streams.
    ///
    /// # Panics
    /// The command failed.
    #[track_caller]
    #[must_use]
    pub fn ok(&self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Both streams.
    ///
    /// # Panics
    /// The command did not fail.
    #[track_caller]
    #[must_use]
    pub fn failed(&self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A text in one paragraph, without the boxes that engines draw around messages.
#[must_use]
pub fn flat(text: &str) -> String {
    text.replace(['│', '╷', '╵'], " ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// A root module in a directory of its own, with the provider in a mirror beside it.
#[derive(Clone, Debug)]
pub struct Workspace {
    engine: Engine,
    dir: PathBuf,
    module: PathBuf,
    env: Vec<(String, String)>,
}

impl Workspace {
    /// Makes `dir/work` and a mirror with the provider in `dir/mirror`. The module is empty and not initialised.
    ///
    /// # Errors
    /// The directories cannot be made.
    pub fn new(engine: Engine, plugin: &Plugin, dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        plugin.install(&dir.join("mirror"))?;
        let module = dir.join("work");
        fs::create_dir_all(&module)?;
        let text = format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = {:?}\n  }}\n}}\n",
            dir.join("mirror")
        );
        fs::write(dir.join("cli.tfrc"), text)?;
        Ok(Self {
            engine,
            dir,
            module,
            env: Vec::new(),
        })
    }

    /// The engine that works here.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The directory above the module and the mirror.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of the module and its state.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Sets a variable in the environment of every later command.
    pub fn set_env(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.env.push((name.into(), value.into()));
    }

    /// Replaces the module's `main.tf`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, hcl: &str) -> io::Result<()> {
        fs::write(self.module.join("main.tf"), hcl)
    }

    /// Writes values for the module's variables.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn variables(&self, values: &Json) -> io::Result<()> {
        fs::write(
            self.module.join("test.auto.tfvars.json"),
            values.to_string(),
        )
    }

    /// A command with the environment of a user who set nothing but the CLI configuration.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.engine.path);
        without_settings(&mut command)
            .args(args)
            .current_dir(&self.module)
            .env("TF_CLI_CONFIG_FILE", self.dir.join("cli.tfrc"))
            .env("TF_IN_AUTOMATION", "1")
            .env_remove("RUST_BACKTRACE")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// The engine does not start.
    pub fn run(&self, args: &[&str]) -> io::Result<Outcome> {
        let out = self.command(args).output()?;
        Ok(Outcome {
            code: out.status.code(),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        })
    }
}
