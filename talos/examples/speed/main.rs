//! Measures the budgets of this crate on this machine, beside Talos's own machinery where its oracle is given.
//!
//! ```text
//! cargo run --release -p talos --example speed -- BUNDLES [ORACLE]
//! ```
#![expect(clippy::print_stdout, reason = "it prints a table")]

mod measure;

use std::path::Path;

use measure::Failure;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let bundles = arguments.next().ok_or("usage: speed BUNDLES [ORACLE]")?;
    let oracle = arguments.next();
    let speed = measure::measure(Path::new(&bundles), oracle.as_deref().map(Path::new))?;
    let theirs = speed.machinery.as_ref().ok();
    println!(
        "{:<48} {:>12} {:>10} {:>18}",
        "what", "budget", "measured", "Go"
    );
    row(
        "generate alone",
        "≤ 0.05 ms",
        speed.generate,
        theirs.map(|t| t.generate),
    );
    row(
        "secrets file to patched, validated bytes",
        "≤ 0.1 ms",
        speed.whole,
        theirs.map(|t| t.whole),
    );
    row("of this: reading the secrets file", "", speed.secrets, None);
    row(
        "checking a patch of 2,000 lines",
        "≤ 5 ms",
        speed.long_patch,
        None,
    );
    row("a new bundle", "", speed.bundle, None);
    row(
        "of this: all but its RSA-4096 key",
        "",
        speed.bundle_rest,
        None,
    );
    if let Err(why) = speed.machinery {
        println!("SKIPPED: Talos's machinery: {why}");
    }
    Ok(())
}

fn row(what: &str, budget: &str, measured: f64, theirs: Option<f64>) {
    let theirs = theirs.map(|t| format!("{t:.3} ms ({:.1}×)", t / measured));
    let theirs = theirs.unwrap_or_default();
    println!("{what:<48} {budget:>12} {measured:>7.3} ms {theirs:>18}");
}
