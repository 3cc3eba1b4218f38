//! One statement in every layout, and where each mistake is told.

use std::sync::OnceLock;

use bootd_core::lifecycle::hardware::Disk;
use metal_proto::metal::v1::{ClusterFacts, InstallDisk, Network, Role};
use talos::secrets::system_entropy;

use super::super::state::contract;
use super::*;

/// Keys take a while: one bundle serves all tests, whatever the contract.
fn bundle() -> &'static Bundle {
    static MADE: OnceLock<Bundle> = OnceLock::new();
    MADE.get_or_init(|| {
        let born = contract("v1.13").unwrap();
        let pins = Pins::of(born);
        let now = jiff::Timestamp::from_second(1_780_000_000).unwrap();
        Bundle::generate(pins.generator, born, now, &mut system_entropy).unwrap()
    })
}

fn hardware() -> Hardware {
    Hardware {
        disks: vec![Disk {
            device: "nvme0n1".into(),
            serial: "S1".into(),
            wwid: "eui.1".into(),
            kind: "nvme".into(),
            bytes: 480_000_000_000,
            blank: true,
            ..Disk::default()
        }],
        ..Hardware::default()
    }
}

fn node(talos: &str, kubernetes: &str) -> NodeConfig {
    NodeConfig {
        cluster: Some(ClusterFacts {
            name: "lab".into(),
            secrets_id: "lab".into(),
            endpoint: "https://10.0.0.10:6443".into(),
            kubernetes_version: kubernetes.into(),
            ..Default::default()
        }),
        name: "cp-0".into(),
        role: Role::Controlplane.into(),
        image_id: format!("{}/{talos}/amd64", "a".repeat(64)),
        install_disk: Some(InstallDisk {
            r#type: "nvme".into(),
            ..Default::default()
        }),
        network: Some(Network {
            nameservers: vec!["10.0.0.1".into()],
            vip: "10.0.0.10".into(),
            time_servers: vec!["10.0.0.2".into()],
        }),
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
        ..Default::default()
    }
}

fn rendered(node: &NodeConfig, born: &str) -> Result<String, Refused> {
    let pins = Pins::of(contract(born).unwrap());
    let around = Surroundings {
        ca_pem: &bundle().os.certificate,
        events: "10.0.0.5:4001".parse().unwrap(),
        kernel_log: "10.0.0.5:4002".parse().unwrap(),
    };
    let installer = "factory.talos.dev/metal-installer/a:v1";
    let rendered = render(node, bundle(), pins, installer, &hardware(), around)?;
    let serials: Vec<&str> = rendered.targets.iter().map(|t| &*t.serial).collect();
    assert_eq!(serials, ["S1"]);
    Ok(talos::redact::redact(rendered.config.expose(), bundle()))
}

/// The first document and what of the others these tests are about.
fn check(born: &str, kubernetes: &str, has: &[&str], has_not: &[&str]) {
    let text = rendered(&node(&format!("{born}.0"), kubernetes), born).unwrap();
    for part in has {
        assert!(text.contains(part), "{born}: {part:?} is not in\n{text}");
    }
    for part in has_not {
        assert!(!text.contains(part), "{born}: {part:?} is in\n{text}");
    }
}

const VIP: &str = "    interfaces:
            - deviceSelector:
                physical: true
              dhcp: true
              vip:
                ip: 10.0.0.10
";

