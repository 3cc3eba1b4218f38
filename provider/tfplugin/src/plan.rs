//! A plan in the making, as [`Resource::plan`](crate::Resource::plan) sees it.
//!
//! Only what the provider decides can be set here: a value that the configuration declares is the plan, by the host's rules.
//! Misuse is collected as a provider mistake and reported, never planned.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::model::Model;
use crate::path::Path;
use crate::schema::{Presence, Schema};
use crate::value::{Object, Value};

/// A creation or an update that is being planned.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) schema: Arc<Schema>,
    pub(crate) prior: Option<Object>,
    pub(crate) config: Object,
    pub(crate) planned: Value,
    pub(crate) replace: BTreeSet<Path>,
    pub(crate) touched: bool,
    pub(crate) mistakes: Vec<Diagnostic>,
}

impl Plan {
    /// Is it a creation? The second half of a replacement is one.
    #[must_use]
    pub fn is_create(&self) -> bool {
        self.prior.is_none()
    }

    /// The state before; none in a creation.
    #[must_use]
    pub fn prior<M: Model>(&self) -> Option<M> {
        self.prior.as_ref().map(Object::model)
    }

    /// The configuration; values may be unknown.
    #[must_use]
    pub fn config<M: Model>(&self) -> M {
        self.config.model()
    }

    /// What is planned so far.
    #[must_use]
    pub fn planned<M: Model>(&self) -> M {
        self.planned_object().model()
    }

    /// The state before, untyped; none in a creation.
    #[must_use]
    pub fn prior_object(&self) -> Option<&Object> {
        self.prior.as_ref()
    }

    /// The configuration, untyped.
    #[must_use]
    pub fn config_object(&self) -> &Object {
        &self.config
    }

    /// What is planned so far, untyped.
    #[must_use]
    pub fn planned_object(&self) -> &Object {
        self.planned
            .as_object()
            .expect("the engine plans objects, and only attributes in them can be set")
    }

    /// Does the plan differ from the state at `path`? In a creation: is something planned there?
    #[must_use]
    pub fn changes(&self, path: impl Into<Path>) -> bool {
        let path = path.into();
        let planned = self.planned.at_path(&path);
        match &self.prior {
            None => !planned.is_null(),
            Some(prior) => Value::Object(prior.clone()).at_path(&path) != planned,
        }
    }

    /// Does the plan change anything?
    #[must_use]
    pub fn changes_anything(&self) -> bool {
        self.prior
            .as_ref()
            .is_none_or(|prior| prior != self.planned_object())
    }

    /// Plans a value that the provider decides and knows already. After apply it must be exactly this one.
    pub fn set(&mut self, path: impl Into<Path>, value: impl Into<Value>) {
        let (path, mut value) = (path.into(), value.into());
        if let Some(why) = self.refusal(&path) {
            self.mistake(&path, why);
            return;
        }
        if let Some(attribute) = self.schema.attribute_at(&path) {
            value = crate::engine::write_only_as_null(attribute, value);
        }
        match self.planned.place(&path) {
            Some(place) => *place = value,
            None => self.mistake(
                &path,
                "is planned inside an object that is null, unknown or part of a set",
            ),
        }
    }

    /// Plans "known after apply" for a value that the provider decides.
    pub fn set_unknown(&mut self, path: impl Into<Path>) {
        self.set(path, Value::Unknown);
    }

    /// Asks for replacement, and names the attribute that is the reason. Only an update is replaced: a creation ignores it.
    pub fn require_replace(&mut self, path: impl Into<Path>) {
        let path = path.into();
        if self.schema.attribute_at(&path).is_none() {
            self.mistake(
                &path,
                "is the reason of a replacement and is not in the schema",
            );
        } else if self.prior.is_some() {
            self.replace.insert(path);
        }
    }

    /// Makes an update of something that the configuration does not show (a changed write-only value, for example): values that
    /// the provider decides become "known after apply", as they would after a declared change.
    pub fn touch(&mut self) {
        self.touched = true;
        let Some(prior) = &self.prior else { return };
        let config = Value::Object(self.config.clone());
        self.planned = crate::engine::mark_unknown(
            &self.schema,
            prior,
            &config,
            std::mem::take(&mut self.planned),
        );
    }

    fn refusal(&self, path: &Path) -> Option<&'static str> {
        let Some(attribute) = self.schema.attribute_at(path) else {
            return Some("is not in the schema");
        };
        let configured = Value::Object(self.config.clone());
        match attribute.presence() {
            _ if attribute.write_only => Some("is write-only"),
            Presence::Computed => None,
            // Another value would be "changed back" by every plan to come.
            Presence::OptionalComputed if attribute.default.is_some() => Some("has a default"),
            Presence::OptionalComputed if configured.at_path(path).is_null() => None,
            Presence::OptionalComputed => Some("is set by the configuration"),
            Presence::Required | Presence::Optional => Some("is for the configuration to set"),
        }
    }

    fn mistake(&mut self, path: &Path, why: &str) {
        self.mistakes.push(
            Diagnostic::provider_bug(format!("The plan of `{path}` was refused: it {why}."))
                .at(path.clone()),
        );
    }
}
