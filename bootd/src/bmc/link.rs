//! One RMCP+ session on one connected UDP socket: the pump between the sans-IO core, the socket and the clock.
//!
//! A connected socket drops foreign senders and reports a closed port at once; one socket per BMC has a receive buffer of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bootd_core::bmc::{
    CipherZero, CipherZeroProbe, Entropy, Event, Failure, Heard, Login, Patience, Session, Timing,
};
use bootd_core::id::Timestamp;
use bootd_core::wire::ipmi::{ChannelHint, Command};
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// Milliseconds since the fleet was made; what the core calls `now`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(super) fn now(self) -> Timestamp {
        Timestamp(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn instant(self, at: Timestamp) -> Instant {
        self.start + at.since(Timestamp(0))
    }
}

/// Why a link is of no use any more.
#[derive(Debug)]
pub(super) enum LinkError {
    /// The socket failed.
    Io(io::Error),
    /// The session did not come to be.
    Failed(Failure),
    /// A command stayed without an answer.
    Lost { asked: &'static str },
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// An answer: completion code and data.
pub(super) type Answered = (u8, Vec<u8>);

/// Asks about cipher suite 0; `None` if no answer came.
pub(super) async fn probe_cipher_zero(
    bmc: SocketAddr,
    timing: &Timing,
) -> io::Result<Option<CipherZero>> {
    let socket = connect(bmc).await?;
    let probe = CipherZeroProbe::new(&entropy()?);
    let mut buffer = [0; 1024];
    for wait in &timing.handshake {
        socket.send(&probe.question()).await?;
        let end = Instant::now() + *wait;
        while let Ok(received) = tokio::time::timeout_at(end, socket.recv(&mut buffer)).await {
            if let Some(answer) = probe.read(&buffer[..received?]) {
                return Ok(Some(answer));
            }
        }
    }
    Ok(None)
}

/// A socket that hears this BMC only.
async fn connect(bmc: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match bmc {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(bmc).await?;
    Ok(socket)
}

pub(super) struct Link {
    socket: UdpSocket,
    session: Session,
    clock: Clock,
}

impl Link {
    /// A socket connected to `bmc` and a session that has sent nothing.
    pub(super) async fn connect(
        bmc: SocketAddr,
        login: Login,
        timing: Timing,
        clock: Clock,
    ) -> io::Result<Self> {
        Ok(Self {
            socket: connect(bmc).await?,
            session: Session::new(login, timing),
            clock,
        })
    }

    /// Runs the handshake to its end.
    pub(super) async fn open(&mut self) -> Result<(), LinkError> {
        self.session.open(self.clock.now(), &entropy()?);
        match self.event().await? {
            Event::Opened => Ok(()),
            Event::Failed(failure) => Err(LinkError::Failed(failure)),
            Event::Lost { asked } => Err(LinkError::Lost { asked }),
            Event::Answered { .. } | Event::Closed => Err(ended().into()),
        }
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn ask(
        &mut self,
        command: Command,
        patience: Patience,
    ) -> Result<Answered, LinkError> {
        self.session
            .submit(self.clock.now(), command, patience, &entropy()?)
            .map_err(io::Error::other)?;
        match self.event().await? {
            Event::Answered { completion, data } => Ok((completion, data)),
            Event::Lost { asked } => Err(LinkError::Lost { asked }),
            Event::Failed(failure) => Err(LinkError::Failed(failure)),
            Event::Opened | Event::Closed => Err(ended().into()),
        }
    }

    /// Gives the session slot back. What cannot be told to the BMC ends there by idleness.
    pub(super) async fn close(mut self) {
        if let Ok(entropy) = entropy() {
            self.session.close(self.clock.now(), &entropy);
            if let Err(error) = self.event().await {
                tracing::debug!(%error, "a BMC session could not be closed");
            }
        }
    }

    pub(super) const fn heard(&self) -> Option<Heard> {
        self.session.heard()
    }

    pub(super) const fn hint(&self) -> Option<ChannelHint> {
        self.session.hint()
    }

    async fn event(&mut self) -> io::Result<Event> {
        let mut buffer = [0; 1024];
        loop {
            while let Some(datagram) = self.session.poll_transmit() {
                self.socket.send(&datagram).await?;
            }
            if let Some(event) = self.session.poll_event() {
                return Ok(event);
            }
            // A session that waits for nothing is over.
            let Some(deadline) = self.session.poll_timeout() else {
                return Ok(Event::Closed);
            };
            tokio::select! {
                received = self.socket.recv(&mut buffer) => {
                    let len = received?;
                    self.session
                        .handle_datagram(self.clock.now(), &buffer[..len], &entropy()?);
                }
                () = tokio::time::sleep_until(self.clock.instant(deadline)) => {
                    self.session.handle_timeout(self.clock.now(), &entropy()?);
                }
            }
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the session ended by itself")
}

fn entropy() -> io::Result<Entropy> {
    let mut bytes = [0; 40];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(Entropy(bytes))
}
