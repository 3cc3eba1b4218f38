//! What a module says of itself in `provider_meta`: every request that knows it leaves a line in `modules.log`.

use std::io::Write as _;

use tfplugin::schema::validators;
use tfplugin::{Context, model};

use super::Directory;

model! {
    /// A module that uses toys.
    pub(crate) struct Module {
        /// What it is called, for example `nursery`.
        pub(crate) module: String = optional().validate(validators::slug(20)),
    }
}

/// Writes down who asked for what; nothing for modules that say nothing.
pub(crate) fn note(cx: &Context, directory: &Directory) {
    let module: Module = cx.meta();
    let (Some(name), Some(directory)) = (module.module.known(), directory.get()) else {
        return;
    };
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("modules.log"));
    if let Ok(mut log) = log {
        // In one write, for requests come side by side. A toy that cannot count still works.
        let line = format!("{} by {name}\n", cx.operation().as_str());
        let _ = log.write_all(line.as_bytes());
    }
}
