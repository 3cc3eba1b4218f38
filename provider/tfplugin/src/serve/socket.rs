//! Where the host connects: a unix socket in a directory that only we may enter, or a port of the loopback interface.
//!
//! The port is for systems without unix sockets in the host (Windows). Anybody on the machine can reach it, so that it is served encrypted
//! and to the pinned host only; debug mode, which a person starts by hand, is the exception.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// Longest path of a socket that every unix takes, less the name of ours.
#[cfg(unix)]
const DIRECTORY_MAX: usize = 90;

/// A peer that does not finish its handshake is dropped.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What the socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// A file.
    #[cfg(unix)]
    Unix,
    /// A loopback port.
    Tcp,
}

impl Transport {
    /// What hosts expect on this system.
    pub(super) const NATIVE: Self = {
        #[cfg(unix)]
        let native = Self::Unix;
        #[cfg(not(unix))]
        let native = Self::Tcp;
        native
    };
}

/// A bound socket.
pub(super) struct Socket {
    listener: Listener,
    address: Address,
    directory: Option<TempDir>,
}

/// Where the host finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `unix` or `tcp`.
    pub(super) network: &'static str,
    /// Path, or address and port.
    pub(super) place: String,
}

enum Listener {
    #[cfg(unix)]
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Socket {
    /// Binds a socket in a new directory of mode 0700 below `parent`, or the system's place for temporary files.
    #[cfg(unix)]
    pub(super) fn unix(parent: Option<&str>) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let mut builder = tempfile::Builder::new();
        builder
            .prefix("tfplugin-")
            .permissions(std::fs::Permissions::from_mode(0o700));
        let wished = parent.map_or_else(std::env::temp_dir, Into::into);
        // A path that is too long for a socket is no reason to fail.
        let parent = if wished.as_os_str().len() > DIRECTORY_MAX {
            std::path::Path::new("/tmp")
        } else {
            &wished
        };
        let directory = builder.tempdir_in(parent)?;
        let path = directory.path().join("s");
        Ok(Self {
            listener: Listener::Unix(UnixListener::bind(&path)?),
            address: Address {
                network: "unix",
                place: path.to_string_lossy().into_owned(),
            },
            directory: Some(directory),
        })
    }

    /// Binds a port of the loopback interface: the first free one of `ports`, or any.
    pub(super) async fn tcp(ports: Option<RangeInclusive<u16>>) -> io::Result<Self> {
        let mut found = Err(io::Error::from(io::ErrorKind::AddrInUse));
        for port in ports.unwrap_or(0..=0) {
            found = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
            if found.is_ok() {
                break;
            }
        }
        let listener = found?;
        let place = listener.local_addr()?.to_string();
        Ok(Self {
            listener: Listener::Tcp(listener),
            address: Address {
                network: "tcp",
                place,
            },
            directory: None,
        })
    }

    /// Where it is.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Connections, each after its handshake; and the directory, which goes when it is dropped.
    pub(super) fn accept(
        self,
        tls: Option<Arc<ServerConfig>>,
    ) -> (ReceiverStream<io::Result<Peer>>, Option<TempDir>) {
        let (ready, connections) = mpsc::channel(4);
        let acceptor = tls.map(TlsAcceptor::from);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = ready.closed() => return,
                    accepted = self.listener.accept() => match accepted {
                        Ok(peer) => drop(tokio::spawn(greet(peer, acceptor.clone(), ready.clone()))),
                        // Out of descriptors, most likely: others may finish meanwhile.
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    },
                }
            }
        });
        (ReceiverStream::new(connections), self.directory)
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Peer> {
        match self {
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Peer(Box::new(listener.accept().await?.0))),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Requests are small and waited for.
                stream.set_nodelay(true)?;
                Ok(Peer(Box::new(stream)))
            }
        }
    }
}

async fn greet(peer: Peer, acceptor: Option<TlsAcceptor>, ready: mpsc::Sender<io::Result<Peer>>) {
    let peer = match acceptor {
        None => peer,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(peer)).await {
            Ok(Ok(tls)) => Peer(Box::new(tls)),
            Ok(Err(refused)) => {
                tracing::warn!(error = %refused, "refused a connection to the plugin's socket");
                return;
            }
            Err(_) => return,
        },
    };
    // A server that is gone needs no peer.
    let _ = ready.send(Ok(peer)).await;
}

/// Bytes in both directions.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, encrypted or not.
pub(super) struct Peer(Box<dyn Stream>);

impl Connected for Peer {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
