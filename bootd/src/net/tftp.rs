//! TFTP: `async-tftp` over our table of boot files, with caps, and with a record of what was asked for and what arrived.
//!
//! That crate knows no limits and tells nobody how a transfer ended; both are done here, in the reader that it drops at the end.
//! Its traps: a second request from the same port waits until the first has timed out, so the timeout is short.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_tftp::packet;
use async_tftp::server::{Handler, TftpServerBuilder};
use bootd_core::lifecycle::facts::Fact;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::assets::Assets;
use super::settings::StartError;
use super::{Desk, DeskError, Note};

/// Sends of one window beyond the first.
const RETRANSMITS_MAX: u32 = 5;
/// Wait for an acknowledgement, unless the client asks for another (whole seconds, RFC 2349).
const TIMEOUT: Duration = Duration::from_secs(1);
/// A transfer whose last window was never acknowledged lives at least this long after it was read: one second per send. Anything
/// shorter was acknowledged.
const GIVES_UP_AFTER: Duration = Duration::from_millis(5500);
/// Transfers at once.
const TRANSFERS_MAX: usize = 512;
/// Transfers of one address at once: ROMs probe the size in a transfer that they abandon, so one is not enough.
const TRANSFERS_PER_PEER_MAX: usize = 8;
/// Largest window (RFC 7440).
const WINDOW_MAX: u16 = 64;
/// Events on their way to the desk.
const QUEUE: usize = 1024;
/// Events that wait for their peer's address to be known.
const WAITING_MAX: usize = 64;
/// How long they wait: longer than a transfer and the start of what it brought, shorter than any next boot.
const WAITS_AT_MOST: Duration = Duration::from_secs(30);

