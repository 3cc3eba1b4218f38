//! Rules for one value. They run offline, on values that are set and known.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::duration;
use crate::path::Path;
use crate::value::{Number, Value};

type Check = Arc<dyn Fn(&Value) -> Result<(), String> + Send + Sync>;

/// A rule for a value.
#[derive(Clone)]
pub struct Validator {
    must_be: Cow<'static, str>,
    in_docs: bool,
    rule: RuleOf,
}

#[derive(Clone)]
enum RuleOf {
    Value(Check),
    Each(Box<Validator>),
}

/// A value that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) path: Path,
    /// What a value must be, without the value.
    pub(crate) must_be: String,
    /// What is wrong with this one; may quote it.
    pub(crate) why: String,
}

impl Validator {
    /// A rule of your own. `must_be` completes "must be …"; an error of `check` says what is wrong with this value and may quote it
    /// (the message leaves it out where the attribute is sensitive).
    pub fn new(
        must_be: impl Into<Cow<'static, str>>,
        check: impl Fn(&Value) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            must_be: must_be.into(),
            in_docs: true,
            rule: RuleOf::Value(Arc::new(check)),
        }
    }

    /// The rule for the documentation, where it is worth a sentence.
    pub(crate) fn documented(&self) -> Option<&str> {
        self.in_docs.then_some(&*self.must_be)
    }

    pub(crate) fn check(&self, value: &Value, at: &Path, broken: &mut Vec<Broken>) {
        if matches!(value, Value::Null | Value::Unknown) {
            return;
        }
        match &self.rule {
            RuleOf::Value(check) => {
                if let Err(why) = check(value) {
                    broken.push(Broken {
                        path: at.clone(),
                        must_be: self.must_be.to_string(),
                        why,
                    });
                }
            }
            RuleOf::Each(inner) => {
                for (path, element) in value.elements_at(at) {
                    inner.check(element, &path, broken);
                }
            }
        }
    }

    fn quiet(mut self) -> Self {
        self.in_docs = false;
        self
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be {}", self.must_be)
    }
}

/// A rule for text: an error of `check` says what is wrong with it.
pub fn text(
    must_be: impl Into<Cow<'static, str>>,
    check: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
) -> Validator {
    Validator::new(must_be, move |v| v.as_str().map_or(Ok(()), &check))
}

/// Every element of the list, set or map keeps the rule.
#[must_use]
pub fn each(rule: Validator) -> Validator {
    Validator {
        must_be: format!("made of elements, each {}", rule.must_be).into(),
        in_docs: rule.in_docs,
        rule: RuleOf::Each(Box::new(rule)),
    }
}

/// One of these words.
#[must_use]
pub fn one_of(words: &'static [&'static str]) -> Validator {
    let list = words
        .iter()
        .map(|w| format!("`{w}`"))
        .collect::<Vec<_>>()
        .join(", ");
    text(format!("one of {list}"), move |t| {
        if words.contains(&t) {
            Ok(())
        } else {
            Err(format!("{t:?} is none of them"))
        }
    })
}

/// Text or a collection that is not empty.
#[must_use]
pub fn not_empty() -> Validator {
    Validator::new("non-empty", |v| {
        let empty = match v {
            Value::String(s) => s.is_empty(),
            Value::List(es) | Value::Set(es) => es.is_empty(),
            Value::Map(es) => es.is_empty(),
            Value::Null
            | Value::Unknown
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Object(_)
            | Value::Dynamic(_) => false,
        };
        if empty {
            Err("it is empty".to_owned())
        } else {
            Ok(())
        }
    })
    .quiet()
}

/// A number between two, both allowed.
#[must_use]
pub fn between(least: impl Into<Number>, most: impl Into<Number>) -> Validator {
    let (least, most) = (least.into(), most.into());
    Validator::new(format!("between {least} and {most}"), move |v| {
        match v.as_number() {
            Some(n) if *n < least || *n > most => Err(format!("{n} is not")),
            _ => Ok(()),
        }
    })
}

/// A whole number between two; what the integer types check by themselves.
pub(crate) fn whole(least: Number, most: Number) -> Validator {
    Validator::new(
        format!("a whole number between {least} and {most}"),
        move |v| match v.as_number() {
            Some(n) if !n.is_whole() => Err(format!("{n} is not a whole number")),
            Some(n) if *n < least || *n > most => Err(format!("{n} is not between them")),
            _ => Ok(()),
        },
    )
    .quiet()
}

/// A name of the form `[a-z0-9][a-z0-9-]*`, with at most `length_max` characters.
#[must_use]
pub fn slug(length_max: usize) -> Validator {
    let must_be = format!(
        "at most {length_max} lower-case letters, digits and hyphens, not starting with a hyphen"
    );
    text(must_be, move |t| {
        if t.is_empty() || t.len() > length_max {
            return Err(format!("{t:?} has {} characters", t.len()));
        }
        match t
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'))
        {
            Some(bad) => Err(format!("{t:?} contains {bad:?}")),
            None if t.starts_with('-') => Err(format!("{t:?} starts with a hyphen")),
            None => Ok(()),
        }
    })
}

/// A positive duration such as `30s`, `20m` or `1h30m`.
#[must_use]
pub fn positive_duration() -> Validator {
    text(
        "a duration such as `30s`, `20m` or `1h30m`",
        |t| match duration::parse(t) {
            Ok(d) if d > Duration::ZERO => Ok(()),
            Ok(_) => Err("it is zero".to_owned()),
            Err(why) => Err(format!("{t:?}: {why}")),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: &Validator, value: impl Into<Value>) -> String {
        let mut broken = Vec::new();
        rule.check(&value.into(), &Path::attribute("a"), &mut broken);
        broken
            .iter()
            .map(|b| format!("{}: {}", b.path, b.why))
            .collect::<Vec<_>>()
            .join("; ")
    }

    #[test]
    fn rules_say_what_is_wrong() {
        assert_eq!(
            check(&one_of(&["x", "y"]), "z"),
            r#"a: "z" is none of them"#
        );
        assert_eq!(check(&slug(5), "Ab"), r#"a: "Ab" contains 'A'"#);
        assert_eq!(check(&slug(5), "abcdef"), r#"a: "abcdef" has 6 characters"#);
        assert_eq!(check(&between(1, 9), 10), "a: 10 is not");
        assert_eq!(
            check(&each(between(1, 9)), vec![1, 0, 10]),
            "a[1]: 0 is not; a[2]: 10 is not"
        );
        assert_eq!(
            check(&whole(0.into(), 5.into()), "1.5".parse::<Number>().unwrap()),
            "a: 1.5 is not a whole number"
        );
        assert_eq!(check(&positive_duration(), "1h30m"), "");
        assert_eq!(check(&positive_duration(), "0s"), "a: it is zero");
        assert_eq!(check(&not_empty(), ""), "a: it is empty");
        assert_eq!(check(&not_empty(), Value::Unknown), "");
    }
}
