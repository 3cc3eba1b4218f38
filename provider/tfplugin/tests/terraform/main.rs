//! Real engines drive the toy provider: every story on every Terraform and OpenTofu that is here and has the story's feature.
//!
//! A test is called `ENGINE::STORY`: `cargo test -p tfplugin --test terraform -- tofu-1.12.6`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../toy/engines.rs"]
mod engines;
#[path = "../toy/mod.rs"]
mod toy;
#[path = "../../examples/toy/main.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is for the example")]
mod toy_provider;

mod actions;
mod attached;
mod blocks;
mod config;
mod declared;
mod endings;
mod ephemeral;
mod functions;
mod identity;
mod life;
mod list;
mod looked_up;
mod matrix;
mod moving;
mod rig;
mod support;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tfplugin::kit::Engine;

use matrix::Story;
use rig::Rig;
use support::Seen;

/// The stories of every file.
fn stories() -> impl Iterator<Item = &'static Story> {
    [
        life::STORIES,
        looked_up::STORIES,
        config::STORIES,
        declared::STORIES,
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
    let engines = engines::engines("no engine drove the toy");
    let seen = Arc::new(Seen::default());
    let mut trials = trials(&engines, &seen);
    trials.push(Trial::test(
        "support_table_names_what_the_source_has",
        || {
            support::check_rows();
            Ok(())
        },
    ));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let whole = conclusion.num_filtered_out == 0 && !arguments.list;
    let ended = conclusion.exit_code();
    match whole.then(|| support::compare(&engines, stories(), &seen)) {
        Some(Err(why)) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
        Some(Ok(())) | None => ended,
    }
}

fn trials(engines: &[Engine], seen: &Arc<Seen>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in engines {
        for story in stories() {
            let Some(run) = story.on(engine) else {
                continue;
            };
            let name = format!("{}::{}", engine.id(), story.name);
            let (engine, seen) = (engine.clone(), Arc::clone(seen));
            trials.push(Trial::test(name, move || {
                run(&Rig::new(&engine));
                seen.passed(&engine, story);
                Ok(())
            }));
        }
    }
    trials
}
