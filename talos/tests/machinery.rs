//! Our answers beside those of Talos's own machinery, over the corpora of `acctest/oracle`.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

mod cases;
mod corpus;

use cases::Case;
use corpus::{Exceptions, check, folder, goldens};
use talos::version::Generator;

#[test]
fn answers_of_1_14() {
    let read = |name: &str| std::fs::read_to_string(folder(Generator::V1_14).join(name)).unwrap();
    let exceptions = Exceptions::read(&read("exceptions.txt"));
    let goldens = goldens(&read("goldens.jsonl"));
    let cases = read("cases.jsonl");
    let seen = check(
        Generator::V1_14,
        &cases,
        &goldens,
        &exceptions,
        |_: &Case| true,
    );
    assert!(seen > 150, "{seen}");
}

#[test]
fn answers_of_1_13() {
    let folder = folder(Generator::V1_13);
    let mut cases = String::new();
    let mut answers = String::new();
    for entry in std::fs::read_dir(folder.join("cases")).unwrap() {
        let path = entry.unwrap().path();
        let golden = folder.join("goldens").join(path.file_name().unwrap());
        cases.push_str(&std::fs::read_to_string(&path).unwrap());
        answers.push_str(&std::fs::read_to_string(golden).unwrap());
    }
    let exceptions = std::fs::read_to_string(folder.join("exceptions.txt")).unwrap();
    let exceptions = Exceptions::read(&exceptions);
    let goldens = goldens(&answers);
    let seen = check(
        Generator::V1_13,
        &cases,
        &goldens,
        &exceptions,
        |_: &Case| true,
    );
    assert!(seen > 800, "{seen}");
}

/// The list of rules without a case is true: each is a rule here, and no answer of the machinery holds its words.
#[test]
fn rules_that_nothing_proves_are_listed() {
    let list = std::fs::read_to_string(folder(Generator::V1_14).join("unproven.txt")).unwrap();
    let mut answers = String::new();
    let of_13 = std::fs::read_dir(folder(Generator::V1_13).join("goldens")).unwrap();
    let of_13 = of_13.map(|entry| entry.unwrap().path());
    let of_14 = [folder(Generator::V1_14).join("goldens.jsonl")];
    for path in of_13.chain(of_14) {
        answers.push_str(&std::fs::read_to_string(path).unwrap());
    }
    let rules = |file: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/validate");
        std::fs::read_to_string(folder.join(format!("{file}.rs"))).unwrap()
    };
    for line in list.lines().filter(|l| !l.starts_with('#')) {
        let (file, words) = line.split_once(": ").unwrap();
        assert!(
            rules(file).contains(&words.replace('"', "\\\"")),
            "{file} has no {words}"
        );
        if !words.contains('{') {
            assert!(!answers.contains(words), "there is a case for {words}");
        }
    }
}
