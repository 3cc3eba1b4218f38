//! The sans-IO core of bootd: it decides, the shell does.
//!
//! Everything here is a pure function of (state, input, now): wire formats, netboot answers, BMC sessions, the life cycle of a
//! machine, class matching. `now`, randomness and bytes come in as arguments; datagrams, requests and decisions go out as values.
//! Deliberately not here: sockets, files, clocks, random numbers, tokio, and any knowledge of Talos (a config is opaque bytes).

pub mod bmc;
pub mod class;
pub mod id;
pub mod lifecycle;
pub mod netboot;
pub mod secret;
pub mod wire;
