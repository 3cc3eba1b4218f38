//! The committed corpora of `acctest/oracle`: cases, the answers of Talos's machinery, and when an answer equals them.

mod refusals;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use talos::version::Generator;
use talos::yaml::{Style, emit, parse_documents};

use crate::cases::{Answer, Case, Op};

/// The folder of a generator's corpus.
pub(crate) fn folder(generator: Generator) -> PathBuf {
    oracle().join(generator.to_string())
}

/// The folder of all corpora and of the program that answers for 1.13.
pub(crate) fn oracle() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../acctest/oracle")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    id: String,
    out: Option<String>,
    err: Option<String>,
}

/// Answers by case.
pub(crate) fn goldens(text: &str) -> BTreeMap<String, Answer> {
    let golden = |line: &str| {
        let golden: Golden = serde_json::from_str(line).unwrap();
        let answer = match (golden.out, golden.err) {
            (Some(out), None) => Ok(out),
            (None, Some(err)) => Err(err),
            other => panic!("{}: {other:?}", golden.id),
        };
        (golden.id, answer)
    };
    text.lines().map(golden).collect()
}

/// Answers a case; bundles come from the corpus.
pub(crate) fn ours(case: &Case, generator: Generator) -> Answer {
    let bundle = |name: &str| {
        let path = folder(generator).join(format!("bundles/{name}.yaml"));
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    case.answer(generator, &bundle)
}

/// The cases that may differ, with the reason.
#[derive(Default)]
pub(crate) struct Exceptions(BTreeMap<String, String>);

impl Exceptions {
    /// `ID reason` on each line; `#` starts a comment.
    pub(crate) fn read(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'));
        let pairs = lines.map(|line| {
            let (id, reason) = line.split_once(' ').unwrap_or((line, ""));
            assert!(reason.len() > 10, "the exception {id} needs a reason");
            (id.to_owned(), reason.to_owned())
        });
        Self(pairs.collect())
    }
}

/// Compares every case of a corpus and fails with all differences; an exception that does not differ is one too.
pub(crate) fn check(
    generator: Generator,
    cases: &str,
    goldens: &BTreeMap<String, Answer>,
    exceptions: &Exceptions,
    which: impl Fn(&Case) -> bool,
) -> usize {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for line in cases.lines() {
        let case = Case::parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        if !which(&case) {
            continue;
        }
        let theirs = goldens.get(&case.id);
        let theirs = theirs.unwrap_or_else(|| panic!("{} has no golden", case.id));
        assert!(seen.insert(case.id.clone()), "{} is there twice", case.id);
        let difference = difference(&case, &ours(&case, generator), theirs);
        match (difference, exceptions.0.contains_key(&case.id)) {
            (Some(difference), false) => wrong.push(format!("{}: {difference}", case.id)),
            (None, true) => wrong.push(format!("{}: equal, and no exception any more", case.id)),
            (Some(_), true) | (None, false) => {}
        }
    }
    let gone = exceptions.0.keys().filter(|id| !seen.contains(*id));
    wrong.extend(gone.map(|id| format!("{id}: an exception without a case")));
    let (count, all) = (wrong.len(), wrong.join("\n"));
    assert!(wrong.is_empty(), "{count} of {} differ:\n{all}", seen.len());
    seen.len()
}

/// How an answer differs from the machinery's, by the rules of the corpus; nothing where it is equal.
pub(crate) fn difference(case: &Case, ours: &Answer, theirs: &Answer) -> Option<String> {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if case.op == Op::Validate => {
            let (ours, theirs) = (messages(ours), messages(theirs));
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
                a.difference(b).cloned().collect::<Vec<_>>().join(" | ")
            };
            (ours != theirs).then(|| {
                let (ours, theirs) = (only(&ours, &theirs), only(&theirs, &ours));
                format!("\n  ours only: {ours}\n  theirs only: {theirs}")
            })
        }
        (Ok(ours), Ok(theirs)) => first_difference(ours, theirs)
            .filter(|_| first_difference(ours, &without_stray(theirs)).is_some()),
        // Where the machinery panics, any clean error will do.
        (Err(_), Err(theirs)) if theirs.starts_with("panic: ") => None,
        (Err(ours), Err(theirs)) => {
            let same = match place_in_library_text(theirs) {
                Some(lines) => has_place(ours, &lines),
                None => same_list(ours, theirs) || same_unknown_keys(ours, theirs),
            };
            let same = same || refusals::agree(case, ours, theirs);
            (!same).then(|| format!("\n  ours   {ours:?}\n  theirs {theirs:?}"))
        }
        (Ok(_), Err(theirs)) => Some(format!("accepted; theirs: {theirs:?}")),
        (Err(ours), Ok(_)) => Some(format!("refused: {ours}")),
    }
}

