//! The simulated Talos node and its disks: stale installations, installs over foreign data, configs that do not come.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![allow(clippy::too_many_lines, reason = "a story is told in one piece")]

mod rack_double;

use acctest::rack::content;
use acctest::rack::control::{self, Ask};
use acctest::rack::fault::{Fault, Order};
use rack_double::{Cluster, Double, channel, insecure, rack, serve_talos};

const ONE: &str = "[[server]]\nname = \"node-a\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_state_on_any_disk_wins() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    let cluster = Cluster::new();
    serve_talos(
        &double,
        &format!("talos.config=http://{}/config", double.http),
    );
    double.file(
        "/config",
        cluster.config("worker", "fresh", "disk: /dev/nvme0n1", &double),
    );
    let spec = "[[server]]\nname = \"n\"\ndisk = [{ size = \"20GB\" }, { size = \"20GB\" }]\n";
    let rack = rack(dir.path(), spec, &double).await;
    let machine = rack.machine("n").unwrap();
    let seed = Ask::SeedDisk {
        server: "n".to_owned(),
        disk: "1".to_owned(),
        with: "talos-state".to_owned(),
    };
    control::answer(&rack, &seed).await.unwrap();
    let before = content::look(&machine.plan.disks[1].path).unwrap();

    machine.turn_on(acctest::bmc::BootFlags::NONE);
    let address = format!(
        "AddressEvent {} ADDRESSES: {}",
        content::STALE_MARKER,
        machine.plan.address
    );
    double
        .wait(machine, "the old identity", |seen| {
            seen.events
                .iter()
                .map(rack_double::event_line)
                .find(|l| *l == address)
        })
        .await;
    let asked = double
        .seen
        .lock()
        .unwrap()
        .requests
        .iter()
        .any(|r| r.starts_with("/config"));
    assert!(!asked, "talos.config is never requested");
    assert_eq!(machine.status().seen.counts.installs, 0);
    machine.cut();
    machine.settled().await;
    assert_eq!(content::look(&machine.plan.disks[1].path).unwrap(), before);
    assert!(content::look(&machine.plan.disks[0].path).unwrap().zero);

    // With halt_if_installed it stops before the config phase and says so.
    serve_talos(
        &double,
        &format!(
            "talos.halt_if_installed=1 talos.config=http://{}/config",
            double.http
        ),
    );
    machine.turn_on(acctest::bmc::BootFlags::NONE);
    double
        .wait(machine, "the halt", |seen| {
            seen.events
                .iter()
                .map(rack_double::event_line)
                .find(|l| l == "TaskEvent haltIfInstalled START")
        })
        .await;
    rack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_install_destroys_what_it_finds_and_faults_stop_it() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    let cluster = Cluster::new();
    serve_talos(
        &double,
        &format!("talos.config=http://{}/config", double.http),
    );
    let rack = rack(dir.path(), ONE, &double).await;
    let machine = rack.machine("node-a").unwrap();
    control::answer(
        &rack,
        &Ask::SeedDisk {
            server: "node-a".to_owned(),
            disk: "nvme0n1".to_owned(),
            with: "ext4".to_owned(),
        },
    )
    .await
    .unwrap();

    // Nothing there, then broken, then good: asked again and again, the port shut all the time.
    machine.turn_on(acctest::bmc::BootFlags::NONE);
    double
        .wait(machine, "two tries", |seen| {
            (seen
                .requests
                .iter()
                .filter(|r| r.starts_with("/config"))
                .count()
                >= 2)
                .then_some(())
        })
        .await;
    assert!(
        channel(machine, insecure())
            .await
            .unwrap_err()
            .contains("refused")
    );
    double.file(
        "/config",
        cluster.config("worker", "w", "diskSelector: {serial: NOT-THERE}", &double),
    );
    let error = double
        .wait(machine, "a load error", |seen| {
            seen.events
                .iter()
                .map(rack_double::event_line)
                .find(|l| l.starts_with("ConfigLoadErrorEvent"))
        })
        .await;
    assert!(
        error.contains("no disks matched the expression: glob(\"NOT-THERE\", disk.serial)"),
        "{error}"
    );
    machine.apply_fault(Order::Set(Fault::NeverInstalls, 1));
    double.file(
        "/config",
        cluster.config(
            "worker",
            "w",
            &format!("diskSelector: {{serial: {}}}", machine.plan.disks[0].serial),
            &double,
        ),
    );
    double
        .wait(machine, "the install begins", |_| {
            (machine.status().seen.detail == "installing").then_some(())
        })
        .await;
    assert_eq!(
        content::look(&machine.plan.disks[0].path)
            .unwrap()
            .signatures,
        ["ext4"]
    );

    machine.apply_fault(Order::Clear);
    machine.cut();
    machine.turn_on(acctest::bmc::BootFlags::NONE);
    double
        .wait(machine, "the boot", |_| {
            (machine.status().seen.counts.talos_disk_boots == 1).then_some(())
        })
        .await;
    let signatures: std::collections::BTreeMap<String, ()> =
        content::look(&machine.plan.disks[0].path)
            .unwrap()
            .signatures
            .into_iter()
            .map(|s| (s, ()))
            .collect();
    assert!(
        signatures.contains_key("talos:STATE") && !signatures.contains_key("ext4"),
        "{signatures:?}"
    );
    rack.stop().await;
}
