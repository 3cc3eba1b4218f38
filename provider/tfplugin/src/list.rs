//! Listing: what exists of a resource type, for `terraform query` (Terraform 1.14+; the resource needs an [identity](crate::IdentitySchema)).
//!
//! A [`ListResource`] pushes what it finds, one by one, and the host has each at once. Where the host wants whole resource objects and a
//! found one has none, the engine imports it by its identity and reads it.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::context::Context;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::engine;
use crate::guard;
use crate::lifecycle::{Asked, ImportBy};
use crate::model::Model;
use crate::runtime::Runtime;
use crate::schema::Schema;
use crate::value::Object;

/// How many found resources may wait for the host.
const AHEAD: usize = 16;

/// Lists the resources of one type.
#[tonic::async_trait]
pub trait ListResource: Send + Sync + 'static {
    /// The type name of the resource that it lists.
    fn type_name(&self) -> &'static str;

    /// The `config` block of the list block. Asked once, when the process starts.
    fn schema(&self) -> Schema;

    /// As [`Resource::validate`](crate::Resource::validate).
    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let _ = (config, found);
    }

    /// Pushes everything that exists. Ends early once a push says so: the host has enough, or has gone.
    ///
    /// # Errors
    /// Why it could not look further. What was pushed before has been shown.
    async fn list(
        &self,
        cx: &Context,
        request: &ListRequest,
        found: &Listing,
    ) -> Result<(), Diagnostics>;
}

/// Are whole resource objects wanted, or only identities?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Identities and display names.
    Identities,
    /// Resource objects, too: fill in what comes for free with [`Listed::with_state`].
    Resources,
}

/// What the host asks for.
#[derive(Clone, Debug)]
pub struct ListRequest {
    pub(crate) config: Object,
    pub(crate) want: Want,
    pub(crate) limit: Option<u64>,
}

impl ListRequest {
    /// The `config` block; everything in it is known.
    #[must_use]
    pub fn config<M: Model>(&self) -> M {
        self.config.model()
    }

    /// The `config` block, untyped.
    #[must_use]
    pub fn config_object(&self) -> &Object {
        &self.config
    }

    /// Are whole resource objects wanted?
    #[must_use]
    pub fn want(&self) -> Want {
        self.want
    }

    /// How many are wanted at most; the engine stops there by itself. Good for the page size of an API.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }
}

/// One found resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    identity: Option<Object>,
    display_name: String,
    state: Option<Object>,
    warnings: Diagnostics,
}

impl Listed {
    /// A resource with this identity: a model or an object.
    pub fn new(identity: impl Into<Object>) -> Self {
        Self {
            identity: Some(identity.into()),
            ..Self::default()
        }
    }

    /// A resource with this state; its identity follows from it.
    pub fn of_state(state: impl Into<Object>) -> Self {
        Self {
            state: Some(state.into()),
            ..Self::default()
        }
    }

    /// What a person calls it.
    #[must_use]
    pub fn named(mut self, display_name: impl Into<String>) -> Self {
        self.display_name = display_name.into();
        self
    }

    /// Its state, where it is known without asking again.
    #[must_use]
    pub fn with_state(mut self, state: impl Into<Object>) -> Self {
        self.state = Some(state.into());
        self
    }

    /// Adds a warning about this one.
    #[must_use]
    pub fn warn(mut self, warning: Diagnostic) -> Self {
        self.warnings.push(warning);
        self
    }
}

/// Where a [`ListResource`] pushes what it finds.
#[derive(Debug)]
pub struct Listing {
    items: mpsc::Sender<Listed>,
}

impl Listing {
    /// Hands one over; waits while the host is behind. [`ControlFlow::Break`]: nobody wants more.
    pub async fn push(&self, found: Listed) -> ControlFlow<()> {
        match self.items.send(found).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Warns about something that is no found resource, for example one that could not be looked at.
    pub async fn warn(&self, warning: Diagnostic) -> ControlFlow<()> {
        self.push(Listed::default().warn(warning)).await
    }
}

/// One answer to the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListEvent {
    /// What it is; none where only something is said.
    pub identity: Option<Object>,
    /// What a person calls it.
    pub display_name: String,
    /// The resource, where it was wanted.
    pub resource: Option<Object>,
    /// Messages.
    pub diagnostics: Diagnostics,
}

impl Runtime {
    /// Names and schemas of the list blocks.
    pub fn list_schemas(&self) -> impl Iterator<Item = (&'static str, &Schema)> {
        self.lists.iter().map(|(name, kind)| (*name, &*kind.schema))
    }

    pub(crate) fn list_schema(&self, name: &str) -> Result<&Schema, Diagnostic> {
        match self.lists.get(name) {
            Some(kind) => Ok(&kind.schema),
            None => Err(crate::runtime::unknown_type("list resource", name)),
        }
    }

