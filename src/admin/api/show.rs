//! What is only shown.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Shared, document, number};
use crate::admin::query::Query;
use crate::admin::refusal::Refusal;
use crate::admin::{Shown, answer, beside};
use crate::alert::Subject;
use crate::alert::store::{Filter, list};
use crate::delivery::{DeadLetterFilter, dead_letter_causes, newest_batches, newest_dead_letters};
use crate::inspect::dead_letter::{self, Document, Hidden, Listed, Originals};
use crate::inspect::history::{self, FIGURES, Grain};
use crate::inspect::request::Request;
use crate::inspect::{self, load, status as standing, trace as life};
use crate::journal::Moment;
use crate::lsn::{Position, Timestamp};
use crate::progress::load as loads;
use crate::state::request;

/// So many are listed at most.
const LIST_MAX: u32 = 500;
/// So many causes are told apart.
const CAUSES_MAX: u32 = 200;
/// So many changes of a row are told.
const LIFE_MAX: usize = 500;

type Answered = Result<Response<Body>, Refusal>;

/// `GET /v1/status`: the document of `walgate status --json`.
pub(super) async fn status(State(shown): Shared, RawQuery(query): RawQuery) -> Answered {
    Query::parse(query.as_deref(), &[])?;
    document(&standing::now(shown.config()).await?)
}

/// `GET /v1/history?name=&sink=&span=hour|day`
pub(super) async fn history(State(shown): Shared, RawQuery(query): RawQuery) -> Answered {
    let query = Query::parse(query.as_deref(), &["name", "sink", "span"])?;
    let name = query.need("name")?.to_owned();
    if !FIGURES.iter().any(|(known, _)| *known == name) {
        let known: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
        return Err(Refusal::wrong(format!("\"name\" must be one of {}", known.join(", "))));
    }
    let grain = match query.get("span") {
        None | Some("hour") => Grain::Fine,
        Some("day") => Grain::Coarse,
        Some(_) => return Err(Refusal::wrong("\"span\" must be hour or day")),
    };
    let sink = query.text("sink").unwrap_or_default();
    let since = Timestamp::now().unix_micros() / 1_000_000 - grain.span();
    let series = beside::read(&shown, move |_, reader| {
        Ok(reader.read(|c| history::series(c, &name, &sink, grain, since))?)
    });
    let series = series.await?;
    let point = |(time, value): &(i64, f64)| json!({ "time": time, "value": value });
    let points: Vec<Value> = series.points.iter().map(point).collect();
    document(&json!({ "points": points }))
}

/// Reads which dead letters are meant.
pub(in crate::admin) fn filter(query: &Query) -> Result<DeadLetterFilter, Refusal> {
    let mut filter = DeadLetterFilter {
        sink: query.text("sink"),
        route: query.text("route"),
        table: query.text("table"),
        category: query.text("category"),
        message: query.text("message"),
        state: query.text("state"),
        ..DeadLetterFilter::default()
    };
    if let Some(key) = query.get("key") {
        filter.set_key(key).map_err(|error| Refusal::wrong(format!("\"key\": {error}")))?;
    }
    Ok(filter)
}

/// `GET /v1/dead-letters`: newest first.
pub(super) async fn dead_letters(State(shown): Shared, RawQuery(query): RawQuery) -> Answered {
    let known =
        ["sink", "route", "table", "key", "category", "message", "state", "before", "limit"];
    let query = Query::parse(query.as_deref(), &known)?;
    let filter = filter(&query)?;
    let before = query.number("before")?.unwrap_or(i64::MAX);
    let limit = query.limit(LIST_MAX)?;
    let listed = beside::read(&shown, move |_, reader| {
        Ok(reader.read(|c| newest_dead_letters(c, &filter, before, limit))?)
    });
    let listed = listed.await?;
    #[derive(Serialize)]
    struct List<'a> {
        dead_letters: Vec<Listed<'a>>,
        /// `before` of the next question; none where nothing is left.
        next: Option<i64>,
    }
    let is_full = listed.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = listed.last().map(|last| last.id).filter(|_| is_full);
    document(&List { dead_letters: listed.iter().map(Listed::of).collect(), next })
}

