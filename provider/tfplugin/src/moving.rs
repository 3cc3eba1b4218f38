//! States of another shape: older versions of the same type ([`Upgrade`]) and other types ([`Move`]).
//!
//! Each step declares the model of what it reads, so that a provider never picks JSON apart. What does not fit the model is told with its
//! path; what the model has no room for is told, too, before it is gone.

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::codec::json;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::engine;
use crate::guard;
use crate::identity::Answer;
use crate::lifecycle::{Applied, Asked, untouched};
use crate::model::Model;
use crate::runtime::Runtime;
use crate::schema::object_type;
use crate::value::{Object, Type, Value};

type Step = Arc<dyn Fn(&Object) -> Result<Object, Diagnostic> + Send + Sync>;

/// One step of a stored shape towards today's: of a state, or of an identity.
#[derive(Clone)]
pub struct Upgrade {
    pub(crate) from: i64,
    pub(crate) to: i64,
    ty: Type,
    step: Step,
}

impl Upgrade {
    /// From version `from`, which `Old` describes, to version `to`. Steps are chained: one per version is enough.
    pub fn new<Old: Model, New: Into<Object>>(
        from: i64,
        to: i64,
        step: impl Fn(Old) -> Result<New, Diagnostic> + Send + Sync + 'static,
    ) -> Self {
        Self {
            from,
            to,
            ty: object_type(&Old::attributes()),
            step: Arc::new(move |old| step(old.model()).map(Into::into)),
        }
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upgrade {} to {}", self.from, self.to)
    }
}

impl Runtime {
    /// Rewrites a stored state, in its JSON form, for today's schema, whose type is `ty`. None where it is null.
    pub(crate) async fn upgrade_state(
        &self,
        name: &str,
        version: i64,
        text: &[u8],
        ty: &Type,
    ) -> Applied {
        let mut found = Diagnostics::new();
        let work = self.upgraded(name, version, text, ty, &mut found);
        let done = guard::catch(work).await.and_then(|done| done);
        match done {
            Ok(state) => Applied {
                state,
                diagnostics: found,
                ..Applied::default()
            },
            Err(why) => {
                found.push(why);
                untouched(None, Asked::default(), found)
            }
        }
    }

    async fn upgraded(
        &self,
        name: &str,
        version: i64,
        text: &[u8],
        ty: &Type,
        found: &mut Diagnostics,
    ) -> Result<Option<Object>, Diagnostic> {
        let kind = self.resource(name)?;
        let today = kind.schema.version;
        let what = "state";
        let stored = Stored {
            what,
            name,
            version,
            text,
        };
        if version > today {
            return Err(stored.too_new(today));
        }
        let filled = |state: Option<Object>| {
            state.map(|s| engine::with_empty_blocks(&kind.schema.attributes, s))
        };
        if version == today {
            return stored.read(ty, found).map(filled);
        }
        let steps = kind.code.upgrades();
        if let Some(steps) = way(&steps, version, today) {
            return walk(&steps, &stored, found).map(filled);
        }
        let state: serde_json::Value =
            serde_json::from_slice(text).map_err(|why| stored.unreadable(&why))?;
        // Code that indexes a state panics on anything but an object.
        if state.is_null() {
            return Ok(None);
        }
        if !state.is_object() {
            return Err(stored.unreadable(&"it is no object"));
        }
        let state = kind.code.upgrade(version, state)?;
        let text = serde_json::to_vec(&state).map_err(|why| stored.unreadable(&why))?;
        let stored = Stored {
            text: &text,
            ..stored
        };
        // What an upgrade leaves behind, it leaves on purpose.
        stored.read(ty, &mut Diagnostics::new()).map(filled)
    }

    /// Rewrites a stored identity, in its JSON form, for today's schema.
    pub(crate) async fn upgrade_identity(
        &self,
        name: &str,
        version: i64,
        text: &[u8],
    ) -> Result<(Option<Object>, Diagnostics), Diagnostic> {
        let kind = self.resource(name)?;
        let schema = self.identity_schema(name)?;
        let today = schema.stored_version();
        let what = "identity";
        let stored = Stored {
            what,
            name,
            version,
            text,
        };
        if version > today {
            return Err(stored.too_new(today));
        }
        if version == today {
            return Ok((Some(schema.read(name, text)?), Diagnostics::new()));
        }
        let mut found = Diagnostics::new();
        let work = async {
            let steps = kind.code.identity_upgrades();
            match way(&steps, version, today) {
                Some(steps) => walk(&steps, &stored, &mut found),
                None => Err(Diagnostic::error("Identity is too old")
                    .detail(format!("The identity of `{name}` was stored with version {version}, which is not known any more."))
                    .hint("apply once with an older version of the provider")),
            }
        };
        let upgraded = guard::catch(work).await.and_then(|done| done)?;
        Ok((upgraded, found))
    }

