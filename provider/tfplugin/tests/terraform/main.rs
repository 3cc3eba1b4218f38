//! Real engines drive the toy provider: every story on every Terraform and OpenTofu that is here and has the story's feature.
//!
//! The engines come from the list that `METAL_ENGINES` names (default: `target/engines/engines.json`, which `scripts/test --engines`
//! writes), else from `METAL_ENGINE`, else from PATH. A test is called `ENGINE::STORY`: `cargo test -p tfplugin --test terraform -- tofu-1.12.6`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../toy/mod.rs"]
mod toy;

mod actions;
mod attached;
mod blocks;
mod config;
mod endings;
mod ephemeral;
mod functions;
mod identity;
mod life;
mod list;
mod matrix;
mod moving;
mod rig;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use tfplugin::kit::Engine;

use matrix::Story;
use rig::Rig;

/// The stories of every file.
fn stories() -> impl Iterator<Item = &'static Story> {
    [
        life::STORIES,
        config::STORIES,
        endings::STORIES,
        attached::STORIES,
        functions::STORIES,
        ephemeral::STORIES,
        actions::STORIES,
        identity::STORIES,
        moving::STORIES,
        list::STORIES,
        blocks::STORIES,
    ]
    .into_iter()
    .flatten()
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let engines = engines();
    if engines.is_empty() {
        eprintln!(
            "SKIPPED: no engine drove the toy: neither {} nor METAL_ENGINE nor `terraform` nor `tofu` on PATH",
            default_list().display()
        );
    }
    libtest_mimic::run(&arguments, trials(&engines)).exit_code()
}

fn trials(engines: &[Engine]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in engines {
        for story in stories() {
            let Some(run) = story.on(engine) else {
                continue;
            };
            let name = format!("{}::{}", engine.id(), story.name);
            let engine = engine.clone();
            trials.push(Trial::test(name, move || {
                run(&Rig::new(&engine));
                Ok(())
            }));
        }
    }
    trials
}

/// The engines of this run.
fn engines() -> Vec<Engine> {
    if let Some(list) = std::env::var_os("METAL_ENGINES") {
        return Engine::listed(Path::new(&list)).unwrap();
    }
    if default_list().is_file() {
        return Engine::listed(&default_list()).unwrap();
    }
    if let Some(engine) = std::env::var_os("METAL_ENGINE") {
        return vec![Engine::at(engine).unwrap()];
    }
    Engine::on_path()
}

/// `target/engines/engines.json`.
fn default_list() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("it is below the target directory")
        .join("engines/engines.json")
}
