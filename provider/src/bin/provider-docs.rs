//! Writes `docs/` from what `terraform providers schema -json` says about the provider: standard input to files in registry layout.
//!
//! Usage: `terraform providers schema -json | provider-docs ROOT`. It reads examples below `ROOT/examples` and writes below `ROOT/docs`.
//! Nothing is written by hand there; words come from the schema's descriptions.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use serde_json::{Map, Value};

/// What a page is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Provider,
    Resource,
    DataSource,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Provider => "Provider",
            Self::Resource => "Resource",
            Self::DataSource => "Data Source",
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Nobody to tell if standard error is gone.
            let _ = writeln!(io::stderr(), "provider-docs: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let root = env::args()
        .nth(1)
        .ok_or("name the directory that holds docs and examples")?;
    let root = Path::new(&root);
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let json: Value = serde_json::from_str(&text)?;
    let schemas = json["provider_schemas"]
        .as_object()
        .ok_or("this is no provider schema")?;
    let metal = schemas.values().next().ok_or("no provider is in it")?;
    write(
        root,
        "docs/index.md",
        &page(root, Kind::Provider, "metal", &metal["provider"]["block"]),
    )?;
    for (key, kind, dir) in [
        ("resource_schemas", Kind::Resource, "resources"),
        ("data_source_schemas", Kind::DataSource, "data-sources"),
    ] {
        for (name, schema) in metal[key].as_object().into_iter().flatten() {
            let file = name.strip_prefix("metal_").unwrap_or(name);
            write(
                root,
                &format!("docs/{dir}/{file}.md"),
                &page(root, kind, name, &schema["block"]),
            )?;
        }
    }
    Ok(())
}

fn write(root: &Path, file: &str, text: &str) -> io::Result<()> {
    let path = root.join(file);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, text)
}

fn page(root: &Path, kind: Kind, name: &str, block: &Value) -> String {
    let description = block["description"].as_str().unwrap_or_default();
    let (first, rest) = description.split_once("\n\n").unwrap_or((description, ""));
    let group = match (kind, name.split('_').next()) {
        (Kind::Provider, _) => "",
        (_, Some("talos")) => "Talos",
        _ => "Servers",
    };
    let mut out = format!(
        "---\npage_title: \"{name} {}\"\nsubcategory: \"{group}\"\ndescription: |-\n  {first}\n---\n\n# {name} ({})\n\n{first}\n",
        kind.word(),
        kind.word()
    );
    if !rest.is_empty() {
        let _ = write!(out, "\n{rest}\n");
    }
    let example = match kind {
        Kind::Provider => "examples/provider/provider.tf".to_owned(),
        Kind::Resource => format!("examples/resources/{name}/resource.tf"),
        Kind::DataSource => format!("examples/data-sources/{name}/data-source.tf"),
    };
    if let Ok(hcl) = fs::read_to_string(root.join(example)) {
        let _ = write!(
            out,
            "\n## Example Usage\n\n```terraform\n{}\n```\n",
            hcl.trim_end()
        );
    }
    out.push_str("\n## Schema\n");
    let empty = Map::new();
    let mut below = Vec::new();
    attributes(
        &mut out,
        "###",
        block["attributes"].as_object().unwrap_or(&empty),
        "",
        &mut below,
    );
    while let Some((path, nested)) = (!below.is_empty()).then(|| below.remove(0)) {
        let _ = write!(
            out,
            "\n<a id=\"{}\"></a>\n### Nested Schema for `{path}`\n",
            anchor(&path)
        );
        let mut deeper = Vec::new();
        attributes(
            &mut out,
            "",
            nested.as_object().unwrap_or(&empty),
            &path,
            &mut deeper,
        );
        deeper.append(&mut below);
        below = deeper;
    }
    if kind == Kind::Resource {
        let id = import_id(name);
        let _ = write!(
            out,
            "\n## Import\n\nThe id is {}.\n\n```terraform\nimport {{\n{}  to = {name}.example\n  id = \"{}\"\n}}\n```\n",
            id.0,
            if name.starts_with("talos_") {
                "  provider = metal\n"
            } else {
                ""
            },
            id.1
        );
    }
    out
}

/// What an import id looks like, and an example.
fn import_id(name: &str) -> (&'static str, &'static str) {
    match name {
        "metal_server" => (
            "the server's name, or `mac:`, `uuid:`, `serial:`, `bmc:` or `address:` with the value that it has",
            "mac:52:54:00:12:34:56",
        ),
        "metal_server_claim" | "talos_machine_config" => ("`CLUSTER/NODE`", "lab/cp-0"),
        "metal_image" => (
            "`SCHEMATIC/VERSION/ARCH`",
            "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba/v1.13.9/amd64",
        ),
        _ => ("the name", "lab"),
    }
}

fn anchor(path: &str) -> String {
    format!("nested--{}", path.replace('.', "--"))
}

/// Lists of attributes, the required ones first. Nested ones are collected for sections of their own.
fn attributes(
    out: &mut String,
    heading: &str,
    all: &Map<String, Value>,
    at: &str,
    below: &mut Vec<(String, Value)>,
) {
    for title in ["Required", "Optional", "Read-Only"] {
        let of_group: Vec<_> = all.iter().filter(|(_, a)| presence(a) == title).collect();
        if of_group.is_empty() {
            continue;
        }
        let _ = match heading {
            "" => write!(out, "\n{title}:\n\n"),
            _ => write!(out, "\n{heading} {title}\n\n"),
        };
        for (name, a) in of_group {
            let path = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            let _ = write!(out, "- `{name}` ({}", type_of(a));
            if flag(a, "sensitive") {
                out.push_str(", Sensitive");
            }
            let _ = write!(
                out,
                ") {}",
                a["description"]
                    .as_str()
                    .unwrap_or_default()
                    .replace("\n\n", " ")
            );
            let nested = &a["nested_type"]["attributes"];
            if nested.is_object() {
                let _ = write!(out, " (see [below](#{}))", anchor(&path));
                below.push((path, nested.clone()));
            }
            out.push('\n');
        }
    }
}

fn flag(a: &Value, key: &str) -> bool {
    a[key].as_bool() == Some(true)
}

fn presence(a: &Value) -> &'static str {
    if flag(a, "required") {
        "Required"
    } else if flag(a, "optional") {
        "Optional"
    } else {
        "Read-Only"
    }
}

fn type_of(a: &Value) -> String {
    let nested = match a["nested_type"]["nesting_mode"].as_str() {
        Some("single") => "Attributes",
        Some("list") => "Attributes List",
        Some("set") => "Attributes Set",
        Some("map") => "Attributes Map",
        Some(_) | None => return plain_type(&a["type"]),
    };
    nested.to_owned()
}

fn plain_type(t: &Value) -> String {
    match (t.as_str(), t.as_array().map(Vec::as_slice)) {
        (Some("bool"), _) => "Boolean".to_owned(),
        (Some("dynamic"), _) => "Dynamic".to_owned(),
        (Some(word), _) => format!("{}{}", word[..1].to_ascii_uppercase(), &word[1..]),
        (None, Some([kind, Value::Object(_)])) => kind.as_str().unwrap_or("object").to_owned(),
        (None, Some([kind, inner])) => format!(
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
