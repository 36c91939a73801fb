//! What became of each change, put into words.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::life::{Event, Taker, Wanted};
use crate::delivery::{Fate, Record, SetAside, Try};
use crate::lsn::{Position, Timestamp};
use crate::progress::store::Stored;

/// Why nothing more is told of what a sink is past.
const PAST: &str = "the sink is past it, and nothing is kept of how: it, or this route, began \
    behind it, or `compact` left it out";
/// As [`PAST`], of a sink that sends nothing.
const PAST_FETCHED: &str = "what is acknowledged lies behind it, and nothing is kept of when: the \
    sink, or this route, began behind it, or more was acknowledged at a time than is kept";
/// What a sink that sends nothing waits for.
const NOT_FETCHED: &str = "it lies there until its receiver has fetched and acknowledged it";

/// A change and what became of it: an object of `--json`.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The event's id.
    pub event_id: String,
    /// When it was committed, RFC 3339; none: not known.
    pub time: Option<String>,
    /// The operation.
    pub op: &'static str,
    /// As SQL would quote it.
    pub table: String,
    /// As JSON; none for a TRUNCATE.
    pub key: Option<Box<RawValue>>,
    /// The key before, where the change gave the row another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_key: Option<Box<RawValue>>,
    /// The columns that changed, as far as that is known.
    pub columns: Vec<String>,
    /// Every sink that takes it.
    pub sinks: Vec<AtSink>,
}

/// What became of it at one sink.
#[derive(Debug, Serialize)]
pub struct AtSink {
    /// The sink.
    pub sink: String,
    /// The route that took it.
    pub route: String,
    /// What made what was sent.
    pub mapping: Option<Mapping>,
    /// `delivered`, `skipped`, `waiting`, `unknown`, or that of a dead letter.
    pub state: String,
    /// Of the last failure.
    pub category: Option<String>,
    /// How often it was sent; none: nobody counts.
    pub attempts: Option<u32>,
    /// RFC 3339.
    pub delivered_at: Option<String>,
    /// Of the request that was accepted, in milliseconds.
    pub took_ms: Option<f64>,
    /// Why it is so, where there is more to say.
    pub reason: Option<String>,
    /// Those of a dead letter, oldest first.
    pub tries: Vec<ToldTry>,
}

/// A version of a mapping.
#[derive(Debug, Serialize)]
pub struct Mapping {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
}

/// A try.
#[derive(Debug, Serialize)]
pub struct ToldTry {
    /// When it ended; RFC 3339.
    pub time: String,
    /// What it meant; none: it was accepted.
    pub category: Option<String>,
    /// The status or the protocol's own code.
    pub status: Option<u16>,
    /// The first of what was answered.
    pub answer: Option<String>,
}

impl Told {
    /// Joins a change with its fates, one a taker.
    pub(super) fn new(event: Event, fates: Vec<Fate>, progress: &BTreeMap<String, Stored>) -> Self {
        let raw = |json: Option<String>| json.and_then(|json| RawValue::from_string(json).ok());
        let position = event.id.position;
        let takers = event.takers.into_iter().zip(fates);
        let at_sink = |(taker, fate): (Taker, Fate)| {
            let progress = progress.get(&taker.sink);
            AtSink::new(taker, fate, position, progress)
        };
        Self {
            event_id: event.id.to_string(),
            time: event.time.map(|time| time.to_string()),
            op: event.operation.as_str(),
            table: event.table,
            key: raw(event.key),
            before_key: raw(event.before_key),
            columns: event.columns,
            sinks: takers.map(at_sink).collect(),
        }
    }
}

