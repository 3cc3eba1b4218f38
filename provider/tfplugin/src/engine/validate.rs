//! Checks of a configuration, offline. All problems are collected.

use std::borrow::Cow;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::engine::{propose, words};
use crate::path::Path;
use crate::schema::{Attribute, Items, Nesting, Presence, Rule, Schema, Shape};
use crate::value::{Object, Type, Value};

/// Does the host know write-only attributes?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteOnly {
    /// It keeps them out of plan and state.
    Allowed,
    /// It would store them.
    Refused,
}

/// Checks validators, rules, and what the host cannot hold.
pub(crate) fn validate(schema: &Schema, config: &Object, host: WriteOnly, found: &mut Diagnostics) {
    Check { host, found }.object(&schema.attributes, &schema.rules, config, &Path::root());
}

struct Check<'a> {
    host: WriteOnly,
    found: &'a mut Diagnostics,
}

impl Check<'_> {
    fn object(&mut self, attributes: &[Attribute], rules: &[Rule], object: &Object, at: &Path) {
        let seen = as_rules_see(attributes, object);
        for rule in rules {
            rule.check(&seen, at, self.found);
        }
        for a in attributes {
            self.attribute(a, object.get(a.name()), &at.clone().attr(a.name()));
        }
    }

    fn attribute(&mut self, a: &Attribute, value: &Value, at: &Path) {
        if let Some(items) = a.items {
            self.count(items, value, at);
        }
        if value.is_null() {
            return;
        }
        // Hosts leave this to providers, and what a configuration says must be in the plan.
        if a.presence() == Presence::Computed {
            self.found.push(
                Diagnostic::error("Read-only attribute")
                    .detail(format!("`{at}` is set by the provider alone."))
                    .hint("remove it from the configuration")
                    .at(at.clone()),
            );
            return;
        }
        if a.write_only && self.host == WriteOnly::Refused {
            self.found.push(
                Diagnostic::error("Write-only attribute not supported")
                    .detail(format!(
                        "`{at}` is write-only, and this host would store it."
                    ))
                    .hint("use Terraform or OpenTofu 1.11 or later, or the attribute's plain twin")
                    .at(at.clone()),
            );
        }
        let before = self.found.iter().count();
        self.null_elements(a.shape(), value, at);
        if self.found.iter().count() == before {
            self.validators(a, value, at);
        }
        if let Shape::Nested(nesting, inner) = a.shape() {
            self.nested(*nesting, a, inner, value, at);
            self.collapse(inner, value, at);
        }
    }

    /// The host counts the elements of a set, and a default or the state's words may make two of them one.
    fn collapse(&mut self, inner: &[Attribute], value: &Value, at: &Path) {
        let Value::Set(elements) = value else { return };
        let filled = elements.iter().map(|e| {
            let fill = |o: &Object| Value::Object(propose(inner, o, None));
            e.as_object().map_or_else(|| e.clone(), fill)
        });
        let filled = Value::set(filled);
        if words::twins(inner, filled.elements()) {
            self.found.push(
                Diagnostic::error("Elements mean the same")
                    .detail(format!(
                        "Two elements of `{at}` say the same in other words, and a set has everything once."
                    ))
                    .hint("remove one of them")
                    .at(at.clone()),
            );
        }
        if filled.elements().len() < elements.len() {
            self.found.push(
                Diagnostic::error("Elements become equal")
                    .detail(format!(
                        "Two elements of `{at}` are the same once defaults are filled in."
                    ))
                    .hint("remove the one that says less")
                    .at(at.clone()),
            );
        }
    }

    /// Counted here, too: a host sees a block with an unknown `for_each` as one.
    fn count(&mut self, items: Items, value: &Value, at: &Path) {
        let count = match value {
            Value::Unknown => return,
            Value::Object(_) => 1,
            Value::List(es) | Value::Set(es) => u64::try_from(es.len()).unwrap_or(u64::MAX),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Map(_)
            | Value::Dynamic(_) => 0,
        };
        let (summary, limit, hint) = match items.max {
            Some(max) if count > max => ("Too many blocks", format!("at most {max}"), "remove"),
            _ if count < items.min => ("Too few blocks", format!("at least {}", items.min), "add"),
            _ => return,
        };
        self.found.push(
            Diagnostic::error(summary)
                .detail(format!(
                    "Of `{at}` blocks there must be {limit}, and there are {count}."
                ))
                .hint(format!("{hint} `{at}` blocks"))
                .at(at.clone()),
        );
    }

    fn validators(&mut self, a: &Attribute, value: &Value, at: &Path) {
        let mut broken = Vec::new();
        for validator in &a.validators {
            validator.check(value, at, &mut broken);
        }
        for one in broken {
            let secret = a.sensitive || a.write_only;
            let why = if secret {
                "this value is not (it is sensitive and not shown)"
            } else {
                &one.why
            };
            self.found.push(
                Diagnostic::error("Invalid attribute value")
                    .detail(format!("`{}` must be {}: {why}.", one.path, one.must_be))
                    .at(one.path),
            );
        }
    }

    fn nested(
        &mut self,
        nesting: Nesting,
        a: &Attribute,
        inner: &[Attribute],
        value: &Value,
        at: &Path,
    ) {
        let objects = match nesting {
            Nesting::Single => vec![(at.clone(), value)],
            Nesting::List | Nesting::Set | Nesting::Map => value.elements_at(at),
        };
        for (path, value) in objects {
            if let Value::Object(o) = value {
                self.object(inner, &a.rules, o, &path);
            }
        }
    }

    /// Terraform lets elements be null; no provider code expects it.
    fn null_elements(&mut self, shape: &Shape, value: &Value, at: &Path) {
        let collection = match shape {
            Shape::Nested(nesting, _) => *nesting != Nesting::Single,
            Shape::Plain(ty) => matches!(ty, Type::List(_) | Type::Set(_) | Type::Map(_)),
        };
        if !collection {
            return;
        }
        let nulls = value
            .elements_at(at)
            .into_iter()
            .filter(|(_, e)| e.is_null());
        for (path, _) in nulls {
            self.found.push(
                Diagnostic::error("Null element")
                    .detail(format!(
                        "`{path}` is null, and elements of `{at}` must have a value."
                    ))
                    .hint("leave the element out, for example with `[for x in … : x if x != null]`")
                    .at(path),
            );
        }
    }
}

/// To a rule, blocks that are not there are not set.
fn as_rules_see<'a>(attributes: &[Attribute], object: &'a Object) -> Cow<'a, Object> {
    let empty = |a: &&Attribute| {
        let value = object.get(a.name());
        a.items.is_some() && matches!(value, Value::List(es) | Value::Set(es) if es.is_empty())
    };
    let mut seen = Cow::Borrowed(object);
    for a in attributes.iter().filter(empty) {
        seen.to_mut().put(a.name(), Value::Null);
    }
    seen
}
