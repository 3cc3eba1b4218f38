//! The simulated rack: foreign tools at its BMC, its firmware against a boot server of a few lines, its command line.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod rack_double;

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use acctest::bmc::BootFlags;
use acctest::rack::Rack;
use acctest::rack::control::{self, Ask};
use acctest::rack::fault::{Fault, Order};
use acctest::rack::machine::Machine;
use metal_proto::metal::v1::agent_order::What;
use metal_proto::metal::v1::{
    AgentEnd, AgentErase, AgentOrder, AgentReport, AgentResult, EraseDisk, EraseScope,
};
use prost::Message;
use rack_double::{Double, rack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What the agent said: path, token, body.
type Said = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

/// bootd's HTTPS as the agent sees it, with a CA of its own. Orders come in turn.
struct AgentServer {
    address: std::net::SocketAddr,
    ca_pem: String,
    said: Said,
}

impl AgentServer {
    async fn start(orders: fn(usize, &[u8]) -> AgentOrder) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = rcgen::Issuer::new(params.clone(), &key);
        let ca_pem = params.self_signed(&key).unwrap().pem();
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &ca).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(leaf_key.serialize_der());
        let config =
            rustls::ServerConfig::builder_with_provider(acctest::talosnode::tls::provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![leaf.der().clone()], key.into())
                .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, said) = (listener.local_addr().unwrap(), Said::default());
        let heard = Arc::clone(&said);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, heard) = (acceptor.clone(), Arc::clone(&heard));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        drop(talk(stream, &heard, orders).await);
                    }
                });
            }
        });
        Self {
            address,
            ca_pem,
            said,
        }
    }

    /// The archive that carries the agent's identity, and a script that boots it.
    fn serve_on(&self, double: &Double) {
        let mut image = Vec::new();
        for (name, content) in [
            ("init", b"\x7fELF".as_slice()),
            ("metal/ca.pem", self.ca_pem.as_bytes()),
        ] {
            let size = u32::try_from(content.len()).unwrap();
            let mut writer = cpio::NewcBuilder::new(name)
                .mode(0o100_755)
                .write(&mut image, size);
            writer.write_all(content).unwrap();
            writer.finish().unwrap();
        }
        cpio::newc::trailer(&mut image).unwrap();
        double.file("/vmlinuz", "MZ linux");
        double.file("/agent.img", zstd::encode_all(image.as_slice(), 1).unwrap());
        double.file(
            "/script",
            format!(
                "#!ipxe\nkernel vmlinuz initrd=agent.img rdinit=/init metal.url=https://{} metal.token=secret0 metal.mac=${{net0/mac}}\ninitrd agent.img\nboot\n",
                self.address
            ),
        );
    }
}

/// HTTP/1.1 in its smallest form.
async fn talk(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    said: &Said,
    orders: fn(usize, &[u8]) -> AgentOrder,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = text
            .lines()
            .find_map(|l| l.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        while bytes.len() < head + 4 + length {
            stream.read_buf(&mut bytes).await?;
        }
        let path = text.split(' ').nth(1).unwrap().to_owned();
        let token = text
            .lines()
            .find_map(|l| l.strip_prefix("authorization: bearer "))
            .unwrap_or("")
            .to_owned();
        let body = bytes[head + 4..head + 4 + length].to_vec();
        bytes.drain(..head + 4 + length);
        let number = {
            let mut said = said.lock().unwrap();
            said.push((path, token, body.clone()));
            said.len()
        };
        let order = orders(number, &body).encode_to_vec();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            order.len()
        );
        stream
            .write_all(&[head.as_bytes(), &order].concat())
            .await?;
    }
}

fn power_off(_: usize, _: &[u8]) -> AgentOrder {
    AgentOrder {
        number: 1,
        what: Some(What::PowerOff(AgentEnd {})),
    }
}

/// First erases every disk of the report, then turns the machine off.
fn erase_then_off(number: usize, body: &[u8]) -> AgentOrder {
    if number > 1 {
        return AgentOrder {
            number: 2,
            what: Some(What::PowerOff(AgentEnd {})),
        };
    }
    let report = AgentReport::decode(body).unwrap();
    let disks = report.hardware.unwrap().disks.into_iter();
    let erase = |disk: metal_proto::metal::v1::Disk| EraseDisk {
        serial: disk.serial,
        wwid: disk.wwid,
        bytes: disk.bytes,
        fingerprint: disk.fingerprint,
        scope: EraseScope::Quick.into(),
        probe_offsets: vec![0, 4096],
    };
    let erase = AgentErase {
        disks: disks.map(erase).collect(),
        nonce: vec![7; 16],
    };
    AgentOrder {
        number: 1,
        what: Some(What::Erase(erase)),
    }
}

