//! Accept loops: bounded numbers of connections, bounded headers, bounded times; TLS on one of the two.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::Peer;

/// Connections of one listener. Idle machines hold one each.
const CONNECTIONS_MAX: usize = 4096;
/// Connections of one address.
const CONNECTIONS_PER_PEER_MAX: usize = 64;
/// Largest request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// For a handshake, and for a request's head on a quiet connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// For open connections after the stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Whether a request came encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Plain HTTP.
    Plain,
    /// HTTPS.
    Tls,
}

/// Serves one listener until `stop`, then lets open requests finish for a moment.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let guests = Arc::new(Mutex::new(BTreeMap::new()));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // Out of descriptors, or the guest left already: the next one may fare better.
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(guest) = Guest::enter(&guests, address.ip()) else {
            tracing::warn!(peer = %address.ip(), "too many connections, this one is closed");
            continue;
        };
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        connections.spawn(async move {
            let _guest = guest;
            let _ = stream.set_nodelay(true);
            match tls {
                None => converse(stream, Peer::new(address, Wire::Plain), router, stop).await,
                Some(tls) => match tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        converse(stream, Peer::new(address, Wire::Tls), router, stop).await;
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(peer = %address, %error, "TLS handshake failed");
                    }
                    Err(_) => tracing::debug!(peer = %address, "TLS handshake took too long"),
                },
            }
        });
    }
    connections.close();
    let _ = tokio::time::timeout(DRAIN * 2, connections.wait()).await;
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    stop: CancellationToken,
) {
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.ip, %error, "connection ended");
    }
}

type Guests = Mutex<BTreeMap<IpAddr, usize>>;

/// A counted connection.
struct Guest {
    guests: Arc<Guests>,
    ip: IpAddr,
}

impl Guest {
    fn enter(guests: &Arc<Guests>, ip: IpAddr) -> Option<Self> {
        let mut table = guests.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = table.values().sum();
        let mine = table.get(&ip).copied().unwrap_or(0);
        if total >= CONNECTIONS_MAX || mine >= CONNECTIONS_PER_PEER_MAX {
            return None;
        }
        table.insert(ip, mine + 1);
        Some(Self {
            guests: Arc::clone(guests),
            ip,
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut table = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = table.get_mut(&self.ip) {
            *mine -= 1;
            if *mine == 0 {
                table.remove(&self.ip);
            }
        }
    }
}
