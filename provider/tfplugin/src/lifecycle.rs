//! The life of a resource: plan, apply, refresh, import, and the states that come from elsewhere.
//!
//! Each answer is made by the engine's rules around the resource's own code, with the identity that belongs to it. What only some hosts
//! know comes in with [`Asked`]; the short forms without it answer as to a host that knows none of it.

use std::collections::BTreeSet;

use crate::context::Context;
use crate::deferral::{Deferral, Deferrals};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::engine::{self, WriteOnly};
use crate::guard;
use crate::identity::{self, Answer};
use crate::path::Path;
use crate::resource::{Change, Resource};
use crate::runtime::{Kind, Runtime, caught, flat, reasons};
use crate::schema::Schema;
use crate::timeouts::Operation;
use crate::value::Object;

/// What a host brings along besides state and configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// Kept beside the state, or by the plan.
    pub private: Vec<u8>,
    /// The identity that the host knows: stored, or planned.
    pub identity: Option<Object>,
    /// Does it take deferred answers?
    pub deferrals: Deferrals,
    /// What the module says in its `provider_meta` block.
    pub meta: Object,
}

impl Asked {
    fn with_private(private: &[u8]) -> Self {
        Self {
            private: private.to_vec(),
            ..Self::default()
        }
    }
}

/// What an import goes by.
#[derive(Clone, Debug, PartialEq)]
pub enum ImportBy {
    /// A text of the provider's own form.
    Id(String),
    /// An identity; optional attributes may be null.
    Identity(Object),
}

/// The answer to a plan request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Planned {
    /// The planned state; none for a deletion.
    pub state: Option<Object>,
    /// The attributes that make it a replacement.
    pub replace: BTreeSet<Path>,
    /// For the apply.
    pub private: Vec<u8>,
    /// The planned identity; parts may be unknown where the resource is made anew.
    pub identity: Option<Object>,
    /// It waits for a later run.
    pub deferred: Option<Deferral>,
    /// Messages.
    pub diagnostics: Diagnostics,
}

/// The answer to an apply, refresh, import or data request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The new state; none where nothing exists.
    pub state: Option<Object>,
    /// Kept beside the state.
    pub private: Vec<u8>,
    /// What it is.
    pub identity: Option<Object>,
    /// It waits for a later run.
    pub deferred: Option<Deferral>,
    /// Messages.
    pub diagnostics: Diagnostics,
}

impl Runtime {
    /// Plans a creation (no prior), an update, or a deletion (no configuration).
    pub async fn plan(
        &self,
        name: &str,
        prior: Option<Object>,
        config: Option<Object>,
        private: &[u8],
    ) -> Planned {
        self.plan_for(name, prior, config, Asked::with_private(private))
            .await
    }

    /// As [`Self::plan`], with all that a host may bring along.
    pub async fn plan_for(
        &self,
        name: &str,
        prior: Option<Object>,
        config: Option<Object>,
        asked: Asked,
    ) -> Planned {
        let kind = match self.resource(name) {
            Ok(kind) => kind,
            Err(unknown) => {
                return Planned {
                    diagnostics: unknown.into(),
                    ..Planned::default()
                };
            }
        };
        let cx = self
            .context(Operation::Plan)
            .with_private(&asked.private)
            .with_meta(asked.meta)
            .with_deferrals(asked.deferrals);
        let waits = self.provider_deferral(asked.deferrals);
        let Some(config) = config else {
            return plan_delete(kind, &cx, prior.unwrap_or_default(), waits).await;
        };
        let mut plan = engine::plan(&kind.schema, prior, config);
        let mut diagnostics = Diagnostics::new();
        if waits.is_none() {
            let hook = kind.code.plan(&cx, &mut plan, &mut diagnostics);
            diagnostics = caught(guard::run(&cx, hook).await, diagnostics);
            diagnostics.extend(std::mem::take(&mut plan.mistakes));
        }
        let planned = plan.planned_object().clone();
        let mut replace = plan.replace;
        if let Some(prior) = &plan.prior {
            let attributes = &kind.schema.attributes;
            let reasons = engine::replacements(attributes, &plan.config, prior, &planned);
            replace.extend(reasons);
        }
        let in_place = plan.prior.is_some() && replace.is_empty();
        let (answer, before) = if in_place {
            (Answer::PlannedInPlace, asked.identity.as_ref())
        } else {
            (Answer::PlannedAnew, None)
        };
        let identity = self
            .identity_of(name, kind, &planned, before, answer, &mut diagnostics)
            .await;
        Planned {
            state: Some(planned),
            replace,
            private: cx.private_bytes(),
            identity,
            deferred: waits.or(cx.deferred()),
            diagnostics,
        }
    }

