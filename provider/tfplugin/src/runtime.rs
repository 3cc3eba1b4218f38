//! A provider and the engine around it: every request of the protocol, over values.
//!
//! The gRPC service is a thin shell over this; tests of a provider use it in process. No bytes here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::context::{AfterStop, Context, Host, StopSwitch};
use crate::deferral::{Deferral, Deferrals};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::engine::{self, WriteOnly};
use crate::families::Families;
use crate::guard;
use crate::identity::IdentitySchema;
use crate::lifecycle::{Applied, Asked};
use crate::list::ListResource;
use crate::moving;
use crate::resource::{DataSource, Failed, Provider, Resource};
use crate::schema::Schema;
use crate::timeouts::{DefaultTimeouts, Operation, Timeouts};
use crate::value::Object;

/// A running provider.
pub struct Runtime {
    provider: Box<dyn Provider>,
    schema: Arc<Schema>,
    meta: Option<Schema>,
    resources: BTreeMap<&'static str, Kind<dyn Resource>>,
    pub(crate) identities: BTreeMap<&'static str, IdentitySchema>,
    pub(crate) lists: BTreeMap<&'static str, Kind<dyn ListResource>>,
    data_sources: BTreeMap<&'static str, Kind<dyn DataSource>>,
    families: Families,
    mistakes: Vec<String>,
    stop: StopSwitch,
    host: Mutex<Host>,
    /// Said while configuring: every answer of the run waits.
    deferral: Mutex<Option<Deferral>>,
}