    /// Makes a state from one of another type. What it is the engine learns when it is read next.
    pub async fn move_state(&self, name: &str, source: &MoveSource) -> Applied {
        let kind = match self.resource(name) {
            Ok(kind) => kind,
            Err(unknown) => return untouched(None, Asked::default(), unknown),
        };
        let work = async { moved(&kind.code.moves(), name, source) };
        let state = match guard::catch(work).await.and_then(|done| done) {
            Ok(state) => state,
            Err(why) => return untouched(None, Asked::default(), why),
        };
        let mut found = Diagnostics::new();
        let attributes = &kind.schema.attributes;
        let state = engine::refreshed(attributes, &Object::new(), state, &mut found);
        let state = engine::with_local_defaults(attributes, state);
        let identity = self
            .identity_of(name, kind, &state, None, Answer::Imported, &mut found)
            .await;
        Applied {
            state: Some(state),
            identity,
            diagnostics: found,
            ..Applied::default()
        }
    }
}

/// Chains the steps from `version` to `today`; none where there is no way.
pub(crate) fn way(steps: &[Upgrade], version: i64, today: i64) -> Option<Vec<&Upgrade>> {
    let (mut at, mut way) = (version, Vec::new());
    while at < today {
        let next = steps
            .iter()
            .find(|s| s.from == at && s.to > at && s.to <= today)?;
        at = next.to;
        way.push(next);
    }
    Some(way)
}

/// Walks the way with a stored text.
pub(crate) fn walk(
    way: &[&Upgrade],
    stored: &Stored<'_>,
    found: &mut Diagnostics,
) -> Result<Option<Object>, Diagnostic> {
    let Some((first, more)) = way.split_first() else {
        return Ok(None);
    };
    let Some(state) = stored.read(&first.ty, found)? else {
        return Ok(None);
    };
    let state = (first.step)(&state)?;
    more.iter()
        .try_fold(state, |state, next| (next.step)(&state))
        .map(Some)
}

/// Steps that lead nowhere, as start-up says it.
pub(crate) fn dead_ends(steps: &[Upgrade], today: i64) -> Vec<String> {
    let lost = |s: &&Upgrade| s.to <= s.from || way(steps, s.from, today).is_none();
    let say = |s: &Upgrade| format!("{s:?} does not lead to version {today}");
    steps.iter().filter(lost).map(say).collect()
}

/// A stored text and what it is about.
pub(crate) struct Stored<'a> {
    /// `state` or `identity`.
    pub(crate) what: &'static str,
    /// The type's name.
    pub(crate) name: &'a str,
    pub(crate) version: i64,
    pub(crate) text: &'a [u8],
}

