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
const BOOT: Duration = Duration::from_secs(150);
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
    let dir = tempfile::Builder::new().prefix("qemu-story-").tempdir().expect("a directory for the story");
    let mut inner = rack::inside(&network.boot(), std::env::current_exe().expect("a test knows its own path").to_str().expect("a plain path"));
    inner.args(["--exact", "a_real_machine_boots_registers_refuses_and_erases", "--nocapture", "--test-threads", "1"]);
    inner.env(INSIDE, format!("{}|{}", dir.path().display(), network.switch()));
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
        panic!("the story failed ({ended:?}); its logs and the serial console are in {}", kept.display());
    }
}

fn story(dir: &Path, switch: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let desk = StoryDesk::new(MAC);
    let stop = CancellationToken::new();
    let running = runtime.block_on(start_bootd(dir, &desk, &stop));
    let rack = Rack::start(dir, switch);
    let untouched = std::fs::read(rack.path("sata.raw")).expect("the disk file");
    let before = std::fs::read(rack.path("virtio.raw")).expect("the disk file");

    wait_for_bmc(&rack);
    rack.ipmi("chassis bootdev pxe options=efiboot");
    rack.ipmi("chassis power on");
    let started = Instant::now();
    let hear = |what: &str, found: bool| {
        assert!(found, "{what} did not happen; told: {:#?}\nserial:\n{}", desk.told().lines, tail(&rack.serial()));
        eprintln!("{:6.1} s  {what}", started.elapsed().as_secs_f32());
    };
    let line = |part: &'static str, patience| runtime.block_on(desk.until(patience, |told| told.lines.iter().any(|l| l.contains(part)).then_some(())));
    hear("the firmware asked DHCP and was offered a boot file", line("DhcpOffered", BOOT).is_some());
    hear("the boot file left by TFTP", line("BootFileServed { name: \"snponly.efi\" }", BOOT).is_some());
    hear("iPXE fetched its script", line("ScriptServed { what: Agent", BOOT).is_some());
    hear("the kernel left", line("KernelServed { what: Agent", BOOT).is_some());
    let report = runtime.block_on(desk.until(BOOT, |told| told.reports.first().cloned()));
    hear("the agent registered", report.is_some());
    let hardware = report.and_then(|report| report.hardware).expect("just heard");
    assert_eq!((hardware.uuid.as_str(), hardware.serial.as_str(), hardware.product.as_str()), (UUID, SERIAL, "RackVM"));
    assert_eq!(hardware.nics.iter().map(|nic| nic.mac.as_str()).collect::<Vec<_>>(), [MAC]);
    let virtio = disk(&hardware.disks, "virtio");
    let sata = disk(&hardware.disks, "sata");
    assert_eq!((virtio.signatures.as_slice(), virtio.bytes), (["ext4".to_owned()].as_slice(), DISK_BYTES));
    assert_eq!((sata.signatures.as_slice(), sata.wwid.as_str()), (["ext4".to_owned()].as_slice(), "naa.5000c50015ea7100"));

    let result = |number| runtime.block_on(desk.until(STEP, |told| told.results.iter().find(|r| r.order == number).cloned()));
    // The plan showed an empty disk; what is there now was not allowed to go.
    desk.order(1, erase(&virtio, "0".repeat(64)));
    let refused = result(1);
    hear("an order for other content was answered", refused.is_some());
    let refused: AgentResult = refused.expect("just heard");
    assert_eq!(refused.refused, format!("disk {SERIAL}-virtio: its content changed since it was reported; inspect the machine again"));
    assert!(std::fs::read(rack.path("virtio.raw")).expect("the disk file") == before, "nothing was written");

    desk.order(2, erase(&virtio, virtio.fingerprint.clone()));
    let erased = result(2);
    hear("the erase was answered", erased.is_some());
    let erased = erased.expect("just heard");
    assert_eq!((erased.refused.as_str(), erased.disks.len(), erased.disks[0].failed.as_str()), ("", 1, ""));
    assert!(erased.disks[0].after.as_ref().is_some_and(|after| after.blank));
    assert_eq!(erased.disks[0].proof, proof());

    desk.order(3, What::PowerOff(AgentEnd {}));
    let until = Instant::now() + STEP;
    while rack.is_on() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    hear("the machine turned itself off", !rack.is_on());
    assert_eq!(rack.ipmi("chassis power status"), "Chassis Power is off");

    assert!(wipefs(&rack.path("virtio.raw")).is_empty());
    let after = std::fs::read(rack.path("virtio.raw")).expect("the disk file");
    let zero = |range: std::ops::Range<usize>| after[range].iter().all(|byte| *byte == 0);
    assert!(zero(0..2 << 20) && zero(after.len() - (2 << 20)..after.len()), "both ends are zero on the host");
    assert!(std::fs::read(rack.path("sata.raw")).expect("the disk file") == untouched, "the other disk is byte-identical");
    assert!(!rack.serial().contains("Kernel panic"));

    stop.cancel();
    runtime.block_on(running.join()).expect("no loop of bootd panicked");
}

async fn start_bootd(dir: &Path, desk: &Arc<StoryDesk>, stop: &CancellationToken) -> bootd::net::Running {
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
        dhcp: vec![DhcpListener { proxy: at(67), boot_server: at(4011), overhear: Some(at(68)), interface: Some("eth0".to_owned()) }],
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
    bootd::net::start(settings, Arc::clone(desk), images, tls, ca_pem, stop.clone()).await.expect("bootd's sockets")
}

fn certificates() -> (Arc<rustls::ServerConfig>, String) {
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec![BOOTD.to_owned()]).and_then(|leaf| leaf.signed_by(&key, &issuer)).expect("a certificate");
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key that was just made");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key))
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
    What::Erase(AgentErase { disks: vec![disk], nonce: b"nonce of the story".to_vec() })
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
    disks.iter().find(|disk| disk.serial == serial).unwrap_or_else(|| panic!("no disk {serial} among {disks:#?}")).clone()
}

fn wipefs(path: &Path) -> String {
    let out = Command::new("wipefs").args(["--noheadings"]).arg(path).output().expect("wipefs runs");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
