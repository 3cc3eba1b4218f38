//! What a node pushes out: events to its event sink (gRPC over plain HTTP/2), the kernel log to its destinations (JSON lines).
//!
//! Delivery is in order, one call at a time and without a deadline: a sink that never answers freezes the stream.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use metal_proto::talos::events::EventRequest;
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use super::events::{Event, EventLog};
use crate::rack::http::connect_from;
use crate::rack::wire::Cable;

/// Pushes a boot's events for ever, to wherever `endpoint` says; `delivered` counts the ones that were taken.
pub async fn push_events(
    log: Arc<EventLog>,
    mut endpoint: watch::Receiver<Option<String>>,
    delivered: watch::Sender<usize>,
    cable: Cable,
    pace: impl Fn(Duration) -> Duration,
) {
    let mut count = log.count();
    let mut next = 0;
    let mut pause = Duration::from_millis(2500);
    loop {
        let to = endpoint.borrow_and_update().clone();
        let Some(to) = to else {
            if endpoint.changed().await.is_err() {
                return;
            }
            continue;
        };
        let mut connection = match connect(&cable, &to).await {
            Ok(connection) => connection,
            Err(why) => {
                tracing::debug!(to, why, "event sink");
                tokio::time::sleep(pace(pause)).await;
                pause = (pause * 2).min(Duration::from_secs(60));
                continue;
            }
        };
        loop {
            let Some((number, event)) = log.at(next) else {
                tokio::select! {
                    _ = count.changed() => {}
                    _ = endpoint.changed() => break,
                }
                continue;
            };
            match publish(&mut connection, &to, &event).await {
                Ok(()) => {
                    next = number + 1;
                    delivered.send_replace(next);
                    pause = Duration::from_millis(2500);
                }
                Err(why) => {
                    tracing::debug!(to, why, "event sink");
                    tokio::time::sleep(pace(pause)).await;
                    pause = (pause * 2).min(Duration::from_secs(60));
                    break;
                }
            }
            if endpoint.has_changed().unwrap_or(false) {
                break;
            }
        }
    }
}

async fn connect(cable: &Cable, to: &str) -> Result<SendRequest<Full<Bytes>>, String> {
    let address: SocketAddr = to.parse().map_err(|_| format!("cannot resolve {to:?}"))?;
    let stream = connect_from(cable, address)
        .await
        .map_err(|e| e.to_string())?;
    let (send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
    // Ends when `send` is dropped or the peer closes.
    tokio::spawn(connection);
    Ok(send)
}

async fn publish(
    connection: &mut SendRequest<Full<Bytes>>,
    to: &str,
    event: &Event,
) -> Result<(), String> {
    let message = EventRequest {
        data: Some(prost_types::Any {
            type_url: format!("type.googleapis.com/machine.{}", event.payload.name),
            value: event.payload.bytes.clone(),
        }),
        id: event.id.clone(),
        actor_id: event.actor.clone(),
    };
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).map_err(|e| e.to_string())?);
    message.encode(&mut frame).map_err(|e| e.to_string())?;
    let request = http::Request::post(format!("http://{to}/events.EventSinkService/Publish"))
        .header("content-type", "application/grpc")
        .header("user-agent", "grpc-go/1.82.1")
        .header("te", "trailers")
        .header("grpc-accept-encoding", "gzip")
        .body(Full::new(frame.freeze()))
        .map_err(|e| e.to_string())?;
    connection.ready().await.map_err(|e| e.to_string())?;
    let answer = connection
        .send_request(request)
        .await
        .map_err(|e| e.to_string())?;
    let early = answer.headers().get("grpc-status").cloned();
    let body = answer
        .into_body()
        .collect()
        .await
        .map_err(|e| e.to_string())?;
    let late = body.trailers().and_then(|t| t.get("grpc-status")).cloned();
    match late.or(early) {
        Some(status) if status == "0" => Ok(()),
        Some(status) => Err(format!("grpc status {status:?}")),
        None => Err("no grpc status".to_owned()),
    }
}

/// The kernel ring of a boot.
#[derive(Debug)]
pub struct KernelLog {
    lines: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
    booted: SystemTime,
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facility {
    /// The kernel.
    Kernel,
    /// Talos.
    Talos,
}

impl KernelLog {
    /// A kernel that says hello and shows its command line.
    pub fn new(version: &str, command_line: &str) -> Self {
        let log = Self {
            lines: Mutex::default(),
            count: watch::Sender::new(0),
            booted: SystemTime::now(),
        };
        log.line(
            Facility::Kernel,
            &format!(
                "Linux version 6.18.9-talos (simulated) #1 SMP PREEMPT_DYNAMIC Talos {version}"
            ),
        );
        log.line(Facility::Kernel, &format!("Command line: {command_line}"));
        log
    }

    /// Adds a line, without its line end.
    pub fn line(&self, from: Facility, text: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let clock = now
            .duration_since(self.booted)
            .unwrap_or_default()
            .as_micros();
        let (facility, priority, level, text) = match from {
            Facility::Kernel => ("kern", "info", "info", format!("{text}\n")),
            Facility::Talos => ("user", "warning", "warn", format!("[talos] {text}\n")),
        };
        let object = serde_json::json!({
            "clock": u64::try_from(clock).unwrap_or(u64::MAX),
            "facility": facility,
            "msg": text,
            "priority": priority,
            "seq": lines.len(),
            "talos-level": level,
            "talos-time": super::clock::rfc3339(now),
        });
        lines.push(object.to_string());
        let total = lines.len();
        drop(lines);
        self.count.send_replace(total);
    }

    /// The texts so far, for Dmesg.
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Delivers to one destination for ever, from the first line on.
    pub async fn deliver(self: Arc<Self>, url: String, cable: Cable) {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
        let Ok(to) = rest.trim_end_matches('/').parse::<SocketAddr>() else {
            tracing::debug!(url, "kernel log destination is no address");
            return;
        };
        let mut next = 0;
        loop {
            let result = match scheme {
                "tcp" => self.stream(&cable, to, &mut next).await,
                _ => self.datagrams(&cable, to, &mut next).await,
            };
            if let Err(error) = result {
                tracing::debug!(url, %error, "kernel log");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn stream(&self, cable: &Cable, to: SocketAddr, next: &mut usize) -> std::io::Result<()> {
        let mut stream = connect_from(cable, to).await?;
        loop {
            let line = self.wait(*next).await;
            stream.write_all(format!("{line}\n").as_bytes()).await?;
            *next += 1;
        }
    }

    async fn datagrams(
        &self,
        cable: &Cable,
        to: SocketAddr,
        next: &mut usize,
    ) -> std::io::Result<()> {
        let socket = tokio::net::UdpSocket::bind((cable.address, 0)).await?;
        loop {
            let line = self.wait(*next).await;
            socket.send_to(line.as_bytes(), to).await?;
            *next += 1;
        }
    }

    async fn wait(&self, number: usize) -> String {
        let mut count = self.count.subscribe();
        loop {
            if let Some(line) = self.lines().get(number) {
                return line.clone();
            }
            // The sender lives as long as `self`.
            drop(count.changed().await);
        }
    }
}
