//! The inverse of rendering over the whole corpus: what the machinery wrote, and what the typed layer renders.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

mod samples;

use std::path::{Path, PathBuf};

use samples::samples;
use serde_json::Value as Json;
use talos::config::{MachineConfig, Role};
use talos::diff::diff;
use talos::explain::{ExplainError, explain};
use talos::layer::Peers;
use talos::secrets::Bundle;
use talos::version::{Contract, Generator};

const GENERATOR: Generator = Generator::V1_13;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn bundle(name: &str) -> Bundle {
    let text = std::fs::read_to_string(data().join(format!("bundles/{name}.yaml"))).unwrap();
    Bundle::from_secrets_yaml(&text).unwrap()
}

/// Explains a config, renders that again and compares; returns the patches it needs.
fn check(generator: Generator, config: &str, bundle: &Bundle) -> Result<Vec<String>, ExplainError> {
    let config = MachineConfig::new(config);
    let explained = explain(generator, &config, bundle, None)?;
    let again = explained.render(generator, bundle).unwrap();
    let talos = "v1.13.9".parse().unwrap();
    let changes = diff(generator, &config, &again, &talos, bundle).unwrap();
    assert_eq!(changes.to_string(), "");
    Ok(explained.patches)
}

#[test]
fn configs_of_the_machinery() {
    let cases = std::fs::read_to_string(data().join("cases.jsonl")).unwrap();
    let mut seen = 0;
    for line in cases.lines().step_by(step()) {
        let case: Json = serde_json::from_str(line).unwrap();
        let id = case["id"].as_str().unwrap();
        let golden = data().join(format!("goldens/{id}.out"));
        let from = case["generate"]["bundle"].as_str();
        let (Some("encode"), Some(from), Ok(config)) =
            (case["op"].as_str(), from, std::fs::read_to_string(golden))
        else {
            continue;
        };
        seen += 1;
        match check(GENERATOR, &config, &bundle(from)) {
            // Generation's options are arguments, but for the CA there, which is no certificate.
            Ok(patches) if id.starts_with("gen-") && !id.starts_with("gen-full") => {
                assert_eq!(patches, [""; 0], "{id}");
            }
            Ok(_) => {}
            // A config that a patch made incomplete.
            Err(ExplainError::Missing(part)) => {
                assert_eq!(part, "cluster.controlPlane.endpoint", "{id}");
            }
            Err(error) => panic!("{id}: {error}"),
        }
    }
    assert!(seen > 40);
}

/// Every case where `METAL_FULL` is set; else some of them.
fn step() -> usize {
    match std::env::var_os("METAL_FULL") {
        Some(_) => 1,
        None => 3,
    }
}

#[test]
fn renderings_of_the_typed_layer() {
    for minor in (6..=13).step_by(step()).chain([14]) {
        let generator = if minor < 14 {
            GENERATOR
        } else {
            Generator::V1_14
        };
        let contract = Contract::parse(&format!("v1.{minor}"), generator).unwrap();
        let bundle = bundle(if minor < 7 { "v1.6" } else { "v1.13" });
        for role in [Role::ControlPlane, Role::Worker] {
            for (name, layer) in samples(role, &format!("1.{}.0", minor + 20)) {
                let rendered = layer.render(generator, contract, &bundle, &Peers::default());
                let Ok(config) = rendered else { continue };
                let patches = check(generator, config.expose(), &bundle);
                assert_eq!(patches, Ok(Vec::new()), "{name} 1.{minor}");
            }
        }
    }
}
