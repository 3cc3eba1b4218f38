//! Which class a statement has.

use bootd_core::id::MachineId;
use bootd_core::secret::Secret;

use super::*;
use crate::talos::set_status;

const BEFORE: &str = "\
version: v1alpha1
machine:
    type: worker
    install:
        diskSelector:
            serial: S1
        image: installer:v1.13.9
cluster:
    controlPlane:
        endpoint: https://10.0.0.10:6443
";

fn config(image: &str, hostname: &str) -> pb::NodeConfig {
    pb::NodeConfig {
        server_id: "b1".into(),
        image_id: format!("a/{image}/amd64"),
        hostname: hostname.into(),
        ..Default::default()
    }
}

fn stored(machine: Option<&str>, made_for: &str) -> Doc {
    let mut doc = Doc::new("lab/w", config("v1.13.9", "w").encode_to_vec());
    doc.machine = machine.map(|m| MachineId(m.into()));
    doc.sealed = Some(Secret::new(BEFORE.as_bytes().to_vec()));
    let state = NodeState {
        made_for: made_for.into(),
        ..NodeState::default()
    };
    set_status(&mut doc, &state);
    doc
}

fn bundle() -> Bundle {
    let contract = crate::talos::contract("v1.13").unwrap();
    let now = jiff::Timestamp::from_second(1_780_000_000).unwrap();
    Bundle::generate(
        Generator::V1_13,
        contract,
        now,
        &mut talos::secrets::system_entropy,
    )
    .unwrap()
}

#[test]
fn the_class_is_what_differs() {
    let bundle = bundle();
    let check = |before: Option<&Doc>, new: &pb::NodeConfig, text: &str, expected: pb::Change| {
        let rendered = MachineConfig::new(text);
        let generator = Generator::V1_13;
        let effect = consequence(before, new, "b1#1", &rendered, generator, &bundle).unwrap();
        assert_eq!(effect.change, expected, "{new:?}\n{text}");
        effect
    };
    let old = stored(Some("b1"), "b1#1");
    let same = config("v1.13.9", "w");
    let other = config("v1.13.9", "other");
    check(None, &same, BEFORE, pb::Change::Install);
    check(
        Some(&stored(None, "b0#7")),
        &same,
        BEFORE,
        pb::Change::Install,
    );
    check(Some(&stored(None, "b1#1")), &same, BEFORE, pb::Change::None);
    // The same words are no change, also where a newer bootd renders them otherwise.
    let newer = BEFORE.replace("type: worker", "type: worker\n    sysctls: {a: b}");
    check(Some(&old), &same, &newer, pb::Change::None);
    // Other words that mean the same are none either.
    check(Some(&old), &other, BEFORE, pb::Change::None);
    check(Some(&old), &other, &newer, pb::Change::Apply);
    let env = BEFORE.replace("type: worker", "type: worker\n    env: {a: b}");
    check(Some(&old), &other, &env, pb::Change::Reboot);
    let image = BEFORE.replace("v1.13.9", "v1.13.10");
    let effect = check(
        Some(&old),
        &config("v1.13.10", "w"),
        &image,
        pb::Change::Upgrade,
    );
    assert_eq!(effect.attribute, "image_id");
    // Another architecture has the same installer.
    let mut arm = same.clone();
    arm.image_id = "a/v1.13.9/arm64".into();
    check(Some(&old), &arm, BEFORE, pb::Change::Upgrade);
    let disk = BEFORE.replace("S1", "S2");
    let effect = check(Some(&old), &other, &disk, pb::Change::Reinstall);
    assert_eq!(effect.attribute, "install_disk");
    assert_eq!(
        effect.places,
        ["v1alpha1 machine.install.diskSelector.serial"]
    );
    let pods = format!("{BEFORE}    network:\n        podSubnets: [10.1.0.0/16]\n");
    let effect = check(Some(&old), &other, &pods, pb::Change::Reinstall);
    assert_eq!(effect.attribute, "patches");
    let moved = pb::NodeConfig {
        server_id: "b2".into(),
        ..same
    };
    check(Some(&old), &moved, BEFORE, pb::Change::Reinstall);
}
