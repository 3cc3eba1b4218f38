//! Around every request: the fields that each of its log lines has, and the end of a panic that nobody catches.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::guard;

/// Adds `tf_provider_addr`, `tf_rpc` and `tf_req_id` to what is logged in a request, under the names that users of other providers know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requests {
    /// The provider's source address.
    pub(super) address: &'static str,
}

impl<S> Layer<S> for Requests {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Traced {
            inner,
            address: self.address,
        }
    }
}

/// A service whose requests have names.
#[derive(Clone, Debug)]
pub(super) struct Traced<S> {
    inner: S,
    address: &'static str,
}

/// Requests since the start.
static COUNT: AtomicU64 = AtomicU64::new(0);

impl<S, B> Service<http::Request<B>> for Traced<S>
where
    S: Service<http::Request<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let rpc = request.uri().path().rsplit('/').next().unwrap_or_default();
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        // Of the highest level, so that warnings have the fields, too.
        let span = tracing::error_span!(
            "request",
            tf_provider_addr = self.address,
            tf_rpc = rpc,
            tf_req_id = format_args!("{}-{id}", std::process::id()),
        );
        let answer = self.inner.call(request);
        let timed = async move {
            let begun = Instant::now();
            let answer = guard::in_request(answer).await;
            let took = begun.elapsed().as_secs_f64() * 1e3;
            tracing::trace!(tf_req_duration_ms = took, "request answered");
            answer
        };
        Box::pin(timed.instrument(span))
    }
}
