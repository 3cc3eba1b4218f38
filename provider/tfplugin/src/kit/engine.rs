//! A Terraform or OpenTofu that a test can run: where it is and what it is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who makes an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// HashiCorp Terraform.
    Terraform,
    /// OpenTofu.
    OpenTofu,
}

impl Product {
    /// The name of its command.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
            Self::OpenTofu => "tofu",
        }
    }

    /// The registry that an address without a host means.
    #[must_use]
    pub fn registry(self) -> &'static str {
        match self {
            Self::Terraform => "registry.terraform.io",
            Self::OpenTofu => "registry.opentofu.org",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terraform => "Terraform",
            Self::OpenTofu => "OpenTofu",
        })
    }
}

/// A release: major, minor, patch. A pre-release counts as its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    /// Breaks.
    pub major: u16,
    /// Adds.
    pub minor: u16,
    /// Repairs.
    pub patch: u16,
}

impl Version {
    /// The first release of a minor.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self {
            major,
            minor,
            patch: 0,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no version like 1.11.4");
        let release = text.trim_start_matches('v').split(['-', '+']).next();
        let mut parts = release.unwrap_or_default().split('.');
        let mut part = || parts.next().and_then(|p| p.parse().ok()).ok_or_else(wrong);
        let version = Self {
            major: part()?,
            minor: part()?,
            patch: part()?,
        };
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(version)
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

/// Why a program is not an engine that can be used.
#[derive(Debug, thiserror::Error)]
pub enum NoEngine {
    /// It does not start.
    #[error("{} does not start", path.display())]
    NotStarted {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It starts, but is something else.
    #[error("`{} version` says neither Terraform nor OpenTofu but: {said}", path.display())]
    Another {
        /// The program.
        path: PathBuf,
        /// The beginning of what it printed.
        said: String,
    },
    /// The list of engines cannot be read.
    #[error("the list of engines {} cannot be read: {why}", path.display())]
    NoList {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A Terraform or OpenTofu executable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Who makes it.
    pub product: Product,
    /// Which release it is.
    pub version: Version,
    /// The program.
    pub path: PathBuf,
}

/// The part of a list of engines that a test reads.
#[derive(Deserialize)]
struct List {
    found: Vec<Engine>,
}

impl Engine {
    /// Asks a program what it is.
    ///
    /// # Errors
    /// It does not start, or is no engine.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, NoEngine> {
        let path = path.into();
        let mut command = Command::new(&path);
        without_settings(&mut command).arg("version");
        let output = match command.output() {
            Ok(output) => output,
            Err(source) => return Err(NoEngine::NotStarted { path, source }),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let said = || text.trim().chars().take(100).collect();
        // Warnings about the machine may come first.
        let Some((name, version)) = text.lines().find_map(|line| line.split_once(" v")) else {
            return Err(NoEngine::Another { said: said(), path });
        };
        let product = match name {
            "Terraform" => Product::Terraform,
            "OpenTofu" => Product::OpenTofu,
            _ => return Err(NoEngine::Another { said: said(), path }),
        };
        match version.parse() {
            Ok(version) => Ok(Self {
                product,
                version,
                path,
            }),
            Err(_) => Err(NoEngine::Another { said: said(), path }),
        }
    }

    /// The engines that a list names: JSON, `{"found": [{"product": "terraform", "version": "1.11.4", "path": "…"}]}`.
    ///
    /// # Errors
    /// The file does not exist or is no such list.
    pub fn listed(file: &Path) -> Result<Vec<Self>, NoEngine> {
        let no_list = |why: String| NoEngine::NoList {
            path: file.to_owned(),
            why,
        };
        let text = std::fs::read(file).map_err(|e| no_list(e.to_string()))?;
        let list: List = serde_json::from_slice(&text).map_err(|e| no_list(e.to_string()))?;
        Ok(list.found)
    }

    /// Every `terraform` and `tofu` that the shell would find: at most one of each.
    #[must_use]
    pub fn on_path() -> Vec<Self> {
        let Some(path) = std::env::var_os("PATH") else {
            return Vec::new();
        };
        let first = |product: Product| {
            std::env::split_paths(&path)
                .map(|dir| dir.join(product.command()))
                .filter(|candidate| candidate.is_file())
                .find_map(|candidate| Self::at(candidate).ok())
        };
        [Product::Terraform, Product::OpenTofu]
            .into_iter()
            .filter_map(first)
            .collect()
    }

    /// Its name in tests and files: `terraform-1.11.4`, `tofu-1.12.6`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}", self.product.command(), self.version)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.product, self.version)
    }
}

/// Takes the settings of the person who runs the tests out of the environment of an engine.
pub(super) fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("TF_")) {
            command.env_remove(name);
        }
    }
    command.env("CHECKPOINT_DISABLE", "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let read = |text: &str| text.parse::<Version>().map(|v| v.to_string());
        assert_eq!(read("1.11.4"), Ok("1.11.4".to_owned()));
        assert_eq!(read("v1.16.0-rc1"), Ok("1.16.0".to_owned()));
        for wrong in ["", "1.2", "1.2.3.4", "1.x.3"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(Version::new(1, 9) < Version::new(1, 10));
    }

    #[test]
    fn what_is_no_engine_says_so() {
        let nothing = Engine::at("/nonexistent/terraform").unwrap_err();
        assert_eq!(nothing.to_string(), "/nonexistent/terraform does not start");
        let other = Engine::at(if cfg!(windows) {
            "hostname"
        } else {
            "/bin/true"
        })
        .unwrap_err();
        assert!(other.to_string().contains("neither Terraform nor OpenTofu"));
    }
}
