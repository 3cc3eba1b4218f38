//! Measures what `scripts/bench` prints: the budgets of today's slice, each beside what was seen in this run.
//!
//! Run it on release builds. It starts the real programs and looks at them from outside: wall time and `/proc`.
#![expect(clippy::print_stdout, reason = "it prints a table")]

mod codec;
mod configs;
mod plan;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use metal_proto::metal::v1::metal_client::MetalClient;
use metal_proto::metal::v1::{ListServersRequest, PutServerRequest, ServerConfig};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

/// Any error: the program only ever prints it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

const HANDSHAKES: usize = 21;
const SERVERS: u32 = 1_000;

fn main() -> Result<(), Failure> {
    let bin = std::env::current_exe()?
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    println!("{:<46} {:>10} {:>12}", "what", "budget", "measured");
    provider(&bin)?;
    values()?;
    configs::rows(&bin)?;
    plans(&bin);
    tokio::runtime::Runtime::new()?.block_on(bootd(&bin))
}

fn row(what: &str, budget: &str, measured: &str) {
    println!("{what:<46} {budget:>10} {measured:>12}");
}

/// Spawn to handshake line with AutoMTLS, and the memory of a provider that nobody talks to.
fn provider(bin: &Path) -> Result<(), Failure> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512)?;
    let certificate = rcgen::CertificateParams::new(vec!["localhost".into()])?
        .self_signed(&key)?
        .pem();
    let mut times = Vec::new();
    let (mut memory, mut anonymous) = (Vec::new(), Vec::new());
    for _ in 0..HANDSHAKES {
        let from = Instant::now();
        let mut child = Command::new(bin.join("terraform-provider-metal"))
            .env(
                "TF_PLUGIN_MAGIC_COOKIE",
                "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
            )
            .env("PLUGIN_PROTOCOL_VERSIONS", "6")
            .env("PLUGIN_CLIENT_CERT", &certificate)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        times.push(from.elapsed());
        if !line.starts_with("1|6|unix|") {
            return Err(format!("not a handshake: {line:?}").into());
        }
        memory.push(memory_kib(&child, "VmRSS")?);
        anonymous.push(memory_kib(&child, "RssAnon")?);
        child.kill()?;
        child.wait()?;
    }
    row(
        "provider: start to handshake, mTLS (median)",
        "≤ 10 ms",
        &format!("{:.1} ms", millis(median(&mut times))),
    );
    row(
        "provider: idle RSS (median)",
        "≤ 10 MiB",
        &format!("{:.1} MiB", mib(median(&mut memory))),
    );
    row(
        "provider: of it anonymous (median)",
        "",
        &format!("{:.1} MiB", mib(median(&mut anonymous))),
    );
    Ok(())
}

/// The SDK's codec.
fn values() -> Result<(), Failure> {
    let speed = codec::measure()?;
    let rate = |mb: f64| format!("{mb:.0} MB/s");
    #[expect(clippy::cast_precision_loss, reason = "about a megabyte")]
    let size = speed.bytes as f64 / f64::from(1 << 20);
    row(
        &format!("SDK: reading an object of {size:.1} MiB"),
        "≥ 200 MB/s",
        &rate(speed.read),
    );
    row("SDK: writing it", "≥ 200 MB/s", &rate(speed.write));
    row("SDK: reading its state (JSON)", "", &rate(speed.state));
    Ok(())
}

/// Plans of a thousand unchanged resources, ours beside one in Go. Without an engine there is none to measure.
fn plans(bin: &Path) {
    let toy = bin.join("examples/toy");
    let go = bin.with_file_name("peers").join("terraform-provider-time");
    let ours = "provider \"toy\" { directory = \"things\" }\n\
                resource \"toy_thing\" \"t\" {\n  count = 1000\n  name  = \"t${count.index}\"\n}";
    let theirs = "resource \"time_static\" \"t\" { count = 1000 }";
    for (what, source, binary, hcl, [cpu, memory]) in [
        ("SDK's toy", "test/toy", toy, ours, ["≤ 100 µs", "≤ 20 MiB"]),
        (
            "hashicorp/time (Go)",
            "hashicorp/time",
            go,
            theirs,
            ["", ""],
        ),
    ] {
        let subject = plan::Subject {
            source,
            binary: &binary,
            hcl,
        };
        match plan::measure(&subject) {
            Ok(cost) => {
                let micros = cost.micros_per_request;
                row(
                    &format!("{what}: CPU per resource RPC in a plan"),
                    cpu,
                    &format!("{micros} µs"),
                );
                row(
                    &format!("{what}: peak RSS, 1,000 resources"),
                    memory,
                    &format!("{:.1} MiB", mib(cost.peak_kib)),
                );
            }
            Err(why) => println!("SKIPPED: {what}: {why}"),
        }
    }
}

