//! The composition root: builds everything, one stop token, one set of tasks. A task that panics stops the process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metal_proto::metal::v1 as pb;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api};
use crate::authority::Files;
use crate::bmc::{self, Fleet};
use crate::config::Config;
use crate::egress::Network;
use crate::images::{self, ImageCache, ImageError};
use crate::net;
use crate::reconcile::Reconciler;
use crate::store::{Registration, Seal, Store, StoreError};
use crate::talos::{self, Jobs};

/// Largest file that the image cache accepts.
const IMAGE_BYTES_MAX: u64 = 2 << 30;
/// A fetch without a byte for so long has failed.
const IMAGE_IDLE: Duration = Duration::from_secs(60);
/// How long requests of agents and nodes are held.
const LONG_POLL: Duration = Duration::from_secs(50);

/// How long requests that run may go on after the stop.
const LEAVE: Duration = Duration::from_secs(2);

/// Why bootd does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A file that `bootd init` makes is not there.
    #[error("{path:?} cannot be read; `bootd init --dir` makes it")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] api::tls::BadPem),
    /// The store failed.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The image cache failed.
    #[error("the image cache cannot be used")]
    Images(#[from] ImageError),
    /// A network in `[egress] allow` is none.
    #[error("[egress] allow: {0:?} is not a network such as 10.0.0.0/8")]
    Egress(String),
    /// The API's port is taken.
    #[error("[api] listen: cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Netboot did not start.
    #[error("netboot cannot start")]
    Net(#[from] net::StartError),
    /// A task ended that should not.
    #[error("{task} ended: {why}")]
    Task {
        /// Which.
        task: &'static str,
        /// Why.
        why: String,
    },
}

/// A site that serves.
#[derive(Debug)]
pub struct Site {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where netboot listens.
    pub bound: net::Bound,
    tasks: JoinSet<Result<(), ServeError>>,
    stop: CancellationToken,
}

impl Site {
    /// Serves until SIGTERM or SIGINT, then ends everything in order. An error means that a task failed.
    pub async fn until_stopped(self) -> Result<(), ServeError> {
        let stop = self.stop.clone();
        let signals = async {
            match (
                signal(SignalKind::terminate()),
                signal(SignalKind::interrupt()),
            ) {
                (Ok(mut term), Ok(mut int)) => {
                    tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
                }
                (Err(_), _) | (_, Err(_)) => std::future::pending().await,
            }
        };
        self.until(signals, stop).await
    }

    /// Ends everything in order.
    pub async fn stop(self) -> Result<(), ServeError> {
        let stop = self.stop.clone();
        self.until(std::future::ready(()), stop).await
    }

    async fn until(
        mut self,
        told: impl Future<Output = ()>,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let mut outcome = Ok(());
        tokio::select! {
            () = told => {}
            ended = self.tasks.join_next() => outcome = task_outcome(ended),
        }
        stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            let ended = task_outcome(Some(ended));
            if outcome.is_ok() {
                outcome = ended;
            }
        }
        outcome
    }
}

fn task_outcome(
    ended: Option<Result<Result<(), ServeError>, tokio::task::JoinError>>,
) -> Result<(), ServeError> {
    match ended {
        None => Ok(()),
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(ServeError::Task {
            task: "a task",
            why: error.to_string(),
        }),
    }
}

fn text(path: PathBuf) -> Result<String, ServeError> {
    std::fs::read_to_string(&path).map_err(|source| ServeError::File { path, source })
}

/// Builds and binds everything; returns once all of it serves.
pub async fn start(config: Config) -> Result<Site, ServeError> {
    // Other crates ask rustls for the process's default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let files = Files::in_dir(&config.state_dir);
    let (ca, certificate, key) = (
        text(files.ca())?,
        text(files.server())?,
        text(files.server_key())?,
    );
    let path = files.sealing_key();
    let seal = Seal::read(&path).map_err(|source| ServeError::File { path, source })?;
    let registration = Registration::new(config.registration.mode);
    let store = Store::open(&config.store_url(), seal, registration).await?;
    let images = Arc::new(ImageCache::new(image_settings(&config)?)?);
    let stop = CancellationToken::new();
    let running = net::start(
        net_settings(&config),
        Arc::new(store.clone()),
        Arc::clone(&images),
        api::tls::https(&certificate, &key)?,
        ca.clone(),
        stop.clone(),
    )
    .await?;
    let bound = running.bound.clone();
    let jobs = Arc::new(Jobs::new(
        store.clone(),
        job_settings(&config, ca.clone(), &bound)?,
    ));
    let listener = listen(config.api.listen).await?;
    let address = listener.local_addr().unwrap_or(config.api.listen);
    let service = Api::new(
        store.clone(),
        images,
        Arc::clone(&jobs),
        listeners(&config, address, &bound),
    )
    .service();
    let mut tasks = JoinSet::new();
    let connections = api::tls::incoming(
        listener,
        api::tls::api(&ca, &certificate, &key)?,
        stop.clone(),
    );
    tasks.spawn(serve_api(service, connections, stop.clone()));
    tasks.spawn(serve_net(running, stop.clone()));
    let reconciler = Arc::new(Reconciler::new(
        store,
        Fleet::new(bmc::Settings {
            egress: Some(egress(&config)?.into()),
            ..bmc::Settings::default()
        }),
        config.deadlines.for_core(),
        config.bmc.poll.0,
    ));
    let stopped = stop.clone();
    tasks.spawn(async move { Ok(reconciler.run(stopped).await?) });
    let stopped = stop.clone();
    tasks.spawn(async move { Ok(jobs.run(stopped).await?) });
    Ok(Site {
        api: address,
        bound,
        tasks,
        stop,
    })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}

