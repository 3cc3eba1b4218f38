//! Wire formats: bytes to small meaningful values and back.
//!
//! Promise: no parser panics on any input or allocates more than the input is long, and what `emit` makes, `parse` reads back.
//! Numbers fresh off the wire are checked here once and are not checked again. Deliberately not here: sessions, retries, keys,
//! and any state.

pub mod dhcp;
pub mod ipmi;
pub mod ndp;
pub mod pxe;
pub mod rmcp;
