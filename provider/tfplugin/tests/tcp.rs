//! The transport of systems without unix sockets, tried here: a loopback port that only the pinned host gets into.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
#[path = "toy/life.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod life;
mod toy;
#[path = "toy/value.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod value;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use host::Host;
use life::{Can, Known};
use rustls_pki_types::ServerName;
use serde_json::json;
use tfplugin::kit::{Engine, Plugin, Workspace};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use toy::port;

const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

fn plugin() -> Command {
    let mut command = Command::new(toy::binary());
    command
        .env("TF_PLUGIN_MAGIC_COOKIE", COOKIE)
        .env("PLUGIN_PROTOCOL_VERSIONS", "6")
        .envs(port::VARIABLES)
        .env_remove("PLUGIN_CLIENT_CERT")
        .stdout(Stdio::piped());
    command
}

#[test]
fn a_port_is_not_opened_without_encryption() {
    let run = plugin().output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(run.stdout, b"");
    insta::assert_snapshot!(String::from_utf8(run.stderr).unwrap(), @r"
    The plugin would be reached over a port of this machine, and the host shows no certificate that tells it from others.

    Hint: unset TF_DISABLE_PLUGIN_TLS.
    ");
}

#[tokio::test]
async fn another_user_of_the_machine_is_refused() {
    let host = port::Identity::new().pem;
    let mut process = plugin().env("PLUGIN_CLIENT_CERT", host).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let parts: Vec<_> = line.trim_end().split('|').collect();
    assert_eq!(parts[..3], ["1", "6", "tcp"]);
    let (address, port) = parts[3].split_once(':').unwrap();
    assert_eq!(address, "127.0.0.1");
    assert!((20_000..30_000).contains(&port.parse::<u16>().unwrap()));

    let stream = TcpStream::connect(parts[3]).await.unwrap();
    let localhost = ServerName::try_from("localhost").unwrap();
    // TLS 1.3 lets a client finish before the server has refused it: the refusal is what it reads first.
    let refused = match port::tls(parts[5], None).connect(localhost, stream).await {
        Ok(mut stream) => stream.read_u8().await.unwrap_err().to_string(),
        Err(refused) => refused.to_string(),
    };
    assert!(refused.contains("CertificateRequired"), "{refused}");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[tokio::test]
async fn a_life_over_a_port() {
    let mut host = Host::over_a_port().await;
    let config = json!({ "name": "a", "text": "over a port" });
    let made = host.make("toy_mark", &Known::default(), &config).await;
    assert_eq!(host.files(), ["main.a.mark"]);
    let read = host.refresh(Can::Much, "toy_mark", &made).await;
    assert_eq!((&read.state, &*read.said), (&made.state, ""));
    host.stop().await;
    host.shut_down().await;
}

/// The host's half is the engines' own.
#[test]
fn real_engines_come_in_by_the_port() {
    let engines = Engine::on_path();
    if engines.is_empty() {
        eprintln!("SKIPPED: plugins over a port were not tried with a host: no engine on PATH");
    }
    for engine in engines {
        let home = tempfile::tempdir().unwrap();
        let toy = Plugin::new("test/toy", toy::binary());
        let mut space = Workspace::new(engine, &toy, home.path()).unwrap();
        space.set_env("TFPLUGIN_TRANSPORT", "tcp");
        space
            .write(&format!(
                "terraform {{\n  required_providers {{\n    toy = {{ source = \"test/toy\" }}\n  }}\n}}\n\
                 provider \"toy\" {{ directory = {:?} }}\n\
                 resource \"toy_thing\" \"t\" {{ name = \"over-a-port\" }}\n",
                space.dir()
            ))
            .unwrap();
        let _ = space.run(&["init", "-input=false"]).unwrap().ok();
        let _ = space
            .run(&["apply", "-auto-approve", "-input=false"])
            .unwrap()
            .ok();
        let again = space
            .run(&["plan", "-detailed-exitcode", "-input=false"])
            .unwrap();
        assert_eq!(again.code, Some(0), "{}", again.flat());
    }
}
