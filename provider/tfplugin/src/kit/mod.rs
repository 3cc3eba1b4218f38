//! For the tests of a provider: real engines and working directories that hold the provider.
//!
//! Feature `engines`: [`Engine`], [`Workspace`], [`printed_schemas`]. Deliberately not here: which engines a project wants, and where it gets them.

mod engine;
mod printed;
mod workspace;

pub use engine::{Engine, NoEngine, Product, Version};
pub use printed::printed_schemas;
pub use workspace::{Outcome, Plugin, Workspace, flat};
