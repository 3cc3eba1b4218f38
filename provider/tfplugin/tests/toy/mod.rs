//! Finds the toy provider: the example of this crate, built by the cargo that runs the test, or what `TFPLUGIN_TOY` names.

#[allow(dead_code, reason = "each test program uses its part")]
pub(crate) mod port;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The toy's binary, built once per test program.
pub(crate) fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // Where tests run on another system than the one that built them, there is no cargo.
        if let Some(built) = std::env::var_os("TFPLUGIN_TOY") {
            return built.into();
        }
        // target/PROFILE/deps/THIS-TEST
        let this = std::env::current_exe().unwrap();
        let profile = this.ancestors().nth(2).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--package",
            "tfplugin",
            "--example",
            "toy",
        ]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the toy does not build");
        profile.join(format!("examples/toy{}", std::env::consts::EXE_SUFFIX))
    })
}
