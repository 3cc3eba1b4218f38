//! Random cases of the case format, from a seed. Here: numbers, and texts full of traps.
//!
//! `shape` makes values of what the schema's table says a key may hold, `write` puts them down as people and programs
//! write YAML, `patch` makes patches of them, and `case` whole cases of every operation. What is left out because the
//! machinery itself loses it is said where it is left out.

mod case;
mod file;
mod patch;
mod shape;
mod write;

use serde_json::Value as Json;

pub(crate) use case::Corpus;
pub(crate) use shape::Shapes;

/// A generator of numbers that is the same everywhere (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

const WORDS: [&str; 56] = [
    "yes",
    "no",
    "on",
    "off",
    "y",
    "N",
    "true",
    "False",
    "null",
    "~",
    "",
    "0",
    "007",
    "0x1F",
    "0b11",
    "0o17",
    "1_000",
    "+1",
    "-1",
    "1.",
    ".5",
    "1e3",
    ".inf",
    "-.INF",
    ".nan",
    "12:30",
    "1:2:3.4",
    "12:60",
    "<<",
    "=",
    "2001-1-1",
    "2001-01-01T00:00:00Z",
    "- a",
    "-",
    "? a",
    "?",
    "a: b",
    "a:",
    ":a",
    "#a",
    "a #b",
    " a",
    "a ",
    "---",
    "...",
    "{a}",
    "[a]",
    "&a",
    "*a",
    "!a",
    "|",
    ">",
    "%a",
    "@a",
    "`a",
    "node-1.example.org",
];

// Not U+2028: the library breaks lines there and does not find its way back, so that no text survives two readings.
const TRAPS: [char; 47] = [
    'a',
    'b',
    'Z',
    '0',
    '1',
    '9',
    ' ',
    ' ',
    ':',
    '#',
    '-',
    '\'',
    '"',
    '\n',
    '\t',
    '{',
    '}',
    '[',
    ']',
    ',',
    '&',
    '*',
    '!',
    '|',
    '>',
    '%',
    '@',
    '`',
    '_',
    '.',
    '+',
    '~',
    '=',
    '<',
    '?',
    '/',
    '\\',
    'é',
    '日',
    '\u{a0}',
    '\u{85}',
    '\u{7f}',
    '\u{feff}',
    '\u{1f600}',
    '\r',
    '\u{7}',
    'e',
];

impl Random {
    fn text(&mut self) -> String {
        match self.below(4) {
            0 => (*self.one_of(&WORDS)).to_owned(),
            1 => format!("{}{}", self.one_of(&WORDS), self.one_of(&WORDS)),
            _ => {
                let length = self.below(12);
                (0..length).map(|_| *self.one_of(&TRAPS)).collect()
            }
        }
    }

    fn key(&mut self) -> String {
        let length = 1 + self.below(6);
        let text: String = (0..length).map(|_| *self.one_of(&TRAPS)).collect();
        // Below a key of several lines, the library forgets to quote the first item of a list.
        let text = text.replace(['\n', '\r', '\u{85}', '\u{2028}'], "");
        // A merge key, and one that says what a document is, are no keys of a map.
        format!("k{text}")
    }

    fn free_form(&mut self, depth: usize) -> Json {
        match self.below(if depth > 3 { 5 } else { 8 }) {
            0 => Json::Null,
            1 => self.chance(50).into(),
            2 => i64::try_from(self.below(1_000_000_000)).unwrap().into(),
            3 => (f64::from(u32::try_from(self.below(1_000_000)).unwrap()) / 64.0).into(),
            4 => self.text().into(),
            5 => (0..self.below(4))
                .map(|_| self.free_form(depth + 1))
                .collect(),
            _ => {
                let entries = (0..self.below(4)).map(|_| (self.key(), self.free_form(depth + 1)));
                Json::Object(entries.collect())
            }
        }
    }
}

/// JSON as YAML reads it too: what YAML takes for line ends and marks is escaped.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}
