//! The netboot sockets with real peers on loopback and a scripted desk behind them.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test stop it, as its own unwraps do"
)]

mod dhcp;
mod fixture;
mod http;
mod images;
mod ipxe;
mod router;
mod sinks;
mod tftp;
