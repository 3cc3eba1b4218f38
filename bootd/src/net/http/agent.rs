//! The agent's three calls (`metal/v1/agent.proto`), over HTTPS only.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use metal_proto::metal::v1::agent_order::What;
use metal_proto::metal::v1::{AgentOrder, AgentReport, AgentResult, AgentWait};
use prost::Message;
use serde::Deserialize;

use super::{Hold, Peer, Web, Wire, Woken, plain, unavailable};
use crate::net::{Desk, Redeemed, Refusal};

/// How long an agent may take to ask again after `wait`; it asks by long poll, so this is no delay.
const ASK_AGAIN_SECONDS: u32 = 60;

pub(super) async fn report<D: Desk>(
    State(web): State<Arc<Web<D>>>,
    peer: Peer,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let owner = match owner(&web, peer, &headers).await {
        Ok(owner) => owner,
        Err(response) => return *response,
    };
    let Ok(report) = AgentReport::decode(body) else {
        return plain(StatusCode::BAD_REQUEST, "not an AgentReport\n");
    };
    match web.desk.agent_report(&owner, report, peer.ip).await {
        Ok(order) => protobuf(&order),
        Err(error) => unavailable(&error),
    }
}

pub(super) async fn result<D: Desk>(
    State(web): State<Arc<Web<D>>>,
    peer: Peer,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let owner = match owner(&web, peer, &headers).await {
        Ok(owner) => owner,
        Err(response) => return *response,
    };
    let Ok(result) = AgentResult::decode(body) else {
        return plain(StatusCode::BAD_REQUEST, "not an AgentResult\n");
    };
    match web.desk.agent_result(&owner, result).await {
        Ok(order) => protobuf(&order),
        Err(error) => unavailable(&error),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
}

pub(super) async fn order<D: Desk>(
    State(web): State<Arc<Web<D>>>,
    peer: Peer,
    Query(After { after }): Query<After>,
    headers: HeaderMap,
) -> Response {
    let mut hold = Hold::new(&web);
    loop {
        hold.look();
        let owner = match owner(&web, peer, &headers).await {
            Ok(owner) => owner,
            Err(response) => return *response,
        };
        match web.desk.agent_order(&owner, after).await {
            Ok(Some(order)) => return protobuf(&order),
            Ok(None) => {}
            Err(error) => return unavailable(&error),
        }
        if hold.wait().await == Woken::TimeUp {
            return protobuf(&AgentOrder {
                number: after,
                what: Some(What::Wait(AgentWait {
                    seconds_max: ASK_AGAIN_SECONDS,
                })),
            });
        }
    }
}

async fn owner<D: Desk>(
    web: &Web<D>,
    peer: Peer,
    headers: &HeaderMap,
) -> Result<Redeemed, Box<Response>> {
    if peer.wire == Wire::Plain {
        let text = "the agent speaks HTTPS\n";
        return Err(Box::new(plain(StatusCode::FORBIDDEN, text)));
    }
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    match web.desk.redeem(token, peer.ip).await {
        Ok(Ok(owner)) => Ok(owner),
        Ok(Err(refusal)) => {
            match refusal {
                Refusal::Ended => tracing::debug!(peer = %peer.ip, %refusal, "agent refused"),
                Refusal::NoWindow
                | Refusal::NoDhcp
                | Refusal::SecondRequester
                | Refusal::BadToken
                | Refusal::WrongSource => {
                    tracing::warn!(peer = %peer.ip, %refusal, "agent refused");
                }
            }
            let text = "this token is not good\n";
            Err(Box::new(plain(StatusCode::UNAUTHORIZED, text)))
        }
        Err(error) => Err(Box::new(unavailable(&error))),
    }
}

fn protobuf(message: &impl Message) -> Response {
    (
        [(CONTENT_TYPE, "application/x-protobuf")],
        message.encode_to_vec(),
    )
        .into_response()
}
