//! Talos's event sink: `events.EventSinkService/Publish` over plain HTTP/2, as machined speaks it.
//!
//! A node sends one event after the other and waits for each answer without a deadline, so an answer always leaves, and soon: stored
//! first, or an error after which the node sends the same event again. What can never be stored is answered with success, or the
//! node would send it for ever. Nothing here is authenticated: the desk decides whose event it is and whether it counts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bootd_core::netboot::redact::redact;
use metal_proto::talos::events::event_sink_service_server::{
    EventSinkService, EventSinkServiceServer,
};
use metal_proto::talos::events::{EventRequest, EventResponse};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::Desk;
use crate::talos::events::{Event, Run, machine_of, reduce};

/// Largest event. Config errors quote configs; nothing else comes near.
const EVENT_BYTES_MAX: usize = 256 * 1024;
/// Longest id that is stored.
const ID_BYTES_MAX: usize = 64;
/// Longest wait for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// Nodes whose runs are remembered; the one that was quiet for longest goes first.
const RUNS_MAX: usize = 8192;
/// For open connections after the stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves until `stop`.
pub(crate) async fn serve<D: Desk>(desk: Arc<D>, listener: TcpListener, stop: CancellationToken) {
    let sink = Sink {
        desk,
        runs: Mutex::default(),
    };
    let service = EventSinkServiceServer::new(sink).max_decoding_message_size(EVENT_BYTES_MAX);
    let serving = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .max_concurrent_streams(16)
        .add_service(service)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stop.clone().cancelled_owned(),
        );
    let cut = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "event sink stopped");
            }
        }
        () = cut => {}
    }
}

/// One node: its address and the machine part of its ids.
type Node = (IpAddr, Option<[u8; 3]>);

struct Sink<D> {
    desk: Arc<D>,
    runs: Mutex<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    by_node: BTreeMap<Node, (u64, Run)>,
    tick: u64,
}

impl Runs {
    fn of(&self, node: &Node) -> Run {
        self.by_node
            .get(node)
            .map(|(_, run)| run.clone())
            .unwrap_or_default()
    }

    fn keep(&mut self, node: Node, run: Run) {
        self.tick += 1;
        self.by_node.insert(node, (self.tick, run));
        if self.by_node.len() > RUNS_MAX {
            let oldest = self
                .by_node
                .iter()
                .min_by_key(|(_, (tick, _))| *tick)
                .map(|(node, _)| *node);
            if let Some(oldest) = oldest {
                self.by_node.remove(&oldest);
            }
        }
    }
}

#[tonic::async_trait]
impl<D: Desk> EventSinkService for Sink<D> {
    async fn publish(
        &self,
        request: Request<EventRequest>,
    ) -> Result<Response<EventResponse>, Status> {
        let from = request
            .remote_addr()
            .ok_or_else(|| Status::internal("no peer address"))?
            .ip()
            .to_canonical();
        let EventRequest { data, id, .. } = request.into_inner();
        let is_id =
            (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        let event = data
            .filter(|_| is_id)
            .and_then(|data| Event::decode(&data.type_url, &data.value).ok());
        let Some(event) = event else {
            tracing::warn!(%from, "an event that cannot be read is dropped");
            return Ok(Response::new(EventResponse {}));
        };
        let node = (from, machine_of(&id));
        let run = self.runs().of(&node);
        let reduced = reduce(&run, &id, &event);
        let line = redact(&reduced.line);
        let stored = self.desk.talos_event(from, &id, &line, reduced.fact);
        match tokio::time::timeout(STORE_TIMEOUT, stored).await {
            Ok(Ok(())) => {
                self.runs().keep(node, reduced.run);
                Ok(Response::new(EventResponse {}))
            }
            Ok(Err(error)) => {
                tracing::warn!(%from, %error, "an event is not stored; the node sends it again");
                Err(Status::unavailable("not stored, send it again"))
            }
            Err(_) => Err(Status::unavailable("not stored in time, send it again")),
        }
    }
}

impl<D> Sink<D> {
    fn runs(&self) -> std::sync::MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
