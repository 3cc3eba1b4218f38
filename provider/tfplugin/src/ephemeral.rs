//! Ephemeral resources: values that live for one run and are stored nowhere (Terraform since 1.10, OpenTofu since 1.11).
//!
//! A token, a tunnel, a lease: opened in plan and again in apply, renewed while the run lasts, closed at its end. The engine checks what is
//! opened, keeps a renewal from coming due at once, closes what a failed opening left behind, closes at the end of the process what the
//! host has forgotten, and lets a closing run to its end after Ctrl-C. Time is an argument: no method here reads a clock.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::context::Context;
use crate::deferral::{Deferral, Deferrals};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::duration;
use crate::engine::{self, WriteOnly};
use crate::guard;
use crate::leases;
use crate::model::Name;
use crate::path::Path;
use crate::runtime::{Kind, Runtime, caught, reasons, unknown_type};
use crate::schema::Schema;
use crate::schema::validators::positive_duration;
use crate::timeouts::Operation;
use crate::value::{Object, Value};

/// A renewal is at least this far away: a host renews at once, and again and again, where the time has passed already.
const RENEW_AFTER_MIN: Duration = Duration::from_secs(1);

/// What the engine keeps beside the private texts of the author, under keys that no author would take.
const RENEW_LIMIT: &str = "tfplugin:renew_ms";
const CLOSE_LIMIT: &str = "tfplugin:close_ms";

crate::model! {
    /// How long each step of an ephemeral resource may take. In its model: `timeouts: EphemeralTimeouts = optional()`.
    pub struct EphemeralTimeouts {
        /// How long opening may take, for example `30s`.
        pub open: String = optional().validate(positive_duration()),
        /// How long one renewal may take.
        pub renew: String = optional().validate(positive_duration()),
        /// How long closing may take.
        pub close: String = optional().validate(positive_duration()),
    }
}

/// How long each step may take where the user does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EphemeralLimits {
    /// Opening.
    pub open: Duration,
    /// One renewal.
    pub renew: Duration,
    /// Closing.
    pub close: Duration,
}

impl Default for EphemeralLimits {
    /// 5 minutes to open, 1 minute to renew and to close.
    fn default() -> Self {
        Self {
            open: Duration::from_secs(5 * 60),
            renew: Duration::from_secs(60),
            close: Duration::from_secs(60),
        }
    }
}

impl EphemeralLimits {
    fn said(self, block: &Object) -> Self {
        let name: Name<EphemeralTimeouts> = Name::new("timeouts");
        let set = block.at(name).into_known().unwrap_or_default();
        let read = |field: &crate::Field<String>, default| {
            field
                .known()
                .and_then(|t| duration::parse(t).ok())
                .unwrap_or(default)
        };
        Self {
            open: read(&set.open, self.open),
            renew: read(&set.renew, self.renew),
            close: read(&set.close, self.close),
        }
    }
}

/// A value that was opened.
#[derive(Clone, Default, PartialEq)]
pub struct Opened {
    result: Object,
    renew_at: Option<SystemTime>,
    warnings: Diagnostics,
}

impl Opened {
    /// This value: a [`Model`](crate::Model) or an [`Object`]. What the configuration declares may be left null.
    pub fn new(result: impl Into<Object>) -> Self {
        Self {
            result: result.into(),
            ..Self::default()
        }
    }

    /// It must be renewed at this time, if the run lasts that long: some time before it runs out.
    #[must_use]
    pub fn renew_at(mut self, at: SystemTime) -> Self {
        self.renew_at = Some(at);
        self
    }

    /// Adds a warning.
    #[must_use]
    pub fn warn(mut self, warning: Diagnostic) -> Self {
        self.warnings.push(warning);
        self
    }
}

/// Without the value, which is a secret more often than not.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("renew_at", &self.renew_at)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// A value that lives longer now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Renewed {
    renew_at: Option<SystemTime>,
    warnings: Diagnostics,
}

impl Renewed {
    /// For the rest of the run.
    #[must_use]
    pub fn for_good() -> Self {
        Self::default()
    }

    /// Until it must be renewed again.
    #[must_use]
    pub fn until(at: SystemTime) -> Self {
        Self {
            renew_at: Some(at),
            ..Self::default()
        }
    }

    /// Adds a warning.
    #[must_use]
    pub fn warn(mut self, warning: Diagnostic) -> Self {
        self.warnings.push(warning);
        self
    }
}

