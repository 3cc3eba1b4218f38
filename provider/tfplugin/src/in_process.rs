//! The protocol's service without a transport, and the codec by itself: for tests that play the host, fuzzers and benchmarks.
//!
//! Not part of the interface: its types are the protocol's, and change with it.

use std::sync::Arc;

use metal_proto::tfplugin6::provider_server::Provider as Protocol;

use crate::codec::{json, msgpack};
use crate::context::AfterStop;
use crate::resource::Provider;
use crate::runtime::Runtime;
use crate::server::Service;
use crate::value::{Type, Value};

/// The service of this provider, in the caller's process.
pub fn service(provider: impl Provider) -> impl Protocol {
    Service::new(Arc::new(Runtime::new(provider)), AfterStop::Resume)
}

/// Reads a value as hosts send it.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(bytes: &[u8], ty: &Type) -> Result<Value, String> {
    msgpack::from_bytes(bytes, ty).map_err(|why| why.to_string())
}

/// Reads a value as state files hold it.
///
/// # Errors
/// What is wrong with the text.
pub fn decode_json(text: &[u8], ty: &Type) -> Result<Value, String> {
    json::from_bytes(text, ty).map_err(|why| why.to_string())
}

/// Writes a value as hosts take it.
///
/// # Errors
/// Why the value does not fit the type.
pub fn encode(value: &Value, ty: &Type) -> Result<Vec<u8>, String> {
    msgpack::to_bytes(value, ty).map_err(|why| why.to_string())
}
