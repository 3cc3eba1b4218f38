//! The netboot sockets: proxyDHCP, TFTP, HTTP(S), Talos's event and kernel-log sinks.
//!
//! They parse, ask the [`Desk`], answer and add facts. They never name a phase and never touch a BMC.

mod desk;

pub use desk::{Asker, Desk, DeskError, Netboot, Note, Redeemed, Refusal};