/// Start to serving, and the memory of a bootd that knows a thousand servers and has nothing to do.
async fn bootd(bin: &Path) -> Result<(), Failure> {
    let home = tempfile::tempdir()?;
    let dir = home.path();
    let done = Command::new(bin.join("bootd"))
        .args(["init", "--advertise", "127.0.0.1", "--dir"])
        .arg(dir)
        .stdout(Stdio::null())
        .status()?;
    if !done.success() {
        return Err("bootd init failed".into());
    }
    std::fs::write(dir.join("bootd.toml"), config(dir)?)?;
    let from = Instant::now();
    let mut child = Command::new(bin.join("bootd"))
        .args(["serve", "--config"])
        .arg(dir.join("bootd.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let out = BufReader::new(child.stdout.take().ok_or("no stdout")?);
    let ready = out
        .lines()
        .map_while(Result::ok)
        .any(|line| line.trim() == "ready");
    let start = from.elapsed();
    if !ready {
        return Err("bootd did not start".into());
    }
    let filled = fill(dir).await;
    // A minute of nothing would be truer; ten seconds show what stays allocated.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let memory = memory_kib(&child, "VmRSS");
    child.kill()?;
    child.wait()?;
    filled?;
    row(
        "bootd: start to serving",
        "≤ 200 ms",
        &format!("{:.0} ms", millis(start)),
    );
    row(
        "bootd: idle RSS with 1,000 servers",
        "≤ 40 MiB",
        &format!("{:.1} MiB", mib(memory?)),
    );
    Ok(())
}

fn config(dir: &Path) -> Result<String, Failure> {
    let ports: Vec<u16> = (0..8)
        .map(|_| {
            Ok(std::net::TcpListener::bind("127.0.0.1:0")?
                .local_addr()?
                .port())
        })
        .collect::<Result<_, std::io::Error>>()?;
    let bundle = std::fs::read_to_string(dir.join("admin.bundle"))?;
    std::fs::write(
        dir.join("admin.bundle"),
        bundle.replace("127.0.0.1:7443", &format!("127.0.0.1:{}", ports[0])),
    )?;
    for (file, text) in [("vmlinuz", "kernel"), ("initrd", "initrd")] {
        std::fs::write(dir.join(file), text)?;
    }
    let at = |i: usize| format!("127.0.0.1:{}", ports[i]);
    Ok(format!(
        "state_dir = {dir:?}\nadvertise = \"127.0.0.1\"\n[api]\nlisten = \"{}\"\n[netboot]\ndhcp = \"{}\"\npxe = \"{}\"\ntftp = \"{}\"\n\
         http = \"{}\"\nhttps = \"{}\"\nassets = {dir:?}\n[sinks]\nevents = \"{}\"\nkmsg = \"{}\"\n\
         [agent]\nkernel = {:?}\ninitrd = {:?}\n",
        at(0),
        at(1),
        at(2),
        at(3),
        at(4),
        at(5),
        at(6),
        at(7),
        dir.join("vmlinuz"),
        dir.join("initrd"),
    ))
}

async fn fill(dir: &Path) -> Result<(), Failure> {
    let bundle: toml::Table = std::fs::read_to_string(dir.join("admin.bundle"))?.parse()?;
    let text = |key: &str| {
        bundle
            .get(key)
            .and_then(toml::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(text("ca")))
        .identity(Identity::from_pem(text("certificate"), text("key")));
    let channel = Channel::from_shared(text("endpoint"))?
        .tls_config(tls)?
        .connect()
        .await?;
    let mut client = MetalClient::new(channel);
    for n in 0..SERVERS {
        let config = ServerConfig {
            name: format!("bench-{n:04}"),
            mac: format!("02:00:00:00:{:02x}:{:02x}", n >> 8, n & 0xff),
            accepted: true,
            ..ServerConfig::default()
        };
        client
            .put_server(PutServerRequest {
                config: Some(config),
                bmc_password: String::new(),
            })
            .await?;
    }
    let listed = client
        .list_servers(ListServersRequest::default())
        .await?
        .into_inner()
        .servers
        .len();
    if listed == SERVERS as usize {
        Ok(())
    } else {
        Err(format!("{listed} servers listed").into())
    }
}

fn memory_kib(child: &Child, what: &str) -> Result<u64, Failure> {
    let path = PathBuf::from(format!("/proc/{}/status", child.id()));
    let status = std::fs::read_to_string(path)?;
    Ok(status_kib(&status, what).ok_or_else(|| format!("no {what}"))?)
}

/// A line of a process's status, in KiB.
fn status_kib(status: &str, what: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix(what)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a memory size in KiB fits")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
