//! The pages in `docs/` are what `scripts/docs` writes today, each has its example, and real Terraform accepts every example with the real
//! provider. Skipped, loudly, where no `terraform` is on PATH.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn terraform_is_there() -> bool {
    match Command::new("terraform").arg("version").output() {
        Ok(_) => true,
        Err(why) => {
            eprintln!("SKIPPED: docs/ and examples/ were not checked: `terraform` on PATH: {why}");
            false
        }
    }
}

fn text(out: &[u8]) -> String {
    String::from_utf8_lossy(out).into_owned()
}

/// Names of what a folder holds; none where it does not exist.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|e| e.file_name().into_string().unwrap())
        .collect()
}

#[test]
fn pages_are_fresh_and_have_examples() {
    if !terraform_is_there() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let done = Command::new(root().join("scripts/docs"))
        .arg(out.path())
        .env("PROVIDER", env!("CARGO_BIN_EXE_terraform-provider-metal"))
        .env("PROVIDER_DOCS", env!("CARGO_BIN_EXE_provider-docs"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    let mut files = vec!["docs/index.md".to_owned()];
    for folder in tfplugin::docs::FOLDERS {
        // A page of something that is gone is stale, too.
        let folder = format!("docs/{folder}");
        let all: BTreeSet<_> = names(&out.path().join(&folder))
            .union(&names(&root().join(&folder)))
            .cloned()
            .collect();
        files.extend(all.iter().map(|file| format!("{folder}/{file}")));
    }
    assert!(files.len() > 8, "{files:?}");
    for file in files {
        let now = fs::read_to_string(out.path().join(&file)).unwrap_or_default();
        let committed = fs::read_to_string(root().join(&file)).unwrap_or_default();
        assert!(now == committed, "{file} is stale: run scripts/docs");
    }
    assert_eq!(text(&done.stderr), "", "examples are missing");
}

/// A working directory whose mirror holds the provider under test.
struct Terraform {
    home: tempfile::TempDir,
}

impl Terraform {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let arch = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let os = if cfg!(target_os = "macos") {
            "darwin"
        } else {
            "linux"
        };
        let mirror = home.path().join("mirror");
        let folder = mirror.join(format!(
            "registry.terraform.io/metal/metal/0.1.0/{os}_{arch}"
        ));
        fs::create_dir_all(&folder).unwrap();
        let binary = env!("CARGO_BIN_EXE_terraform-provider-metal");
        fs::copy(binary, folder.join("terraform-provider-metal_v0.1.0")).unwrap();
        let config =
            format!("provider_installation {{\n  filesystem_mirror {{ path = {mirror:?} }}\n}}\n");
        fs::write(home.path().join("terraform.rc"), config).unwrap();
        fs::create_dir(home.path().join("work")).unwrap();
        let provider = root().join("examples/provider/provider.tf");
        fs::copy(provider, home.path().join("work/provider.tf")).unwrap();
        let this = Self { home };
        let done = this.run(&["init", "-input=false", "-no-color"]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        this
    }

    fn work(&self) -> PathBuf {
        self.home.path().join("work")
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new("terraform")
            .args(args)
            .current_dir(self.work())
            .env("TF_CLI_CONFIG_FILE", self.home.path().join("terraform.rc"))
            .env("CHECKPOINT_DISABLE", "1")
            .output()
            .unwrap()
    }

    /// Validates the HCL files of an example beside the provider block.
    fn check(&self, example: &Path) {
        let hcl = |name: &String| Path::new(name).extension().is_some_and(|e| e == "tf");
        let files: Vec<_> = names(example).into_iter().filter(hcl).collect();
        assert!(!files.is_empty(), "{} holds no HCL", example.display());
        for file in &files {
            fs::copy(example.join(file), self.work().join(file)).unwrap();
        }
        let done = self.run(&["validate", "-no-color"]);
        let said = text(&done.stdout) + &text(&done.stderr);
        assert!(done.status.success(), "{}: {said}", example.display());
        assert!(!said.contains("Warning"), "{}: {said}", example.display());
        for file in &files {
            fs::remove_file(self.work().join(file)).unwrap();
        }
    }
}

#[test]
fn terraform_accepts_every_example() {
    if !terraform_is_there() {
        return;
    }
    let terraform = Terraform::new();
    let mut seen = 0;
    // Actions and lists need a host that knows them.
    for folder in [
        "resources",
        "data-sources",
        "ephemeral-resources",
        "functions",
    ] {
        let folder = root().join("examples").join(folder);
        for name in names(&folder) {
            terraform.check(&folder.join(name));
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen} examples");
    let done = terraform.run(&[
        "fmt",
        "-check",
        "-recursive",
        root().join("examples").to_str().unwrap(),
    ]);
    assert!(
        done.status.success(),
        "examples are not formatted: {}",
        text(&done.stdout)
    );
}
