//! Values of small files, taken out of a tree by key: an absent or null one is empty, another type is an error.

use super::{Kind, Node};

/// A value of another type than the file's format has there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {key} must be {what}")]
pub struct TypeError {
    /// 1-based line.
    pub line: usize,
    /// The key, without its parents.
    pub key: String,
    /// What belongs there.
    pub what: &'static str,
}

/// Whether a text without any document but null holds at least that; else there is nothing in it but comments.
pub(crate) fn holds_null(text: &str) -> bool {
    text.lines().any(|line| {
        let body = line.split('#').next().unwrap_or_default().trim();
        !matches!(body, "" | "---" | "...")
    })
}

fn wrong(node: &Node, key: &str, what: &'static str) -> TypeError {
    TypeError {
        line: node.line,
        key: key.to_owned(),
        what,
    }
}

impl Node {
    /// The value of a key, unless it is null.
    pub(crate) fn filled(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.value(key).filter(|v| !v.is_null())
    }

    /// The text of a key: numbers and booleans count as they are written.
    pub(crate) fn text_of(&self, key: &str) -> Result<String, TypeError> {
        match self.filled(key) {
            None => Ok(String::new()),
            Some(value) => value
                .as_text()
                .map(str::to_owned)
                .ok_or_else(|| wrong(value, key, "a text")),
        }
    }

    /// The texts of a list; a null among them is as good as absent.
    pub(crate) fn texts_of(&self, key: &str) -> Result<Vec<String>, TypeError> {
        let Some(value) = self.filled(key) else {
            return Ok(Vec::new());
        };
        let items = value
            .as_sequence()
            .ok_or_else(|| wrong(value, key, "a list of texts"))?;
        let filled = items.iter().filter(|item| !item.is_null());
        let text = |item: &Node| match item.as_scalar() {
            Some(scalar) => Ok(scalar.text.clone()),
            None => Err(wrong(item, key, "a list of texts")),
        };
        filled.map(text).collect()
    }

    /// The mapping of a key; nothing where it is absent or null.
    pub(crate) fn mapping_of(&self, key: &str) -> Result<Option<&Node>, TypeError> {
        match self.filled(key) {
            Some(value) if value.as_mapping().is_none() => Err(wrong(value, key, "a mapping")),
            found => Ok(found),
        }
    }

    /// The whole number of a key, 0 where there is none.
    pub(crate) fn whole_number_of(&self, key: &str, max: u64) -> Result<u64, TypeError> {
        let Some(value) = self.filled(key) else {
            return Ok(0);
        };
        value
            .as_scalar()
            .and_then(|scalar| match scalar.kind {
                Kind::Int => super::integer(&scalar.text),
                Kind::Float => {
                    let number: f64 = scalar.text.parse().ok()?;
                    (number.fract() == 0.0).then_some(number as i128)
                }
                Kind::Null | Kind::Bool | Kind::Timestamp | Kind::Text => None,
            })
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| *n <= max)
            .ok_or_else(|| wrong(value, key, "a whole number in its range"))
    }

    /// The boolean of a key, false where there is none. Talos's library also takes those of YAML 1.1.
    pub(crate) fn boolean_of(&self, key: &str) -> Result<bool, TypeError> {
        let Some(value) = self.filled(key) else {
            return Ok(false);
        };
        let meaning = value.as_scalar().and_then(|scalar| {
            let text = scalar.text.to_ascii_lowercase();
            match (scalar.kind, text.as_str()) {
                (Kind::Bool, "true") | (Kind::Text, "y" | "yes" | "on") => Some(true),
                (Kind::Bool, "false") | (Kind::Text, "n" | "no" | "off") => Some(false),
                _ => None,
            }
        });
        meaning.ok_or_else(|| wrong(value, key, "true or false"))
    }
}
