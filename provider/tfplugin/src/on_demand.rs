//! Something that is made from the provider block when it is first needed: a connection, a client.
//!
//! Hosts start several processes per command and configure most of them for nothing. `configure` puts the settings here and dials nothing.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::context::Context;
use crate::diagnostics::Diagnostic;

/// Makes a `T` of settings `C` on first use, once for all who ask at the same time; a failure is told and not kept.
///
/// ```
/// use std::sync::Arc;
/// use tfplugin::{Context, Diagnostic, OnDemand};
///
/// #[derive(Clone)]
/// struct Client(String);
///
/// /// Shared by the resources of a provider.
/// #[derive(Default)]
/// struct Shared(OnDemand<String, Client>);
///
/// impl Shared {
///     // Called from Provider::configure: dials nothing.
///     fn configure(&self, endpoint: &str) { self.0.configure(endpoint.to_owned()); }
///
///     // Called from resources.
///     async fn client(&self, cx: &Context) -> Result<Client, Diagnostic> {
///         self.0.ready(cx, |endpoint| async move { Ok(Client(format!("connected to {endpoint}"))) }).await
///     }
/// }
/// ```
#[derive(Debug)]
pub struct OnDemand<C, T>(Mutex<Option<Arc<Made<C, T>>>>);

#[derive(Debug)]
struct Made<C, T> {
    settings: C,
    made: OnceCell<T>,
}

impl<C, T> Default for OnDemand<C, T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<C: Clone, T: Clone> OnDemand<C, T> {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the settings. What was made of earlier ones is forgotten: a debugged process is configured anew in every run.
    pub fn configure(&self, settings: C) {
        *self.place() = Some(Arc::new(Made {
            settings,
            made: OnceCell::new(),
        }));
    }

    /// The settings, once there are any.
    #[must_use]
    pub fn settings(&self) -> Option<C> {
        self.place().as_ref().map(|made| made.settings.clone())
    }

    /// What is made of the settings; `make` runs if nobody has asked before. Ends early when the request should.
    ///
    /// # Errors
    /// There are no settings, `make` failed, or the request ended.
    pub async fn ready<F>(
        &self,
        cx: &Context,
        make: impl FnOnce(C) -> F + Send,
    ) -> Result<T, Diagnostic>
    where
        F: Future<Output = Result<T, Diagnostic>> + Send,
    {
        let made = self.place().clone().ok_or_else(not_configured)?;
        let settings = made.settings.clone();
        let ready = made.made.get_or_try_init(|| make(settings));
        cx.run(ready).await?.cloned()
    }

    /// A panic while the lock is held leaves plain data behind, which stays usable.
    fn place(&self) -> MutexGuard<'_, Option<Arc<Made<C, T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_configured() -> Diagnostic {
    Diagnostic::error("Provider not configured")
        .detail("The provider block is missing, or holds values that are known only after apply.")
        .hint("add the provider block, with values that are known during plan")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Host;
    use crate::timeouts::Operation;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio_util::sync::CancellationToken;

    fn context(token: &CancellationToken) -> Context {
        Context::new(Operation::Read, Host::default(), token.child_token())
    }

    #[tokio::test]
    async fn made_once_and_only_when_needed() {
        let token = CancellationToken::new();
        let (cx, calls) = (context(&token), AtomicU32::new(0));
        let cell = OnDemand::<u32, u32>::new();
        let make = |n: u32| {
            calls.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                if n == 0 {
                    Err(Diagnostic::error("no"))
                } else {
                    Ok(n * 10)
                }
            }
        };
        assert_eq!(
            cell.ready(&cx, make).await.unwrap_err().summary,
            "Provider not configured"
        );
        cell.configure(0);
        assert!(cell.ready(&cx, make).await.is_err());
        assert!(
            cell.ready(&cx, make).await.is_err(),
            "a failure is not kept"
        );
        cell.configure(4);
        let both = tokio::join!(cell.ready(&cx, make), cell.ready(&cx, make));
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (40, 40));
        assert_eq!(calls.load(Ordering::Relaxed), 3);
        cell.configure(5);
        assert_eq!(
            (cell.settings(), cell.ready(&cx, make).await.unwrap()),
            (Some(5), 50)
        );
    }

    #[tokio::test]
    async fn waiting_ends_with_the_request() {
        let token = CancellationToken::new();
        let cell = OnDemand::<(), ()>::new();
        cell.configure(());
        let cx = context(&token);
        token.cancel();
        let ended = cell
            .ready(&cx, |()| std::future::pending())
            .await
            .unwrap_err();
        assert_eq!(ended.summary, "Operation cancelled");
    }
}
