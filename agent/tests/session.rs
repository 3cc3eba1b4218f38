//! The agent against a server of the agent protocol over real TLS: what it sends, what it obeys, when it stops.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod machine;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use machine::Machine;
use metal_agent::{Access, BootParameters, DiskFacts, Outcome, Platform, run};
use metal_proto::metal::v1::agent_order::What;
use metal_proto::metal::v1::{
    AgentEnd, AgentErase, AgentOrder, AgentReport, AgentResult, AgentWait, EraseDisk, EraseScope,
    Hardware,
};
use prost::Message;

/// One request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    from: IpAddr,
    authorization: String,
    body: Vec<u8>,
}

/// What the server answers to a request, given all requests so far (this one included).
type Script = dyn Fn(&[Seen]) -> (u16, AgentOrder) + Send + Sync;

struct Server {
    address: SocketAddr,
    ca_pem: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// A poll has arrived.
    polled: Arc<AtomicBool>,
}

fn serve(script: Box<Script>) -> Server {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server {
        address: listener.local_addr().unwrap(),
        ca_pem: ca_certificate.pem(),
        seen: Arc::default(),
        polled: Arc::default(),
    };
    let polled = Arc::clone(&server.polled);
    let seen = Arc::clone(&server.seen);
    std::thread::spawn(move || {
        let tls = Arc::new(tls);
        for socket in listener.incoming().flatten() {
            let from = socket.peer_addr().unwrap().ip();
            let session = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, socket);
            // A client that does not trust us never gets as far as a request.
            let Some(request) = read_request(&mut stream, from) else {
                continue;
            };
            polled.fetch_or(request.line.starts_with("GET"), Ordering::SeqCst);
            let (status, order) = {
                let mut seen = seen.lock().unwrap();
                seen.push(request);
                script(&seen)
            };
            let body = order.encode_to_vec();
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    server
}

fn read_request(stream: &mut impl Read, from: IpAddr) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&chunk[..n]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let header = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
        };
        let length: usize = header("Content-Length:").map_or(0, |value| value.parse().unwrap());
        if bytes.len() >= end + 4 + length {
            return Some(Seen {
                line: head.lines().next().unwrap().to_owned(),
                from,
                authorization: header("Authorization:").unwrap_or_default(),
                body: bytes[end + 4..].to_vec(),
            });
        }
    }
}

fn boot(server: &Server) -> BootParameters {
    let line = format!(
        "quiet metal.url=https://{} metal.token=t0ken metal.mac=52:54:00:00:00:01",
        server.address
    );
    BootParameters::parse(
        &line,
        server.ca_pem.clone(),
        Some("127.5.6.7".parse().unwrap()),
    )
    .unwrap()
}

fn end(what: fn(AgentEnd) -> What, number: u64) -> AgentOrder {
    AgentOrder {
        number,
        what: Some(what(AgentEnd {})),
    }
}

fn wait() -> AgentOrder {
    AgentOrder {
        number: 0,
        what: Some(What::Wait(AgentWait { seconds_max: 60 })),
    }
}

fn lines(server: &Server) -> Vec<String> {
    server
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|seen| seen.line.clone())
        .collect()
}