/// A kind of ephemeral resource.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tfplugin::{Context, Diagnostics, EphemeralResource, Field, Object, Opened, Renewed, Schema, async_trait, model};
///
/// model! {
///     /// A token.
///     pub struct Token {
///         /// Who asks.
///         pub user: String = required(),
///         /// The token.
///         pub token: String = computed().sensitive(),
///     }
/// }
///
/// struct Tokens;
///
/// #[async_trait]
/// impl EphemeralResource for Tokens {
///     fn type_name(&self) -> &'static str { "demo_token" }
///     fn schema(&self) -> Schema { Schema::of::<Token>("A token for one run.") }
///
///     async fn open(&self, cx: &Context, config: &Object, now: SystemTime) -> Result<Opened, Diagnostics> {
///         let mut token: Token = config.model();
///         token.token = "s3cret".into();
///         cx.set_private("lease", Some("7".to_owned())); // what renew and close need
///         Ok(Opened::new(token).renew_at(now + Duration::from_secs(240)))
///     }
///     async fn renew(&self, cx: &Context, now: SystemTime) -> Result<Renewed, Diagnostics> {
///         let lease = cx.private("lease"); // extend it
///         # assert_eq!(lease.as_deref(), Some("7"));
///         Ok(Renewed::until(now + Duration::from_secs(240)))
///     }
///     async fn close(&self, cx: &Context) -> Result<(), Diagnostics> {
///         let lease = cx.private("lease"); // end it
///         Ok(())
///     }
/// }
/// # struct Demo;
/// # #[async_trait]
/// # impl tfplugin::Provider for Demo {
/// #     fn schema(&self) -> Schema { Schema::new("") }
/// #     fn resources(&self) -> Vec<std::sync::Arc<dyn tfplugin::Resource>> { vec![] }
/// #     fn ephemerals(&self) -> Vec<std::sync::Arc<dyn EphemeralResource>> { vec![std::sync::Arc::new(Tokens)] }
/// #     async fn configure(&self, _: &Context, _: &Object, _: &mut Diagnostics) {}
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
///
/// let runtime = tfplugin::Runtime::new(Demo);
/// let now = SystemTime::UNIX_EPOCH;
/// let open = runtime.open("demo_token", &Object::new().with(Token::user, "me"), now).await;
/// assert_eq!(open.result.unwrap().at(Token::token), Field::from("s3cret"));
/// let next = runtime.renew("demo_token", &open.private, open.renew_at.unwrap()).await;
/// assert_eq!(next.renew_at, Some(now + Duration::from_secs(480)));
/// assert!(runtime.close("demo_token", &next.private).await.is_empty());
/// # });
/// ```
#[tonic::async_trait]
pub trait EphemeralResource: Send + Sync + 'static {
    /// The whole type name, for example `vault_token`.
    fn type_name(&self) -> &'static str;

    /// Asked once, when the process starts. Everything in it is ephemeral; `sensitive` says more only in the documentation.
    fn schema(&self) -> Schema;

    /// How long each step may take where the user does not say in [`EphemeralTimeouts`].
    fn default_timeouts(&self) -> EphemeralLimits {
        EphemeralLimits::default()
    }

    /// As [`Resource::validate`](crate::Resource::validate).
    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let _ = (config, found);
    }

    /// Makes the value, in plan and again in apply. Everything in the configuration is known. What renewal and closing need goes to
    /// [`Context::set_private`]: texts that the host keeps in memory and never stores. Keep it as soon as something exists:
    /// where opening then fails or is deferred, the engine calls [`Self::close`] with it.
    ///
    /// # Errors
    /// Why there is no value.
    async fn open(
        &self,
        cx: &Context,
        config: &Object,
        now: SystemTime,
    ) -> Result<Opened, Diagnostics>;

    /// Makes the value live longer; the value itself cannot change. Asked where [`Opened::renew_at`] or [`Renewed::until`] said so.
    ///
    /// # Errors
    /// Why it could not be renewed. The host does not ask again.
    async fn renew(&self, cx: &Context, now: SystemTime) -> Result<Renewed, Diagnostics> {
        let _ = (cx, now);
        Err(Diagnostic::provider_bug(format!(
            "`{}` asked for a renewal that it does not have.",
            self.type_name()
        ))
        .into())
    }

    /// Ends the value, also after Ctrl-C. Hosts may hand over the private texts as they were after opening: a lease keeps its name.
    ///
    /// # Errors
    /// Why it may be alive still.
    async fn close(&self, cx: &Context) -> Result<(), Diagnostics> {
        let _ = cx;
        Ok(())
    }
}

