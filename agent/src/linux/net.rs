//! Brings the boot interface up and gets an address for it. There is no other network software on the machine.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::{attribute, say};
use crate::dhcp::{Client, Lease, Reply};
use crate::sys::{self, Interface};

const LINK_WAIT: Duration = Duration::from_secs(10);
/// Resend times of one attempt (RFC 2131 §4.1).
const PATIENCE: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(8),
];

/// Gets the machine onto the network, however long that takes: doing nothing is safe. Returns the interface that has the address.
#[must_use]
pub fn come_up(boot_mac: &str) -> String {
    let mut round = 0_u32;
    loop {
        round += 1;
        let candidates = candidates(boot_mac);
        if candidates.is_empty() {
            say(&format!(
                "no network card has a link; cards here: {:?}",
                cards()
            ));
        }
        for name in candidates {
            match configure(&name, round) {
                Ok(lease) => {
                    say(&format!(
                        "{name} has {} from {}",
                        lease.address, lease.server
                    ));
                    keep(name.clone(), lease);
                    return name;
                }
                Err(e) => say(&format!("{name}: no address: {e}")),
            }
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}

/// The boot interface first, then every other one with a link.
fn candidates(boot_mac: &str) -> Vec<String> {
    let _ = sys::set_interface("lo", Interface::Up);
    let until = Instant::now() + LINK_WAIT;
    loop {
        let cards = cards();
        for (name, _) in &cards {
            if let Err(e) = sys::set_interface(name, Interface::Up) {
                say(&format!("{name} cannot be brought up: {e}"));
            }
        }
        let linked = |name: &String| {
            attribute(&Path::new("/sys/class/net").join(name).join("carrier")) == "1"
        };
        let boot = cards
            .iter()
            .find(|(name, mac)| mac == boot_mac && linked(name));
        if boot.is_some() || Instant::now() >= until {
            let boot = boot.map(|(name, _)| name.clone());
            let others = cards
                .iter()
                .map(|(name, _)| name.clone())
                .filter(|name| Some(name) != boot.as_ref() && linked(name));
            return boot.clone().into_iter().chain(others).collect();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn cards() -> Vec<(String, String)> {
    let mut cards: Vec<(String, String)> = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("device").exists())
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                attribute(&entry.path().join("address")),
            )
        })
        .collect();
    cards.sort();
    cards
}

fn configure(name: &str, round: u32) -> io::Result<Lease> {
    let text = attribute(&Path::new("/sys/class/net").join(name).join("address"));
    let mac = parse_mac(&text).ok_or(io::ErrorKind::InvalidData)?;
    let client = Client {
        xid: transaction(mac, round),
        mac,
    };
    let socket = client_socket(name)?;
    let offer = converse(&socket, &client, &client.discover(), |reply| match reply {
        Reply::Offer(lease) => Some(lease),
        Reply::Ack(_) | Reply::Nak => None,
    })?;
    let lease = converse(
        &socket,
        &client,
        &client.request(&offer),
        |reply| match reply {
            Reply::Ack(lease) => Some(lease),
            Reply::Offer(_) | Reply::Nak => None,
        },
    )?;
    sys::set_interface(name, Interface::Address(lease.address))?;
    sys::set_interface(name, Interface::Netmask(lease.mask))?;
    if let Some(router) = lease.router {
        // A router outside the network is the site's mistake; bootd on the same network is reached all the same.
        if let Err(e) = sys::add_default_route(router) {
            say(&format!("{name}: no route through {router}: {e}"));
        }
    }
    Ok(lease)
}

fn client_socket(name: &str) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(name.as_bytes()))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 68)).into())?;
    Ok(socket.into())
}

fn converse(
    socket: &UdpSocket,
    client: &Client,
    message: &[u8],
    want: impl Fn(Reply) -> Option<Lease>,
) -> io::Result<Lease> {
    let mut packet = [0; 1500];
    for patience in PATIENCE {
        socket.send_to(message, (Ipv4Addr::BROADCAST, 67))?;
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut packet) {
                Ok(length) => match client.read(&packet[..length]) {
                    Some(Reply::Nak) => {
                        return Err(io::Error::other("the DHCP server took its offer back"));
                    }
                    Some(reply) => {
                        if let Some(lease) = want(reply) {
                            return Ok(lease);
                        }
                    }
                    None => {}
                },
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    break;
                }
                Err(e) => return Err(e),
            }
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "no DHCP server answers",
    ))
}

/// Renews the lease for as long as the machine waits here, so that nobody else is given its address.
fn keep(name: String, lease: Lease) {
    std::thread::spawn(move || {
        let Some(mac) = parse_mac(&attribute(
            &Path::new("/sys/class/net").join(&name).join("address"),
        )) else {
            return;
        };
        let mut round = 0x1000;
        let mut time = lease.time;
        loop {
            std::thread::sleep((time / 2).max(Duration::from_secs(30)));
            round += 1;
            let client = Client {
                xid: transaction(mac, round),
                mac,
            };
            let renewed = client_socket(&name).and_then(|socket| {
                converse(
                    &socket,
                    &client,
                    &client.renew(&lease),
                    |reply| match reply {
                        Reply::Ack(lease) => Some(lease),
                        Reply::Offer(_) | Reply::Nak => None,
                    },
                )
            });
            match renewed {
                Ok(lease) => time = lease.time,
                Err(e) => say(&format!("{name}: the lease was not renewed: {e}")),
            }
        }
    });
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut pairs = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(pairs.next()?, 16).ok()?;
    }
    pairs.next().is_none().then_some(mac)
}

/// Differs between machines and between tries; it need not be secret.
fn transaction(mac: [u8; 6], round: u32) -> u32 {
    u32::from_be_bytes([mac[2], mac[3], mac[4], mac[5]])
        .wrapping_add(round.wrapping_mul(0x9e37_79b9))
}
