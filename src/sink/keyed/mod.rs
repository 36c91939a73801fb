//! What sinks share that keep records by an id of their own: which record an event is about, and
//! what became of each event of a batch once its changes are folded.

mod board;
mod tables;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::value::RawValue;

pub(in crate::sink) use self::board::Board;
pub(in crate::sink) use self::tables::Changes;
use super::Batch;
use super::fold::{Action, Item, NoKey, Work, fold};
use super::row::{Change, Field, Fields, Key, Text};
use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::sink::Failure;

/// What an upsert needs and the event does not have.
const MISSING: &str = "the key changed, and a field was not sent that the new record needs: REPLICA \
                       IDENTITY FULL sends it";

/// What is to be done of a batch, each record once.
#[derive(Debug, Default)]
pub(in crate::sink) struct Plan<'a> {
    /// Records that go.
    pub(in crate::sink) deletes: Vec<Record<'a>>,
    /// Records that are made or changed.
    pub(in crate::sink) upserts: Vec<Record<'a>>,
}

/// One record, and what it is to be.
#[derive(Debug)]
pub(in crate::sink) struct Record<'a> {
    /// The kind of object, as a number of the caller's.
    pub(in crate::sink) scope: usize,
    /// The id, as JSON.
    pub(in crate::sink) id: &'a RawValue,
    /// Of an upsert: the fields that change. Without the id.
    pub(in crate::sink) fields: Vec<Field<'a>>,
    /// The events that it stands for.
    pub(in crate::sink) events: Vec<usize>,
}

impl Record<'_> {
    /// Returns the id as text.
    pub(in crate::sink) fn id(&self) -> Cow<'_, str> {
        text(self.id)
    }
}

/// Reads the events of a batch and folds them. What can't be read is noted on the board, and so is
/// everything that is planned.
///
/// `id` is the field that holds the id; `deletes` whether records go; `scope` tells which kind of
/// object an event is about.
pub(in crate::sink) fn plan<'a>(
    batch: &'a Batch,
    id: &str,
    deletes: bool,
    board: &mut Board,
    mut scope: impl FnMut(&Envelope) -> Result<usize, String>,
) -> Plan<'a> {
    let mut changes = Vec::new();
    for (index, envelope) in batch.events.iter().enumerate() {
        let read = scope(envelope).and_then(|scope| Ok((index, scope, read(envelope, id)?)));
        match read {
            Ok(read) => changes.push(read),
            Err(why) => board.refuse(&[index], &why),
        }
    }
    let items =
        changes.iter().map(|(event, scope, change)| Item { event: *event, scope: *scope, change });
    let actions = match fold(items) {
        Ok(actions) => actions,
        Err(NoKey(index)) => {
            board.refuse(&[index], "the event has no key");
            return Plan::default();
        }
    };
    let mut plan = Plan::default();
    let mut refused = Vec::new();
    for Action { scope, work, events } in actions {
        match work {
            Work::Put(put) if put.from.is_some() => {
                board.refuse(&events, MISSING);
                refused.extend(events);
            }
            Work::Put(put) => {
                board.expect(&events);
                let Some(id) = value(&put.key) else { continue };
                plan.upserts.push(Record { scope, id, fields: put.fields, events });
            }
            Work::Delete(key) if deletes => {
                board.expect(&events);
                let Some(id) = value(&key) else { continue };
                plan.deletes.push(Record { scope, id, fields: Vec::new(), events });
            }
            Work::Delete(_) | Work::Clear => {}
        }
    }
    // The old record stays where the new one can't be made.
    plan.deletes.retain(|gone| !gone.events.iter().any(|event| refused.contains(event)));
    plan
}

/// Reads an event; its key becomes the record's id.
pub(in crate::sink) fn read<'a>(envelope: &'a Envelope, id: &str) -> Result<Change<'a>, String> {
    if envelope.operation == Operation::Truncate {
        return Err("a TRUNCATE empties no list of records".to_owned());
    }
    let mut change = Change::read(envelope).map_err(|unfit| unfit.to_string())?;
    let mapped = change.data.iter().position(|field| &*field.name == id);
    let (own, old) = match mapped {
        Some(index) => (Some(change.data.remove(index)), before(envelope, id)),
        None if change.unchanged.iter().any(|name| &**name == id) => {
            return Err(format!("`{id}` was not sent, since it did not change"));
        }
        None => (single(change.key.take()), single(change.before_key.take())),
    };
    let nothing =
        || format!("the event has no `{id}`, and its key is not of one column: map a field `{id}`");
    let own = own.ok_or_else(nothing)?;
    let key = identity(own).ok_or_else(|| format!("`{id}` is null, empty, an object or a list"))?;
    change.before_key = old.and_then(identity).filter(|old| old.raw != key.raw);
    change.key = Some(key);
    Ok(change)
}

/// Returns the old value of a field, where the event has one.
fn before<'a>(envelope: &'a Envelope, id: &str) -> Option<Field<'a>> {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        before: Option<&'a RawValue>,
    }
    let body: Body<'a> = serde_json::from_slice(&envelope.body).ok()?;
    let Fields(before) = serde_json::from_str(body.before?.get()).ok()?;
    before.into_iter().find(|field| &*field.name == id)
}

/// Returns the one column of a key; none where it has several.
fn single(key: Option<Key<'_>>) -> Option<Field<'_>> {
    let mut fields = key?.fields;
    let field = fields.pop()?;
    fields.is_empty().then_some(field)
}

/// Makes an id of a value: what has the same text is the same record.
fn identity(field: Field<'_>) -> Option<Key<'_>> {
    let raw = field.value.get();
    let plain = match raw.as_bytes().first() {
        Some(b'{' | b'[' | b'n') | None => return None,
        Some(b'"') if raw.contains('\\') => raw,
        Some(_) => raw.trim_matches('"'),
    };
    (!plain.is_empty()).then(|| Key { raw: plain, fields: vec![field] })
}

fn value<'a>(key: &Key<'a>) -> Option<&'a RawValue> {
    key.fields.first().map(|field| field.value)
}

/// Returns a scalar as text: a string's content, a number as it is written.
pub(in crate::sink) fn text(value: &RawValue) -> Cow<'_, str> {
    let raw = value.get();
    if raw.starts_with('"')
        && let Ok(Text(text)) = serde_json::from_str(raw)
    {
        return text;
    }
    Cow::Borrowed(raw)
}

/// Makes the failure of an event that was not sent.
fn refused(host: &str, why: &str) -> Failure {
    Failure::new(Category::Rejected, format!("not sent to {host}: {why}"))
}
