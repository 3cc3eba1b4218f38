//! Everything Talos: secrets, machine configs, patches, schematics, and a client of the machine API.
//!
//! All rooms but `client` (behind the feature of that name) are pure: no sockets, no files; time and randomness arrive
//! as arguments. They never depend on the client.

#[cfg(feature = "client")]
pub mod client;
pub mod config;
pub mod diff;
pub mod disks;
pub mod explain;
pub mod layer;
pub mod patch;
pub mod redact;
mod schema;
pub mod schematic;
pub mod secrets;
pub mod talhelper;
pub mod validate;
pub mod version;
pub mod yaml;

pub use schema::{Fault, FaultReason};
