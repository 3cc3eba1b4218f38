//! DHCPv4 messages (RFC 2131, 2132) as far as network boot needs them, over `dhcproto`.
//!
//! Traps of that crate, each with a test: its decoder panics on some options of hostile length or content (121 with a prefix above
//! 32; 94 and others in debug builds), so it is shown only the options that are read here; a message whose `hlen` is above 16 makes its accessor panic (refused before); option 93
//! keeps the first of several values (the one that counts); a malformed option vanishes without an error (it is absent then);
//! `Message::default` draws a random number (never called: answers start from a decoded blank).

use std::net::Ipv4Addr;

use dhcproto::v4::{
    DhcpOption, DhcpOptions, Flags, HType, Message, MessageType, Opcode, OptionCode,
};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};

use crate::id::Mac;
use crate::wire::pxe::Arch;

/// Length of the fixed header with the magic cookie.
const HEADER: usize = 240;
/// BOOTP clients want at least this much (RFC 1542 §2.1).
const BYTES_MIN: usize = 300;
/// Offset of the magic cookie.
const COOKIE_AT: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// DHCPDISCOVER.
    Discover,
    /// DHCPREQUEST.
    Request,
    /// DHCPINFORM.
    Inform,
    /// Any other type: never answered.
    Other,
}

/// A client's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Type (option 53).
    pub asked: Asked,
    /// Transaction.
    pub xid: u32,
    /// Seconds since it began.
    pub secs: u16,
    /// How many relays it passed.
    pub hops: u8,
    /// The client cannot take unicast yet.
    pub broadcast: Broadcast,
    /// The address that it has; zero if none.
    pub ciaddr: Ipv4Addr,
    /// The relay that it came through; zero if none.
    pub giaddr: Ipv4Addr,
    /// Its hardware address.
    pub mac: Mac,
    /// Option 50.
    pub requested: Option<Ipv4Addr>,
    /// Option 54: the server that it speaks to.
    pub server: Option<Ipv4Addr>,
    /// Option 60; empty if absent.
    pub vendor_class: Vec<u8>,
    /// Option 77; empty if absent.
    pub user_class: Vec<u8>,
    /// Option 93, its first value.
    pub arch: Option<Arch>,
    /// Option 97 as it came.
    pub identifier: Option<Vec<u8>>,
    /// Option 43; empty if absent.
    pub vendor_options: Vec<u8>,
    /// Option 175 is there: only iPXE sends it.
    pub has_ipxe_options: HasIpxeOptions,
    /// Option 82, returned to the relay untouched (RFC 3046 §2.2).
    relay: Option<DhcpOption>,
}

/// The broadcast flag (RFC 2131 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broadcast {
    /// Set.
    Wanted,
    /// Clear.
    NotNeeded,
}

/// Whether option 175 was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasIpxeOptions {
    /// It was.
    Yes,
    /// It was not.
    No,
}

/// A server's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// DHCPOFFER or DHCPACK.
    pub kind: AnswerKind,
    /// Server identifier (54) and `siaddr`.
    pub server: Ipv4Addr,
    /// Option 60.
    pub vendor_class: Vec<u8>,
    /// Option 67, and the `file` field if it fits.
    pub file: String,
    /// Option 66; clients of plain PXE want it.
    pub tftp_server: Option<String>,
    /// Option 43; left out if empty.
    pub vendor_options: Vec<u8>,
}

/// The type of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// To a DISCOVER.
    Offer,
    /// To a REQUEST or INFORM.
    Ack,
}

/// Another server's offer, overheard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overheard {
    /// Who it says it is (54, else `siaddr`).
    pub server: Ipv4Addr,
    /// The client that it answers.
    pub mac: Mac,
    /// The file that it names; `None` if it gives addresses only.
    pub file: Option<String>,
    /// Option 60; empty if absent.
    pub vendor_class: Vec<u8>,
}

/// A message from the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// From a client.
    Request(Request),
    /// From another server.
    Answer(Overheard),
}

