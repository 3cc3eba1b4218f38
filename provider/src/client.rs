//! The way to bootd: the bundle, the mutually authenticated channel, calls with limits, and errors by kind.
//!
//! Promises: nothing is dialled before the first call; a look ends within ten seconds; "not there" and "not reachable" are never mixed up;
//! no key appears in any message. Not here: what the answers mean, see [`crate::api`].

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use metal_proto::metal::v1 as pb;
use pb::metal_client::MetalClient;
use prost::Message as _;
use serde::Deserialize;
use tokio::sync::OnceCell;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Response, Status};

use crate::version;
pub use crate::version::Older;

/// A look at bootd ends within this.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// A connection is made within this.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A bootd that restarts in the middle of an apply is waited for.
const RESTART_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// What `bootd init` writes: where bootd is, who it is, and who we are.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// `https://host:7443`.
    endpoint: String,
    /// PEM of bootd's authority.
    ca: String,
    /// PEM of our certificate.
    certificate: String,
    /// PEM of our key.
    key: String,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Why a text is no bundle. Never quotes it: it holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not the four texts in TOML.
    #[error("it is not TOML with exactly `endpoint`, `ca`, `certificate` and `key`")]
    Shape,
    /// The endpoint.
    #[error("its `endpoint` is not an https URL with a host")]
    Endpoint,
    /// Certificates or key.
    #[error("its certificates or its key cannot be used")]
    Certificates,
}

impl Bundle {
    /// Reads the text of a bundle.
    ///
    /// # Errors
    /// [`BundleError`]; the text is not quoted.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        let bundle: Self = toml::from_str(text).map_err(|_| BundleError::Shape)?;
        let host = bundle.endpoint.strip_prefix("https://").unwrap_or_default();
        if host.is_empty() || host.starts_with(['/', ':']) {
            return Err(BundleError::Endpoint);
        }
        for (pem, label) in [
            (&bundle.ca, "CERTIFICATE"),
            (&bundle.certificate, "CERTIFICATE"),
            (&bundle.key, "PRIVATE KEY"),
        ] {
            if !(pem.contains("-----BEGIN ") && pem.contains(label)) {
                return Err(BundleError::Certificates);
            }
        }
        Ok(bundle)
    }
}

/// What bootd said when it refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Stable name in kebab-case.
    pub reason: String,
    /// One short line.
    pub summary: String,
    /// What, which, why.
    pub detail: String,
    /// One next step.
    pub hint: String,
    /// Dotted path of the argument at fault.
    pub attribute: String,
}

impl From<pb::ErrorDetail> for Refusal {
    fn from(d: pb::ErrorDetail) -> Self {
        Self {
            reason: d.reason,
            summary: d.summary,
            detail: d.detail,
            hint: d.hint,
            attribute: d.attribute,
        }
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The thing does not exist.
    Gone,
    /// bootd does not do it, and says why.
    Refused(Refusal),
    /// bootd does not know the call.
    Missing {
        /// Which bootd.
        endpoint: String,
        /// What it said.
        why: String,
    },
    /// bootd and provider do not understand each other.
    Versions {
        /// Which bootd.
        endpoint: String,
        /// Its version.
        bootd: String,
        /// Who must be upgraded.
        older: Older,
    },
    /// No answer. Nothing may be concluded from it.
    Unreachable {
        /// Which bootd.
        endpoint: String,
        /// What was seen.
        why: String,
    },
}

/// A connection to one bootd. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    endpoint: Arc<str>,
    stub: MetalClient<Channel>,
    /// Filled once versions were exchanged and fit.
    met: Arc<OnceCell<()>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares a connection; the first call dials. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`BundleError`] where certificates or endpoint cannot be used.
    pub fn new(bundle: &Bundle) -> Result<Self, BundleError> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&bundle.ca))
            .identity(Identity::from_pem(&bundle.certificate, &bundle.key));
        let channel = Endpoint::from_shared(bundle.endpoint.clone())
            .map_err(|_| BundleError::Endpoint)?
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .tls_config(tls)
            .map_err(|_| BundleError::Certificates)?
            .connect_lazy();
        Ok(Self {
            endpoint: Arc::from(bundle.endpoint.as_str()),
            stub: MetalClient::new(channel),
            met: Arc::default(),
        })
    }

    /// The URL, for messages.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Exchanges versions: once per process, before the first call. Configuring the provider dials nothing.
    async fn meet(&self) -> Result<(), CallError> {
        let exchange = async || {
            let ours = pb::SiteRequest {
                client_version: version::OURS.to_owned(),
            };
            let mut stub = self.stub.clone();
            let site = match self.ask(stub.site(ours)).await {
                Ok(site) => site,
                // It is so old that it cannot even say so.
                Err(CallError::Missing { .. }) => pb::SiteResponse::default(),
                Err(other) => return Err(other),
            };
            match version::judge(version::OURS, &site.version, &site.features) {
                None => Ok(()),
                Some(older) => Err(CallError::Versions {
                    endpoint: self.endpoint.to_string(),
                    bootd: site.version,
                    older,
                }),
            }
        };
        self.met.get_or_try_init(exchange).await.map(|_| ())
    }

    /// Asks once.
    async fn look<T, F, R>(&self, call: F) -> Result<T, CallError>
    where
        F: Fn(MetalClient<Channel>) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        Box::pin(self.meet()).await?;
        self.ask(call(self.stub.clone())).await
    }

    async fn ask<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(LOOK_LIMIT, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.error(&status)),
            Err(_) => Err(self.unreachable(format!("no answer within {} s", LOOK_LIMIT.as_secs()))),
        }
    }

    /// States something: names are idempotency keys, so that a bootd that restarts meanwhile is asked again.
    async fn state<T, F, R>(&self, call: F) -> Result<T, CallError>
    where
        F: Fn(MetalClient<Channel>) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let patience = tokio::time::Instant::now() + RESTART_PATIENCE;
        loop {
            match self.look(&call).await {
                Err(CallError::Unreachable { .. }) if tokio::time::Instant::now() < patience => {
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                done => return done,
            }
        }
    }

    /// Opens the progress of one thing.
    pub(crate) async fn progress(
        &self,
        request: pb::WatchRequest,
    ) -> Result<tonic::Streaming<pb::Progress>, CallError> {
        self.look(move |mut stub| {
            let request = request.clone();
            async move { stub.watch(request).await }
        })
        .await
    }

    pub(crate) fn error(&self, status: &Status) -> CallError {
        let told = pb::ErrorDetail::decode(status.details())
            .ok()
            .filter(|d| !d.summary.is_empty());
        match (status.code(), told) {
            (Code::NotFound, _) => CallError::Gone,
            (
                Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown,
                None,
            ) => self.unreachable(root_cause(status)),
            (_, Some(detail)) => CallError::Refused(detail.into()),
            (Code::Unimplemented, None) => CallError::Missing {
                endpoint: self.endpoint.to_string(),
                why: status.message().to_owned(),
            },
            (code, None) => CallError::Refused(Refusal {
                reason: "refused".to_owned(),
                summary: "bootd refused the request".to_owned(),
                detail: format!("{} answered {code:?}: {}", self.endpoint, status.message()),
                ..Refusal::default()
            }),
        }
    }

    fn unreachable(&self, why: String) -> CallError {
        CallError::Unreachable {
            endpoint: self.endpoint.to_string(),
            why,
        }
    }
}

