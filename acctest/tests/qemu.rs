//! The chain on a real machine: the real `bootd` driven through its API, its own BMC client against `ipmi_sim` which owns the
//! machine's power, OVMF's own PXE beside a foreign DHCP server, our proxyDHCP and TFTP, iPXE, our script, a distribution's kernel,
//! our agent as `/init`. A disk with a file system is refused to an install, then allowed and erased; the host looks at the files.
//!
//! Needs root (namespaces) and the tools of [`rack::missing`]; says so and skips where they are not. One machine, no second try.
//! Deliberately not here: Talos on this machine. Its install epoch is ended by the release once the erase is proven.

#[path = "../qemu/rack.rs"]
mod rack;
#[path = "../qemu/site.rs"]
mod site;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use metal_proto::metal::v1::watch_request::Subject;
use metal_proto::metal::v1::{
    Bmc, BmcProtocol, ClaimConfig, ClassConfig, ClusterFacts, Disk, ImageConfig, InstallDisk,
    Named, NodeConfig, Phase, PlanNodeRequest, PlanNodeResponse, PutClaimRequest, PutNodeRequest,
    PutServerRequest, Role, SecretsConfig, ServerConfig, Wipe, WipeDisks, WipeMethod, remark,
    wipe_disks,
};
use rack::{BMC, DISK_BYTES, MAC, Network, PASSWORD, Rack, SERIAL, UUID};
use site::{Site, detail};
use tonic::Code;

/// Set in the process that runs inside bootd's namespace: its directory, and the other namespace.
const INSIDE: &str = "METAL_QEMU_STORY";
const WHOLE_STORY: Duration = Duration::from_secs(300);
/// The server, its claim, its disks, and the Talos that is never started.
const SERVER: &str = "box";
const CLAIM: &str = "lab/cp-0";
const VIRTIO: &str = "virtio";
const SATA: &str = "sata";
const TALOS: &str = "v1.13.9";
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

/// The story as it runs: bootd and its operator, the rack, and since when.
struct Story {
    site: Site,
    rack: Rack,
    started: Instant,
}

fn story(dir: &Path, switch: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let rack = Rack::start(dir, switch);
    wait_for_bmc(&rack);
    runtime.block_on(async {
        let site = Site::start(dir).await;
        let started = Instant::now();
        Story {
            site,
            rack,
            started,
        }
        .run()
        .await;
    });
}

impl Story {
    async fn run(mut self) {
        let virtio_before = self.content(VIRTIO);
        let sata_before = self.content(SATA);
        self.boots_and_registers().await;
        let image = self.claims().await;
        self.refuses_foreign_data(&image).await;
        assert!(
            self.content(VIRTIO) == virtio_before && self.content(SATA) == sata_before,
            "a refused install writes nothing"
        );
        self.erases_what_is_allowed(&image).await;
        self.is_empty_on_the_host(VIRTIO);
        assert!(
            self.content(SATA) == sata_before,
            "the install leaves the other disk byte-identical"
        );
        self.gives_back().await;
        for disk in [VIRTIO, SATA] {
            self.is_empty_on_the_host(disk);
        }
        assert!(!self.rack.serial().contains("Kernel panic"));
        assert!(self.site.stop(), "bootd ends well on SIGTERM");
    }