    /// Applies a plan: creates (no prior), updates, or deletes (no planned state).
    pub async fn apply(
        &self,
        name: &str,
        prior: Option<Object>,
        planned: Option<Object>,
        config: Option<Object>,
        private: &[u8],
    ) -> Applied {
        let asked = Asked::with_private(private);
        self.apply_for(name, prior, planned, config, asked).await
    }

    /// As [`Self::apply`], with all that a host may bring along.
    pub async fn apply_for(
        &self,
        name: &str,
        prior: Option<Object>,
        planned: Option<Object>,
        config: Option<Object>,
        asked: Asked,
    ) -> Applied {
        let kind = match self.resource(name) {
            Ok(kind) => kind,
            Err(unknown) => return untouched(prior, asked, unknown),
        };
        match (prior, planned) {
            (prior, Some(planned)) => {
                let change = Change {
                    prior,
                    planned,
                    config: config.unwrap_or_default(),
                };
                self.change(name, kind, change, asked).await
            }
            (Some(prior), None) => self.delete(name, kind, prior, asked).await,
            (None, None) => Applied::default(),
        }
    }

    /// Refreshes a state.
    pub async fn read(&self, name: &str, state: Object, private: &[u8]) -> Applied {
        self.read_for(name, state, Asked::with_private(private))
            .await
    }

    /// As [`Self::read`], with all that a host may bring along.
    pub async fn read_for(&self, name: &str, state: Object, asked: Asked) -> Applied {
        let kind = match self.resource(name) {
            Ok(kind) => kind,
            Err(unknown) => return untouched(Some(state), asked, unknown),
        };
        if let Some(deferred) = self.provider_deferral(asked.deferrals) {
            return Applied {
                state: Some(state),
                private: asked.private,
                identity: asked.identity,
                deferred: Some(deferred),
                ..Applied::default()
            };
        }
        let cx = self
            .limited(kind, Operation::Read, &state)
            .with_private(&asked.private)
            .with_meta(asked.meta)
            .with_deferrals(asked.deferrals);
        let done = guard::run(&cx, kind.code.read(&cx, &state)).await;
        let before = asked.identity;
        let mut applied = Applied {
            private: cx.private_bytes(),
            ..Applied::default()
        };
        match flat(done) {
            Ok(Some(saved)) if cx.deferred().is_some() => {
                applied.deferred = cx.deferred();
                applied.diagnostics = saved.warnings;
                (applied.state, applied.identity) = (Some(state), before);
            }
            Ok(Some(saved)) => {
                let mut found = saved.warnings;
                let attributes = &kind.schema.attributes;
                let state = engine::refreshed(attributes, &state, saved.state, &mut found);
                applied.identity = self
                    .identity_of(
                        name,
                        kind,
                        &state,
                        before.as_ref(),
                        Answer::Refreshed,
                        &mut found,
                    )
                    .await;
                (applied.state, applied.diagnostics) = (Some(state), found);
            }
            Ok(None) => {}
            // A refresh that failed has seen nothing new.
            Err(failed) => {
                (applied.state, applied.identity) = (Some(state), before);
                applied.diagnostics = reasons(failed.diagnostics);
            }
        }
        applied
    }

    /// Finds the state of an existing resource.
    pub async fn import(&self, name: &str, id: &str) -> Applied {
        let by = ImportBy::Id(id.to_owned());
        self.import_for(name, by, Asked::default()).await
    }

