//! What a provider's author writes: a [`Provider`] with [`Resource`]s and [`DataSource`]s.
//!
//! The engine around them keeps Terraform's rules: a resource cannot return an inconsistent plan, lose a planned value,
//! leave something unknown in the state or store a write-only value. A method that later protocol features need has a default.

use std::sync::Arc;

use crate::action::Action;
use crate::context::Context;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::ephemeral::EphemeralResource;
use crate::function::Function;
use crate::identity::IdentitySchema;
use crate::list::ListResource;
use crate::model::Model;
use crate::moving::{Move, Upgrade};
use crate::plan::Plan;
use crate::schema::Schema;
use crate::timeouts::DefaultTimeouts;
use crate::value::Object;

/// The new state of a resource, or the result of a data source; with warnings for the user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    pub(crate) state: Object,
    pub(crate) warnings: Diagnostics,
}

impl Saved {
    /// This state: a [`Model`] or an [`Object`]. What the configuration declares may be left null; the engine fills in the plan's value.
    pub fn new(state: impl Into<Object>) -> Self {
        Self {
            state: state.into(),
            warnings: Diagnostics::new(),
        }
    }

    /// Adds a warning.
    #[must_use]
    pub fn warn(mut self, warning: Diagnostic) -> Self {
        self.warnings.push(warning);
        self
    }
}

impl<T: Into<Object>> From<T> for Saved {
    fn from(state: T) -> Self {
        Self::new(state)
    }
}

/// A failed operation: messages, and what exists all the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failed {
    pub(crate) state: Option<Object>,
    pub(crate) diagnostics: Diagnostics,
}

impl Failed {
    /// Failed, and this exists: a creation then leaves a tainted resource, an update or deletion this state.
    pub fn with_state(state: impl Into<Object>, why: impl Into<Diagnostics>) -> Self {
        Self {
            state: Some(state.into()),
            diagnostics: why.into(),
        }
    }

    /// The messages.
    #[must_use]
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }

    /// What exists.
    #[must_use]
    pub fn state(&self) -> Option<&Object> {
        self.state.as_ref()
    }
}

impl From<Diagnostic> for Failed {
    fn from(why: Diagnostic) -> Self {
        Diagnostics::from(why).into()
    }
}

impl From<Diagnostics> for Failed {
    fn from(diagnostics: Diagnostics) -> Self {
        Self {
            state: None,
            diagnostics,
        }
    }
}

/// A planned change that is being applied.
#[derive(Clone, Debug)]
pub struct Change {
    pub(crate) prior: Option<Object>,
    pub(crate) planned: Object,
    pub(crate) config: Object,
}

impl Change {
    /// The state to reach; what is still unknown in it is the resource's to decide. Write-only values are not here but in the configuration.
    #[must_use]
    pub fn planned<M: Model>(&self) -> M {
        self.planned.model()
    }

    /// The configuration.
    #[must_use]
    pub fn config<M: Model>(&self) -> M {
        self.config.model()
    }

    /// The state before; none in a creation.
    #[must_use]
    pub fn prior<M: Model>(&self) -> Option<M> {
        self.prior.as_ref().map(Object::model)
    }

    /// The state to reach, untyped.
    #[must_use]
    pub fn planned_object(&self) -> &Object {
        &self.planned
    }

    /// The configuration, untyped.
    #[must_use]
    pub fn config_object(&self) -> &Object {
        &self.config
    }

    /// The state before, untyped; none in a creation.
    #[must_use]
    pub fn prior_object(&self) -> Option<&Object> {
        self.prior.as_ref()
    }
}

