//! `docs/operations.md` lists every key of `bootd.toml` from the doc comments of `config.rs`: it cannot be older than the code.
//!
//! `METAL_UPDATE_DOCS=1 cargo test -p bootd --test operations_doc` writes it again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- keys: generated from bootd/src/config.rs -->";
const END: &str = "<!-- end of keys -->";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md")
}

/// Each `pub struct` whose doc starts with a section (or is `Config` itself), its keys and their docs.
fn keys(source: &str) -> String {
    let mut out = String::from("| section | key | meaning |\n|---|---|---|\n");
    let (mut docs, mut section) = (Vec::new(), None);
    for line in source.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("/// ") {
            docs.push(doc);
            continue;
        }
        if let Some(name) = line.strip_prefix("pub struct ") {
            let first = docs.first().copied().unwrap_or_default();
            section = if name.starts_with("Config ") {
                Some("(top)".to_owned())
            } else {
                first
                    .starts_with("`[")
                    .then(|| first.split('`').nth(1).unwrap_or_default().to_owned())
            };
        } else if line == "}" {
            section = None;
        } else if let (Some(section), Some(field)) = (&section, line.strip_prefix("pub ")) {
            let (key, kind) = field.split_once(':').unwrap_or((field, ""));
            // A nested section has a table of its own.
            let nested =
                section == "(top)" && !["PathBuf", "Ipv4Addr"].iter().any(|k| kind.contains(k));
            if !nested {
                let _ = writeln!(out, "| `{section}` | `{key}` | {} |", docs.join(" "));
            }
        }
        if !line.starts_with("#[") {
            docs.clear();
        }
    }
    out
}

#[test]
fn operations_lists_every_key() {
    let source =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config.rs"))
            .unwrap();
    let table = keys(&source);
    for key in [
        "`dhcp`",
        "`poll`",
        "`factory`",
        "`allow`",
        "`initrd`",
        "`state_dir`",
    ] {
        assert!(
            table.contains(key),
            "{key} was not found in config.rs:\n{table}"
        );
    }
    let text = std::fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has the mark");
    let (_, after) = rest.split_once(END).expect("the page has the end mark");
    let fresh = format!("{before}{BEGIN}\n{table}{END}{after}");
    if std::env::var_os("METAL_UPDATE_DOCS").is_some() {
        std::fs::write(page(), &fresh).unwrap();
    } else {
        assert!(
            text == fresh,
            "docs/operations.md is older than config.rs: METAL_UPDATE_DOCS=1 cargo test -p bootd --test operations_doc"
        );
    }
}
