//! A TFTP client as boot ROMs have it: RFC 1350 with blksize (2348), tsize (2349) and windowsize (7440), lock-step
//! retransmission by the client.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::rack::fault::Fault;
use crate::rack::wire::{Cable, Port};

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub enum TftpError {
    /// The server said no.
    #[error("tftp {server}: error {code} for {file:?}: {text}")]
    Refused {
        /// The server.
        server: SocketAddr,
        /// The file asked for.
        file: String,
        /// RFC 1350 code.
        code: u16,
        /// The server's words.
        text: String,
    },
    /// Nothing came for too long.
    #[error("tftp {server}: no answer for {file:?} after block {block}")]
    Silent {
        /// The server.
        server: SocketAddr,
        /// The file asked for.
        file: String,
        /// Last block received.
        block: u64,
    },
    /// More than a boot file has.
    #[error("tftp: {file:?} is larger than a boot file may be")]
    TooLarge {
        /// The file asked for.
        file: String,
    },
    /// The socket failed.
    #[error("tftp socket")]
    Socket(#[from] io::Error),
}

const FILE_BYTES_MAX: usize = 64 << 20;
const BLOCK: usize = 1428;
const WINDOW: u16 = 4;
const TRIES: u32 = 6;

/// Fetches a file. `patience` is the pause before a retransmission.
///
/// # Errors
/// See [`TftpError`].
pub async fn fetch(
    cable: &Cable,
    server: SocketAddr,
    file: &str,
    patience: Duration,
) -> Result<Vec<u8>, TftpError> {
    let port = cable.open(0).await?;
    let mut transfer = Transfer {
        port,
        cable,
        file,
        server,
        peer: None,
        block_bytes: 512,
        window: 1,
        body: Vec::new(),
        last: 0,
        unacknowledged: 0,
        done: false,
    };
    transfer.run(patience).await?;
    Ok(transfer.body)
}

struct Transfer<'a> {
    port: Port,
    cable: &'a Cable,
    file: &'a str,
    server: SocketAddr,
    /// The server's transfer port, from its first packet on.
    peer: Option<SocketAddr>,
    block_bytes: usize,
    window: u16,
    body: Vec<u8>,
    /// Last block in sequence; wire numbers are its low 16 bits.
    last: u64,
    unacknowledged: u16,
    done: bool,
}

impl Transfer<'_> {
    async fn run(&mut self, patience: Duration) -> Result<(), TftpError> {
        let mut tries = 0;
        self.repeat().await?;
        while !self.done {
            match self.port.receive(Instant::now() + patience).await? {
                Some((packet, from)) => {
                    if self.take(&packet, from).await? {
                        tries = 0;
                    }
                }
                None => {
                    tries += 1;
                    if tries == TRIES {
                        return Err(TftpError::Silent {
                            server: self.server,
                            file: self.file.to_owned(),
                            block: self.last,
                        });
                    }
                    self.repeat().await?;
                }
            }
            if self.last > 0 && self.cable.faults.has(Fault::TftpStall) {
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }

    /// Says again what was said last: the request, or the acknowledgement.
    async fn repeat(&mut self) -> Result<(), TftpError> {
        match self.peer {
            None => {
                let mut ask = vec![0, 1];
                for word in [
                    self.file,
                    "octet",
                    "blksize",
                    &BLOCK.to_string(),
                    "tsize",
                    "0",
                    "windowsize",
                    &WINDOW.to_string(),
                ] {
                    ask.extend(word.as_bytes());
                    ask.push(0);
                }
                self.port.send(&ask, self.server).await?;
            }
            Some(peer) => self.acknowledge(peer).await?,
        }
        Ok(())
    }

    async fn acknowledge(&mut self, peer: SocketAddr) -> Result<(), TftpError> {
        self.unacknowledged = 0;
        let [.., high, low] = self.last.to_be_bytes();
        self.port.send(&[0, 4, high, low], peer).await?;
        Ok(())
    }

    /// True if the packet brought the transfer on.
    async fn take(&mut self, packet: &[u8], from: SocketAddr) -> Result<bool, TftpError> {
        if from.ip() != self.server.ip() || self.peer.is_some_and(|peer| peer != from) {
            return Ok(false);
        }
        match packet {
            [0, 3, high, low, data @ ..] => {
                self.peer = Some(from);
                self.data(u16::from_be_bytes([*high, *low]), data, from)
                    .await
            }
            [0, 5, high, low, text @ ..] => Err(TftpError::Refused {
                server: self.server,
                file: self.file.to_owned(),
                code: u16::from_be_bytes([*high, *low]),
                text: String::from_utf8_lossy(text)
                    .trim_end_matches('\0')
                    .to_owned(),
            }),
            [0, 6, options @ ..] if self.last == 0 => {
                self.peer = Some(from);
                self.options(options);
                self.acknowledge(from).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn options(&mut self, options: &[u8]) {
        let words: Vec<String> = options
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).to_ascii_lowercase())
            .collect();
        for pair in words.chunks_exact(2) {
            match (pair[0].as_str(), pair[1].parse::<u16>()) {
                ("blksize", Ok(bytes)) => self.block_bytes = usize::from(bytes),
                ("windowsize", Ok(window)) => self.window = window.max(1),
                _ => {}
            }
        }
    }

    async fn data(
        &mut self,
        number: u16,
        data: &[u8],
        from: SocketAddr,
    ) -> Result<bool, TftpError> {
        let [.., high, low] = (self.last + 1).to_be_bytes();
        if number != u16::from_be_bytes([high, low]) {
            // A gap or a repetition: say where we are, so that the server resumes there (RFC 7440 §4).
            self.acknowledge(from).await?;
            return Ok(false);
        }
        self.last += 1;
        self.unacknowledged += 1;
        self.body.extend(data);
        if self.body.len() > FILE_BYTES_MAX {
            return Err(TftpError::TooLarge {
                file: self.file.to_owned(),
            });
        }
        self.done = data.len() < self.block_bytes;
        if self.done || self.unacknowledged >= self.window {
            self.acknowledge(from).await?;
        }
        Ok(true)
    }
}
