//! A host of the toy: one process, one connection, values as JSON. The connection is a unix socket without encryption, or a port with it
//! where there are no such sockets or a test asks for one.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

#[cfg(unix)]
use hyper_util::rt::TokioIo;
use metal_proto::plugin::Empty;
use metal_proto::plugin::grpc_controller_client::GrpcControllerClient;
use metal_proto::tfplugin6 as pb;
use pb::provider_client::ProviderClient;
#[cfg(unix)]
use tokio::net::UnixStream;
use tonic::transport::Channel;
#[cfg(unix)]
use tonic::transport::Endpoint;

use crate::toy::{self, port};

/// The toy, configured with a directory of its own.
pub(crate) struct Host {
    pub(crate) provider: ProviderClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) things: tempfile::TempDir,
    process: Child,
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::unconfigured().await.configured().await
    }

    /// One that reaches the toy over a port.
    pub(crate) async fn over_a_port() -> Self {
        Self::with(&port::VARIABLES, Stdio::null())
            .await
            .configured()
            .await
    }

    async fn configured(self) -> Self {
        let mut host = self;
        let directory = host.things.path().to_str().unwrap().to_owned();
        let request = pb::configure_provider::Request {
            config: json(&serde_json::json!({ "directory": directory })),
            ..Default::default()
        };
        let said = host.provider.configure_provider(request).await.unwrap();
        assert_eq!(said.into_inner().diagnostics, vec![]);
        host
    }

    pub(crate) async fn unconfigured() -> Self {
        Self::with(&[], Stdio::null()).await
    }

    /// With more environment variables, and with a place for its log.
    pub(crate) async fn with(variables: &[(&str, &str)], log: Stdio) -> Self {
        let cookie = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";
        let by_port = cfg!(not(unix)) || variables.contains(&port::VARIABLES[0]);
        let identity = by_port.then(port::Identity::new);
        let mut command = Command::new(toy::binary());
        match &identity {
            Some(identity) => command
                .env("PLUGIN_CLIENT_CERT", &identity.pem)
                .envs(port::VARIABLES),
            None => command.env_remove("PLUGIN_CLIENT_CERT"),
        };
        let mut process = command
            .env("TF_PLUGIN_MAGIC_COOKIE", cookie)
            .env_remove("TF_LOG")
            .env_remove("TF_LOG_PROVIDER")
            .env_remove("RUST_BACKTRACE")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let parts: Vec<_> = line.trim_end().split('|').collect();
        let channel = match &identity {
            Some(identity) => {
                assert_eq!(parts[2], "tcp");
                port::connect(parts[3], parts[5], identity).await
            }
            None => connect(parts[3].to_owned()).await,
        };
        Self {
            provider: client(channel.clone()),
            channel,
            things: tempfile::tempdir().unwrap(),
            process,
        }
    }

    /// Waits until the process, started with a pipe for its log, has logged these words.
    pub(crate) async fn logged(&mut self, words: &'static str) {
        let log = self.process.stderr.take().unwrap();
        let read = move || {
            let mut lines = BufReader::new(log);
            let mut line = String::new();
            while !line.contains(words) {
                line.clear();
                let read = lines.read_line(&mut line).unwrap();
                assert_ne!(read, 0, "the process ended too early");
            }
            lines.into_inner()
        };
        // Kept open: whoever logs into a closed pipe fails.
        self.process.stderr = Some(tokio::task::spawn_blocking(read).await.unwrap());
    }

    /// Waits for the end of the process: its exit code and its log.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            stderr.read_to_string(&mut log).unwrap();
        }
        (self.process.wait().unwrap().code(), log)
    }

    /// The names of the files that the toy made, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.things.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Asks everything in flight to end.
    pub(crate) async fn stop(&mut self) {
        let request = pb::stop_provider::Request {};
        let said = self.provider.stop_provider(request).await.unwrap();
        assert_eq!(said.into_inner().error, "");
    }

    /// Ends the process as hosts do, and waits for its end.
    pub(crate) async fn shut_down(&mut self) {
        let mut controller = GrpcControllerClient::new(self.channel.clone());
        controller.shutdown(Empty {}).await.unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Ended already in some tests.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(not(unix))]
async fn connect(_: String) -> Channel {
    unreachable!("there are only ports here")
}

/// One more connection to a socket of the toy.
#[cfg(unix)]
pub(crate) async fn connect(socket: String) -> Channel {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .unwrap()
}

/// A client without a limit on sizes, as hosts are.
pub(crate) fn client(channel: Channel) -> ProviderClient<Channel> {
    ProviderClient::new(channel)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
}

/// A value in the protocol's other encoding.
pub(crate) fn json(value: &serde_json::Value) -> Option<pb::DynamicValue> {
    Some(pb::DynamicValue {
        msgpack: Vec::new(),
        json: value.to_string().into_bytes(),
    })
}

/// A value in MessagePack.
pub(crate) fn msgpack(bytes: &[u8]) -> pb::DynamicValue {
    pb::DynamicValue {
        msgpack: bytes.to_vec(),
        json: Vec::new(),
    }
}

/// An object with an unknown `name` and null in its other attributes.
pub(crate) fn unnamed(others: &[&str]) -> pb::DynamicValue {
    let short = |base: usize, n: usize| u8::try_from(base + n).unwrap();
    let mut bytes = vec![short(0x80, others.len() + 1)];
    for name in std::iter::once(&"name").chain(others) {
        bytes.push(short(0xa0, name.len()));
        bytes.extend(name.as_bytes());
        let value: &[u8] = if *name == "name" {
            &[0xd4, 0, 0]
        } else {
            &[0xc0]
        };
        bytes.extend(value);
    }
    msgpack(&bytes)
}

/// Summaries and details, one a line.
pub(crate) fn told(diagnostics: &[pb::Diagnostic]) -> String {
    let one = |d: &pb::Diagnostic| {
        let level = if d.severity == i32::from(pb::diagnostic::Severity::Warning) {
            "warning"
        } else {
            "error"
        };
        let at = d
            .attribute
            .as_ref()
            .map(|p| format!("{:?}", p.steps[0].selector));
        let detail = d.detail.replace("\n\n", " / ");
        format!(
            "{level}: {}: {detail} {}",
            d.summary,
            at.unwrap_or_default()
        )
    };
    diagnostics.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Does the message hold this text?
pub(crate) fn holds(value: &pb::DynamicValue, text: &str) -> bool {
    value
        .msgpack
        .windows(text.len())
        .any(|w| w == text.as_bytes())
}
