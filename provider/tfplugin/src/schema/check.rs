//! Mistakes in a schema that a host would refuse, or that would break a plan later. Found when the provider starts.

use std::collections::BTreeSet;

use crate::model::Name;
use crate::path::Path;
use crate::schema::{Attribute, Items, Nesting, OnUnknown, Presence, Rule, Schema, Shape};
use crate::timeouts::Timeouts;
use crate::value::Type;

/// A mistake of the provider's author in a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {mistake}")]
pub struct SchemaMistake {
    /// The attribute.
    pub path: Path,
    /// What is wrong with it.
    pub mistake: &'static str,
}

/// Said of a name that HCL keeps for itself.
pub(crate) const RESERVED_NAME: &str = "the name is reserved by HCL";

/// Names that HCL keeps for itself in resource blocks.
const RESERVED: [&str; 7] = [
    "connection",
    "count",
    "depends_on",
    "for_each",
    "lifecycle",
    "provider",
    "provisioner",
];

impl Schema {
    /// Every mistake in the schema; a provider's unit test asserts that there is none.
    #[must_use]
    pub fn mistakes(&self) -> Vec<SchemaMistake> {
        let mut found = Vec::new();
        attributes(&self.attributes, &Path::root(), Within::Block, &mut found);
        rules(&self.rules, &self.attributes, &Path::root(), &mut found);
        for a in self
            .attributes
            .iter()
            .filter(|a| RESERVED.contains(&a.name()))
        {
            found.push(mistake(&Path::attribute(a.name()), RESERVED_NAME));
        }
        found
    }

