//! Talos's kernel log sink: JSON lines over TCP.
//!
//! The one line that matters is `Command line:`, which every boot sends first: it tells a netboot of ours from a boot of the disk.
//! Of the rest, errors become notes at a low rate. Lines, connections and notes are bounded; nothing is ever sent back.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bootd_core::lifecycle::facts::Fact;
use bootd_core::netboot::redact::redact;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Desk, DeskError, Note};
use crate::talos::boot_args::NONCE_ARG;

/// Longest line; the rest of a longer one is skipped.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Longest text of a note.
const NOTE_CHARS_MAX: usize = 300;
/// Connections in all. One node keeps one.
const CONNECTIONS_MAX: usize = 2048;
/// Connections of one address.
const CONNECTIONS_PER_PEER_MAX: usize = 4;
/// A node that crashed leaves its connection open; the next line would have come long ago.
const QUIET_MAX: Duration = Duration::from_secs(6 * 3600);
/// Notes that may come at once, and the time in which one more is earned.
const NOTES_BURST: u32 = 10;
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// Serves until `stop`.
pub(crate) async fn serve<D: Desk>(desk: Arc<D>, listener: TcpListener, stop: CancellationToken) {
    let mut connections: JoinSet<IpAddr> = JoinSet::new();
    let mut peers: BTreeMap<IpAddr, usize> = BTreeMap::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                if let Ok(peer) = ended
                    && let Some(count) = peers.get_mut(&peer)
                {
                    *count -= 1;
                    if *count == 0 {
                        peers.remove(&peer);
                    }
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let peer = SocketAddr::ip(&address).to_canonical();
        let count = peers.get(&peer).copied().unwrap_or(0);
        if connections.len() >= CONNECTIONS_MAX || count >= CONNECTIONS_PER_PEER_MAX {
            tracing::warn!(%peer, "too many kernel log connections, this one is closed");
            continue;
        }
        peers.insert(peer, count + 1);
        let desk = Arc::clone(&desk);
        connections.spawn(async move {
            listen(&*desk, stream, peer).await;
            peer
        });
    }
    connections.shutdown().await;
}

/// One line as Talos writes it.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    msg: String,
    #[serde(default)]
    priority: String,
    #[serde(default, rename = "talos-level")]
    talos_level: String,
}

async fn listen<D: Desk>(desk: &D, stream: TcpStream, peer: IpAddr) {
    let mut reader = BufReader::new(stream);
    let mut notes = Allowance::new();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let limit = (LINE_BYTES_MAX + 1) as u64;
        let read = tokio::time::timeout(QUIET_MAX, async {
            (&mut reader)
                .take(limit)
                .read_until(b'\n', &mut buffer)
                .await
        });
        match read.await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return,
        }
        if buffer.last() != Some(&b'\n') && buffer.len() > LINE_BYTES_MAX {
            if skip_line(&mut reader).await.is_err() {
                return;
            }
            continue;
        }
        let Ok(line) = serde_json::from_slice::<Line>(&buffer) else {
            tracing::debug!(%peer, "a kernel log line that is no JSON is dropped");
            continue;
        };
        if let Err(error) = take(desk, peer, &line, &mut notes).await {
            tracing::warn!(%peer, %error, "kernel log line not recorded");
        }
    }
}

async fn skip_line(reader: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    loop {
        let held = reader.fill_buf().await?;
        if held.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let end = held.iter().position(|b| *b == b'\n');
        let used = end.map_or(held.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

async fn take<D: Desk>(
    desk: &D,
    peer: IpAddr,
    line: &Line,
    notes: &mut Allowance,
) -> Result<(), DeskError> {
    let text = line.msg.trim_end();
    if let Some(arguments) = text.strip_prefix("Command line:") {
        if let Some(owner) = desk.machine_at(peer).await? {
            let ours = is_ours(arguments);
            let fact = Fact::CommandLine { ours };
            desk.fact(&owner.machine, owner.epoch, fact).await?;
        }
        return Ok(());
    }
    let is_error = matches!(line.priority.as_str(), "emerg" | "alert" | "crit" | "err")
        || line.talos_level == "error";
    if !is_error || !notes.take() {
        return Ok(());
    }
    if let Some(owner) = desk.machine_at(peer).await? {
        let text: String = redact(text)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(NOTE_CHARS_MAX)
            .collect();
        let note = Note {
            source: "console",
            text,
            alarm: false,
        };
        desk.note(&owner.machine, note).await?;
    }
    Ok(())
}

/// True if any netboot of ours wrote this command line. The marker of an older epoch counts too: that kernel did not come from the
/// disk either.
fn is_ours(arguments: &str) -> bool {
    arguments.split_ascii_whitespace().any(|argument| {
        argument
            .strip_prefix(NONCE_ARG)
            .is_some_and(|rest| rest.starts_with('='))
    })
}

/// A bucket of notes.
struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    fn new() -> Self {
        Self {
            left: NOTES_BURST,
            since: Instant::now(),
        }
    }

    fn take(&mut self) -> bool {
        while self.left < NOTES_BURST && self.since.elapsed() >= NOTE_EVERY {
            self.left += 1;
            self.since += NOTE_EVERY;
        }
        if self.left == NOTES_BURST {
            self.since = Instant::now();
        }
        let has = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_command_line() {
        assert!(is_ours(" initrd=talos.img metal.nonce=abc console=tty0"));
        assert!(!is_ours(" BOOT_IMAGE=/A/vmlinuz talos.platform=metal"));
        assert!(!is_ours(" xmetal.nonce=1 metal.noncex=1"));
    }

    #[tokio::test(start_paused = true)]
    async fn notes_are_rare() {
        let mut notes = Allowance::new();
        assert_eq!((0..20).filter(|_| notes.take()).count(), 10);
        tokio::time::advance(NOTE_EVERY * 3).await;
        assert_eq!((0..20).filter(|_| notes.take()).count(), 3);
    }
}