/// Bytes that are no DHCP message for Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than the header, or cut within it.
    #[error("cut short")]
    Short,
    /// No magic cookie: plain BOOTP or no DHCP at all.
    #[error("no DHCP cookie")]
    NoCookie,
    /// A hardware address that is not six bytes of Ethernet.
    #[error("no Ethernet address")]
    NotEthernet,
    /// The opcode is neither request nor reply.
    #[error("unknown opcode")]
    Opcode,
}

/// Reads one datagram.
pub fn parse(bytes: &[u8]) -> Result<Incoming, Malformed> {
    if bytes.len() < HEADER {
        return Err(Malformed::Short);
    }
    if bytes[COOKIE_AT..HEADER] != COOKIE {
        return Err(Malformed::NoCookie);
    }
    let readable = readable(bytes);
    let message = Message::decode(&mut Decoder::new(&readable)).map_err(|_| Malformed::Short)?;
    if message.htype() != HType::Eth || message.hlen() != 6 {
        return Err(Malformed::NotEthernet);
    }
    let mac = Mac(message
        .chaddr()
        .try_into()
        .map_err(|_| Malformed::NotEthernet)?);
    match message.opcode() {
        Opcode::BootRequest => Ok(Incoming::Request(request(&message, mac))),
        Opcode::BootReply => Ok(Incoming::Answer(overheard(&message, mac))),
        Opcode::Unknown(_) => Err(Malformed::Opcode),
    }
}

/// The message with only those options that are read here, each with a length that its type allows.
fn readable(bytes: &[u8]) -> Vec<u8> {
    let (header, mut rest) = bytes.split_at(HEADER);
    let mut kept = header.to_vec();
    while let [code, tail @ ..] = rest {
        if *code == 0 {
            rest = tail;
            continue;
        }
        let [length, tail @ ..] = tail else { break };
        let Some((value, tail)) = tail.split_at_checked(usize::from(*length)) else {
            break;
        };
        let is_read = match code {
            255 => break,
            53 => value.len() == 1,
            50 | 54 => value.len() == 4,
            93 => value.len() >= 2,
            43 | 60 | 67 | 77 | 82 | 97 | 175 => true,
            _ => false,
        };
        if is_read {
            kept.extend([*code, *length]);
            kept.extend(value);
        }
        rest = tail;
    }
    kept.push(255);
    kept
}

/// Writes the answer to a request: its transaction, addresses, hardware address, identifier (97) and relay information (82) return
/// to it; `yiaddr` stays zero, because the addresses of a network are not ours to give.
pub fn emit(request: &Request, answer: &Answer) -> Vec<u8> {
    let mut message = blank();
    message
        .set_opcode(Opcode::BootReply)
        .set_xid(request.xid)
        .set_ciaddr(request.ciaddr)
        .set_giaddr(request.giaddr)
        .set_siaddr(answer.server)
        .set_chaddr(&request.mac.0)
        .set_flags(match request.broadcast {
            Broadcast::Wanted => Flags::default().set_broadcast(),
            Broadcast::NotNeeded => Flags::default(),
        });
    // One byte stays for the NUL that ends the field.
    if answer.file.len() < 128 {
        message.set_fname(answer.file.as_bytes());
    }
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(match answer.kind {
        AnswerKind::Offer => MessageType::Offer,
        AnswerKind::Ack => MessageType::Ack,
    }));
    options.insert(DhcpOption::ServerIdentifier(answer.server));
    options.insert(DhcpOption::ClassIdentifier(answer.vendor_class.clone()));
    options.insert(DhcpOption::BootfileName(answer.file.clone().into_bytes()));
    if let Some(server) = &answer.tftp_server {
        options.insert(DhcpOption::TFTPServerName(server.clone().into_bytes()));
    }
    if !answer.vendor_options.is_empty() {
        options.insert(DhcpOption::VendorExtensions(answer.vendor_options.clone()));
    }
    if let Some(identifier) = request.identifier.as_ref().filter(|id| id.len() == 17) {
        options.insert(DhcpOption::ClientMachineIdentifier(identifier.clone()));
    }
    if let Some(relay) = &request.relay {
        options.insert(relay.clone());
    }
    let mut bytes = Vec::with_capacity(512);
    message
        .encode(&mut Encoder::new(&mut bytes))
        .expect("a vector takes every byte and the file field was measured");
    if bytes.len() < BYTES_MIN {
        bytes.resize(BYTES_MIN, 0);
    }
    bytes
}

