//! The pages in `docs/` are what `scripts/docs` writes today. Skipped, loudly, where no `terraform` is on PATH.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn pages_are_fresh() {
    if let Err(why) = Command::new("terraform").arg("version").output() {
        eprintln!("SKIPPED: freshness of docs/ was not checked: `terraform` on PATH: {why}");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let out = tempfile::tempdir().unwrap();
    let done = Command::new(root.join("scripts/docs"))
        .arg(out.path())
        .env("PROVIDER", env!("CARGO_BIN_EXE_terraform-provider-metal"))
        .env("PROVIDER_DOCS", env!("CARGO_BIN_EXE_provider-docs"))
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let mut files = vec!["docs/index.md".to_owned()];
    for dir in ["docs/resources", "docs/data-sources"] {
        // A page of something that is gone is stale, too.
        for base in [out.path(), root] {
            for entry in fs::read_dir(base.join(dir)).unwrap() {
                files.push(format!(
                    "{dir}/{}",
                    entry.unwrap().file_name().into_string().unwrap()
                ));
            }
        }
    }
    assert!(files.len() > 8, "{files:?}");
    for file in files {
        let (now, committed) = (
            fs::read_to_string(out.path().join(&file)),
            fs::read_to_string(root.join(&file)),
        );
        assert!(
            now.is_ok() && now.unwrap() == committed.unwrap_or_default(),
            "{file} is stale: run scripts/docs"
        );
    }
}