fn ext4_machine() -> Machine {
    let machine = Machine::new();
    let path = machine.drive("A", 16);
    assert!(
        Command::new("mkfs.ext4")
            .args(["-q", "-F"])
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
    machine
}

/// An erase of the disk that the first request of the run reported.
fn erase_order(number: u64, seen: &[Seen]) -> AgentOrder {
    let report = AgentReport::decode(seen[0].body.as_slice()).unwrap();
    let disk = &report.hardware.unwrap().disks[0];
    let erase = EraseDisk {
        serial: disk.serial.clone(),
        bytes: disk.bytes,
        fingerprint: disk.fingerprint.clone(),
        scope: EraseScope::Quick.into(),
        ..EraseDisk::default()
    };
    AgentOrder {
        number,
        what: Some(What::Erase(AgentErase {
            disks: vec![erase],
            nonce: b"n".to_vec(),
        })),
    }
}

#[test]
fn reports_waits_erases_and_powers_off() {
    let machine = ext4_machine();
    let server = serve(Box::new(|seen| match seen.len() {
        1 => (503, wait()),
        2 => (200, wait()),
        3 => (200, erase_order(1, seen)),
        4 | 5 => (200, wait()),
        _ => (200, end(What::PowerOff, 2)),
    }));
    assert_eq!(run(&machine, &boot(&server)), Outcome::PowerOff);
    assert_eq!(
        lines(&server),
        [
            "POST /agent/report HTTP/1.1",
            "POST /agent/report HTTP/1.1",
            "GET /agent/order?after=0 HTTP/1.1",
            "POST /agent/result HTTP/1.1",
            "POST /agent/report HTTP/1.1",
            "GET /agent/order?after=0 HTTP/1.1",
        ]
    );
    let seen = server.seen.lock().unwrap();
    for request in seen.iter() {
        assert_eq!(request.authorization, "Bearer t0ken");
        assert_eq!(
            request.from.to_string(),
            "127.5.6.7",
            "connections leave from the address asked for"
        );
    }
    let report = AgentReport::decode(seen[4].body.as_slice()).unwrap();
    assert_eq!(
        (report.sent_sequence, report.mac.as_str()),
        (2, "52:54:00:00:00:01")
    );
    assert!(report.hardware.unwrap().disks[0].blank);
    let result = AgentResult::decode(seen[3].body.as_slice()).unwrap();
    assert_eq!(
        (
            result.order,
            result.refused.as_str(),
            result.disks[0].failed.as_str()
        ),
        (1, "", "")
    );
    assert!(
        !machine
            .console
            .borrow()
            .iter()
            .any(|line| line.contains("t0ken")),
        "no secret on the console"
    );
}

#[test]
fn an_order_is_carried_out_once_however_often_it_comes() {
    let machine = ext4_machine();
    let server = serve(Box::new(|seen| {
        let results = seen.iter().filter(|s| s.line.contains("result")).count();
        if results < 2 {
            (200, erase_order(5, seen))
        } else {
            (200, end(What::Reboot, 6))
        }
    }));
    assert_eq!(run(&machine, &boot(&server)), Outcome::Reboot);
    let seen = server.seen.lock().unwrap();
    let results: Vec<_> = seen
        .iter()
        .filter(|s| s.line.contains("result"))
        .map(|s| s.body.clone())
        .collect();
    assert_eq!(results.len(), 2);
    assert_eq!(
        results[0], results[1],
        "the second time it repeats the result; carrying it out again would be refused"
    );
}

#[test]
fn a_refused_token_ends_it_before_anything_is_written() {
    let machine = ext4_machine();
    let before = machine.report();
    let server = serve(Box::new(|_| (401, AgentOrder::default())));
    assert_eq!(run(&machine, &boot(&server)), Outcome::PowerOff);
    assert_eq!(lines(&server).len(), 1);
    assert_eq!(machine.report(), before);
}

#[test]
fn a_server_of_another_ca_hears_nothing() {
    let machine = Machine::new();
    let impostor = serve(Box::new(|_| (200, end(What::PowerOff, 1))));
    let ours = serve(Box::new(|_| (200, end(What::PowerOff, 1))));
    let mut boot = boot(&impostor);
    boot.ca_pem.clone_from(&ours.ca_pem);
    let machine = Pluggable {
        machine,
        alive: Box::new(|machine| {
            !machine
                .console
                .borrow()
                .iter()
                .any(|line| line.contains("trying again"))
        }),
    };
    assert_eq!(run(&machine, &boot), Outcome::Cut);
    assert!(
        lines(&impostor).is_empty(),
        "neither token nor report was sent"
    );
    let console = machine.machine.console.borrow().join("\n");
    assert!(
        console.contains("no connection to bootd: invalid peer certificate"),
        "{console}"
    );
}

/// A machine whose plug is pulled when a condition holds.
struct Pluggable {
    machine: Machine,
    alive: Box<dyn Fn(&Machine) -> bool>,
}

impl Platform for Pluggable {
    type Disk = machine::OpenDrive;

    fn hardware(&self) -> Hardware {
        self.machine.hardware()
    }

    fn disks(&self) -> std::io::Result<Vec<DiskFacts>> {
        self.machine.disks()
    }

    fn open(&self, disk: &DiskFacts, access: Access) -> std::io::Result<machine::OpenDrive> {
        self.machine.open(disk, access)
    }

    fn alive(&self) -> bool {
        (self.alive)(&self.machine)
    }

    fn log(&self, line: &str) {
        self.machine.log(line);
    }
}

#[test]
fn a_pulled_plug_ends_it_in_the_middle_of_a_poll() {
    let machine = Machine::new();
    machine.drive("A", 8);
    let server = serve(Box::new(|seen| {
        while seen.len() > 1 {
            // The poll is never answered.
            std::thread::park();
        }
        (200, wait())
    }));
    let polled = server.polled.clone();
    let machine = Pluggable {
        machine,
        alive: Box::new(move |_| !polled.load(Ordering::SeqCst)),
    };
    let started = std::time::Instant::now();
    assert_eq!(run(&machine, &boot(&server)), Outcome::Cut);
    assert!(
        started.elapsed().as_secs() < 30,
        "far sooner than the poll would have ended"
    );
}
