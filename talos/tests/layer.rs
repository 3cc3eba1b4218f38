//! Every rendering of the typed layer beside Talos's own machinery (1.13.9): its loader must take the config, write it
//! back byte for byte, and its validator must find nothing wrong.
//!
//! `tests/data/layer.txt` holds what the machinery said about each config, by its hash; so a rendering that changes
//! fails here until the machinery has been asked again. With `METAL_ORACLE` set to the binary of `acctest/oracle`, it
//! is asked in this run, and its answers are compared with the file (and written to it where `METAL_ORACLE_WRITE` is
//! set).
#![expect(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

mod samples;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use samples::samples;
use sha2::Digest as _;
use talos::config::Role;
use talos::layer::{Layer, LayerError, Peers};
use talos::secrets::Bundle;
use talos::version::{Contract, Generator};
use talos::yaml::parse_documents;

const MINORS: std::ops::RangeInclusive<u16> = 6..=13;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

struct Rendered {
    id: String,
    /// The config, or the arguments that the contract cannot express.
    result: Result<String, String>,
}

impl Rendered {
    fn hash(&self) -> String {
        let text = self.result.as_ref().map_or("", String::as_str);
        let digest = sha2::Sha256::digest(text);
        digest.iter().take(16).fold(String::new(), |mut out, b| {
            let _ = write!(out, "{b:02x}");
            out
        })
    }
}

