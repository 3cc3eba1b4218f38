//! `bootd.toml`: parsed once into valid types. An unknown key is an error, a default is written here and nowhere else.
//!
//! Not here: what is done with a setting, and any look at files or sockets that it names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Everything that `bootd serve` is told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory for the CA, keys, database and image cache; 0700.
    pub state_dir: PathBuf,
    /// The address that machines and clients reach this bootd at. An address, because firmware resolves no names.
    pub advertise: Ipv4Addr,
    /// The API for provider and `metalctl`.
    #[serde(default)]
    pub api: Api,
    /// The database.
    #[serde(default)]
    pub store: Store,
    /// Who may register.
    #[serde(default)]
    pub registration: Registration,
    /// DHCP, TFTP and HTTP.
    #[serde(default)]
    pub netboot: Netboot,
    /// Where booting Talos nodes push their story.
    #[serde(default)]
    pub sinks: Sinks,
    /// What machines boot to be looked at and to be erased.
    #[serde(default)]
    pub agent: Option<Agent>,
    /// Where Talos images come from.
    #[serde(default)]
    pub images: Images,
    /// Whom bootd may dial.
    #[serde(default)]
    pub egress: Egress,
    /// How long each stage of a machine may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// BMC polling.
    #[serde(default)]
    pub bmc: Bmc,
    /// The Talos API of nodes.
    #[serde(default)]
    pub talos: Talos,
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// TLS with client certificates. Default `0.0.0.0:7443`.
    pub listen: SocketAddr,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sqlite:///path/to/file`. Default: `bootd.db` in `state_dir`.
    pub url: Option<String>,
}

/// `[registration]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// Default `declared`.
    pub mode: RegistrationMode,
}

/// Which unknown machines get the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum RegistrationMode {
    /// None, and none that a `metal_server` declares either before it was seen.
    Closed,
    /// Those whose identity a `metal_server` names.
    #[default]
    Declared,
    /// All.
    Open,
}

/// `[netboot]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Netboot {
    /// Interfaces that DHCP is bound to. Default: none, the address alone decides.
    pub interfaces: Vec<String>,
    /// Proxy DHCP. Default `0.0.0.0:67`.
    pub dhcp: SocketAddr,
    /// PXE boot server. Default `0.0.0.0:4011`.
    pub pxe: SocketAddr,
    /// TFTP. Default `0.0.0.0:69`.
    pub tftp: SocketAddr,
    /// HTTP for firmware and iPXE. Default `0.0.0.0:8081`.
    pub http: SocketAddr,
    /// HTTPS for the agent and for machine configs. Default `0.0.0.0:8443`.
    pub https: SocketAddr,
    /// Directory with the iPXE binaries. Default `/usr/lib/ipxe`.
    pub assets: PathBuf,
}

/// `[sinks]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sinks {
    /// Talos events: gRPC. Default `0.0.0.0:8082`.
    pub events: SocketAddr,
    /// Talos kernel log: JSON lines over TCP. Default `0.0.0.0:8083`.
    pub kmsg: SocketAddr,
}

/// `[agent]`: the files that `scripts/agent-initrd` writes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// A Linux kernel.
    pub kernel: PathBuf,
    /// The agent's initial RAM disk.
    pub initrd: PathBuf,
    /// Kernel modules as another cpio. Default: none.
    #[serde(default)]
    pub modules: Option<PathBuf>,
    /// Further kernel arguments, such as `console=ttyS0,115200`. Default: none.
    #[serde(default)]
    pub args: Vec<String>,
}

/// `[images]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Images {
    /// An Image Factory or a mirror of one. Default `https://factory.talos.dev`.
    pub factory: String,
    /// Default: `images` in `state_dir`.
    pub cache_dir: Option<PathBuf>,
}

/// `[egress]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Networks that bootd may dial beside the machines of its inventory, such as `10.0.0.0/8` or `0.0.0.0/0`.
    /// Default: empty, which allows public addresses only.
    pub allow: Vec<Cidr>,
}

