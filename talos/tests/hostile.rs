//! Texts that want to do harm, at every door: each is refused with a typed error that names a place, in bounded time
//! and memory (`yaml` states the bounds).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use talos::config::MachineConfig;
use talos::patch::{PatchError, apply, check_config, check_patch};
use talos::schematic::Schematic;
use talos::secrets::{Bundle, StoredBundle, Talosconfig};
use talos::version::Generator;
use talos::{talhelper, yaml};

const CONFIG: &str = include_str!("data/goldens/gen-1.6-controlplane.out");

/// Everything that reads a text of somebody else's, with what it says of it.
fn doors(text: &str) -> Vec<(&'static str, Option<String>)> {
    let mut out = Vec::new();
    let mut door = |name, refused: Option<String>| out.push((name, refused));
    for generator in Generator::ALL {
        let config = MachineConfig::new(CONFIG);
        let own = MachineConfig::new(text);
        let said = |e: PatchError| {
            let _ = e.machinery_text();
            e.to_string()
        };
        door("patch", check_patch(generator, text).err().map(said));
        door("config", check_config(generator, &own).err().map(said));
        let applied = apply(generator, &config, &[text]);
        door("applied", applied.err().map(said));
        let read = Talosconfig::read(generator, text);
        door("talosconfig", read.err().map(|e| e.to_string()));
    }
    let said = |e: talos::secrets::SecretsError| e.to_string();
    let said_import = |e: talos::secrets::ImportError| e.to_string();
    door("secrets", Bundle::from_secrets_yaml(text).err().map(said));
    door("stored", StoredBundle::read(text).err().map(said));
    let talsecret = Bundle::from_talsecret(text);
    door("talsecret", talsecret.err().map(said_import));
    let import = Bundle::from_control_plane_config(text);
    door("import", import.err().map(said_import));
    let schematic = Schematic::read(text);
    door("schematic", schematic.err().map(|e| e.to_string()));
    let read = talhelper::read(text, &BTreeMap::new());
    door("talhelper", read.err().map(|e| e.to_string()));
    out
}

/// All doors refuse it, with these words somewhere.
#[track_caller]
fn refused(text: &str, words: &str) {
    for (door, said) in doors(text) {
        let said = said.unwrap_or_else(|| panic!("{door} takes it"));
        assert!(said.contains(words), "{door}: {said}");
        assert!(said.len() < 2000, "{door} says {} bytes", said.len());
    }
}

#[test]
fn alias_bombs() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(bomb, "a{level}: &a{level} [{before}]");
    }
    refused(&bomb, "line 6, column ");

    let mut merges = String::from("m0: &m0 {k0: v, k1: v}\n");
    for level in 1..30 {
        let _ = writeln!(
            merges,
            "m{level}: &m{level} {{a{level}: *m{0}, b{level}: *m{0}, <<: *m{0}}}",
            level - 1
        );
    }
    refused(&merges, "line 1");

    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        vec!["*a"; 64].join(", ")
    );
    refused(&long, "line 2, column ");
    refused("a: &a [*a]\n", "line 1, column ");
    refused("a: *nobody\n", "line 1, column ");
}

#[test]
fn keys_that_are_there_twice() {
    refused(
        "machine: {}\ncluster: {}\nmachine: {}\n",
        "line 3, column 1",
    );
    refused("a:\n  - {b: 1, \"b\": 2}\n", "line 2, column ");
}

#[test]
fn depth() {
    for text in ["[", "{a: ", "- "] {
        for (door, said) in doors(&text.repeat(10_000)) {
            let said = said.unwrap_or_else(|| panic!("{door} takes it"));
            let deep = said.contains("nested deeper than") || said.contains("recursion limit");
            assert!(deep, "{door}: {said}");
        }
    }
}

#[test]
fn bytes_that_are_no_text() {
    let error = yaml::parse_bytes(b"machine:\n  t\xc3\xa9pe: \xff\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 9: a byte that is no UTF-8"
    );
}

#[test]
fn size() {
    refused(&"x".repeat(50 << 20), "more than 16 MiB of YAML");
}

#[test]
fn patches_to_places_that_are_not_there() {
    let config = MachineConfig::new(CONFIG);
    let refused = |patch: &str, words: &str| {
        let error = apply(Generator::V1_13, &config, &[patch]).unwrap_err();
        assert!(error.line().is_some_and(|line| line > 0), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(
        r#"[{"op": "remove", "path": "/machine/env"}]"#,
        "nonexistent key: env",
    );
    refused(
        r#"[{"op": "add", "path": "/machine/a/b", "value": 1}]"#,
        "/machine/a/b",
    );
    refused("machine: {env: {A: {$patch: delete}}}", "machine.env.A");
    refused("machine: {kublet: {image: a}}", "did you mean kubelet?");
}

#[test]
fn secrets_without_a_key_or_of_another_curve() {
    let file = include_str!("data/bundles/v1.13.yaml");
    let lines: Vec<&str> = file.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        // Without any one line, what is missing is named.
        let mut less = lines.clone();
        less.remove(index);
        let error = Bundle::from_secrets_yaml(&less.join("\n")).unwrap_err();
        let key = line.trim().split(':').next().unwrap();
        let said = error.to_string();
        assert!(!said.is_empty(), "{key}");
        if line.starts_with("        ") || line.starts_with("    id") {
            assert!(said.contains(key), "without {key}: {said}");
        }
    }
    let swap = |from: &str, to: &str| {
        let key = |section: &str| {
            let at = lines.iter().position(|l| *l == format!("    {section}:"));
            let at = at.unwrap();
            let found = (at..).find(|i| lines[*i].starts_with("        key: "));
            found.unwrap()
        };
        let mut changed = lines.clone();
        changed[key(to)] = lines[key(from)];
        Bundle::from_secrets_yaml(&changed.join("\n"))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        swap("etcd", "os"),
        "line 23: certs.os.key: it must be an Ed25519 key, and it is an ECDSA key on P-256"
    );
    assert!(swap("os", "k8s").contains("certs.k8s.key: it must be an ECDSA key on P-256"));
}

#[test]
fn tabs_in_indentation_and_control_characters() {
    refused("machine:\n\ttype: worker\n", "line 2, column ");
    refused("machine:\n  \ttype: worker\n", "line 2, column ");
    refused("machine:\n  certSANs:\n    -\ta\n", "line 3, column ");
    refused("machine:\n  type: worker\n\t\n", "line 3, column 1");
    refused("machine:\n  type: worker\n\0", "line 3, column 1");
    refused("# a\0b\nmachine:\n  type: worker\n", "line 1, column 4");
    refused("machine:\n  type: \"wor\0ker\"\n", "line 2, column 13");
    refused("machine:\n  type: wor\u{1}ker\n", "U+0001");
    refused("machine:\n  type: wor\u{ffff}ker\n", "U+FFFF");
    refused("{\"machine\": {\"type\"::worker}}\n", "two colons");
    refused("{\"machine\": {\"ty\npe\": worker}}\n", "line 1, column ");
}
