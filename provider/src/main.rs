//! The plugin that Terraform and OpenTofu start.

use std::process::ExitCode;

use terraform_provider_metal::provider::Metal;
use tfplugin::{About, serve};

fn main() -> ExitCode {
    serve(
        About::new("registry.terraform.io/metal/metal").log_targets(&["terraform_provider_metal"]),
        Metal::default(),
    )
}
