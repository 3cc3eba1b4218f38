//! The same cases through Talos's own machinery, where Go and its modules are at hand; a loud skip where they are not.
//!
//! `METAL_FULL=1` runs 20,000 random cases instead of 100; `METAL_SEED` chooses others.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its data fails")]
#![expect(clippy::print_stdout, reason = "a skip is said aloud")]

mod cases;
#[expect(
    dead_code,
    reason = "the comparison with the committed answers is machinery.rs's"
)]
mod corpus;
#[path = "corpus/random.rs"]
mod random;

use std::path::{Path, PathBuf};
use std::process::Command;

use cases::Case;
use corpus::{difference, folder, goldens, oracle, ours};
use random::Random;
use talos::version::Generator;

const GENERATOR: Generator = Generator::V1_13;

/// Builds one of the oracle's programs; nothing where that is not possible here.
fn program(name: &str, module: &Path) -> Option<PathBuf> {
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("oracle-{name}"));
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(module)
        .output();
    match built {
        Ok(out) if out.status.success() => Some(binary),
        Ok(out) => {
            println!("SKIPPED: {name}: {}", String::from_utf8_lossy(&out.stderr));
            None
        }
        Err(error) => {
            println!("SKIPPED: {name}: no go: {error}");
            None
        }
    }
}

fn answers(program: &Path, cases: &Path) -> String {
    let out = Command::new(program)
        .arg("answers")
        .arg(cases)
        .arg(folder(GENERATOR).join("bundles"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {error}", program.display());
    String::from_utf8(out.stdout).unwrap()
}

fn groups() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(GENERATOR).join("cases")).unwrap();
    let mut all: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn the_committed_answers_are_the_machinery_s() {
    let Some(machinery) = program("machinery", &oracle()) else {
        return;
    };
    let schematics = program("schematic", &oracle().join("schematic"));
    for group in groups() {
        let mut live = answers(&machinery, &group);
        if let Some(schematics) = &schematics {
            let out = Command::new(schematics).arg(&group).output().unwrap();
            live.push_str(&String::from_utf8(out.stdout).unwrap());
        }
        let name = group.file_name().unwrap();
        let committed = std::fs::read_to_string(folder(GENERATOR).join("goldens").join(name));
        let committed = goldens(&committed.unwrap());
        for (id, answer) in goldens(&live) {
            assert_eq!(committed.get(&id), Some(&answer), "{id}");
        }
    }
}

#[test]
fn random_cases_have_one_answer() {
    let Some(machinery) = program("random", &oracle()) else {
        return;
    };
    let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let count = if set("METAL_FULL").is_some() {
        20_000
    } else {
        100
    };
    let seed = set("METAL_SEED").map_or(1, |s| s.parse().unwrap());
    let patches = patches();
    let mut random = Random::new(seed);
    let cases: Vec<String> = (0..count).map(|i| random.case(i, &patches)).collect();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("random-cases.jsonl");
    std::fs::write(&file, cases.join("\n")).unwrap();
    let theirs = goldens(&answers(&machinery, &file));
    let mut compared = 0;
    for line in &cases {
        let case = Case::parse(line).unwrap();
        let theirs = &theirs[&case.id];
        // The machinery copies no dates and no maps with keys that are no texts: it panics, and we go on.
        if theirs.as_ref().is_err_and(|e| e.starts_with("panic: ")) {
            continue;
        }
        compared += 1;
        if let Some(difference) = difference(case.op, &ours(&case, GENERATOR), theirs) {
            panic!("seed {seed}, {}: {difference}\n{line}", case.id);
        }
    }
    assert!(compared * 10 > count * 9, "{compared} of {count} compared");
}

/// The strategic patches of the corpus that apply.
fn patches() -> Vec<String> {
    let cases = std::fs::read_to_string(folder(GENERATOR).join("cases/patch.jsonl")).unwrap();
    let mut all = Vec::new();
    for line in cases.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let patches = json["patches"].as_array().into_iter().flatten();
        all.extend(patches.map(|p| p.as_str().unwrap().to_owned()));
    }
    all
}