/// `[deadlines]`: durations such as `"90s"`, `"5m"`, `"12h"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// Power command to power read back. Default 2m.
    #[serde(deserialize_with = "duration")]
    pub power: Duration,
    /// Power on to the firmware's DHCP. Default 5m.
    #[serde(deserialize_with = "duration")]
    pub dhcp: Duration,
    /// DHCP to iPXE running. Default 5m.
    #[serde(deserialize_with = "duration")]
    pub boot_file: Duration,
    /// iPXE to its script. Default 2m.
    #[serde(deserialize_with = "duration")]
    pub script: Duration,
    /// Script to kernel and initial RAM disk fetched. Default 5m.
    #[serde(deserialize_with = "duration")]
    pub kernel: Duration,
    /// Kernel fetched to the agent's report. Default 5m.
    #[serde(deserialize_with = "duration")]
    pub agent: Duration,
    /// An erase order's start to its proof, for the disk check of an install. Default 30m.
    #[serde(deserialize_with = "duration")]
    pub erase: Duration,
    /// Talos's kernel fetched to its config fetched. Default 5m.
    #[serde(deserialize_with = "duration")]
    pub config: Duration,
    /// Config fetched to the install done. Default 15m.
    #[serde(deserialize_with = "duration")]
    pub install: Duration,
    /// Install done to the installed system's boot seen. Default 10m.
    #[serde(deserialize_with = "duration")]
    pub boot: Duration,
    /// A wipe's erase order to its proof. Default 12h.
    #[serde(deserialize_with = "duration")]
    pub wipe: Duration,
}

/// `[bmc]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bmc {
    /// How often an idle BMC is asked for its power state. Default 30s.
    #[serde(deserialize_with = "duration")]
    pub poll: Duration,
}

/// `[talos]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Talos {
    /// Port of the machine API. Default 50000.
    pub port: u16,
}

/// A network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not readable.
    #[error("cannot read {path:?}: name the file with --config, or make one with `bootd init`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or not of this shape. The text names line, column and key.
    #[error("bootd.toml is not usable: {0}")]
    Shape(String),
}

impl Config {
    /// Reads and parses a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Parses a text.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| ConfigError::Shape(e.to_string()))
    }

    /// The database's URL.
    pub fn store_url(&self) -> String {
        self.store
            .url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.state_dir.join("bootd.db").display()))
    }

    /// Where images are cached.
    pub fn image_dir(&self) -> PathBuf {
        self.images
            .cache_dir
            .clone()
            .unwrap_or_else(|| self.state_dir.join("images"))
    }
}

impl Egress {
    /// Whether bootd may dial an address. Link-local addresses never; without a list, loopback and private ones neither.
    pub fn allows(&self, address: IpAddr) -> bool {
        let listed = self.allow.iter().any(|net| net.contains(address));
        match address {
            IpAddr::V4(v4) if v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() => {
                false
            }
            IpAddr::V6(v6)
                if v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() =>
            {
                false
            }
            IpAddr::V4(v4) => {
                listed || (self.allow.is_empty() && !v4.is_private() && !v4.is_loopback())
            }
            IpAddr::V6(v6) => {
                listed || (self.allow.is_empty() && !v6.is_unique_local() && !v6.is_loopback())
            }
        }
    }
}

impl Cidr {
    /// Whether an address lies in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                same_prefix(&net.octets(), &ip.octets(), self.bits)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                same_prefix(&net.octets(), &ip.octets(), self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn same_prefix(net: &[u8], ip: &[u8], bits: u8) -> bool {
    let whole = usize::from(bits / 8);
    let rest = bits % 8;
    let mask = if rest == 0 { 0 } else { 0xff_u8 << (8 - rest) };
    net[..whole] == ip[..whole] && (rest == 0 || (net[whole] ^ ip[whole]) & mask == 0)
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no network: want ADDRESS/BITS, such as 10.0.0.0/8");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits > most {
            Err(wrong())
        } else {
            Ok(Self { address, bits })
        }
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// `"90s"`, `"5m"`, `"12h"`; a bare number has no unit and is refused.
fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse_duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "`{text}` is no duration: want a whole number with ms, s, m or h, such as 90s or 5m"
        ))
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const MINUTE: Duration = Duration::from_secs(60);

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(ANY, 7443),
        }
    }
}