fn bundle(minor: u16) -> Bundle {
    let name = if minor < 7 { "v1.6" } else { "v1.13" };
    let path = data().join(format!("bundles/{name}.yaml"));
    Bundle::from_secrets_yaml(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every sample in every contract and role.
fn all() -> Vec<Rendered> {
    let mut out = Vec::new();
    for minor in MINORS {
        let contract = Contract::parse(&format!("v1.{minor}"), Generator::V1_13).unwrap();
        let bundle = bundle(minor);
        for role in [Role::ControlPlane, Role::Worker] {
            for (name, layer) in samples(role, &format!("1.{}.0", minor + 20)) {
                out.push(Rendered {
                    id: format!("{name}-1.{minor}-{}", role.as_str()),
                    result: render(&layer, contract, &bundle),
                });
            }
        }
    }
    out.extend(talhelper());
    out
}

/// A file of talhelper's, with its nodes' patches, as the old cluster that it describes and as a new one.
fn talhelper() -> Vec<Rendered> {
    let text = std::fs::read_to_string(data().join("talhelper/talconfig.yaml")).unwrap();
    let environment = [("domain".to_owned(), "lab.example.org".to_owned())].into();
    let file = talos::talhelper::read(&text, &environment).unwrap();
    let mut out = Vec::new();
    for minor in [6, 13] {
        let contract = Contract::parse(&format!("v1.{minor}"), Generator::V1_13).unwrap();
        for node in &file.nodes {
            let mut layer = node.layer.clone();
            layer.cluster.kubernetes_version = format!("v1.{}.0", minor + 20);
            let mut peers = Peers::default();
            peers.bootd.push("192.168.1.5".parse().unwrap());
            let config = layer.render(Generator::V1_13, contract, &bundle(minor), &peers);
            let config =
                talos::patch::apply(Generator::V1_13, &config.unwrap(), &node.patches).unwrap();
            out.push(Rendered {
                id: format!("talhelper-1.{minor}-{}", node.name),
                result: Ok(config.into_exposed()),
            });
        }
    }
    out
}

fn render(layer: &Layer, contract: Contract, bundle: &Bundle) -> Result<String, String> {
    match layer.render(Generator::V1_13, contract, bundle, &Peers::default()) {
        Ok(config) => Ok(config.into_exposed()),
        Err(LayerError::Arguments(faults)) => {
            let arguments: Vec<&str> = faults.iter().map(|f| f.argument()).collect();
            Err(arguments.join(" "))
        }
        Err(other) => panic!("{other}"),
    }
}

fn line(rendered: &Rendered, verdict: &str) -> String {
    match &rendered.result {
        Ok(_) => format!("{} {} {verdict}", rendered.id, rendered.hash()),
        Err(arguments) => format!("{} - cannot express {arguments}", rendered.id),
    }
}

#[test]
fn the_machinery_accepts_every_rendering() {
    let all = all();
    let path = data().join("layer.txt");
    if let Some(oracle) = std::env::var_os("METAL_ORACLE") {
        let verdicts = ask(Path::new(&oracle), &all);
        let lines = all.iter().zip(&verdicts).map(|(r, v)| line(r, v) + "\n");
        let text: String = lines.collect();
        if std::env::var_os("METAL_ORACLE_WRITE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap());
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    let expected = all.iter().map(|r| line(r, "accepted"));
    let mut wrong = Vec::new();
    for (ours, theirs) in expected.zip(golden.lines()) {
        if ours != theirs {
            wrong.push(format!("ours   {ours}\ntheirs {theirs}"));
        }
    }
    assert_eq!(all.len(), golden.lines().count());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        all.len(),
        wrong.join("\n")
    );
}

/// Keys of the main document that 1.14 refuses beside its documents.
const CONFLICTS: [&[&str]; 20] = [
    &["machine", "kubelet"],
    &["machine", "install"],
    &["machine", "nodeLabels"],
    &["machine", "nodeTaints"],
    &["machine", "nodeAnnotations"],
    &["machine", "sysctls"],
    &["machine", "sysfs"],
    &["machine", "kernel"],
    &["machine", "udev"],
    &["machine", "network"],
    &["machine", "registries"],
    &["machine", "systemDiskEncryption"],
    &["cluster", "network"],
    &["cluster", "apiServer"],
    &["cluster", "controllerManager"],
    &["cluster", "scheduler"],
    &["cluster", "proxy"],
    &["cluster", "discovery"],
    &["cluster", "inlineManifests"],
    &["cluster", "allowSchedulingOnControlPlanes"],
];

/// The machinery of 1.14 cannot be asked: the schema of its documents takes each rendering, and nothing is said twice.
#[test]
fn the_newest_layout_says_everything_in_documents() {
    let contract = Contract::parse("v1.14", Generator::V1_14).unwrap();
    for role in [Role::ControlPlane, Role::Worker] {
        for (name, layer) in samples(role, "1.34.0") {
            let peers = Peers::default();
            let config = match layer.render(Generator::V1_14, contract, &bundle(14), &peers) {
                Ok(config) => config,
                Err(LayerError::Arguments(faults)) => {
                    let arguments: Vec<&str> = faults.iter().map(|f| f.argument()).collect();
                    assert_eq!((name, arguments), ("kubelet", vec!["kubelet.extra_mounts"]));
                    continue;
                }
                Err(other) => panic!("{name}: {other}"),
            };
            let documents = parse_documents(config.expose()).unwrap();
            let main = documents
                .iter()
                .find(|d| d.at(&["kind"]).is_none())
                .unwrap();
            for path in CONFLICTS {
                assert_eq!(main.at(path), None, "{name}: {path:?}");
            }
        }
    }
}

/// What the machinery says about each config.
fn ask(oracle: &Path, all: &[Rendered]) -> Vec<String> {
    let room = tempfile_dir();
    let mut cases = String::new();
    for rendered in all {
        let Ok(config) = &rendered.result else {
            continue;
        };
        for op in ["encode", "validate"] {
            let case = serde_json::json!({
                "id": format!("{op}-{}", rendered.id),
                "op": op,
                "config": config,
                "mode": "metal",
            });
            writeln!(cases, "{case}").unwrap();
        }
    }
    std::fs::write(room.join("cases.jsonl"), cases).unwrap();
    let status = Command::new(oracle)
        .arg("goldens")
        .arg(room.join("cases.jsonl"))
        .arg(data().join("bundles"))
        .arg(&room)
        .status()
        .unwrap();
    assert!(status.success());
    let answer = |name: String| {
        let out = std::fs::read_to_string(room.join(format!("{name}.out")));
        out.map_err(|_| std::fs::read_to_string(room.join(format!("{name}.err"))).unwrap())
    };
    let verdicts = all
        .iter()
        .map(|rendered| {
            let Ok(config) = &rendered.result else {
                return String::new();
            };
            match answer(format!("encode-{}", rendered.id)) {
                Err(error) => return format!("refused: {}", error.replace('\n', " ")),
                Ok(theirs) if theirs != *config => return "written otherwise".to_owned(),
                Ok(_) => {}
            }
            let found = answer(format!("validate-{}", rendered.id)).unwrap();
            let found: serde_json::Value = serde_json::from_str(&found).unwrap();
            // No error is `null`.
            match found["error"].as_str().unwrap_or_default() {
                "" => "accepted".to_owned(),
                error => format!("invalid: {}", error.replace('\n', " ")),
            }
        })
        .collect();
    std::fs::remove_dir_all(&room).unwrap();
    verdicts
}

fn tempfile_dir() -> PathBuf {
    let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("layer-{}", std::process::id()));
    std::fs::create_dir_all(&room).unwrap();
    room
}
