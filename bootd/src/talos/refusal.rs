//! Why a node's statement cannot be carried out, in the words of `metal.v1`.

use metal_proto::metal::v1::ErrorDetail;

/// Errors of one statement; at least one.
pub type Refused = Vec<ErrorDetail>;

/// A refusal without a hint.
pub(super) fn refusal(reason: &str, summary: &str, detail: &str, attribute: &str) -> ErrorDetail {
    ErrorDetail {
        reason: reason.into(),
        summary: summary.into(),
        detail: detail.into(),
        hint: String::new(),
        attribute: attribute.into(),
    }
}
