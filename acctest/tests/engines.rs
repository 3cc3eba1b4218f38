//! The engines that the source pins are the engines of the SDK's support table, and what the modules pin is what the source says.

use std::path::{Path, PathBuf};

use acctest::engines::{MODULES, WHEELS};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is above")
        .to_owned()
}

fn minor(version: &str) -> &str {
    version.rsplit_once('.').expect("major.minor.patch").0
}

#[test]
fn the_support_table_has_a_column_for_every_pinned_engine() {
    let readme = std::fs::read_to_string(top().join("provider/tfplugin/README.md"))
        .expect("the crate has a README");
    let head = readme
        .lines()
        .find(|line| line.starts_with("| feature |"))
        .expect("the README has the table; `scripts/test --support` writes it");
    let columns: Vec<&str> = head
        .trim_matches('|')
        .split('|')
        .skip(1)
        .map(str::trim)
        .collect();
    let terraform = WHEELS
        .iter()
        .map(|w| format!("Terraform {}", minor(w.terraform)));
    let opentofu = MODULES
        .iter()
        .map(|m| format!("OpenTofu {}", minor(m.opentofu)));
    let pinned: Vec<String> = terraform.chain(opentofu).collect();
    assert_eq!(columns, pinned);
}

#[test]
fn modules_pin_what_the_source_says() {
    for module in MODULES {
        let path = top()
            .join("acctest/tools/tofu")
            .join(module.dir)
            .join("go.mod");
        let text = std::fs::read_to_string(&path).expect("the module has a go.mod");
        let line = format!("github.com/opentofu/opentofu v{}", module.opentofu);
        assert!(
            text.contains(&line),
            "{} does not require {line}",
            path.display()
        );
        assert!(text.contains("tool github.com/opentofu/opentofu/cmd/tofu"));
        assert!(path.with_file_name("go.sum").is_file());
    }
}
