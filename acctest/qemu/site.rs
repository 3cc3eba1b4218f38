//! The real `bootd` in its namespace, and an operator who drives it through the API with the bundle that `bootd init` wrote.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acctest::rack::factory::Factory;
use acctest::site::program;
use metal_proto::metal::v1::metal_client::MetalClient;
use metal_proto::metal::v1::watch_request::Subject;
use metal_proto::metal::v1::{
    ErrorDetail, Named, ServerStatus, TimelineEvent, TimelineRequest, WatchRequest,
    progress::Outcome,
};
use prost::Message as _;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::rack;

/// Longest wait for anything.
const STEP: Duration = Duration::from_secs(90);

/// bootd as a child process, with an image factory beside it.
pub(crate) struct Site {
    dir: PathBuf,
    bootd: Child,
    /// bootd's API.
    pub(crate) api: MetalClient<Channel>,
}

impl Site {
    /// `bootd init`, `bootd serve`, and a connection with the operator's bundle.
    pub(crate) async fn start(dir: &Path) -> Self {
        let state = dir.join("bootd");
        let made = Command::new(program("bootd"))
            .args(["init", "--advertise", rack::BOOTD, "--dir"])
            .arg(&state)
            .stdout(Stdio::null())
            .status()
            .expect("bootd runs");
        assert!(made.success(), "bootd init");
        fs::write(
            state.join("bootd.toml"),
            configuration(&state, start_factory().await),
        )
        .expect("the story's directory is writable");
        let log = File::create(dir.join("bootd.log")).expect("a log can be made");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program("bootd"));
        let mut bootd = command
            .args(["serve", "--config"])
            .arg(state.join("bootd.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("bootd starts");
        let out = BufReader::new(bootd.stdout.take().expect("stdout is piped"));
        let ready = out
            .lines()
            .map_while(Result::ok)
            .any(|line| line.trim() == "ready");
        let said = fs::read_to_string(dir.join("bootd.log")).unwrap_or_default();
        assert!(ready, "bootd ended before it was ready: {said}");
        let api = connect(&state.join("admin.bundle")).await;
        Self {
            dir: dir.to_owned(),
            bootd,
            api,
        }
    }

    /// All that was told of the machine, oldest first.
    pub(crate) async fn timeline(&mut self, server: &str) -> Vec<TimelineEvent> {
        let request = TimelineRequest {
            server: server.to_owned(),
            ..TimelineRequest::default()
        };
        let mut stream = self
            .api
            .timeline(request)
            .await
            .expect("the server is declared")
            .into_inner();
        let mut events = Vec::new();
        while let Some(event) = stream.message().await.expect("the timeline") {
            events.push(event);
        }
        events
    }

    /// The newest event after `after` whose text contains `part`; follows the timeline until it comes.
    pub(crate) async fn hear(
        &mut self,
        server: &str,
        after: u64,
        part: &str,
    ) -> Option<TimelineEvent> {
        let request = TimelineRequest {
            server: server.to_owned(),
            follow: true,
            after_seq: after,
        };
        let mut stream = self
            .api
            .timeline(request)
            .await
            .expect("the server is declared")
            .into_inner();
        let heard = async {
            while let Some(event) = stream.message().await.expect("the timeline") {
                if event.text.contains(part) {
                    return Some(event);
                }
            }
            None
        };
        tokio::time::timeout(STEP, heard).await.ok().flatten()
    }

    /// Watches to the end. An error is what bootd says of the failure, or that nothing came in time.
    pub(crate) async fn outcome(&mut self, subject: Subject) -> Result<(), String> {
        let request = WatchRequest {
            subject: Some(subject),
        };
        let mut stream = self
            .api
            .watch(request)
            .await
            .expect("a watch begins")
            .into_inner();
        let ended = async {
            while let Some(progress) = stream.message().await.map_err(|e| e.to_string())? {
                match progress.outcome {
                    Some(Outcome::Done(_)) => return Ok(()),
                    Some(Outcome::Failed(why)) => return Err(format!("{why:#?}")),
                    None => {}
                }
            }
            Err("the watch ended without an outcome".to_owned())
        };
        tokio::time::timeout(2 * STEP, ended)
            .await
            .unwrap_or_else(|_| Err("no outcome in time".to_owned()))
    }

    /// What bootd knows of the machine.
    pub(crate) async fn status(&mut self, server: &str) -> ServerStatus {
        let named = Named {
            name: server.to_owned(),
        };
        let server = self.api.read_server(named).await;
        server
            .expect("the server is declared")
            .into_inner()
            .status
            .expect("a server has a status")
    }

    /// What bootd logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("bootd.log")).unwrap_or_default()
    }

    /// SIGTERM, and whether it ended well.
    pub(crate) fn stop(mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.bootd);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("our own child");
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if let Some(ended) = self.bootd.try_wait().expect("our own child") {
                return ended.success();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.bootd.kill();
        let _ = self.bootd.wait();
    }
}

/// The detail that a refusal carries.
pub(crate) fn detail(status: &tonic::Status) -> ErrorDetail {
    ErrorDetail::decode(status.details()).expect("an error carries its detail")
}

/// The rack's Image Factory on bootd's own loopback; lives as long as the runtime. Answers its URL.
async fn start_factory() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let url = format!(
        "http://{}",
        listener
            .local_addr()
            .expect("a bound socket has an address")
    );
    tokio::spawn(async move { axum::serve(listener, Arc::new(Factory::default()).router()).await });
    url
}

/// Real ports on the boot network's interface; stages in seconds, for a machine that is emulated.
fn configuration(state: &Path, factory: String) -> String {
    let files = rack::agent_boot();
    let deadlines: String = [
        "power",
        "dhcp",
        "boot_file",
        "script",
        "kernel",
        "agent",
        "erase",
        "config",
        "install",
        "boot",
        "wipe",
    ]
    .iter()
    .map(|stage| format!("{stage} = \"240s\"\n"))
    .collect();
    format!(
        "state_dir = {state:?}\nadvertise = \"{}\"\n[registration]\nmode = \"declared\"\n\
         [netboot]\ninterfaces = [\"eth0\"]\nassets = \"/usr/lib/ipxe\"\n\
         [agent]\nkernel = {:?}\ninitrd = {:?}\nmodules = {:?}\nargs = [\"console=ttyS0\"]\n\
         [images]\nfactory = \"{factory}\"\n[egress]\nallow = [\"127.0.0.0/8\"]\n\
         [bmc]\npoll = \"2s\"\n[deadlines]\n{deadlines}",
        rack::BOOTD,
        files.join("vmlinuz"),
        files.join("agent-initrd"),
        files.join("modules"),
    )
}

async fn connect(bundle: &Path) -> MetalClient<Channel> {
    let bundle: toml::Table = fs::read_to_string(bundle)
        .expect("bootd init wrote it")
        .parse()
        .expect("a bundle is TOML");
    let text = |key: &str| bundle[key].as_str().expect("a text").to_owned();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(text("ca")))
        .identity(Identity::from_pem(text("certificate"), text("key")));
    let channel = Channel::from_shared(text("endpoint"))
        .expect("an endpoint")
        .tls_config(tls)
        .expect("the bundle's certificates")
        .connect()
        .await
        .expect("bootd serves its API");
    MetalClient::new(channel)
}
