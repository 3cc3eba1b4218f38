//! Proxy DHCP (PXE 2.1 §2.2): boot data for known machines beside the site's own DHCP server, on ports 67 and 4011.
//!
//! Two steps, because somebody else decides who may boot: [`hear`] reads a datagram, [`Ask::reply`] writes the one that answers it.
//! At most one datagram leaves per datagram that came, and none for anything that is not a boot client's question to us.
//! Deliberately not here: addresses of our own to give, sessions, and the decision whether a machine boots.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::id::Mac;
use crate::wire::dhcp::{
    self, Answer, AnswerKind, Asked, HasIpxeOptions, Incoming, Malformed, Request,
};
use crate::wire::pxe::{self, Client, Firmware};

/// Where clients listen (RFC 2131 §4.1).
const CLIENT_PORT: u16 = 68;
/// Where servers and relays listen.
const SERVER_PORT: u16 = 67;

/// Which of our doors a datagram came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Port 67: broadcasts and relays.
    Proxy,
    /// Port 4011: clients that already have an address and ask the boot server they were told of.
    BootServer,
    /// A client's port, where only the answers of other servers are of interest.
    Overhear,
}

/// What a datagram was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A boot client's question to us.
    Ask(Box<Ask>),
    /// A boot client that speaks to another server: nothing to answer, but it shows the address that the client will have.
    Seen(Sighting),
    /// Another server answers boot clients here.
    Rival {
        /// The server.
        server: Ipv4Addr,
        /// The client that it answered.
        mac: Mac,
        /// The file that it names, if any.
        file: Option<String>,
    },
    /// Nothing for us.
    Ignore(Ignore),
}

/// Why a datagram is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ignore {
    /// Not readable.
    #[error("malformed: {0}")]
    Malformed(Malformed),
    /// No boot client: options 60 and 77 do not say so.
    #[error("not a boot client")]
    NotPxe,
    /// A message type that has no answer here.
    #[error("not a question to a boot server")]
    NotAQuestion,
    /// Option 93 is missing or names firmware that we have no boot file for.
    #[error("no boot file for this architecture")]
    Architecture,
    /// An answer of our own that came back, or one without boot data: an ordinary DHCP server.
    #[error("another server's addresses")]
    Addresses,
    /// The assets lack the boot file.
    #[error("the boot file is not among the assets")]
    NoBootFile,
}

/// Who was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Hardware address.
    pub mac: Mac,
    /// SMBIOS UUID from option 97.
    pub uuid: Option<String>,
    /// The address that it has or asks for.
    pub address: Ipv4Addr,
}

/// A boot client's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Hardware address.
    pub mac: Mac,
    /// SMBIOS UUID from option 97.
    pub uuid: Option<String>,
    /// Option 93; 0 where iPXE left it out.
    pub arch: u16,
    /// What it is.
    pub client: Client,
    /// Its own address as far as the message shows it: `ciaddr`, the source of a client that is its own relay, or option 50.
    pub address: Option<Ipv4Addr>,
    request: Request,
    door: Door,
    from: SocketAddrV4,
}

/// What we have to offer at a site.
#[derive(Debug, Clone)]
pub struct Offerings<'a> {
    /// Our address on the boot network.
    pub server: Ipv4Addr,
    /// Where our HTTP listens, as it stands in a URL: `http://10.0.0.1:8081`.
    pub http: &'a str,
    /// Boot file for this machine's firmware, by name. `None`: the assets lack it.
    pub boot_file: Option<&'a str>,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its bytes.
    pub datagram: Vec<u8>,
    /// Where it goes.
    pub to: SocketAddrV4,
    /// The file or URL in it, for the record.
    pub file: String,
}

/// Reads a datagram. `us` is our own server address: our own answers, heard back, are no rivals.
pub fn hear(bytes: &[u8], from: SocketAddrV4, door: Door, us: Ipv4Addr) -> Heard {
    let request = match dhcp::parse(bytes) {
        Ok(Incoming::Request(request)) => request,
        Ok(Incoming::Answer(answer)) => {
            let boots = answer.vendor_class.starts_with(pxe::PXE_CLIENT)
                || answer.vendor_class.starts_with(pxe::HTTP_CLIENT)
                || answer.file.is_some();
            return if boots && answer.server != us && *from.ip() != us {
                Heard::Rival {
                    server: answer.server,
                    mac: answer.mac,
                    file: answer.file,
                }
            } else {
                Heard::Ignore(Ignore::Addresses)
            };
        }
        Err(malformed) => return Heard::Ignore(Ignore::Malformed(malformed)),
    };
    let client = match client(&request) {
        Ok(client) => client,
        Err(ignore) => return Heard::Ignore(ignore),
    };
    let ask = Ask {
        mac: request.mac,
        uuid: request.identifier.as_deref().and_then(pxe::uuid),
        arch: request.arch.map_or(0, |arch| arch.0),
        client,
        address: own_address(&request, from),
        request,
        door,
        from,
    };
    match (ask.request.asked, door) {
        (Asked::Discover, Door::Proxy) => Heard::Ask(Box::new(ask)),
        (Asked::Request | Asked::Inform, Door::BootServer) => Heard::Ask(Box::new(ask)),
        // A REQUEST on port 67 that names us as its server; all others speak to the server that gives the addresses.
        (Asked::Request, Door::Proxy) if ask.request.server == Some(us) => {
            Heard::Ask(Box::new(ask))
        }
        (Asked::Request | Asked::Inform, Door::Proxy) => match ask.address {
            Some(address) => Heard::Seen(Sighting {
                mac: ask.mac,
                uuid: ask.uuid,
                address,
            }),
            None => Heard::Ignore(Ignore::NotAQuestion),
        },
        (Asked::Discover, Door::BootServer) | (Asked::Other, _) | (_, Door::Overhear) => {
            Heard::Ignore(Ignore::NotAQuestion)
        }
    }
}

