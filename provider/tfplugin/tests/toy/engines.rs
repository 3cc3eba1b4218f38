//! The engines of this run: those of the list that `METAL_ENGINES` names (default: `target/engines/engines.json`, which
//! `scripts/test --engines` writes), else that of `METAL_ENGINE`, else those on PATH.

use std::path::{Path, PathBuf};

use tfplugin::kit::Engine;

/// The engines of this run; none says on standard error what was looked for, and what does not happen therefore.
pub(crate) fn engines(otherwise: &str) -> Vec<Engine> {
    let found = found();
    if found.is_empty() {
        eprintln!(
            "SKIPPED: {otherwise}: neither {} nor METAL_ENGINE nor `terraform` nor `tofu` on PATH",
            default_list().display()
        );
    }
    found
}

fn found() -> Vec<Engine> {
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
