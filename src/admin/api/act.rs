//! What changes something: asked of the run as commands do, and noted with who asked.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{self, Json};
use super::{Shared, document, number};
use crate::admin::api::show::known_sink;
use crate::admin::beside::{self, Standing};
use crate::admin::refusal::Refusal;
use crate::admin::{Shown, answer};
use crate::chunk::Operation;
use crate::delivery::{DeadLetterFilter, missing_dead_letters};
use crate::inspect;
use crate::inspect::request;
use crate::mapping::Selector;
use crate::progress::load::{LoadState, Wanted};
use crate::state::request::Answer;

type Answered = Result<Response<Body>, Refusal>;

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(in crate::admin) struct Peer(pub(in crate::admin) SocketAddr);

impl Peer {
    fn origin(self) -> String {
        format!("console, {}", self.0.ip())
    }
}

/// Which dead letters are meant.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Which {
    #[serde(deserialize_with = "body::ids")]
    ids: Vec<i64>,
    #[serde(deserialize_with = "body::there")]
    sink: Option<String>,
    #[serde(deserialize_with = "body::there")]
    route: Option<String>,
    #[serde(deserialize_with = "body::there")]
    table: Option<String>,
    #[serde(deserialize_with = "body::there")]
    category: Option<String>,
    #[serde(deserialize_with = "body::there")]
    state: Option<String>,
    #[serde(deserialize_with = "body::there")]
    message: Option<String>,
    #[serde(deserialize_with = "body::yes")]
    all: bool,
}

