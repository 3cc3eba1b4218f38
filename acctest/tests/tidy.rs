//! The walls of the house, as tests: who may import whom, how long a file may be, what must not be in the tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is above")
        .to_owned()
}

/// Files that git tracks or would track, ending in `ending`.
fn files(ending: &str) -> Vec<PathBuf> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(top())
        .output()
        .expect("git runs");
    assert!(
        out.status.success(),
        "git ls-files failed: the tidy test wants a checkout"
    );
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter(|line| line.ends_with(ending))
        .map(|line| top().join(line))
        .filter(|path| path.is_file())
        .collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The workspace crates and libraries that a crate names in its `[dependencies]`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let value: toml::Table = read(&top().join(manifest))
        .parse()
        .expect("a manifest is TOML");
    let mut names = BTreeSet::new();
    for section in ["dependencies", "build-dependencies"] {
        if let Some(table) = value.get(section).and_then(|t| t.as_table()) {
            names.extend(table.keys().cloned());
        }
    }
    names
}

fn check_never(manifest: &str, banned: &[&str]) {
    let has = dependencies(manifest);
    let found: Vec<_> = banned.iter().filter(|b| has.contains(**b)).collect();
    assert!(found.is_empty(), "{manifest} must not depend on {found:?}");
}

const OURS: [&str; 8] = [
    "metal-proto",
    "talos",
    "bootd",
    "bootd-core",
    "metal-agent",
    "terraform-provider-metal",
    "tfplugin",
    "acctest",
];

fn check_ours(manifest: &str, allowed: &[&str]) {
    let banned: Vec<&str> = OURS
        .iter()
        .copied()
        .filter(|o| !allowed.contains(o))
        .collect();
    check_never(manifest, &banned);
}

#[test]
fn crates_import_only_what_the_house_allows() {
    check_ours("proto/Cargo.toml", &[]);
    check_ours("talos/Cargo.toml", &["metal-proto"]);
    check_ours("bootd/core/Cargo.toml", &[]);
    check_ours("bootd/Cargo.toml", &["bootd-core", "talos", "metal-proto"]);
    check_ours("agent/Cargo.toml", &["metal-proto"]);
    check_ours("provider/tfplugin/Cargo.toml", &["metal-proto"]);
    check_ours("provider/Cargo.toml", &["tfplugin", "talos", "metal-proto"]);
}

#[test]
fn the_core_does_no_io() {
    let io = [
        "tokio",
        "tonic",
        "axum",
        "hyper",
        "reqwest",
        "sqlx",
        "rustls",
        "socket2",
        "rand",
        "getrandom",
        "async-tftp",
        "libc",
    ];
    check_never("bootd/core/Cargo.toml", &io);
}

#[test]
fn one_room_per_library() {
    for manifest in [
        "talos/Cargo.toml",
        "agent/Cargo.toml",
        "provider/Cargo.toml",
        "provider/tfplugin/Cargo.toml",
    ] {
        check_never(manifest, &["sqlx", "kube"]);
    }
    for path in files(".rs") {
        let inside = path
            .strip_prefix(top())
            .expect("below the top")
            .to_string_lossy()
            .into_owned();
        let text = read(&path);
        if !inside.starts_with("bootd/src/store")
            && !inside.starts_with("bootd/tests")
            && inside != "acctest/tests/tidy.rs"
        {
            assert!(
                !text.contains("sqlx::"),
                "{inside} uses sqlx outside bootd/src/store"
            );
        }
        if inside.starts_with("provider/src") {
            assert!(
                !text.contains("tfplugin6"),
                "{inside} uses raw protobuf types of the plugin protocol"
            );
            assert!(!text.contains("bootd_core"), "{inside} reaches into bootd");
        }
    }
}

#[test]
fn the_rack_shares_nothing_with_bootd_but_protocols() {
    for path in files(".rs") {
        let inside = path
            .strip_prefix(top())
            .expect("below the top")
            .to_string_lossy()
            .into_owned();
        let simulated = [
            "acctest/src/rack",
            "acctest/src/talosnode",
            "acctest/src/bmc",
            "acctest/src/bin",
        ];
        if simulated.iter().any(|room| inside.starts_with(room)) {
            let text = read(&path);
            for word in ["use bootd", "bootd::", "bootd_core"] {
                assert!(
                    !text.contains(word),
                    "{inside} names {word}: the rack may not use bootd's code"
                );
            }
        }
    }
}

#[test]
fn unsafe_code_lives_in_one_file() {
    for path in files(".rs") {
        let inside = path
            .strip_prefix(top())
            .expect("below the top")
            .to_string_lossy()
            .into_owned();
        let code = read(&path);
        let found = code.lines().any(|l| {
            !l.trim_start().starts_with("//") && (l.contains("unsafe {") || l.contains("unsafe fn"))
        });
        let word = inside == "acctest/tests/tidy.rs";
        assert!(
            !found || inside == "agent/src/sys.rs" || word,
            "{inside} holds unsafe code"
        );
    }
}

#[test]
fn files_hold_one_idea() {
    let long: Vec<String> = files(".rs")
        .into_iter()
        .filter_map(|path| {
            let lines = read(&path).lines().count();
            (lines > 750).then(|| format!("{} ({lines} lines)", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "split these: {long:#?}");
}

#[test]
fn nothing_is_called_common_or_util() {
    for path in files(".rs") {
        for part in path
            .strip_prefix(top())
            .expect("below the top")
            .components()
        {
            let name = part.as_os_str().to_string_lossy();
            let stem = name.trim_end_matches(".rs");
            let banned = [
                "common", "util", "utils", "helper", "helpers", "manager", "misc",
            ];
            assert!(
                !banned.contains(&stem),
                "{}: say what it is",
                path.display()
            );
        }
    }
}

#[test]
fn open_ends_have_an_owner() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimpl", "emented!"),
        concat!("to", "do!("),
    ];
    for path in files(".rs") {
        let text = read(&path);
        for word in words {
            assert!(!text.contains(word), "{} holds {word}", path.display());
        }
    }
}

#[test]
fn modules_say_what_they_promise() {
    for path in files(".rs") {
        let inside = path
            .strip_prefix(top())
            .expect("below the top")
            .to_string_lossy()
            .into_owned();
        if inside.contains("/src/") && !inside.ends_with("build.rs") {
            let text = read(&path);
            let first = text
                .lines()
                .find(|l| !l.trim().is_empty() && !l.starts_with("#!"))
                .unwrap_or_default();
            assert!(first.starts_with("//!"), "{inside} has no module doc");
        }
    }
}
