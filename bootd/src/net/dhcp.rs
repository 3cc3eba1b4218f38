//! The DHCP loops: datagrams to the core, the core's questions to the desk, at most one datagram back.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bootd_core::id::{Epoch, Mac, MachineId};
use bootd_core::lifecycle::facts::Fact;
use bootd_core::netboot::proxydhcp::{self, Ask, Door, Heard, Ignore, Offerings, Sighting};
use bootd_core::wire::pxe::Client;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::assets::Assets;
use super::{Asker, Desk, DeskError, Netboot, Note};

/// Questions that one socket works on at once. More are dropped: clients ask again.
const ASKS_MAX: usize = 64;
/// A rival is told of once in this time.
const RIVAL_QUIET: Duration = Duration::from_secs(600);
/// Rivals that are remembered.
const RIVALS_MAX: usize = 64;

/// What every DHCP socket shares.
#[derive(Debug)]
pub(crate) struct Proxy<D> {
    pub(crate) desk: Arc<D>,
    pub(crate) assets: Arc<Assets>,
    pub(crate) server: Ipv4Addr,
    /// `http://10.0.0.1:8081`.
    pub(crate) http: String,
    pub(crate) boot_files: BTreeMap<Mac, String>,
    pub(crate) rivals: Mutex<BTreeMap<Ipv4Addr, Instant>>,
}

/// Serves one socket until `stop`.
pub(crate) async fn run<D: Desk>(
    proxy: Arc<Proxy<D>>,
    socket: UdpSocket,
    door: Door,
    stop: CancellationToken,
) {
    let socket = Arc::new(socket);
    let asks = Arc::new(Semaphore::new(ASKS_MAX));
    let mut buffer = [0; 2048];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (length, from) = match received {
            Ok((length, SocketAddr::V4(from))) => (length, from),
            Ok((_, SocketAddr::V6(_))) => continue,
            // An ICMP error of an earlier answer; the socket goes on.
            Err(error) => {
                tracing::debug!(%error, "DHCP socket");
                continue;
            }
        };
        let heard = proxydhcp::hear(&buffer[..length], from, door, proxy.server);
        if let Heard::Ignore(why) = &heard {
            tracing::debug!(%from, %why, "DHCP ignored");
            continue;
        }
        let Ok(permit) = Arc::clone(&asks).try_acquire_owned() else {
            tracing::warn!(%from, "too many DHCP questions at once, this one is dropped");
            continue;
        };
        let (proxy, socket) = (Arc::clone(&proxy), Arc::clone(&socket));
        tokio::spawn(async move {
            if let Err(error) = proxy.handle(heard, from, &socket).await {
                tracing::warn!(%from, %error, "DHCP not answered");
            }
            drop(permit);
        });
    }
}

impl<D: Desk> Proxy<D> {
    async fn handle(
        &self,
        heard: Heard,
        from: SocketAddrV4,
        socket: &UdpSocket,
    ) -> Result<(), DeskError> {
        match heard {
            Heard::Ask(ask) => self.answer(&ask, socket).await,
            Heard::Seen(Sighting { mac, uuid, address }) => {
                // The desk remembers the address; nothing is answered.
                let asker = Asker {
                    mac: Some(mac),
                    uuid,
                    serial: None,
                    from: Some(address.into()),
                };
                self.desk.netboot(&asker).await.map(drop)
            }
            Heard::Rival { server, mac, file } => self.rival(server, mac, file, from).await,
            Heard::Ignore(_) => Ok(()),
        }
    }

