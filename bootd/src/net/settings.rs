//! What the netboot sockets are told by the configuration, what they bound, and why they could not start.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bootd_core::id::Mac;

/// Where to listen and what to hand out. Port 0 takes a free port (tests); [`Bound`] tells which.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address that machines reach us at: in offers, URLs and kernel arguments. An address and not a name, because firmware
    /// and a booting Talos resolve names late or not at all.
    pub advertise: Ipv4Addr,
    /// One entry per boot network; empty turns DHCP off (the site's own server hands out our options).
    pub dhcp: Vec<DhcpListener>,
    /// Interfaces on which router solicitations get an empty advertisement.
    pub empty_ra: Vec<String>,
    /// TFTP (69). `None` turns it off.
    pub tftp: Option<SocketAddr>,
    /// Plain HTTP for firmware and iPXE (8081).
    pub http: SocketAddr,
    /// HTTPS for the agent and for configs: the same router with our certificate.
    pub https: SocketAddr,
    /// Talos's event sink: gRPC over plain HTTP/2, because machined offers nothing else.
    pub events: SocketAddr,
    /// Talos's kernel log sink: JSON lines over TCP.
    pub kernel_log: SocketAddr,
    /// Directory with the iPXE binaries, read once at start: `undionly.kpxe`, `snponly.efi`, `ipxe.efi`, `ipxe-arm64.efi`;
    /// what is absent is not offered. Other plain files in it are served too, subdirectories are not.
    pub assets: PathBuf,
    /// Directory of our own for assets that are assembled at start (the agent's kernel and initrd, by digest).
    pub cache: PathBuf,
    /// The agent. `None`: machines that need it get a script that says so and exits.
    pub agent: Option<AgentFiles>,
    /// Boot file per machine in place of the one for its firmware: a NIC that `snponly.efi` does not get along with.
    pub boot_files: BTreeMap<Mac, String>,
    /// How long `/configdata` and `/agent/order` hold a request that has no answer yet; 60 s at most.
    pub long_poll: Duration,
}

/// Sockets of one boot network.
#[derive(Debug, Clone)]
pub struct DhcpListener {
    /// Proxy DHCP, usually `0.0.0.0:67`.
    pub proxy: SocketAddr,
    /// The PXE boot server, usually `0.0.0.0:4011`.
    pub boot_server: SocketAddr,
    /// Where offers of other servers are overheard, usually `0.0.0.0:68`; `None` does not listen for rivals. One that cannot be
    /// bound is a warning: the network is served all the same.
    pub overhear: Option<SocketAddr>,
    /// The interface that the sockets are bound to. Needs root or `CAP_NET_RAW`; `None` trusts the address alone.
    pub interface: Option<String>,
}

/// The agent's boot files, from `[agent]`.
#[derive(Debug, Clone)]
pub struct AgentFiles {
    /// Kernel.
    pub kernel: PathBuf,
    /// Initial RAM disk with the agent as `/init`.
    pub initrd: PathBuf,
    /// Another cpio, appended: kernel modules.
    pub modules: Option<PathBuf>,
    /// Kernel arguments beside ours, such as `console=ttyS0,115200`.
    pub args: Vec<String>,
}

/// The addresses that were bound, in the order of [`Settings`].
#[derive(Debug, Clone)]
pub struct Bound {
    /// Proxy DHCP and boot server of each network.
    pub dhcp: Vec<BoundDhcp>,
    /// TFTP.
    pub tftp: Option<SocketAddr>,
    /// Plain HTTP.
    pub http: SocketAddr,
    /// HTTPS.
    pub https: SocketAddr,
    /// Event sink.
    pub events: SocketAddr,
    /// Kernel log sink.
    pub kernel_log: SocketAddr,
}

/// One boot network's bound sockets.
#[derive(Debug, Clone, Copy)]
pub struct BoundDhcp {
    /// Proxy DHCP.
    pub proxy: SocketAddr,
    /// The PXE boot server.
    pub boot_server: SocketAddr,
    /// The socket that overhears rivals; none where it could not be bound.
    pub overhear: Option<SocketAddr>,
}

/// Why netboot could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be bound.
    #[error("{listener} cannot listen on {address}: {hint}")]
    Bind {
        /// The key in the configuration.
        listener: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// One next step.
        hint: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A socket could not be bound to its interface.
    #[error(
        "{listener} on {address} cannot be bound to the interface {interface}: check its name, and that bootd has CAP_NET_RAW"
    )]
    Interface {
        /// The key in the configuration.
        listener: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// The interface asked for.
        interface: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Router solicitations cannot be heard.
    #[error(
        "netboot.empty_ra cannot listen on the interface {interface}: check its name, and that bootd has CAP_NET_RAW"
    )]
    Router {
        /// The interface asked for.
        interface: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file that is served could not be read or assembled.
    #[error("{what} {path:?} cannot be prepared for serving")]
    Asset {
        /// What it is.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An argument in the configuration cannot stand on a kernel command line.
    #[error("[agent] args: {0}")]
    Args(#[source] bootd_core::netboot::script::ArgError),
    /// The TFTP server did not start.
    #[error("tftp did not start")]
    Tftp(#[source] async_tftp::Error),
}
