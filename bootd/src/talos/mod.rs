//! The Talos room: what bootd knows of Talos beside the crate `talos`.

pub mod boot_args;
pub mod events;
mod jobs;
mod render;
mod state;

pub use jobs::{Jobs, Settings};
pub use render::{Rendered, Surroundings, remarks, render};
pub use state::{
    Bootstrap, ClusterState, NodeState, SecretsState, contract, image, installer, installer_of,
    kubernetes_access, secrets, set_status, status, talos_access,
};
