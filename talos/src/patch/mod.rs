//! Patches, as Talos's own tools apply them: strategic merge patches and JSON 6902 patches.
//!
//! Promises: patches apply in order, each document of a strategic patch to the document of the same kind and name; the
//! result is written anew, as Talos's machinery writes it. A patch is always its text, never the name of a file. No
//! input panics. No message holds a value of a config. JSON patches are taken for configs of one document only, as
//! Talos does. Not here: whether the result makes sense (see [`crate::validate`]).

mod delete;
mod documents;
mod draft;
mod error;
mod go;
mod json;
mod merge;
mod read;

pub(crate) use documents::Document;
pub use draft::Draft;
pub use error::{PatchError, Source};

use crate::config::MachineConfig;
use crate::version::Generator;

/// Applies patches in order and writes the result as the generator's machinery does.
///
/// # Errors
/// The first text that cannot be used, with its place.
pub fn apply<P: AsRef<str>>(
    generator: Generator,
    config: &MachineConfig,
    patches: &[P],
) -> Result<MachineConfig, PatchError> {
    let mut draft = Draft::read(generator, config)?;
    for (index, patch) in patches.iter().enumerate() {
        draft.patch(index, patch.as_ref())?;
    }
    Ok(draft.write())
}

/// Applies patches as `talosctl machineconfig patch` does: without patches the text stays as it is, and after a JSON
/// patch it keeps the order and layout that JSON left it.
///
/// # Errors
/// The first text that cannot be used, with its place.
pub fn apply_to_text<P: AsRef<str>>(
    generator: Generator,
    config: &MachineConfig,
    patches: &[P],
) -> Result<MachineConfig, PatchError> {
    let mut text = config.clone();
    let mut draft: Option<Draft> = None;
    for (index, patch) in patches.iter().enumerate() {
        let patch = patch.as_ref();
        if json::is_json(generator, patch, Source::Patch(index))? {
            let before = draft.take().map_or(text, Draft::write);
            text = json::apply_to_text(generator, &before, patch, Source::Patch(index))?;
        } else {
            let mut typed = match draft.take() {
                Some(draft) => draft,
                None => Draft::read(generator, &text)?,
            };
            typed.patch(index, patch)?;
            draft = Some(typed);
        }
    }
    Ok(draft.map_or(text, Draft::write))
}

/// Checks a patch by itself: syntax, document kinds, keys and types. Whether a deletion finds its target is seen only
/// when it is applied.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn check_patch(generator: Generator, patch: &str) -> Result<(), PatchError> {
    let source = Source::Patch(0);
    match read::Patch::read(generator, patch, source)? {
        read::Patch::Empty => Err(PatchError::Empty(source)),
        read::Patch::Strategic(_) | read::Patch::Json(_) => Ok(()),
    }
}

/// Checks a config by itself: syntax, document kinds, keys and types.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn check_config(generator: Generator, config: &MachineConfig) -> Result<(), PatchError> {
    Draft::read(generator, config).map(|_| ())
}

#[cfg(test)]
mod tests;