impl Ask {
    /// The answer that lets this client boot: a boot file, the URL of one, or for iPXE the URL of its script.
    pub fn reply(&self, offerings: &Offerings<'_>) -> Result<Reply, Ignore> {
        let server = offerings.server;
        let (file, class, tftp_server, vendor_options) = match self.client {
            Client::Ipxe => (
                self.script_url(offerings.http),
                pxe::PXE_CLIENT,
                None,
                vec![],
            ),
            Client::HttpBoot(_) => {
                let name = offerings.boot_file.ok_or(Ignore::NoBootFile)?;
                let url = format!("{}/ipxe/{name}", offerings.http);
                (url, pxe::HTTP_CLIENT, None, vec![])
            }
            Client::Firmware(_) => {
                let name = offerings.boot_file.ok_or(Ignore::NoBootFile)?;
                let options = match self.door {
                    Door::Proxy | Door::Overhear => pxe::SKIP_DISCOVERY.to_vec(),
                    Door::BootServer => pxe::boot_server_options(&self.request.vendor_options),
                };
                (
                    name.to_owned(),
                    pxe::PXE_CLIENT,
                    Some(server.to_string()),
                    options,
                )
            }
        };
        let answer = Answer {
            kind: match self.request.asked {
                Asked::Discover => AnswerKind::Offer,
                Asked::Request | Asked::Inform | Asked::Other => AnswerKind::Ack,
            },
            server,
            vendor_class: class.to_vec(),
            file: file.clone(),
            tftp_server,
            vendor_options,
        };
        Ok(Reply {
            datagram: dhcp::emit(&self.request, &answer),
            to: self.reply_to(),
            file,
        })
    }

    /// The script's URL. Literal identities, because not everything that calls itself iPXE expands `${mac}` in a file name.
    fn script_url(&self, http: &str) -> String {
        let mac = self.mac;
        match &self.uuid {
            Some(uuid) => format!("{http}/boot/script?mac={mac}&uuid={uuid}"),
            None => format!("{http}/boot/script?mac={mac}"),
        }
    }

    /// RFC 2131 §4.1: to the relay, else to the client's address, else to everybody. An offer without an address of its own
    /// cannot be sent to `yiaddr`, so a clear broadcast flag makes no difference.
    fn reply_to(&self) -> SocketAddrV4 {
        let request = &self.request;
        if !request.giaddr.is_unspecified() {
            // A relay that asks from another port than 67 wants its answers there (in the spirit of RFC 8357).
            let port = if *self.from.ip() == request.giaddr {
                self.from.port()
            } else {
                SERVER_PORT
            };
            return SocketAddrV4::new(request.giaddr, port);
        }
        if self.door == Door::BootServer && !self.from.ip().is_unspecified() {
            self.from
        } else if !request.ciaddr.is_unspecified() {
            SocketAddrV4::new(request.ciaddr, CLIENT_PORT)
        } else {
            SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT)
        }
    }
}

/// The boot file for a firmware: `snponly.efi` before `ipxe.efi` where both work, because it uses the firmware's own driver; the
/// other way round for HTTP boot, where the all-drivers build is the one that was seen to work. `has` tells what the assets hold.
pub fn boot_file(client: Client, has: impl Fn(&str) -> bool) -> Option<&'static str> {
    let names: &[&str] = match client {
        Client::Ipxe => &[],
        Client::Firmware(Firmware::Bios) | Client::HttpBoot(Firmware::Bios) => &["undionly.kpxe"],
        Client::Firmware(Firmware::X64) => &["snponly.efi", "ipxe.efi"],
        Client::HttpBoot(Firmware::X64) => &["ipxe.efi", "snponly.efi"],
        Client::Firmware(Firmware::Arm64) | Client::HttpBoot(Firmware::Arm64) => {
            &["snponly-arm64.efi", "ipxe-arm64.efi"]
        }
    };
    names.iter().copied().find(|name| has(name))
}

fn client(request: &Request) -> Result<Client, Ignore> {
    if pxe::is_ipxe(&request.user_class) || request.has_ipxe_options == HasIpxeOptions::Yes {
        return Ok(Client::Ipxe);
    }
    let http = request.vendor_class.starts_with(pxe::HTTP_CLIENT);
    if !http && !request.vendor_class.starts_with(pxe::PXE_CLIENT) {
        return Err(Ignore::NotPxe);
    }
    let arch = request.arch.ok_or(Ignore::Architecture)?;
    let firmware = arch.firmware().ok_or(Ignore::Architecture)?;
    Ok(if http || arch.is_http() {
        Client::HttpBoot(firmware)
    } else {
        Client::Firmware(firmware)
    })
}

fn own_address(request: &Request, from: SocketAddrV4) -> Option<Ipv4Addr> {
    let source = *from.ip();
    // What no relay has passed on (`hops` = 0) although it names a relay was sent by the client itself; so is all on loopback.
    let is_own_relay =
        request.giaddr == source && (request.hops == 0 || request.giaddr.is_loopback());
    [
        Some(request.ciaddr),
        is_own_relay.then_some(source),
        request.requested,
    ]
    .into_iter()
    .flatten()
    .find(|address| !address.is_unspecified())
}
