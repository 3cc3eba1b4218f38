//! The chain on a real machine: power by IPMI, OVMF's own PXE beside a foreign DHCP server, our proxyDHCP and TFTP, iPXE, our script, a
//! distribution's kernel, our agent as `/init`; a disk with a file system is refused, then erased, and the host looks at the files.
//!
//! Needs root (namespaces) and the tools of [`rack::missing`]; says so and skips where they are not. One machine, no second try.

#[path = "../qemu/desk.rs"]
mod desk;
#[path = "../qemu/rack.rs"]
mod rack;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bootd::images::{self, ImageCache};
use bootd::net::{AgentFiles, DhcpListener, Settings};
use desk::StoryDesk;
use metal_proto::metal::v1::agent_order::What;
use metal_proto::metal::v1::{AgentEnd, AgentErase, AgentResult, Disk, EraseDisk, EraseScope};
use rack::{BOOTD, DISK_BYTES, MAC, Network, Rack, SERIAL, UUID};
use tokio_util::sync::CancellationToken;

/// Set in the process that runs inside bootd's namespace: its directory, and the other namespace.
const INSIDE: &str = "METAL_QEMU_STORY";
const WHOLE_STORY: Duration = Duration::from_secs(300);
const BOOT: Duration = Duration::from_secs(90);
const STEP: Duration = Duration::from_secs(60);