/// `GET /v1/dead-letters/causes`: what is set aside, grouped.
pub(super) async fn causes(State(shown): Shared, RawQuery(query): RawQuery) -> Answered {
    Query::parse(query.as_deref(), &[])?;
    let causes =
        beside::read(&shown, |_, reader| Ok(reader.read(|c| dead_letter_causes(c, CAUSES_MAX))?));
    let causes: Vec<Value> = causes
        .await?
        .iter()
        .map(|cause| {
            json!({
                "sink": cause.sink, "state": cause.state, "category": cause.category,
                "message": cause.message, "count": cause.count, "newest": cause.newest,
                "last_failed": cause.last_failed.map(|time| time.to_string()),
            })
        })
        .collect();
    document(&json!({ "causes": causes }))
}

/// `GET /v1/dead-letters/ID`: the document of `walgate dlq show --json`.
pub(super) async fn dead_letter(State(shown): Shared, Path(id): Path<String>) -> Answered {
    let id = number(&id)?;
    let text = beside::read(&shown, move |config, reader| {
        let letter = dead_letter::find(reader, id)?;
        let row = Originals::new(config, reader).row(&letter);
        let hidden = Hidden::of(&letter.listed, config, reader)?;
        Ok(serde_json::to_string(&Document::of(&letter, row, &hidden)).unwrap_or_default())
    });
    Ok(answer::body(StatusCode::OK, "application/json", text.await?))
}

/// `GET /v1/trace?table=&key=&sink=&from=&to=`: objects of `walgate trace --json`.
pub(super) async fn trace(State(shown): Shared, RawQuery(query): RawQuery) -> Answered {
    let query = Query::parse(query.as_deref(), &["table", "key", "sink", "from", "to"])?;
    document(&traced(&shown, &query).await?)
}

/// The life of a row, as far as it is told.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Life {
    pub(in crate::admin) changes: Vec<life::Told>,
    /// There are older ones that are not told.
    pub(in crate::admin) has_more: bool,
    /// Back to when the journal goes.
    pub(in crate::admin) oldest: Option<String>,
}

