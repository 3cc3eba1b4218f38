//! Machine configs: what `talosctl gen config` writes for a node, byte for byte, from typed inputs.
//!
//! Promises: the same inputs give the same bytes for ever; generator and contract are inputs and never guessed. Only
//! comment-free YAML is written. Not here: patches (see [`crate::patch`]) and rules (see [`crate::validate`]).

mod documents;
mod endpoint;
mod generate;
mod input;
mod policy;
mod registries;
mod split;
mod text;

pub use documents::{
    EarlyConfig, event_sink, hostname_document, kernel_log, trusted_roots, unassigned,
};
pub use endpoint::{Endpoint, EndpointError};
pub use generate::{GenerateError, generate, generate_unchecked};
pub(crate) use generate::{style, trees, trees_unchecked};
pub use input::{
    Cni, DiskSelector, Input, Install, InstallTarget, Registry, RegistryTls, Role, Scheduling,
    Toggle,
};
pub use text::MachineConfig;

#[cfg(test)]
mod tests;
