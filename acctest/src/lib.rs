//! The virtual rack, the simulated Talos nodes, and what the stories need to drive real terraform.
//!
//! A process of its own: it shares no file, memory or API with bootd but the network protocols.

pub mod bmc;
pub mod engines;
pub mod rack;
pub mod site;
pub mod talosnode;
pub mod tf;
