//! `GET /asset/DIGEST/NAME` and `GET /ipxe/FILE`: files whole or in part, streamed, and the fact that one arrived whole.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bootd_core::lifecycle::facts::{Fact, ServedBoot};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::{Peer, Web, plain, unavailable};
use crate::images::{CachedFile, Part};
use crate::net::{Desk, Redeemed};

/// What one read takes from a file.
const CHUNK: usize = 256 * 1024;

pub(super) async fn by_digest<D: Desk>(
    State(web): State<Arc<Web<D>>>,
    peer: Peer,
    method: Method,
    Path((digest, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let is_name = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    let found = if is_name { find(&web, &digest) } else { None };
    let Some((file, part, what)) = found else {
        return plain(StatusCode::NOT_FOUND, "no such asset\n");
    };
    let Some(range) = range(&headers, file.bytes) else {
        return not_satisfiable(file.bytes);
    };
    let arrived = match part {
        Part::Kernel => Fact::KernelServed { what },
        Part::Initrd => Fact::InitrdServed { what },
    };
    let stream = match open(&file, &range).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::error!(path = %file.path.display(), %error, "an asset cannot be read");
            return plain(StatusCode::SERVICE_UNAVAILABLE, "not now\n");
        }
    };
    let tag = format!("\"{digest}\"");
    answer(
        &web,
        peer,
        method,
        Served {
            stream,
            range,
            total: file.bytes,
            tag: Some(tag),
            arrived,
        },
    )
    .await
}

pub(super) async fn boot_file<D: Desk>(
    State(web): State<Arc<Web<D>>>,
    peer: Peer,
    method: Method,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(content) = web.assets.boot_file(&name).cloned() else {
        return plain(StatusCode::NOT_FOUND, "no such boot file\n");
    };
    let total = content.len() as u64;
    let Some(range) = range(&headers, total) else {
        return not_satisfiable(total);
    };
    match web.desk.machine_at(peer.ip).await {
        Ok(Some(owner)) if method == Method::GET => {
            let asked = Fact::BootFileRequested { name: name.clone() };
            if let Err(error) = web.desk.fact(&owner.machine, owner.epoch, asked).await {
                return unavailable(&error);
            }
        }
        Ok(_) => {}
        Err(error) => return unavailable(&error),
    }
    let start = usize::try_from(range.start).unwrap_or(usize::MAX);
    let end = usize::try_from(range.end).unwrap_or(usize::MAX);
    let stream = futures::stream::iter([Ok(content.slice(start..end))]).boxed();
    answer(
        &web,
        peer,
        method,
        Served {
            stream,
            range,
            total,
            tag: None,
            arrived: Fact::BootFileServed { name },
        },
    )
    .await
}

type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

struct Served {
    stream: Chunks,
    range: Range<u64>,
    total: u64,
    tag: Option<String>,
    /// The fact, if all of it arrives.
    arrived: Fact,
}

async fn answer<D: Desk>(
    web: &Arc<Web<D>>,
    peer: Peer,
    method: Method,
    served: Served,
) -> Response {
    let Served {
        stream,
        range,
        total,
        tag,
        arrived,
    } = served;
    let is_whole = range == (0..total);
    // Whose fact it is, is settled at the start: a slow transfer must not count for a later epoch.
    let owner = if is_whole && method == Method::GET {
        match web.desk.machine_at(peer.ip).await {
            Ok(owner) => owner,
            Err(error) => return unavailable(&error),
        }
    } else {
        None
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(Counted {
            inner: stream,
            left: range.end - range.start,
            arrived: owner.map(|owner| Arrived {
                web: Arc::clone(web),
                owner,
                fact: arrived,
            }),
        })
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, http::HeaderValue::from_static("bytes"));
    headers.insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
    if let Some(tag) = tag.and_then(|tag| tag.parse().ok()) {
        headers.insert(ETAG, tag);
    }
    if !is_whole {
        let value = format!("bytes {}-{}/{total}", range.start, range.end - 1);
        if let Ok(value) = value.parse() {
            headers.insert(CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

fn find<D>(web: &Web<D>, digest: &str) -> Option<(CachedFile, Part, ServedBoot)> {
    if let Some(agent) = &web.assets.agent {
        for (file, part) in [(&agent.kernel, Part::Kernel), (&agent.initrd, Part::Initrd)] {
            if file.digest == digest {
                return Some((file.clone(), part, ServedBoot::Agent));
            }
        }
    }
    let (file, part) = web.images.file(digest)?;
    Some((file, part, ServedBoot::Talos))
}

/// The bytes wanted (RFC 9110 §14.2). Several ranges, or other units, mean the whole file; `None` cannot be satisfied.
fn range(headers: &HeaderMap, total: u64) -> Option<Range<u64>> {
    let whole = Some(0..total);
    let Some(spec) = headers
        .get(RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("bytes="))
    else {
        return whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return whole;
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(total),
        (Ok(first), Err(_)) if last.is_empty() => first..total,
        (Err(_), Ok(suffix)) if first.is_empty() => total.saturating_sub(suffix)..total,
        _ => return whole,
    };
    (range.start < range.end || total == 0).then_some(range)
}

fn not_satisfiable(total: u64) -> Response {
    let value = format!("bytes */{total}");
    (StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, value)]).into_response()
}

async fn open(file: &CachedFile, range: &Range<u64>) -> io::Result<Chunks> {
    let mut open = tokio::fs::File::open(&file.path).await?;
    if open.metadata().await?.len() != file.bytes {
        return Err(io::Error::other("its length changed since it was stored"));
    }
    open.set_max_buf_size(CHUNK);
    open.seek(io::SeekFrom::Start(range.start)).await?;
    let part = open.take(range.end - range.start);
    Ok(ReaderStream::with_capacity(part, CHUNK).boxed())
}

/// Passes chunks on and tells when the last byte has been taken by the connection.
struct Counted<D: Desk> {
    inner: Chunks,
    left: u64,
    arrived: Option<Arrived<D>>,
}

struct Arrived<D: Desk> {
    web: Arc<Web<D>>,
    owner: Redeemed,
    fact: Fact,
}

impl<D: Desk> Arrived<D> {
    fn record(self) {
        let Self { web, owner, fact } = self;
        let after = web.after.clone();
        after.spawn(async move {
            if let Err(error) = web.desk.fact(&owner.machine, owner.epoch, fact).await {
                tracing::warn!(machine = %owner.machine, %error, "a served file is not on record");
            }
        });
    }
}

impl<D: Desk> Stream for Counted<D> {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let polled = self.inner.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            self.left = self.left.saturating_sub(chunk.len() as u64);
            if self.left == 0
                && let Some(arrived) = self.arrived.take()
            {
                arrived.record();
            }
        }
        polled
    }
}
