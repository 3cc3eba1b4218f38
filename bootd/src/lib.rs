//! The boot daemon's shell: sockets, store, clock and jobs around `bootd-core`.

pub mod api;
pub mod authority;
pub mod bmc;
pub mod config;
pub mod egress;
pub mod images;
pub mod net;
pub mod reconcile;
pub mod serve;
pub mod store;
pub mod talos;
