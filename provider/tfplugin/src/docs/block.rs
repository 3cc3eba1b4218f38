//! The schema of a block: lists of attributes, the required ones first, nested ones in sections of their own.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use serde_json::Value as Json;

use super::sorted;

/// A nested block or attribute that gets its own section.
struct Section<'a> {
    path: String,
    members: Members<'a>,
}

/// What is listed in one place: attributes, and blocks of the older kind.
#[derive(Default)]
struct Members<'a> {
    attributes: BTreeMap<&'a str, &'a Json>,
    blocks: BTreeMap<&'a str, &'a Json>,
}

impl<'a> Members<'a> {
    fn of(json: &'a Json) -> Self {
        Self {
            attributes: sorted(&json["attributes"]),
            blocks: sorted(&json["block_types"]),
        }
    }
}

/// Writes the section `## Schema`.
pub(super) fn schema(out: &mut String, block: &Json) {
    out.push_str("\n## Schema\n");
    members(out, block, "");
}

/// Lists the members of a block that is at the path `at`, and of all below.
pub(super) fn members(out: &mut String, block: &Json, at: &str) {
    let mut below = VecDeque::new();
    lists(out, "### ", &Members::of(block), at, &mut below);
    while let Some(section) = below.pop_front() {
        let _ = write!(
            out,
            "\n<a id=\"{}\"></a>\n### Nested Schema for `{}`\n",
            anchor(&section.path),
            section.path
        );
        let mut deeper = VecDeque::new();
        lists(out, "", &section.members, &section.path, &mut deeper);
        // Depth first: a section follows the one that names it.
        deeper.append(&mut below);
        below = deeper;
    }
}

/// Lists the attributes of a resource's identity.
pub(super) fn identity(out: &mut String, attributes: &BTreeMap<&str, &Json>) {
    for (title, key) in [
        ("Required", "required_for_import"),
        ("Optional", "optional_for_import"),
    ] {
        let group: Vec<_> = attributes.iter().filter(|(_, a)| flag(a, key)).collect();
        if group.is_empty() {
            continue;
        }
        let _ = write!(out, "\n{title}:\n\n");
        for (name, a) in group {
            let line = format!("- `{name}` ({}) {}", plain_type(&a["type"]), described(a));
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

fn lists<'a>(
    out: &mut String,
    heading: &str,
    members: &Members<'a>,
    at: &str,
    below: &mut VecDeque<Section<'a>>,
) {
    for title in ["Required", "Optional", "Read-Only"] {
        let attributes = members
            .attributes
            .iter()
            .filter(|(_, a)| presence(a) == title);
        let mut lines: Vec<_> = attributes
            .map(|(name, a)| (*name, attribute(name, a, at, below)))
            .collect();
        let blocks = members
            .blocks
            .iter()
            .filter(|(_, b)| block_presence(b) == title);
        lines.extend(blocks.map(|(name, b)| (*name, nested_block(name, b, at, below))));
        lines.sort();
        if lines.is_empty() {
            continue;
        }
        let _ = match heading {
            "" => write!(out, "\n{title}:\n\n"),
            _ => write!(out, "\n{heading}{title}\n\n"),
        };
        for (_, line) in lines {
            let _ = writeln!(out, "{line}");
        }
    }
}

fn attribute<'a>(name: &str, a: &'a Json, at: &str, below: &mut VecDeque<Section<'a>>) -> String {
    let mut notes = vec![type_of(a)];
    for (key, note) in [
        ("sensitive", "Sensitive"),
        ("write_only", "Write-only"),
        ("deprecated", "Deprecated"),
    ] {
        if flag(a, key) {
            notes.push(note.to_owned());
        }
    }
    let mut line = format!("- `{name}` ({}) {}", notes.join(", "), described(a));
    let nested = &a["nested_type"];
    if nested.is_object() {
        let path = joined(at, name);
        let _ = write!(line, " (see [below](#{}))", anchor(&path));
        below.push_back(Section {
            path,
            members: Members::of(nested),
        });
    }
    line.trim_end().to_owned()
}

fn nested_block<'a>(
    name: &str,
    b: &'a Json,
    at: &str,
    below: &mut VecDeque<Section<'a>>,
) -> String {
    let mut notes = vec![match b["nesting_mode"].as_str() {
        Some("list") => "Block List".to_owned(),
        Some("set") => "Block Set".to_owned(),
        Some("map") => "Block Map".to_owned(),
        Some(_) | None => "Block".to_owned(),
    }];
    for (key, note) in [("min_items", "Min"), ("max_items", "Max")] {
        if let Some(n) = b[key].as_u64().filter(|n| *n > 0) {
            notes.push(format!("{note}: {n}"));
        }
    }
    let path = joined(at, name);
    let line = format!(
        "- `{name}` ({}) {} (see [below](#{}))",
        notes.join(", "),
        described(&b["block"]),
        anchor(&path)
    );
    below.push_back(Section {
        path,
        members: Members::of(&b["block"]),
    });
    line
}

fn joined(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

fn anchor(path: &str) -> String {
    format!("nested--{}", path.replace('.', "--"))
}

/// In a list a description is one paragraph.
fn described(a: &Json) -> String {
    let text = a["description"].as_str().unwrap_or_default();
    text.replace("\n\n", " ").replace('\n', " ")
}

fn flag(a: &Json, key: &str) -> bool {
    a[key].as_bool() == Some(true)
}

fn presence(a: &Json) -> &'static str {
    if flag(a, "required") {
        "Required"
    } else if flag(a, "optional") {
        "Optional"
    } else {
        "Read-Only"
    }
}

fn block_presence(b: &Json) -> &'static str {
    if b["min_items"].as_u64().is_some_and(|n| n > 0) {
        "Required"
    } else {
        "Optional"
    }
}

fn type_of(a: &Json) -> String {
    let nested = match a["nested_type"]["nesting_mode"].as_str() {
        Some("single") => "Attributes",
        Some("list") => "Attributes List",
        Some("set") => "Attributes Set",
        Some("map") => "Attributes Map",
        Some(_) | None => return plain_type(&a["type"]),
    };
    nested.to_owned()
}

/// A type in words: `List of String`.
pub(super) fn plain_type(t: &Json) -> String {
    match (t.as_str(), t.as_array().map(Vec::as_slice)) {
        (Some("bool"), _) => "Boolean".to_owned(),
        (Some(word), _) => capital(word),
        (None, Some([kind, Json::Object(_) | Json::Array(_)]))
            if matches!(kind.as_str(), Some("object" | "tuple")) =>
        {
            capital(kind.as_str().unwrap_or_default())
        }
        (None, Some([kind, inner, ..])) => format!(
            "{} of {}",
            capital(kind.as_str().unwrap_or_default()),
            plain_type(inner)
        ),
        _ => "Unknown".to_owned(),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + letters.as_str()
    })
}
