//! The sections of a function: signature, arguments, result.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::block::plain_type;

/// Writes signature, arguments and result.
pub(super) fn signature(out: &mut String, provider: &str, name: &str, function: &Json) {
    let none = Vec::new();
    let parameters = function["parameters"].as_array().unwrap_or(&none);
    let variadic = &function["variadic_parameter"];
    let mut words: Vec<_> = parameters
        .iter()
        .map(|p| {
            format!(
                "{} {}",
                p["name"].as_str().unwrap_or("value"),
                expression(&p["type"])
            )
        })
        .collect();
    if variadic.is_object() {
        words.push(format!(
            "{} {}...",
            variadic["name"].as_str().unwrap_or("values"),
            expression(&variadic["type"])
        ));
    }
    let result = &function["return_type"];
    let _ = write!(
        out,
        "\n## Signature\n\n```text\nprovider::{provider}::{name}({}) {}\n```\n",
        words.join(", "),
        expression(result)
    );
    if !words.is_empty() {
        out.push_str("\n## Arguments\n\n");
        for (n, p) in (1..).zip(parameters) {
            argument(out, &format!("{n}. "), p, "");
        }
        if variadic.is_object() {
            argument(out, "- ", variadic, "Variadic, ");
        }
    }
    let _ = write!(out, "\n## Return Type\n\n{}\n", plain_type(result));
}

fn argument(out: &mut String, bullet: &str, p: &Json, note: &str) {
    let nullable = if p["is_nullable"].as_bool() == Some(true) {
        ", Nullable"
    } else {
        ""
    };
    let line = format!(
        "{bullet}`{}` ({note}{}{nullable}) {}",
        p["name"].as_str().unwrap_or("value"),
        plain_type(&p["type"]),
        p["description"]
            .as_str()
            .unwrap_or_default()
            .replace("\n\n", " ")
            .replace('\n', " ")
    );
    let _ = writeln!(out, "{}", line.trim_end());
}

/// A type as HCL writes it: `list(string)`.
fn expression(t: &Json) -> String {
    match (t.as_str(), t.as_array().map(Vec::as_slice)) {
        (Some(word), _) => word.to_owned(),
        (None, Some([kind, ..])) if matches!(kind.as_str(), Some("object" | "tuple")) => {
            kind.as_str().unwrap_or_default().to_owned()
        }
        (None, Some([kind, inner, ..])) => {
            format!(
                "{}({})",
                kind.as_str().unwrap_or_default(),
                expression(inner)
            )
        }
        _ => "dynamic".to_owned(),
    }
}