impl AtSink {
    fn new(taker: Taker, fate: Fate, position: Position, progress: Option<&Stored>) -> Self {
        let Taker { sink, is_fetched, route, wanted } = taker;
        let blank = Self {
            sink,
            route: route.name.clone(),
            mapping: mapping(route.mapping.clone()),
            state: String::new(),
            category: None,
            attempts: None,
            delivered_at: None,
            took_ms: None,
            reason: None,
            tries: Vec::new(),
        };
        match (fate, wanted) {
            (Fate::SetAside(set_aside), _) => blank.set_aside(set_aside),
            (_, Wanted::Skipped(rule)) => {
                Self { state: "skipped".into(), reason: Some(rule), ..blank }
            }
            (Fate::Delivered(record), Wanted::Sent(_)) if took(&record, &route.name) => {
                let told = blank.delivered(&record);
                // How often it was handed out, and when first, nobody knows.
                if is_fetched { Self { attempts: None, took_ms: None, ..told } } else { told }
            }
            (Fate::Delivered(_) | Fate::Untold, Wanted::Sent(_)) => {
                let is_done = progress.is_some_and(|progress| is_done(progress, position));
                let halted = progress.and_then(|progress| progress.halted.as_deref());
                let (state, reason) = match (is_done, is_fetched) {
                    (true, true) => ("unknown", Some(PAST_FETCHED)),
                    (true, false) => ("unknown", Some(PAST)),
                    (false, true) => ("waiting", halted.or(Some(NOT_FETCHED))),
                    (false, false) => ("waiting", halted),
                };
                Self { state: state.into(), reason: reason.map(str::to_owned), ..blank }
            }
        }
    }

    fn set_aside(self, set_aside: SetAside) -> Self {
        let SetAside { route, state, category, message, reason, attempts, tries, .. } = set_aside;
        let time = set_aside.last_failed.filter(|_| state == "delivered");
        Self {
            route,
            mapping: mapping(set_aside.mapping),
            state,
            category,
            attempts: Some(attempts),
            delivered_at: time.map(|time| time.to_string()),
            reason: reason.or(message),
            tries: tries.into_iter().map(ToldTry::new).collect(),
            ..self
        }
    }

    fn delivered(self, record: &Record) -> Self {
        let label = record.routes.iter().find(|label| label.name == self.route);
        let answered_us = record.started_us.saturating_add_unsigned(record.took_us);
        Self {
            mapping: mapping(label.and_then(|label| label.mapping.clone())),
            state: "delivered".into(),
            attempts: Some(record.attempts),
            delivered_at: Some(Timestamp::from_unix_micros(answered_us).to_string()),
            took_ms: millis(record.took_us).parse().ok(),
            ..self
        }
    }
}

impl ToldTry {
    fn new(tried: Try) -> Self {
        let Try { time, category, status, answer } = tried;
        Self { time: time.to_string(), category, status, answer }
    }
}

/// Whether a row of batches can be the one of an event: its route was in it.
fn took(record: &Record, route: &str) -> bool {
    record.routes.iter().any(|label| label.name == route)
}

fn is_done(progress: &Stored, position: Position) -> bool {
    let reached = &progress.reached;
    let in_range = |(start, end): &(Position, Position)| *start <= position && position < *end;
    position < reached.floor || reached.finished.iter().any(in_range)
}

fn mapping(label: Option<(String, u32)>) -> Option<Mapping> {
    label.map(|(name, version)| Mapping { name, version })
}

