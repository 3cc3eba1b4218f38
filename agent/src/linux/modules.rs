//! Loads the kernel modules of the boot archive, in the order that the packer worked out.

use std::fs::{self, File};
use std::path::Path;

use super::say;
use crate::sys;

/// Loads everything that `/modules/order` lists. A module that fails is named and left out: its hardware may not be there.
pub fn load_all(dir: &Path) {
    let Ok(order) = fs::read_to_string(dir.join("order")) else {
        say("the boot archive has no /modules/order: only drivers built into the kernel are there");
        return;
    };
    let mut loaded = 0;
    for name in order
        .lines()
        .filter(|name| !name.is_empty() && !name.contains('/'))
    {
        match File::open(dir.join(name)).and_then(|file| sys::load_module(&file)) {
            Ok(()) => loaded += 1,
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {}
            Err(e) => say(&format!("module {name} does not load: {e}")),
        }
    }
    say(&format!("{loaded} kernel modules loaded"));
}
