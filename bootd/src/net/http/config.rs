//! `GET /configdata?token=…`: this boot's config, to the one that holds this boot's token.
//!
//! While the config is not ready the request is held and then answered 503. Never 204 or 404: a Talos that reads those backs off
//! for minutes, or takes an empty config.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bootd_core::lifecycle::facts::Fact;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;

use super::{Hold, Peer, Web, Woken, plain, unavailable};
use crate::net::Desk;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    token: String,
}

pub(super) async fn handle<D: Desk>(
    State(web): State<Arc<Web<D>>>,
    peer: Peer,
    Query(asked): Query<Asked>,
) -> Response {
    let mut hold = Hold::new(&web);
    loop {
        hold.look();
        // Each time anew: a token may die while its holder waits.
        let owner = match web.desk.redeem(&asked.token, peer.ip).await {
            Ok(Ok(owner)) => owner,
            Ok(Err(refusal)) => {
                tracing::warn!(peer = %peer.ip, %refusal, "config refused");
                return plain(StatusCode::FORBIDDEN, "this token is not good\n");
            }
            Err(error) => return unavailable(&error),
        };
        match web.desk.config(&owner).await {
            Ok(Some(config)) => {
                let fact = Fact::ConfigServed { from: peer.ip };
                return match web.desk.fact(&owner.machine, owner.epoch, fact).await {
                    Ok(()) => (
                        [
                            (CONTENT_TYPE, "application/yaml"),
                            (CACHE_CONTROL, "no-store"),
                        ],
                        config,
                    )
                        .into_response(),
                    Err(error) => unavailable(&error),
                };
            }
            Ok(None) => {}
            Err(error) => return unavailable(&error),
        }
        if hold.wait().await == Woken::TimeUp {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the config is not ready\n");
        }
    }
}
