//! The process: handshake, channel, signals, end. Only this room prints, reads the environment and exits.

mod handshake;
mod levels;
mod log;
mod os;
mod request;
mod socket;
mod tls;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use metal_proto::plugin::grpc_broker_server::GrpcBrokerServer;
use metal_proto::plugin::grpc_controller_server::GrpcControllerServer;
use metal_proto::plugin::grpc_stdio_server::GrpcStdioServer;
use metal_proto::tfplugin6::provider_server::ProviderServer;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::context::AfterStop;
use crate::resource::Provider;
use crate::runtime::Runtime;
use crate::server::{Broker, Controller, Service, Stdio};
use handshake::Refusal;
use levels::Levels;
use os::Signals;
use request::Requests;
use socket::{Address, Socket, Transport};

/// Hosts send and take messages up to this.
const MESSAGE_MAX_BYTES: usize = i32::MAX as usize;

/// Answers that are on their way when the host says shutdown.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How long a host may take to read why it is refused.
const REFUSAL_READ_MAX: Duration = Duration::from_millis(300);

/// Hosts kill a plugin two seconds after they have asked it to end.
const FAREWELL_MAX: Duration = Duration::from_millis(1_600);

/// How often a plugin looks whether its host is still there.
const HOST_CHECK: Duration = Duration::from_secs(5);

/// Who the plugin is.
#[derive(Clone, Copy, Debug)]
pub struct About {
    address: &'static str,
    log_targets: &'static [&'static str],
}

impl About {
    /// The provider's source address, for example `registry.terraform.io/example/metal`.
    #[must_use]
    pub const fn new(address: &'static str) -> Self {
        Self {
            address,
            log_targets: &[],
        }
    }

    /// The crates whose events are worth reading below warnings, for example `["terraform_provider_metal"]`.
    #[must_use]
    pub const fn log_targets(self, log_targets: &'static [&'static str]) -> Self {
        Self {
            log_targets,
            ..self
        }
    }
}

/// Why the plugin ended.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("no encrypted channel to the host")]
    Tls(#[from] tls::TlsError),
    #[error("the plugin's socket cannot be made")]
    Socket(#[source] io::Error),
    #[error(
        "The plugin would be reached over a port of this machine, and the host shows no certificate that tells it from others.\n\n\
         Hint: unset TF_DISABLE_PLUGIN_TLS."
    )]
    Open,
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    #[error("the host does not read the handshake")]
    Handshake(#[source] io::Error),
    #[error("the connection to the host broke")]
    Transport(#[from] tonic::transport::Error),
    #[error("no threads for the plugin")]
    Runtime(#[source] io::Error),
}

/// How the process was started.
enum Start {
    /// By a host, for one run.
    Plugin(handshake::Ask),
    /// By a person with `-debug`, for any number of runs.
    Debug,
}

/// Serves the provider until the host is done: the whole `main` of a provider.
///
/// Started by a person it says what it is and fails; with `-debug` it prints what to export so that a host attaches to it.
#[must_use]
pub fn serve(about: About, provider: impl Provider) -> ExitCode {
    match run(about, provider) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(deeper) = cause {
                text = format!("{text}: {deeper}");
                cause = deeper.source();
            }
            // Nobody to tell if standard error is gone.
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(about: About, provider: impl Provider) -> Result<(), ServeError> {
    let env = |key: &str| std::env::var(key).ok();
    let debug = std::env::args()
        .skip(1)
        .any(|a| a == "-debug" || a == "--debug");
    let start = if debug {
        Start::Debug
    } else {
        Start::Plugin(handshake::ask(env).map_err(told)?)
    };
    let variables = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    log::install(Levels::of(about.address, about.log_targets, variables));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let served = runtime.block_on(serve_on(about, start, provider));
    // Provider code that still runs has been told to stop.
    runtime.shutdown_background();
    served
}

async fn serve_on(about: About, start: Start, provider: impl Provider) -> Result<(), ServeError> {
    let signals = Signals::catch().map_err(ServeError::Signals)?;
    let end = CancellationToken::new();
    let runtime = Arc::new(Runtime::new(provider));
    let (socket, tls, after_stop) = match start {
        Start::Plugin(ask) => {
            let channel = ask
                .client_certificate
                .as_deref()
                .map(tls::channel)
                .transpose()?;
            let socket = bind(&ask).await?;
            say(&handshake::line(
                socket.address(),
                channel.as_ref().map(|c| c.certificate.as_ref()),
            ))?;
            tokio::spawn(signals.swallow());
            tokio::spawn(os::follow_host(end.clone()));
            (socket, channel.map(|c| c.config), AfterStop::StayStopped)
        }
        Start::Debug => {
            #[cfg(unix)]
            let socket = Socket::unix(None).map_err(ServeError::Socket)?;
            #[cfg(not(unix))]
            let socket = Socket::tcp(None).await.map_err(ServeError::Socket)?;
            let export = handshake::reattach(about.address, std::process::id(), socket.address());
            say(&format!(
                "Provider started. To attach Terraform or OpenTofu, run it with:\n\n    {export}\n"
            ))?;
            tokio::spawn(signals.end(end.clone()));
            (socket, None, AfterStop::Resume)
        }
    };
    let service = ProviderServer::new(Service::new(Arc::clone(&runtime), after_stop))
        .max_decoding_message_size(MESSAGE_MAX_BYTES)
        .max_encoding_message_size(MESSAGE_MAX_BYTES);
    // A debugged process outlives each host that attaches, whatever that host asks for.
    let ended_by_host = if after_stop == AfterStop::Resume {
        CancellationToken::new()
    } else {
        end.clone()
    };
    let (peers, _directory) = socket.accept(tls);
    let server = Server::builder()
        .layer(Requests {
            address: about.address,
        })
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 22)
        .add_service(service)
        .add_service(GrpcBrokerServer::new(Broker(end.clone())))
        .add_service(GrpcStdioServer::new(Stdio(end.clone())))
        .add_service(GrpcControllerServer::new(Controller(ended_by_host)))
        .serve_with_incoming_shutdown(peers, end.clone().cancelled_owned());
    tokio::select! {
        served = server => served?,
        // Requests that do not end are not waited for.
        () = async { end.cancelled().await; tokio::time::sleep(LAST_WORDS).await } => {}
    }
    // Late is as bad as never.
    let _ = tokio::time::timeout(FAREWELL_MAX, runtime.close_forgotten()).await;
    Ok(())
}

/// The socket that the host asks for.
async fn bind(ask: &handshake::Ask) -> Result<Socket, ServeError> {
    match ask.transport {
        #[cfg(unix)]
        Transport::Unix => Socket::unix(ask.socket_dir.as_deref()),
        // Anybody on the machine may connect to a port.
        Transport::Tcp if ask.client_certificate.is_none() => return Err(ServeError::Open),
        Transport::Tcp => Socket::tcp(ask.ports.clone()).await,
    }
    .map_err(ServeError::Socket)
}

/// A host that speaks other versions shows nothing of standard error, but says which version it was offered in vain: it gets the line
/// that tells, and a moment to read it.
fn told(refusal: Refusal) -> Refusal {
    if matches!(refusal, Refusal::Protocol { .. }) {
        // The host may be gone already.
        let nowhere = Address {
            network: "unix",
            place: String::new(),
        };
        let _ = say(&handshake::line(&nowhere, None));
        std::thread::sleep(REFUSAL_READ_MAX);
    }
    refusal
}

/// Writes to standard output, which belongs to the handshake alone.
fn say(text: &str) -> Result<(), ServeError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(ServeError::Handshake)
}
