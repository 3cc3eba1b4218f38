//! `${VAR}` in a text, from a map: the forms of the shell that talhelper's substitution knows.

use std::collections::BTreeMap;

use super::TalhelperError;
use crate::yaml::within_bounds;

/// A text with its variables filled in. What stands behind `#` is a comment as a rule: there an unset variable stays.
pub(super) fn substitute(
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<String, TalhelperError> {
    within_bounds(text.len()).map_err(TalhelperError::Syntax)?;
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let comment = comment_in(line);
        // Where none is left, nothing is looked for: otherwise hostile lines cost the square of their length.
        let braces_end = line.rfind('}').unwrap_or(0);
        let mut rest = line;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let from_start = line.len() - from.len();
            let in_comment = comment.is_some_and(|at| at <= from_start);
            let found = match from.starts_with("${") && from_start > braces_end {
                true => Found::Broken,
                false => expression(from),
            };
            let (value, length) = match found {
                Found::Text(text, length) => (text.to_owned(), length),
                Found::Broken if in_comment => ("$".to_owned(), 1),
                Found::Broken => {
                    return Err(TalhelperError::Expression { line: index + 1 });
                }
                Found::Variable(variable, length) => match variable.value(environment) {
                    Some(value) => (value.to_owned(), length),
                    None if in_comment => (from[..length].to_owned(), length),
                    None => {
                        return Err(TalhelperError::Variable {
                            line: index + 1,
                            name: variable.name.to_owned(),
                        });
                    }
                },
            };
            out.push_str(&value);
            within_bounds(out.len()).map_err(TalhelperError::Syntax)?;
            rest = &from[length..];
        }
        out.push_str(rest);
    }
    Ok(out)
}

/// Where a line's comment begins: behind its sign.
fn comment_in(line: &str) -> Option<usize> {
    let blank = line.len() - line.trim_start().len();
    match line[blank..].starts_with('#') {
        true => Some(blank + 1),
        false => line.find(" #").map(|at| at + 2),
    }
}

enum Found<'a> {
    /// Plain text and how long it was.
    Text(&'a str, usize),
    /// A variable and how long its expression was.
    Variable(Variable<'a>, usize),
    /// `${` without an end, or with something in it that is no name.
    Broken,
}

struct Variable<'a> {
    name: &'a str,
    /// `:-`, `-`, `:=`, `=`, `:+` or `+`, and what follows.
    operator: Option<(&'a str, &'a str)>,
}

impl<'a> Variable<'a> {
    fn value<'v>(&self, environment: &'v BTreeMap<String, String>) -> Option<&'v str>
    where
        'a: 'v,
    {
        let set = environment.get(self.name).map(String::as_str);
        let filled = set.filter(|v| !v.is_empty());
        match self.operator {
            None => filled,
            Some((":-" | ":=", default)) => Some(filled.unwrap_or(default)),
            Some(("-" | "=", default)) => Some(set.unwrap_or(default)),
            Some((":+", other)) => Some(if filled.is_some() { other } else { "" }),
            Some((_, other)) => Some(if set.is_some() { other } else { "" }),
        }
    }
}

/// What stands at a dollar sign.
fn expression(from: &str) -> Found<'_> {
    let rest = &from[1..];
    if rest.starts_with('$') {
        return Found::Text("$", 2);
    }
    let Some(inner) = rest.strip_prefix('{') else {
        let length = name_length(rest);
        if length == 0 {
            return Found::Text("$", 1);
        }
        let variable = Variable {
            name: &rest[..length],
            operator: None,
        };
        return Found::Variable(variable, length + 1);
    };
    let (name, tail) = inner.split_at(name_length(inner));
    let operators = [":-", ":=", ":+", "-", "=", "+"];
    let operator = operators.into_iter().find(|o| tail.starts_with(o));
    let end = match (name, operator) {
        ("", _) => None,
        (_, Some(_)) => tail.find('}'),
        (_, None) => tail.starts_with('}').then_some(0),
    };
    let Some(end) = end else {
        return Found::Broken;
    };
    let length = name.len() + end + 3;
    let operator = operator.map(|o| (o, &tail[o.len()..end]));
    Found::Variable(Variable { name, operator }, length)
}

fn name_length(text: &str) -> usize {
    let first = text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let length = text.bytes().take_while(|b| inner(*b)).count();
    if first { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        [("A", "1"), ("EMPTY", "")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    #[test]
    fn forms() {
        let check = |text: &str, expected: &str| {
            assert_eq!(substitute(text, &environment()), Ok(expected.to_owned()));
        };
        check(
            "a: ${A} $A $$A ${B:-2} ${EMPTY:-3} ${EMPTY-4}",
            "a: 1 1 $A 2 3 ",
        );
        check("${A:+x}${B+y}|$ $1 100$", "x|$ $1 100$");
        check("a: b # ${B}\n# ${oops\n", "a: b # ${B}\n# ${oops\n");
        check("ü${A}ü", "ü1ü");
    }

    #[test]
    fn what_is_not_set_has_its_line() {
        let error = |text: &str| substitute(text, &environment()).unwrap_err().to_string();
        insta::assert_snapshot!(error("a: 1\nb: ${B}\n"), @"line 2: the variable B is not set; give it a value or a default like ${B:-…}");
        insta::assert_snapshot!(error("a: ${A\n"), @"line 1: a variable is not written like ${NAME}; write $$ for a dollar sign");
        assert!(error("${EMPTY}").contains("EMPTY"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(?s)[$a{}:#=+ü\\-\n ]{0,60}") {
            let _ = substitute(&text, &environment());
        }
    }
}
