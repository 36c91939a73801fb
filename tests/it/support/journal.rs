//! [`Journal`]: what came to a receiver, and whether it came as promised.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use serde_json::Value;
use serde_json::value::RawValue;

/// What was acknowledged longer ago than this is never sent again after a kill.
const REMEMBERED: Duration = Duration::from_millis(200);

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `POST`
    pub(crate) method: String,
    /// Path and query, as sent.
    pub(crate) target: String,
    /// Names in lower case, in the order sent.
    pub(crate) headers: Vec<(String, String)>,
    /// As sent; empty where the reply resets before it is read.
    pub(crate) body: Vec<u8>,
    /// When its last byte was read.
    pub(crate) at: Instant,
    /// Whether it was processed: answered with a 2xx, even if that answer was lost.
    pub(crate) processed: bool,
}

impl Request {
    /// Returns a header's first value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|(other, value)| (other == name).then_some(value.as_str()))
    }

    /// Returns its body as it was before it was compressed.
    pub(crate) fn plain(&self) -> Vec<u8> {
        if self.header("content-encoding") != Some("gzip") {
            return self.body.clone();
        }
        let mut plain = Vec::new();
        GzDecoder::new(self.body.as_slice()).read_to_end(&mut plain).unwrap();
        plain
    }

    /// Whether it asks for something else than to take events.
    fn is_form(&self) -> bool {
        self.header("content-type") == Some("application/x-www-form-urlencoded")
    }

    /// Returns its events: those of an array, or the one; none of an empty body or a form.
    pub(crate) fn events(&self) -> Vec<Event> {
        if self.body.is_empty() || self.is_form() {
            return Vec::new();
        }
        match serde_json::from_slice(&self.plain()).unwrap() {
            Value::Array(events) => events.into_iter().map(Event).collect(),
            event => vec![Event(event)],
        }
    }

    /// Returns the bytes of each of its events.
    fn bodies(&self) -> Vec<String> {
        if self.is_form() {
            return Vec::new();
        }
        let plain = self.plain();
        let text = std::str::from_utf8(&plain).unwrap();
        if !text.starts_with('[') {
            return vec![text.to_owned()];
        }
        let bodies: Vec<&RawValue> = serde_json::from_str(text).unwrap();
        bodies.into_iter().map(|body| body.get().to_owned()).collect()
    }
}

/// An event as it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event(pub(crate) Value);

impl Event {
    /// Returns the event's id.
    pub(crate) fn id(&self) -> &str {
        self.0["id"].as_str().unwrap_or_default()
    }

    /// Returns `insert`, `update`, ….
    pub(crate) fn op(&self) -> &str {
        self.0["op"].as_str().unwrap_or_default()
    }

    /// Returns table and key in one text: `public.customers{"id":42}`.
    pub(crate) fn key(&self) -> String {
        self.named("key")
    }

    fn named(&self, key: &str) -> String {
        format!("{}{}", self.0["table"].as_str().unwrap_or_default(), self.0[key])
    }
}

/// Everything that came so far, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    /// Processed or not.
    pub(crate) requests: Vec<Request>,
    /// Connections accepted.
    pub(crate) connections: usize,
    /// The most requests that were being answered at one time.
    pub(crate) in_flight_max: usize,
    pub(crate) in_flight: usize,
    /// Events of processed requests, counted as they came.
    pub(crate) events_processed: usize,
}

impl Journal {
    /// Returns the events of processed requests, in order of arrival, repeats included.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.requests.iter().filter(|r| r.processed).flat_map(Request::events).collect()
    }

    /// Returns how many processed events had been processed before.
    pub(crate) fn repeats(&self) -> usize {
        let events = self.events();
        let ids: BTreeSet<&str> = events.iter().map(Event::id).collect();
        events.len() - ids.len()
    }

    /// Returns the ids of events that came again with other bytes than before.
    pub(crate) fn repeats_unlike(&self) -> Vec<String> {
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut unlike = Vec::new();
        for request in self.requests.iter().filter(|request| request.processed) {
            for (event, body) in request.events().iter().zip(request.bodies()) {
                let before = known.entry(event.id().to_owned()).or_insert_with(|| body.clone());
                if *before != body {
                    unlike.push(event.id().to_owned());
                }
            }
        }
        unlike
    }

    /// Returns how many processed events came again after `killed` although they may not have:
    /// all those that came before it, but what was answered in the last 200 ms.
    pub(crate) fn repeats_over(&self, killed: Instant) -> usize {
        let (mut before, mut repeated) = (BTreeMap::new(), BTreeSet::new());
        for request in self.requests.iter().filter(|request| request.processed) {
            for event in request.events() {
                let id = event.id().to_owned();
                if request.at < killed {
                    before.insert(id, request.at);
                } else if before.get(&id).is_some_and(|at| *at + REMEMBERED < killed) {
                    repeated.insert(id);
                }
            }
        }
        repeated.len()
    }

    /// Returns the processed events of each key, in order of arrival.
    pub(crate) fn by_key(&self) -> BTreeMap<String, Vec<Event>> {
        let mut keys: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for event in self.events() {
            keys.entry(event.key()).or_default().push(event);
        }
        keys
    }

    /// Returns the keys whose order was broken: an event came first after a later one of its
    /// key, or the last that came is not the latest.
    pub(crate) fn out_of_order(&self) -> Vec<String> {
        let broken = |events: &Vec<Event>| {
            let mut seen = BTreeSet::new();
            let late = events.iter().any(|event| {
                let late = seen.last().is_some_and(|latest| event.id() < *latest);
                seen.insert(event.id()) && late
            });
            late || seen.last().copied() != events.last().map(Event::id)
        };
        self.by_key().into_iter().filter(|(_, e)| broken(e)).map(|(key, _)| key).collect()
    }

    /// Applies the processed events in order of arrival: what a table kept by them looks like,
    /// `data` by table and key. Fields that were `unchanged` keep their value.
    pub(crate) fn fold(&self) -> BTreeMap<String, Value> {
        let mut rows: BTreeMap<String, Value> = BTreeMap::new();
        for event in self.events() {
            let old = match event.0.get("before_key") {
                Some(_) => rows.remove(&event.named("before_key")),
                None => rows.get(&event.key()).cloned(),
            };
            match event.op() {
                "delete" => drop(rows.remove(&event.key())),
                "truncate" => {
                    let table = event.0["table"].as_str().unwrap_or_default().to_owned() + "{";
                    rows.retain(|key, _| !key.starts_with(&table));
                }
                _ => {
                    let mut data = event.0["data"].clone();
                    for field in event.0["unchanged"].as_array().into_iter().flatten() {
                        let name = field.as_str().unwrap_or_default();
                        if let Some(value) = old.as_ref().and_then(|old| old.get(name)) {
                            data[name] = value.clone();
                        }
                    }
                    rows.insert(event.key(), data);
                }
            }
        }
        rows
    }
}
