//! [`Newest`]: the newest entry of each stream (`ids = "lsn"`), as far as it is known.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use redis::Value;

use super::entry::ID;
use super::link::Connection;
use super::place::{self, Id, Place};
use super::{Ready, answer};
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::sink::{Batch, Failure};

/// So many streams are remembered; then they are asked for anew.
const STREAMS_MAX: usize = 10_000;

/// See the module. Taken while a batch is added, so that nothing is known of one whose end nobody
/// has heard.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<Known>);

/// By stream.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<String, Id>);

impl Newest {
    pub(super) fn take(&self) -> Known {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put(&self, known: Known) {
        if known.0.len() <= STREAMS_MAX {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
        }
    }
}

impl Known {
    /// Places the events, in order.
    pub(super) async fn places(
        &mut self,
        connection: &mut Connection,
        batch: &Batch,
        ready: &[Ready],
        host: &str,
    ) -> Result<Vec<Place>, Failure> {
        self.learn(connection, ready, host).await?;
        let event = |ready: &Ready| batch.events.get(ready.place);
        // What is below the newest entry may be there.
        let doubtful = |ready: &&Ready| {
            let newest = self.0.get(&ready.stream).copied().unwrap_or_default();
            event(ready).is_some_and(|event| Id::of(event.id.position) <= newest)
        };
        let doubtful: Vec<&Ready> = ready.iter().filter(doubtful).collect();
        let mut commands = Vec::with_capacity(doubtful.len());
        for ready in &doubtful {
            let id = event(ready).map(|event| Id::of(event.id.position)).unwrap_or_default();
            let mut look = redis::cmd("XRANGE");
            look.arg(&ready.stream).arg(id.to_string()).arg(id.to_string());
            commands.push(look);
        }
        let mut there = BTreeSet::new();
        if !commands.is_empty() {
            let answers = connection.ask(&commands).await.map_err(|e| e.failure(host))?;
            for (ready, found) in doubtful.iter().zip(answers) {
                if let Value::ServerError(error) = &found {
                    return Err(answer::refused(error, host));
                }
                if event(ready).is_some_and(|event| is_entry_of(&found, event)) {
                    there.insert(ready.place);
                }
            }
        }
        let placed = ready.iter().filter_map(|ready| {
            let newest = self.0.entry(ready.stream.clone()).or_default();
            let is_there = there.contains(&ready.place);
            let position = event(ready)?.id.position;
            Some(place::place(position, newest, is_there, batch.replay > 0))
        });
        Ok(placed.collect())
    }

    /// Asks for the newest entries of streams that are not known.
    async fn learn(
        &mut self,
        connection: &mut Connection,
        ready: &[Ready],
        host: &str,
    ) -> Result<(), Failure> {
        let streams = ready.iter().map(|event| event.stream.as_str());
        let unknown: BTreeSet<&str> =
            streams.filter(|stream| !self.0.contains_key(*stream)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let ask = |stream: &&str| {
            let mut ask = redis::cmd("XINFO");
            ask.arg("STREAM").arg(*stream);
            ask
        };
        let commands: Vec<_> = unknown.iter().map(ask).collect();
        let answers = connection.ask(&commands).await.map_err(|e| e.failure(host))?;
        for (stream, told) in unknown.into_iter().zip(answers) {
            let id = match &told {
                Value::ServerError(error) if is_no_key(error) => Id::default(),
                Value::ServerError(error) => return Err(answer::refused(error, host)),
                told => last_id(told).ok_or_else(|| {
                    let message = format!("{host} says nothing of a stream's newest entry");
                    Failure::new(Category::Transient, message)
                })?,
            };
            self.0.insert(stream.to_owned(), id);
        }
        Ok(())
    }
}

fn is_no_key(error: &redis::ServerError) -> bool {
    error.code() == "ERR" && error.details().is_some_and(|details| details.contains("no such key"))
}

/// Reads the answer to XINFO STREAM: names and values in turn.
fn last_id(told: &Value) -> Option<Id> {
    let Value::Array(items) = told else { return None };
    let (names, values) = (items.iter().step_by(2), items.iter().skip(1).step_by(2));
    let mut pairs = names.zip(values);
    let (_, id) = pairs.find(|(name, _)| text(name) == Some(b"last-generated-id"))?;
    str::from_utf8(text(id)?).ok()?.parse().ok()
}

/// Reads the answer to XRANGE: whether the entry there is this event.
fn is_entry_of(found: &Value, event: &Envelope) -> bool {
    let Value::Array(entries) = found else { return false };
    let Some(Value::Array(entry)) = entries.first() else { return false };
    let Some(Value::Array(fields)) = entry.get(1) else { return false };
    let (names, values) = (fields.iter().step_by(2), fields.iter().skip(1).step_by(2));
    let id = event.id.to_string();
    names.zip(values).any(|(name, value)| {
        text(name) == Some(ID.as_bytes()) && text(value) == Some(id.as_bytes())
    })
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::redis::tests::envelope;

    fn parsed(text: &str) -> Value {
        redis::parse_redis_value(text.replace('|', "\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn the_newest_id_is_found_among_what_is_told() {
        let told = parsed("*4|$6|length|:3|$17|last-generated-id|$4|25-7|");
        assert_eq!(last_id(&told), Some(Id { lsn: 25, seq: 7 }));
        assert_eq!(last_id(&parsed("*2|$6|length|:3|")), None);
        assert_eq!(last_id(&Value::Nil), None);
    }

    #[test]
    fn an_entry_is_the_event_only_with_its_whole_id() {
        let event = envelope(7, "{}");
        let entry = |id: &str| {
            let length = id.len();
            parsed(&format!("*1|*2|$4|25-7|*4|$2|op|$6|insert|$2|id|${length}|{id}|"))
        };
        assert!(is_entry_of(&entry("00000001-00000000017C8338-00000007"), &event));
        // The same place on another timeline.
        assert!(!is_entry_of(&entry("00000002-00000000017C8338-00000007"), &event));
        assert!(!is_entry_of(&parsed("*0|"), &event));
        assert!(!is_entry_of(&Value::Nil, &event));
    }
}
