//! Identity: what a resource is, whatever else about it changes.
//!
//! Hosts from Terraform and OpenTofu 1.12 store it beside the state, import by it and list with it; older hosts never ask, and what is
//! sent to them all the same is skipped by the protocol. The engine asks [`Resource::identify`](crate::Resource::identify) for the
//! identity of every state that it answers with, and checks the host's rule: once known, an identity only changes by replacement.
//! Deliberately not here: identities that a provider may change in place.

use std::fmt;

use crate::codec::json;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::Model;
use crate::path::Path;
use crate::runtime::Runtime;
use crate::schema::{Attribute, Presence, SchemaMistake, Shape, object_type};
use crate::value::{Object, Type, Value};

/// The attributes of an identity: required ones must be given to import by it, optional ones may be.
#[derive(Clone, Debug, Default)]
pub struct IdentitySchema {
    version: i64,
    attributes: Vec<Attribute>,
}

impl IdentitySchema {
    /// The attributes of a model, version 0: `required()` and `optional()` ones, of plain types.
    #[must_use]
    pub fn of<M: Model>() -> Self {
        Self {
            version: 0,
            attributes: M::attributes(),
        }
    }

    /// The version of the stored identity's shape; see [`Resource::identity_upgrades`](crate::Resource::identity_upgrades).
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.version = version;
        self
    }

    /// Every attribute, as declared.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The type of an identity.
    #[must_use]
    pub fn ty(&self) -> Type {
        object_type(&self.attributes)
    }

    /// The version of the stored identity's shape.
    #[must_use]
    pub fn stored_version(&self) -> i64 {
        self.version
    }

    /// Every mistake that a host would refuse, or that an identity cannot mean.
    pub(crate) fn mistakes(&self) -> Vec<SchemaMistake> {
        let wrong = |a: &Attribute| {
            let mistake = match (a.presence(), a.shape()) {
                (Presence::Computed | Presence::OptionalComputed, _) => {
                    "an attribute of an identity is required or optional, without default"
                }
                (_, Shape::Plain(ty)) if !is_plain(ty) => {
                    "an attribute of an identity is text, a number, a bool, or a list of these"
                }
                (_, Shape::Nested(..)) => "an attribute of an identity is not nested",
                _ if a.write_only || a.sensitive => "an identity is no secret",
                _ => return None,
            };
            Some(SchemaMistake {
                path: Path::attribute(a.name()),
                mistake,
            })
        };
        let mut found: Vec<_> = self.attributes.iter().filter_map(wrong).collect();
        if self.attributes.is_empty() {
            found.push(SchemaMistake {
                path: Path::root(),
                mistake: "an identity has attributes",
            });
        }
        found
    }

    /// The part of `object` that is the identity.
    fn cut(&self, mut object: Object) -> Object {
        let one = |a: &Attribute| (a.name().to_owned(), object.take(a.name()));
        self.attributes.iter().map(one).collect()
    }

    /// Is it known, and does it have what an import needs?
    fn is_complete(&self, identity: &Object) -> bool {
        let has = |a: &Attribute| {
            let value = identity.get(a.name());
            value.is_wholly_known() && (a.presence() != Presence::Required || !value.is_null())
        };
        self.attributes.iter().all(has)
    }

    /// Reads a stored identity.
    pub(crate) fn read(&self, name: &str, text: &[u8]) -> Result<Object, Diagnostic> {
        match json::from_bytes(text, &self.ty()) {
            Ok(Value::Object(identity)) => Ok(identity),
            Ok(_) => Err(unreadable(name, &"it is no object")),
            Err(error) => Err(unreadable(name, &error)),
        }
    }
}

impl Runtime {
    /// Names and identities of the resources that have one.
    pub fn identity_schemas(&self) -> impl Iterator<Item = (&'static str, &IdentitySchema)> {
        self.identities.iter().map(|(name, schema)| (*name, schema))
    }

    pub(crate) fn identity_schema(&self, name: &str) -> Result<&IdentitySchema, Diagnostic> {
        self.identities.get(name).ok_or_else(|| {
            Diagnostic::error("Unknown identity")
                .detail(format!("`{name}` has no identity in this version of the provider."))
                .hint("run terraform init -upgrade; the state may come from another version of the provider")
        })
    }
}

