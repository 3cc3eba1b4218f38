//! Our answers beside those of Talos's own machinery, over the corpora of `acctest/oracle`.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

mod cases;
mod corpus;

use cases::Case;
use corpus::{Exceptions, check, folder, goldens};
use talos::version::Generator;

#[test]
fn answers_of_1_14() {
    let generator = Generator::V1_14;
    let read = |name: &str| std::fs::read_to_string(folder(generator).join(name)).unwrap();
    let exceptions = Exceptions::read(&read("exceptions.txt"));
    let which = |_: &Case| true;
    let goldens = goldens(&read("goldens.jsonl"));
    let seen = check(
        generator,
        &read("cases.jsonl"),
        &goldens,
        &exceptions,
        which,
    );
    assert!(seen > 280, "{seen}");
}
