//! OpenTofu built from Go modules: `acctest/tools/tofu/go.mod` and its older sibling pin a release each by a `tool` line.
//!
//! `go install …@version` refuses modules with `replace` lines, so the module files are ours. Caches of the build are gigabytes: they
//! live below the engines' directory and go when the builds are done; the binaries stay.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Found, Skipped, is_release, run};

/// A module whose `tool` line is a release of OpenTofu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// Directory of `go.mod`, below `acctest/tools/tofu`.
    pub dir: &'static str,
    /// Release of OpenTofu.
    pub opentofu: &'static str,
}

/// The releases that are built, oldest first: the first of protocol 6.4 (no functions, no move_state), and the newest.
pub const MODULES: [Module; 2] = [
    Module {
        dir: "older",
        opentofu: "1.6.3",
    },
    Module {
        dir: ".",
        opentofu: "1.12.6",
    },
];

/// What modules and build cache of one release take at the most, in bytes.
const NEEDED_BYTES: u64 = 5 << 30;

/// Builds what is not there yet, one after the other and nicely.
pub(super) fn build_all(dir: &Path, modules: &Path) -> Vec<Result<Found, Skipped>> {
    let built = MODULES
        .iter()
        .map(|module| build(dir, modules, module))
        .collect();
    let _ = fs::remove_dir_all(dir.join("go"));
    built
}

fn build(dir: &Path, modules: &Path, module: &Module) -> Result<Found, Skipped> {
    let origin = "built from Go modules";
    let binary = dir.join(format!("tofu-{}", module.opentofu));
    if let Ok(found) = is_release(&binary, module.opentofu, origin) {
        return Ok(found);
    }
    fresh(dir, &modules.join(module.dir), &binary)
        .and_then(|()| is_release(&binary, module.opentofu, origin))
        .map_err(|why| Skipped {
            engine: format!("OpenTofu {}", module.opentofu),
            why,
        })
}

fn fresh(dir: &Path, module: &Path, binary: &Path) -> Result<(), String> {
    run(Command::new("go").arg("version"))
        .map_err(|why| format!("{why} (install Go from go.dev, then run this again)"))?;
    let free = rustix::fs::statvfs(dir)
        .map(|s| s.f_bavail * s.f_frsize)
        .map_err(|e| format!("{}: {e}", dir.display()))?;
    if free < NEEDED_BYTES {
        return Err(format!(
            "the build needs {} GiB of disk, and {} GiB are free",
            NEEDED_BYTES >> 30,
            free >> 30
        ));
    }
    let cache = dir.join("go");
    let done = run(Command::new("nice")
        .args([
            "-n",
            "10",
            "go",
            "build",
            "-trimpath",
            "-modcacherw",
            "-buildvcs=false",
        ])
        .arg("-ldflags=-s -w -X github.com/opentofu/opentofu/version.dev=no")
        .arg("-o")
        .arg(binary)
        .arg("tool")
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .env("GOCACHE", cache.join("build"))
        .env("GOMODCACHE", cache.join("mod")));
    // The build cache serves the next release, its modules hardly do.
    let _ = fs::remove_dir_all(cache.join("mod"));
    done
}
