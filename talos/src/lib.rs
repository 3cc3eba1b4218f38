//! Everything Talos: secrets, machine configs, patches, schematics, and a client of the machine API.
//!
//! All rooms but `client` (behind the feature of that name) are pure: no sockets, no files; time and randomness arrive
//! as arguments. They never depend on the client.
//!
//! # Guaranteed
//! * What [`config`], [`patch`] and [`secrets`] write is what the chosen generator's machinery writes, byte for byte,
//!   without comments. `acctest/oracle` holds its answers to some 1,700 cases of 1.13 and 287 of 1.14; the exceptions
//!   are listed beside them, each with its reason. Generator and contract are always arguments.
//! * [`validate`] finds what the machinery finds; a finding has its document, line, column and path, and what to do
//!   where one thing is likely.
//! * What [`layer`] renders for contracts up to 1.13 was taken, written back unchanged and found valid by machinery
//!   1.13.9; `tests/layer.rs` fails when a rendering changes before that was asked again.
//! * What [`explain`] returns gives a config that means the same; it is compared before it is returned.
//! * [`diff`], [`redact`] and every error show no secret of the bundle.
//! * No input panics: every reader has a property test. No text costs more than its bounds: 16 MiB, 100 levels, 500,000
//!   values, 16 MiB of copies by anchors; what is beyond them is an error with its place (`tests/hostile.rs`).
//! * Imported secrets have every part, keys of the algorithm and curve that belong there, and certificates of these
//!   keys. [`secrets::Bundle::from_secrets_yaml`], which also reads what is kept, leaves the last of these to
//!   [`secrets::Bundle::inspect`].
//!
//! # Not guaranteed
//! * Random cases of every operation (patches of all documents and keys, broken texts) may still find differences from
//!   machinery 1.13.9: the 20,000 of `METAL_FULL=1 cargo test -p talos --test oracle` have found none of late in what
//!   only one side takes, but two refusals on purpose (secrets would be lost); `METAL_SEED` chooses others.
//!   `acctest/oracle/1.13/open.txt` tells kinds of them, which the run of every day passes over.
//! * Comments: the machinery can write its documentation beside the keys (`comments: docs` and `all` of the case
//!   format). That prose is not ours to copy; configs are written without comments, and such cases are refused.
//! * Rules of 1.14 that no case breaks: about 190 of some 500 texts, mostly of documents that only 1.14 has. They are
//!   listed in `acctest/oracle/1.14/unproven.txt`.
//! * Keys of free-form maps are texts: a number as the key of an overlay's option is printed in quotes, unlike Go.
//! * Where the text of an error is a Go library's (YAML, URLs, addresses), its words are ours; its line is the same.
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
