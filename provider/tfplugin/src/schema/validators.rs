//! Rules for one value. They run offline, on values that are set and known.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::path::Path;
use crate::schema::same;
use crate::value::{Number, Value};
use crate::{duration, size};

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
    Keys(Box<Validator>),
    Any(Vec<Validator>),
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
            RuleOf::Keys(inner) => {
                if let Value::Map(elements) = value {
                    for key in elements.keys() {
                        inner.check(&Value::from(key.as_str()), &at.clone().key(key), broken);
                    }
                }
            }
            RuleOf::Any(rules) => {
                let mut whys = Vec::new();
                for rule in rules {
                    let mut one = Vec::new();
                    rule.check(value, at, &mut one);
                    match one.into_iter().next() {
                        Some(first) => whys.push(first.why),
                        None => return,
                    }
                }
                broken.push(Broken {
                    path: at.clone(),
                    must_be: self.must_be.to_string(),
                    why: whys.join(", and "),
                });
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

/// Every key of the map keeps the rule.
#[must_use]
pub fn keys(rule: Validator) -> Validator {
    Validator {
        must_be: format!("a map whose keys are each {}", rule.must_be).into(),
        in_docs: rule.in_docs,
        rule: RuleOf::Keys(Box::new(rule)),
    }
}

/// One of these rules is kept, or more.
#[must_use]
pub fn any_of<const N: usize>(rules: [Validator; N]) -> Validator {
    let all: Vec<_> = rules.iter().map(|r| &*r.must_be).collect();
    Validator {
        must_be: all.join(", or ").into(),
        in_docs: true,
        rule: RuleOf::Any(rules.into()),
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

/// None of these words.
#[must_use]
pub fn none_of(words: &'static [&'static str]) -> Validator {
    let list = words
        .iter()
        .map(|w| format!("`{w}`"))
        .collect::<Vec<_>>()
        .join(", ");
    text(format!("none of {list}"), move |t| {
        if words.contains(&t) {
            Err(format!("it is {t:?}"))
        } else {
            Ok(())
        }
    })
}

/// Text that a regular expression finds something in: write `^…$` for the whole text. `must_be` says it in words.
/// A pattern that is none refuses every text, which a provider's first test finds.
#[must_use]
pub fn matches(pattern: &str, must_be: impl Into<Cow<'static, str>>) -> Validator {
    let (regex, pattern) = (regex::Regex::new(pattern), pattern.to_owned());
    text(must_be, move |t| match &regex {
        Ok(regex) if regex.is_match(t) => Ok(()),
        Ok(_) => Err(format!("{t:?} does not match `{pattern}`")),
        Err(_) => Err(format!(
            "the provider's own pattern `{pattern}` cannot be read"
        )),
    })
}

/// Text with so many characters, both numbers allowed.
#[must_use]
pub fn length(least: usize, most: usize) -> Validator {
    text(
        format!("{least} to {most} characters long"),
        move |t| match t.chars().count() {
            n if n < least || n > most => Err(format!("it has {n}")),
            _ => Ok(()),
        },
    )
}

/// A list, set or map with so many elements, both numbers allowed.
#[must_use]
pub fn elements(least: usize, most: usize) -> Validator {
    Validator::new(format!("{least} to {most} elements"), move |v| {
        let count = match v {
            Value::List(es) | Value::Set(es) => es.len(),
            Value::Map(es) => es.len(),
            Value::Null
            | Value::Unknown
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_)
            | Value::Dynamic(_) => return Ok(()),
        };
        if count < least || count > most {
            Err(format!("it has {count}"))
        } else {
            Ok(())
        }
    })
}

/// A list without two equal elements. What is unknown yet counts as different.
#[must_use]
pub fn unique() -> Validator {
    Validator::new("without two equal elements", |v| {
        twice(v.elements().iter())
            .map_or(Ok(()), |(i, j)| Err(format!("[{i}] and [{j}] are equal")))
    })
}

/// A list or set of objects that differ in each of these attributes.
#[must_use]
pub fn unique_by<const N: usize>(names: [&str; N]) -> Validator {
    let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
    let list = names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>();
    let must_be = format!("made of objects with different {}", list.join(" and "));
    Validator::new(must_be, move |v| {
        for name in &names {
            let of = |e: &'_ Value| e.as_object().map(|o| o.get(name).clone());
            let values: Vec<_> = v
                .elements()
                .iter()
                .map(|e| of(e).unwrap_or_default())
                .collect();
            if let Some((i, j)) = twice(values.iter()) {
                let (i, j) = (i + 1, j + 1);
                return Err(format!("`{name}` is the same in the objects {i} and {j}"));
            }
        }
        Ok(())
    })
}

/// Two places of one known value.
fn twice<'a>(values: impl Iterator<Item = &'a Value>) -> Option<(usize, usize)> {
    let mut seen = std::collections::BTreeMap::new();
    for (i, value) in values.enumerate() {
        if value.is_null() || !value.is_wholly_known() {
            continue;
        }
        if let Some(before) = seen.insert(value, i) {
            return Some((before, i));
        }
    }
    None
}

