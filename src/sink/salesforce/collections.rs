//! sObject Collections: up to 200 records a request, an answer for each.

use hyper::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::collection;
use super::verdict::Problem;
use super::{Salesforce, Sending};
use crate::chunk::Operation;
use crate::sink::Batch;
use crate::sink::keyed::Record;
use crate::sink::row::{Change, Field};
use crate::sink::web::client::{Ask, Heard};

/// Records of one request.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_sobjects_collections.htm>
const RECORDS_MAX: usize = 200;

/// What became of a record.
#[derive(Deserialize)]
struct Saved {
    success: bool,
    #[serde(default)]
    errors: Vec<Problem>,
}

/// A record as it is written, and the events that it stands for.
type Row<'r, 'a> = (Option<(&'r str, &'a RawValue)>, &'r [Field<'a>], &'r [usize]);

impl Salesforce {
    /// Upserts records by their external id. Returns whether to go on.
    pub(super) async fn upsert(
        &self,
        object: &str,
        records: &[&Record<'_>],
        sending: &mut Sending,
    ) -> bool {
        let path = format!("{}/composite/sobjects/{object}/{}", self.base, self.external_id);
        for part in records.chunks(RECORDS_MAX) {
            let rows = part.iter().map(|record| {
                let id = (self.external_id.as_str(), record.id);
                (Some(id), record.fields.as_slice(), record.events.as_slice())
            });
            let rows: Vec<Row<'_, '_>> = rows.collect();
            if !self.save(Method::PATCH, &path, object, &rows, sending).await {
                return false;
            }
        }
        true
    }

    /// Publishes each event as a platform event.
    pub(super) async fn publish(&self, batch: &Batch, sending: &mut Sending) {
        let mut changes = Vec::new();
        for (index, event) in batch.events.iter().enumerate() {
            if event.operation == Operation::Delete && !self.deletes {
                continue;
            }
            let read = self.object_of(event).and_then(|object| {
                let change = Change::read(event).map_err(|unfit| unfit.to_string())?;
                Ok((object, change.data, [index]))
            });
            match read {
                Ok(read) => {
                    sending.board.expect(&[index]);
                    changes.push(read);
                }
                Err(why) => sending.board.refuse(&[index], &why),
            }
        }
        let path = format!("{}/composite/sobjects", self.base);
        // In their order: those of one kind that follow each other go together.
        for kind in changes.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((object, ..)) = kind.first() else { continue };
            for part in kind.chunks(RECORDS_MAX) {
                let rows = part.iter().map(|(_, data, event)| (None, data.as_slice(), &event[..]));
                let rows: Vec<Row<'_, '_>> = rows.collect();
                if !self.save(Method::POST, &path, object, &rows, sending).await {
                    return;
                }
            }
        }
    }

    async fn save(
        &self,
        method: Method,
        path: &str,
        object: &str,
        rows: &[Row<'_, '_>],
        sending: &mut Sending,
    ) -> bool {
        let records: Vec<_> = rows.iter().map(|(id, fields, _)| (*id, *fields)).collect();
        let mut ask = Ask::new(method, path).json(collection(object, &records));
        if self.allow_duplicates {
            ask = ask.header("sforce-duplicate-rule-header", "allowSave=true");
        }
        let events: Vec<usize> = rows.iter().flat_map(|(.., events)| *events).copied().collect();
        match self.ask_for(&ask, &events, sending).await {
            Ok(heard) => self.saved(&heard, rows, &events, sending),
            Err(goes_on) => goes_on,
        }
    }

    /// Reads one answer a record, in the order of the request.
    fn saved(
        &self,
        heard: &Heard,
        rows: &[Row<'_, '_>],
        events: &[usize],
        sending: &mut Sending,
    ) -> bool {
        let each: Vec<&RawValue> = serde_json::from_slice(&heard.body).unwrap_or_default();
        if each.len() != rows.len() {
            let failure = self.client.nonsense(heard, "not one answer a record");
            return sending.board.failed_at_once(events, &failure);
        }
        for ((.., events), part) in rows.iter().zip(each) {
            match serde_json::from_str(part.get()) {
                Ok(Saved { success: true, .. }) => sending.board.done(events),
                Ok(Saved { errors, .. }) => {
                    sending.board.fail(events, &self.refusal_of(heard, &errors, part.get()));
                }
                Err(_) => {
                    sending
                        .board
                        .fail(events, &self.client.nonsense(heard, "no answer of a record"));
                }
            }
        }
        true
    }
}
