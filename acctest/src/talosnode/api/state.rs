//! `cosi.resource.State`: reads and watches of the node's resources.

use std::pin::Pin;

use futures::Stream;
use metal_proto::talos::cosi::resource as cosi;
use metal_proto::talos::cosi::resource::state_server::State;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Api;
use crate::talosnode::resources::{Change, DEFINITIONS, Reads, TYPES};

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Api {
    /// Whether the caller may read a type.
    fn readable(&self, kind: &str) -> Result<(), Status> {
        if kind == DEFINITIONS {
            return Ok(());
        }
        let found = TYPES.iter().find(|t| t.name == kind).ok_or_else(|| {
            Status::permission_denied(format!("resource type {kind:?} is not supported"))
        })?;
        match found.reads {
            Reads::All => Ok(()),
            Reads::Admin if self.caller.has(&["os:admin"]) => Ok(()),
            Reads::Admin => Err(Status::permission_denied("not authorized")),
        }
    }
}

#[tonic::async_trait]
impl State for Api {
    async fn get(
        &self,
        request: Request<cosi::GetRequest>,
    ) -> Result<Response<cosi::GetResponse>, Status> {
        let ask = request.into_inner();
        self.readable(&ask.r#type)?;
        let found = self.node.resources.find(&ask.r#type, &ask.id);
        let resource = found.ok_or_else(|| missing(&ask.r#type, &ask.namespace, &ask.id))?;
        Ok(Response::new(cosi::GetResponse {
            resource: Some(resource),
        }))
    }

    async fn list(
        &self,
        request: Request<cosi::ListRequest>,
    ) -> Result<Response<BoxStream<cosi::ListResponse>>, Status> {
        let ask = request.into_inner();
        self.readable(&ask.r#type)?;
        let answers: Vec<_> = self
            .node
            .resources
            .list(&ask.r#type)
            .into_iter()
            .map(|resource| {
                Ok(cosi::ListResponse {
                    resource: Some(resource),
                })
            })
            .collect();
        Ok(Response::new(Box::pin(futures::stream::iter(answers))))
    }

    async fn watch(
        &self,
        request: Request<cosi::WatchRequest>,
    ) -> Result<Response<BoxStream<cosi::WatchResponse>>, Status> {
        let ask = request.into_inner();
        self.readable(&ask.r#type)?;
        let (now, changes) = self.node.resources.watch(&ask.r#type);
        let (send, receive) = mpsc::channel(64);
        // Ends when the caller is gone.
        tokio::spawn(follow(ask, now, changes, send));
        Ok(Response::new(Box::pin(ReceiverStream::new(receive))))
    }
}

fn missing(kind: &str, namespace: &str, id: &str) -> Status {
    Status::not_found(format!(
        "resource {kind}({namespace}/{id}@undefined) doesn't exist"
    ))
}

/// First an empty message; then what is there, then what changes.
async fn follow(
    ask: cosi::WatchRequest,
    now: Vec<cosi::Resource>,
    mut changes: broadcast::Receiver<Change>,
    send: mpsc::Sender<Result<cosi::WatchResponse, Status>>,
) {
    let of = |resource: &cosi::Resource| {
        let metadata = resource.metadata.as_ref();
        metadata
            .is_some_and(|m| m.r#type == ask.r#type && ask.id.as_ref().is_none_or(|id| *id == m.id))
    };
    let event =
        |kind: cosi::EventType, resource: Option<cosi::Resource>, old: Option<cosi::Resource>| {
            Ok(cosi::WatchResponse {
                event: vec![cosi::Event {
                    resource,
                    old,
                    error: None,
                    event_type: kind.into(),
                    bookmark: None,
                }],
            })
        };
    let mut first = vec![Ok(cosi::WatchResponse::default())];
    let contents = ask.options.as_ref().is_some_and(|o| o.bootstrap_contents);
    let present: Vec<_> = now.into_iter().filter(|r| of(r)).collect();
    if let Some(id) = &ask.id {
        match present.into_iter().next() {
            Some(resource) => first.push(event(cosi::EventType::Created, Some(resource), None)),
            None => {
                let gone = cosi::Resource {
                    metadata: Some(cosi::Metadata {
                        namespace: ask.namespace.clone(),
                        r#type: ask.r#type.clone(),
                        id: id.clone(),
                        version: "undefined".to_owned(),
                        ..cosi::Metadata::default()
                    }),
                    spec: None,
                };
                first.push(event(cosi::EventType::Destroyed, Some(gone), None));
            }
        }
    } else if contents {
        first.extend(
            present
                .into_iter()
                .map(|r| event(cosi::EventType::Created, Some(r), None)),
        );
        first.push(event(cosi::EventType::Bootstrapped, None, None));
    }
    for message in first {
        if send.send(message).await.is_err() {
            return;
        }
    }
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            () = send.closed() => return,
        };
        let message = match change {
            Ok(change) if of(&change.resource) => {
                event(change.kind, Some(change.resource), change.old)
            }
            Ok(_) => continue,
            Err(broadcast::error::RecvError::Lagged(_)) => Err(Status::aborted("buffer overrun")),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if send.send(message).await.is_err() {
            return;
        }
    }
}
