//! Terraform plugin protocol 6 for Rust: a provider is structs of attributes and a few async functions.
//!
//! The engine around them keeps the host's rules by construction: a plan agrees with the configuration, a state with the plan, nothing
//! unknown or write-only is stored, and a stopped, failed or panicked operation keeps what it had made ([`Context::checkpoint`]).
//! No protobuf, no MessagePack, no bytes in a provider's code. Deliberately not here:
//! state of Terraform before 0.12.
//!
//! A whole provider:
//!
//! ```no_run
//! use std::sync::Arc;
//! use tfplugin::schema::{Schema, validators};
//! use tfplugin::{
//!     About, Change, Context, Diagnostic, Diagnostics, Failed, Field, Object, Plan, Provider, Resource, Saved, Timeouts,
//!     async_trait, model,
//! };
//!
//! model! {
//!     /// A note in a file.
//!     pub struct Note {
//!         /// Where the note is.
//!         id: String = computed().use_state_for_unknown(),
//!         /// Name of the file.
//!         name: String = required().validate(validators::slug(63)).requires_replace(),
//!         /// What it says.
//!         text: String = optional().default("nothing"),
//!         /// How long each operation may take.
//!         timeouts: Timeouts = optional().local(),
//!     }
//! }
//!
//! struct Notes;
//!
//! fn write(cx: &Context, change: &Change) -> Result<Saved, Failed> {
//!     let mut note: Note = change.planned();
//!     let (Field::Known(id), Field::Known(text)) = (&note.id, &note.text) else { return Ok(note.into()) };
//!     cx.checkpoint(note.clone()); // from here on something exists
//!     std::fs::write(id, text).map_err(|e| {
//!         Diagnostic::error("Note not written").detail(format!("{id}: {e}.")).hint("look at the directory").at(Note::name)
//!     })?;
//!     Ok(note.into())
//! }
//!
//! #[async_trait]
//! impl Resource for Notes {
//!     fn type_name(&self) -> &'static str { "demo_note" }
//!     fn schema(&self) -> Schema { Schema::of::<Note>("A note in a file.") }
//!
//!     async fn plan(&self, _: &Context, plan: &mut Plan, _: &mut Diagnostics) {
//!         // The id is known before apply wherever the name is.
//!         if let (true, Field::Known(name)) = (plan.is_create(), plan.config::<Note>().name) {
//!             plan.set(Note::id, format!("{name}.txt"));
//!         }
//!     }
//!     async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> { write(cx, change) }
//!     async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> { write(cx, change) }
//!     async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
//!         let mut note: Note = state.model();
//!         let text = note.id.known().and_then(|id| std::fs::read_to_string(id).ok());
//!         Ok(text.map(|t| { note.text = t.into(); note.into() }))
//!     }
//!     async fn delete(&self, _: &Context, state: &Object) -> Result<(), Failed> {
//!         let _ = state.at(Note::id).known().map(std::fs::remove_file);
//!         Ok(())
//!     }
//! }
//!
//! struct Demo;
//!
//! #[async_trait]
//! impl Provider for Demo {
//!     fn schema(&self) -> Schema { Schema::new("Notes.") }
//!     fn resources(&self) -> Vec<Arc<dyn Resource>> { vec![Arc::new(Notes)] }
//!     async fn configure(&self, _: &Context, _: &Object, _: &mut Diagnostics) {}
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     tfplugin::serve(About::new("registry.terraform.io/example/demo"), Demo)
//! }
//! ```
#![warn(missing_docs)]

pub mod action;
#[cfg(test)]
mod arbitrary;
mod codec;
mod context;
mod declare;
mod deferral;
mod diagnostics;
pub mod docs;
pub mod duration;
mod engine;
pub mod ephemeral;
mod families;
pub mod function;
mod guard;
mod identity;
#[doc(hidden)]
pub mod in_process;
#[cfg(feature = "engines")]
pub mod kit;
mod leases;
mod lifecycle;
mod list;
pub mod model;
mod moving;
mod on_demand;
mod path;
mod plan;
mod printed;
mod resource;
mod runtime;
pub mod schema;
mod serve;
mod server;
pub mod size;
mod timeouts;
mod value;

pub use action::{Action, Progress};
pub use context::{Context, Host, Interrupt};
pub use deferral::{Deferral, Deferrals};
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use ephemeral::{EphemeralResource, Opened, Renewed};
pub use function::{Call, Function, FunctionError, Signature};
pub use identity::IdentitySchema;
pub use lifecycle::{Applied, Asked, ImportBy, Planned};
pub use list::{ListEvent, ListRequest, ListResource, Listed, Listing, Want};
pub use model::{Field, FieldType, Model, Name, Plain, SetOf};
pub use moving::{Move, MoveSource, Upgrade};
pub use on_demand::OnDemand;
pub use path::{Path, Step};
pub use plan::Plan;
pub use resource::{Change, DataSource, Failed, Provider, Resource, Saved};
pub use runtime::Runtime;
pub use schema::{Attribute, Schema};
pub use serve::{About, serve};
pub use timeouts::{DefaultTimeouts, Operation, Timeouts};
/// Makes `async fn` in implementations of this crate's traits possible.
pub use tonic::async_trait;
pub use value::{NotANumber, NotAType, Number, Object, Type, Value};
