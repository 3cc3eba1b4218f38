//! A guide: a page written by hand in `templates/guides`, checked for what the registry wants of its front matter.
//!
//! What the front matter leaves out and the text says is filled in: the title from the first heading, the description from the first
//! paragraph. Deliberately not here: reading all of YAML. A registry wants three keys with one value each.

use std::fmt;

/// What the registry reads of a guide's front matter.
const KEYS: [&str; 3] = ["page_title", "subcategory", "description"];

/// Why a guide is no page. The registry would show it without a title, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuideMistake {
    /// The front matter begins and does not end.
    Open,
    /// A line of the front matter is no key, or the registry knows none of that name.
    Line(String),
    /// A key is there twice.
    Twice(String),
    /// Neither `page_title` nor a heading.
    NoTitle,
    /// Neither `description` nor a paragraph.
    NoDescription,
}

impl fmt::Display for GuideMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("the front matter has no second `---`"),
            Self::Line(line) => write!(
                f,
                "the front matter has {line:?}; it holds page_title, subcategory and description"
            ),
            Self::Twice(key) => write!(f, "the front matter has {key} twice"),
            Self::NoTitle => f.write_str("it has no page_title, and no heading to make one from"),
            Self::NoDescription => {
                f.write_str("it has no description, and no paragraph to make one from")
            }
        }
    }
}

/// The page of a guide.
pub(super) fn page(text: &str) -> Result<String, GuideMistake> {
    let text = text.replace("\r\n", "\n");
    let (matter, body) = split(&text)?;
    let [title, subcategory, description] = read(matter)?;
    let paragraphs = || body.split("\n\n").map(str::trim).filter(|p| !p.is_empty());
    let heading = || {
        let mut lines = body.lines().map(str::trim);
        lines.find_map(|l| l.strip_prefix("# ")).map(str::to_owned)
    };
    // Prose: no heading, code, table, list or comment.
    let prose = || {
        let mut plain = paragraphs().filter(|p| p.starts_with(|c: char| c.is_alphanumeric()));
        plain.next().map(|p| p.replace('\n', " "))
    };
    let title = title.or_else(heading).ok_or(GuideMistake::NoTitle)?;
    let description = description
        .or_else(prose)
        .ok_or(GuideMistake::NoDescription)?;
    Ok(format!(
        "---\npage_title: {}\nsubcategory: {}\ndescription: |-\n  {description}\n---\n\n{}\n",
        quoted(&title),
        quoted(&subcategory.unwrap_or_default()),
        body.trim()
    ))
}

/// Front matter and the rest.
fn split(text: &str) -> Result<(&str, &str), GuideMistake> {
    let Some(rest) = text.strip_prefix("---\n") else {
        return Ok(("", text));
    };
    if let Some(body) = rest.strip_prefix("---\n") {
        return Ok(("", body));
    }
    rest.split_once("\n---\n").ok_or(GuideMistake::Open)
}

/// The values of [`KEYS`]; none where a key is missing or empty. A value may go on in indented lines.
fn read(matter: &str) -> Result<[Option<String>; 3], GuideMistake> {
    let mut values: [Option<String>; 3] = Default::default();
    let mut open: Option<usize> = None;
    for line in matter.lines().filter(|l| !l.trim().is_empty()) {
        if let (true, Some(at)) = (line.starts_with(' '), open) {
            let value = values[at].get_or_insert_default();
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(line.trim());
            continue;
        }
        let wrong = || GuideMistake::Line(line.to_owned());
        let (key, value) = line.split_once(':').ok_or_else(wrong)?;
        let at = KEYS.iter().position(|k| *k == key).ok_or_else(wrong)?;
        if values[at].is_some() {
            return Err(GuideMistake::Twice(key.to_owned()));
        }
        let value = value.trim();
        let folded = matches!(value, "|" | "|-" | ">" | ">-");
        values[at] = Some(if folded {
            String::new()
        } else {
            unquoted(value)
        });
        open = Some(at);
    }
    Ok(values.map(|v| v.filter(|text| !text.is_empty())))
}

fn unquoted(value: &str) -> String {
    let double = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let single = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
    match (double, single) {
        (Some(inner), _) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        (None, Some(inner)) => inner.replace("''", "'"),
        (None, None) => value.to_owned(),
    }
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_is_made_whole() {
        let text = "# Start \"here\"\n\n```text\ncode\n```\n\nThe first\nsteps.\n\nMore.\n";
        insta::assert_snapshot!(page(text).unwrap(), @r#"
        ---
        page_title: "Start \"here\""
        subcategory: ""
        description: |-
          The first steps.
        ---

        # Start "here"

        ```text
        code
        ```

        The first
        steps.

        More.
        "#);
        let text = "---\nsubcategory: Guides\ndescription: >-\n  In two\n  lines.\npage_title: 'It''s'\n---\nText.\n";
        let made = page(text).unwrap();
        insta::assert_snapshot!(made, @r#"
        ---
        page_title: "It's"
        subcategory: "Guides"
        description: |-
          In two lines.
        ---

        Text.
        "#);
        assert_eq!(
            page(&made),
            Ok(made.clone()),
            "what is whole stays as it is"
        );
    }

    #[test]
    fn what_the_registry_would_not_show_is_told() {
        let check = |text: &str, want| assert_eq!(page(text), Err(want), "{text}");
        check("---\npage_title: x\n", GuideMistake::Open);
        check(
            "---\ntitle: x\n---\nText.\n",
            GuideMistake::Line("title: x".into()),
        );
        check(
            "---\nwords\n---\nText.\n",
            GuideMistake::Line("words".into()),
        );
        check(
            "---\npage_title: x\npage_title: y\n---\nText.\n",
            GuideMistake::Twice("page_title".into()),
        );
        check("Text only.\n", GuideMistake::NoTitle);
        check(
            "---\npage_title: \"\"\n---\n\nText.\n",
            GuideMistake::NoTitle,
        );
        check("# Title\n\n- a list\n", GuideMistake::NoDescription);
    }
}
