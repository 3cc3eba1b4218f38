//! DHCP packets (RFC 2131, 2132, 4578) as firmware writes and reads them, and the rack's own address server.
//!
//! Written apart from bootd's, on purpose: the two meet on the wire only.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Message types, option 53.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Who is there?
    Discover = 1,
    /// I am.
    Offer = 2,
    /// I take it.
    Request = 3,
    /// It is yours.
    Ack = 5,
}

/// A DHCP packet. Only what firmware looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dhcp {
    /// 1 from clients, 2 from servers.
    pub op: u8,
    /// Transaction.
    pub xid: u32,
    /// Flags.
    pub flags: u16,
    /// Client's address, if it has one.
    pub ciaddr: Option<Ipv4Addr>,
    /// Address that is offered.
    pub yiaddr: Option<Ipv4Addr>,
    /// Next server.
    pub siaddr: Option<Ipv4Addr>,
    /// Relay.
    pub giaddr: Option<Ipv4Addr>,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Boot file of the fixed header.
    pub file: String,
    /// Options; several of one code are joined (RFC 3396).
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl Dhcp {
    /// Its message type.
    pub fn kind(&self) -> Option<u8> {
        self.options.get(&53)?.first().copied()
    }

    /// An option that holds an address.
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        let bytes: [u8; 4] = self.options.get(&code)?.as_slice().try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    }

    /// An option that holds text.
    pub fn text(&self, code: u8) -> Option<String> {
        let bytes = self.options.get(&code)?;
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches('\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// As bytes, padded to 300 as old servers want it.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = vec![self.op, 1, 6, u8::from(self.giaddr.is_some())];
        out.extend(self.xid.to_be_bytes());
        out.extend([0, 4]);
        out.extend(self.flags.to_be_bytes());
        for address in [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr] {
            out.extend(address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        }
        out.extend(self.mac);
        out.extend([0; 10 + 64]);
        let mut file = self.file.clone().into_bytes();
        file.resize(128, 0);
        out.extend(file);
        out.extend(COOKIE);
        for (code, value) in &self.options {
            for part in value.chunks(255) {
                out.push(*code);
                #[expect(clippy::cast_possible_truncation, reason = "chunks of 255")]
                out.push(part.len() as u8);
                out.extend(part);
            }
            if value.is_empty() {
                out.extend([*code, 0]);
            }
        }
        out.push(255);
        if out.len() < 300 {
            out.resize(300, 0);
        }
        out
    }

    /// Reads a packet; `None` if it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let fixed = bytes.get(..240)?;
        if fixed[1] != 1 || fixed[2] != 6 || fixed[236..240] != COOKIE {
            return None;
        }
        let address = |at: usize| {
            let a = Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
            (!a.is_unspecified()).then_some(a)
        };
        let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut rest = &bytes[240..];
        while let Some((&code, tail)) = rest.split_first() {
            match code {
                0 => rest = tail,
                255 => break,
                code => {
                    let (&length, tail) = tail.split_first()?;
                    let value = tail.get(..usize::from(length))?;
                    options.entry(code).or_default().extend(value);
                    rest = &tail[usize::from(length)..];
                }
            }
        }
        let file = &fixed[108..236];
        let end = file.iter().position(|b| *b == 0).unwrap_or(file.len());
        Some(Self {
            op: fixed[0],
            xid: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            flags: u16::from_be_bytes([fixed[10], fixed[11]]),
            ciaddr: address(12),
            yiaddr: address(16),
            siaddr: address(20),
            giaddr: address(24),
            mac: [
                fixed[28], fixed[29], fixed[30], fixed[31], fixed[32], fixed[33],
            ],
            file: String::from_utf8_lossy(&file[..end]).into_owned(),
            options,
        })
    }
}

/// The site's address server: knows the rack's machines and gives them addresses, and no boot data.
#[derive(Debug)]
pub struct AddressServer {
    socket: UdpSocket,
    address: Ipv4Addr,
    mask: Ipv4Addr,
    leases: BTreeMap<[u8; 6], (Ipv4Addr, String)>,
}

impl AddressServer {
    /// Binds on the rack's own address.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(
        address: Ipv4Addr,
        mask: Ipv4Addr,
        leases: BTreeMap<[u8; 6], (Ipv4Addr, String)>,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind((address, 0)).await?;
        Ok(Self {
            socket,
            address,
            mask,
            leases,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Of the socket.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves for ever.
    pub async fn run(self) {
        let mut buffer = vec![0; 4096];
        loop {
            let Ok((n, from)) = self.socket.recv_from(&mut buffer).await else {
                continue;
            };
            if let Some(answer) = self.answer(&buffer[..n]) {
                // A lost answer is asked for again.
                drop(self.socket.send_to(&answer, from).await);
            }
        }
    }

    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let ask = Dhcp::parse(packet)?;
        let (yours, name) = self.leases.get(&ask.mac)?;
        let kind = match ask.kind()? {
            1 => Kind::Offer,
            3 => Kind::Ack,
            _ => return None,
        };
        let mut options = BTreeMap::new();
        options.insert(53, vec![kind as u8]);
        options.insert(54, self.address.octets().to_vec());
        options.insert(51, 3600_u32.to_be_bytes().to_vec());
        options.insert(1, self.mask.octets().to_vec());
        options.insert(3, self.address.octets().to_vec());
        options.insert(12, name.as_bytes().to_vec());
        Some(
            Dhcp {
                op: 2,
                xid: ask.xid,
                flags: ask.flags,
                yiaddr: Some(*yours),
                giaddr: ask.giaddr,
                mac: ask.mac,
                options,
                ..Dhcp::default()
            }
            .emit(),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut options = BTreeMap::new();
        options.insert(53, vec![1]);
        options.insert(67, vec![b'x'; 300]);
        let packet = Dhcp {
            op: 1,
            xid: 0x1234_5678,
            giaddr: Some(Ipv4Addr::new(127, 1, 2, 3)),
            mac: [0x52, 0x54, 0, 1, 2, 3],
            file: "snponly.efi".to_owned(),
            options,
            ..Dhcp::default()
        };
        assert_eq!(Dhcp::parse(&packet.emit()), Some(packet));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Dhcp::parse(&bytes);
            let mut packet = Dhcp::default().emit();
            packet.truncate(240);
            packet.extend(bytes);
            let _ = Dhcp::parse(&packet);
        }
    }
}
