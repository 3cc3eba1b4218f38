//! The Talos room: what bootd knows of Talos beside the crate `talos`.

mod arguments;
pub mod boot_args;
mod disks;
pub mod events;
mod jobs;
mod refusal;
mod render;
mod state;

pub use disks::remarks;
pub use jobs::{Jobs, Settings};
pub use refusal::Refused;
pub use render::{Rendered, Surroundings, render};
pub use state::{
    Bootstrap, ClusterState, NodeState, Pins, SecretsState, contract, image, installer,
    installer_of, kubernetes_access, secrets, set_status, status, talos_access, version_of,
};
