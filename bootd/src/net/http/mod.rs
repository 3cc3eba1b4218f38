//! HTTP and HTTPS for firmware, iPXE, a booting Talos and the agent: one router on two listeners.
//!
//! Every question ends in the desk's answer or in silence that lets a machine go on to its disk. Deliberately not here: any log of
//! a URL or header, because tokens travel in them.

mod agent;
mod asset;
mod config;
mod listen;
mod script;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub(crate) use self::listen::{Wire, serve};
use super::assets::Assets;
use super::{Desk, DeskError};
use crate::images::ImageCache;

/// Largest body that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest hold of a long poll.
pub(crate) const LONG_POLL_MAX: Duration = Duration::from_secs(60);

/// What every handler works with.
#[derive(Debug)]
pub(crate) struct Web<D> {
    pub(crate) desk: Arc<D>,
    pub(crate) images: Arc<ImageCache>,
    pub(crate) assets: Arc<Assets>,
    pub(crate) site: Site,
    /// Facts on their way after an answer has left.
    pub(crate) after: TaskTracker,
}

/// How machines reach us.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) advertise: Ipv4Addr,
    pub(crate) http_port: u16,
    pub(crate) https_port: u16,
    pub(crate) events_port: u16,
    pub(crate) kernel_log_port: u16,
    pub(crate) ca_pem: String,
    pub(crate) long_poll: Duration,
}

impl Site {
    /// `http://10.0.0.1:8081`.
    pub(crate) fn http(&self) -> String {
        format!("http://{}:{}", self.advertise, self.http_port)
    }
}

/// The other end of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) ip: IpAddr,
    pub(crate) wire: Wire,
}

impl Peer {
    fn new(address: SocketAddr, wire: Wire) -> Self {
        Self {
            ip: address.ip().to_canonical(),
            wire,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, StatusCode> {
        parts
            .extensions
            .get::<Self>()
            .copied()
            .ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Builds the router.
pub(crate) fn router<D: Desk>(web: Arc<Web<D>>) -> Router {
    Router::new()
        .route("/boot/script", get(script::handle::<D>))
        .route("/asset/{digest}/{name}", get(asset::by_digest::<D>))
        .route("/ipxe/{file}", get(asset::boot_file::<D>))
        .route("/configdata", get(config::handle::<D>))
        .route("/agent/report", post(agent::report::<D>))
        .route("/agent/result", post(agent::result::<D>))
        .route("/agent/order", get(agent::order::<D>))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(web)
}

/// The store is down: nothing is known, so nothing is said.
fn unavailable(error: &DeskError) -> Response {
    tracing::warn!(%error, "request not answered");
    plain(StatusCode::SERVICE_UNAVAILABLE, "not now\n")
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            (status, headers, [(RETRY_AFTER, "5")], text).into_response()
        }
        _ => (status, headers, text).into_response(),
    }
}

/// The end of a long poll and the changes that wake it.
struct Hold {
    until: Instant,
    changed: watch::Receiver<u64>,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    /// Something changed: look again.
    Changed,
    /// Time is up.
    TimeUp,
}

impl Hold {
    fn new<D: Desk>(web: &Web<D>) -> Self {
        Self {
            until: Instant::now() + web.site.long_poll.min(LONG_POLL_MAX),
            changed: web.desk.changed(),
        }
    }

    /// To be called before looking: a change from here on wakes.
    fn look(&mut self) {
        self.changed.borrow_and_update();
    }

    async fn wait(&mut self) -> Woken {
        match tokio::time::timeout_at(self.until, self.changed.changed()).await {
            Ok(Ok(())) => Woken::Changed,
            // The desk is gone: bootd stops.
            Ok(Err(_)) | Err(_) => Woken::TimeUp,
        }
    }
}