/// The answer to an open or renew request.
#[derive(Clone, Default, PartialEq)]
pub struct Lease {
    /// The value; none after a failure or a renewal.
    pub result: Option<Object>,
    /// When the host should ask for a renewal.
    pub renew_at: Option<SystemTime>,
    /// For renewals and the end.
    pub private: Vec<u8>,
    /// Why there is no value yet, on a host that takes such an answer.
    pub deferred: Option<Deferral>,
    /// Messages.
    pub diagnostics: Diagnostics,
}

/// Without the value and the private texts.
impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("renew_at", &self.renew_at)
            .field("diagnostics", &self.diagnostics)
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// Names and schemas of the ephemeral resources.
    pub fn ephemeral_schemas(&self) -> impl Iterator<Item = (&'static str, &Schema)> {
        let all = self.families().ephemerals.iter();
        all.map(|(name, kind)| (*name, &*kind.schema))
    }

    /// Checks an ephemeral block.
    pub async fn validate_ephemeral(&self, name: &str, config: &Object) -> Diagnostics {
        let kind = match self.ephemeral(name) {
            Ok(kind) => kind,
            Err(unknown) => return unknown.into(),
        };
        let mut found = Diagnostics::new();
        engine::validate(&kind.schema, config, WriteOnly::Refused, &mut found);
        let hook = kind.code.validate(config, &mut found);
        caught(guard::catch(hook).await, found)
    }

    /// Opens an ephemeral resource.
    pub async fn open(&self, name: &str, config: &Object, now: SystemTime) -> Lease {
        self.open_for(name, config, now, Deferrals::Refused).await
    }

    /// Opens an ephemeral resource, on a host that may take deferred answers.
    pub async fn open_for(
        &self,
        name: &str,
        config: &Object,
        now: SystemTime,
        deferrals: Deferrals,
    ) -> Lease {
        let kind = match self.ephemeral(name) {
            Ok(kind) => kind,
            Err(unknown) => return failed(unknown),
        };
        if let Some(why) = self.provider_deferral(deferrals) {
            return waiting(kind, config, why, Diagnostics::new());
        }
        if let Some(path) = Value::Object(config.clone()).first_unknown() {
            return failed(not_known(name, path));
        }
        let effective = engine::propose(&kind.schema.attributes, config, None);
        let limits = kind.code.default_timeouts().said(&effective);
        let cx = self
            .context(Operation::Open)
            .with_limit(Some(limits.open))
            .with_deferrals(deferrals);
        let done = guard::run(&cx, kind.code.open(&cx, &effective, now)).await;
        let done = done.unwrap_or_else(|late| Err(late.into()));
        let made = !cx.private_bytes().is_empty();
        cx.set_private(RENEW_LIMIT, Some(limits.renew.as_millis().to_string()));
        cx.set_private(CLOSE_LIMIT, Some(limits.close.as_millis().to_string()));
        let lease = match done {
            Ok(opened) => settled(kind, config, opened, now, cx.deferred()),
            Err(why) => Lease {
                diagnostics: reasons(why),
                ..Lease::default()
            },
        };
        self.kept(name, &cx, lease, made).await
    }

    /// The host forgets an opening that failed or waits; what it had made would stay for ever, and is closed at once.
    async fn kept(&self, name: &str, cx: &Context, mut lease: Lease, made: bool) -> Lease {
        if lease.diagnostics.has_errors() || lease.deferred.is_some() {
            if made {
                let closed = self.close(name, &cx.private_bytes()).await;
                lease.diagnostics.extend(closed);
            }
            lease.renew_at = None;
            lease.result = lease.result.filter(|_| !lease.diagnostics.has_errors());
            return lease;
        }
        let leases = &self.families().leases;
        let id = leases.name();
        cx.set_private(leases::KEY, Some(id.clone()));
        lease.private = cx.private_bytes();
        leases.opened(id, name, &lease.private);
        lease
    }

    /// Renews what was opened.
    pub async fn renew(&self, name: &str, private: &[u8], now: SystemTime) -> Lease {
        let kind = match self.ephemeral(name) {
            Ok(kind) => kind,
            Err(unknown) => return failed(unknown),
        };
        let cx = self.context(Operation::Renew).with_private(private);
        let limit = kept_limit(&cx, RENEW_LIMIT).unwrap_or(kind.code.default_timeouts().renew);
        let cx = cx.with_limit(Some(limit));
        let done = guard::run(&cx, kind.code.renew(&cx, now)).await;
        let (renew_at, diagnostics) = match done.unwrap_or_else(|late| Err(late.into())) {
            Ok(renewed) => (
                renewed.renew_at.map(|at| not_at_once(at, now)),
                renewed.warnings,
            ),
            Err(why) => (None, reasons(why)),
        };
        let private = cx.private_bytes();
        if let Some(id) = cx.private(leases::KEY) {
            self.families().leases.renewed(&id, &private);
        }
        Lease {
            renew_at,
            private,
            diagnostics,
            ..Lease::default()
        }
    }

    /// Closes what was opened.
    pub async fn close(&self, name: &str, private: &[u8]) -> Diagnostics {
        let kind = match self.ephemeral(name) {
            Ok(kind) => kind,
            Err(unknown) => return unknown.into(),
        };
        // Hosts close after they have asked to stop; only the time limits it.
        let cx = self
            .unstopped_context(Operation::Close)
            .with_private(private);
        let limit = kept_limit(&cx, CLOSE_LIMIT).unwrap_or(kind.code.default_timeouts().close);
        let cx = cx.with_limit(Some(limit));
        if let Some(id) = cx.private(leases::KEY) {
            self.families().leases.closing(&id);
        }
        match guard::run(&cx, kind.code.close(&cx)).await {
            Ok(Ok(())) => Diagnostics::new(),
            Ok(Err(why)) => reasons(why),
            Err(late) => late.into(),
        }
    }

    /// Closes what hosts have left open; the process is about to end.
    pub(crate) async fn close_forgotten(&self) {
        let forgotten = self.families().leases.take_all();
        let closings = forgotten.iter().map(async |(name, private)| {
            tracing::warn!(
                tf_ephemeral_resource_type = name,
                "the host did not close it; it is closed now"
            );
            for why in self.close(name, private).await.iter() {
                tracing::error!(
                    tf_ephemeral_resource_type = name,
                    "not closed: {}",
                    why.summary
                );
            }
        });
        futures::future::join_all(closings).await;
    }

    pub(crate) fn ephemeral(&self, name: &str) -> Result<&Kind<dyn EphemeralResource>, Diagnostic> {
        let all = &self.families().ephemerals;
        all.get(name)
            .ok_or_else(|| unknown_type("ephemeral resource", name))
    }
}