    fn say(&self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.started.elapsed().as_secs_f32());
    }

    fn content(&self, disk: &str) -> Vec<u8> {
        std::fs::read(self.rack.path(&format!("{disk}.raw"))).expect("the disk file")
    }

    fn is_empty_on_the_host(&self, disk: &str) {
        assert_eq!(
            wipefs(&self.rack.path(&format!("{disk}.raw"))),
            "",
            "{disk}: wipefs finds nothing"
        );
        let content = self.content(disk);
        let ends = [&content[..2 << 20], &content[content.len() - (2 << 20)..]];
        assert!(
            ends.iter().all(|end| end.iter().all(|byte| *byte == 0)),
            "{disk}: both ends are zero on the host"
        );
    }

    async fn fails(&mut self, what: &str, why: &str) -> ! {
        let told: Vec<String> = self
            .site
            .timeline(SERVER)
            .await
            .into_iter()
            .map(|event| format!("{:>4} {:<6} {}", event.seq, event.source, event.text))
            .collect();
        panic!(
            "{what}: {why}\ntimeline:\n{}\nbootd:\n{}\nserial:\n{}",
            told.join("\n"),
            tail(&self.site.log()),
            tail(&self.rack.serial())
        );
    }

    /// Waits for a line of the timeline after another one; answers its number.
    async fn hears(&mut self, what: &str, after: u64, part: &str) -> u64 {
        match self.site.hear(SERVER, after, part).await {
            Some(event) => {
                self.say(what);
                event.seq
            }
            None => self.fails(what, &format!("{part:?} was never told")).await,
        }
    }

    async fn ends(&mut self, what: &str, subject: Subject) {
        match self.site.outcome(subject).await {
            Ok(()) => self.say(what),
            Err(why) => self.fails(what, &why).await,
        }
    }

    async fn boots_and_registers(&mut self) {
        let config = ServerConfig {
            name: SERVER.to_owned(),
            mac: MAC.to_owned(),
            bmc: Some(Bmc {
                address: BMC.to_owned(),
                protocol: BmcProtocol::Ipmi.into(),
                username: "admin".to_owned(),
                ..Bmc::default()
            }),
            accepted: true,
            inspect: true,
            ..ServerConfig::default()
        };
        let declared = self.site.api.put_server(PutServerRequest {
            config: Some(config),
            bmc_password: PASSWORD.to_owned(),
        });
        declared.await.expect("the server is declared");
        self.ends(
            "the agent registered",
            Subject::ServerInspected(SERVER.to_owned()),
        )
        .await;
        let told = self.site.timeline(SERVER).await;
        let sources: Vec<&str> = told.iter().map(|event| event.source.as_str()).collect();
        for source in ["bmc", "dhcp", "tftp", "http", "agent"] {
            assert!(sources.contains(&source), "no line of {source}: {told:#?}");
        }
        for part in [
            "boot file snponly.efi requested",
            "boot file snponly.efi served",
        ] {
            let is_told = told.iter().any(|event| event.text.contains(part));
            assert!(is_told, "{part:?} was never told: {told:#?}");
        }
        let status = self.site.status(SERVER).await;
        let hardware = status.hardware.expect("an inspected server has hardware");
        assert_eq!(
            (
                hardware.uuid.as_str(),
                hardware.serial.as_str(),
                hardware.product.as_str()
            ),
            (UUID, SERIAL, "RackVM")
        );
        let macs: Vec<&str> = hardware.nics.iter().map(|nic| nic.mac.as_str()).collect();
        assert_eq!(macs, [MAC]);
        for (name, wwid) in [(VIRTIO, ""), (SATA, "naa.5000c50015ea7100")] {
            let disk = disk(&hardware.disks, name);
            assert_eq!(
                (disk.signatures.join(" "), disk.bytes, disk.blank),
                ("ext4".to_owned(), DISK_BYTES, false)
            );
            assert_eq!(disk.wwid, wwid, "{name}");
        }
    }

    /// Answers the image's id.
    async fn claims(&mut self) -> String {
        let class = ClassConfig {
            name: "any".to_owned(),
            ..ClassConfig::default()
        };
        self.site.api.put_class(class).await.expect("a class");
        let secrets = SecretsConfig {
            name: "lab".to_owned(),
            talos_version: TALOS.to_owned(),
            ..SecretsConfig::default()
        };
        self.site.api.put_secrets(secrets).await.expect("secrets");
        let image = ImageConfig {
            name: "plain".to_owned(),
            talos_version: TALOS.to_owned(),
            arch: "amd64".to_owned(),
            ..ImageConfig::default()
        };
        let image = self.site.api.put_image(image).await.expect("an image");
        let image = image.into_inner().id;
        self.ends("the image is cached", Subject::ImageCached(image.clone()))
            .await;
        let claim = self.site.api.put_claim(claim(&[])).await.expect("a claim");
        assert_eq!(claim.into_inner().server_id, SERVER);
        self.say("claimed");
        image
    }

    async fn plan(&mut self, image: &str) -> PlanNodeResponse {
        let request = PlanNodeRequest {
            config: Some(node(image)),
            ..PlanNodeRequest::default()
        };
        self.site
            .api
            .plan_node(request)
            .await
            .expect("a node can be planned")
            .into_inner()
    }

    async fn refuses_foreign_data(&mut self, image: &str) {
        let plan = self.plan(image).await;
        let remarked: Vec<(remark::Severity, String, String)> = plan
            .remarks
            .iter()
            .map(|remark| {
                let what = remark.what.clone().unwrap_or_default();
                (remark.severity(), what.reason, what.hint)
            })
            .collect();
        let hint = format!(
            "to erase it, set allow_wipe = [\"{SERIAL}-{VIRTIO}\"] on the metal_server_claim; else choose another install_disk"
        );
        assert_eq!(
            remarked,
            [(
                remark::Severity::Error,
                "foreign-data".to_owned(),
                hint.clone()
            )]
        );
        let targets: Vec<(&str, &str)> = plan
            .wipe_targets
            .iter()
            .map(|target| (target.serial.as_str(), target.content.as_str()))
            .collect();
        assert_eq!(
            targets,
            [(format!("{SERIAL}-{VIRTIO}").as_str(), "ext4")],
            "the plan shows what the install would destroy"
        );
        let request = PutNodeRequest {
            config: Some(node(image)),
            expected_wipe_targets: plan.wipe_targets,
        };
        let refused = self.site.api.put_node(request).await;
        let refused = refused.expect_err("nothing allows to erase it");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let why = detail(&refused);
        assert_eq!((why.reason.as_str(), why.hint), ("foreign-data", hint));
        assert!(why.detail.contains("ext4"), "{}", why.detail);
        let status = self.site.status(SERVER).await;
        assert_eq!(status.phase(), Phase::Available, "{}", status.reason);
        self.say("an install onto the ext4 disk is refused");
    }

    async fn erases_what_is_allowed(&mut self, image: &str) {
        let serial = format!("{SERIAL}-{VIRTIO}");
        let allowed = self.site.api.put_claim(claim(&[&serial])).await;
        assert_eq!(allowed.expect("the same claim").into_inner().generation, 1);
        let plan = self.plan(image).await;
        assert_eq!(plan.remarks, [], "nothing stands in the way any more");
        let before = self.site.timeline(SERVER).await;
        let after = before.last().map_or(0, |event| event.seq);
        let request = PutNodeRequest {
            config: Some(node(image)),
            expected_wipe_targets: plan.wipe_targets,
        };
        self.site.api.put_node(request).await.expect("allowed now");
        self.say("the same install is accepted with allow_wipe");
        let ordered = self
            .hears("the erase is ordered", after, "ordered to erase")
            .await;
        self.hears("the erase is proven", ordered, "every proof is right")
            .await;
        let told = self.site.timeline(SERVER).await;
        let orders: Vec<&str> = told
            .iter()
            .filter(|event| event.text.starts_with("ordered to erase"))
            .map(|event| event.text.as_str())
            .collect();
        assert_eq!(
            orders,
            [format!("ordered to erase {serial}")],
            "one order, for one disk"
        );
    }

    /// `wipe = { method = "quick", disks = "all" }`: the release, and only it, takes the other disk too.
    async fn gives_back(&mut self) {
        let named = Named {
            name: CLAIM.to_owned(),
        };
        self.site.api.release_claim(named).await.expect("a release");
        self.say("the claim is released");
        self.ends(
            "the claim is gone",
            Subject::ClaimReleased(CLAIM.to_owned()),
        )
        .await;
        let status = self.site.status(SERVER).await;
        assert_eq!(
            (status.phase(), status.claim.as_str(), status.dirty),
            (Phase::Available, "", false)
        );
        let hardware = status.hardware.expect("an inspected server has hardware");
        assert!(
            hardware.disks.iter().all(|disk| disk.blank),
            "the last look found blank disks: {:#?}",
            hardware.disks
        );
        let until = Instant::now() + STEP;
        while self.rack.is_on() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if self.rack.is_on() {
            self.fails("power", "a free machine is still on").await;
        }
        assert_eq!(
            self.rack.ipmi("chassis power status"),
            "Chassis Power is off"
        );
        self.say("the machine is free, blank and off");
    }
}

