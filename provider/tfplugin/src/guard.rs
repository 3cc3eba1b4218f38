//! Around every call of provider code: a panic becomes a message, and an interrupted call gets one second to end.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;

use crate::context::Context;
use crate::diagnostics::Diagnostic;

/// What an interrupted operation has to return its state; the host's own patience is about twice that.
const GRACE: Duration = Duration::from_secs(1);

tokio::task_local! {
    static GUARDED: ();
    static REQUEST: ();
}

/// Runs the answer to a request of the host: a panic in it that nobody catches ends the process.
pub(crate) async fn in_request<T>(answer: impl Future<Output = T>) -> T {
    REQUEST.scope((), answer).await
}

/// Does this thread, right now, answer a request?
pub(crate) fn is_in_request() -> bool {
    REQUEST.try_with(|()| ()).is_ok()
}

/// Runs provider code that may panic but is never interrupted.
pub(crate) async fn catch<T>(work: impl Future<Output = T>) -> Result<T, Diagnostic> {
    GUARDED
        .scope((), AssertUnwindSafe(work).catch_unwind())
        .await
        .map_err(|_| {
            Diagnostic::provider_bug(
                "The provider panicked in this operation; what it had kept before is in the state.",
            )
        })
}

/// Runs provider code until its end, or until one second after the operation should have ended.
pub(crate) async fn run<T>(cx: &Context, work: impl Future<Output = T>) -> Result<T, Diagnostic> {
    let work = Box::pin(catch(work));
    let mut work = work;
    tokio::select! {
        biased;
        done = &mut work => done,
        why = cx.interrupted() => match tokio::time::timeout(GRACE, work).await {
            Ok(done) => done,
            Err(_) => Err(cx.interruption(why)),
        },
    }
}

/// Is the panic of this thread, right now, one that [`catch`] will turn into a message?
pub(crate) fn is_guarded() -> bool {
    GUARDED.try_with(|()| ()).is_ok()
}
