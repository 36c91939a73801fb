//! The batch endpoints of CRM objects: up to 100 records a request.
//!
//! <https://developers.hubspot.com/docs/api-reference/crm-objects-v3/batch>

use std::collections::{HashMap, HashSet};

use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::record::{NotFlat, input};
use super::verdict::{self, Problem};
use super::{HubSpot, Sending};
use crate::sink::keyed::Record;
use crate::sink::web::client::{Ask, Heard};
use crate::sink::{Batch, Failure};

/// Inputs of one request.
const INPUTS_MAX: usize = 100;

/// What became of the inputs.
#[derive(Deserialize)]
struct Answered {
    results: Vec<Found>,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

/// A record that is there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    id: String,
    #[serde(default)]
    properties: HashMap<String, Option<String>>,
    object_write_trace_id: Option<String>,
}

impl HubSpot {
    /// Makes or changes records. Returns whether to go on.
    pub(super) async fn upsert(
        &self,
        batch: &Batch,
        records: &[Record<'_>],
        sending: &mut Sending,
    ) -> bool {
        let mut inputs = Vec::new();
        for record in records {
            let last = record.events.last().and_then(|index| batch.events.get(*index));
            let trace = last.map_or_else(String::new, |event| event.id.to_string());
            match input(record, &self.id_property, &trace) {
                Ok(input) => inputs.push((input, trace, record)),
                Err(NotFlat(name)) => {
                    let why = format!("`{name}` is an object or a list, and a property is a text");
                    sending.board.refuse(&record.events, &why);
                }
            }
        }
        for part in inputs.chunks(INPUTS_MAX) {
            let body =
                json!({ "inputs": part.iter().map(|(input, ..)| input).collect::<Vec<_>>() });
            let each: Vec<_> = part.iter().map(|(_, trace, record)| (trace, *record)).collect();
            if !self.upsert_at_once(body.to_string(), &each, sending).await {
                return false;
            }
        }
        true
    }

    async fn upsert_at_once(
        &self,
        body: String,
        each: &[(&String, &Record<'_>)],
        sending: &mut Sending,
    ) -> bool {
        let events = events_of(each.iter().map(|(_, record)| *record));
        let ask = self.post("upsert", body);
        let heard = match self.ask_for(&ask, &events, sending).await {
            Ok(heard) => heard,
            Err(goes_on) => return goes_on,
        };
        let Ok(answered) = serde_json::from_slice::<Answered>(&heard.body) else {
            let failure = self.client.nonsense(&heard, "not what became of each record");
            return sending.board.failed_at_once(&events, &failure);
        };
        let Answered { results, errors } = answered;
        let all = errors.is_empty() && results.len() == each.len();
        let traces: HashSet<&str> =
            results.iter().filter_map(|found| found.object_write_trace_id.as_deref()).collect();
        let ids: HashSet<&str> = results.iter().filter_map(|found| self.id_of(found)).collect();
        let (mut refused, unclear) = self.problems(&heard, &errors);
        let mut lost = Vec::new();
        for (trace, record) in each {
            let id = record.id();
            let failure = refused.remove(trace.as_str()).or_else(|| refused.remove(&*id));
            match failure {
                Some(failure) => sending.board.fail(&record.events, &failure),
                None if all || traces.contains(trace.as_str()) || ids.contains(&*id) => {
                    sending.board.done(&record.events);
                }
                None => lost.push(*record),
            }
        }
        // An error that names no input is that of those that came to nothing; of several nobody
        // knows whose it is.
        if let Some(failure) = unclear {
            sending.board.fail(&events_of(lost), &failure);
        }
        true
    }

    /// Returns the failures by the trace or id of their inputs, and that of an error without any.
    fn problems(
        &self,
        heard: &Heard,
        errors: &[serde_json::Value],
    ) -> (HashMap<String, Failure>, Option<Failure>) {
        let (mut refused, mut unclear) = (HashMap::new(), None);
        for error in errors {
            let Ok(problem) = Problem::deserialize(error) else { continue };
            let failure = Failure {
                category: verdict::of_problem(&problem.category),
                message: format!("{} refused a record: {}", heard.host, problem.category),
                retry_after: None,
                status: Some(heard.status.as_u16()),
                answer: self.client.text(heard, error.to_string().as_bytes()),
            };
            let context = problem.context;
            let names = context.object_write_trace_id.into_iter().chain(context.ids);
            let before = refused.len();
            refused.extend(names.map(|name| (name, failure.clone())));
            if refused.len() == before {
                unclear = Some(failure);
            }
        }
        (refused, unclear)
    }

    /// Archives records; one that is not there is as good. Returns whether to go on.
    pub(super) async fn archive(&self, records: &[Record<'_>], sending: &mut Sending) -> bool {
        for part in records.chunks(INPUTS_MAX) {
            let found = match self.find(part, sending).await {
                Ok(found) => found,
                Err(true) => continue,
                Err(false) => return false,
            };
            if found.is_empty() {
                continue;
            }
            let inputs: Vec<_> = found.iter().map(|(id, _)| json!({ "id": id })).collect();
            let ask = self.post("archive", json!({ "inputs": inputs }).to_string());
            let events = events_of(found.iter().map(|(_, record)| *record));
            match self.ask_for(&ask, &events, sending).await {
                Ok(_) => found.iter().for_each(|(_, record)| sending.board.done(&record.events)),
                Err(true) => {}
                Err(false) => return false,
            }
        }
        true
    }

    /// Looks up HubSpot's own ids. Records that are not there are done.
    async fn find<'r, 'a>(
        &self,
        records: &'r [Record<'a>],
        sending: &mut Sending,
    ) -> Result<Vec<(String, &'r Record<'a>)>, bool> {
        let inputs: Vec<_> = records.iter().map(|record| json!({ "id": record.id() })).collect();
        let body = json!({
            "idProperty": self.id_property,
            "properties": [self.id_property],
            "inputs": inputs,
        });
        let events = events_of(records);
        let heard = self.ask_for(&self.post("read", body.to_string()), &events, sending).await?;
        let Ok(Answered { results, errors }) = serde_json::from_slice(&heard.body) else {
            let failure = self.client.nonsense(&heard, "not the records that were asked for");
            return Err(sending.board.failed_at_once(&events, &failure));
        };
        let is_absence = |error: &serde_json::Value| error["category"] == "OBJECT_NOT_FOUND";
        if let Some(error) = errors.iter().find(|error| !is_absence(error)) {
            let category = Problem::deserialize(error).map(|problem| problem.category);
            let mut failure = self.client.nonsense(&heard, "not what became of each record");
            failure.category = verdict::of_problem(&category.unwrap_or_default());
            return Err(sending.board.failed_at_once(&events, &failure));
        }
        let mut found = Vec::new();
        for record in records {
            let same = |result: &&Found, eq: fn(&str, &str) -> bool| {
                self.id_of(result).is_some_and(|value| eq(value, &record.id()))
            };
            // HubSpot keeps mail addresses in small letters.
            let result = results.iter().find(|result| same(result, |a, b| a == b));
            let result =
                result.or_else(|| results.iter().find(|r| same(r, str::eq_ignore_ascii_case)));
            match result {
                Some(result) => found.push((result.id.clone(), record)),
                None => sending.board.done(&record.events),
            }
        }
        if found.len() < results.len() {
            let why = "a record that was not asked for";
            let failure = self.client.nonsense(&heard, why);
            return Err(sending.board.failed_at_once(&events, &failure));
        }
        Ok(found)
    }

    fn post(&self, what: &str, body: String) -> Ask {
        let path = format!("/crm/v3/objects/{}/batch/{what}", self.object);
        Ask::new(Method::POST, path).json(body)
    }

    fn id_of<'f>(&self, found: &'f Found) -> Option<&'f str> {
        found.properties.get(&self.id_property)?.as_deref()
    }
}

fn events_of<'r, 'a: 'r>(records: impl IntoIterator<Item = &'r Record<'a>>) -> Vec<usize> {
    records.into_iter().flat_map(|record| &record.events).copied().collect()
}
