//! The Terraform provider: states intent to bootd and watches. One room per resource below [`resource`]; all messages in [`diag`].
//!
//! Promises: nothing is decided here that bootd decides (boxes, wipes, installs); no secret reaches a state, a plan or a log.
//! Deliberately not here: the plugin protocol (crate `tfplugin`), rendering (bootd).

mod api;
pub mod client;
mod diag;
mod fields;
pub mod ids;
mod memory;
mod password;
mod provider;
pub mod range;
mod resource;
mod site;
mod version;

pub use provider::{Block, Environment, Metal};