/// Without the empty document that the machinery appends where a patch deletes what is not there, a known defect.
fn without_stray(text: &str) -> String {
    let text = text.strip_prefix("{}\n---\n").unwrap_or(text);
    text.replace("---\n{}\n", "")
}

/// The messages of a verdict, whatever the layout of several in one.
fn messages(verdict: &str) -> BTreeSet<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Verdict {
        warnings: Option<Vec<String>>,
        error: Option<String>,
    }
    let verdict: Verdict = serde_json::from_str(verdict).unwrap();
    let warnings = verdict.warnings.unwrap_or_default().into_iter();
    let warnings = warnings.map(|w| format!("warning: {w}"));
    let errors = list(verdict.error.as_deref().unwrap_or_default());
    warnings.chain(errors).collect()
}

/// The items of several errors in one text.
fn list(error: &str) -> BTreeSet<String> {
    let item = |line: &str| line.trim().trim_start_matches("* ").to_owned();
    let is_head = |line: &String| line.ends_with("occurred:") && line.contains(" error");
    let items = error.lines().map(item);
    let items = items.filter(|l| !l.is_empty() && !is_head(l));
    items.map(|line| refusals::without_chance(&line)).collect()
}

fn same_list(ours: &str, theirs: &str) -> bool {
    ours == theirs || (theirs.contains("occurred:") && list(ours) == list(theirs))
}

/// What the user wrote is repeated below the message; the quotes that stood there are not kept here.
fn same_unknown_keys(ours: &str, theirs: &str) -> bool {
    let parts = |text: &str| {
        let (head, body) = text.split_once("unknown keys found during decoding:\n")?;
        let trees = parse_documents(body).ok()?;
        let plain = trees.iter().map(|tree| emit(tree, Style::V1_13));
        Some((head.to_owned(), plain.collect::<Vec<_>>()))
    };
    parts(ours).is_some_and(|ours| parts(theirs) == Some(ours))
}

/// Where the text is one of Go's libraries and not the machinery's own: the lines that it may mean.
fn place_in_library_text(theirs: &str) -> Option<Vec<usize>> {
    let marks = [
        "yaml:",
        "go-yaml",
        "netip.",
        "strconv.",
        "parse \"",
        "base64 data",
        "EOF",
        "x509:",
        "json: ",
        "JSON input",
    ];
    if !marks.iter().any(|m| theirs.contains(m)) {
        return None;
    }
    // What is told about the values themselves is at one line; before it stands where the document begins.
    let told = theirs.rsplit("construct errors:").next().unwrap_or(theirs);
    let told = told.replace("(line ", "(document ");
    let mut lines: Vec<usize> = numbers(&told, "line ")
        .chain(numbers(&told, "at L"))
        .collect();
    // A parser gives up where something begins, or a line later where it still has not ended.
    if told.contains("while parsing") || told.contains("while scanning") {
        lines.extend(lines.clone().iter().map(|l| l + 1));
    }
    Some(lines)
}

/// The numbers after each of these words.
pub(crate) fn numbers(text: &str, word: &str) -> impl Iterator<Item = usize> {
    text.split(word).skip(1).filter_map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    })
}

fn has_place(ours: &str, lines: &[usize]) -> bool {
    lines.is_empty() || numbers(ours, "line ").any(|l| lines.contains(&l))
}

/// The first line that differs, with its neighbours.
fn first_difference(ours: &str, theirs: &str) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let mut pairs = ours.lines().zip(theirs.lines()).enumerate();
    let at = pairs.find(|(_, (a, b))| a != b).map(|(i, _)| i);
    let at = at.unwrap_or_else(|| ours.lines().count().min(theirs.lines().count()));
    let show = |text: &str| {
        let lines = text.lines().skip(at.saturating_sub(1)).take(4);
        lines.collect::<Vec<_>>().join("\n    ")
    };
    let (ours, theirs) = (show(ours), show(theirs));
    Some(format!(
        "line {}\n  ours\n    {ours}\n  theirs\n    {theirs}",
        at + 1
    ))
}