/// The innermost cause says what happened; the outer ones only say that something did.
fn root_cause(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    let mut text = status.message().to_owned();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

macro_rules! calls {
    ($($kind:ident $name:ident($request:ty) -> $answer:ty;)*) => {
        impl Client {
            $(pub(crate) async fn $name(&self, request: $request) -> Result<$answer, CallError> {
                // Boxed: the future of a call holds the whole request several times.
                Box::pin(self.$kind(move |mut stub| {
                    let request = request.clone();
                    async move { stub.$name(request).await }
                }))
                .await
            })*
        }
    };
}

calls! {
    state put_server(pb::PutServerRequest) -> pb::Server;
    look read_server(pb::Named) -> pb::Server;
    look list_servers(pb::ListServersRequest) -> pb::ListServersResponse;
    state delete_server(pb::DeleteServerRequest) -> pb::Empty;
    state put_class(pb::ClassConfig) -> pb::ClassConfig;
    look read_class(pb::Named) -> pb::ClassConfig;
    state delete_class(pb::Named) -> pb::Empty;
    look plan_claim(pb::PlanClaimRequest) -> pb::PlanClaimResponse;
    state put_claim(pb::PutClaimRequest) -> pb::Claim;
    look read_claim(pb::Named) -> pb::Claim;
    state release_claim(pb::Named) -> pb::Empty;
    state put_image(pb::ImageConfig) -> pb::Image;
    look read_image(pb::Named) -> pb::Image;
    state delete_image(pb::Named) -> pb::Empty;
    state put_secrets(pb::SecretsConfig) -> pb::Secrets;
    look read_secrets(pb::Named) -> pb::Secrets;
    state delete_secrets(pb::Named) -> pb::Empty;
    look plan_node(pb::PlanNodeRequest) -> pb::PlanNodeResponse;
    state put_node(pb::PutNodeRequest) -> pb::Node;
    look read_node(pb::Named) -> pb::Node;
    state delete_node(pb::Named) -> pb::Empty;
    state put_cluster(pb::ClusterConfig) -> pb::Cluster;
    look read_cluster(pb::Named) -> pb::Cluster;
    state delete_cluster(pb::Named) -> pb::Empty;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_checked_and_not_quoted() {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let text = |endpoint: &str, key: &str| {
            let c = pem("CERTIFICATE");
            format!(
                "endpoint = {endpoint:?}\nca = '''{c}'''\ncertificate = '''{c}'''\nkey = '''{key}'''\n"
            )
        };
        let good = Bundle::parse(&text("https://10.0.0.5:7443", &pem("PRIVATE KEY"))).unwrap();
        assert_eq!(
            format!("{good:?}"),
            r#"Bundle { endpoint: "https://10.0.0.5:7443", .. }"#
        );
        let bad = |t: &str| Bundle::parse(t).unwrap_err();
        assert_eq!(bad("endpoint = 1"), BundleError::Shape);
        assert_eq!(
            bad(&text("http://h", &pem("PRIVATE KEY"))),
            BundleError::Endpoint
        );
        assert_eq!(
            bad(&text("https://", &pem("PRIVATE KEY"))),
            BundleError::Endpoint
        );
        assert_eq!(bad(&text("https://h", "s3cret")), BundleError::Certificates);
        assert_eq!(
            bad(&format!(
                "{}extra = 1\n",
                text("https://h", &pem("PRIVATE KEY"))
            )),
            BundleError::Shape
        );
    }
}