/// Starts the server on a bound socket; the returned future serves until `stop`.
pub(crate) async fn start<D: Desk>(
    desk: Arc<D>,
    assets: Arc<Assets>,
    socket: std::net::UdpSocket,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send, StartError> {
    let (tell, hear) = mpsc::channel(QUEUE);
    let handler = BootFiles {
        assets,
        transfers: Arc::default(),
        tell,
    };
    let server = TftpServerBuilder::with_handler(handler)
        .std_socket(socket)
        .map_err(StartError::Tftp)?
        .timeout(TIMEOUT)
        .max_send_retries(RETRANSMITS_MAX)
        .window_size_limit(WINDOW_MAX)
        .build()
        .await
        .map_err(StartError::Tftp)?;
    Ok(async move {
        let serve = async {
            if let Err(error) = server.serve().await {
                tracing::error!(%error, "TFTP stopped");
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = serve => {}
            () = record(desk, hear) => {}
        }
    })
}

/// What happened to a transfer.
#[derive(Debug)]
struct Event {
    peer: IpAddr,
    name: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Requested,
    NotFound,
    Served,
    /// Ended early, and nothing followed it.
    Stalled {
        read: usize,
        total: usize,
    },
}

struct BootFiles {
    assets: Arc<Assets>,
    transfers: Arc<Mutex<Transfers>>,
    tell: mpsc::Sender<Event>,
}

/// Running transfers by peer.
#[derive(Debug, Default)]
struct Transfers {
    peers: BTreeMap<IpAddr, PeerTransfers>,
    total: usize,
    started: u64,
}

/// Transfers of one peer; forgotten with the last of them.
#[derive(Debug, Default)]
struct PeerTransfers {
    running: BTreeMap<u64, String>,
    /// The newest transfer of each name, running or not.
    newest: BTreeMap<String, u64>,
}

impl Transfers {
    fn begin(&mut self, peer: IpAddr, name: &str) -> Option<u64> {
        let of_peer = self.peers.get(&peer).map_or(0, |peer| peer.running.len());
        if self.total >= TRANSFERS_MAX || of_peer >= TRANSFERS_PER_PEER_MAX {
            return None;
        }
        self.started += 1;
        self.total += 1;
        let mine = self.peers.entry(peer).or_default();
        mine.running.insert(self.started, name.to_owned());
        mine.newest.insert(name.to_owned(), self.started);
        Some(self.started)
    }

    /// Ends a transfer and tells whether its peer began the same file again since.
    fn end(&mut self, peer: IpAddr, number: u64) -> Superseded {
        let Some(mine) = self.peers.get_mut(&peer) else {
            return Superseded::No;
        };
        let Some(name) = mine.running.remove(&number) else {
            return Superseded::No;
        };
        self.total -= 1;
        let again = mine
            .newest
            .get(&name)
            .is_some_and(|newest| *newest > number);
        if mine.running.is_empty() {
            self.peers.remove(&peer);
        }
        if again {
            Superseded::Yes
        } else {
            Superseded::No
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Superseded {
    Yes,
    No,
}

impl Handler for BootFiles {
    type Reader = Transfer;
    type Writer = futures::io::Sink;

    async fn read_req_open(
        &mut self,
        client: &SocketAddr,
        path: &Path,
    ) -> Result<(Transfer, Option<u64>), packet::Error> {
        let peer = client.ip().to_canonical();
        let name = path.to_str().unwrap_or_default().trim_start_matches('/');
        let Some(content) = self.assets.boot_file(name) else {
            self.say(peer, name, What::NotFound);
            return Err(packet::Error::FileNotFound);
        };
        let number = self
            .transfers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .begin(peer, name)
            .ok_or_else(|| packet::Error::Msg("too many transfers, try again".to_owned()))?;
        self.say(peer, name, What::Requested);
        let transfer = Transfer {
            content: content.clone(),
            at: 0,
            read_out: None,
            peer,
            name: name.to_owned(),
            number,
            transfers: Arc::clone(&self.transfers),
            tell: self.tell.clone(),
        };
        Ok((transfer, Some(content.len() as u64)))
    }

    async fn write_req_open(
        &mut self,
        _client: &SocketAddr,
        _path: &Path,
        _size: Option<u64>,
    ) -> Result<futures::io::Sink, packet::Error> {
        Err(packet::Error::PermissionDenied)
    }
}

impl BootFiles {
    fn say(&self, peer: IpAddr, name: &str, what: What) {
        say(&self.tell, peer, name, what);
    }
}

fn say(tell: &mpsc::Sender<Event>, peer: IpAddr, name: &str, what: What) {
    let name = name.chars().filter(|c| !c.is_control()).take(63).collect();
    if tell.try_send(Event { peer, name, what }).is_err() {
        tracing::warn!(%peer, "the record of a TFTP transfer is lost, the desk is too slow");
    }
}

/// One transfer: the file as the crate reads it, and its end as the crate drops it.
struct Transfer {
    content: Bytes,
    at: usize,
    read_out: Option<Instant>,
    peer: IpAddr,
    name: String,
    number: u64,
    transfers: Arc<Mutex<Transfers>>,
    tell: mpsc::Sender<Event>,
}

impl futures::io::AsyncRead for Transfer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let rest = &self.content[self.at..];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        // The block that ends a transfer is the one that is not full, so the end is read even after the last byte.
        if n < buffer.len() && self.read_out.is_none() {
            self.read_out = Some(Instant::now());
        }
        Poll::Ready(Ok(n))
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let superseded = self
            .transfers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .end(self.peer, self.number);
        let what = match self.read_out {
            Some(at) if at.elapsed() < GIVES_UP_AFTER => What::Served,
            // ROMs open a transfer only to learn the size, abandon it and begin again.
            _ if superseded == Superseded::Yes => return,
            _ => What::Stalled {
                read: self.at,
                total: self.content.len(),
            },
        };
        say(&self.tell, self.peer, &self.name, what);
    }
}

/// Events whose peer the desk does not know yet. Its address comes with the REQUEST that was overheard milliseconds before the
/// transfer, and a slow disk can take longer to write that than the transfer takes; else with the script that follows.
#[derive(Debug, Default)]
struct Waiting(VecDeque<(Instant, Event)>);

impl Waiting {
    fn push(&mut self, since: Instant, event: Event) {
        if self.0.len() == WAITING_MAX {
            self.0.pop_front();
        }
        self.0.push_back((since, event));
    }

    /// Takes all, oldest first; what waited too long is told and forgotten.
    fn take(&mut self, now: Instant) -> Vec<(Instant, Event)> {
        let (late, due) = std::mem::take(&mut self.0)
            .into_iter()
            .partition::<Vec<_>, _>(|(since, _)| now.duration_since(*since) > WAITS_AT_MOST);
        for (_, Event { peer, name, what }) in late {
            tracing::debug!(%peer, name, ?what, "TFTP of an unknown machine");
        }
        due
    }
}

async fn record<D: Desk>(desk: Arc<D>, mut hear: mpsc::Receiver<Event>) {
    let mut changed = desk.changed();
    let mut waiting = Waiting::default();
    loop {
        tokio::select! {
            event = hear.recv() => match event {
                Some(event) => waiting.push(Instant::now(), event),
                None => return,
            },
            Ok(()) = changed.changed(), if !waiting.0.is_empty() => {}
        }
        changed.mark_unchanged();
        for (since, event) in waiting.take(Instant::now()) {
            match record_one(&*desk, &event).await {
                Ok(Known::Yes) => {}
                Ok(Known::NotYet) => waiting.push(since, event),
                Err(error) => {
                    tracing::warn!(peer = %event.peer, name = event.name, %error, "TFTP not recorded");
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Yes,
    NotYet,
}

async fn record_one<D: Desk>(desk: &D, event: &Event) -> Result<Known, DeskError> {
    let (peer, name) = (event.peer, &event.name);
    let Some(owner) = desk.machine_at(peer).await? else {
        return Ok(Known::NotYet);
    };
    let note = |text: String, alarm: bool| Note {
        source: "tftp",
        text,
        alarm,
    };
    match event.what {
        What::Requested => {
            let fact = Fact::BootFileRequested { name: name.clone() };
            desk.fact(&owner.machine, owner.epoch, fact).await?;
        }
        What::Served => {
            let fact = Fact::BootFileServed { name: name.clone() };
            desk.fact(&owner.machine, owner.epoch, fact).await?;
        }
        What::NotFound => {
            let text =
                format!("{peer} asked TFTP for {name}, which is not in the assets directory");
            desk.note(&owner.machine, note(text, false)).await?;
        }
        What::Stalled { read, total } => {
            let text = format!(
                "TFTP transfer of {name} to {peer} stalled: at most {read} of {total} bytes arrived, nothing was acknowledged after that"
            );
            desk.note(&owner.machine, note(text, true)).await?;
        }
    }
    Ok(Known::Yes)
}
