//! A provider and the engine around it: every request of the protocol, over values.
//!
//! The gRPC service is a thin shell over this; tests of a provider use it in process. No bytes here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::context::{AfterStop, Context, Host, StopSwitch};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::engine::{self, WriteOnly};
use crate::guard;
use crate::path::Path;
use crate::resource::{Change, DataSource, Failed, Provider, Resource};
use crate::schema::Schema;
use crate::timeouts::{DefaultTimeouts, Operation, Timeouts};
use crate::value::Object;

/// A running provider.
pub struct Runtime {
    provider: Box<dyn Provider>,
    schema: Arc<Schema>,
    resources: BTreeMap<&'static str, Kind<dyn Resource>>,
    data_sources: BTreeMap<&'static str, Kind<dyn DataSource>>,
    mistakes: Vec<String>,
    stop: StopSwitch,
    host: Mutex<Host>,
}

struct Kind<T: ?Sized> {
    code: Arc<T>,
    schema: Arc<Schema>,
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
    /// Messages.
    pub diagnostics: Diagnostics,
}

impl Runtime {
    /// Asks the provider for its resources and schemas.
    #[must_use]
    pub fn new(provider: impl Provider) -> Self {
        let schema = Arc::new(provider.schema());
        let mut mistakes: Vec<_> = schema
            .mistakes()
            .iter()
            .map(|m| format!("provider block: {m}"))
            .collect();
        let mut resources = BTreeMap::new();
        for code in provider.resources() {
            let (name, schema) = (code.type_name(), Arc::new(code.schema()));
            mistakes.extend(
                schema
                    .mistakes()
                    .iter()
                    .map(|m| format!("resource {name}: {m}")),
            );
            if resources.insert(name, Kind { code, schema }).is_some() {
                mistakes.push(format!("resource {name}: declared twice"));
            }
        }
        let mut data_sources = BTreeMap::new();
        for code in provider.data_sources() {
            let (name, schema) = (code.type_name(), Arc::new(code.schema()));
            mistakes.extend(
                schema
                    .mistakes()
                    .iter()
                    .map(|m| format!("data source {name}: {m}")),
            );
            if data_sources.insert(name, Kind { code, schema }).is_some() {
                mistakes.push(format!("data source {name}: declared twice"));
            }
        }
        Self {
            provider: Box::new(provider),
            schema,
            resources,
            data_sources,
            mistakes,
            stop: StopSwitch::default(),
            host: Mutex::default(),
        }
    }

    /// Mistakes in the schemas. A provider's unit test asserts that there is none; a host is told so instead of the schemas.
    #[must_use]
    pub fn mistakes(&self) -> &[String] {
        &self.mistakes
    }

    /// The provider block's schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Names and schemas of the resources.
    pub fn resource_schemas(&self) -> impl Iterator<Item = (&'static str, &Schema)> {
        self.resources
            .iter()
            .map(|(name, kind)| (*name, &*kind.schema))
    }

    /// Names and schemas of the data sources.
    pub fn data_source_schemas(&self) -> impl Iterator<Item = (&'static str, &Schema)> {
        self.data_sources
            .iter()
            .map(|(name, kind)| (*name, &*kind.schema))
    }

    /// Asks everything in flight to end.
    pub fn stop(&self) {
        self.stop.stop(AfterStop::StayStopped);
    }

    pub(crate) fn stop_switch(&self) -> &StopSwitch {
        &self.stop
    }

    /// Checks the provider block.
    pub async fn validate_provider(&self, config: &Object) -> Diagnostics {
        let mut found = Diagnostics::new();
        engine::validate(&self.schema, config, WriteOnly::Refused, &mut found);
        let hook = self.provider.validate(config, &mut found);
        caught(guard::catch(hook).await, found)
    }

    /// Hands over the provider block.
    pub async fn configure(&self, host: Host, config: &Object) -> Diagnostics {
        *self.host.lock().unwrap_or_else(PoisonError::into_inner) = host;
        let config = engine::propose(&self.schema.attributes, config, None);
        let cx = self.context(Operation::Configure);
        let mut found = Diagnostics::new();
        let hook = self.provider.configure(&cx, &config, &mut found);
        caught(guard::run(&cx, hook).await, found)
    }

