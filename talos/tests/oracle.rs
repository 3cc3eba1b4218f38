//! The same cases through Talos's own machinery, where Go and its modules are at hand; a loud skip where they are not.
//!
//! `METAL_FULL=1` runs 20,000 random cases instead of 100, `METAL_CASES` another number; `METAL_SEED` chooses others.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its data fails")]
#![expect(clippy::print_stdout, reason = "a skip is said aloud")]

mod cases;
#[expect(
    dead_code,
    reason = "the comparison with the committed answers is machinery.rs's"
)]
mod corpus;
mod random;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cases::{Answer, Case, Op};
use corpus::{difference, folder, goldens, oracle, ours};
use random::{Corpus, Random, Shapes};
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
            live.push_str(&self::schematics(schematics, &group));
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
    let count = match (set("METAL_CASES"), set("METAL_FULL")) {
        (Some(count), _) => count.parse().unwrap(),
        (None, Some(_)) => 20_000,
        (None, None) => 100,
    };
    let seed = set("METAL_SEED").map_or(1, |s| s.parse().unwrap());
    let all = Corpus {
        shapes: Shapes::new(),
        patches: patches(),
        bundles: bundles(),
    };
    let mut random = Random::new(seed);
    let cases: Vec<String> = (0..count).map(|i| random.case(i, &all)).collect();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("random-cases.jsonl");
    std::fs::write(&file, cases.join("\n")).unwrap();
    let mut theirs = answers(&machinery, &file);
    match program("random-schematic", &oracle().join("schematic")) {
        Some(program) => theirs.push_str(&schematics(&program, &file)),
        None => println!("SKIPPED: schematics"),
    }
    let theirs = goldens(&theirs);
    let mut compared = BTreeMap::new();
    let mut wrong = Vec::new();
    let open = std::fs::read_to_string(folder(GENERATOR).join("open.txt")).unwrap();
    let known: Vec<&str> = match set("METAL_FULL") {
        Some(_) => Vec::new(),
        None => open.lines().filter(|l| !l.starts_with('#')).collect(),
    };
    let mut passed_over = 0;
    for line in &cases {
        let case = Case::parse(line).unwrap();
        let Some(theirs) = theirs.get(&case.id) else {
            assert_eq!(case.op, Op::Schematic, "{} has no answer", case.id);
            continue;
        };
        if theirs.as_ref().is_err_and(|e| is_defect(e)) {
            continue;
        }
        *compared.entry(format!("{:?}", case.op)).or_insert(0) += 1;
        let ours = ours(&case, GENERATOR);
        if theirs.is_ok() && is_stricter(case.op, &ours) {
            continue;
        }
        match difference(&case, &ours, theirs) {
            None => {}
            Some(difference) if known.iter().any(|k| difference.contains(k)) => passed_over += 1,
            Some(difference) => wrong.push(format!("{}: {difference}\n{line}\n", case.id)),
        }
    }
    println!("{passed_over} known differences (open.txt)");
    let sum: usize = compared.values().sum();
    println!(
        "seed {seed}: {sum} of {count} compared, {} differ: {compared:?}",
        wrong.len()
    );
    let shown = Path::new(env!("CARGO_TARGET_TMPDIR")).join("random-differences.txt");
    std::fs::write(&shown, wrong.join("\n")).unwrap();
    let first: String = wrong.iter().take(3).cloned().collect();
    assert!(
        wrong.is_empty(),
        "{} differ; all are in {}:\n{first}",
        wrong.len(),
        shown.display()
    );
    assert!(sum * 10 > count * 9, "{sum} of {count} compared");
}

/// Whether the machinery fails by a defect of its own, which is not to be copied. It copies no dates and no maps with
/// keys that are no texts, and panics; a deletion in a document that is not there becomes a document by itself, which
/// meets the next patch.
fn is_defect(error: &str) -> bool {
    error.starts_with("panic: ") || error.starts_with("merge type mismatch left *decoder.selector")
}

/// Whether this crate refuses on purpose what the machinery takes, because secrets would be lost: a file of them whose
/// indentation ends its document in the middle, and a config without the key that encrypts etcd.
fn is_stricter(op: Op, ours: &Answer) -> bool {
    let Err(ours) = ours else {
        return false;
    };
    match op {
        Op::Bundle | Op::BundleValidate => ours.contains("did not find expected <document start>"),
        Op::BundleFromConfig => ours.starts_with("the config lacks cluster.secretboxEncryption"),
        Op::Encode
        | Op::Validate
        | Op::Redact
        | Op::Contract
        | Op::Talosconfig
        | Op::TalosconfigLoad
        | Op::Schematic => false,
    }
}

fn schematics(program: &Path, cases: &Path) -> String {
    let out = Command::new(program).arg(cases).output().unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {error}", program.display());
    String::from_utf8(out.stdout).unwrap()
}

/// The patches of the corpus that are strategic or JSON.
fn patches() -> Vec<String> {
    let mut all = Vec::new();
    for group in ["patch", "json", "validate"] {
        let path = folder(GENERATOR).join(format!("cases/{group}.jsonl"));
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            let patches = json["patches"].as_array().into_iter().flatten();
            all.extend(patches.map(|p| p.as_str().unwrap().to_owned()));
        }
    }
    all
}

/// The files of secrets of the corpus.
fn bundles() -> Vec<String> {
    let entries = std::fs::read_dir(folder(GENERATOR).join("bundles")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    let texts = paths.iter().map(|p| std::fs::read_to_string(p).unwrap());
    texts.collect()
}
