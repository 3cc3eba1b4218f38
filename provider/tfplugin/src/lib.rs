//! Terraform plugin protocol 6 for Rust.
#![warn(missing_docs)]

mod context;
mod diagnostics;
pub mod duration;
mod engine;
pub mod model;
mod path;
mod plan;
mod resource;
pub mod schema;
mod timeouts;
mod value;

pub use context::{Context, Host, Interrupt};
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use model::{Field, FieldType, Model, Name, SetOf};
pub use path::{Path, Step};
pub use plan::Plan;
pub use resource::{Change, DataSource, Failed, Provider, Resource, Saved};
pub use schema::{Attribute, Schema};
pub use timeouts::{DefaultTimeouts, Operation, Timeouts};
/// Makes `async fn` in implementations of this crate's traits possible.
pub use tonic::async_trait;
pub use value::{NotANumber, NotAType, Number, Object, Type, Value};
