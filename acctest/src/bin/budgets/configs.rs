//! The config budgets, measured as the example `speed` of the talos crate measures them.

#[path = "../../../../talos/examples/speed/measure.rs"]
mod measure;

use std::path::Path;

use crate::{Failure, row};

/// Prints its rows. The oracle stands beside the other peers where `scripts/bench` could build it.
pub(crate) fn rows(bin: &Path) -> Result<(), Failure> {
    let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../talos/tests/data/bundles");
    let oracle = bin.with_file_name("peers").join("talos-oracle");
    let speed = measure::measure(&bundles, Some(&*oracle).filter(|o| o.is_file()))?;
    let millis = |ms: f64| format!("{ms:.3} ms");
    row(
        "talos: a config from typed inputs",
        "≤ 0.05 ms",
        &millis(speed.generate),
    );
    row(
        "talos: secrets file to patched, checked bytes",
        "≤ 0.1 ms",
        &millis(speed.whole),
    );
    row("talos: of it the secrets file", "", &millis(speed.secrets));
    match &speed.machinery {
        Ok(theirs) => {
            row(
                "talos: the machinery (Go) / ours, config",
                "",
                &format!("{:.1} ×", theirs.generate / speed.generate),
            );
            row(
                "talos: the machinery (Go) / ours, whole path",
                "≥ 4 ×",
                &format!("{:.1} ×", theirs.whole / speed.whole),
            );
        }
        Err(why) => println!("SKIPPED: Talos's machinery (Go): {why}"),
    }
    row(
        "talos: checking a patch of 2,000 lines",
        "≤ 5 ms",
        &millis(speed.long_patch),
    );
    row(
        "talos: a new bundle",
        "",
        &format!("{:.0} ms", speed.bundle),
    );
    row(
        "talos: of it all but the RSA-4096 key",
        "≤ 1 %",
        &format!("{:.2} %", speed.bundle_rest / speed.bundle * 100.0),
    );
    Ok(())
}
