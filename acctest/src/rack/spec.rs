//! What a rack consists of, as a person writes it: `--servers N` or a TOML file. Unknown keys are errors.
//!
//! Deliberately not here: what is derived (addresses, serials, passwords), see [`super::plan`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

/// A rack as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RackSpec {
    /// Everything random is derived from it; absent: from the directory.
    pub seed: Option<u64>,
    /// `127.A.B.0/24`; absent: from the directory.
    pub subnet: Option<Subnet>,
    /// BMC settings of every server that has none of its own.
    #[serde(default)]
    pub bmc: BmcSpec,
    /// The servers, in order.
    #[serde(default, rename = "server")]
    pub servers: Vec<ServerSpec>,
}

/// One kind of server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// Its name; with `count` above one the prefix of the names.
    pub name: Option<String>,
    /// How many of this kind; absent: one.
    pub count: Option<u32>,
    /// Installed memory; absent: 16 GiB.
    pub memory: Option<Bytes>,
    /// CPU cores; absent: 4.
    pub cores: Option<u32>,
    /// CPU threads; absent: twice the cores.
    pub threads: Option<u32>,
    /// SMBIOS manufacturer.
    pub manufacturer: Option<String>,
    /// SMBIOS product.
    pub product: Option<String>,
    /// SMBIOS serial.
    pub serial: Option<String>,
    /// Hardware address of the network card.
    pub mac: Option<String>,
    /// SMBIOS UUID.
    pub uuid: Option<String>,
    /// UEFI or BIOS.
    #[serde(default)]
    pub firmware: FirmwareKind,
    /// Its BMC.
    pub bmc: Option<BmcSpec>,
    /// Its disks; none written: one NVMe of 120 GB.
    #[serde(default, rename = "disk")]
    pub disks: Vec<DiskSpec>,
}

/// One kind of disk.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskSpec {
    /// Kind.
    #[serde(rename = "type", default)]
    pub kind: DiskKind,
    /// Size.
    pub size: Bytes,
    /// Serial; absent: derived. The empty string makes a disk without one.
    pub serial: Option<String>,
    /// World-wide id; absent: derived.
    pub wwid: Option<String>,
    /// Model; absent: by kind.
    pub model: Option<String>,
    /// How many of them; absent: one.
    pub count: Option<u32>,
}

/// A BMC as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BmcSpec {
    /// UDP port; absent: 6230.
    pub port: Option<u16>,
    /// User; absent: `admin`.
    pub username: Option<String>,
    /// Password; absent: derived, another one per server.
    pub password: Option<String>,
    /// Cipher suites that it offers; absent: 17 and 3.
    pub suites: Option<Vec<u8>>,
    /// Has no BMC at all: a person presses the button (`rack power`).
    #[serde(default)]
    pub manual: bool,
}

/// How the firmware starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirmwareKind {
    /// UEFI on x86-64.
    #[default]
    Uefi,
    /// Legacy BIOS.
    Bios,
}

/// Kinds of disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskKind {
    /// NVMe namespace.
    #[default]
    Nvme,
    /// SATA, does not rotate.
    Ssd,
    /// SATA, rotates.
    Hdd,
}

impl DiskKind {
    /// As Talos's and our own selectors spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::Ssd => "ssd",
            Self::Hdd => "hdd",
        }
    }
}

/// A size: a number of bytes, or text such as `120GB` or `16GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Reads `120GB`, `16 GiB`, `4096`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let at = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(at);
        let number: f64 = number
            .parse()
            .map_err(|_| format!("{text:?} does not begin with a number"))?;
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            other => return Err(format!("{other:?} is no unit of size; use GB, GiB, …")),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "sizes of disks are far below 2^53"
        )]
        Ok(Self((number * factor as f64).round() as u64))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(from)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => Self::parse(&text).map_err(serde::de::Error::custom),
        }
    }
}

/// A loopback network that the rack's addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    base: u32,
    bits: u8,
}

