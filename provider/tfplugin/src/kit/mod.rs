//! For the tests of a provider: step tests, real engines, and working directories that hold the provider.
//!
//! Feature `kit`: `Steps`, configurations in a row that run in process and on real engines alike. Feature `engines`, without a further
//! dependency: [`Engine`] finds a Terraform or OpenTofu and says what it is, [`Workspace`] is a root module with the provider in a mirror,
//! [`printed_schemas`] is what `terraform providers schema -json` must print.
//! Deliberately not here: which engines a project wants, and where it gets them.
//!
#![cfg_attr(
    feature = "kit",
    doc = r#"
```no_run
use tfplugin::Provider;
use tfplugin::kit::{Effect, Step, Steps};

# async fn test<P: Provider>(demo: impl Fn() -> P) -> Result<(), tfplugin::kit::StepFailure> {
let note = |text: &str| format!("resource \"demo_note\" \"a\" {{\n  name = \"a\"\n  text = \"{text}\"\n}}");
let steps = Steps::new("example/demo")
    .step(
        Step::apply(note("hello"))
            .effect("demo_note.a", Effect::Create)
            .planned("demo_note.a", "id", "a.txt")
            .state("demo_note.a", "text", "hello"),
    )
    .step(Step::apply(note("bye")).effect("demo_note.a", Effect::Update))
    .step(Step::plan(note("x").replace("\"a\"", "\"A B\"")).refused(&["`name` must be"]))
    .step(Step::destroy().absent("demo_note.a"));
steps.run_in_process(demo).await
# }
```
"#
)]

mod engine;
#[cfg(feature = "kit")]
mod steps;
mod workspace;

pub use crate::printed::printed_schemas;
pub use engine::{Engine, NoEngine, Product, Version};
#[cfg(feature = "kit")]
pub use steps::{Effect, Step, StepFailure, Steps};
pub use workspace::{Outcome, Plugin, Workspace, flat};