    /// Checks a resource block. A host before 1.11 knows no write-only attributes.
    pub(crate) async fn validate_resource_for(
        &self,
        name: &str,
        config: &Object,
        host: WriteOnly,
    ) -> Diagnostics {
        let kind = match self.resource(name) {
            Ok(kind) => kind,
            Err(unknown) => return unknown.into(),
        };
        let mut found = Diagnostics::new();
        engine::validate(&kind.schema, config, host, &mut found);
        let hook = kind.code.validate(config, &mut found);
        caught(guard::catch(hook).await, found)
    }

    /// Checks a resource block, as a current host does.
    pub async fn validate_resource(&self, name: &str, config: &Object) -> Diagnostics {
        self.validate_resource_for(name, config, WriteOnly::Allowed)
            .await
    }

    /// Checks a data block.
    pub async fn validate_data_source(&self, name: &str, config: &Object) -> Diagnostics {
        let kind = match self.data_source(name) {
            Ok(kind) => kind,
            Err(unknown) => return unknown.into(),
        };
        let mut found = Diagnostics::new();
        engine::validate(&kind.schema, config, WriteOnly::Refused, &mut found);
        let hook = kind.code.validate(config, &mut found);
        caught(guard::catch(hook).await, found)
    }

    /// Plans a creation (no prior), an update, or a deletion (no configuration).
    pub async fn plan(
        &self,
        name: &str,
        prior: Option<Object>,
        config: Option<Object>,
        private: &[u8],
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
        let cx = self.context(Operation::Plan).with_private(private);
        let mut found = Diagnostics::new();
        let Some(config) = config else {
            let state = prior.unwrap_or_default();
            let hook = kind.code.plan_delete(&cx, &state, &mut found);
            let diagnostics = caught(guard::run(&cx, hook).await, found);
            return Planned {
                private: cx.private_bytes(),
                diagnostics,
                ..Planned::default()
            };
        };
        let mut plan = engine::plan(&kind.schema, prior, config);
        let hook = kind.code.plan(&cx, &mut plan, &mut found);
        let mut diagnostics = caught(guard::run(&cx, hook).await, found);
        diagnostics.extend(std::mem::take(&mut plan.mistakes));
        let planned = plan.planned_object().clone();
        let mut replace = plan.replace;
        if let Some(prior) = &plan.prior {
            replace.extend(engine::replacements(
                &kind.schema.attributes,
                &plan.config,
                prior,
                &planned,
            ));
        }
        Planned {
            state: Some(planned),
            replace,
            private: cx.private_bytes(),
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
        let kind = match self.resource(name) {
            Ok(kind) => kind,
            Err(unknown) => {
                return Applied {
                    state: prior,
                    private: private.to_vec(),
                    diagnostics: unknown.into(),
                };
            }
        };
        match (prior, planned) {
            (prior, Some(planned)) => {
                let config = config.unwrap_or_default();
                self.change(
                    kind,
                    Change {
                        prior,
                        planned,
                        config,
                    },
                    private,
                )
                .await
            }
            (Some(prior), None) => self.delete(kind, prior, private).await,
            (None, None) => Applied::default(),
        }
    }

    /// Refreshes a state.
    pub async fn read(&self, name: &str, state: Object, private: &[u8]) -> Applied {
        let kind = match self.resource(name) {
            Ok(kind) => kind,
            Err(unknown) => {
                return Applied {
                    state: Some(state),
                    private: private.to_vec(),
                    diagnostics: unknown.into(),
                };
            }
        };
        let cx = self
            .limited(kind, Operation::Read, &state)
            .with_private(private);
        let done = guard::run(&cx, kind.code.read(&cx, &state)).await;
        let (state, diagnostics) = match flat(done) {
            Ok(Some(saved)) => {
                let mut found = saved.warnings;
                let state =
                    engine::refreshed(&kind.schema.attributes, &state, saved.state, &mut found);
                (Some(state), found)
            }
            Ok(None) => (None, Diagnostics::new()),
            // A refresh that failed has seen nothing new.
            Err(failed) => (Some(state), reasons(failed.diagnostics)),
        };
        Applied {
            state,
            private: cx.private_bytes(),
            diagnostics,
        }
    }

    /// Finds the state of an existing resource.
    pub async fn import(&self, name: &str, id: &str) -> Applied {
        let kind = match self.resource(name) {
            Ok(kind) => kind,
            Err(unknown) => {
                return Applied {
                    diagnostics: unknown.into(),
                    ..Applied::default()
                };
            }
        };
        let cx = self.context(Operation::Import);
        let done = guard::run(&cx, kind.code.import(&cx, id)).await;
        let (state, diagnostics) = match flat(done) {
            Ok(saved) => {
                let mut found = saved.warnings;
                let attributes = &kind.schema.attributes;
                let state = engine::refreshed(attributes, &Object::new(), saved.state, &mut found);
                (Some(engine::with_local_defaults(attributes, state)), found)
            }
            Err(failed) => (None, reasons(failed.diagnostics)),
        };
        Applied {
            state,
            private: cx.private_bytes(),
            diagnostics,
        }
    }

    /// Reads a data source.
    pub async fn read_data_source(&self, name: &str, config: Object) -> Applied {
        let kind = match self.data_source(name) {
            Ok(kind) => kind,
            Err(unknown) => {
                return Applied {
                    diagnostics: unknown.into(),
                    ..Applied::default()
                };
            }
        };
        let attributes = &kind.schema.attributes;
        let effective = engine::propose(attributes, &config, None);
        let limit = kind
            .schema
            .has_timeouts()
            .then(|| Timeouts::of(&config, Operation::Read, DefaultTimeouts::default()))
            .flatten();
        let cx = self.context(Operation::Read).with_limit(limit);
        let done = guard::run(&cx, kind.code.read(&cx, &effective)).await;
        let (state, diagnostics) = match flat(done) {
            Ok(saved) => {
                let mut found = saved.warnings;
                let expected = engine::expected(&kind.schema, &config);
                (
                    Some(engine::settle(
                        attributes,
                        &expected,
                        saved.state,
                        &mut found,
                    )),
                    found,
                )
            }
            Err(failed) => (None, reasons(failed.diagnostics)),
        };
        Applied {
            state,
            private: Vec::new(),
            diagnostics,
        }
    }

    /// Rewrites a stored state for today's schema. The state is JSON; what comes back is read with today's schema.
    pub(crate) fn upgrade(
        &self,
        name: &str,
        version: i64,
        json: Vec<u8>,
    ) -> Result<Vec<u8>, Diagnostic> {
        let kind = self.resource(name)?;
        if version == kind.schema.version {
            return Ok(json);
        }
        if version > kind.schema.version {
            return Err(Diagnostic::error("State is too new")
                .detail(format!(
                    "`{name}` was stored with schema version {version}; this provider knows {}.",
                    kind.schema.version
                ))
                .hint("use the version of the provider that was used last, or a later one"));
        }
        let state = serde_json::from_slice(&json).map_err(|_| damaged(name))?;
        let upgraded = kind.code.upgrade(version, state)?;
        serde_json::to_vec(&upgraded).map_err(|_| damaged(name))
    }

    pub(crate) fn resource_schema(&self, name: &str) -> Result<&Arc<Schema>, Diagnostic> {
        self.resource(name).map(|kind| &kind.schema)
    }

    pub(crate) fn data_source_schema(&self, name: &str) -> Result<&Arc<Schema>, Diagnostic> {
        self.data_source(name).map(|kind| &kind.schema)
    }

    async fn change(&self, kind: &Kind<dyn Resource>, change: Change, private: &[u8]) -> Applied {
        let attributes = &kind.schema.attributes;
        if let Some(prior) = &change.prior
            && engine::only_local_changes(attributes, prior, &change.planned)
        {
            return Applied {
                state: Some(change.planned),
                private: private.to_vec(),
                diagnostics: Diagnostics::new(),
            };
        }
        let operation = if change.prior.is_some() {
            Operation::Update
        } else {
            Operation::Create
        };
        let cx = self
            .limited(kind, operation, &change.planned)
            .with_private(private);
        let done = if change.prior.is_some() {
            guard::run(&cx, kind.code.update(&cx, &change)).await
        } else {
            guard::run(&cx, kind.code.create(&cx, &change)).await
        };
        let (state, diagnostics) = match flat(done) {
            Ok(saved) => {
                let mut found = saved.warnings;
                (
                    Some(engine::settle(
                        attributes,
                        &change.planned,
                        saved.state,
                        &mut found,
                    )),
                    found,
                )
            }
            Err(failed) => {
                // A creation's plan tells what was declared; a failed update may have done half of it.
                let declared = change.prior.is_none().then_some(&change.planned);
                let exists = failed.state.or_else(|| cx.take_checkpoint());
                let exists = exists
                    .map(|s| engine::partial(attributes, declared, s))
                    .or(change.prior);
                (exists, reasons(failed.diagnostics))
            }
        };
        let mut told = cx.take_warnings();
        told.extend(diagnostics);
        Applied {
            state,
            private: cx.private_bytes(),
            diagnostics: told,
        }
    }

    async fn delete(&self, kind: &Kind<dyn Resource>, prior: Object, private: &[u8]) -> Applied {
        let cx = self
            .limited(kind, Operation::Delete, &prior)
            .with_private(private);
        let done = guard::run(&cx, kind.code.delete(&cx, &prior)).await;
        let mut told = cx.take_warnings();
        match flat(done) {
            Ok(()) => Applied {
                diagnostics: told,
                ..Applied::default()
            },
            Err(failed) => {
                told.extend(reasons(failed.diagnostics));
                let left = failed.state.or_else(|| cx.take_checkpoint());
                let left =
                    left.map_or(prior, |s| engine::partial(&kind.schema.attributes, None, s));
                Applied {
                    state: Some(left),
                    private: cx.private_bytes(),
                    diagnostics: told,
                }
            }
        }
    }

    fn resource(&self, name: &str) -> Result<&Kind<dyn Resource>, Diagnostic> {
        self.resources
            .get(name)
            .ok_or_else(|| unknown_type("resource", name))
    }

    fn data_source(&self, name: &str) -> Result<&Kind<dyn DataSource>, Diagnostic> {
        self.data_sources
            .get(name)
            .ok_or_else(|| unknown_type("data source", name))
    }

    fn context(&self, operation: Operation) -> Context {
        let host = self
            .host
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Context::new(operation, host, self.stop.token())
    }

    fn limited(&self, kind: &Kind<dyn Resource>, operation: Operation, block: &Object) -> Context {
        self.context(operation).with_limit(Timeouts::of(
            block,
            operation,
            kind.code.default_timeouts(),
        ))
    }
}

/// A failure that says nothing is a mistake, and would look like a success to the host.
fn reasons(mut diagnostics: Diagnostics) -> Diagnostics {
    if !diagnostics.has_errors() {
        diagnostics.push(Diagnostic::provider_bug(
            "The operation failed without saying why.",
        ));
    }
    diagnostics
}

fn flat<T>(done: Result<Result<T, Failed>, Diagnostic>) -> Result<T, Failed> {
    done.unwrap_or_else(|panicked_or_late| Err(panicked_or_late.into()))
}

fn caught(done: Result<(), Diagnostic>, mut found: Diagnostics) -> Diagnostics {
    found.extend(done.err());
    found
}

fn unknown_type(what: &str, name: &str) -> Diagnostic {
    Diagnostic::error("Unknown type")
        .detail(format!("This provider has no {what} `{name}`."))
        .hint(
            "run terraform init -upgrade; the state may come from another version of the provider",
        )
}

fn damaged(name: &str) -> Diagnostic {
    Diagnostic::error("State cannot be read")
        .detail(format!("The stored state of `{name}` does not have the shape of its schema version."))
        .hint("restore the state from a backup, or remove the resource from the state and import it again")
}