    /// As [`Self::import`], by id or identity, with all that a host may bring along.
    pub async fn import_for(&self, name: &str, by: ImportBy, asked: Asked) -> Applied {
        let kind = match self.resource(name) {
            Ok(kind) => kind,
            Err(unknown) => return untouched(None, asked, unknown),
        };
        let wanted = match &by {
            ImportBy::Id(_) => None,
            ImportBy::Identity(identity) => Some(identity.clone()),
        };
        if let Some(deferred) = self.provider_deferral(asked.deferrals) {
            return Applied {
                identity: wanted,
                deferred: Some(deferred),
                ..Applied::default()
            };
        }
        let cx = self
            .context(Operation::Import)
            .with_deferrals(asked.deferrals);
        let found = match &by {
            ImportBy::Id(_) => Diagnostics::new(),
            ImportBy::Identity(identity) => self.validate_identity(name, identity),
        };
        if found.has_errors() {
            return Applied {
                diagnostics: found,
                ..Applied::default()
            };
        }
        let done = match &by {
            ImportBy::Id(id) => guard::run(&cx, kind.code.import(&cx, id)).await,
            ImportBy::Identity(identity) => {
                guard::run(&cx, kind.code.import_by_identity(&cx, identity)).await
            }
        };
        let mut applied = Applied {
            private: cx.private_bytes(),
            diagnostics: found,
            ..Applied::default()
        };
        match flat(done) {
            Ok(saved) if cx.deferred().is_some() => {
                (applied.identity, applied.deferred) = (wanted, cx.deferred());
                applied.diagnostics.extend(saved.warnings);
            }
            Ok(saved) => {
                let mut found = saved.warnings;
                let attributes = &kind.schema.attributes;
                let state = engine::refreshed(attributes, &Object::new(), saved.state, &mut found);
                let state = engine::with_local_defaults(attributes, state);
                applied.identity = self
                    .identity_of(
                        name,
                        kind,
                        &state,
                        wanted.as_ref(),
                        Answer::Imported,
                        &mut found,
                    )
                    .await;
                applied.state = Some(state);
                applied.diagnostics.extend(found);
            }
            Err(failed) => applied.diagnostics.extend(reasons(failed.diagnostics)),
        }
        applied
    }

    /// Checks the identity of an import block.
    fn validate_identity(&self, name: &str, identity: &Object) -> Diagnostics {
        let Some(schema) = self.identities.get(name) else {
            return Diagnostic::error("Import by identity not supported")
                .detail(format!("`{name}` has no identity."))
                .hint("give an id in the import block")
                .into();
        };
        let mut found = Diagnostics::new();
        let mut block = Schema::new("");
        block.attributes = schema.attributes().to_vec();
        engine::validate(&block, identity, WriteOnly::Refused, &mut found);
        found
    }

    /// A configuration that would plan nothing against a state.
    ///
    /// # Errors
    /// There is no such resource.
    pub fn generate_config(&self, name: &str, state: &Object) -> Result<Object, Diagnostic> {
        let kind = self.resource(name)?;
        Ok(engine::config_of(&kind.schema, state))
    }

    /// The identity of a found resource: as told, or as its state says it.
    pub(crate) async fn listed_identity(
        &self,
        name: &str,
        told: Option<Object>,
        state: Option<&Object>,
        found: &mut Diagnostics,
    ) -> Option<Object> {
        let kind = self.resource(name).ok()?;
        let schema = self.identities.get(name)?;
        match (told, state) {
            (Some(told), _) => identity::answer(schema, told, None, Answer::Applied, found),
            (None, state) => {
                self.identity_of(name, kind, state?, None, Answer::Applied, found)
                    .await
            }
        }
    }

    /// A found resource object, as a refresh would give it.
    pub(crate) fn complete(
        &self,
        name: &str,
        state: Object,
        found: &mut Diagnostics,
    ) -> Option<Object> {
        let attributes = &self.resource(name).ok()?.schema.attributes;
        let state = engine::refreshed(attributes, &Object::new(), state, found);
        Some(engine::with_local_defaults(attributes, state))
    }

    pub(crate) async fn identity_of(
        &self,
        name: &str,
        kind: &Kind<dyn Resource>,
        state: &Object,
        before: Option<&Object>,
        answer: Answer,
        found: &mut Diagnostics,
    ) -> Option<Object> {
        let schema = self.identities.get(name)?;
        match guard::catch(async { kind.code.identify(state) }).await {
            Ok(told) => identity::answer(schema, told, before, answer, found),
            Err(panicked) => {
                found.push(panicked);
                before.cloned()
            }
        }
    }

