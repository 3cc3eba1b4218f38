//! `bootd.toml`, parsed once into valid types. Unknown keys are errors; every default stands in a doc comment.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bootd_core::lifecycle;
use serde::{Deserialize, Deserializer, de};

use crate::store;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where bootd keeps its database, keys and caches. `bootd init` made it. No default.
    pub state_dir: PathBuf,
    /// The IPv4 address that machines and clients reach bootd at. An address and not a name: firmware resolves no names. No default.
    pub advertise: Ipv4Addr,
    /// The API.
    #[serde(default)]
    pub api: Api,
    /// The database.
    #[serde(default)]
    pub store: StoreSection,
    /// Who may register.
    #[serde(default)]
    pub registration: RegistrationSection,
    /// The netboot listeners.
    #[serde(default)]
    pub netboot: Netboot,
    /// Where Talos pushes events and its kernel log.
    #[serde(default)]
    pub sinks: Sinks,
    /// The agent's boot files.
    #[serde(default)]
    pub agent: Option<Agent>,
    /// Talos images.
    #[serde(default)]
    pub images: Images,
    /// What bootd may dial.
    #[serde(default)]
    pub egress: Egress,
    /// How long each stage may take, all tries together.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// BMCs.
    #[serde(default)]
    pub bmc: Bmc,
    /// The Talos machine API.
    #[serde(default)]
    pub talos: Talos,
}

/// `[api]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// Where the API listens: `0.0.0.0:7443`.
    pub listen: SocketAddr,
}

/// `[store]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// `sqlite:///…`; default: `bootd.sqlite` in the state directory.
    pub url: Option<String>,
}

/// `[registration]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrationSection {
    /// `closed`, `declared` or `open`: `declared`.
    pub mode: store::Mode,
}

/// `[netboot]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Netboot {
    /// Proxy DHCP: `0.0.0.0:67`.
    pub dhcp: SocketAddr,
    /// The PXE boot server: `0.0.0.0:4011`.
    pub pxe: SocketAddr,
    /// Where other servers' offers are overheard on the named interfaces, so that a rival is noticed: `0.0.0.0:68`.
    pub overhear: SocketAddr,
    /// TFTP: `0.0.0.0:69`.
    pub tftp: SocketAddr,
    /// HTTP for firmware and iPXE: `0.0.0.0:8081`.
    pub http: SocketAddr,
    /// HTTPS for the agent and for configs: `0.0.0.0:8443`.
    pub https: SocketAddr,
    /// Boot networks by interface name. Default: none named, the addresses above decide, and rivals are not noticed.
    pub interfaces: Vec<String>,
    /// Directory of iPXE binaries: `/usr/lib/ipxe`.
    pub assets: PathBuf,
    /// Answer IPv6 router solicitations on the named interfaces with an empty advertisement, which spares iPXE builds of 2019 a wait
    /// of 16 s; nobody gets an address or a route from it: `false`.
    pub empty_ra: bool,
}

/// `[sinks]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sinks {
    /// Talos's events: `0.0.0.0:8082`.
    pub events: SocketAddr,
    /// Talos's kernel log: `0.0.0.0:8083`.
    pub kmsg: SocketAddr,
}

/// `[agent]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Kernel.
    pub kernel: PathBuf,
    /// Initial RAM disk with the agent in it.
    pub initrd: PathBuf,
    /// A cpio with kernel modules, appended. Default: none.
    #[serde(default)]
    pub modules: Option<PathBuf>,
    /// More kernel arguments, such as `console=ttyS0`. Default: none.
    #[serde(default)]
    pub args: Vec<String>,
}

/// `[images]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Images {
    /// Image Factory: `https://factory.talos.dev`.
    pub factory: String,
    /// Default: `images` in the state directory.
    pub cache_dir: Option<PathBuf>,
}

/// `[egress]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Networks in CIDR notation that bootd may fetch images from. Machines of the inventory and their BMCs need no entry, except at
    /// loopback and link-local addresses: those need an entry that lies within them. Default: none.
    pub allow: Vec<String>,
}

/// `[deadlines]`. A stage that a BMC can repeat is tried three times within its deadline.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// Until a BMC did what it was told: `5m`.
    pub power: Span,
    /// Until a person pressed the button of a machine without BMC: `1h`.
    pub button: Span,
    /// Power-on to DHCP: `15m`.
    pub dhcp: Span,
    /// DHCP to a whole boot file: `6m`.
    pub boot_file: Span,
    /// Boot file to the iPXE script: `6m`.
    pub script: Span,
    /// Script to the kernel: `10m`.
    pub kernel: Span,
    /// Kernel to the agent's report: `15m`.
    pub agent: Span,
    /// A quick erase: `1h`.
    pub erase: Span,
    /// Talos's kernel to the request for its config: `15m`.
    pub config: Span,
    /// Config to the end of the install: `30m`.
    pub install: Span,
    /// End of the install to a boot from disk: `20m`.
    pub boot: Span,
    /// A full erase: `24h`.
    pub wipe: Span,
    /// A cluster, from the apply that asks for it to the level that is waited for: `25m`.
    pub cluster: Span,
}

