//! `/v1/…`: what commands say and do, as JSON over HTTP. `openapi` describes it.

mod act;
mod body;
mod openapi;
mod show;

pub(super) use self::act::Peer;
pub(super) use self::show::{filter, traced};

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use serde::Serialize;

use super::refusal::Refusal;
use super::{Shown, answer};

/// What the listener shares with each question.
type Shared = State<Arc<dyn Shown>>;

/// Every path below `/v1/` but that of [`super::fetch`].
pub(super) fn routes() -> Router<Arc<dyn Shown>> {
    Router::new()
        .route("/v1/openapi.json", get(description))
        .route("/v1/status", get(show::status))
        .route("/v1/history", get(show::history))
        .route("/v1/dead-letters", get(show::dead_letters))
        .route("/v1/dead-letters/causes", get(show::causes))
        .route("/v1/dead-letters/replay", post(act::replay))
        .route("/v1/dead-letters/discard", post(act::discard))
        .route("/v1/dead-letters/{id}", get(show::dead_letter))
        .route("/v1/trace", get(show::trace))
        .route("/v1/backfills", get(show::backfills).post(act::backfill))
        .route("/v1/backfills/{id}/{turn}", post(act::turn))
        .route("/v1/sinks/{name}/batches", get(show::batches))
        .route("/v1/sinks/{name}/pause", post(act::pause))
        .route("/v1/sinks/{name}/resume", post(act::resume))
        .route("/v1/routes/{name}/hold", post(act::hold))
        .route("/v1/routes/{name}/release", post(act::release))
        .route("/v1/config", get(show::config))
        .route("/v1/incidents", get(show::incidents))
        .route("/v1/audit", get(show::audit))
        .route("/v1/requests/{id}", get(act::request))
}

async fn description() -> Response<Body> {
    answer::document(StatusCode::OK, &openapi::description())
}

/// Answers with a document.
fn document(value: &impl Serialize) -> Result<Response<Body>, Refusal> {
    let text = serde_json::to_string(value)
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(answer::body(StatusCode::OK, "application/json", text))
}

/// Reads a number in a path.
fn number(text: &str) -> Result<i64, Refusal> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Refusal::missing(format!("{text} is no number of anything")))
}
