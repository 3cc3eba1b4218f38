//! What the provider's code does not hold: the name of an attribute as a string, a type of the plugin protocol, a way around the SDK.
//!
//! The names come from the schemas that the provider gives the host, so that a new attribute is looked for from its first day. A name may
//! be written once, as a field of `model!`; everything else says `Model::field`, and the compiler sees to the rest.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use terraform_provider_metal::{Environment, Metal};
use tfplugin::Provider as _;
use tfplugin::schema::{Attribute, Shape};

/// Literals that are spelled like an attribute and are something else: the file below `src/`, the literal, and what it is.
const SOMETHING_ELSE: &[(&str, &str, &str)] = &[
    ("client.rs", "endpoint", "a field of what Debug prints"),
    ("ids.rs", "mac", "a word of import ids"),
    ("ids.rs", "uuid", "a word of import ids"),
    ("ids.rs", "serial", "a word of import ids"),
    ("ids.rs", "bmc", "a word of import ids"),
    ("ids.rs", "address", "a word of import ids"),
    ("resource/servers.rs", "servers", "what a message is about"),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every Rust file below `folder`, its path from there, sorted.
fn rust_files(folder: &Path) -> Vec<(String, String)> {
    let mut open = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let inside = path.strip_prefix(folder).unwrap();
                let name = inside.to_str().unwrap().replace('\\', "/");
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// Every name that a schema of the provider declares, nested ones, too.
fn attribute_names() -> BTreeSet<String> {
    fn collect(attributes: &[Attribute], names: &mut BTreeSet<String>) {
        for attribute in attributes {
            names.insert(attribute.name().to_owned());
            if let Shape::Nested(_, inner) = attribute.shape() {
                collect(inner, names);
            }
        }
    }
    let metal = Metal::new(Environment::default());
    let mut schemas = vec![metal.schema()];
    schemas.extend(metal.meta());
    schemas.extend(metal.resources().iter().map(|r| r.schema()));
    schemas.extend(metal.data_sources().iter().map(|d| d.schema()));
    let mut names = BTreeSet::new();
    for schema in &schemas {
        collect(schema.attributes(), &mut names);
    }
    names
}

/// A string literal of a source, with the number of its line.
#[derive(Debug, PartialEq)]
struct Literal<'a> {
    line: usize,
    text: &'a str,
}

/// The part of a source that ships: what comes before the tests at the file's end.
fn shipped(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// The string literals of Rust code as they are written. Comments, characters and lifetimes are none, and the words of `choices!` are
/// values, not names.
fn literals(source: &str) -> Vec<Literal<'_>> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|r| !r.is_empty()) {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("choices! {") {
            rest.find("\n}").unwrap_or(rest.len())
        } else if let Some((text, len)) = string(rest, at.checked_sub(1).map(|i| bytes[i])) {
            let line = 1 + source[..at].matches('\n').count();
            found.push(Literal { line, text });
            len
        } else {
            character(rest).unwrap_or_else(|| rest.chars().next().map_or(1, char::len_utf8))
        };
        at += len;
    }
    found
}

/// The literal that `rest` starts with, plain or raw, and its length with the quotes. An `r` that ends another word starts none.
fn string(rest: &str, before: Option<u8>) -> Option<(&str, usize)> {
    if rest.starts_with('"') {
        let mut escaped = false;
        let end = rest[1..].find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        return Some((&rest[1..=end], end + 2));
    }
    if before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    let raw = rest.strip_prefix('r')?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let body = raw[hashes..].strip_prefix('"')?;
    let end = body.find(&format!("\"{}", "#".repeat(hashes)))?;
    Some((&body[..end], 1 + hashes + 1 + end + 1 + hashes))
}

/// The length of the character literal that `rest` starts with; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        return Some(2 + 1 + inside[2..].find('\'')? + 1);
    }
    let one = inside.chars().next()?.len_utf8();
    inside[one..].starts_with('\'').then_some(1 + one + 1)
}

/// Is it the name of an attribute, or the way to one: `bmc.address`?
fn names_an_attribute(text: &str, names: &BTreeSet<String>) -> bool {
    !text.is_empty() && text.split('.').all(|part| names.contains(part))
}

/// `file:line "literal"` for every literal that names an attribute.
fn bare_names(file: &str, source: &str, names: &BTreeSet<String>) -> Vec<String> {
    literals(shipped(source))
        .into_iter()
        .filter(|l| names_an_attribute(l.text, names))
        .filter(|l| {
            !SOMETHING_ELSE
                .iter()
                .any(|(f, t, _)| (*f, *t) == (file, l.text))
        })
        .map(|l| format!("{file}:{} {:?}", l.line, l.text))
        .collect()
}

