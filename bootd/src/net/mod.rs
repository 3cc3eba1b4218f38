//! The netboot sockets: proxyDHCP, TFTP, HTTP(S), Talos's event and kernel-log sinks.
//!
//! They parse, ask the [`Desk`], answer and add facts. They never name a phase and never touch a BMC.

mod assets;
mod desk;
mod dhcp;
mod events;
mod http;
mod kernel_log;
mod router;
mod settings;
mod tftp;

pub use desk::{Asker, Desk, DeskError, Netboot, Note, Redeemed, Refusal};
pub use settings::{AgentFiles, Bound, BoundDhcp, DhcpListener, Settings, StartError};

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bootd_core::netboot::proxydhcp::Door;
use bootd_core::netboot::script;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::assets::Assets;
use self::http::{Site, Web};
use self::router::Router;
use crate::images::ImageCache;

/// Netboot as it runs.
#[derive(Debug)]
pub struct Running {
    /// What was bound.
    pub bound: Bound,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Running {
    /// Waits until every loop has ended after the stop. A loop that panics stops the others, and its error is returned.
    pub async fn join(mut self) -> Result<(), tokio::task::JoinError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                self.stop.cancel();
                outcome = Err(error);
            }
        }
        outcome
    }
}

/// Binds every listener of `settings` and serves until `stop` is cancelled.
///
/// `tls` is the server's configuration for `https` (our certificate, no client certificates); `ca_pem` is our CA, which goes into
/// the agent's initrd and into Talos's first config. Nothing runs if any listener cannot be bound. Reads the boot files and
/// assembles the agent's initrd before it returns (blocks for as long as that takes, tens of milliseconds).
pub async fn start<D: Desk>(
    settings: Settings,
    desk: Arc<D>,
    images: Arc<ImageCache>,
    tls: Arc<rustls::ServerConfig>,
    ca_pem: String,
    stop: CancellationToken,
) -> Result<Running, StartError> {
    if let Some(agent) = &settings.agent {
        script::check_args(&agent.args).map_err(StartError::Args)?;
    }
    let (sockets, bound) = Sockets::bind(&settings).await?;
    let assets = Arc::new(Assets::load(
        &settings.assets,
        &settings.cache,
        settings.agent.as_ref(),
        &ca_pem,
    )?);
    let after = TaskTracker::new();
    let web = Arc::new(Web {
        desk: Arc::clone(&desk),
        images,
        assets: Arc::clone(&assets),
        site: site(&settings, &bound, ca_pem),
        after: after.clone(),
    });
    let proxy = Arc::new(dhcp::Proxy {
        desk: Arc::clone(&desk),
        assets: Arc::clone(&assets),
        server: settings.advertise,
        http: web.site.http(),
        boot_files: settings.boot_files,
        rivals: Mutex::default(),
    });

    let mut tasks = JoinSet::new();
    for network in sockets.dhcp {
        for (socket, door) in network {
            tasks.spawn(dhcp::run(Arc::clone(&proxy), socket, door, stop.clone()));
        }
    }
    for router in sockets.routers {
        tasks.spawn(router.run(stop.clone()));
    }
    if let Some(socket) = sockets.tftp {
        tasks.spawn(tftp::start(Arc::clone(&desk), assets, socket, stop.clone()).await?);
    }
    let router = http::router(web);
    let encrypt = TlsAcceptor::from(http_only(&tls));
    tasks.spawn(http::serve(
        sockets.http,
        None,
        router.clone(),
        stop.clone(),
    ));
    tasks.spawn(http::serve(
        sockets.https,
        Some(encrypt),
        router,
        stop.clone(),
    ));
    tasks.spawn(events::serve(
        Arc::clone(&desk),
        sockets.events,
        stop.clone(),
    ));
    tasks.spawn(kernel_log::serve(desk, sockets.kernel_log, stop.clone()));
    let stopped = stop.clone();
    tasks.spawn(async move {
        stopped.cancelled().await;
        after.close();
        after.wait().await;
    });
    Ok(Running { bound, tasks, stop })
}

/// The configuration with the one protocol that is spoken here: a client that offers HTTP/2 as well must not be promised it.
fn http_only(tls: &rustls::ServerConfig) -> Arc<rustls::ServerConfig> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(tls)
}

fn site(settings: &Settings, bound: &Bound, ca_pem: String) -> Site {
    Site {
        advertise: settings.advertise,
        http_port: bound.http.port(),
        https_port: bound.https.port(),
        events_port: bound.events.port(),
        kernel_log_port: bound.kernel_log.port(),
        ca_pem,
        long_poll: settings.long_poll,
    }
}