#[test]
fn a_real_machine_boots_registers_refuses_and_erases() {
    if let Some(inside) = std::env::var_os(INSIDE) {
        let inside = inside.into_string().expect("we set it ourselves");
        let (dir, switch) = inside.split_once('|').expect("we set it ourselves");
        story(Path::new(dir), switch);
        return;
    }
    if let Some(why) = rack::missing() {
        eprintln!("SKIPPED: the QEMU story did not run: {why}");
        return;
    }
    let network = Network::up();
    let dir = tempfile::Builder::new()
        .prefix("qemu-story-")
        .tempdir()
        .expect("a directory for the story");
    let mut inner = rack::inside(
        &network.boot(),
        std::env::current_exe()
            .expect("a test knows its own path")
            .to_str()
            .expect("a plain path"),
    );
    inner.args([
        "--exact",
        "a_real_machine_boots_registers_refuses_and_erases",
        "--nocapture",
        "--test-threads",
        "1",
    ]);
    inner.env(
        INSIDE,
        format!("{}|{}", dir.path().display(), network.switch()),
    );
    let mut inner = inner.spawn().expect("this test runs in the namespace");
    let until = Instant::now() + WHOLE_STORY;
    let ended = loop {
        if let Some(ended) = inner.try_wait().expect("our own child") {
            break Some(ended);
        }
        if Instant::now() >= until {
            let _ = inner.kill();
            let _ = inner.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if !ended.is_some_and(|ended| ended.success()) {
        let kept = dir.keep();
        panic!(
            "the story failed ({ended:?}); its logs and the serial console are in {}",
            kept.display()
        );
    }
}

/// The story as it runs: bootd's side, the rack, and when the machine got power.
struct Story {
    runtime: tokio::runtime::Runtime,
    desk: Arc<StoryDesk>,
    rack: Rack,
    started: Instant,
}

fn story(dir: &Path, switch: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let desk = StoryDesk::new(MAC);
    let stop = CancellationToken::new();
    let running = runtime.block_on(start_bootd(dir, &desk, &stop));
    let rack = Rack::start(dir, switch);
    let (virtio_before, sata_before) = (content(&rack, "virtio.raw"), content(&rack, "sata.raw"));
    wait_for_bmc(&rack);
    rack.ipmi("chassis bootdev pxe options=efiboot");
    rack.ipmi("chassis power on");
    let story = Story {
        runtime,
        desk,
        rack,
        started: Instant::now(),
    };

    let virtio = story.boots_and_registers();
    story.refuses_what_was_not_planned(&virtio);
    assert!(
        content(&story.rack, "virtio.raw") == virtio_before,
        "nothing was written"
    );
    story.erases(&virtio);
    story.powers_off();

    assert!(wipefs(&story.rack.path("virtio.raw")).is_empty());
    let after = content(&story.rack, "virtio.raw");
    let ends = [&after[..2 << 20], &after[after.len() - (2 << 20)..]];
    assert!(
        ends.iter().all(|end| end.iter().all(|byte| *byte == 0)),
        "both ends are zero on the host"
    );
    assert!(
        content(&story.rack, "sata.raw") == sata_before,
        "the other disk is byte-identical"
    );
    assert!(!story.rack.serial().contains("Kernel panic"));
    stop.cancel();
    story
        .runtime
        .block_on(running.join())
        .expect("no loop of bootd panicked");
}

impl Story {
    fn hear<T>(&self, what: &str, found: Option<T>) -> T {
        let Some(found) = found else {
            panic!(
                "{what}: never; told: {:#?}\nserial:\n{}",
                self.desk.told().lines,
                tail(&self.rack.serial())
            );
        };
        eprintln!("{:6.1} s  {what}", self.started.elapsed().as_secs_f32());
        found
    }

    fn hear_fact(&self, what: &str, part: &str) {
        let told = self.desk.until(BOOT, |told| {
            told.lines
                .iter()
                .any(|line| line.contains(part))
                .then_some(())
        });
        self.hear(what, self.runtime.block_on(told));
    }

    /// Answers the disk to be erased, as the agent reported it.
    fn boots_and_registers(&self) -> Disk {
        self.hear_fact(
            "the firmware asked DHCP and was offered a boot file",
            "DhcpOffered { arch: 7 }",
        );
        self.hear_fact("the boot file left by TFTP", "BootFileServed");
        self.hear_fact("iPXE fetched its script", "ScriptServed { what: Agent");
        self.hear_fact("the kernel left", "KernelServed { what: Agent");
        let report = self.desk.until(BOOT, |told| told.reports.first().cloned());
        let report = self.hear("the agent registered", self.runtime.block_on(report));
        let hardware = report.hardware.expect("a report has hardware");
        assert_eq!(
            (
                hardware.uuid.as_str(),
                hardware.serial.as_str(),
                hardware.product.as_str()
            ),
            (UUID, SERIAL, "RackVM")
        );
        assert_eq!(
            hardware
                .nics
                .iter()
                .map(|nic| nic.mac.as_str())
                .collect::<Vec<_>>(),
            [MAC]
        );
        let sata = disk(&hardware.disks, "sata");
        assert_eq!(
            (sata.signatures.join(" "), sata.wwid.as_str()),
            ("ext4".to_owned(), "naa.5000c50015ea7100")
        );
        let virtio = disk(&hardware.disks, "virtio");
        assert_eq!(
            (virtio.signatures.join(" "), virtio.bytes, virtio.blank),
            ("ext4".to_owned(), DISK_BYTES, false)
        );
        virtio
    }

    fn result(&self, what: &str, number: u64) -> AgentResult {
        let result = self.desk.until(STEP, |told| {
            told.results
                .iter()
                .find(|result| result.order == number)
                .cloned()
        });
        self.hear(what, self.runtime.block_on(result))
    }

    /// The plan showed other content: what is there now was never allowed to go.
    fn refuses_what_was_not_planned(&self, virtio: &Disk) {
        self.desk.order(1, erase(virtio, "0".repeat(64)));
        let refused = self.result("an order for other content was answered", 1);
        let expected = format!(
            "disk {SERIAL}-virtio: its content changed since it was reported; inspect the machine again"
        );
        assert_eq!((refused.refused, refused.disks.len()), (expected, 0));
    }

    fn erases(&self, virtio: &Disk) {
        self.desk
            .order(2, erase(virtio, virtio.fingerprint.clone()));
        let erased = self.result("the erase was answered", 2);
        assert_eq!(
            (
                erased.refused.as_str(),
                erased.disks.len(),
                erased.disks[0].failed.as_str()
            ),
            ("", 1, "")
        );
        assert!(
            erased.disks[0]
                .after
                .as_ref()
                .is_some_and(|after| after.blank)
        );
        assert_eq!(erased.disks[0].proof, proof());
    }

    fn powers_off(&self) {
        self.desk.order(3, What::PowerOff(AgentEnd {}));
        let until = Instant::now() + STEP;
        while self.rack.is_on() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
        }
        self.hear(
            "the machine turned itself off",
            (!self.rack.is_on()).then_some(()),
        );
        assert_eq!(
            self.rack.ipmi("chassis power status"),
            "Chassis Power is off"
        );
    }
}

fn content(rack: &Rack, disk: &str) -> Vec<u8> {
    std::fs::read(rack.path(disk)).expect("the disk file")
}

async fn start_bootd(
    dir: &Path,
    desk: &Arc<StoryDesk>,
    stop: &CancellationToken,
) -> bootd::net::Running {
    let files = rack::agent_boot();
    let images = images::Settings {
        dir: dir.join("images"),
        factory: "http://127.0.0.1:9".to_owned(),
        egress: Vec::new(),
        bytes_max: 1 << 30,
        idle: Duration::from_secs(10),
    };
    let at = |port: u16| (std::net::Ipv4Addr::UNSPECIFIED, port).into();
    let settings = Settings {
        advertise: BOOTD.parse().expect("an address"),
        dhcp: vec![DhcpListener {
            proxy: at(67),
            boot_server: at(4011),
            overhear: Some(at(68)),
            interface: Some("eth0".to_owned()),
        }],
        tftp: Some(at(69)),
        http: at(8081),
        https: at(8443),
        events: at(8082),
        kernel_log: at(8083),
        assets: PathBuf::from("/usr/lib/ipxe"),
        cache: dir.join("assembled"),
        agent: Some(AgentFiles {
            kernel: files.join("vmlinuz"),
            initrd: files.join("agent-initrd"),
            modules: Some(files.join("modules")),
            args: Vec::new(),
        }),
        boot_files: BTreeMap::new(),
        long_poll: Duration::from_secs(20),
    };
    let (tls, ca_pem) = certificates();
    let images = Arc::new(ImageCache::new(images).expect("an image cache"));
    bootd::net::start(
        settings,
        Arc::clone(desk),
        images,
        tls,
        ca_pem,
        stop.clone(),
    )
    .await
    .expect("bootd's sockets")
}

fn certificates() -> (Arc<rustls::ServerConfig>, String) {
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec![BOOTD.to_owned()])
        .and_then(|leaf| leaf.signed_by(&key, &issuer))
        .expect("a certificate");
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der())
        .expect("a key that was just made");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .and_then(|builder| {
        builder
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
    })
    .expect("a TLS configuration");
    (Arc::new(config), ca_pem)
}

