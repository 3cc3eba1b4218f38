//! The provider: it turns HCL into goals of bootd, and watches until they are reached.
//!
//! Promises: validation dials nobody; a plan changes nothing but soft holds; "unreachable" is an error and never "gone"; every message
//! that a user sees is made in [`diag`]. Deliberately not here: the plugin protocol (crate `tfplugin`) and anything bootd decides.

pub mod client;
pub mod diag;
pub mod hardware;
pub mod id;
mod memory;
pub mod provider;
pub mod range;
pub mod resource;

pub mod data;
