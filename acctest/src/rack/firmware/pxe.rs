//! The network boot of a firmware: address server and proxyDHCP asked as a relay would, port 4011, TFTP, then iPXE's own DHCP and
//! its script.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use super::ipxe::{self, Ending, Settings};
use super::tftp::{self, TftpError};
use crate::rack::dhcp::{Dhcp, Kind};
use crate::rack::fault::Fault;
use crate::rack::http::{Client, HttpError};
use crate::rack::machine::Machine;
use crate::rack::spec::FirmwareKind;
use crate::rack::wire::{Cable, Port};

/// Why the network did not boot the machine.
#[derive(Debug, thiserror::Error)]
pub enum PxeError {
    /// No address.
    #[error("no DHCP offer with an address")]
    NoAddress,
    /// Nobody had boot data.
    #[error("an address, but no boot server answered")]
    NoBootServer,
    /// The rack was started without `--bootd`.
    #[error("the rack was started without --bootd: there is no boot server to ask")]
    NoEndpoint,
    /// 4011 was asked and said nothing.
    #[error("the boot server on port {0} did not answer")]
    BootServerSilent(u16),
    /// Offer without a file.
    #[error("the boot server's offer names no file that this firmware can load: {0:?}")]
    BootFile(String),
    /// TFTP.
    #[error(transparent)]
    Tftp(#[from] TftpError),
    /// What came over TFTP cannot be started.
    #[error("{file:?} is no program for this firmware")]
    NoProgram {
        /// The file.
        file: String,
    },
    /// The script is wrong.
    #[error(transparent)]
    Script(#[from] ipxe::ScriptError),
    /// A socket failed.
    #[error("network card")]
    Socket(#[from] std::io::Error),
}

/// Boots from the network. Reports every step to the machine's status.
///
/// # Errors
/// See [`PxeError`].
pub async fn boot(machine: &Machine) -> Result<Ending, PxeError> {
    if machine.faults.has(Fault::NoDhcp) {
        machine.stage("firmware", "network card without a link");
        return Err(PxeError::NoAddress);
    }
    let cable = machine.cable();
    machine.stage("pxe", "DHCP");
    let offer = discover(machine, &cable, Speaker::Rom).await?;
    let file = offer.file_name();
    let server = offer
        .server()
        .ok_or_else(|| PxeError::BootFile(file.clone()))?;
    if file.is_empty() || file.contains("://") {
        return Err(PxeError::BootFile(file));
    }
    machine.stage("pxe", &format!("TFTP {file}"));
    let port = machine.endpoints().ok_or(PxeError::NoEndpoint)?.tftp_port;
    let program = tftp::fetch(
        &cable,
        SocketAddr::from((server, port)),
        &file,
        machine.pace(Duration::from_secs(1)),
    )
    .await?;
    let runs = match machine.plan.firmware {
        FirmwareKind::Uefi => program.starts_with(b"MZ"),
        FirmwareKind::Bios => !program.is_empty(),
    };
    if !runs {
        return Err(PxeError::NoProgram { file });
    }
    machine.stage("ipxe", "DHCP");
    let offer = discover(machine, &cable, Speaker::Ipxe).await?;
    let url = offer.file_name();
    if !url.starts_with("http://") {
        return Err(PxeError::BootFile(url));
    }
    machine.stage("ipxe", "script");
    let platform = match machine.plan.firmware {
        FirmwareKind::Uefi => ipxe::Platform::Efi,
        FirmwareKind::Bios => ipxe::Platform::Bios,
    };
    let settings = settings(machine, &offer);
    let mut loader = Loader {
        machine,
        cable: &cable,
    };
    Ok(ipxe::run(&mut loader, settings, platform, &url).await?)
}

/// Who asks for boot data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Rom,
    Ipxe,
}

/// Both offers, merged as firmware does.
struct Offer {
    address: Dhcp,
    boot: Dhcp,
}

impl Offer {
    fn file_name(&self) -> String {
        if self.boot.file.is_empty() {
            self.boot.text(67).unwrap_or_default()
        } else {
            self.boot.text(67).unwrap_or_else(|| self.boot.file.clone())
        }
    }

    fn server(&self) -> Option<Ipv4Addr> {
        self.boot
            .siaddr
            .or_else(|| self.boot.text(66).and_then(|text| text.parse().ok()))
            .or_else(|| self.boot.address(54))
    }
}

async fn discover(machine: &Machine, cable: &Cable, speaker: Speaker) -> Result<Offer, PxeError> {
    let endpoints = machine.endpoints().ok_or(PxeError::NoEndpoint)?;
    let port = cable.open(0).await?;
    let xid = machine.random();
    let ask = request(machine, speaker, Kind::Discover, xid);
    let mut address = None;
    let mut boot = None;
    let address_server = machine.address_server();
    for wait in [1, 2, 4] {
        port.send(&ask.emit(), address_server).await?;
        port.send(&ask.emit(), endpoints.dhcp).await?;
        let until = Instant::now()
            + machine
                .pace(Duration::from_secs(wait))
                .max(Duration::from_millis(400));
        while address.is_none() || boot.is_none() {
            let Some((packet, from)) = port.receive(until).await? else {
                break;
            };
            let Some(offer) = Dhcp::parse(&packet).filter(|o| o.xid == xid && o.op == 2) else {
                continue;
            };
            if from == address_server && offer.yiaddr.is_some() {
                address.get_or_insert(offer);
            } else if is_boot_offer(&offer) {
                boot.get_or_insert(offer);
            }
        }
        if address.is_some() && boot.is_some() {
            break;
        }
    }
    let address = address.ok_or(PxeError::NoAddress)?;
    take_address(machine, &port, &address, speaker, xid).await?;
    let mut boot = boot.ok_or(PxeError::NoBootServer)?;
    if speaker == Speaker::Rom && !boot.options.contains_key(&43) {
        boot = ask_boot_server(machine, cable, endpoints.pxe).await?;
    }
    Ok(Offer { address, boot })
}

fn is_boot_offer(offer: &Dhcp) -> bool {
    let class = offer.text(60).unwrap_or_default();
    class.starts_with("PXEClient") || class.starts_with("HTTPClient")
}

/// The REQUEST is a broadcast on a real wire: the proxy hears it too.
async fn take_address(
    machine: &Machine,
    port: &Port,
    offer: &Dhcp,
    speaker: Speaker,
    xid: u32,
) -> Result<(), PxeError> {
    let mut ask = request(machine, speaker, Kind::Request, xid);
    let yours = offer.yiaddr.unwrap_or(machine.plan.address);
    ask.options.insert(50, yours.octets().to_vec());
    if let Some(server) = offer.options.get(&54) {
        ask.options.insert(54, server.clone());
    }
    for _ in 0..5 {
        port.send(&ask.emit(), machine.address_server()).await?;
        if let Some(endpoints) = machine.endpoints() {
            port.send(&ask.emit(), endpoints.dhcp).await?;
        }
        let until = Instant::now()
            + machine
                .pace(Duration::from_secs(2))
                .max(Duration::from_millis(400));
        while let Some((packet, from)) = port.receive(until).await? {
            let ack =
                Dhcp::parse(&packet).filter(|a| a.xid == xid && a.kind() == Some(Kind::Ack as u8));
            if ack.is_some() && from == machine.address_server() {
                return Ok(());
            }
        }
    }
    Err(PxeError::NoAddress)
}

/// An offer without option 43: EDK2 asks the boot server on its own port (BINL).
async fn ask_boot_server(
    machine: &Machine,
    cable: &Cable,
    server: SocketAddr,
) -> Result<Dhcp, PxeError> {
    machine.stage("pxe", "boot server, port 4011");
    let port = cable.open(0).await?;
    let xid = machine.random();
    let mut ask = request(machine, Speaker::Rom, Kind::Request, xid);
    ask.giaddr = None;
    ask.ciaddr = Some(machine.plan.address);
    for wait in [1, 2, 4] {
        port.send(&ask.emit(), server).await?;
        let until = Instant::now()
            + machine
                .pace(Duration::from_secs(wait))
                .max(Duration::from_millis(400));
        while let Some((packet, _)) = port.receive(until).await? {
            if let Some(ack) = Dhcp::parse(&packet).filter(|a| a.xid == xid && a.op == 2) {
                return Ok(ack);
            }
        }
    }
    Err(PxeError::BootServerSilent(server.port()))
}

/// The packet that OVMF, a BIOS ROM or iPXE sends (`netboot.md` §3), relayed.
fn request(machine: &Machine, speaker: Speaker, kind: Kind, xid: u32) -> Dhcp {
    let (arch, undi): (u8, &str) = match machine.plan.firmware {
        FirmwareKind::Uefi => (7, "003000"),
        FirmwareKind::Bios => (0, "002001"),
    };
    let mut options = BTreeMap::new();
    options.insert(53, vec![kind as u8]);
    options.insert(57, 1472_u16.to_be_bytes().to_vec());
    options.insert(93, vec![0, arch]);
    options.insert(94, vec![1, 3, 0]);
    let mut identifier = vec![0];
    identifier.extend(guid(&machine.uuid()));
    options.insert(97, identifier);
    let class = format!("PXEClient:Arch:{arch:05}:UNDI:{undi}");
    options.insert(60, class.into_bytes());
    let wanted: &[u8] = match speaker {
        Speaker::Rom => &[
            1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59,
            60, 66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135,
        ],
        Speaker::Ipxe => &[
            1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 175, 203,
        ],
    };
    options.insert(55, wanted.to_vec());
    if speaker == Speaker::Ipxe {
        options.insert(77, b"iPXE".to_vec());
        // Features: http, dns, tftp, efi or pxe, menu.
        options.insert(
            175,
            vec![0x13, 1, 1, 0x17, 1, 1, 0x15, 1, 1, 0x24, 1, 1, 0x27, 1, 1],
        );
    }
    Dhcp {
        op: 1,
        xid,
        giaddr: Some(machine.plan.address),
        mac: machine.plan.mac,
        options,
        ..Dhcp::default()
    }
}

/// A UUID as SMBIOS and DHCP carry it: the first three fields little-endian.
fn guid(uuid: &str) -> [u8; 16] {
    let digits: Vec<u8> = uuid
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .map(|digit| (char::from(digit).to_digit(16).unwrap_or(0) & 0xf) as u8)
        .collect();
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

fn settings(machine: &Machine, offer: &Offer) -> Settings {
    let mut settings = Settings::new();
    let mut set = |name: &str, value: String| {
        settings.insert(name.to_owned(), value);
    };
    set("net0/mac", machine.plan.mac_text());
    set("net0/ip", machine.plan.address.to_string());
    if let Some(mask) = offer.address.address(1) {
        set("net0/netmask", mask.to_string());
    }
    if let Some(server) = offer.server() {
        set("next-server", server.to_string());
        set("net0/next-server", server.to_string());
    }
    set("filename", offer.file_name());
    set("uuid", machine.uuid());
    set("serial", machine.plan.serial.clone());
    set("manufacturer", machine.plan.manufacturer.clone());
    set("product", machine.plan.product.clone());
    set("buildarch", "x86_64".to_owned());
    let platform = match machine.plan.firmware {
        FirmwareKind::Uefi => "efi",
        FirmwareKind::Bios => "pcbios",
    };
    set("platform", platform.to_owned());
    set("version", "1.0.0+".to_owned());
    settings
}

struct Loader<'a> {
    machine: &'a Machine,
    cable: &'a Cable,
}

impl ipxe::Loader for Loader<'_> {
    async fn fetch(&mut self, url: &str) -> Result<Vec<u8>, String> {
        let shown = crate::rack::http::without_query(url);
        self.machine.stage("ipxe", &format!("GET {shown}"));
        let client = Client {
            cable: self.cable,
            headers: &["Connection: keep-alive", "User-Agent: iPXE/1.0.0+"],
            tls: None,
        };
        let answer: Result<_, HttpError> = client.get(url).await;
        match answer {
            Ok(answer) if answer.status == 200 => Ok(answer.body),
            Ok(answer) => Err(format!("{shown}: HTTP {}", answer.status)),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn dhcp(&mut self) -> Result<Settings, String> {
        match discover(self.machine, self.cable, Speaker::Ipxe).await {
            Ok(offer) => Ok(settings(self.machine, &offer)),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn sleep(&mut self, how_long: Duration) {
        // A script's pause is the boot server's word on how often it wants to be asked: kept as it is, within reason.
        tokio::time::sleep(
            self.machine
                .pace(how_long)
                .max(Duration::from_millis(500))
                .min(how_long),
        )
        .await;
    }

    fn print(&mut self, line: &str) {
        self.machine.console(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_sent_as_smbios_has_them() {
        assert_eq!(
            guid("00112233-4455-6677-8899-aabbccddeeff"),
            [
                0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
                0xee, 0xff
            ]
        );
    }
}