/// `ipmi_sim` binds its port a moment after it started; `ipmitool` asks often and gives up after its own time.
fn wait_for_bmc(rack: &Rack) {
    let until = Instant::now() + Duration::from_secs(20);
    while !rack.answers() {
        let log = std::fs::read_to_string(rack.path("ipmi_sim.log")).unwrap_or_default();
        assert!(Instant::now() < until, "the BMC never answered: {log}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn erase(disk: &Disk, fingerprint: String) -> What {
    let disk = EraseDisk {
        serial: disk.serial.clone(),
        wwid: disk.wwid.clone(),
        bytes: disk.bytes,
        fingerprint,
        scope: EraseScope::Quick.into(),
        probe_offsets: vec![0, disk.bytes - 4096],
    };
    What::Erase(AgentErase {
        disks: vec![disk],
        nonce: b"nonce of the story".to_vec(),
    })
}

/// What a disk proves that reads zero at both probes.
fn proof() -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut digest = Sha256::new();
    digest.update(b"nonce of the story");
    digest.update([0; 2 * 4096]);
    digest.finalize().to_vec()
}

fn disk(disks: &[Disk], name: &str) -> Disk {
    // QEMU's virtio cuts serials at 20 bytes; ours are shorter.
    let serial = format!("{SERIAL}-{name}");
    disks
        .iter()
        .find(|disk| disk.serial == serial)
        .unwrap_or_else(|| panic!("no disk {serial} among {disks:#?}"))
        .clone()
}

fn wipefs(path: &Path) -> String {
    let out = Command::new("wipefs")
        .args(["--noheadings"])
        .arg(path)
        .output()
        .expect("wipefs runs");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
