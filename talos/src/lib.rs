//! Everything Talos: secrets, machine configs, patches, schematics, and a client of the machine API.
//!
//! All rooms but `client` (behind the feature of that name) are pure: no sockets, no files; time and randomness arrive
//! as arguments. They never depend on the client.
//!
//! # Guaranteed
//! * What [`config`], [`patch`] and [`secrets`] write is what the chosen generator's machinery writes, byte for byte;
//!   the corpora under `tests/data` and `acctest/oracle` hold its answers. Generator and contract are always arguments.
//! * What [`layer`] renders for contracts up to 1.13 was taken, written back unchanged and found valid by machinery
//!   1.13.9; `tests/layer.rs` fails when a rendering changes before that was asked again.
//! * What [`explain`] returns gives a config that means the same; it is compared before it is returned.
//! * [`diff`], [`redact`] and every error show no secret of the bundle.
//! * No input panics: every reader has a property test, and texts have bounds in size, depth and number of values.
//!
//! # Not guaranteed
//! * Renderings for contract 1.14 were compared with the schema of its documents, not by its machinery as a whole.
//! * The classes of [`diff`] follow Talos's own check up to 1.13; from 1.14 on Talos never reboots by itself, and a
//!   change of class `reboot` waits for the next boot.
//! * [`disks::wiped`] decides the expressions that are common; what it cannot decide counts as overwritten.
//! * The limits, disks and MTUs of [`platform`] are remembered, neither looked up again nor tried on the clouds.

#[cfg(feature = "client")]
pub mod client;
pub mod config;
pub mod diff;
pub mod disks;
pub mod explain;
pub mod layer;
pub mod patch;
pub mod platform;
pub mod redact;
mod schema;
pub mod schematic;
pub mod secrets;
pub mod talhelper;
pub mod validate;
pub mod version;
pub mod yaml;

pub use schema::{Fault, FaultReason};
