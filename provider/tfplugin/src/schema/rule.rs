//! Rules between the attributes of one object. What is unknown yet counts as "may be set", so a rule never fails too early.

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::path::Path;
use crate::value::{Object, Value};

/// A rule between attributes of one object, checked at `terraform validate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    kind: Kind,
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ExactlyOne,
    AtLeastOne,
    AtMostOne,
    AllOrNone,
    /// The first needs the others.
    Requires,
    /// The first excludes the others, which may be set together.
    Conflicts,
}

impl Rule {
    /// Exactly one of these is set.
    #[must_use]
    pub fn exactly_one_of<const N: usize>(names: [&str; N]) -> Self {
        Self::new(Kind::ExactlyOne, names)
    }

    /// One of these or more are set.
    #[must_use]
    pub fn at_least_one_of<const N: usize>(names: [&str; N]) -> Self {
        Self::new(Kind::AtLeastOne, names)
    }

    /// These exclude one another.
    #[must_use]
    pub fn at_most_one_of<const N: usize>(names: [&str; N]) -> Self {
        Self::new(Kind::AtMostOne, names)
    }

    /// These are set together.
    #[must_use]
    pub fn all_or_none_of<const N: usize>(names: [&str; N]) -> Self {
        Self::new(Kind::AllOrNone, names)
    }

    /// Where `name` is set, these must be, too.
    #[must_use]
    pub fn required_with<const N: usize>(name: &str, others: [&str; N]) -> Self {
        Self::of(Kind::Requires, name, others)
    }

    /// Where `name` is set, none of these is.
    #[must_use]
    pub fn conflicts_with<const N: usize>(name: &str, others: [&str; N]) -> Self {
        Self::of(Kind::Conflicts, name, others)
    }

    /// What has to go from an object so that the rule holds, the first that is set stays.
    pub(crate) fn surplus(&self, object: &Object) -> Vec<&str> {
        let set = |name: &&String| !matches!(object.get(name), Value::Null | Value::Unknown);
        let first_is_set = self.names.first().is_some_and(|n| set(&n));
        match self.kind {
            Kind::Conflicts if !first_is_set => Vec::new(),
            Kind::ExactlyOne | Kind::AtMostOne | Kind::Conflicts => {
                let set = self.names.iter().filter(set).skip(1);
                set.map(String::as_str).collect()
            }
            Kind::AtLeastOne | Kind::AllOrNone | Kind::Requires => Vec::new(),
        }
    }

