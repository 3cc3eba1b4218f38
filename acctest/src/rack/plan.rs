//! The rack as it is built: every identity, address and password, derived from the spec and a seed, so that the same directory
//! gives the same machines again.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::spec::{BmcSpec, DiskKind, DiskSpec, FirmwareKind, RackSpec, ServerSpec, Subnet};

/// One machine, complete.
#[derive(Debug, Clone)]
pub struct ServerPlan {
    /// Its name in this rack.
    pub name: String,
    /// SMBIOS UUID, lower case.
    pub uuid: String,
    /// SMBIOS serial.
    pub serial: String,
    /// SMBIOS manufacturer.
    pub manufacturer: String,
    /// SMBIOS product.
    pub product: String,
    /// Hardware address, lower case with colons.
    pub mac: [u8; 6],
    /// Of its firmware and operating system.
    pub address: Ipv4Addr,
    /// CPU cores.
    pub cores: u32,
    /// CPU threads.
    pub threads: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Kind of firmware.
    pub firmware: FirmwareKind,
    /// Its BMC; `None`: a person presses the button.
    pub bmc: Option<BmcPlan>,
    /// Its disks.
    pub disks: Vec<DiskPlan>,
}

impl ServerPlan {
    /// The hardware address as text.
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

/// A BMC, complete.
#[derive(Debug, Clone)]
pub struct BmcPlan {
    /// Where it listens.
    pub address: SocketAddr,
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
    /// Cipher suites.
    pub suites: Vec<u8>,
}

/// A disk, complete.
#[derive(Debug, Clone)]
pub struct DiskPlan {
    /// The sparse file.
    pub path: PathBuf,
    /// `nvme0n1`.
    pub device: String,
    /// Serial.
    pub serial: String,
    /// World-wide id.
    pub wwid: String,
    /// Model.
    pub model: String,
    /// Path below `/sys/devices`.
    pub bus_path: String,
    /// Kind.
    pub kind: DiskKind,
    /// Size in bytes.
    pub bytes: u64,
}

/// The whole rack.
#[derive(Debug, Clone)]
pub struct RackPlan {
    /// Where its addresses come from.
    pub subnet: Subnet,
    /// Of the rack itself: address server and image factory.
    pub address: Ipv4Addr,
    /// The machines.
    pub servers: Vec<ServerPlan>,
}

/// Builds the plan. `dir` holds the disk files; `default_seed` counts where the spec has none.
///
/// # Errors
/// What is wrong with the spec, for a person.
pub fn plan(spec: &RackSpec, dir: &Path, default_seed: u64) -> Result<RackPlan, String> {
    let seed = Seed(spec.seed.unwrap_or(default_seed));
    let machines = spec.machines()?;
    let subnet = spec
        .subnet
        .unwrap_or_else(|| Subnet::derive(seed.number("subnet"), machines.len()));
    let short = || {
        format!(
            "{subnet} has no room for {} servers (two addresses each); give a wider --subnet",
            machines.len()
        )
    };
    let mut servers = Vec::new();
    for (index, (name, written)) in machines.iter().enumerate() {
        let address = subnet.address(10 + 2 * index).ok_or_else(short)?;
        let bmc_address = subnet.address(11 + 2 * index).ok_or_else(short)?;
        servers.push(server(
            &seed,
            dir,
            (name, written),
            &spec.bmc,
            (address, bmc_address),
        )?);
    }
    Ok(RackPlan {
        subnet,
        address: subnet.address(1).ok_or_else(short)?,
        servers,
    })
}

fn server(
    seed: &Seed,
    dir: &Path,
    (name, written): (&str, &ServerSpec),
    defaults: &BmcSpec,
    (address, bmc_address): (Ipv4Addr, Ipv4Addr),
) -> Result<ServerPlan, String> {
    let of = |what: &str| seed.bytes(&format!("{name}/{what}"));
    let cores = written.cores.unwrap_or(4);
    let mac = match &written.mac {
        Some(text) => parse_mac(text).ok_or_else(|| format!("{name}: {text:?} is no mac"))?,
        None => {
            let r = of("mac");
            [0x52, 0x54, 0x00, r[0], r[1], r[2]]
        }
    };
    let bmc = written.bmc.as_ref().unwrap_or(defaults);
    let disks = if written.disks.is_empty() {
        vec![DiskSpec {
            kind: DiskKind::Nvme,
            size: super::spec::Bytes(120_000_000_000),
            serial: None,
            wwid: None,
            model: None,
            count: None,
        }]
    } else {
        written.disks.clone()
    };
    Ok(ServerPlan {
        name: name.to_owned(),
        uuid: written
            .uuid
            .as_ref()
            .map_or_else(|| uuid(of("uuid")), |text| text.to_ascii_lowercase()),
        serial: written
            .serial
            .clone()
            .unwrap_or_else(|| format!("RK{}", hex(&of("serial")[..4]).to_uppercase())),
        manufacturer: written
            .manufacturer
            .clone()
            .unwrap_or_else(|| "Simulated".to_owned()),
        product: written
            .product
            .clone()
            .unwrap_or_else(|| "Rack Server".to_owned()),
        mac,
        address,
        cores,
        threads: written.threads.unwrap_or(2 * cores),
        memory: written.memory.map_or(16 << 30, |bytes| bytes.0),
        firmware: written.firmware,
        bmc: (!bmc.manual).then(|| BmcPlan {
            address: SocketAddr::from((bmc_address, bmc.port.unwrap_or(6230))),
            username: bmc.username.clone().unwrap_or_else(|| "admin".to_owned()),
            password: bmc
                .password
                .clone()
                .unwrap_or_else(|| hex(&of("bmc-password")[..8])),
            suites: bmc.suites.clone().unwrap_or_else(|| vec![17, 3]),
        }),
        disks: disk_plans(seed, dir, name, &disks),
    })
}

fn disk_plans(seed: &Seed, dir: &Path, name: &str, written: &[DiskSpec]) -> Vec<DiskPlan> {
    let mut plans: Vec<DiskPlan> = Vec::new();
    let (mut nvme, mut sata) = (0_u8, 0_u8);
    for spec in written {
        for _ in 0..spec.count.unwrap_or(1) {
            let index = plans.len();
            let random = seed.bytes(&format!("{name}/disk{index}"));
            let serial = match (&spec.serial, spec.count) {
                (Some(serial), None) => serial.clone(),
                (Some(serial), Some(_)) if !serial.is_empty() => format!("{serial}{index}"),
                (Some(serial), Some(_)) => serial.clone(),
                (None, _) => format!("RD{}", hex(&random[..5]).to_uppercase()),
            };
            let (device, bus_path, model, prefix) = match spec.kind {
                DiskKind::Nvme => {
                    nvme += 1;
                    let n = nvme - 1;
                    (
                        format!("nvme{n}n1"),
                        format!("/pci0000:00/0000:00:{:02x}.0/nvme/nvme{n}/nvme{n}n1", 3 + n),
                        "Simulated NVMe",
                        "eui.",
                    )
                }
                DiskKind::Ssd | DiskKind::Hdd => {
                    sata += 1;
                    let n = sata - 1;
                    (
                        format!("sd{}", char::from(b'a' + n % 26)),
                        format!(
                            "/pci0000:00/0000:00:1f.2/ata{}/host{n}/target{n}:0:0/{n}:0:0:0",
                            n + 1
                        ),
                        if spec.kind == DiskKind::Ssd {
                            "Simulated SSD"
                        } else {
                            "Simulated HDD"
                        },
                        "naa.",
                    )
                }
            };
            plans.push(DiskPlan {
                path: dir.join("disks").join(format!("{name}-{index}.img")),
                device,
                serial,
                wwid: spec
                    .wwid
                    .clone()
                    .unwrap_or_else(|| format!("{prefix}{}", hex(&random[8..16]))),
                model: spec.model.clone().unwrap_or_else(|| model.to_owned()),
                bus_path,
                kind: spec.kind,
                bytes: spec.size.0 / 4096 * 4096,
            });
        }
    }
    plans
}

struct Seed(u64);

impl Seed {
    fn bytes(&self, what: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0.to_be_bytes());
        hash.update(what.as_bytes());
        hash.finalize().into()
    }