    /// Has the block the `timeouts` attribute of [`Timeouts`]?
    pub(crate) fn has_timeouts(&self) -> bool {
        let timeouts: Name<Timeouts> = Timeouts::NAME;
        self.attributes.iter().any(|a| a.name() == timeouts.name())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Block,
    Set,
    Computed,
}

fn mistake(path: &Path, mistake: &'static str) -> SchemaMistake {
    SchemaMistake {
        path: path.clone(),
        mistake,
    }
}

fn attributes(all: &[Attribute], at: &Path, within: Within, found: &mut Vec<SchemaMistake>) {
    let mut seen = BTreeSet::new();
    for a in all {
        let path = at.clone().attr(a.name());
        if !seen.insert(a.name()) {
            found.push(mistake(&path, "declared twice"));
        }
        let mut say = |wrong: bool, what| {
            if wrong {
                found.push(mistake(&path, what));
            }
        };
        say(
            !is_name(a.name()),
            "a name is made of lower-case letters, digits and underscores",
        );
        say(
            a.default.is_some() && a.presence() != Presence::OptionalComputed,
            "only an optional attribute has a default",
        );
        say(
            a.write_only && (a.is_computed() || within != Within::Block),
            "a write-only attribute is set by the configuration only, outside sets and computed objects",
        );
        say(
            a.on_unknown == OnUnknown::KeepState && !a.is_computed(),
            "use_state_for_unknown is for values that the provider sets",
        );
        say(
            a.on_unknown == OnUnknown::KeepState && a.depends_on.is_some(),
            "use_state_for_unknown and depends_on exclude one another",
        );
        let needs = a.depends_on.as_deref().unwrap_or_default();
        say(
            !needs.is_empty() && (!a.is_computed() || a.default.is_some()),
            "depends_on is for values that the provider decides",
        );
        for need in needs {
            let known = all.iter().find(|b| b.name() == need);
            say(
                known.is_none(),
                "depends_on names an attribute that does not exist",
            );
            say(
                known.is_some_and(|b| b.write_only || b.local),
                "depends_on names an attribute whose changes a plan does not show",
            );
        }
        say(
            within == Within::Set && a.is_computed() && a.default.is_none(),
            "an element of a set has no identity that a computed value could follow; use a list or a map",
        );
        nested(a, &path, within, found);
    }
}

fn block(a: &Attribute, items: Items, path: &Path, found: &mut Vec<SchemaMistake>) {
    let mut say = |wrong: bool, what| {
        if wrong {
            found.push(mistake(path, what));
        }
    };
    let single = matches!(a.shape(), Shape::Nested(Nesting::Single, _));
    let max = items.max.unwrap_or(u64::MAX);
    say(
        !matches!(
            a.shape(),
            Shape::Nested(Nesting::Single | Nesting::List | Nesting::Set, _)
        ),
        "a block is a model, a Vec of models or a SetOf models",
    );
    say(
        a.presence() != Presence::Optional || a.sensitive || a.write_only,
        "a block is neither required, computed, sensitive nor write-only; its attributes may be, and it has min_items",
    );
    say(
        items.min > max || max == 0,
        "there is no number of blocks between min_items and max_items",
    );
    say(
        single && (items.min > 1 || items.max.is_some_and(|m| m > 1)),
        "a single block is there once or not at all",
    );
    say(
        contains_dynamic(&Type::list(a.shape().ty())),
        "a block holds no dynamic type",
    );
}

fn nested(a: &Attribute, path: &Path, within: Within, found: &mut Vec<SchemaMistake>) {
    if let Some(items) = a.items {
        block(a, items, path, found);
    }
    match a.shape() {
        Shape::Nested(nesting, inner) => {
            if inner.is_empty() {
                found.push(mistake(path, "a nested attribute has attributes"));
            }
            if a.items.is_none() && inner.iter().any(|i| i.items.is_some()) {
                found.push(mistake(
                    path,
                    "blocks are in blocks only; a nested attribute holds attributes",
                ));
            }
            let below = match (a.presence(), nesting) {
                (Presence::Computed, _) => Within::Computed,
                (_, Nesting::Set) => Within::Set,
                (_, Nesting::Single | Nesting::List | Nesting::Map) => within,
            };
            attributes(inner, path, below, found);
            rules(&a.rules, inner, path, found);
        }
        Shape::Plain(ty) => {
            if contains_dynamic(ty) {
                found.push(mistake(
                    path,
                    "the host accepts no dynamic type inside a collection",
                ));
            }
        }
    }
}

/// Is it a name as HCL writes it by custom?
pub(crate) fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn rules(rules: &[Rule], all: &[Attribute], at: &Path, found: &mut Vec<SchemaMistake>) {
    for name in rules.iter().flat_map(Rule::names) {
        if !all.iter().any(|a| a.name() == name) {
            found.push(mistake(
                &at.clone().attr(name),
                "a rule names an attribute that does not exist",
            ));
        }
    }
}

pub(crate) fn contains_dynamic(ty: &Type) -> bool {
    fn dynamic(ty: &Type) -> bool {
        *ty == Type::Dynamic || contains_dynamic(ty)
    }
    match ty {
        Type::List(e) | Type::Set(e) | Type::Map(e) => dynamic(e),
        Type::Object(fields) => fields.values().any(contains_dynamic),
        Type::Tuple(es) => es.iter().any(contains_dynamic),
        Type::Bool | Type::Number | Type::String | Type::Dynamic => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{computed, optional};

    crate::model! {
        struct Inner {
            /// Computed in a set.
            seen: bool = computed(),
        }
    }
    crate::model! {
        struct Bad {
            count: i64 = required().default(1),
            key: String = computed().write_only(),
            members: crate::SetOf<Inner> = optional(),
        }
    }

    #[test]
    fn mistakes_are_found() {
        let schema = Schema::of::<Bad>("")
            .rule(Rule::at_most_one_of(["key", "kee"]))
            .attribute(Attribute::dynamic(
                "Upper",
                Shape::Plain(Type::list(Type::Dynamic)),
                optional(),
            ));
        let found: Vec<_> = schema.mistakes().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(found.join("\n"), @"
        `count`: only an optional attribute has a default
        `key`: a write-only attribute is set by the configuration only, outside sets and computed objects
        `members.seen`: an element of a set has no identity that a computed value could follow; use a list or a map
        `Upper`: a name is made of lower-case letters, digits and underscores
        `Upper`: the host accepts no dynamic type inside a collection
        `kee`: a rule names an attribute that does not exist
        `count`: the name is reserved by HCL
        ");
        let fine = Schema::new("").attribute(Attribute::of(Name::<i64>::new("n"), "", computed()));
        assert_eq!(fine.mistakes(), Vec::new());
    }
}