#[test]
fn no_attribute_is_named_by_a_string() {
    let names = attribute_names();
    assert!(names.len() > 60, "the schemas were read: {names:?}");
    let found: Vec<_> = rust_files(&source())
        .iter()
        .flat_map(|(file, text)| bare_names(file, text, &names))
        .collect();
    assert!(
        found.is_empty(),
        "say Model::attribute instead of: {found:#?}"
    );
}

#[test]
fn exceptions_are_needed() {
    let files = rust_files(&source());
    for (file, literal, why) in SOMETHING_ELSE {
        let text = files.iter().find(|(f, _)| f == file);
        let used =
            text.is_some_and(|(_, t)| literals(shipped(t)).iter().any(|l| l.text == *literal));
        assert!(
            used && !why.is_empty(),
            "{file} holds no {literal:?} any more"
        );
    }
}

/// Words that only the SDK's own rooms say, and the rooms of the provider that talk to bootd in protobuf.
const PLUGIN_WORDS: [&str; 8] = [
    "tfplugin6",
    "tfplugin5",
    "in_process",
    "rmp",
    "rmp_serde",
    "msgpack",
    "DynamicValue",
    "AttributePath",
];
const BOOTD_WORDS: [&str; 4] = ["metal_proto", "prost", "prost_types", "tonic"];
const BOOTD_ROOMS: [&str; 3] = ["api/", "client.rs", "memory.rs"];

/// The words of code, without its comments.
fn words(source: &str) -> BTreeSet<&str> {
    source
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .collect()
}

/// What a file says that it must not.
fn foreign_words(file: &str, source: &str) -> Vec<String> {
    let said = words(source);
    let bootd = BOOTD_ROOMS.iter().any(|room| file.starts_with(room));
    let banned = PLUGIN_WORDS
        .into_iter()
        .chain(BOOTD_WORDS.into_iter().filter(|_| !bootd));
    banned
        .filter(|word| said.contains(word))
        .map(|word| format!("{file}: {word}"))
        .collect()
}

#[test]
fn no_protocol_beside_the_sdk() {
    let found: Vec<_> = rust_files(&source())
        .iter()
        .flat_map(|(file, text)| foreign_words(file, text))
        .collect();
    assert!(found.is_empty(), "the SDK has a typed way: {found:#?}");
    let manifest: toml::Table = fs::read_to_string(source().with_file_name("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    for crate_ in ["rmp", "rmp-serde", "rmpv", "tonic-prost"] {
        assert!(!dependencies.contains_key(crate_), "{crate_} is the SDK's");
    }
}

#[test]
fn what_is_planted_is_found() {
    let names = attribute_names();
    let check = |source: &str, want: &[&str]| {
        assert_eq!(bare_names("f", source, &names), want, "{source}");
    };
    check(r#"d.at("server_id")"#, &[r#"f:1 "server_id""#]);
    check("x\n\nobject.get(r\"bmc\")", &[r#"f:3 "bmc""#]);
    check("path(r#\"bmc.address\"#)", &[r#"f:1 "bmc.address""#]);
    check(
        r#"rule(["serial", "wwid"])"#,
        &[r#"f:1 "serial""#, r#"f:1 "wwid""#],
    );
    check("let q = '\"'; d.at(\"nodes\")", &[r#"f:1 "nodes""#]);
    check(
        "fn f<'a>(x: &'a str) { d.at(\"nodes\") }",
        &[r#"f:1 "nodes""#],
    );
    check(
        "let q = ('\\'', \"a\\\"b\", \"nodes\");",
        &[r#"f:1 "nodes""#],
    );
    check("/* it's */ d.at(\"nodes\")", &[r#"f:1 "nodes""#]);
    // What is none.
    check("// d.at(\"server_id\")", &[]);
    check("/// `\"server_id\"`\nd.at(Node::server_id)", &[]);
    check(r#"hint("set server_id here")"#, &[]);
    check("r#match", &[]);
    check(
        "choices! {\n    enum E {\n        Name = \"name\",\n    }\n}\n",
        &[],
    );
    check("#[cfg(test)]\nmod tests {\n    at(\"nodes\")\n}", &[]);
    // Planted at the end of each real file before its tests, it is found there.
    for (file, text) in rust_files(&source()) {
        let planted = format!("{}\nfn f() {{ d.at(\"password_wo\") }}\n", shipped(&text));
        assert_eq!(bare_names(&file, &planted, &names).len(), 1, "{file}");
        let planted = format!("{text}\nuse tfplugin::in_process;\n");
        assert_eq!(foreign_words(&file, &planted).len(), 1, "{file}");
    }
    assert_eq!(
        foreign_words("resource/image/mod.rs", "use metal_proto::metal::v1 as pb;"),
        ["resource/image/mod.rs: metal_proto"]
    );
    assert!(foreign_words("api/mod.rs", "use tonic::Status; // rmp").is_empty());
}
