//! The support table of the crate's README: feature × engine, written from a run of every story and compared with it.
//!
//! `METAL_SUPPORT=write cargo test -p tfplugin --test terraform` writes it; a run without filters compares the columns of its engines.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tfplugin::kit::Engine;

use crate::matrix::{Feature, Story};

const BEGIN: &str = "<!-- support table: begin -->";
const END: &str = "<!-- support table: end -->";

/// The stories that passed, by engine.
#[derive(Default)]
pub(crate) struct Seen(Mutex<BTreeSet<(String, &'static str)>>);

impl Seen {
    pub(crate) fn passed(&self, engine: &Engine, story: &Story) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((engine.id(), story.name));
    }

    fn has(&self, engine: &Engine, story: &Story) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.contains(&(engine.id(), story.name))
    }

    /// What the table says about a feature of an engine.
    fn cell(&self, engine: &Engine, feature: Feature, stories: &[&Story]) -> &'static str {
        let mut shown = stories.iter().filter(|s| s.feature == feature).peekable();
        if shown.peek().is_none() {
            return "untested";
        }
        let mut run = shown.filter(|s| s.on(engine).is_some());
        match (run.all(|s| self.has(engine, s)), feature.is_in(engine)) {
            (true, true) => "✓",
            (true, false) => "–",
            (false, _) => "✗",
        }
    }
}

/// A table of Markdown: the head, then a row per feature.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table(Vec<Vec<String>>);

impl Table {
    fn of_run(engines: &[Engine], stories: &[&'static Story], seen: &Seen) -> Self {
        let mut head = vec!["feature".to_owned()];
        head.extend(engines.iter().map(column));
        let mut rows = vec![head];
        for feature in Feature::ALL {
            let mut row = vec![feature.title().to_owned()];
            row.extend(
                engines
                    .iter()
                    .map(|e| seen.cell(e, feature, stories).to_owned()),
            );
            rows.push(row);
        }
        Self(rows)
    }

    fn committed() -> Self {
        let text = fs::read_to_string(readme()).unwrap();
        let (_, rest) = text.split_once(BEGIN).expect("the README has a table");
        let (table, _) = rest.split_once(END).expect("the table ends");
        let cells = |line: &str| {
            let inner = line.trim().trim_matches('|');
            inner.split('|').map(|c| c.trim().to_owned()).collect()
        };
        let rows = table
            .lines()
            .filter(|l| l.starts_with("| ") && !l.starts_with("| ---"));
        Self(rows.map(cells).collect())
    }

    fn write(&self) {
        let mut text = String::from("\n");
        for (i, row) in self.0.iter().enumerate() {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
            if i == 0 {
                text.push_str(&format!("|{}\n", " --- |".repeat(row.len())));
            }
        }
        let old = fs::read_to_string(readme()).unwrap();
        let (before, rest) = old.split_once(BEGIN).expect("the README has a table");
        let (_, after) = rest.split_once(END).expect("the table ends");
        fs::write(readme(), format!("{before}{BEGIN}\n{text}\n{END}{after}")).unwrap();
    }

    /// The cell of a feature and an engine.
    fn at(&self, feature: &str, engine: &str) -> Option<&str> {
        let column = self.0.first()?.iter().position(|c| c == engine)?;
        let row = self.0.iter().find(|r| r[0] == feature)?;
        row.get(column).map(String::as_str)
    }
}

/// One column per maker and minor: patch releases share it.
fn column(engine: &Engine) -> String {
    let v = engine.version;
    format!("{} {}.{}", engine.product, v.major, v.minor)
}

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// Is this the run that writes the table?
fn writes() -> bool {
    std::env::var_os("METAL_SUPPORT").is_some_and(|v| v == "write")
}

/// The committed table has a row for every feature of the source, and no other.
pub(crate) fn check_rows() {
    if writes() {
        return;
    }
    let table = Table::committed();
    let rows: Vec<_> = table.0.iter().skip(1).map(|r| r[0].as_str()).collect();
    assert_eq!(rows, Feature::ALL.map(Feature::title));
}

/// Compares the committed table with what was seen, or writes it.
pub(crate) fn compare(
    engines: &[Engine],
    stories: impl Iterator<Item = &'static Story>,
    seen: &Seen,
) -> Result<(), String> {
    let stories: Vec<_> = stories.collect();
    let run = Table::of_run(engines, &stories, seen);
    if writes() {
        run.write();
        return Ok(());
    }
    let committed = Table::committed();
    let mut different = Vec::new();
    for engine in engines.iter().map(column) {
        for feature in Feature::ALL.map(Feature::title) {
            // An engine of this machine only has no column.
            let Some(said) = committed.at(feature, &engine) else {
                continue;
            };
            let was = run.at(feature, &engine).unwrap_or_default();
            if said != was {
                different.push(format!("{feature} on {engine}: said {said}, was {was}"));
            }
        }
    }
    if different.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the support table in provider/tfplugin/README.md is not what was seen (METAL_SUPPORT=write writes it):\n  {}",
        different.join("\n  ")
    ))
}
