//! What differs between operating systems: signals, and how a plugin learns that its host is gone.

use std::io;

use tokio_util::sync::CancellationToken;

/// Requests of the operating system to end.
pub(super) struct Signals {
    #[cfg(unix)]
    all: [tokio::signal::unix::Signal; 2],
}

#[cfg(unix)]
impl Signals {
    /// From here on they do not end the process by themselves.
    pub(super) fn catch() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            all: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ],
        })
    }

    async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.all;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    /// From here on they do not end the process by themselves.
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Signals {
    /// Ctrl-C reaches the whole process group; the host decides what it means and says so with `StopProvider`.
    pub(super) async fn swallow(mut self) {
        loop {
            self.next().await;
        }
    }

    /// The first of them ends the process in order.
    pub(super) async fn end(mut self, end: CancellationToken) {
        self.next().await;
        end.cancel();
    }
}

/// A plugin whose host was killed has another parent, and nobody else would end it.
#[cfg(unix)]
pub(super) async fn follow_host(end: CancellationToken) {
    let host = std::os::unix::process::parent_id();
    while std::os::unix::process::parent_id() == host {
        tokio::time::sleep(super::HOST_CHECK).await;
    }
    end.cancel();
}

/// Hosts end their plugins here; a process has no parent that would change.
#[cfg(not(unix))]
pub(super) async fn follow_host(_: CancellationToken) {}
