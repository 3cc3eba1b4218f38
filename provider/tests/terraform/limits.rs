//! Every operation that waits ends in the time that `timeouts` gives it, tells what it saw last, and loses nothing.

use crate::rig::Rig;
use crate::{HEAD, NODE};

const CLUSTER: &str = r#"
resource "talos_cluster" "lab" {
  provider = metal
  cluster  = { secrets_id = talos_secrets.lab.id, endpoint = "https://10.0.0.10:6443", kubernetes_version = "v1.36.3" }
  nodes    = { a = talos_machine_config.a.node }
}
"#;

/// Where the block of each resource that waits begins, and its first line.
const WAITS: [(&str, &str); 5] = [
    ("metal_server.b1", "resource \"metal_server\" \"b1\" {\n"),
    (
        "metal_server_claim.a",
        "resource \"metal_server_claim\" \"a\" {\n",
    ),
    ("metal_image.this", "resource \"metal_image\" \"this\" { "),
    (
        "talos_machine_config.a",
        "resource \"talos_machine_config\" \"a\" {\n",
    ),
    (
        "talos_cluster.lab",
        "resource \"talos_cluster\" \"lab\" {\n",
    ),
];

fn with_timeouts(address: &str, timeouts: &str) -> String {
    let hcl = format!("{HEAD}{NODE}{CLUSTER}");
    let (_, head) = WAITS.iter().find(|(a, _)| *a == address).unwrap();
    assert!(hcl.contains(head));
    let hcl = hcl.replace(
        "{ talos_version = \"v1.13.9\" }",
        "{ \n  talos_version = \"v1.13.9\"\n}",
    );
    hcl.replacen(head, &format!("{head}\n  timeouts = {timeouts}\n"), 1)
}

#[test]
fn creations_end_in_their_time_and_go_on_with_the_next_apply() {
    let Some(rig) = Rig::new(&format!("{HEAD}{NODE}{CLUSTER}")) else {
        return;
    };
    for (stall, address) in [
        ("server", "metal_server.b1"),
        ("image", "metal_image.this"),
        ("node", "talos_machine_config.a"),
        ("cluster", "talos_cluster.lab"),
    ] {
        rig.write(&with_timeouts(address, "{ create = \"1s\" }"));
        rig.bootd.world(|w| w.stalls.insert(stall));
        let said = rig.apply().failed();
        assert!(
            said.contains("the time of this create is over. Last seen: installing: waiting for DHCP (powered on)")
                && said.contains("raise timeouts.create"),
            "{address}: {said}"
        );
        rig.bootd.world(|w| w.stalls.clear());
        // What was begun is in the state: the next apply replaces nothing that bootd has not.
        rig.apply().ok();
        rig.assert_plan_is_empty();
        rig.run(&["destroy", "-auto-approve", "-input=false"]).ok();
    }
}

#[test]
fn updates_and_deletions_end_in_their_time_too() {
    let Some(rig) = Rig::new(&format!("{HEAD}{NODE}{CLUSTER}")) else {
        return;
    };
    for (stall, address, old, new) in [
        (
            "server",
            "metal_server.b1",
            "  accepted = true",
            "  accepted = true\n  labels = { a = \"b\" }",
        ),
        (
            "image",
            "metal_image.this",
            "resource \"metal_image\" \"this\" {",
            "resource \"metal_image\" \"this\" {\n  name = \"plain\"",
        ),
        (
            "node",
            "talos_machine_config.a",
            "  install_disk =",
            "  labels = { a = \"b\" }\n  install_disk =",
        ),
        (
            "cluster",
            "talos_cluster.lab",
            "  nodes    =",
            "  deletion_protection = false\n  wait_for = { kubernetes = \"none\" }\n  nodes    =",
        ),
    ] {
        let hcl = with_timeouts(address, "{ update = \"1s\" }");
        rig.write(&hcl);
        rig.apply().ok();
        let changed = hcl.replacen(old, new, 1);
        assert_ne!(changed, hcl, "{old}");
        rig.write(&changed);
        rig.bootd.world(|w| w.stalls.insert(stall));
        let said = rig.apply().failed();
        assert!(
            said.contains("the time of this update is over")
                && said.contains("raise timeouts.update"),
            "{address}: {said}"
        );
        rig.bootd.world(|w| w.stalls.clear());
        rig.apply().ok();
        rig.assert_plan_is_empty();
    }
    for (stall, address) in [
        ("removed", "talos_machine_config.a"),
        ("claim", "metal_server_claim.a"),
        ("forgotten", "metal_server.b1"),
    ] {
        rig.write(&with_timeouts(address, "{ delete = \"1s\" }"));
        rig.apply().ok();
        rig.bootd.world(|w| w.stalls.insert(stall));
        let said = rig
            .run(&["destroy", "-auto-approve", "-input=false"])
            .failed();
        assert!(
            said.contains("the time of this delete is over")
                && said.contains("raise timeouts.delete"),
            "{address}: {said}"
        );
        let kept = rig.run(&["state", "list"]).ok();
        assert!(kept.contains(address), "it is not lost: {kept}");
        rig.bootd.world(|w| w.stalls.clear());
        rig.run(&["destroy", "-auto-approve", "-input=false"]).ok();
    }
}

#[test]
fn a_bootd_that_does_not_fit_is_named_with_both_versions() {
    let Some(rig) = Rig::new(&format!("{HEAD}{NODE}")) else {
        return;
    };
    let check = |site: (&'static str, Vec<String>), words: [&str; 3]| {
        rig.bootd.world(|w| w.site = Some(site));
        let said = rig.apply().failed();
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert_eq!(rig.calls(), Vec::<String>::new());
    };
    let ours = concat!("The provider is ", env!("CARGO_PKG_VERSION"));
    check(
        ("0.0.9", vec![]),
        [
            "Error: bootd is too old for this provider",
            ours,
            "is 0.0.9 and does not offer",
        ],
    );
    check(
        ("7.1.0", vec!["v2".to_owned()]),
        [
            "Error: bootd is too new for this provider",
            ours,
            "is 7.1.0 and does not offer",
        ],
    );
    check(
        ("", vec![]),
        [
            "Error: bootd is too old for this provider",
            ours,
            "of an unknown version",
        ],
    );
    rig.bootd.world(|w| w.site = None);
    rig.apply().ok();
}
