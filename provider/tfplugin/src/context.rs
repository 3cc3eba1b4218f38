//! What a request brings along: cancellation, deadline, private state, checkpoint, the host.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::deferral::{Deferral, Deferrals};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::Model;
use crate::timeouts::Operation;
use crate::value::Object;

/// Why an operation should end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The person pressed Ctrl-C, or the host was asked to stop.
    Stopped,
    /// The operation's time is over.
    TimedOut,
}

/// What is known about the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its version; empty before `configure`. OpenTofu says its own version.
    pub terraform_version: String,
}

/// One request's surroundings.
pub struct Context {
    operation: Operation,
    host: Host,
    stopped: CancellationToken,
    /// Ends what the request has started and left running.
    _over: Option<DropGuard>,
    deadline: Option<Instant>,
    private: Mutex<Private>,
    checkpoint: Mutex<Option<Object>>,
    warnings: Mutex<Diagnostics>,
    deferrals: Deferrals,
    deferred: Mutex<Option<Deferral>>,
    meta: Object,
}

impl Context {
    pub(crate) fn new(operation: Operation, host: Host, stopped: CancellationToken) -> Self {
        Self {
            operation,
            host,
            _over: (operation != Operation::Configure).then(|| stopped.clone().drop_guard()),
            stopped,
            deadline: None,
            private: Mutex::default(),
            checkpoint: Mutex::default(),
            warnings: Mutex::default(),
            deferrals: Deferrals::default(),
            deferred: Mutex::default(),
            meta: Object::default(),
        }
    }

    pub(crate) fn with_meta(mut self, meta: Object) -> Self {
        self.meta = meta;
        self
    }

    pub(crate) fn with_limit(mut self, limit: Option<Duration>) -> Self {
        self.deadline = limit.and_then(|l| Instant::now().checked_add(l));
        self
    }

    pub(crate) fn with_private(mut self, bytes: &[u8]) -> Self {
        self.private = Mutex::new(Private::from_bytes(bytes));
        self
    }

    pub(crate) fn with_deferrals(mut self, deferrals: Deferrals) -> Self {
        self.deferrals = deferrals;
        self
    }

    pub(crate) fn deferred(&self) -> Option<Deferral> {
        *lock(&self.deferred)
    }

    /// Does the host take deferred answers?
    #[must_use]
    pub fn deferrals(&self) -> Deferrals {
        self.deferrals
    }

    /// Makes the answer to this request (configure, read, plan, import, data) wait for a later run. What is returned besides is shown
    /// as far as it is known, and nothing is applied.
    ///
    /// # Errors
    /// The message for the user of a host that cannot: return it, or go on with what is known.
    pub fn defer(&self, why: Deferral) -> Result<(), Diagnostic> {
        match self.deferrals {
            Deferrals::Allowed => {
                *lock(&self.deferred) = Some(why);
                Ok(())
            }
            Deferrals::Refused => Err(why.refusal()),
        }
    }

    /// What the module that holds this resource or data source says in its `provider_meta` block; all null where it says nothing, and in
    /// requests that belong to no module's block. See [`Provider::meta`](crate::Provider::meta).
    #[must_use]
    pub fn meta<M: Model>(&self) -> M {
        self.meta.model()
    }