impl Stored<'_> {
    /// Reads it against a type. None where it is null.
    pub(crate) fn read(
        &self,
        ty: &Type,
        found: &mut Diagnostics,
    ) -> Result<Option<Object>, Diagnostic> {
        let state = match json::from_bytes(self.text, ty) {
            Ok(Value::Object(state)) => state,
            Ok(_) => return Ok(None),
            Err(error) => return Err(self.unreadable(&error)),
        };
        found.extend(self.removed(ty));
        Ok(Some(state))
    }

    /// The stored text does not fit.
    pub(crate) fn unreadable(&self, why: &dyn fmt::Display) -> Diagnostic {
        let Self {
            what,
            name,
            version,
            ..
        } = self;
        Diagnostic::error(format!("{} cannot be read", capital(what)))
            .detail(format!(
                "The stored {what} of `{name}` (version {version}) does not fit its schema: {why}."
            ))
            .hint("restore the state from a backup, or remove the resource from the state and import it again")
    }

    /// It comes from a later provider.
    pub(crate) fn too_new(&self, today: i64) -> Diagnostic {
        let Self {
            what,
            name,
            version,
            ..
        } = self;
        Diagnostic::error(format!("{} is too new", capital(what)))
            .detail(format!(
                "The {what} of `{name}` was stored with version {version}; this provider knows {today}."
            ))
            .hint("use the version of the provider that was used last, or a later one")
    }

    /// Values that the schema has no attribute for. Null is no loss.
    fn removed(&self, ty: &Type) -> Option<Diagnostic> {
        let Type::Object(known) = ty else { return None };
        let fields: std::collections::BTreeMap<String, &RawValue> =
            serde_json::from_slice(self.text).ok()?;
        let gone: Vec<_> = fields
            .iter()
            .filter(|(name, value)| !known.contains_key(*name) && value.get() != "null")
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        if gone.is_empty() {
            return None;
        }
        let Self { what, name, .. } = self;
        Some(
            Diagnostic::warning("Attribute no longer known")
                .detail(format!(
                    "The stored {what} of `{name}` has {}, which this version of the provider does not know; it is dropped when the state is next written.",
                    gone.join(", ")
                ))
                .hint("if it is still needed, use the version of the provider that was used last"),
        )
    }
}

fn capital(what: &str) -> String {
    let mut letters = what.chars();
    letters
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect())
}

/// A state that a `moved` block brings from another type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveSource {
    /// Source address of the provider that made it, for example `registry.terraform.io/hashicorp/null`.
    pub provider: String,
    /// Its type.
    pub type_name: String,
    /// The version of its schema.
    pub schema_version: i64,
    /// The state in its JSON form.
    pub state: Vec<u8>,
    /// The identity in its JSON form; empty where it has none.
    pub identity: Vec<u8>,
    /// Private state, in the form of the provider that made it.
    pub private: Vec<u8>,
}

/// A type whose states a `moved` block may bring here.
#[derive(Clone)]
pub struct Move {
    provider: Option<String>,
    type_name: String,
    versions: std::ops::RangeInclusive<i64>,
    ty: Type,
    step: Step,
}

impl Move {
    /// From a type of any provider, whose state `Old` describes as far as it matters.
    pub fn from<Old: Model, New: Into<Object>>(
        type_name: impl Into<String>,
        step: impl Fn(Old) -> Result<New, Diagnostic> + Send + Sync + 'static,
    ) -> Self {
        Self {
            provider: None,
            type_name: type_name.into(),
            versions: 0..=i64::MAX,
            ty: object_type(&Old::attributes()),
            step: Arc::new(move |old| step(old.model()).map(Into::into)),
        }
    }

    /// Only of this provider. `namespace/name` matches it in every registry, `host/namespace/name` in that one.
    #[must_use]
    pub fn of_provider(mut self, address: impl Into<String>) -> Self {
        self.provider = Some(address.into());
        self
    }

    /// Only states of these schema versions.
    #[must_use]
    pub fn versions(mut self, versions: std::ops::RangeInclusive<i64>) -> Self {
        self.versions = versions;
        self
    }

    /// What it takes, as messages say it.
    fn words(&self) -> String {
        let mut words = format!("`{}`", self.type_name);
        if let Some(provider) = &self.provider {
            words += &format!(" of {provider}");
        }
        match (self.versions.start(), self.versions.end()) {
            (0, &i64::MAX) => words,
            (from, &i64::MAX) => format!("{words} from version {from}"),
            (from, to) if from == to => format!("{words} version {to}"),
            (from, to) => format!("{words} versions {from} to {to}"),
        }
    }

    fn takes(&self, source: &MoveSource) -> bool {
        let of_provider = self.provider.as_deref().is_none_or(|wanted| {
            let rest = source.provider.strip_suffix(wanted);
            rest.is_some_and(|host| host.is_empty() || host.ends_with('/'))
        });
        of_provider
            && self.type_name == source.type_name
            && self.versions.contains(&source.schema_version)
    }
}

impl fmt::Debug for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "move from {}", self.type_name)
    }
}

/// Makes the state of `target` from another type's.
pub(crate) fn moved(
    moves: &[Move],
    target: &str,
    source: &MoveSource,
) -> Result<Object, Diagnostic> {
    let Some(one) = moves.iter().find(|m| m.takes(source)) else {
        return Err(no_way(moves, target, source));
    };
    let stored = Stored {
        what: "state",
        name: &source.type_name,
        version: source.schema_version,
        text: &source.state,
    };
    // The model tells what matters of a foreign state; the rest is no loss.
    let state = stored.read(&one.ty, &mut Diagnostics::new())?;
    (one.step)(&state.unwrap_or_default())
}

