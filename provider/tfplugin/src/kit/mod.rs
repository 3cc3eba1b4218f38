//! For the tests of a provider: step tests, real engines, and working directories that hold the provider.
//!
//! Feature `kit`: [`Steps`], configurations in a row that run in process and on real engines alike.
//! Feature `engines`: [`Engine`], [`Workspace`], [`printed_schemas`]. Deliberately not here: which engines a project wants, and where it gets them.

mod engine;
mod printed;
#[cfg(feature = "kit")]
mod steps;
mod workspace;

pub use engine::{Engine, NoEngine, Product, Version};
pub use printed::printed_schemas;
#[cfg(feature = "kit")]
pub use steps::{Effect, Step, StepFailure, Steps};
pub use workspace::{Outcome, Plugin, Workspace, flat};