    /// What this request does.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The request's own: cancelled once the host asks to stop, and when the request is over (except `configure`'s, whose clients
    /// live on). Deadlines do not cancel it: see [`Self::interrupted`].
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.stopped
    }

    /// When the operation's time is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Time left; none without a deadline.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|d| d.saturating_duration_since(Instant::now()))
    }

    /// Waits until the operation should end. After it the operation has one second to return what it did; then the engine
    /// returns the last [`Self::checkpoint`] in its place.
    pub async fn interrupted(&self) -> Interrupt {
        let over = async {
            match self.deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stopped.cancelled() => Interrupt::Stopped,
            () = over => Interrupt::TimedOut,
        }
    }

    /// Awaits `work`, or ends with the message for the user when the operation should end.
    ///
    /// # Errors
    /// The message of an interrupted operation. What `work` had begun may be half done.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Diagnostic> {
        tokio::select! {
            why = self.interrupted() => Err(self.interruption(why)),
            done = work => Ok(done),
        }
    }

    /// The message for the user of an operation that ended early.
    #[must_use]
    pub fn interruption(&self, why: Interrupt) -> Diagnostic {
        let (noun, verb) = (self.operation.noun(), self.operation.as_str());
        match why {
            Interrupt::Stopped => Diagnostic::error("Operation cancelled")
                .detail(format!("The {noun} was stopped before its end, because the host asked to stop. What was done so far is kept."))
                .hint("run the same command again to continue"),
            Interrupt::TimedOut => Diagnostic::error("Operation timed out")
                .detail(format!("The {noun} did not end in the time that it was given. What was done so far is kept."))
                .hint(format!("run the same command again to continue, or raise timeouts.{verb}")),
        }
    }

    /// Keeps what exists so far. If the operation then fails, is stopped or panics without returning a state, this is the state,
    /// so that nothing is lost.
    pub fn checkpoint(&self, state: impl Into<Object>) {
        *lock(&self.checkpoint) = Some(state.into());
    }

    /// Forgets the checkpoint: what it told of is gone again.
    pub fn clear_checkpoint(&self) {
        *lock(&self.checkpoint) = None;
    }

    /// Tells the user something at the end of an apply, whether it succeeds or fails. The only way for a deletion that worked.
    pub fn warn(&self, warning: Diagnostic) {
        lock(&self.warnings).push(warning);
    }

    pub(crate) fn take_warnings(&self) -> Diagnostics {
        std::mem::take(&mut *lock(&self.warnings))
    }

    pub(crate) fn take_checkpoint(&self) -> Option<Object> {
        lock(&self.checkpoint).take()
    }

    /// A text that an earlier request kept beside the resource's state with [`Self::set_private`]. Users do not see it.
    #[must_use]
    pub fn private(&self, key: &str) -> Option<String> {
        lock(&self.private).entries.get(key).cloned()
    }

    /// Keeps a text beside the resource's state, or drops it. Not a place for secrets: the state file is plain text.
    pub fn set_private(&self, key: &str, value: Option<String>) {
        let mut private = lock(&self.private);
        private.foreign = None;
        match value {
            Some(v) => private.entries.insert(key.to_owned(), v),
            None => private.entries.remove(key),
        };
    }

    pub(crate) fn private_bytes(&self) -> Vec<u8> {
        lock(&self.private).to_bytes()
    }
}

/// Texts beside the state. Bytes that are not ours pass through untouched until something is set.
#[derive(Debug, Default, PartialEq, Eq)]
struct Private {
    entries: BTreeMap<String, String>,
    foreign: Option<Vec<u8>>,
}

impl Private {
    fn from_bytes(bytes: &[u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(entries) => Self {
                entries,
                foreign: None,
            },
            Err(_) => Self {
                entries: BTreeMap::new(),
                foreign: Some(bytes.to_vec()),
            },
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        if let Some(foreign) = &self.foreign {
            return foreign.clone();
        }
        if self.entries.is_empty() {
            return Vec::new();
        }
        serde_json::to_vec(&self.entries).expect("a map of texts is always JSON")
    }
}

/// A panic while the lock is held leaves plain data behind, which stays usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process's switch for `StopProvider`.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopSwitch(Arc<Mutex<CancellationToken>>);

/// What a stop does to requests that come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterStop {
    /// They are cancelled, too: this process belongs to the run that is stopping.
    StayStopped,
    /// They run: the process serves many runs (debug mode).
    Resume,
}

impl StopSwitch {
    pub(crate) fn token(&self) -> CancellationToken {
        lock(&self.0).child_token()
    }

    pub(crate) fn stop(&self, after: AfterStop) {
        let mut current = lock(&self.0);
        current.cancel();
        if after == AfterStop::Resume {
            *current = CancellationToken::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context::new(Operation::Create, Host::default(), CancellationToken::new())
    }

    #[test]
    fn private_state_passes_through() {
        let foreign = context().with_private(b"\x00not ours");
        assert_eq!(foreign.private_bytes(), b"\x00not ours");
        let ours = context().with_private(br#"{"a":"1"}"#);
        ours.set_private("b", Some("2".into()));
        ours.set_private("a", None);
        assert_eq!(ours.private_bytes(), br#"{"b":"2"}"#);
        assert_eq!(ours.private("b").as_deref(), Some("2"));
        assert_eq!(context().with_private(b"").private_bytes(), b"");
    }

    #[test]
    fn stop_reaches_requests_in_flight() {
        let switch = StopSwitch::default();
        let before = switch.token();
        switch.stop(AfterStop::Resume);
        assert!(before.is_cancelled() && !switch.token().is_cancelled());
        switch.stop(AfterStop::StayStopped);
        assert!(switch.token().is_cancelled());
    }
}
