//! apid's port: open in maintenance, closed while the config is fetched or a certificate is missing, mutual TLS afterwards.

use std::sync::Arc;
use std::time::Duration;

use metal_proto::talos::machine::service_state_event::Action;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::api::{self, Caller};
use super::config::Pair;
use super::discovery::Role;
use super::events::Health;
use super::node::Node;
use super::tls;

/// The port of every Talos node.
pub const PORT: u16 = 50_000;

/// Whether somebody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// Connections are refused.
    No,
    /// The API answers.
    Yes,
}

/// The port of one mode; it closes when this is dropped.
#[derive(Debug)]
pub struct Door {
    opened: watch::Sender<Opened>,
    _task: JoinSet<()>,
}

impl Door {
    /// Everybody may come in, as a reader.
    pub fn maintenance(node: &Arc<Node>) -> Self {
        let config = tls::maintenance(&node.hostname(), node.machine.plan.address);
        let node = Arc::clone(node);
        Self::start(move |opened| async move {
            match config {
                Ok(config) => serve(&node, config, Mode::Maintenance, &opened).await,
                Err(error) => node.say(&format!("apid: {error}")),
            }
        })
    }

    /// Members of the cluster's CA only. Opens when there is a certificate.
    pub fn configured(node: &Arc<Node>) -> Self {
        let node = Arc::clone(node);
        Self::start(move |opened| async move {
            node.service(
                "apid",
                Action::Waiting,
                "Waiting for api certificates",
                Health::Unknown,
            );
            node.pause(Duration::from_secs(3)).await;
            let ca = certificate_authority(&node).await;
            node.service(
                "apid",
                Action::Preparing,
                "Running pre state",
                Health::Unknown,
            );
            node.service(
                "apid",
                Action::Preparing,
                "Creating service runner",
                Health::Unknown,
            );
            node.pause(Duration::from_secs(1)).await;
            let config = node.config();
            let identity = tls::Identity {
                hostname: &node.hostname(),
                address: node.machine.plan.address,
                sans: &config.cert_sans(),
            };
            match tls::configured(&identity, &ca) {
                Ok(tls) => {
                    node.service(
                        "apid",
                        Action::Running,
                        "Started task apid (PID 286) for container apid",
                        Health::Unknown,
                    );
                    node.service(
                        "apid",
                        Action::Running,
                        "Health check successful",
                        Health::Good,
                    );
                    serve(&node, tls, Mode::Configured, &opened).await;
                }
                Err(error) => node.say(&format!("apid: {error}")),
            }
        })
    }

    /// Follows whether somebody listens.
    pub fn opened(&self) -> watch::Receiver<Opened> {
        self.opened.subscribe()
    }

    fn start<F: Future<Output = ()> + Send + 'static>(
        run: impl FnOnce(watch::Sender<Opened>) -> F,
    ) -> Self {
        let opened = watch::Sender::new(Opened::No);
        let mut task = JoinSet::new();
        task.spawn(run(opened.clone()));
        Self {
            opened,
            _task: task,
        }
    }
}

/// A control plane has the CA's key in its config; a worker asks a control plane's trustd, and waits until one answers.
async fn certificate_authority(node: &Arc<Node>) -> Pair {
    let config = node.config();
    let own = config.machine_ca();
    if config.role() == Role::ControlPlane
        && let Some(pair) = own.clone().filter(|pair| !pair.key.is_empty())
    {
        return pair;
    }
    let mut others = node.machine.world.discovery.changed();
    loop {
        others.mark_unchanged();
        let trusted = node.peers().into_iter().find_map(|peer| {
            let trustd = peer.trustd?;
            let ours = own
                .as_ref()
                .is_some_and(|own| own.certificate == trustd.ca_pem);
            (ours && trustd.token == config.token()).then_some(Pair {
                certificate: trustd.ca_pem,
                key: trustd.key_pem,
            })
        });
        if let Some(pair) = trusted {
            return pair;
        }
        // The discovery outlives every node.
        drop(others.changed().await);
    }
}

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everybody, as a reader.
    Maintenance,
    /// Who has a certificate.
    Configured,
}

async fn serve(
    node: &Arc<Node>,
    config: rustls::ServerConfig,
    mode: Mode,
    opened: &watch::Sender<Opened>,
) {
    let address = (node.machine.plan.address, PORT);
    // The listener of a former boot may still be closing.
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::debug!(%error, "apid's port");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    let acceptor = TlsAcceptor::from(Arc::new(config));
    opened.send_replace(Opened::Yes);
    // Connections end with the door.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(Arc::clone(node), acceptor.clone(), stream, mode));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(node: Arc<Node>, acceptor: TlsAcceptor, stream: TcpStream, mode: Mode) {
    drop(stream.set_nodelay(true));
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "apid: tls");
            return;
        }
    };
    let roles = match (mode, stream.get_ref().1.peer_certificates()) {
        (Mode::Configured, Some([first, ..])) => tls::roles(first),
        _ => vec!["os:reader".to_owned()],
    };
    let caller = Caller { mode, roles };
    if let Err(error) = api::serve(node, caller, stream).await {
        tracing::debug!(%error, "apid: connection");
    }
}
