//! The one table from our errors to gRPC statuses.

use metal_proto::metal::v1::{ErrorDetail, Remark, remark};
use prost::Message as _;
use tonic::{Code, Status};

use crate::store::StoreError;

/// Why an rpc failed.
#[derive(Debug)]
pub enum ApiError {
    /// The request is wrong however often it is sent.
    Invalid(ErrorDetail),
    /// There is no such thing.
    Gone(ErrorDetail),
    /// Something else must happen first.
    NotNow(ErrorDetail),
    /// Nothing is left to give.
    Exhausted(ErrorDetail),
    /// The certificate's role may not.
    Denied(ErrorDetail),
    /// A peer of ours does not answer.
    Unreachable(ErrorDetail),
    /// Our store failed.
    Store(StoreError),
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let (code, detail) = match error {
            ApiError::Invalid(detail) => (Code::InvalidArgument, detail),
            ApiError::Gone(detail) => (Code::NotFound, detail),
            ApiError::NotNow(detail) => (Code::FailedPrecondition, detail),
            ApiError::Exhausted(detail) => (Code::ResourceExhausted, detail),
            ApiError::Denied(detail) => (Code::PermissionDenied, detail),
            ApiError::Unreachable(detail) => (Code::Unavailable, detail),
            ApiError::Store(error) => {
                let mut id = [0; 4];
                let id = match getrandom::fill(&mut id) {
                    Ok(()) => crate::store::hex(&id),
                    Err(_) => "unnumbered".to_owned(),
                };
                tracing::error!(
                    id,
                    error = &error as &dyn std::error::Error,
                    "an rpc failed"
                );
                let detail = Story::new("store-failed", "bootd's store failed")
                    .detail(format!(
                        "{error}. bootd's log has the causes under id {id}."
                    ))
                    .hint("check the disk that holds bootd's state directory.")
                    .done();
                (Code::Unavailable, detail)
            }
        };
        let message = if detail.detail.is_empty() {
            detail.summary.clone()
        } else {
            format!("{}: {}", detail.summary, detail.detail)
        };
        Self::with_details(code, message, detail.encode_to_vec().into())
    }
}

/// Builds an [`ErrorDetail`]: name, summary, then the rest.
#[derive(Debug, Clone)]
pub struct Story(ErrorDetail);

impl Story {
    /// A stable name and fixed words.
    pub fn new(reason: &str, summary: &str) -> Self {
        Self(ErrorDetail {
            reason: reason.to_owned(),
            summary: summary.to_owned(),
            ..ErrorDetail::default()
        })
    }

    /// What, which, why.
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.0.detail = text.into();
        self
    }

    /// One next step.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.0.hint = text.into();
        self
    }

    /// The argument at fault.
    #[must_use]
    pub fn at(mut self, attribute: &str) -> Self {
        self.0.attribute = attribute.to_owned();
        self
    }

    /// The detail.
    pub fn done(self) -> ErrorDetail {
        self.0
    }

    /// A plan-time error.
    pub fn refuses(self) -> Remark {
        Remark {
            severity: remark::Severity::Error.into(),
            what: Some(self.0),
        }
    }

    /// A plan-time warning.
    pub fn warns(self) -> Remark {
        Remark {
            severity: remark::Severity::Warning.into(),
            what: Some(self.0),
        }
    }

    /// A wrong request.
    pub fn invalid(self) -> ApiError {
        ApiError::Invalid(self.0)
    }

    /// No such thing.
    pub fn gone(self) -> ApiError {
        ApiError::Gone(self.0)
    }

    /// Something else must happen first.
    pub fn not_now(self) -> ApiError {
        ApiError::NotNow(self.0)
    }
}

impl From<ErrorDetail> for Story {
    fn from(detail: ErrorDetail) -> Self {
        Self(detail)
    }
}

/// "There is no X".
pub(super) fn no_such(kind: &str, name: &str) -> ApiError {
    Story::new("not-found", "Not found")
        .detail(format!("there is no {kind} {name:?} at this site."))
        .hint("it was deleted, or it is at another site.")
        .gone()
}