impl Which {
    /// Everything at once has to be asked for in so many words.
    fn filter(self) -> Result<DeadLetterFilter, Refusal> {
        let Self { ids, sink, route, table, category, state, message, all } = self;
        let filter = DeadLetterFilter {
            ids,
            sink,
            route,
            table,
            category,
            state,
            message,
            ..DeadLetterFilter::default()
        };
        if filter.is_empty() && !all {
            return Err(Refusal::wrong("which of them? give ids or filters, or \"all\": true"));
        }
        Ok(filter)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    which: Which,
    #[serde(default, deserialize_with = "body::version")]
    mapping_version: Option<u32>,
    #[serde(default)]
    force: bool,
}

/// `POST /v1/dead-letters/replay`: as `walgate dlq replay`.
pub(super) async fn replay(
    State(shown): Shared,
    Extension(peer): Extension<Peer>,
    body: Json<Replay>,
) -> Answered {
    let Json(Replay { which, mapping_version, force }) = body;
    let filter = which.filter()?;
    there_are(&shown, &filter).await?;
    let what = request::Request::ReplayDead { filter, mapping: mapping_version, force };
    settled(beside::ask(&shown, &what, peer.origin()).await?)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Discard {
    which: Which,
    reason: String,
}

/// `POST /v1/dead-letters/discard`: as `walgate dlq discard`.
pub(super) async fn discard(
    State(shown): Shared,
    Extension(peer): Extension<Peer>,
    body: Json<Discard>,
) -> Answered {
    let Json(Discard { which, reason }) = body;
    if reason.trim().is_empty() {
        return Err(Refusal::wrong("\"reason\" is needed; it is kept"));
    }
    let filter = which.filter()?;
    there_are(&shown, &filter).await?;
    let what = request::Request::Discard { filter, reason };
    settled(beside::ask(&shown, &what, peer.origin()).await?)
}

/// Refuses numbers that no dead letter has, and sinks and routes that are not there.
async fn there_are(shown: &Arc<dyn Shown>, filter: &DeadLetterFilter) -> Result<(), Refusal> {
    let ids = filter.ids.clone();
    let missing = beside::read(shown, move |_, reader| {
        Ok(reader.read(|connection| missing_dead_letters(connection, &ids))?)
    });
    let missing: Vec<String> = missing.await?.iter().map(i64::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::missing(format!("there is no dead letter {}", missing.join(", "))))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Why {
    #[serde(deserialize_with = "body::there")]
    reason: Option<String>,
}

/// The body of what needs none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// `POST /v1/sinks/NAME/pause`: as `walgate sink pause`.
pub(super) async fn pause(
    State(shown): Shared,
    Path(sink): Path<String>,
    Extension(peer): Extension<Peer>,
    body: Json<Why>,
) -> Answered {
    let Json(Why { reason }) = body;
    known_sink(&shown, &sink)?;
    settled(beside::ask(&shown, &request::Request::Pause { sink, reason }, peer.origin()).await?)
}

/// `POST /v1/sinks/NAME/resume`: as `walgate sink resume`.
pub(super) async fn resume(
    State(shown): Shared,
    Path(sink): Path<String>,
    Extension(peer): Extension<Peer>,
    body: Json<Nothing>,
) -> Answered {
    let Json(Nothing {}) = body;
    known_sink(&shown, &sink)?;
    settled(beside::ask(&shown, &request::Request::Resume { sink }, peer.origin()).await?)
}

/// `POST /v1/routes/NAME/hold`: as `walgate route hold`.
pub(super) async fn hold(
    State(shown): Shared,
    Path(route): Path<String>,
    Extension(peer): Extension<Peer>,
    body: Json<Why>,
) -> Answered {
    let Json(Why { reason }) = body;
    known_route(&shown, &route)?;
    settled(beside::ask(&shown, &request::Request::Hold { route, reason }, peer.origin()).await?)
}

/// `POST /v1/routes/NAME/release`: as `walgate route release`.
pub(super) async fn release(
    State(shown): Shared,
    Path(route): Path<String>,
    Extension(peer): Extension<Peer>,
    body: Json<Nothing>,
) -> Answered {
    let Json(Nothing {}) = body;
    known_route(&shown, &route)?;
    settled(beside::ask(&shown, &request::Request::Release { route }, peer.origin()).await?)
}

fn known_route(shown: &Arc<dyn Shown>, name: &str) -> Result<(), Refusal> {
    let is_known = shown.config().routes.iter().any(|route| route.is_called(name));
    if is_known { Ok(()) } else { Err(Refusal::missing(format!("there is no route \"{name}\""))) }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backfill {
    table: String,
    #[serde(default, deserialize_with = "body::there")]
    sink: Option<String>,
    #[serde(default, rename = "where", deserialize_with = "body::there")]
    filter: Option<String>,
    #[serde(default)]
    sweep: bool,
}

/// `POST /v1/backfills`: as `walgate backfill start`.
pub(super) async fn backfill(
    State(shown): Shared,
    Extension(peer): Extension<Peer>,
    body: Json<Backfill>,
) -> Answered {
    let Json(Backfill { table, sink, filter, sweep }) = body;
    if let Some(sink) = &sink {
        known_sink(&shown, sink)?;
    }
    if shown.config().journal.max_size == 0 && sweep {
        let message = "there is no journal, which a sweep goes by";
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    let pattern = inspect::table(&table)?;
    let takes = |selector: &Selector| match (selector, pattern.literal()) {
        (Selector::Table(of), Some((namespace, name))) => of.matches_names(namespace, name),
        _ => false,
    };
    let routes = shown.config().routes.iter().filter(|route| {
        takes(&route.selector)
            && route.on.contains(Operation::Read)
            && sink.as_ref().is_none_or(|sink| *sink == route.sink)
    });
    let routes: Vec<String> = routes.map(|route| route.name.clone()).collect();
    if routes.is_empty() {
        return Err(Refusal::missing(format!("no route takes rows of {table} that are there")));
    }
    let table = pattern.as_str().to_owned();
    let wanted = Some(Wanted { table, sink, routes: routes.clone(), filter, sweep });
    settled(beside::ask(&shown, &request::Request::Load { wanted, routes }, peer.origin()).await?)
}

/// `POST /v1/backfills/ID/pause|resume|cancel`
pub(super) async fn turn(
    State(shown): Shared,
    Path((id, turn)): Path<(String, String)>,
    Extension(peer): Extension<Peer>,
    body: Json<Nothing>,
) -> Answered {
    let Json(Nothing {}) = body;
    let id = number(&id)?;
    let state = match turn.as_str() {
        "pause" => LoadState::Paused,
        "resume" => LoadState::Running,
        "cancel" => LoadState::Cancelled,
        _ => return Err(Refusal::missing("there are pause, resume and cancel")),
    };
    let found = beside::read(&shown, move |_, reader| {
        Ok(reader.read(|connection| crate::progress::load::get(connection, id))?)
    });
    let Some(load) = found.await? else {
        return Err(Refusal::missing(format!("there is no backfill {id}")));
    };
    let fits = match state {
        LoadState::Running => matches!(load.state, LoadState::Paused | LoadState::Failed),
        _ => load.state.is_open() && load.state != state,
    };
    if !fits {
        let message = format!("backfill {id} is {}: it can't be changed so", load.state.as_str());
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    let what = request::Request::TurnLoads { ids: vec![id], state };
    settled(beside::ask(&shown, &what, peer.origin()).await?)
}

/// `GET /v1/requests/ID`: how far something is that was asked for.
pub(super) async fn request(State(shown): Shared, Path(id): Path<String>) -> Answered {
    let id = number(&id)?;
    document(&told(&Standing { id, answer: beside::look(&shown, id).await? }))
}

/// Answers 200 for what is done, 202 for what is still being done, 409 for what could not be done.
fn settled(standing: Standing) -> Answered {
    let status = match &standing.answer {
        Answer::Done(_) => StatusCode::OK,
        Answer::Failed(_) => StatusCode::CONFLICT,
        Answer::Waiting | Answer::Taken(_) => StatusCode::ACCEPTED,
    };
    Ok(answer::document(status, &told(&standing)))
}

fn told(standing: &Standing) -> Value {
    let (state, outcome, error) = match &standing.answer {
        Answer::Waiting => ("asked", None, None),
        Answer::Taken(_) => ("taken", None, None),
        Answer::Done(text) => ("done", serde_json::from_str::<Value>(text).ok(), None),
        Answer::Failed(reason) => ("failed", None, Some(reason.as_str())),
    };
    json!({ "request": standing.id, "state": state, "outcome": outcome, "error": error })
}
