//! Empty IPv6 router advertisements (`[netboot] empty_ra`): they spare iPXE builds of 2019 a wait of 16 s for a router that is not there.
//!
//! Promises: at most one packet per solicitation, to the link only; nobody gets a route, an address or a DNS server from it.
//! Only on interfaces that the configuration names.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs as _};

use bootd_core::wire::ndp;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

/// A raw socket that hears the router solicitations of one interface.
#[derive(Debug)]
pub(crate) struct Router {
    socket: UdpSocket,
    interface: String,
    index: u32,
}

impl Router {
    /// Needs root or `CAP_NET_RAW`.
    pub(crate) fn bind(interface: &str) -> io::Result<Self> {
        let index = index(interface)?;
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.join_multicast_v6(&Ipv6Addr::from(ndp::ALL_ROUTERS), index)?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(ndp::HOP_LIMIT)?;
        socket.set_unicast_hops_v6(ndp::HOP_LIMIT)?;
        Ok(Self {
            // Only its receive and send calls are used, which are a raw socket's as well.
            socket: UdpSocket::from_std(socket.into())?,
            interface: interface.to_owned(),
            index,
        })
    }

    /// Answers until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut buffer = [0; 1500];
        loop {
            let received = tokio::select! {
                () = stop.cancelled() => return,
                received = self.socket.recv_from(&mut buffer) => received,
            };
            let (length, from) = match received {
                Ok((length, SocketAddr::V6(from))) => (length, *from.ip()),
                Ok((_, SocketAddr::V4(_))) => continue,
                Err(error) => {
                    tracing::debug!(interface = self.interface, %error, "router solicitations");
                    continue;
                }
            };
            if !ndp::is_solicitation(&buffer[..length]) {
                continue;
            }
            // From this link, or from a node that has no address yet; anything else crossed a router and is forged.
            let to = if from.is_unicast_link_local() {
                from
            } else if from.is_unspecified() {
                Ipv6Addr::from(ndp::ALL_NODES)
            } else {
                continue;
            };
            let to = SocketAddrV6::new(to, 0, 0, self.index);
            match self.socket.send_to(&ndp::empty_advertisement(), to).await {
                Ok(_) => {
                    tracing::trace!(interface = self.interface, %to, "empty router advertisement")
                }
                // For two seconds after a link comes up our own address may not be used yet; who solicits asks again.
                Err(error) => {
                    tracing::debug!(interface = self.interface, %to, %error, "router advertisement not sent");
                }
            }
        }
    }
}

/// The interface's number. The resolver knows it; nothing is asked of the network for an address that is written out.
fn index(interface: &str) -> io::Result<u32> {
    let scoped = format!("{}%{interface}", Ipv6Addr::from(ndp::ALL_ROUTERS));
    let found = (scoped.as_str(), 0).to_socket_addrs()?.next();
    match found {
        Some(SocketAddr::V6(address)) if address.scope_id() != 0 => Ok(address.scope_id()),
        Some(SocketAddr::V4(_) | SocketAddr::V6(_)) | None => Err(io::ErrorKind::NotFound.into()),
    }
}