fn claim(allow_wipe: &[&str]) -> PutClaimRequest {
    let config = ClaimConfig {
        name: CLAIM.to_owned(),
        server_class_id: "any".to_owned(),
        wipe: Some(Wipe {
            method: WipeMethod::Quick.into(),
            disks: Some(WipeDisks {
                which: Some(wipe_disks::Which::All(true)),
            }),
        }),
        allow_wipe: allow_wipe.iter().map(|disk| (*disk).to_owned()).collect(),
        ..ClaimConfig::default()
    };
    PutClaimRequest {
        config: Some(config),
        ..PutClaimRequest::default()
    }
}

fn node(image: &str) -> NodeConfig {
    NodeConfig {
        cluster: Some(ClusterFacts {
            name: "lab".to_owned(),
            secrets_id: "lab".to_owned(),
            endpoint: "https://10.77.0.20:6443".to_owned(),
            kubernetes_version: "1.34.1".to_owned(),
            ..ClusterFacts::default()
        }),
        name: "cp-0".to_owned(),
        hostname: "cp-0".to_owned(),
        role: Role::Controlplane.into(),
        server_id: SERVER.to_owned(),
        image_id: image.to_owned(),
        install_disk: Some(InstallDisk {
            serial: format!("{SERIAL}-{VIRTIO}"),
            ..InstallDisk::default()
        }),
        ..NodeConfig::default()
    }
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