pub(crate) struct Kind<T: ?Sized> {
    pub(crate) code: Arc<T>,
    pub(crate) schema: Arc<Schema>,
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
        let meta = provider.meta();
        let of_meta = meta.iter().flat_map(Schema::mistakes);
        mistakes.extend(of_meta.map(|m| format!("provider_meta: {m}")));
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
        let (identities, lists) = kept(&provider, &resources, &mut mistakes);
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
        let families = Families::of(&provider, &mut mistakes);
        Self {
            families,
            provider: Box::new(provider),
            schema,
            meta,
            resources,
            identities,
            lists,
            data_sources,
            mistakes,
            stop: StopSwitch::default(),
            host: Mutex::default(),
            deferral: Mutex::default(),
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

    /// What a module may say in its `provider_meta` block.
    #[must_use]
    pub fn meta_schema(&self) -> Option<&Schema> {
        self.meta.as_ref()
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

    pub(crate) fn families(&self) -> &Families {
        &self.families
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
        self.configure_for(host, config, Deferrals::Refused).await
    }

    /// Hands over the provider block, on a host that may take deferred answers.
    pub async fn configure_for(
        &self,
        host: Host,
        config: &Object,
        deferrals: Deferrals,
    ) -> Diagnostics {
        *self.host.lock().unwrap_or_else(PoisonError::into_inner) = host;
        let config = engine::propose(&self.schema.attributes, config, None);
        let cx = self.context(Operation::Configure).with_deferrals(deferrals);
        let mut found = Diagnostics::new();
        let hook = self.provider.configure(&cx, &config, &mut found);
        let found = caught(guard::run(&cx, hook).await, found);
        *self.deferral.lock().unwrap_or_else(PoisonError::into_inner) = cx.deferred();
        found
    }

    /// Does everything wait for the provider block? Never on a host that cannot.
    pub(crate) fn provider_deferral(&self, deferrals: Deferrals) -> Option<Deferral> {
        let said = *self.deferral.lock().unwrap_or_else(PoisonError::into_inner);
        said.filter(|_| deferrals == Deferrals::Allowed)
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

    /// Reads a data source.
    pub async fn read_data_source(&self, name: &str, config: Object) -> Applied {
        self.read_data_source_for(name, config, Asked::default())
            .await
    }

    /// As [`Self::read_data_source`], with all that a host may bring along.
    pub async fn read_data_source_for(&self, name: &str, config: Object, asked: Asked) -> Applied {
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
        let expected = engine::expected(&kind.schema, &config);
        if let Some(deferred) = self.provider_deferral(asked.deferrals) {
            return Applied {
                state: Some(expected),
                deferred: Some(deferred),
                ..Applied::default()
            };
        }
        let cx = self
            .context(Operation::Read)
            .with_limit(limit)
            .with_deferrals(asked.deferrals)
            .with_meta(asked.meta);
        let done = guard::run(&cx, kind.code.read(&cx, &effective)).await;
        let (state, diagnostics) = match flat(done) {
            Ok(saved) if cx.deferred().is_some() => (Some(expected), saved.warnings),
            Ok(saved) => {
                let mut found = saved.warnings;
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
            deferred: cx.deferred().filter(|_| state.is_some()),
            state,
            diagnostics,
            ..Applied::default()
        }
    }

    pub(crate) fn resource_schema(&self, name: &str) -> Result<&Arc<Schema>, Diagnostic> {
        self.resource(name).map(|kind| &kind.schema)
    }

    pub(crate) fn data_source_schema(&self, name: &str) -> Result<&Arc<Schema>, Diagnostic> {
        self.data_source(name).map(|kind| &kind.schema)
    }

    pub(crate) fn resource(&self, name: &str) -> Result<&Kind<dyn Resource>, Diagnostic> {
        self.resources
            .get(name)
            .ok_or_else(|| unknown_type("resource", name))
    }

    fn data_source(&self, name: &str) -> Result<&Kind<dyn DataSource>, Diagnostic> {
        self.data_sources
            .get(name)
            .ok_or_else(|| unknown_type("data source", name))
    }

    pub(crate) fn context(&self, operation: Operation) -> Context {
        let host = self
            .host
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Context::new(operation, host, self.stop.token())
    }

    /// For what must run to its end after the host has asked to stop.
    pub(crate) fn unstopped_context(&self, operation: Operation) -> Context {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        Context::new(operation, host.clone(), CancellationToken::new())
    }

    pub(crate) fn limited(
        &self,
        kind: &Kind<dyn Resource>,
        operation: Operation,
        block: &Object,
    ) -> Context {
        self.context(operation).with_limit(Timeouts::of(
            block,
            operation,
            kind.code.default_timeouts(),
        ))
    }
}

/// Identities and list blocks, with their mistakes.
#[expect(
    clippy::type_complexity,
    reason = "two maps, named where they are used"
)]
fn kept(
    provider: &impl Provider,
    resources: &BTreeMap<&'static str, Kind<dyn Resource>>,
    mistakes: &mut Vec<String>,
) -> (
    BTreeMap<&'static str, IdentitySchema>,
    BTreeMap<&'static str, Kind<dyn ListResource>>,
) {
    let mut identities = BTreeMap::new();
    for (name, kind) in resources {
        let mut say = |what: String| mistakes.push(format!("resource {name}: {what}"));
        let lost = moving::dead_ends(&kind.code.upgrades(), kind.schema.version);
        lost.into_iter().for_each(&mut say);
        if let Some(identity) = kind.code.identity() {
            let lost = moving::dead_ends(&kind.code.identity_upgrades(), identity.stored_version());
            let wrong = identity.mistakes().into_iter().map(|m| m.to_string());
            wrong
                .chain(lost)
                .for_each(|m| say(format!("identity: {m}")));
            identities.insert(*name, identity);
        }
    }
    let mut lists = BTreeMap::new();
    for code in provider.lists() {
        let (name, schema) = (code.type_name(), Arc::new(code.schema()));
        let mut say = |what: &str| mistakes.push(format!("list resource {name}: {what}"));
        if !identities.contains_key(name) {
            say("there is no resource of this name with an identity");
        }
        let wrong = schema.mistakes().into_iter().map(|m| m.to_string());
        wrong.for_each(|m| say(&m));
        if lists.insert(name, Kind { code, schema }).is_some() {
            say("declared twice");
        }
    }
    (identities, lists)
}

/// A failure that says nothing is a mistake, and would look like a success to the host.
pub(crate) fn reasons(mut diagnostics: Diagnostics) -> Diagnostics {
    if !diagnostics.has_errors() {
        diagnostics.push(Diagnostic::provider_bug(
            "The operation failed without saying why.",
        ));
    }
    diagnostics
}

pub(crate) fn flat<T>(done: Result<Result<T, Failed>, Diagnostic>) -> Result<T, Failed> {
    done.unwrap_or_else(|panicked_or_late| Err(panicked_or_late.into()))
}

pub(crate) fn caught(done: Result<(), Diagnostic>, mut found: Diagnostics) -> Diagnostics {
    found.extend(done.err());
    found
}

pub(crate) fn unknown_type(what: &str, name: &str) -> Diagnostic {
    Diagnostic::error("Unknown type")
        .detail(format!("This provider has no {what} `{name}`."))
        .hint(
            "run terraform init -upgrade; the state may come from another version of the provider",
        )
}