#[test]
fn one_statement_in_every_layout() {
    let sinks = [
        "kind: EventSinkConfig\nendpoint: 10.0.0.5:4001\n",
        "kind: KmsgLogConfig\nname: bootd\nurl: tcp://10.0.0.5:4002/\n",
    ];
    let all = |parts: &[&'static str]| -> Vec<&'static str> { [&sinks[..], parts].concat() };
    let keys = [
        VIP,
        "        nameservers:\n            - 10.0.0.1\n",
        "    time:\n        servers:\n            - 10.0.0.2\n",
        "        tier: gold\n",
        "        diskSelector:\n            serial: S1\n            wwid: eui.1\n",
        "        hostname: cp-0\n",
    ];
    let roots = "kind: TrustedRootsConfig";
    check("v1.7", "v1.28.0", &all(&keys), &[roots, "ResolverConfig"]);
    check(
        "v1.11",
        "v1.32.0",
        &[&all(&keys)[..], &[roots]].concat(),
        &["ResolverConfig"],
    );
    let documents = [
        VIP,
        roots,
        "kind: ResolverConfig\nnameservers:\n    - address: 10.0.0.1\n",
        "kind: TimeSyncConfig\n",
        "kind: HostnameConfig\nauto: off\nhostname: cp-0\n",
        "        tier: gold\n",
    ];
    for (born, kubernetes) in [("v1.12", "v1.33.0"), ("v1.13", "v1.34.0")] {
        let documents = documents.map(|d| match born {
            // The generator of 1.13 writes both; the order of keys is the machinery's.
            _ if d.starts_with("kind: HostnameConfig") => "hostname: cp-0\n",
            _ => d,
        });
        check(
            born,
            kubernetes,
            &all(&documents),
            &["time:\n        servers"],
        );
    }
    check(
        "v1.14",
        "v1.35.0",
        &all(&[
            VIP,
            "kind: KubeNodeConfig",
            "kind: UnattendedInstallConfig",
            "glob(\"eui.1\", disk.wwid) && glob(\"S1\", disk.serial)",
        ]),
        &["nodeLabels", "    install:"],
    );
}

#[test]
fn workers_leave_the_virtual_address_out() {
    let mut worker = node("v1.13.9", "v1.34.0");
    worker.role = Role::Worker.into();
    let text = rendered(&worker, "v1.13").unwrap();
    assert!(!text.contains("vip:") && text.contains("address: 10.0.0.1"));
}

fn told(node: &NodeConfig, born: &str) -> String {
    let refused = rendered(node, born).unwrap_err();
    let lines = refused
        .iter()
        .map(|e| format!("{} at {}: {}", e.reason, e.attribute, e.detail));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_mistake_is_told_at_its_argument() {
    let mut wrong = node("v1.13.9", "v1.34.0");
    if let (Some(network), Some(facts)) = (&mut wrong.network, &mut wrong.cluster) {
        network.nameservers = vec!["10.0.0.1".into(), "dns".into()];
        network.vip = "everywhere".into();
        facts.pod_cidrs = vec!["10.244.0.0".into()];
    }
    insta::assert_snapshot!(told(&wrong, "v1.13"), @r"
    config-refused at cluster.pod_cidrs[0]: pod_cidrs[0]: it must be a network like 10.244.0.0/16
    config-refused at network.vip: network.vip: it is not an address
    config-refused at network.nameservers[1]: network.nameservers[1]: it is not an address
    ");
    let mut patched = node("v1.13.9", "v1.34.0");
    patched.patches = vec!["machine:\n  sysctl: {a: b}\n".into()];
    insta::assert_snapshot!(told(&patched, "v1.13"));
    patched.patches = vec![
        "machine:\n  sysctls: {a: b}\n".into(),
        "machine:\n  type: worker\n  env: {}\n  install:\n    extraKernelArgs: [a]\n".into(),
    ];
    insta::assert_snapshot!(told(&patched, "v1.13"));
}

const KUBESPAN: &str =
    r#"[{"op": "add", "path": "/machine/network/kubespan", "value": {"enabled": true}}]"#;

#[test]
fn json_patches_are_for_configs_of_one_document() {
    let mut old = node("v1.11.0", "v1.32.0");
    if let Some(facts) = &mut old.cluster {
        facts.patches = vec![KUBESPAN.into()];
    }
    let text = rendered(&old, "v1.11").unwrap();
    assert!(
        text.contains("kubespan:\n            enabled: true"),
        "{text}"
    );
    let mut new = node("v1.13.9", "v1.34.0");
    new.patches = vec![KUBESPAN.into()];
    insta::assert_snapshot!(told(&new, "v1.13"));
}

#[test]
fn a_patch_cannot_take_the_event_sink() {
    let mut own = node("v1.13.9", "v1.34.0");
    own.patches =
        vec!["apiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: 10.9.9.9:1\n".into()];
    let told = told(&own, "v1.13");
    assert!(
        told.contains("EventSinkConfig") && told.contains("twice"),
        "{told}"
    );
}

#[test]
fn pins_are_kept() {
    let mut state = super::super::state::SecretsState {
        render_rev: 1,
        ..Default::default()
    };
    let born = contract("v1.13").unwrap();
    assert_eq!(Pins::stored(born, &state), Some(Pins::of(born)));
    let newest = contract("v1.14.0").unwrap();
    assert_eq!(Pins::of(newest).generator.render_rev(), 2);
    state.render_rev = 2;
    // The secrets decide, not the version.
    assert_ne!(Pins::stored(born, &state), Some(Pins::of(born)));
    state.render_rev = 3;
    assert_eq!(Pins::stored(born, &state), None);
}
