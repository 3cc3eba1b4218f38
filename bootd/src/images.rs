//! The image cache: kernel, initramfs and command line of a Talos image, fetched once from an Image Factory and pinned.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where images come from and where they are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cache's own directory; made if absent.
    pub dir: PathBuf,
    /// Base URL of the Image Factory, such as `https://factory.talos.dev`; no trailing slash.
    pub factory: String,
    /// Networks that may be dialled (`[egress] allow`); everything else is refused, names by their resolved address.
    pub egress: Vec<Network>,
    /// Largest file that is accepted.
    pub bytes_max: u64,
    /// Longest time for one file without a byte.
    pub idle: Duration,
}

/// A network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The cache. Cheap to clone behind an `Arc`.
#[derive(Debug)]
pub struct ImageCache {
    #[expect(dead_code, reason = "read by the next commit")]
    settings: Settings,
}