async fn serve_api(
    service: metal_proto::metal::v1::metal_server::MetalServer<Api>,
    connections: api::tls::Connections,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .add_service(service)
        .serve_with_incoming_shutdown(
            ReceiverStream::new(connections),
            stop.clone().cancelled_owned(),
        );
    tokio::select! {
        done = served => done.map_err(|e| ServeError::Task {
            task: "the API",
            why: e.to_string(),
        }),
        // Watches never end by themselves.
        () = after(stop) => Ok(()),
    }
}

async fn serve_net(running: net::Running, stop: CancellationToken) -> Result<(), ServeError> {
    tokio::select! {
        done = running.join() => done.map_err(|e| ServeError::Task {
            task: "netboot",
            why: e.to_string(),
        }),
        () = after(stop) => Ok(()),
    }
}

/// Some time after the stop: what has not ended by then is left.
async fn after(stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LEAVE).await;
}

fn job_settings(
    config: &Config,
    ca_pem: String,
    bound: &net::Bound,
) -> Result<talos::Settings, ServeError> {
    Ok(talos::Settings {
        ca_pem,
        events: config.reached(bound.events),
        kernel_log: config.reached(bound.kernel_log),
        port: config.talos.port,
        egress: egress(config)?,
        patience: config.deadlines.cluster.0,
    })
}

fn egress(config: &Config) -> Result<Vec<Network>, ServeError> {
    let network = |text: &String| {
        text.parse::<Network>()
            .map_err(|_| ServeError::Egress(text.clone()))
    };
    config.egress.allow.iter().map(network).collect()
}

fn image_settings(config: &Config) -> Result<images::Settings, ServeError> {
    Ok(images::Settings {
        dir: config
            .images
            .cache_dir
            .clone()
            .unwrap_or_else(|| config.state_dir.join("images")),
        factory: config.images.factory.trim_end_matches('/').to_owned(),
        egress: egress(config)?,
        bytes_max: IMAGE_BYTES_MAX,
        idle: IMAGE_IDLE,
    })
}

fn net_settings(config: &Config) -> net::Settings {
    let n = &config.netboot;
    if n.empty_ra && n.interfaces.is_empty() {
        tracing::warn!(
            "[netboot] empty_ra has no effect: name the boot network's interface in `interfaces`"
        );
    }
    let listener = |interface: Option<String>| net::DhcpListener {
        proxy: n.dhcp,
        boot_server: n.pxe,
        // Without an interface of its own, broadcasts of every network would be heard.
        overhear: interface.is_some().then_some(n.overhear),
        interface,
    };
    let dhcp = if n.interfaces.is_empty() {
        vec![listener(None)]
    } else {
        n.interfaces
            .iter()
            .map(|i| listener(Some(i.clone())))
            .collect()
    };
    net::Settings {
        advertise: config.advertise,
        dhcp,
        empty_ra: if n.empty_ra {
            n.interfaces.clone()
        } else {
            Vec::new()
        },
        tftp: Some(n.tftp),
        http: n.http,
        https: n.https,
        events: config.sinks.events,
        kernel_log: config.sinks.kmsg,
        assets: n.assets.clone(),
        cache: config.state_dir.join("agent"),
        agent: config.agent.as_ref().map(|a| net::AgentFiles {
            kernel: a.kernel.clone(),
            initrd: a.initrd.clone(),
            modules: a.modules.clone(),
            args: a.args.clone(),
        }),
        boot_files: std::collections::BTreeMap::new(),
        long_poll: LONG_POLL,
    }
}

fn listeners(config: &Config, api: SocketAddr, bound: &net::Bound) -> Vec<pb::Listener> {
    let mut all = vec![("api", api)];
    for network in &bound.dhcp {
        all.push(("dhcp", network.proxy));
        all.push(("pxe", network.boot_server));
    }
    if let Some(tftp) = bound.tftp {
        all.push(("tftp", tftp));
    }
    all.extend([
        ("http", bound.http),
        ("https", bound.https),
        ("events", bound.events),
        ("kmsg", bound.kernel_log),
    ]);
    all.into_iter()
        .map(|(what, address)| pb::Listener {
            what: what.to_owned(),
            address: config.reached(address).to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rivals_are_overheard_on_named_interfaces() {
        let settings = |netboot: &str| {
            let least = "state_dir = \"/x\"\nadvertise = \"10.0.0.2\"\n[netboot]\n";
            net_settings(&Config::parse(&format!("{least}{netboot}")).unwrap())
        };
        let plain = settings("empty_ra = true\n");
        assert_eq!(plain.dhcp.len(), 1);
        assert_eq!(plain.dhcp[0].overhear, None);
        assert_eq!(plain.empty_ra, Vec::<String>::new());
        let named = settings("interfaces = [\"eth1\", \"eth2\"]\nempty_ra = true\n");
        let on: Vec<_> = named
            .dhcp
            .iter()
            .map(|d| (d.interface.as_deref(), d.overhear.map(|a| a.to_string())))
            .collect();
        let port_68 = Some("0.0.0.0:68".to_owned());
        assert_eq!(
            on,
            [(Some("eth1"), port_68.clone()), (Some("eth2"), port_68)]
        );
        assert_eq!(named.empty_ra, ["eth1", "eth2"]);
        assert!(settings("interfaces = [\"eth1\"]\n").empty_ra.is_empty());
    }
}