impl Subnet {
    /// Reads `127.A.B.0/24`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no subnet; write 127.A.B.0/24");
        let (address, bits) = text.split_once('/').ok_or_else(bad)?;
        let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
        let bits: u8 = bits.parse().map_err(|_| bad())?;
        if !address.is_loopback() || !(9..=29).contains(&bits) {
            return Err(format!(
                "{text:?} is not inside 127.0.0.0/8; a simulated rack lives on loopback only"
            ));
        }
        let mask = u32::MAX << (32 - bits);
        Ok(Self {
            base: u32::from(address) & mask,
            bits,
        })
    }

    /// The smallest subnet for `servers`, at a place that `pick` chooses, above 127.16.0.0.
    pub fn derive(pick: u32, servers: usize) -> Self {
        let mut bits = 24;
        while bits > 12 && (1_usize << (32 - bits)) < 2 * servers + 20 {
            bits -= 1;
        }
        let low = 0x7f10_0000_u32;
        let span = 0x7ff0_0000_u32 - low;
        let mask = u32::MAX << (32 - bits);
        Self {
            base: (low + pick % span) & mask,
            bits,
        }
    }

    /// The `n`th address, if the subnet has it.
    pub fn address(self, n: usize) -> Option<Ipv4Addr> {
        let n = u32::try_from(n).ok()?;
        let size = 1_u32 << (32 - self.bits);
        (n > 0 && n < size - 1).then(|| Ipv4Addr::from(self.base + n))
    }

    /// Length of the prefix.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// Network mask.
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX << (32 - self.bits))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.bits)
    }
}

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// Where the boot server listens: what firmware on loopback cannot learn from packets, because the well-known ports need root.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// proxyDHCP.
    pub dhcp: SocketAddr,
    /// The PXE boot server, port 4011 by the standard.
    pub pxe: SocketAddr,
    /// TFTP.
    pub tftp_port: u16,
}

impl RackSpec {
    /// `n` default machines.
    pub fn plain(n: u32) -> Self {
        Self {
            servers: vec![ServerSpec {
                count: Some(n),
                ..ServerSpec::default()
            }],
            ..Self::default()
        }
    }

    /// Reads a spec file.
    ///
    /// # Errors
    /// The position and the reason.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// One spec per machine: counts are spread out and names are made up.
    ///
    /// # Errors
    /// Two machines have one name.
    pub fn machines(&self) -> Result<Vec<(String, ServerSpec)>, String> {
        let mut seen = BTreeMap::new();
        let mut machines = Vec::new();
        for spec in &self.servers {
            let count = spec.count.unwrap_or(1);
            for n in 1..=count {
                let name = match (&spec.name, spec.count) {
                    (Some(name), None) => name.clone(),
                    (Some(prefix), Some(_)) => format!("{prefix}{n}"),
                    (None, _) => format!("server-{}", machines.len() + 1),
                };
                if seen.insert(name.clone(), ()).is_some() {
                    return Err(format!("two servers are named {name:?}"));
                }
                machines.push((name, spec.clone()));
            }
        }
        Ok(machines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_file() {
        let spec = RackSpec::parse(
            r#"
            subnet = "127.77.3.0/24"
            [bmc]
            username = "root"
            password = "calvin"
            [[server]]
            name = "r1-u"
            count = 2
            memory = "64GiB"
            firmware = "bios"
            [[server.disk]]
            type = "hdd"
            size = "4TB"
            count = 3
            [[server]]
            name = "odd"
            disk = [{ size = 1000, serial = "" }]
            "#,
        )
        .unwrap();
        let machines = spec.machines().unwrap();
        let names: Vec<_> = machines.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["r1-u1", "r1-u2", "odd"]);
        assert_eq!(machines[0].1.memory, Some(Bytes(64 << 30)));
        assert_eq!(machines[0].1.disks[0].size, Bytes(4_000_000_000_000));
        assert_eq!(machines[0].1.firmware, FirmwareKind::Bios);
        let error = RackSpec::parse("[[server]]\nmemroy = 1").unwrap_err();
        assert!(error.to_string().contains("memroy"), "{error}");
    }

    #[test]
    fn subnets() {
        let net = Subnet::parse("127.7.8.9/24").unwrap();
        assert_eq!(net.to_string(), "127.7.8.0/24");
        assert_eq!(net.address(10).unwrap().to_string(), "127.7.8.10");
        assert_eq!(net.address(255), None);
        assert!(Subnet::parse("10.0.0.0/24").is_err());
        let wide = Subnet::derive(12345, 1000);
        assert_eq!(wide.bits(), 21);
        assert!(wide.address(2019).unwrap().is_loopback());
    }
}
