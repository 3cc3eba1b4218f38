//! Actions: something done at a person's or a resource's demand, with no state (Terraform since 1.14).
//!
//! Restart a machine, flush a cache. The engine checks the configuration whenever more of it is known, streams the progress, and ends
//! the work when the host stops listening. Deliberately not here: results; what an action changes is seen by the next refresh.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::context::Context;
use crate::deferral::{Deferral, Deferrals};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::duration;
use crate::engine::{self, WriteOnly};
use crate::guard;
use crate::model::Name;
use crate::runtime::{Kind, Runtime, caught, reasons, unknown_type};
use crate::schema::Schema;
use crate::schema::validators::positive_duration;
use crate::timeouts::Operation;
use crate::value::{Object, Value};

/// Lines of progress that may wait for the host; then the action does.
const WAITING_MAX: usize = 16;

/// Longest line of progress, in bytes: it is for a person's screen.
const LINE_MAX_BYTES: usize = 8 * 1024;

crate::model! {
    /// How long an action may take. In its model: `timeouts: ActionTimeouts = optional()`.
    pub struct ActionTimeouts {
        /// How long the whole action may take, for example `10m`.
        pub invoke: String = optional().validate(positive_duration()),
    }
}

/// Tells the person what an action is doing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress(mpsc::Sender<String>);

impl Progress {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<String>) {
        let (sender, lines) = mpsc::channel(WAITING_MAX);
        (Self(sender), lines)
    }

    /// Shows a line. Waits while the host is behind, and does nothing once it has stopped listening.
    pub async fn say(&self, line: impl Into<String>) {
        let mut line = line.into();
        if line.len() > LINE_MAX_BYTES {
            let end = (0..=LINE_MAX_BYTES)
                .rev()
                .find(|i| line.is_char_boundary(*i));
            line.truncate(end.unwrap_or(0));
        }
        // Nobody listens any more: the context says so, too.
        let _ = self.0.send(line).await;
    }
}

/// A kind of action.
///
/// ```
/// use tfplugin::{Action, Context, Diagnostics, Field, Object, Progress, Schema, async_trait, model};
///
/// model! {
///     /// Restarts a machine.
///     pub struct Restart {
///         /// Which one.
///         pub machine: String = required(),
///         /// Even where work would be lost.
///         pub force: bool = optional().default(false),
///     }
/// }
///
/// struct Restarts;
///
/// #[async_trait]
/// impl Action for Restarts {
///     fn type_name(&self) -> &'static str { "demo_restart" }
///     fn schema(&self) -> Schema { Schema::of::<Restart>("Restarts a machine.") }
///
///     async fn invoke(&self, cx: &Context, config: &Object, progress: &Progress) -> Result<Diagnostics, Diagnostics> {
///         let Restart { machine: Field::Known(machine), force } = config.model() else { return Ok(Diagnostics::new()) };
///         assert_eq!(force, Field::Known(false));
///         progress.say(format!("{machine}: power cycle sent")).await;
///         cx.run(async { /* wait until it is up */ }).await?;
///         Ok(Diagnostics::new())
///     }
/// }
/// # struct Demo;
/// # #[async_trait]
/// # impl tfplugin::Provider for Demo {
/// #     fn schema(&self) -> Schema { Schema::new("") }
/// #     fn resources(&self) -> Vec<std::sync::Arc<dyn tfplugin::Resource>> { vec![] }
/// #     fn actions(&self) -> Vec<std::sync::Arc<dyn Action>> { vec![std::sync::Arc::new(Restarts)] }
/// #     async fn configure(&self, _: &Context, _: &Object, _: &mut Diagnostics) {}
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
///
/// let runtime = tfplugin::Runtime::new(Demo);
/// let (said, found) = runtime.invoke("demo_restart", &Object::new().with(Restart::machine, "m1")).await;
/// assert_eq!((said, found), (vec!["m1: power cycle sent".to_owned()], Diagnostics::new()));
/// # });
/// ```
#[tonic::async_trait]
pub trait Action: Send + Sync + 'static {
    /// The whole type name, for example `metal_power_cycle`.
    fn type_name(&self) -> &'static str;

    /// Asked once, when the process starts. Nothing in it is computed.
    fn schema(&self) -> Schema;

    /// How long it may take where the user does not say in [`ActionTimeouts`].
    fn default_timeout(&self) -> Duration {
        Duration::from_secs(20 * 60)
    }

    /// As [`Resource::validate`](crate::Resource::validate); asked again, with more that is known, in plan and before [`Self::invoke`].
    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let _ = (config, found);
    }

    /// Looks at an action that an apply would do; an error forbids it. Changes nothing. Values may be unknown.
    async fn plan(&self, cx: &Context, config: &Object, found: &mut Diagnostics) {
        let _ = (cx, config, found);
    }

    /// Does it. Everything in the configuration is known. What it returns are warnings, after success.
    ///
    /// # Errors
    /// Why it failed. Terraform goes no further.
    async fn invoke(
        &self,
        cx: &Context,
        config: &Object,
        progress: &Progress,
    ) -> Result<Diagnostics, Diagnostics>;
}