/// A number that is not smaller.
#[must_use]
pub fn at_least(least: impl Into<Number>) -> Validator {
    let least = least.into();
    Validator::new(format!("at least {least}"), move |v| match v.as_number() {
        Some(n) if *n < least => Err(format!("{n} is not")),
        _ => Ok(()),
    })
}

/// A number that is not larger.
#[must_use]
pub fn at_most(most: impl Into<Number>) -> Validator {
    let most = most.into();
    Validator::new(format!("at most {most}"), move |v| match v.as_number() {
        Some(n) if *n > most => Err(format!("{n} is not")),
        _ => Ok(()),
    })
}

/// A size such as `512MiB` or `10GB`.
#[must_use]
pub fn size() -> Validator {
    text("a size such as `512MiB` or `10GB`", |t| {
        size::parse(t)
            .map(drop)
            .map_err(|why| format!("{t:?}: {why}"))
    })
}

/// An IP network such as `10.0.0.0/8` or `2001:db8::/32`.
#[must_use]
pub fn cidr() -> Validator {
    text("a network such as `10.0.0.0/8`", |t| {
        match same::address(t) {
            Some((_, Some(_))) => Ok(()),
            Some((_, None)) => Err(format!("{t:?} has no prefix length")),
            None => Err(format!("{t:?} is none")),
        }
    })
}

/// A JSON document.
#[must_use]
pub fn json() -> Validator {
    text("a JSON document", |t| {
        if same::is_json(t) {
            Ok(())
        } else {
            Err("this text is none".to_owned())
        }
    })
}

/// A YAML document.
#[must_use]
pub fn yaml() -> Validator {
    text("a YAML document", |t| {
        if same::is_yaml(t) {
            Ok(())
        } else {
            Err("this text is none".to_owned())
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

    #[test]
    fn more_rules_say_what_is_wrong() {
        use crate::value::Object;

        let name = || matches("^[a-z]+$", "lower-case letters");
        assert_eq!(check(&name(), "a1"), r#"a: "a1" does not match `^[a-z]+$`"#);
        assert_eq!(
            check(&matches("(", "x"), "a"),
            "a: the provider's own pattern `(` cannot be read"
        );
        assert_eq!(check(&length(2, 3), "äöüß"), "a: it has 4");
        assert_eq!(check(&length(2, 4), "äöüß"), "");
        assert_eq!(check(&elements(1, 2), vec![1, 2, 3]), "a: it has 3");
        assert_eq!(check(&unique(), vec![1, 2, 1]), "a: [0] and [2] are equal");
        let unknown = Value::List(vec![Value::Unknown, Value::Unknown]);
        assert_eq!(check(&unique(), unknown), "");
        let object = |n: i64| Value::from(Object::new().with("n", n));
        assert_eq!(
            check(
                &unique_by(["n"]),
                Value::List(vec![object(1), object(2), object(1)])
            ),
            "a: `n` is the same in the objects 1 and 3"
        );
        assert_eq!(check(&none_of(&["root"]), "root"), r#"a: it is "root""#);
        assert_eq!(check(&at_least(3), 2), "a: 2 is not");
        assert_eq!(check(&at_most(3), 4), "a: 4 is not");
        assert_eq!(
            check(&cidr(), "10.0.0.1"),
            r#"a: "10.0.0.1" has no prefix length"#
        );
        assert_eq!(check(&cidr(), "::/129"), r#"a: "::/129" is none"#);
        assert_ne!(check(&size(), "10G"), "");
        assert_ne!(check(&json(), "{"), "");
        assert_ne!(check(&yaml(), "a: ["), "");
        let either = || any_of([cidr(), name()]);
        assert_eq!(check(&either(), "abc") + &check(&either(), "::/0"), "");
        assert_eq!(
            check(&either(), "1"),
            r#"a: "1" is none, and "1" does not match `^[a-z]+$`"#
        );
        let map = Value::Map([("A".to_owned(), Value::from(1))].into());
        assert_eq!(
            check(&keys(name()), map),
            r#"a["A"]: "A" does not match `^[a-z]+$`"#
        );
    }
}