    /// Checks the `config` block of a list block.
    pub async fn validate_list(&self, name: &str, config: &Object) -> Diagnostics {
        let Some(kind) = self.lists.get(name) else {
            return crate::runtime::unknown_type("list resource", name).into();
        };
        let mut found = Diagnostics::new();
        engine::validate(&kind.schema, config, engine::WriteOnly::Refused, &mut found);
        let hook = kind.code.validate(config, &mut found);
        found = crate::runtime::caught(guard::catch(hook).await, found);
        found
    }

    /// Lists what exists. Ends after `limit` found resources, or when the receiver is dropped. No limit: all.
    #[must_use]
    pub fn list(
        self: &Arc<Self>,
        name: &str,
        config: &Object,
        want: Want,
        limit: Option<u64>,
    ) -> mpsc::Receiver<ListEvent> {
        let (events, receiver) = mpsc::channel(AHEAD);
        let (runtime, name, config) = (Arc::clone(self), name.to_owned(), config.clone());
        tokio::spawn(async move {
            // Whoever listened may be gone; then nobody misses the last words.
            let _ = match runtime.feed(&name, &config, want, limit, &events).await {
                Ok(()) => Ok(()),
                Err(diagnostics) => {
                    let last = ListEvent {
                        diagnostics,
                        ..ListEvent::default()
                    };
                    events.send(last).await
                }
            };
        });
        receiver
    }

    async fn feed(
        &self,
        name: &str,
        config: &Object,
        want: Want,
        limit: Option<u64>,
        events: &mpsc::Sender<ListEvent>,
    ) -> Result<(), Diagnostics> {
        let kind = self.lists.get(name);
        let kind = kind.ok_or_else(|| crate::runtime::unknown_type("list resource", name))?;
        let request = ListRequest {
            config: engine::propose(&kind.schema.attributes, config, None),
            want,
            limit,
        };
        let (items, mut found) = mpsc::channel(1);
        let listing = Listing { items };
        let cx = self.context(crate::timeouts::Operation::List);
        let (cx, request) = (&cx, &request);
        // Owns the sender, so that the end of the work ends the list.
        let work = async move { guard::run(cx, kind.code.list(cx, request, &listing)).await };
        let pass_on = async move {
            let mut left = limit.unwrap_or(u64::MAX);
            while left > 0
                && let Some(one) = found.recv().await
            {
                let event = self.event(name, one, want).await;
                left -= u64::from(event.identity.is_some());
                if events.send(event).await.is_err() {
                    break;
                }
            }
            // Closes the way: the next push breaks.
            drop(found);
        };
        let (done, ()) = tokio::join!(work, pass_on);
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) if why.has_errors() => Err(why),
            Ok(Err(_)) => {
                Err(Diagnostic::provider_bug("The list failed without saying why.").into())
            }
            Err(panicked_or_late) => Err(panicked_or_late.into()),
        }
    }

    /// What the host is told about one found resource.
    async fn event(&self, name: &str, one: Listed, want: Want) -> ListEvent {
        let mut event = ListEvent {
            display_name: one.display_name,
            diagnostics: one.warnings,
            ..ListEvent::default()
        };
        if one.identity.is_none() && one.state.is_none() {
            return event;
        }
        let (told, state) = (one.identity, one.state.as_ref());
        event.identity = self
            .listed_identity(name, told, state, &mut event.diagnostics)
            .await;
        if want == Want::Resources
            && let Some(identity) = &event.identity
        {
            event.resource = match one.state {
                Some(state) => self.complete(name, state, &mut event.diagnostics),
                None => self.look_up(name, identity, &mut event.diagnostics).await,
            };
        }
        if event.display_name.is_empty() {
            event.display_name = event.identity.as_ref().map(words).unwrap_or_default();
        }
        event
    }

    /// The resource object of an identity: imported and read.
    async fn look_up(
        &self,
        name: &str,
        identity: &Object,
        found: &mut Diagnostics,
    ) -> Option<Object> {
        let by = ImportBy::Identity(identity.clone());
        let imported = self.import_for(name, by, Asked::default()).await;
        found.extend(softened(imported.diagnostics));
        let asked = Asked {
            private: imported.private,
            identity: imported.identity,
            ..Asked::default()
        };
        let read = self.read_for(name, imported.state?, asked).await;
        found.extend(softened(read.diagnostics));
        read.state
    }
}

/// One resource that cannot be looked at is no reason to end the list.
fn softened(diagnostics: Diagnostics) -> impl Iterator<Item = Diagnostic> {
    diagnostics.into_iter().map(|d| Diagnostic {
        severity: crate::Severity::Warning,
        ..d
    })
}

/// An identity as text, for a resource that was given no name.
fn words(identity: &Object) -> String {
    let text = |(_, v): (&String, &crate::Value)| match v {
        crate::Value::String(s) => Some(s.clone()),
        crate::Value::Number(n) => Some(n.to_string()),
        _ => None,
    };
    identity
        .iter()
        .filter_map(text)
        .collect::<Vec<_>>()
        .join("/")
}
