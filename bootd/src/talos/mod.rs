//! The Talos room: what bootd knows of Talos beside the crate `talos`.

pub mod boot_args;
pub mod events;