/// A kind of resource.
#[tonic::async_trait]
pub trait Resource: Send + Sync + 'static {
    /// The whole type name, for example `metal_server`.
    fn type_name(&self) -> &'static str;

    /// Asked once, when the process starts.
    fn schema(&self) -> Schema;

    /// How long operations may take where the user does not say in [`Timeouts`](crate::Timeouts).
    fn default_timeouts(&self) -> DefaultTimeouts {
        DefaultTimeouts::default()
    }

    /// Checks that the schema's validators and rules cannot express. Offline, also before the provider is configured;
    /// anything in the configuration may be unknown.
    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let _ = (config, found);
    }

    /// Looks at a creation or an update after the engine has planned it: may set values that it knows already, ask for replacement
    /// and add messages. Changes nothing in the world. May run several times for one apply.
    async fn plan(&self, cx: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let _ = (cx, plan, found);
    }

    /// Looks at a planned deletion, also one that is half of a replacement; an error forbids it.
    async fn plan_delete(&self, cx: &Context, state: &Object, found: &mut Diagnostics) {
        let _ = (cx, state, found);
    }

    /// Makes the resource.
    ///
    /// # Errors
    /// Why it failed. Without a state (and without a [`Context::checkpoint`]) nothing exists.
    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed>;

    /// Looks at the resource; none where it is gone. Values may differ from the state in any way.
    ///
    /// # Errors
    /// Why it could not look. "Unreachable" is an error, never "gone".
    async fn read(&self, cx: &Context, state: &Object) -> Result<Option<Saved>, Failed>;

    /// Changes the resource in place.
    ///
    /// # Errors
    /// Why it failed. Without a state the state before is kept.
    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let _ = (cx, change);
        Err(Diagnostic::provider_bug(format!(
            "`{}` has no update in place, and an attribute that changed does not ask for replacement.",
            self.type_name()
        ))
        .into())
    }

    /// Deletes the resource. One that is gone already is a success.
    ///
    /// # Errors
    /// Why it failed. The resource stays in the state.
    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed>;

    /// The state of an existing resource, found by the id that the user gives. The engine reads it afterwards, so that it is enough
    /// to fill in what [`Self::read`] needs. Changes nothing in the world.
    ///
    /// # Errors
    /// Why it cannot be imported.
    async fn import(&self, cx: &Context, id: &str) -> Result<Saved, Failed> {
        let _ = (cx, id);
        Err(Diagnostic::error("Import not supported")
            .detail(format!("`{}` cannot be imported.", self.type_name()))
            .hint("remove the import block and let apply create it")
            .into())
    }

    /// What identifies a resource of this type, for hosts from Terraform and OpenTofu 1.12. Asked once, when the process starts.
    fn identity(&self) -> Option<IdentitySchema> {
        None
    }

    /// The identity of the resource that a state is about. Given: the attributes of [`Self::identity`] are the state's attributes of
    /// the same names. What is null or unknown here is not known yet.
    fn identify(&self, state: &Object) -> Object {
        state.clone()
    }

    /// As [`Self::import`], found by the identity that the user gives: required attributes are set, optional ones may be.
    ///
    /// # Errors
    /// Why it cannot be imported.
    async fn import_by_identity(&self, cx: &Context, identity: &Object) -> Result<Saved, Failed> {
        let _ = (cx, identity);
        Err(Diagnostic::error("Import by identity not supported")
            .detail(format!(
                "`{}` cannot be imported by its identity.",
                self.type_name()
            ))
            .hint("give an id in the import block")
            .into())
    }

    /// The steps from older [`IdentitySchema::version`]s.
    fn identity_upgrades(&self) -> Vec<Upgrade> {
        Vec::new()
    }

    /// The steps from older [`Schema::version`]s, each with the model of what it reads.
    fn upgrades(&self) -> Vec<Upgrade> {
        Vec::new()
    }

    /// The types whose states a `moved` block may bring here (Terraform 1.8+).
    fn moves(&self) -> Vec<Move> {
        Vec::new()
    }

    /// Rewrites a state that was stored with an older [`Schema::version`] that [`Self::upgrades`] has no step for, in its JSON form, for the schema of today.
    ///
    /// # Errors
    /// Why it cannot be rewritten.
    fn upgrade(
        &self,
        from_version: i64,
        state: serde_json::Value,
    ) -> Result<serde_json::Value, Diagnostic> {
        let _ = state;
        Err(Diagnostic::error("State is too old")
            .detail(format!(
                "`{}` was stored with schema version {from_version}, which is not known any more.",
                self.type_name()
            ))
            .hint("apply once with an older version of the provider"))
    }
}

/// A kind of data source.
#[tonic::async_trait]
pub trait DataSource: Send + Sync + 'static {
    /// The whole type name, for example `metal_servers`.
    fn type_name(&self) -> &'static str;

    /// Asked once, when the process starts.
    fn schema(&self) -> Schema;

    /// As [`Resource::validate`].
    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let _ = (config, found);
    }

    /// Reads it. Everything in the configuration is known. What the configuration sets may be left null in the result.
    ///
    /// # Errors
    /// Why it could not be read.
    async fn read(&self, cx: &Context, config: &Object) -> Result<Saved, Failed>;
}

/// A provider. Its resources share what [`Self::configure`] learns through state of the author's choice, for example an
/// `Arc<OnceLock<Client>>` in each.
#[tonic::async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The provider block.
    fn schema(&self) -> Schema;

    /// What a module may say to the provider in `terraform { provider_meta "NAME" { … } }`, if anything; [`Context::meta`] has it. For
    /// publishers of modules, who want to be told apart. Asked once, when the process starts.
    fn meta(&self) -> Option<Schema> {
        None
    }

    /// Every kind of resource. Asked once, when the process starts.
    fn resources(&self) -> Vec<Arc<dyn Resource>>;

    /// What can be listed. Asked once, when the process starts.
    fn lists(&self) -> Vec<Arc<dyn ListResource>> {
        Vec::new()
    }

    /// Every kind of data source. Asked once, when the process starts.
    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        Vec::new()
    }

    /// Every function. Asked once, when the process starts.
    fn functions(&self) -> Vec<Arc<dyn Function>> {
        Vec::new()
    }

    /// Every kind of ephemeral resource. Asked once, when the process starts.
    fn ephemerals(&self) -> Vec<Arc<dyn EphemeralResource>> {
        Vec::new()
    }

    /// Every kind of action. Asked once, when the process starts.
    fn actions(&self) -> Vec<Arc<dyn Action>> {
        Vec::new()
    }

    /// As [`Resource::validate`], for the provider block.
    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let _ = (config, found);
    }

    /// Takes the provider block; values may be unknown in a plan. Should dial nothing: several processes start per command.
    async fn configure(&self, cx: &Context, config: &Object, found: &mut Diagnostics);
}
