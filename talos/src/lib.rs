//! Everything Talos: secrets, machine configs, patches, schematics, and a client of the machine API.
//!
//! All rooms but [`client`] (feature `client`) are pure: no sockets, no files; time and randomness arrive as
//! arguments. They never depend on the client.

pub mod config;
pub mod secrets;
pub mod version;
pub mod yaml;
