//! The protocol's service without a transport, for tests that play the host.
//!
//! Not part of the interface: its types are the protocol's, and change with it.

use std::sync::Arc;

use metal_proto::tfplugin6::provider_server::Provider as Protocol;

use crate::context::AfterStop;
use crate::resource::Provider;
use crate::runtime::Runtime;
use crate::server::Service;

/// The service of this provider, in the caller's process.
pub fn service(provider: impl Provider) -> impl Protocol {
    Service::new(Arc::new(Runtime::new(provider)), AfterStop::Resume)
}
