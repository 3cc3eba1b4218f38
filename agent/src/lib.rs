//! The agent that netboots on a server: it reports the hardware and what is on the disks, erases what bootd orders, and decides
//! nothing by itself.
//!
//! [`run`] is the whole agent over a [`Platform`]. `/init` gives it real hardware, the simulated rack gives it sparse files;
//! inventory of content, erase, read-back, proof and the talk with bootd are the same code on both.
//! Where to look: [`survey`] tells what is on a disk, [`erase`] removes it, [`session`] is the order of things.

pub mod dhcp;
pub mod erase;
pub mod gpt;
mod http;
pub mod initrd;
#[cfg(target_os = "linux")]
pub mod linux;
mod parameters;
mod plan;
pub mod platform;
pub mod report;
mod session;
mod signature;
pub mod smbios;
pub mod survey;
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the one file of system calls")]
pub mod sys;
mod talk;

pub use parameters::{BootParameters, ParameterError};
pub use platform::{Access, DiskFacts, DiskHandle, DiskKind, Platform};
pub use session::{Outcome, VERSION, run};