    /// The attributes that it is about.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn check(&self, object: &Object, at: &Path, found: &mut Diagnostics) {
        match self.kind {
            Kind::Requires | Kind::Conflicts => self.check_first(object, at, found),
            Kind::ExactlyOne | Kind::AtLeastOne | Kind::AtMostOne | Kind::AllOrNone => {
                self.check_all(object, at, found);
            }
        }
    }

    /// The first against each of the others.
    fn check_first(&self, object: &Object, at: &Path, found: &mut Diagnostics) {
        let Some((first, others)) = self.names.split_first() else {
            return;
        };
        if matches!(object.get(first), Value::Null | Value::Unknown) {
            return;
        }
        for other in others {
            match (self.kind, object.get(other)) {
                (Kind::Requires, Value::Null) => found.push(
                    Diagnostic::error("Missing attribute")
                        .detail(format!("`{first}` needs `{other}`, which is missing."))
                        .hint(format!("set `{other}` or remove `{first}`"))
                        .at(at.clone().attr(first)),
                ),
                (Kind::Conflicts, Value::Null | Value::Unknown) | (Kind::Requires, _) => {}
                _ => found.push(
                    Diagnostic::error("Conflicting attributes")
                        .detail(format!("`{first}` and `{other}` cannot be set together."))
                        .hint(format!("remove `{first}` or `{other}`"))
                        .at(at.clone().attr(other)),
                ),
            }
        }
    }

    fn check_all(&self, object: &Object, at: &Path, found: &mut Diagnostics) {
        let set = |name: &&String| !matches!(object.get(name), Value::Null | Value::Unknown);
        let known: Vec<_> = self.names.iter().filter(set).collect();
        let open = self.names.iter().any(|n| object.get(n).is_unknown());
        let missing = self.names.iter().find(|n| object.get(n).is_null());
        let list = self
            .names
            .iter()
            .map(|n| format!("`{n}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let too_many = known.len() > 1 && matches!(self.kind, Kind::ExactlyOne | Kind::AtMostOne);
        let none =
            known.is_empty() && !open && matches!(self.kind, Kind::ExactlyOne | Kind::AtLeastOne);
        if too_many {
            found.push(
                Diagnostic::error("Conflicting attributes")
                    .detail(format!("At most one of {list} can be set."))
                    .hint(format!("remove all but one, for example `{}`", known[1]))
                    .at(at.clone().attr(known[1])),
            );
        } else if none {
            let word = if self.kind == Kind::ExactlyOne {
                "Exactly"
            } else {
                "At least"
            };
            let diagnostic = Diagnostic::error("Missing attribute")
                .detail(format!("{word} one of {list} must be set, and none is."))
                .hint("set one of them");
            // The root has no attribute to point at; the host shows the block.
            let nested = !at.steps().is_empty();
            found.push(if nested {
                diagnostic.at(at.clone())
            } else {
                diagnostic
            });
        } else if let (Kind::AllOrNone, [first, ..], Some(missing)) =
            (self.kind, known.as_slice(), missing)
        {
            found.push(
                Diagnostic::error("Missing attribute")
                    .detail(format!(
                        "{list} are set together, and `{missing}` is missing."
                    ))
                    .hint(format!("set `{missing}` or remove `{first}`"))
                    .at(at.clone().attr(first)),
            );
        }
    }

    fn of<const N: usize>(kind: Kind, first: &str, others: [&str; N]) -> Self {
        let names = std::iter::once(first).chain(others);
        Self {
            kind,
            names: names.map(str::to_owned).collect(),
        }
    }

    fn new<const N: usize>(kind: Kind, names: [&str; N]) -> Self {
        Self {
            kind,
            names: names.into_iter().map(str::to_owned).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Rule, object: Object) -> String {
        let mut found = Diagnostics::new();
        rule.check(&object, &Path::attribute("x"), &mut found);
        found
            .iter()
            .map(|d| format!("{} @ {}", d.detail, d.path.clone().unwrap()))
            .collect()
    }

    #[test]
    fn rules_wait_for_the_unknown() {
        let one = || Rule::exactly_one_of(["a", "b"]);
        assert_eq!(check(one(), Object::new().with("a", 1)), "");
        assert_eq!(check(one(), Object::new().with("a", Value::Unknown)), "");
        assert_eq!(
            check(one(), Object::new()),
            "Exactly one of `a`, `b` must be set, and none is. @ x"
        );
        assert_eq!(
            check(one(), Object::new().with("a", 1).with("b", 2)),
            "At most one of `a`, `b` can be set. @ x.b"
        );
        assert_eq!(
            check(Rule::all_or_none_of(["a", "b"]), Object::new().with("b", 2)),
            "`a`, `b` are set together, and `a` is missing. @ x.b"
        );
        let needs = || Rule::required_with("a", ["b", "c"]);
        assert_eq!(check(needs(), Object::new().with("b", 2)), "");
        assert_eq!(
            check(
                needs(),
                Object::new().with("a", 1).with("c", Value::Unknown)
            ),
            "`a` needs `b`, which is missing. @ x.a"
        );
        let excludes = || Rule::conflicts_with("a", ["b", "c"]);
        assert_eq!(
            check(excludes(), Object::new().with("b", 2).with("c", 3)),
            ""
        );
        assert_eq!(
            check(excludes(), Object::new().with("a", 1).with("c", 3)),
            "`a` and `c` cannot be set together. @ x.c"
        );
        let all = Object::new().with("a", 1).with("b", 2).with("c", 3);
        assert_eq!(excludes().surplus(&all), ["b", "c"]);
        assert_eq!(one().surplus(&all), ["b"]);
        assert_eq!(check(Rule::at_most_one_of(["a", "b"]), Object::new()), "");
        assert_ne!(check(Rule::at_least_one_of(["a", "b"]), Object::new()), "");
    }
}
