//! UDP as the machines of the rack use it: a socket on a machine's own address, with the faults of its cable, and a record of every
//! packet for `rack pcap`.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::UdpSocket;

use super::fault::{Fault, Faults};

/// Most packets that are kept.
const PACKETS_MAX: usize = 100_000;
/// Most payload bytes that are kept.
const BYTES_MAX: usize = 64 << 20;

/// Packets that passed the rack's own sockets, oldest first. Bounded: the oldest go.
#[derive(Debug, Default)]
pub struct Capture(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    packets: VecDeque<Packet>,
    bytes: usize,
}

#[derive(Debug)]
struct Packet {
    at: Duration,
    from: SocketAddrV4,
    to: SocketAddrV4,
    payload: Vec<u8>,
}

impl Capture {
    fn note(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
            return;
        };
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += payload.len();
        kept.packets.push_back(Packet {
            at,
            from,
            to,
            payload: payload.to_vec(),
        });
        while kept.packets.len() > PACKETS_MAX || kept.bytes > BYTES_MAX {
            match kept.packets.pop_front() {
                Some(old) => kept.bytes -= old.payload.len(),
                None => break,
            }
        }
    }

    /// Everything as a pcap file (link type raw IP), with IP and UDP headers made up from the sockets' addresses.
    pub fn pcap(&self) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = Vec::with_capacity(24 + kept.bytes + kept.packets.len() * 44);
        file.extend(0xa1b2_c3d4_u32.to_le_bytes());
        file.extend(2_u16.to_le_bytes());
        file.extend(4_u16.to_le_bytes());
        file.extend([0; 8]);
        file.extend(65_535_u32.to_le_bytes());
        file.extend(101_u32.to_le_bytes());
        for packet in &kept.packets {
            let udp = 8 + packet.payload.len();
            let length = u32::try_from(20 + udp).unwrap_or(u32::MAX);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "pcap has 32 bits until 2106"
            )]
            file.extend((packet.at.as_secs() as u32).to_le_bytes());
            file.extend(packet.at.subsec_micros().to_le_bytes());
            file.extend(length.to_le_bytes());
            file.extend(length.to_le_bytes());
            file.extend(ip_header(packet.from.ip(), packet.to.ip(), 20 + udp));
            file.extend(packet.from.port().to_be_bytes());
            file.extend(packet.to.port().to_be_bytes());
            #[expect(clippy::cast_possible_truncation, reason = "a UDP payload has 16 bits")]
            file.extend((udp as u16).to_be_bytes());
            file.extend([0, 0]);
            file.extend(&packet.payload);
        }
        file
    }
}

fn ip_header(from: &Ipv4Addr, to: &Ipv4Addr, length: usize) -> [u8; 20] {
    let mut h = [0_u8; 20];
    h[0] = 0x45;
    #[expect(clippy::cast_possible_truncation, reason = "an IP packet has 16 bits")]
    h[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    h[8] = 64;
    h[9] = 17;
    h[12..16].copy_from_slice(&from.octets());
    h[16..20].copy_from_slice(&to.octets());
    let sum: u32 = h
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
    let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
    h[10..12].copy_from_slice(&folded.to_be_bytes());
    h
}

/// The network card of a machine, as its UDP sockets need it.
#[derive(Debug, Clone)]
pub struct Cable {
    /// The machine's address.
    pub address: Ipv4Addr,
    /// What is wrong with it.
    pub faults: Arc<Faults>,
    /// Where packets are recorded.
    pub capture: Arc<Capture>,
    /// Counts packets for the faults.
    pub count: Arc<AtomicU64>,
}

/// An open UDP socket of a machine.
#[derive(Debug)]
pub struct Port {
    socket: UdpSocket,
    local: SocketAddr,
    cable: Cable,
}

impl Cable {
    /// Opens a socket on the machine's address; `port` 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn open(&self, port: u16) -> io::Result<Port> {
        let socket = UdpSocket::bind((self.address, port)).await?;
        Ok(Port {
            local: socket.local_addr()?,
            socket,
            cable: self.clone(),
        })
    }

    fn every(&self, fault: Fault, n: u64) -> bool {
        self.faults
            .number(fault)
            .is_some_and(|every| n.is_multiple_of(every))
    }
}

impl Port {
    /// Its address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends a packet, or loses it, or sends it twice.
    ///
    /// # Errors
    /// Of the socket. A refused port shows at the next receive and is no error here.
    pub async fn send(&self, payload: &[u8], to: SocketAddr) -> io::Result<()> {
        let n = self.cable.count.fetch_add(1, Ordering::Relaxed) + 1;
        if self.cable.every(Fault::Drop, n) {
            return Ok(());
        }
        let times = 1 + u32::from(self.cable.every(Fault::Duplicate, n));
        for _ in 0..times {
            self.cable.capture.note(self.local, to, payload);
            self.socket.send_to(payload, to).await?;
        }
        Ok(())
    }

    /// The next packet, at most until `deadline`.
    ///
    /// # Errors
    /// Of the socket.
    pub async fn receive(
        &self,
        deadline: tokio::time::Instant,
    ) -> io::Result<Option<(Vec<u8>, SocketAddr)>> {
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok(got) =
                tokio::time::timeout_at(deadline, self.socket.recv_from(&mut buffer)).await
            else {
                return Ok(None);
            };
            let (n, from) = match got {
                Ok(got) => got,
                // Nobody listens there (yet): firmware would hear nothing.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let count = self.cable.count.fetch_add(1, Ordering::Relaxed) + 1;
            if self.cable.every(Fault::Drop, count) {
                continue;
            }
            self.cable.capture.note(from, self.local, &buffer[..n]);
            buffer.truncate(n);
            return Ok(Some((buffer, from)));
        }
    }
}