fn no_way(moves: &[Move], target: &str, source: &MoveSource) -> Diagnostic {
    let known: Vec<_> = moves.iter().map(Move::words).collect();
    let from = match known.as_slice() {
        [] => "states of no other type".to_owned(),
        known => format!("states of {} only", known.join(", ")),
    };
    Diagnostic::error("Move not supported")
        .detail(format!(
            "`{target}` takes {from}; this one is of `{}` version {} of {}.",
            source.type_name, source.schema_version, source.provider
        ))
        .hint("remove the moved block; use a removed block and an import block instead")
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::model! {
        struct V0 {
            /// Old name.
            title: String = required(),
        }
    }
    crate::model! {
        struct V1 {
            /// New name.
            name: String = required(),
        }
    }
    crate::model! {
        struct V2 {
            /// New name.
            name: String = required(),
            /// Its length.
            length: u64 = computed(),
        }
    }

    fn steps() -> Vec<Upgrade> {
        vec![
            Upgrade::new(1, 2, |old: V1| {
                let length = old.name.known().map(|n| n.len() as u64).into();
                Ok(V2 {
                    name: old.name,
                    length,
                })
            }),
            Upgrade::new(0, 1, |old: V0| Ok(V1 { name: old.title })),
        ]
    }

    fn upgrade(version: i64, text: &str) -> String {
        let steps = steps();
        let Some(way) = way(&steps, version, 2) else {
            return "no way".to_owned();
        };
        let stored = Stored {
            what: "state",
            name: "toy",
            version,
            text: text.as_bytes(),
        };
        let mut found = Diagnostics::new();
        let state = walk(&way, &stored, &mut found);
        let said: String = found.iter().map(|d| d.detail.clone()).collect();
        match state {
            Ok(state) => format!("{:?} {said}", state.map(|s| s.model::<V2>())),
            Err(why) => why.detail,
        }
    }

    #[test]
    fn steps_are_chained() {
        let known = r#"Some(V2 { name: Known("abc"), length: Known(3) }) "#;
        assert_eq!(upgrade(0, r#"{"title":"abc"}"#), known);
        assert_eq!(upgrade(1, r#"{"name":"abc","gone":null}"#), known);
        assert_eq!(upgrade(-1, "{}"), "no way");
        assert_eq!(upgrade(0, "null"), "None ");
        insta::assert_snapshot!(upgrade(1, r#"{"name":"abc","color":"red"}"#), @r#"Some(V2 { name: Known("abc"), length: Known(3) }) The stored state of `toy` has `color`, which this version of the provider does not know; it is dropped when the state is next written."#);
        insta::assert_snapshot!(upgrade(0, r#"{"title":[1]}"#), @"The stored state of `toy` (version 0) does not fit its schema: expected a string at `title`.");
        let mut astray = steps();
        astray.push(Upgrade::new(3, 3, |old: V1| Ok(old)));
        assert_eq!(dead_ends(&steps(), 2), [""; 0]);
        assert_eq!(
            dead_ends(&astray, 2),
            ["upgrade 3 to 3 does not lead to version 2"]
        );
    }

    #[test]
    fn moves_look_at_where_a_state_comes_from() {
        let moves = [
            Move::from("box_thing", |old: V0| Ok(V1 { name: old.title }))
                .of_provider("acme/box")
                .versions(0..=1),
        ];
        let source = |provider: &str, schema_version| MoveSource {
            provider: provider.to_owned(),
            type_name: "box_thing".to_owned(),
            schema_version,
            state: br#"{"title":"abc","more":true}"#.to_vec(),
            ..MoveSource::default()
        };
        let state = moved(&moves, "toy", &source("registry.terraform.io/acme/box", 1)).unwrap();
        assert_eq!(state.model::<V1>().name, "abc".into());
        for source in [
            source("registry.terraform.io/notacme/box", 1),
            source("acme/box", 2),
        ] {
            assert_eq!(
                moved(&moves, "toy", &source).unwrap_err().summary,
                "Move not supported"
            );
        }
    }
}