fn unreadable(name: &str, why: &dyn fmt::Display) -> Diagnostic {
    Diagnostic::error("Identity cannot be read")
        .detail(format!(
            "The stored identity of `{name}` does not fit its schema: {why}."
        ))
        .hint("remove the resource from the state and import it again")
}

fn is_plain(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Number | Type::String => true,
        Type::List(e) => matches!(**e, Type::Bool | Type::Number | Type::String),
        Type::Set(_) | Type::Map(_) | Type::Object(_) | Type::Tuple(_) | Type::Dynamic => false,
    }
}

/// Which answer an identity goes with; each has its own rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A plan of a creation or replacement: it may be unknown yet.
    PlannedAnew,
    /// A plan of an update in place.
    PlannedInPlace,
    /// A refresh.
    Refreshed,
    /// An operation that succeeded.
    Applied,
    /// An operation that failed: what is there may be half made.
    Failed,
    /// An import; the engine reads the resource next.
    Imported,
}

/// The identity to answer with. `told` is what the resource says, `before` what the host knows: the stored, planned or asked one.
pub(crate) fn answer(
    schema: &IdentitySchema,
    told: Object,
    before: Option<&Object>,
    answer: Answer,
    found: &mut Diagnostics,
) -> Option<Object> {
    let told = schema.cut(told);
    let changed = before.and_then(|b| changed(schema, b, &told));
    let complete = schema.is_complete(&told);
    match (answer, changed) {
        (Answer::PlannedAnew, _) => Some(told),
        // What is not there yet is no news; the host keeps what it has.
        (Answer::Failed, _) if complete => Some(told),
        (Answer::Failed, _) => before.filter(|b| schema.is_complete(b)).cloned(),
        (_, Some(attribute)) => {
            found.push(change(&attribute, before, &told, answer));
            before.cloned()
        }
        (_, None) if complete => Some(told),
        (Answer::Applied, None) => {
            found.push(incomplete(schema, &told));
            None
        }
        // Stored by a version without identity, or a resource that knows less than the host does.
        (Answer::PlannedInPlace | Answer::Refreshed | Answer::Imported, None) => {
            before.filter(|b| schema.is_complete(b)).cloned()
        }
    }
}

/// An attribute that was known and is another now. Null becoming known is no change: an import may leave optional ones out.
fn changed(schema: &IdentitySchema, before: &Object, told: &Object) -> Option<String> {
    let differs = |a: &&Attribute| {
        let (was, is) = (before.get(a.name()), told.get(a.name()));
        !was.is_null()
            && was.is_wholly_known()
            && is.is_wholly_known()
            && !is.is_null()
            && was != is
    };
    let found = schema.attributes.iter().find(differs);
    found.map(|a| a.name().to_owned())
}

fn change(name: &str, before: Option<&Object>, told: &Object, answer: Answer) -> Diagnostic {
    let text = |o: Option<&Object>| match o.map(|o| o.get(name)) {
        Some(Value::String(s)) => format!("{s:?}"),
        Some(Value::Number(n)) => n.to_string(),
        Some(Value::Bool(b)) => b.to_string(),
        _ => "another value".to_owned(),
    };
    let (was, is) = (text(before), text(Some(told)));
    match answer {
        Answer::Refreshed => Diagnostic::error("Another resource in its place")
            .detail(format!(
                "The state is about the resource with `{name}` {was}, and what was read has {is}."
            ))
            .hint("remove the resource from the state and import the one that is meant"),
        Answer::Imported => Diagnostic::error("Another resource was found")
            .detail(format!(
                "The import asked for `{name}` {was}, and what was found has {is}."
            ))
            .hint("correct the identity in the import block"),
        Answer::PlannedInPlace | Answer::PlannedAnew | Answer::Applied | Answer::Failed => {
            Diagnostic::provider_bug(format!(
                "`{name}` of the resource's identity changes from {was} to {is} without replacement."
            ))
        }
    }
}