/// Tells the life of a row: its newest changes, oldest first.
pub(in crate::admin) async fn traced(
    shown: &Arc<dyn Shown>,
    query: &Query,
) -> Result<Life, Refusal> {
    if shown.config().journal.max_size == 0 {
        let message = "there is no journal: journal.max_size is \"0\"";
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    let (table, key) = (query.need("table")?.to_owned(), query.need("key")?.to_owned());
    let sink = query.text("sink");
    let what = "a time (RFC 3339) or an LSN";
    let (from, to): (Option<Moment>, Option<Moment>) =
        (query.read("from", what)?, query.read("to", what)?);
    let told = beside::read(shown, move |config, reader| {
        let asked = life::Asked { table: &table, key: &key, sink: sink.as_deref(), from, to };
        let mut changes = Vec::new();
        let mut has_more = false;
        let walked = life::walk(asked, config, reader, |told| -> Result<(), inspect::Error> {
            changes.extend(told);
            let over = changes.len().saturating_sub(LIFE_MAX);
            has_more |= over > 0;
            changes.drain(..over);
            Ok(())
        })?;
        let oldest = walked.oldest.map(|oldest| oldest.to_string());
        Ok(Life { changes, has_more, oldest })
    });
    told.await
}

/// `GET /v1/backfills`: objects of `walgate backfill list --json`.
pub(super) async fn backfills(State(shown): Shared, RawQuery(query): RawQuery) -> Answered {
    Query::parse(query.as_deref(), &[])?;
    let all = beside::read(&shown, |_, reader| Ok(reader.read(|c| loads::all(c, false))?));
    let all = all.await?;
    let now = Timestamp::now();
    let backfills: Vec<load::Document<'_>> =
        all.iter().map(|load| load::Document::of(load, now)).collect();
    document(&json!({ "backfills": backfills }))
}

/// `GET /v1/sinks/NAME/batches`: what it acknowledged last.
pub(super) async fn batches(
    State(shown): Shared,
    Path(sink): Path<String>,
    RawQuery(query): RawQuery,
) -> Answered {
    let query = Query::parse(query.as_deref(), &["limit"])?;
    let limit = query.limit(LIST_MAX)?;
    known_sink(&shown, &sink)?;
    let batches =
        beside::read(
            &shown,
            move |_, reader| Ok(reader.read(|c| newest_batches(c, &sink, limit))?),
        );
    let place = |position: Position| standing::Place::from(position);
    let batches: Vec<Value> = batches
        .await?
        .iter()
        .map(|batch| {
            json!({
                "first": place(batch.first), "last": place(batch.last), "events": batch.count,
                "requests": batch.requests, "attempts": batch.attempts, "replay": batch.replay,
                "started": batch.started.to_string(), "took_us": batch.took_us,
            })
        })
        .collect();
    document(&json!({ "batches": batches }))
}

/// Refuses a sink that the config does not have.
pub(super) fn known_sink(shown: &Arc<dyn Shown>, name: &str) -> Result<(), Refusal> {
    let is_known = shown.config().sinks.iter().any(|sink| sink.name == name);
    if is_known { Ok(()) } else { Err(Refusal::missing(format!("there is no sink \"{name}\""))) }
}

/// `GET /v1/config`: as it is in force, without secrets.
pub(super) async fn config(State(shown): Shared, RawQuery(query): RawQuery) -> Answered {
    Query::parse(query.as_deref(), &[])?;
    let config = shown.config();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    document(&json!({ "toml": config.text, "warnings": warnings }))
}

/// `GET /v1/incidents`: what alerts were about, newest first.
pub(super) async fn incidents(State(shown): Shared, RawQuery(query): RawQuery) -> Answered {
    let query = Query::parse(query.as_deref(), &["open", "sink", "before", "limit"])?;
    let limit = query.limit(LIST_MAX)?;
    let open = match query.get("open") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Refusal::wrong("\"open\" must be true or false")),
    };
    let filter = Filter { open, sink: query.text("sink"), before: query.number("before")? };
    let listed =
        beside::read(&shown, move |_, reader| Ok(reader.read(|c| list(c, &filter, limit))?));
    let listed = listed.await?;
    let is_full = listed.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = listed.last().map(|last| last.id).filter(|_| is_full);
    let told: Vec<Value> = listed
        .iter()
        .map(|incident| {
            let (of, sink) = match &incident.subject {
                Subject::Source => ("source", None),
                Subject::Sink(name) => ("sink", Some(name)),
            };
            json!({
                "id": incident.id, "alert": incident.alert, "when": incident.what,
                "of": of, "sink": sink,
                "began": incident.began.to_string(),
                "ended": incident.ended.map(|time| time.to_string()),
                "told": incident.told.to_string(), "tellings": incident.tellings,
                "message": incident.message, "worst": incident.worst, "next": incident.next(),
            })
        })
        .collect();
    document(&json!({ "incidents": told, "next": next }))
}

/// `GET /v1/audit`: what was asked of the instance, newest first.
pub(super) async fn audit(State(shown): Shared, RawQuery(query): RawQuery) -> Answered {
    let query = Query::parse(query.as_deref(), &["limit"])?;
    let limit = query.limit(LIST_MAX)?;
    let newest =
        beside::read(&shown, move |_, reader| Ok(reader.read(|c| request::newest(c, limit))?));
    let asked: Vec<Value> = newest
        .await?
        .iter()
        .map(|recorded| {
            let what: Option<Request> = serde_json::from_str(&recorded.arguments).ok();
            json!({
                "id": recorded.id, "time": recorded.asked_at.to_string(), "by": recorded.origin,
                "what": what.map(|what| what.kind()),
                "arguments": inspect::json(recorded.arguments.as_bytes()),
                "state": recorded.state,
                "answer": recorded.answer,
                "answered": recorded.answered_at.map(|time| time.to_string()),
            })
        })
        .collect();
    document(&json!({ "requests": asked }))
}