    async fn change(
        &self,
        name: &str,
        kind: &Kind<dyn Resource>,
        change: Change,
        asked: Asked,
    ) -> Applied {
        let attributes = &kind.schema.attributes;
        if let Some(prior) = &change.prior
            && engine::only_local_changes(attributes, prior, &change.planned)
        {
            return Applied {
                state: Some(change.planned),
                private: asked.private,
                identity: asked.identity,
                ..Applied::default()
            };
        }
        let operation = match change.prior {
            Some(_) => Operation::Update,
            None => Operation::Create,
        };
        let cx = self
            .limited(kind, operation, &change.planned)
            .with_private(&asked.private)
            .with_meta(asked.meta);
        let done = match change.prior {
            Some(_) => guard::run(&cx, kind.code.update(&cx, &change)).await,
            None => guard::run(&cx, kind.code.create(&cx, &change)).await,
        };
        let (state, mut diagnostics, answer) = match flat(done) {
            Ok(saved) => {
                let mut found = saved.warnings;
                let state = engine::settle(attributes, &change.planned, saved.state, &mut found);
                (Some(state), found, Answer::Applied)
            }
            Err(failed) => {
                // A creation's plan tells what was declared; a failed update may have done half of it.
                let declared = change.prior.is_none().then_some(&change.planned);
                let exists = failed.state.or_else(|| cx.take_checkpoint());
                let exists = exists
                    .map(|s| engine::partial(attributes, declared, s))
                    .or(change.prior);
                (exists, reasons(failed.diagnostics), Answer::Failed)
            }
        };
        let before = asked.identity.as_ref();
        let identity = match &state {
            Some(state) => {
                self.identity_of(name, kind, state, before, answer, &mut diagnostics)
                    .await
            }
            None => None,
        };
        let mut told = cx.take_warnings();
        told.extend(diagnostics);
        Applied {
            state,
            private: cx.private_bytes(),
            identity,
            diagnostics: told,
            ..Applied::default()
        }
    }

    async fn delete(
        &self,
        name: &str,
        kind: &Kind<dyn Resource>,
        prior: Object,
        asked: Asked,
    ) -> Applied {
        let cx = self
            .limited(kind, Operation::Delete, &prior)
            .with_private(&asked.private)
            .with_meta(asked.meta);
        let done = guard::run(&cx, kind.code.delete(&cx, &prior)).await;
        let mut told = cx.take_warnings();
        match flat(done) {
            Ok(()) => Applied {
                diagnostics: told,
                ..Applied::default()
            },
            Err(failed) => {
                let left = failed.state.or_else(|| cx.take_checkpoint());
                let left =
                    left.map_or(prior, |s| engine::partial(&kind.schema.attributes, None, s));
                let mut diagnostics = reasons(failed.diagnostics);
                // The plan of a deletion has no identity; what is left still is what it was.
                let before = asked.identity.as_ref();
                let identity = self
                    .identity_of(name, kind, &left, before, Answer::Failed, &mut diagnostics)
                    .await;
                told.extend(diagnostics);
                Applied {
                    state: Some(left),
                    private: cx.private_bytes(),
                    identity,
                    diagnostics: told,
                    ..Applied::default()
                }
            }
        }
    }
}

async fn plan_delete(
    kind: &Kind<dyn Resource>,
    cx: &Context,
    state: Object,
    waits: Option<Deferral>,
) -> Planned {
    let mut found = Diagnostics::new();
    if waits.is_none() {
        let hook = kind.code.plan_delete(cx, &state, &mut found);
        found = caught(guard::run(cx, hook).await, found);
    }
    Planned {
        private: cx.private_bytes(),
        deferred: waits.or(cx.deferred()),
        diagnostics: found,
        ..Planned::default()
    }
}

/// Nothing was done, for this reason.
pub(crate) fn untouched(
    state: Option<Object>,
    asked: Asked,
    why: impl Into<Diagnostics>,
) -> Applied {
    Applied {
        state,
        private: asked.private,
        identity: asked.identity,
        diagnostics: why.into(),
        ..Applied::default()
    }
}
