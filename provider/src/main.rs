//! The provider's process. Terraform starts it; everything is in the library.

use std::process::ExitCode;

use terraform_provider_metal::{Environment, Metal};
use tfplugin::About;

fn main() -> ExitCode {
    let about =
        About::new("registry.terraform.io/metal/metal").log_targets(&["terraform_provider_metal"]);
    tfplugin::serve(about, Metal::new(Environment::of_process()))
}