fn incomplete(schema: &IdentitySchema, told: &Object) -> Diagnostic {
    let missing = |a: &&Attribute| {
        let value = told.get(a.name());
        !value.is_wholly_known() || (a.presence() == Presence::Required && value.is_null())
    };
    let names: Vec<_> = schema.attributes.iter().filter(missing).collect();
    let names: Vec<_> = names.iter().map(|a| format!("`{}`", a.name())).collect();
    Diagnostic::provider_bug(format!(
        "The resource's identity lacks {} after the operation; it is not stored.",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::model! {
        struct Named {
            /// Its name.
            name: String = required(),
            /// Where.
            region: String = optional(),
        }
    }

    fn named(name: impl Into<Value>, region: impl Into<Value>) -> Object {
        Object::new()
            .with(Named::name, name)
            .with(Named::region, region)
    }

    /// The identity that is answered, and what is said.
    fn check(before: Option<Object>, told: Object, what: Answer) -> (Option<Object>, String) {
        let mut found = Diagnostics::new();
        let schema = IdentitySchema::of::<Named>();
        let identity = answer(
            &schema,
            told.with("more", 1),
            before.as_ref(),
            what,
            &mut found,
        );
        let said = found.iter().map(|d| format!("{}: {}", d.summary, d.detail));
        (identity, said.collect())
    }

    #[test]
    fn identities_only_change_by_replacement() {
        let (a, b) = (named("a", "x"), named("b", "x"));
        for (what, said) in [
            (
                Answer::Refreshed,
                "Another resource in its place: The state is about the resource with `name` \"a\", and what was read has \"b\".",
            ),
            (
                Answer::Imported,
                "Another resource was found: The import asked for `name` \"a\", and what was found has \"b\".",
            ),
            (
                Answer::PlannedInPlace,
                "Provider mistake: `name` of the resource's identity changes from \"a\" to \"b\" without replacement.",
            ),
            (
                Answer::Applied,
                "Provider mistake: `name` of the resource's identity changes from \"a\" to \"b\" without replacement.",
            ),
        ] {
            assert_eq!(
                check(Some(a.clone()), b.clone(), what),
                (Some(a.clone()), said.to_owned())
            );
        }
        let replaced = check(Some(a), b.clone(), Answer::PlannedAnew);
        assert_eq!(replaced, (Some(b), String::new()));
    }

    #[test]
    fn identities_may_be_filled_in() {
        let (short, whole) = (named("a", Value::Null), named("a", "x"));
        let read = check(Some(short.clone()), whole.clone(), Answer::Refreshed);
        assert_eq!(read, (Some(whole), String::new()));
        // A resource that knows less than the host leaves the host what it has.
        let nothing = named(Value::Null, Value::Null);
        let imported = check(Some(short.clone()), nothing.clone(), Answer::Imported);
        assert_eq!(imported, (Some(short), String::new()));
        let failed = check(
            Some(named(Value::Unknown, "x")),
            nothing.clone(),
            Answer::Failed,
        );
        assert_eq!(failed, (None, String::new()));
        let (identity, said) = check(None, nothing, Answer::Applied);
        assert_eq!(identity, None);
        assert_eq!(
            said,
            "Provider mistake: The resource's identity lacks `name` after the operation; it is not stored."
        );
    }

    crate::model! {
        struct Wrong {
            /// Decided by the provider.
            id: String = computed(),
            /// Nested.
            inner: Named = required(),
            /// No order.
            tags: std::collections::BTreeSet<String> = optional(),
            /// Secret.
            key: String = optional().sensitive(),
        }
    }

    #[test]
    fn mistakes_are_found() {
        let found = IdentitySchema::of::<Wrong>().mistakes();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(found.join("\n"), @"
        `id`: an attribute of an identity is required or optional, without default
        `inner`: an attribute of an identity is not nested
        `tags`: an attribute of an identity is text, a number, a bool, or a list of these
        `key`: an identity is no secret
        ");
        assert_eq!(IdentitySchema::of::<Named>().mistakes(), Vec::new());
    }
}