    async fn answer(&self, ask: &Ask, socket: &UdpSocket) -> Result<(), DeskError> {
        let asker = Asker {
            mac: Some(ask.mac),
            uuid: ask.uuid.clone(),
            serial: None,
            from: ask.address.map(Into::into),
        };
        let (machine, epoch) = match self.desk.netboot(&asker).await? {
            Netboot::Nothing(why) => {
                tracing::debug!(mac = %ask.mac, why, "DHCP not answered");
                return Ok(());
            }
            // Silence lets the firmware go on to its disk; iPXE is there already and gets the script that leaves it.
            Netboot::Local { machine, .. } if ask.client != Client::Ipxe => {
                tracing::debug!(%machine, mac = %ask.mac, "DHCP not answered, boots its own disk");
                return Ok(());
            }
            Netboot::Local { machine, epoch }
            | Netboot::Agent { machine, epoch, .. }
            | Netboot::Talos { machine, epoch, .. } => (machine, epoch),
        };
        let boot_file = match self.boot_files.get(&ask.mac) {
            Some(name) => self.assets.boot_file(name).map(|_| name.as_str()),
            None => proxydhcp::boot_file(ask.client, |name| self.assets.boot_file(name).is_some()),
        };
        let offerings = Offerings {
            server: self.server,
            http: &self.http,
            boot_file,
        };
        match ask.reply(&offerings) {
            Ok(reply) => {
                let fact = match ask.client {
                    Client::Ipxe => Fact::IpxeOffered,
                    Client::Firmware(_) | Client::HttpBoot(_) => {
                        Fact::DhcpOffered { arch: ask.arch }
                    }
                };
                // Before the answer leaves: the script's token is minted only for a machine whose DHCP is on record.
                self.desk.fact(&machine, epoch, fact).await?;
                tracing::trace!(%machine, %epoch, to = %reply.to, file = reply.file, "DHCP answered");
                if let Err(error) = socket.send_to(&reply.datagram, reply.to).await {
                    tracing::warn!(%machine, to = %reply.to, %error, "DHCP answer could not be sent");
                }
                Ok(())
            }
            Err(why) => self.not_offered(&machine, epoch, ask, why).await,
        }
    }

    async fn not_offered(
        &self,
        machine: &MachineId,
        epoch: Epoch,
        ask: &Ask,
        why: Ignore,
    ) -> Result<(), DeskError> {
        let wanted = self.boot_files.get(&ask.mac).map_or_else(
            || format!("a boot file for architecture {}", ask.arch),
            Clone::clone,
        );
        tracing::warn!(%machine, %epoch, %why, "DHCP not answered");
        let text = format!(
            "asked DHCP for boot data and got none: {wanted} is not in the assets directory"
        );
        self.alarm(machine, text).await
    }

    async fn rival(
        &self,
        server: Ipv4Addr,
        mac: Mac,
        file: Option<String>,
        from: SocketAddrV4,
    ) -> Result<(), DeskError> {
        if !self.is_news(server) {
            return Ok(());
        }
        let file: String = file
            .unwrap_or_else(|| "no file".to_owned())
            .chars()
            .filter(|c| !c.is_control())
            .take(128)
            .collect();
        tracing::warn!(%server, %from, %mac, file, "another boot server answers on this network");
        let asker = Asker {
            mac: Some(mac),
            ..Asker::default()
        };
        match self.desk.netboot(&asker).await? {
            Netboot::Nothing(_) => Ok(()),
            Netboot::Local { machine, .. }
            | Netboot::Agent { machine, .. }
            | Netboot::Talos { machine, .. } => {
                let text = format!(
                    "a second boot server, {server}, answered this machine with {file}: only one may serve a boot network"
                );
                self.alarm(&machine, text).await
            }
        }
    }

    fn is_news(&self, server: Ipv4Addr) -> bool {
        let mut rivals = self.rivals.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        rivals.retain(|_, told| now.duration_since(*told) < RIVAL_QUIET);
        if rivals.contains_key(&server) || rivals.len() >= RIVALS_MAX {
            return false;
        }
        rivals.insert(server, now);
        true
    }

    async fn alarm(&self, machine: &MachineId, text: String) -> Result<(), DeskError> {
        let note = Note {
            source: "dhcp",
            text,
            alarm: true,
        };
        self.desk.note(machine, note).await
    }
}