/// `[bmc]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bmc {
    /// How often the power state of an idle machine is read: `1m`.
    pub poll: Span,
}

/// `[talos]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Talos {
    /// Port of the machine API: `50000`.
    pub port: u16,
}

/// A duration as people write it: `90s`, `15m`, `24h`, `250ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        span(&text).map(Self).ok_or_else(|| {
            de::Error::custom(format!("{text:?} is no duration; write 90s, 15m or 24h"))
        })
    }
}

fn span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    })
}

/// The configuration file is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path:?} cannot be read; `bootd init` writes one")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It does not say what it should.
    #[error("{path:?} is wrong: {why}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        why: String,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|why| ConfigError::Wrong {
            path: path.to_owned(),
            why,
        })
    }

    /// From text.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    /// The database's URL.
    pub fn store_url(&self) -> String {
        self.store
            .url
            .clone()
            .unwrap_or_else(|| store::Store::default_url(&self.state_dir))
    }

    /// Where an address is reached from outside: a listener on all interfaces is reached at the advertised address.
    pub fn reached(&self, listen: SocketAddr) -> SocketAddr {
        if listen.ip().is_unspecified() {
            SocketAddr::new(IpAddr::V4(self.advertise), listen.port())
        } else {
            listen
        }
    }
}

impl Deadlines {
    /// For the core.
    pub fn for_core(&self) -> lifecycle::Deadlines {
        lifecycle::Deadlines {
            power: self.power.0,
            button: self.button.0,
            dhcp: self.dhcp.0,
            boot_file: self.boot_file.0,
            script: self.script.0,
            kernel: self.kernel.0,
            agent: self.agent.0,
            erase: self.erase.0,
            config: self.config.0,
            install: self.install.0,
            boot: self.boot.0,
            wipe: self.wipe.0,
        }
    }
}

const fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

impl Default for Api {
    fn default() -> Self {
        Self { listen: any(7443) }
    }
}

impl Default for Netboot {
    fn default() -> Self {
        Self {
            dhcp: any(67),
            pxe: any(4011),
            overhear: any(68),
            tftp: any(69),
            http: any(8081),
            https: any(8443),
            interfaces: Vec::new(),
            assets: PathBuf::from("/usr/lib/ipxe"),
            empty_ra: false,
        }
    }
}

impl Default for Sinks {
    fn default() -> Self {
        Self {
            events: any(8082),
            kmsg: any(8083),
        }
    }
}

impl Default for Images {
    fn default() -> Self {
        Self {
            factory: "https://factory.talos.dev".to_owned(),
            cache_dir: None,
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        let d = lifecycle::Deadlines::default();
        Self {
            power: Span(d.power),
            button: Span(d.button),
            dhcp: Span(d.dhcp),
            boot_file: Span(d.boot_file),
            script: Span(d.script),
            kernel: Span(d.kernel),
            agent: Span(d.agent),
            erase: Span(d.erase),
            config: Span(d.config),
            install: Span(d.install),
            boot: Span(d.boot),
            wipe: Span(d.wipe),
            cluster: Span(Duration::from_secs(25 * 60)),
        }
    }
}

impl Default for Bmc {
    fn default() -> Self {
        Self {
            poll: Span(Duration::from_secs(60)),
        }
    }
}

impl Default for Talos {
    fn default() -> Self {
        Self { port: 50000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "state_dir = \"/var/lib/bootd\"\nadvertise = \"10.0.0.2\"\n";

    #[test]
    fn the_least_config_gets_the_documented_defaults() {
        let c = Config::parse(LEAST).unwrap();
        assert_eq!(c.api.listen, any(7443));
        assert_eq!(c.reached(c.netboot.https).to_string(), "10.0.0.2:8443");
        assert_eq!(c.store_url(), "sqlite:///var/lib/bootd/bootd.sqlite");
        assert_eq!(c.deadlines.dhcp.0, Duration::from_secs(900));
        assert_eq!(c.registration.mode, store::Mode::Declared);
    }

    #[test]
    fn unknown_keys_are_errors_at_every_level() {
        for extra in [
            "nonsense = 1\n",
            "[api]\nlisten_on = \"0.0.0.0:1\"\n",
            "[deadlines]\ndhpc = \"1m\"\n",
            "[agent]\nkernel = \"k\"\ninitrd = \"i\"\nmodule = \"m\"\n",
        ] {
            let wrong = Config::parse(&format!("{LEAST}{extra}")).unwrap_err();
            assert!(wrong.contains("unknown field"), "{wrong}");
        }
    }

    #[test]
    fn durations_are_what_people_write() {
        assert_eq!(span("5m"), Some(Duration::from_secs(300)));
        assert_eq!(span("250ms"), Some(Duration::from_millis(250)));
        for wrong in ["", "5", "m", "5 m", "-5m", "5d", "99999999999999999999h"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }
}