    fn number(&self, what: &str) -> u32 {
        let b = self.bytes(what);
        u32::from_be_bytes([b[0], b[1], b[2], b[3]])
    }
}

/// A seed from a directory's path.
pub fn seed_of(dir: &Path) -> u64 {
    let hash: [u8; 32] = Sha256::digest(dir.as_os_str().as_encoded_bytes()).into();
    u64::from_be_bytes(
        hash[..8]
            .try_into()
            .expect("a slice of eight bytes is an array of eight bytes"),
    )
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uuid(mut b: [u8; 32]) -> String {
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let h = hex(&b[..16]);
    format!(
        "{}-{}-{}-{}-{}",
        &h[..8],
        &h[8..12],
        &h[12..16],
        &h[16..20],
        &h[20..]
    )
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_directory_gives_the_same_machines() {
        let spec = RackSpec::plain(8);
        let one = plan(&spec, Path::new("d"), 7).unwrap();
        let two = plan(&spec, Path::new("d"), 7).unwrap();
        assert_eq!(format!("{one:?}"), format!("{two:?}"));
        let distinct: BTreeSet<_> = one
            .servers
            .iter()
            .map(|s| (s.uuid.clone(), s.mac, s.address))
            .collect();
        assert_eq!(distinct.len(), 8);
        let passwords: BTreeSet<_> = one
            .servers
            .iter()
            .filter_map(|s| s.bmc.as_ref().map(|b| b.password.clone()))
            .collect();
        assert_eq!(passwords.len(), 8);
        assert_eq!(one.servers[0].disks[0].bytes, 120_000_000_000);
    }

    #[test]
    fn a_subnet_can_be_too_small() {
        let mut spec = RackSpec::plain(200);
        spec.subnet = Some(Subnet::parse("127.9.9.0/24").unwrap());
        let error = plan(&spec, Path::new("d"), 7).unwrap_err();
        assert!(error.contains("wider --subnet"), "{error}");
    }
}