fn ipmitool(machine: &Machine, suite: &str, words: &[&str]) -> Option<Output> {
    let bmc = machine.plan.bmc.as_ref().unwrap();
    let (host, port) = (bmc.address.ip().to_string(), bmc.address.port().to_string());
    let fixed = [
        "-I",
        "lanplus",
        "-N",
        "2",
        "-C",
        suite,
        "-H",
        &host,
        "-p",
        &port,
        "-U",
        &bmc.username,
        "-P",
        &bmc.password,
    ];
    match Command::new("ipmitool").args(fixed).args(words).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: ipmitool: {error}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipmitool_powers_a_machine_and_the_agent_reports() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    let server = AgentServer::start(power_off).await;
    server.serve_on(&double);
    let rack = rack(dir.path(), "[[server]]\nname = \"a\"\n", &double).await;
    let machine = rack.machine("a").unwrap();
    for (suite, words) in [
        ("17", "chassis bootdev pxe options=efiboot"),
        ("3", "power on"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let Some(output) = tokio::task::block_in_place(|| ipmitool(machine, suite, &words)) else {
            return;
        };
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    double
        .wait(machine, "the agent's end", |_| {
            (machine.status().power == "off").then_some(())
        })
        .await;
    let said = server.said.lock().unwrap().clone();
    assert_eq!(
        (said[0].0.as_str(), said[0].1.as_str()),
        ("/agent/report", "secret0")
    );
    let report = AgentReport::decode(said[0].2.as_slice()).unwrap();
    assert_eq!(report.mac, machine.plan.mac_text());
    let hardware = report.hardware.unwrap();
    assert_eq!(
        (hardware.uuid, hardware.memory_bytes, hardware.cpu_threads),
        (machine.plan.uuid.clone(), 16 << 30, 8)
    );
    assert_eq!(hardware.disks[0].serial, machine.plan.disks[0].serial);
    assert!(hardware.disks[0].blank);

    // What OVMF and then iPXE would have sent, relayed.
    let seen = double.seen.lock().unwrap();
    let rom = &seen.dhcp[0];
    assert_eq!(rom.giaddr, Some(machine.plan.address));
    assert_eq!(rom.text(60).unwrap(), "PXEClient:Arch:00007:UNDI:003000");
    assert_eq!(
        (&rom.options[&93], rom.options[&97].len()),
        (&vec![0, 7], 17)
    );
    assert!(!rom.options.contains_key(&77));
    let ipxe = seen
        .dhcp
        .iter()
        .find(|d| d.options.contains_key(&77))
        .unwrap();
    assert_eq!(
        (ipxe.text(77).unwrap(), ipxe.kind()),
        ("iPXE".to_owned(), Some(1))
    );
    assert!(ipxe.options.contains_key(&175) && seen.binl.is_empty());
    assert!(
        seen.requests[0].starts_with("/script\n") && seen.requests[0].contains("user-agent: iPXE/")
    );
    assert_eq!(machine.status().seen.counts.agent_boots, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bios_asks_port_4011_over_a_bad_cable_and_the_agent_erases() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    double.seen.lock().unwrap().without_43 = true;
    let server = AgentServer::start(erase_then_off).await;
    server.serve_on(&double);
    let rack = rack(
        dir.path(),
        "[[server]]\nname = \"a\"\nfirmware = \"bios\"\n",
        &double,
    )
    .await;
    let machine = rack.machine("a").unwrap();
    let seed = Ask::SeedDisk {
        server: "a".to_owned(),
        disk: "0".to_owned(),
        with: "talos-state".to_owned(),
    };
    control::answer(&rack, &seed).await.unwrap();
    machine.apply_fault(Order::Set(Fault::Drop, 5));
    machine.apply_fault(Order::Set(Fault::Duplicate, 7));
    machine.turn_on(BootFlags::NONE);
    double
        .wait(machine, "the erase", |_| {
            (machine.status().power == "off").then_some(())
        })
        .await;
    assert_eq!(
        double.seen.lock().unwrap().binl[0].text(60).unwrap(),
        "PXEClient:Arch:00000:UNDI:002001"
    );
    let said = server.said.lock().unwrap().clone();
    let result = said
        .iter()
        .find(|(path, ..)| path == "/agent/result")
        .unwrap();
    let result = AgentResult::decode(result.2.as_slice()).unwrap();
    assert_eq!(
        (result.refused.as_str(), result.disks[0].failed.as_str()),
        ("", "")
    );
    let disks = control::answer(&rack, &Ask::Disks).await.unwrap();
    assert_eq!(disks["servers"][0]["disks"][0]["blank"], true, "{disks}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_can_leave_to_the_disk_or_be_wrong() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    let rack = rack(dir.path(), "[[server]]\nname = \"a\"\n", &double).await;
    let machine = rack.machine("a").unwrap();
    double.file("/script", "#!ipxe\nmenu Choose\n");
    machine.turn_on(BootFlags::NONE);
    let error = || {
        machine
            .status()
            .seen
            .last_error
            .filter(|e| e.contains("outside of the subset"))
    };
    double.wait(machine, "the wrong verb", |_| error()).await;
    double.file("/script", "#!ipxe\nexit 1\n");
    double
        .wait(machine, "the next device", |_| {
            machine
                .status()
                .seen
                .console
                .iter()
                .any(|l| l == "iPXE ended with status 1")
                .then_some(())
        })
        .await;
    double.file("/script", "#!ipxe\nexit\n");
    double
        .wait(machine, "the firmware menu", |_| {
            (machine.status().seen.stage == "stuck").then_some(())
        })
        .await;
    machine.cut();
    machine.apply_fault(Order::Set(Fault::NoDhcp, 1));
    machine.settled().await;
    let before = double.seen.lock().unwrap().dhcp.len();
    machine.turn_on(BootFlags::NONE);
    double
        .wait(machine, "no device", |_| {
            machine
                .status()
                .seen
                .last_error
                .filter(|e| e == "no DHCP offer with an address")
        })
        .await;
    assert_eq!(double.seen.lock().unwrap().dhcp.len(), before);
    rack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_bmc_reach_ipmitool() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    let rack: Rack = rack(
        dir.path(),
        "[bmc]\nusername = \"root\"\npassword = \"calvin\"\n[[server]]\nname = \"a\"\n",
        &double,
    )
    .await;
    let machine = rack.machine("a").unwrap();
    let status = || tokio::task::block_in_place(|| ipmitool(machine, "17", &["power", "status"]));
    let Some(output) = status() else {
        return;
    };
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "Chassis Power is off\n"
    );
    machine.apply_fault(Order::Set(Fault::BmcLiesOn, 1));
    assert_eq!(
        String::from_utf8_lossy(&status().unwrap().stdout),
        "Chassis Power is on\n"
    );
    machine.apply_fault(Order::Set(Fault::BmcRefusesLogin, 1));
    assert!(!status().unwrap().status.success());
    machine.apply_fault(Order::Clear);
    assert!(status().unwrap().status.success());
}

fn run(words: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rack"))
        .args(words)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn up(dir: &str) -> std::process::Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rack"))
        .args(["up", "--dir", dir, "--servers", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(120));
    let dir = long.to_str().unwrap();
    assert!(run(&["status", "--dir", dir]).1.contains("no rack runs in"));
    let mut child = up(dir);
    let json = || {
        serde_json::from_str::<serde_json::Value>(
            &std::fs::read_to_string(Path::new(dir).join("rack.json")).unwrap(),
        )
        .unwrap()
    };
    let first = json();
    let server = &first["servers"][0];
    for key in [
        "name", "uuid", "serial", "macs", "bmc", "disks", "state", "address",
    ] {
        assert!(!server[key].is_null(), "{key}");
    }
    assert!(
        first["factory"]
            .as_str()
            .unwrap()
            .starts_with("http://127.")
    );
    let good = |words: &[&str]| {
        let (done, text) = run(words);
        assert!(done, "{words:?}: {text}");
        text
    };
    assert!(good(&["disks", "--dir", dir]).contains("blank"));
    good(&["seed-disk", dir, "server-1", "0", "lvm"]);
    let disks: serde_json::Value =
        serde_json::from_str(&good(&["disks", "--dir", dir, "--json"])).unwrap();
    assert_eq!(
        disks["servers"][0]["disks"][0]["signatures"],
        serde_json::json!(["lvm2"])
    );
    good(&["power", dir, "server-1", "on"]);
    good(&["fault", dir, "server-2", "drop=3"]);
    let status: serde_json::Value =
        serde_json::from_str(&good(&["status", "--dir", dir, "--json"])).unwrap();
    assert_eq!(status["servers"][0]["power"], "on");
    assert_eq!(
        status["servers"][1]["faults"],
        serde_json::json!(["drop=3"])
    );
    let (done, text) = run(&["seed-disk", dir, "server-1", "0", "lvm"]);
    assert!(
        !done && text.contains("seed disks while it is off"),
        "{text}"
    );
    good(&["power", dir, "server-1", "pull"]);
    let capture = Path::new(dir).join("c.pcap");
    good(&["pcap", dir, capture.to_str().unwrap()]);
    assert_eq!(
        std::fs::read(capture).unwrap()[..4],
        0xa1b2_c3d4_u32.to_le_bytes()
    );
    assert!(good(&["fault", "--list"]).contains("never-installs"));
    assert!(!run(&["fault", dir, "server-1", "gremlins"]).0);
    good(&["down", dir]);
    assert!(child.wait().unwrap().success());
    // The same directory gives the same machines, and keeps what was on their disks.
    let mut child = up(dir);
    let again = json();
    assert_eq!(again["servers"][0]["uuid"], first["servers"][0]["uuid"]);
    assert_eq!(again["servers"][0]["bmc"], first["servers"][0]["bmc"]);
    assert!(good(&["disks", "--dir", dir]).contains("lvm2"));
    good(&["down", dir]);
    assert!(child.wait().unwrap().success());
}