impl Default for Netboot {
    fn default() -> Self {
        Self {
            interfaces: vec![],
            dhcp: SocketAddr::new(ANY, 67),
            pxe: SocketAddr::new(ANY, 4011),
            tftp: SocketAddr::new(ANY, 69),
            http: SocketAddr::new(ANY, 8081),
            https: SocketAddr::new(ANY, 8443),
            assets: PathBuf::from("/usr/lib/ipxe"),
        }
    }
}

impl Default for Sinks {
    fn default() -> Self {
        Self {
            events: SocketAddr::new(ANY, 8082),
            kmsg: SocketAddr::new(ANY, 8083),
        }
    }
}

impl Default for Images {
    fn default() -> Self {
        Self {
            factory: "https://factory.talos.dev".into(),
            cache_dir: None,
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            power: 2 * MINUTE,
            dhcp: 5 * MINUTE,
            boot_file: 5 * MINUTE,
            script: 2 * MINUTE,
            kernel: 5 * MINUTE,
            agent: 5 * MINUTE,
            erase: 30 * MINUTE,
            config: 5 * MINUTE,
            install: 15 * MINUTE,
            boot: 10 * MINUTE,
            wipe: 720 * MINUTE,
        }
    }
}

impl Default for Bmc {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(30),
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

    const LEAST: &str = "state_dir = \"/var/lib/bootd\"\nadvertise = \"10.0.0.5\"\n";

    fn refused(text: &str) -> String {
        Config::parse(&format!("{LEAST}{text}"))
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn the_least_config_has_every_default() {
        let config = Config::parse(LEAST).unwrap();
        assert_eq!(config.netboot.dhcp.port(), 67);
        assert_eq!(config.deadlines.install, 15 * MINUTE);
        assert_eq!(config.store_url(), "sqlite:///var/lib/bootd/bootd.db");
        assert_eq!(config.registration.mode, RegistrationMode::Declared);
    }

    #[test]
    fn unknown_keys_and_bare_numbers_are_refused() {
        assert!(refused("[netboot]\ntfpt = \"0.0.0.0:69\"\n").contains("tfpt"));
        assert!(refused("colour = 1\n").contains("colour"));
        assert!(refused("[deadlines]\ndhcp = \"5\"\n").contains("no duration"));
        assert!(refused("[deadlines]\ndhcp = 5\n").contains("string"));
        assert!(refused("[egress]\nallow = [\"10.0.0.0/33\"]\n").contains("10.0.0.0/33"));
        assert!(refused("[registration]\nmode = \"half\"\n").contains("half"));
    }

    #[test]
    fn egress_is_a_list_and_never_link_local() {
        let open = Egress {
            allow: vec!["0.0.0.0/0".parse().unwrap()],
        };
        assert!(open.allows("127.0.0.1".parse().unwrap()));
        assert!(!open.allows("169.254.169.254".parse().unwrap()));
        let none = Egress::default();
        assert!(none.allows("1.1.1.1".parse().unwrap()));
        assert!(!none.allows("10.0.0.1".parse().unwrap()));
        let some = Egress {
            allow: vec!["10.1.128.0/17".parse().unwrap()],
        };
        assert!(some.allows("10.1.200.1".parse().unwrap()));
        assert!(!some.allows("10.1.1.1".parse().unwrap()));
        assert!(!some.allows("1.1.1.1".parse().unwrap()));
    }
}