impl Runtime {
    /// Names and schemas of the actions.
    pub fn action_schemas(&self) -> impl Iterator<Item = (&'static str, &Schema)> {
        let all = self.families().actions.iter();
        all.map(|(name, kind)| (*name, &*kind.schema))
    }

    /// Checks an action block.
    pub async fn validate_action(&self, name: &str, config: &Object) -> Diagnostics {
        match self.action(name) {
            Ok(kind) => checked(kind, config).await,
            Err(unknown) => unknown.into(),
        }
    }

    /// Looks at an action that an apply would do.
    pub async fn plan_action(&self, name: &str, config: &Object) -> Diagnostics {
        let kind = match self.action(name) {
            Ok(kind) => kind,
            Err(unknown) => return unknown.into(),
        };
        let mut found = checked(kind, config).await;
        if found.has_errors() {
            return found;
        }
        let effective = engine::propose(&kind.schema.attributes, config, None);
        let cx = self.context(Operation::Plan);
        let hook = kind.code.plan(&cx, &effective, &mut found);
        caught(guard::run(&cx, hook).await, found)
    }

    /// Does this action wait for the provider block? Hosts defer an action for no other reason.
    pub(crate) fn waiting_action(&self, name: &str, deferrals: Deferrals) -> Option<Deferral> {
        let known = self.action(name).is_ok();
        self.provider_deferral(deferrals).filter(|_| known)
    }

    /// Does an action; all of its progress comes at the end.
    pub async fn invoke(&self, name: &str, config: &Object) -> (Vec<String>, Diagnostics) {
        let (progress, mut lines) = Progress::channel();
        let gathered = async {
            let mut said = Vec::new();
            while let Some(line) = lines.recv().await {
                said.push(line);
            }
            said
        };
        let cx = self.context(Operation::Invoke);
        tokio::join!(gathered, self.invoke_in(cx, name, config, progress))
    }

    /// Does an action in a context that the caller may end.
    pub(crate) async fn invoke_in(
        &self,
        cx: Context,
        name: &str,
        config: &Object,
        progress: Progress,
    ) -> Diagnostics {
        let kind = match self.action(name) {
            Ok(kind) => kind,
            Err(unknown) => return unknown.into(),
        };
        if let Some(path) = Value::Object(config.clone()).first_unknown() {
            return Diagnostic::error("Configuration is not known")
                .detail(format!("`{path}` is unknown, and `{name}` can be invoked only once its configuration is known."))
                .hint("use a value that is known before the action is triggered")
                .at(path)
                .into();
        }
        let mut found = checked(kind, config).await;
        if found.has_errors() {
            return found;
        }
        let mut effective = engine::propose(&kind.schema.attributes, config, None);
        for a in kind.schema.attributes().iter().filter(|a| a.write_only) {
            effective.put(a.name(), config.get(a.name()).clone());
        }
        let cx = cx.with_limit(Some(limit(&effective, kind.code.default_timeout())));
        let done = guard::run(&cx, kind.code.invoke(&cx, &effective, &progress)).await;
        found.extend(match done.unwrap_or_else(|late| Err(late.into())) {
            Ok(warnings) => warnings,
            Err(why) => reasons(why),
        });
        found
    }

    pub(crate) fn action(&self, name: &str) -> Result<&Kind<dyn Action>, Diagnostic> {
        let all = &self.families().actions;
        all.get(name).ok_or_else(|| unknown_type("action", name))
    }
}

/// Hosts ask for validation once, when little is known; what is learned later is checked as well.
async fn checked(kind: &Kind<dyn Action>, config: &Object) -> Diagnostics {
    let mut found = Diagnostics::new();
    engine::validate(&kind.schema, config, WriteOnly::Allowed, &mut found);
    let hook = kind.code.validate(config, &mut found);
    caught(guard::catch(hook).await, found)
}

fn limit(block: &Object, default: Duration) -> Duration {
    let name: Name<ActionTimeouts> = Name::new("timeouts");
    let said = block
        .at(name)
        .into_known()
        .and_then(|t| t.invoke.into_known());
    said.and_then(|t| duration::parse(&t).ok())
        .unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn progress_is_bounded_and_nobody_need_listen() {
        let (progress, mut lines) = Progress::channel();
        progress.say("é".repeat(LINE_MAX_BYTES)).await;
        assert_eq!(lines.recv().await.unwrap().len(), LINE_MAX_BYTES);
        drop(lines);
        for _ in 0..2 * WAITING_MAX {
            progress.say("unheard").await;
        }
    }

    #[test]
    fn the_user_limits_the_time() {
        let hour = Duration::from_secs(3600);
        let block = Object::new().with("timeouts", Object::new().with("invoke", "5s"));
        assert_eq!(limit(&block, hour), Duration::from_secs(5));
        assert_eq!(limit(&Object::new(), hour), hour);
    }
}