fn request(message: &Message, mac: Mac) -> Request {
    let options = message.opts();
    Request {
        asked: match options.msg_type() {
            Some(MessageType::Discover) => Asked::Discover,
            Some(MessageType::Request) => Asked::Request,
            Some(MessageType::Inform) => Asked::Inform,
            _ => Asked::Other,
        },
        xid: message.xid(),
        secs: message.secs(),
        hops: message.hops(),
        broadcast: if message.flags().broadcast() {
            Broadcast::Wanted
        } else {
            Broadcast::NotNeeded
        },
        ciaddr: message.ciaddr(),
        giaddr: message.giaddr(),
        mac,
        requested: address(options, OptionCode::RequestedIpAddress),
        server: address(options, OptionCode::ServerIdentifier),
        vendor_class: bytes(options, OptionCode::ClassIdentifier).unwrap_or_default(),
        user_class: bytes(options, OptionCode::UserClass).unwrap_or_default(),
        arch: match options.get(OptionCode::ClientSystemArchitecture) {
            Some(DhcpOption::ClientSystemArchitecture(arch)) => Some(Arch((*arch).into())),
            _ => None,
        },
        identifier: bytes(options, OptionCode::ClientMachineIdentifier),
        vendor_options: bytes(options, OptionCode::VendorExtensions).unwrap_or_default(),
        has_ipxe_options: if options.get(OptionCode::Unknown(175)).is_some() {
            HasIpxeOptions::Yes
        } else {
            HasIpxeOptions::No
        },
        relay: options.get(OptionCode::RelayAgentInformation).cloned(),
    }
}

fn overheard(message: &Message, mac: Mac) -> Overheard {
    let options = message.opts();
    let file = bytes(options, OptionCode::BootfileName)
        .or_else(|| message.fname().map(<[u8]>::to_vec))
        .map(|name| {
            let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
            String::from_utf8_lossy(&name[..end]).into_owned()
        })
        .filter(|name| !name.is_empty());
    Overheard {
        server: address(options, OptionCode::ServerIdentifier).unwrap_or(message.siaddr()),
        mac,
        file,
        vendor_class: bytes(options, OptionCode::ClassIdentifier).unwrap_or_default(),
    }
}

fn blank() -> Message {
    let mut bytes = [0; HEADER + 1];
    (bytes[0], bytes[1], bytes[2]) = (1, 1, 6);
    bytes[COOKIE_AT..HEADER].copy_from_slice(&COOKIE);
    bytes[HEADER] = 255;
    Message::decode(&mut Decoder::new(&bytes)).expect("a whole header without options")
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "eighty kinds of options, two of which are addresses that we read"
)]
fn address(options: &DhcpOptions, code: OptionCode) -> Option<Ipv4Addr> {
    match options.get(code)? {
        DhcpOption::RequestedIpAddress(address) | DhcpOption::ServerIdentifier(address) => {
            Some(*address)
        }
        _ => None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "eighty kinds of options, six of which are opaque bytes that we read"
)]
fn bytes(options: &DhcpOptions, code: OptionCode) -> Option<Vec<u8>> {
    match options.get(code)? {
        DhcpOption::ClassIdentifier(bytes)
        | DhcpOption::UserClass(bytes)
        | DhcpOption::ClientMachineIdentifier(bytes)
        | DhcpOption::VendorExtensions(bytes)
        | DhcpOption::BootfileName(bytes) => Some(bytes.clone()),
        _ => None,
    }
}