/// Writes microseconds as milliseconds, with all their digits.
fn millis(micros: u64) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::chunk::Operation;
    use crate::envelope::RouteLabel;
    use crate::lsn::{EventId, Lsn};
    use crate::progress::ledger::Reached;

    const PLACE: Position = Position::new(Lsn(0x17C_8338), 3);

    fn route() -> Arc<RouteLabel> {
        Arc::new(RouteLabel { name: "r".into(), mapping: Some(("contact".into(), 3)) })
    }

    fn told(fate: Fate, wanted: Wanted, floor: Position) -> Told {
        told_of(false, fate, wanted, floor)
    }

    fn told_of(is_fetched: bool, fate: Fate, wanted: Wanted, floor: Position) -> Told {
        let event = Event {
            id: EventId { timeline: 1, position: PLACE },
            time: Some(Timestamp(0)),
            operation: Operation::Update,
            table: "public.t".into(),
            key: Some("{\"id\":12345678901234567890123}".into()),
            before_key: None,
            columns: vec!["a".into(), "b".into()],
            takers: vec![Taker { sink: "crm".into(), is_fetched, route: route(), wanted }],
        };
        let reached = Reached { floor, finished: vec![] };
        let stored = Stored { reached, ..Stored::default() };
        Told::new(event, vec![fate], &BTreeMap::from([("crm".to_owned(), stored)]))
    }

    fn record() -> Record {
        Record {
            lane: Some(0),
            lanes: 1,
            first: PLACE,
            last: PLACE,
            count: 1,
            requests: 1,
            routes: vec![Arc::new(RouteLabel { name: "r".into(), mapping: None })],
            attempts: 3,
            replay: 0,
            started_us: Timestamp(1_000_000).unix_micros(),
            took_us: 12_345,
        }
    }

    #[test]
    fn an_object_has_the_contracts_members_and_all_digits() {
        let told = told(Fate::Delivered(record()), Wanted::Sent(0), Position::ZERO);
        let json = serde_json::to_string(&told).unwrap();
        let expected = "{\"event_id\":\"00000001-00000000017C8338-00000003\",\
            \"time\":\"2000-01-01T00:00:00Z\",\"op\":\"update\",\"table\":\"public.t\",\
            \"key\":{\"id\":12345678901234567890123},\"columns\":[\"a\",\"b\"],\"sinks\":[\
            {\"sink\":\"crm\",\"route\":\"r\",\"mapping\":null,\"state\":\"delivered\",\
            \"category\":null,\"attempts\":3,\"delivered_at\":\"2000-01-01T00:00:01.012345Z\",\
            \"took_ms\":12.345,\"reason\":null,\"tries\":[]}]}";
        assert_eq!(json, expected);
        assert_eq!(
            told.text(),
            "2000-01-01T00:00:00Z  update  00000001-00000000017C8338-00000003\n  \
             columns  a, b\n  \
             crm      delivered  r, 3 attempts, 2000-01-01T00:00:01.012345Z, 12.345 ms\n"
        );
    }

    #[track_caller]
    fn state(fate: Fate, wanted: Wanted, floor: Position) -> Value {
        let told = serde_json::to_value(told(fate, wanted, floor)).unwrap();
        told["sinks"][0]["state"].clone()
    }

    #[test]
    fn what_is_not_told_waits_or_was_never_for_the_sink() {
        let sent = || Wanted::Sent(0);
        assert_eq!(state(Fate::Untold, sent(), PLACE), "waiting");
        assert_eq!(state(Fate::Untold, sent(), PLACE.next()), "unknown");
        let other = Record { routes: vec![], ..record() };
        assert_eq!(state(Fate::Delivered(other), sent(), PLACE.next()), "unknown");
        let skipped = Wanted::Skipped("the route ignores deletes".into());
        assert_eq!(state(Fate::Untold, skipped, PLACE), "skipped");
    }

    #[test]
    fn what_is_fetched_is_told_by_when_it_was_acknowledged() {
        let sent = || Wanted::Sent(0);
        let fetched = told_of(true, Fate::Delivered(record()), sent(), PLACE.next()).text();
        let line = "crm      delivered  r, 2000-01-01T00:00:01.012345Z\n";
        assert!(fetched.ends_with(line), "{fetched}");
        let waits = told_of(true, Fate::Untold, sent(), PLACE).text();
        assert!(waits.contains("crm      waiting  r (contact 3), it lies there until"), "{waits}");
        let past = told_of(true, Fate::Untold, sent(), PLACE.next()).text();
        assert!(past.contains("crm      unknown") && !past.contains("compact"), "{past}");
    }

    #[test]
    fn a_dead_letter_is_told_with_its_tries_and_no_control_characters() {
        let tried = Try {
            time: Timestamp(0),
            category: Some("rejected".into()),
            status: Some(422),
            answer: Some("no\u{1b}[31m\nreally".into()),
        };
        let set_aside = SetAside {
            route: "r".into(),
            state: "dead".into(),
            mapping: Some(("contact".into(), 2)),
            category: Some("rejected".into()),
            message: Some("422".into()),
            attempts: 1,
            tries: vec![tried],
            ..SetAside::default()
        };
        let told = told(Fate::SetAside(set_aside), Wanted::Sent(0), Position::ZERO);
        let text = told.text();
        assert!(
            text.contains("crm      dead  r (contact 2), 1 attempt, rejected: 422\n"),
            "{text}"
        );
        let line = "2000-01-01T00:00:00Z  rejected  422  no\\u{1b}[31m\\nreally\n";
        assert!(text.ends_with(line), "{text}");
        let told = serde_json::to_value(told).unwrap();
        let sink = &told["sinks"][0];
        assert_eq!(sink["mapping"], json!({ "name": "contact", "version": 2 }));
        assert_eq!(sink["tries"][0]["status"], 422);
    }
}
