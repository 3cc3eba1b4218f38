//! The way to bootd: the bundle, one channel made when first needed, calls that survive a restart of bootd, and watching.
//!
//! Promises: nothing is dialled before a resource needs it; a call that nobody answered is tried again for a bounded time, because every
//! call of the API may be repeated; NOT_FOUND is the only way to be gone.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metal_proto::metal::v1::metal_client::MetalClient;
use metal_proto::metal::v1::progress::Outcome;
use metal_proto::metal::v1::watch_request::Subject;
use metal_proto::metal::v1::{ErrorDetail, WatchRequest};
use prost::Message;
use serde::Deserialize;
use tfplugin::{Context, Diagnostic};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Response, Status};

use crate::diag;
use crate::memory::Memory;

/// bootd's client.
pub type Api = MetalClient<Channel>;

const CONNECT: Duration = Duration::from_secs(5);
/// How long a read or a plan asks before it says "does not answer".
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What `bootd init` writes.
#[derive(Clone, Deserialize)]
pub struct Bundle {
    endpoint: String,
    ca: String,
    certificate: String,
    key: String,
}

impl Bundle {
    /// Parses a bundle's text.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        toml::from_str(text).map_err(|e| diag::bundle_malformed(e.message()))
    }

    fn channel(&self) -> Result<Channel, Diagnostic> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .identity(Identity::from_pem(&self.certificate, &self.key));
        let endpoint = Endpoint::from_shared(self.endpoint.clone()).and_then(|e| e.tls_config(tls));
        let endpoint = endpoint.map_err(|e| diag::bundle_malformed(&e.to_string()))?;
        Ok(endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .connect_lazy())
    }
}

/// What the resources of one provider process share.
#[derive(Default)]
pub struct Session {
    bundle: Mutex<Option<Result<Bundle, Diagnostic>>>,
    api: Mutex<Option<Api>>,
    memory: Mutex<Memory>,
}

impl Session {
    /// Takes the provider block's bundle, or why there is none; said when a resource first needs it.
    pub fn configure(&self, bundle: Result<Bundle, Diagnostic>) {
        *lock(&self.bundle) = Some(bundle);
        *lock(&self.api) = None;
    }

    /// What this process has planned so far.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// bootd's URL, for messages.
    pub fn endpoint(&self) -> String {
        match &*lock(&self.bundle) {
            Some(Ok(bundle)) => bundle.endpoint.clone(),
            Some(Err(_)) | None => "bootd".to_owned(),
        }
    }

    fn api(&self) -> Result<Api, Diagnostic> {
        let mut api = lock(&self.api);
        if let Some(api) = &*api {
            return Ok(api.clone());
        }
        let bundle = match &*lock(&self.bundle) {
            Some(bundle) => bundle.clone()?,
            None => return Err(diag::no_bundle()),
        };
        let fresh = MetalClient::new(bundle.channel()?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        *api = Some(fresh.clone());
        Ok(fresh)
    }

    /// Calls bootd; asks again while nobody answers, for ten seconds or until the operation ends.
    pub async fn call<T, F>(&self, cx: &Context, call: impl Fn(Api) -> F) -> Result<T, Diagnostic>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.find(cx, call).await?.ok_or_else(|| {
            diag::call_failed(&self.endpoint(), "what this refers to does not exist there")
        })
    }

    /// As [`Session::call`]; `None` where bootd says that it does not exist.
    pub async fn find<T, F>(
        &self,
        cx: &Context,
        call: impl Fn(Api) -> F,
    ) -> Result<Option<T>, Diagnostic>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let api = self.api()?;
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            match cx.run(call(api.clone())).await? {
                Ok(answer) => return Ok(Some(answer.into_inner())),
                Err(status)
                    if status.code() == Code::NotFound
                        && detail(&status).is_none_or(|d| d.attribute.is_empty()) =>
                {
                    return Ok(None);
                }
                Err(status) if is_silence(&status) && tokio::time::Instant::now() < end => {
                    cx.run(tokio::time::sleep(PAUSE)).await?
                }
                Err(status) => return Err(self.explain(&status)),
            }
        }
    }

    /// Watches until the outcome. A bootd that restarts is waited for as long as the operation may take.
    pub async fn watch(
        &self,
        cx: &Context,
        subject: Subject,
        what: &str,
    ) -> Result<(), Diagnostic> {
        let mut stage = "nothing yet".to_owned();
        loop {
            match self.watch_once(cx, subject.clone(), &mut stage).await {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {}
                Err(interruption) => return Err(diag::goes_on(interruption, what, &stage)),
            }
            if let Err(interruption) = cx.run(tokio::time::sleep(PAUSE)).await {
                return Err(diag::goes_on(interruption, what, &stage));
            }
        }
    }

    /// One stream. The outer error is an interruption; `None` means that the stream broke.
    async fn watch_once(
        &self,
        cx: &Context,
        subject: Subject,
        stage: &mut String,
    ) -> Result<Option<Result<(), Diagnostic>>, Diagnostic> {
        let mut api = match self.api() {
            Ok(api) => api,
            Err(why) => return Ok(Some(Err(why))),
        };
        let request = WatchRequest {
            subject: Some(subject),
        };
        let mut stream = match cx.run(api.watch(request)).await? {
            Ok(answer) => answer.into_inner(),
            Err(status) if is_silence(&status) => return Ok(None),
            Err(status) => return Ok(Some(Err(self.explain(&status)))),
        };
        loop {
            match cx.run(stream.message()).await? {
                Ok(Some(progress)) => {
                    if *stage != progress.stage {
                        tracing::info!(stage = %progress.stage, message = %progress.message, "progress");
                        stage.clone_from(&progress.stage);
                    }
                    match progress.outcome {
                        Some(Outcome::Done(_)) => return Ok(Some(Ok(()))),
                        Some(Outcome::Failed(why)) => {
                            return Ok(Some(Err(diag::from_detail(&why))));
                        }
                        None => {}
                    }
                }
                Ok(None) => return Ok(None),
                Err(status) if is_silence(&status) => return Ok(None),
                Err(status) => return Ok(Some(Err(self.explain(&status)))),
            }
        }
    }

    fn explain(&self, status: &Status) -> Diagnostic {
        match detail(status) {
            Some(what) => diag::from_detail(&what),
            None if is_silence(status) => diag::unreachable(&self.endpoint(), &cause(status)),
            None => diag::call_failed(
                &self.endpoint(),
                &format!("{} ({})", status.message(), status.code()),
            ),
        }
    }
}

fn detail(status: &Status) -> Option<ErrorDetail> {
    ErrorDetail::decode(status.details())
        .ok()
        .filter(|d| !d.summary.is_empty())
}

/// Nobody answered, or the answer was cut off.
fn is_silence(status: &Status) -> bool {
    let broken = matches!(status.code(), Code::Unavailable | Code::Cancelled)
        || (status.code() == Code::Unknown && std::error::Error::source(status).is_some());
    broken && detail(status).is_none()
}

/// The innermost cause says it best ("connection refused").
fn cause(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