/// Everything bound, before anything runs.
struct Sockets {
    dhcp: Vec<Vec<(UdpSocket, Door)>>,
    routers: Vec<Router>,
    tftp: Option<std::net::UdpSocket>,
    http: TcpListener,
    https: TcpListener,
    events: TcpListener,
    kernel_log: TcpListener,
}

impl Sockets {
    async fn bind(settings: &Settings) -> Result<(Self, Bound), StartError> {
        let mut dhcp = Vec::new();
        let mut bound_dhcp = Vec::new();
        for network in &settings.dhcp {
            let on = network.interface.as_deref();
            let (proxy, proxy_at) = udp("netboot.dhcp", network.proxy, on)?;
            let (boot_server, boot_server_at) = udp("netboot.pxe", network.boot_server, on)?;
            let mut doors = vec![(proxy, Door::Proxy), (boot_server, Door::BootServer)];
            let mut overhear_at = None;
            if let Some(address) = network.overhear {
                match udp("netboot.overhear", address, on) {
                    Ok((socket, at)) => {
                        doors.push((socket, Door::Overhear));
                        overhear_at = Some(at);
                    }
                    Err(error) => tracing::warn!(
                        interface = on.unwrap_or("any"),
                        error = &error as &dyn std::error::Error,
                        "a second DHCP or boot server on this network will go unnoticed: its offers cannot be overheard"
                    ),
                }
            }
            dhcp.push(doors);
            bound_dhcp.push(BoundDhcp {
                proxy: proxy_at,
                boot_server: boot_server_at,
                overhear: overhear_at,
            });
        }
        let routers = settings
            .empty_ra
            .iter()
            .map(|interface| {
                Router::bind(interface).map_err(|source| StartError::Router {
                    interface: interface.clone(),
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        let tftp = match settings.tftp {
            Some(address) => Some(blocking_udp("netboot.tftp", address)?),
            None => None,
        };
        let (http, http_at) = tcp("netboot.http", settings.http).await?;
        let (https, https_at) = tcp("netboot.https", settings.https).await?;
        let (events, events_at) = tcp("netboot.events", settings.events).await?;
        let (kernel_log, kernel_log_at) = tcp("netboot.kernel_log", settings.kernel_log).await?;
        let bound = Bound {
            dhcp: bound_dhcp,
            tftp: tftp.as_ref().map(|(_, at)| *at),
            http: http_at,
            https: https_at,
            events: events_at,
            kernel_log: kernel_log_at,
        };
        let sockets = Self {
            dhcp,
            routers,
            tftp: tftp.map(|(socket, _)| socket),
            http,
            https,
            events,
            kernel_log,
        };
        Ok((sockets, bound))
    }
}

fn udp(
    listener: &'static str,
    address: SocketAddr,
    interface: Option<&str>,
) -> Result<(UdpSocket, SocketAddr), StartError> {
    let failed = |source| bind_failed(listener, address, source);
    let kind = (Type::DGRAM, Some(Protocol::UDP));
    let socket = Socket::new(Domain::for_address(address), kind.0, kind.1).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    socket.set_broadcast(true).map_err(failed)?;
    // Before the bind: two boot networks have the same port, each on its interface.
    if let Some(interface) = interface {
        socket
            .bind_device(Some(interface.as_bytes()))
            .map_err(|source| StartError::Interface {
                listener,
                address,
                interface: interface.to_owned(),
                source,
            })?;
    }
    socket.bind(&address.into()).map_err(failed)?;
    let socket = UdpSocket::from_std(socket.into()).map_err(failed)?;
    let at = socket.local_addr().map_err(failed)?;
    Ok((socket, at))
}

fn blocking_udp(
    listener: &'static str,
    address: SocketAddr,
) -> Result<(std::net::UdpSocket, SocketAddr), StartError> {
    let (socket, at) = udp(listener, address, None)?;
    let socket = socket
        .into_std()
        .map_err(|source| bind_failed(listener, address, source))?;
    Ok((socket, at))
}

async fn tcp(
    listener: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| bind_failed(listener, address, source);
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let at = socket.local_addr().map_err(failed)?;
    Ok((socket, at))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "forty kinds of errors, three of which have a hint of their own"
)]
fn bind_failed(listener: &'static str, address: SocketAddr, source: io::Error) -> StartError {
    let hint = match source.kind() {
        io::ErrorKind::AddrInUse => {
            "another program holds this port; find it with `ss -lnp` and stop it, or choose another address"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        _ => "check the address in bootd.toml",
    };
    StartError::Bind {
        listener,
        address,
        hint,
        source,
    }
}
