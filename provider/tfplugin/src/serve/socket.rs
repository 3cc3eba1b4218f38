//! The unix socket: in a directory that only we may enter, encrypted where the host asks for it.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// Longest path of a socket that every unix takes, less the name of ours.
const DIRECTORY_MAX: usize = 90;

/// A peer that does not finish its handshake is dropped.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A bound socket.
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    directory: TempDir,
}

impl Socket {
    /// Binds a socket in a new directory of mode 0700 below `parent`, or the system's place for temporary files.
    pub(super) fn bind(parent: Option<&str>) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder
            .prefix("tfplugin-")
            .permissions(Permissions::from_mode(0o700));
        let wished = parent.map_or_else(std::env::temp_dir, PathBuf::from);
        // A path that is too long for a socket is no reason to fail.
        let parent = if wished.as_os_str().len() > DIRECTORY_MAX {
            Path::new("/tmp")
        } else {
            &wished
        };
        let directory = builder.tempdir_in(parent)?;
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path)?;
        Ok(Self {
            listener,
            path,
            directory,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Connections, each after its handshake; and the directory, which goes when it is dropped.
    pub(super) fn accept(
        self,
        tls: Option<Arc<ServerConfig>>,
    ) -> (ReceiverStream<io::Result<Peer>>, TempDir) {
        let (ready, connections) = mpsc::channel(4);
        let acceptor = tls.map(TlsAcceptor::from);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = ready.closed() => return,
                    accepted = self.listener.accept() => match accepted {
                        Ok((stream, _)) => drop(tokio::spawn(greet(stream, acceptor.clone(), ready.clone()))),
                        // Out of descriptors, most likely: others may finish meanwhile.
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    },
                }
            }
        });
        (ReceiverStream::new(connections), self.directory)
    }
}

async fn greet(
    stream: UnixStream,
    acceptor: Option<TlsAcceptor>,
    ready: mpsc::Sender<io::Result<Peer>>,
) {
    let peer = match acceptor {
        None => Peer::Plain(stream),
        Some(acceptor) => {
            match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                Ok(Ok(tls)) => Peer::Encrypted(Box::new(tls)),
                Ok(Err(refused)) => {
                    tracing::warn!(error = %refused, "refused a connection to the plugin's socket");
                    return;
                }
                Err(_) => return,
            }
        }
    };
    // A server that is gone needs no peer.
    let _ = ready.send(Ok(peer)).await;
}

/// A connection.
pub(super) enum Peer {
    Plain(UnixStream),
    Encrypted(Box<TlsStream<UnixStream>>),
}

impl Connected for Peer {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Self::Encrypted(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Self::Encrypted(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Encrypted(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Encrypted(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
