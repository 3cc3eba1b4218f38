//! Values as YAML, as people and programs write it: both block and flow, all quotes, comments, blocks of lines.

use serde_json::Value as Json;

use super::{Random, escaped};

impl Random {
    /// A value as a whole document, in one of several hands.
    pub(super) fn written(&mut self, value: &Json) -> String {
        match self.below(10) {
            0..=3 => escaped(&value.to_string()),
            4 => {
                let pretty = serde_json::to_string_pretty(value).unwrap();
                escaped(&pretty)
            }
            _ => {
                let mut out = String::new();
                if self.chance(10) {
                    out.push_str("# a patch\n---\n");
                }
                let step = *self.one_of(&[2, 2, 2, 4, 3]);
                self.block(value, 0, step, &mut out);
                out
            }
        }
    }

    /// Whether it is written as a block; an empty collection never is.
    fn is_block(&mut self, value: &Json) -> bool {
        let filled = match value {
            Json::Object(map) => !map.is_empty(),
            Json::Array(items) => !items.is_empty(),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
        };
        filled && self.chance(85)
    }

    fn block(&mut self, value: &Json, indent: usize, step: usize, out: &mut String) {
        let pad = " ".repeat(indent);
        match value {
            Json::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    if self.chance(2) {
                        out.push_str("\n# between\n");
                    }
                    out.push_str(&pad);
                    let key = self.scalar(key);
                    out.push_str(&key);
                    out.push(':');
                    self.entry(value, indent, step, out);
                }
            }
            Json::Array(items) if !items.is_empty() => {
                for item in items {
                    out.push_str(&pad);
                    out.push('-');
                    match item {
                        Json::Object(_) | Json::Array(_) if self.is_block(item) => {
                            let mut inner = String::new();
                            self.block(item, indent + 2, step, &mut inner);
                            out.push_str(&format!(" {}", inner.trim_start()));
                        }
                        Json::Null
                        | Json::Bool(_)
                        | Json::Number(_)
                        | Json::String(_)
                        | Json::Array(_)
                        | Json::Object(_) => self.leaf(item, indent, step, out),
                    }
                }
            }
            Json::Null
            | Json::Bool(_)
            | Json::Number(_)
            | Json::String(_)
            | Json::Array(_)
            | Json::Object(_) => {
                out.push_str(&pad);
                self.leaf(value, indent, step, out);
            }
        }
    }

    fn entry(&mut self, value: &Json, indent: usize, step: usize, out: &mut String) {
        if !self.is_block(value) {
            return self.leaf(value, indent, step, out);
        }
        if self.chance(3) {
            out.push_str(" # below");
        }
        out.push('\n');
        // Lists may stand at the indent of their key.
        let deeper = match value.is_array() && self.chance(40) {
            true => indent,
            false => indent + step,
        };
        self.block(value, deeper, step, out);
    }

    /// What stands on the line of its key, or begins there.
    fn leaf(&mut self, value: &Json, indent: usize, step: usize, out: &mut String) {
        if let Json::String(text) = value
            && self.chance(60)
            && is_block_text(text)
        {
            return lines(text, indent + step, out);
        }
        out.push(' ');
        match value {
            Json::String(text) => {
                let text = self.scalar(text);
                out.push_str(&text);
            }
            Json::Null if self.chance(50) => {}
            Json::Null if self.chance(50) => out.push('~'),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
                out.push_str(&escaped(&value.to_string()));
            }
        }
        if self.chance(3) {
            out.push_str(" # why");
        }
        out.push('\n');
    }

    /// A text on one line: plain where that is no other thing, or in one of the quotes.
    fn scalar(&mut self, text: &str) -> String {
        let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
        let printable = |c: char| matches!(c, ' '..='~' | 'é' | '日');
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
        if starts_well && text.chars().all(simple) && self.chance(80) {
            return text.to_owned();
        }
        match text.chars().all(printable) && self.chance(60) {
            true => format!("'{}'", text.replace('\'', "''")),
            false => escaped(&Json::from(text).to_string()),
        }
    }
}

/// Whether the text can stand as lines below its key.
fn is_block_text(text: &str) -> bool {
    let first = text.chars().next();
    let printable = |c: char| matches!(c, ' '..='~' | '\n' | 'é' | '日');
    text.contains('\n') && first.is_some_and(|c| !c.is_whitespace()) && text.chars().all(printable)
}

/// A literal block.
fn lines(text: &str, indent: usize, out: &mut String) {
    let body = text.trim_end_matches('\n');
    let header = match text.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    };
    out.push_str(&format!(" {header}\n"));
    for line in body.split('\n') {
        match line.is_empty() {
            true => out.push('\n'),
            false => out.push_str(&format!("{}{line}\n", " ".repeat(indent))),
        }
    }
    for _ in 1..text.len() - body.len() {
        out.push('\n');
    }
}