fn failed(why: Diagnostic) -> Lease {
    Lease {
        diagnostics: why.into(),
        ..Lease::default()
    }
}

fn not_known(name: &str, path: Path) -> Diagnostic {
    Diagnostic::error("Configuration is not known")
        .detail(format!(
            "`{path}` is unknown, and `{name}` can be opened only once its configuration is known."
        ))
        .hint("use a value that is known during plan")
        .at(path)
}

/// What has to wait is shown as far as it is known.
fn waiting(
    kind: &Kind<dyn EphemeralResource>,
    config: &Object,
    why: Deferral,
    diagnostics: Diagnostics,
) -> Lease {
    Lease {
        result: Some(engine::expected(&kind.schema, config)),
        deferred: Some(why),
        diagnostics,
        ..Lease::default()
    }
}

/// What was opened, with what the configuration declares.
fn settled(
    kind: &Kind<dyn EphemeralResource>,
    config: &Object,
    opened: Opened,
    now: SystemTime,
    deferred: Option<Deferral>,
) -> Lease {
    let mut diagnostics = opened.warnings;
    if let Some(why) = deferred {
        return waiting(kind, config, why, diagnostics);
    }
    let expected = engine::expected(&kind.schema, config);
    let attributes = &kind.schema.attributes;
    let result = engine::settle(attributes, &expected, opened.result, &mut diagnostics);
    Lease {
        result: Some(result),
        renew_at: opened.renew_at.map(|at| not_at_once(at, now)),
        diagnostics,
        ..Lease::default()
    }
}

fn not_at_once(at: SystemTime, now: SystemTime) -> SystemTime {
    let earliest = now + RENEW_AFTER_MIN;
    if at < earliest {
        tracing::warn!(
            "an ephemeral resource asks to be renewed at once; it is renewed in a second"
        );
    }
    at.max(earliest)
}

fn kept_limit(cx: &Context, key: &str) -> Option<Duration> {
    cx.private(key)?.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn renewals_never_come_at_once() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(not_at_once(UNIX_EPOCH, now), now + RENEW_AFTER_MIN);
        let later = now + Duration::from_secs(9);
        assert_eq!(not_at_once(later, now), later);
    }

    #[test]
    fn limits_are_what_the_user_says() {
        let block = Object::new().with(
            "timeouts",
            Object::new().with("close", "90s").with("open", "soon"),
        );
        let limits = EphemeralLimits::default().said(&block);
        assert_eq!(
            (limits.close, limits.open),
            (Duration::from_secs(90), Duration::from_secs(300))
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let opened = Opened::new(Object::new().with("token", "s3cret")).renew_at(UNIX_EPOCH);
        assert!(!format!("{opened:?}").contains("s3cret"));
    }
}
