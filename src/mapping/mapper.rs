//! [`SinkMapper`]: the changes of the stream become the events of one sink.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::binding::{Bindings, Lane, Road};
use super::event::{self, CommitText, OutboxPen, Pen, Sheet};
use super::filter::Passage;
use super::key::KeyHash;
use super::plan::Notes;
use super::rule::{Format, OnDelete, Route, Selector};
use super::verdict::{Reason, Skip};
use crate::change::{Change, Images};
use crate::chunk::{Chunk, Entry, Operation};
use crate::envelope::{Envelope, RouteLabel};
use crate::failure::{Category, Classify};
use crate::lsn::{EventId, Timestamp};
use crate::pgoutput::{self, LogicalMessage, Message};

/// Where events come from, as they say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceLabel {
    /// The cluster's system identifier.
    pub system: String,
    /// The database.
    pub database: String,
    /// The replication slot.
    pub slot: String,
}

/// A frame could not be read, or a chunk's index lies. The stream must not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a change can't be decoded")]
pub struct Error(#[from] pub pgoutput::Error);

impl Classify for Error {
    fn category(&self) -> Category {
        self.0.category()
    }
}

/// What became of a change at one sink.
#[derive(Debug)]
pub enum Mapped {
    /// An event to send.
    Event(Draft),
    /// No route of the sink takes it.
    Unrouted,
    /// A route took it, and a rule says that it is not sent. To be counted.
    Skipped {
        /// The route.
        route: Arc<RouteLabel>,
        /// The rule.
        reason: Skip,
    },
    /// A rule refuses it: it becomes a dead letter.
    Rejected {
        /// The event as far as it came: its body is empty, its key null where that is at fault.
        draft: Draft,
        /// The field, or the key's column.
        field: Arc<str>,
        /// What is the matter with it. Never says the value.
        reason: Reason,
    },
}

/// An event whose bytes lie in a buffer that still grows.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The event's identity.
    pub id: EventId,
    /// What was done, as the event says it.
    pub operation: Operation,
    /// Where the body lies in the buffer.
    pub body: Range<usize>,
    /// Where the key's JSON lies in the buffer; none: null.
    pub key: Option<Range<usize>>,
    /// See [`Envelope::key_hash`].
    pub key_hash: u64,
    /// See [`Envelope::before_key_hash`].
    pub before_key_hash: Option<u64>,
    /// Where the JSON of [`Envelope::outbox`] lies.
    pub outbox: Option<Range<usize>>,
    /// Where the JSON of the key lies that it had before; none too where the change is refused.
    pub before_key: Option<Range<usize>>,
    /// Who has only this event knows the whole row, as its mapping writes it, or that it is gone:
    /// nothing was left out, be it that Postgres did not send it or that a policy says so.
    pub whole: bool,
    /// When the change committed.
    pub commit_time: Option<Timestamp>,
    /// The route that took it.
    pub route: Arc<RouteLabel>,
    /// The original.
    pub chunk: Arc<Chunk>,
    /// Its entry in that chunk.
    pub entry: u32,
}

impl Draft {
    /// Finishes the event with the buffer that it was written to. Copies nothing.
    #[inline]
    #[must_use]
    pub fn envelope(self, buffer: &Bytes) -> Envelope {
        Envelope {
            id: self.id,
            operation: self.operation,
            body: Envelope::slice(buffer, self.body),
            key: match self.key {
                Some(key) => Envelope::slice(buffer, key),
                None => Bytes::from_static(b"null"),
            },
            key_hash: self.key_hash,
            before_key_hash: self.before_key_hash,
            before_key: self.before_key.map(|range| Box::new(Envelope::slice(buffer, range))),
            outbox: self.outbox.map(|range| Box::new(Envelope::slice(buffer, range))),
            commit_time: self.commit_time,
            route: self.route,
            chunk: self.chunk,
            entry: self.entry,
        }
    }
}

/// Maps changes for one sink. Keeps plans and buffers from change to change; its output depends
/// on nothing but the change, the routes and the source.
#[derive(Debug)]
pub struct SinkMapper {
    roads: Vec<Road>,
    takes_messages: bool,
    bindings: Bindings,
    commit: CommitText,
    images: Images,
    notes: Notes,
}

impl SinkMapper {
    /// Takes the routes of one sink, in the order of the config: the first whose table and
    /// operation fit takes a change.
    #[must_use]
    pub fn new(routes: Vec<Arc<Route>>, source: &SourceLabel, format: Format) -> Self {
        let road = |route| Road::new(route, source, format);
        let roads: Vec<Road> = routes.into_iter().map(road).collect();
        Self {
            takes_messages: roads
                .iter()
                .any(|road| matches!(road.route.selector, Selector::Message(_))),
            roads,
            bindings: Bindings::default(),
            commit: CommitText::new(format),
            images: Images::default(),
            notes: Notes::new(format),
        }
    }

    /// Maps one entry of a chunk, appending to `out` what it becomes.
    ///
    /// # Errors
    /// When the chunk has no such entry or its frame is malformed; `out` is as it was then.
    #[inline]
    pub fn map(
        &mut self,
        chunk: &Arc<Chunk>,
        entry: u32,
        out: &mut Vec<u8>,
    ) -> Result<Mapped, Error> {
        let index = entry;
        let entry = chunk.entries.get(index as usize).ok_or(pgoutput::Error::Index)?;
        let Some(relation) = entry.relation else {
            return self.map_message(chunk, index, entry, out);
        };
        let lane = self.bindings.lane(&self.roads, chunk, relation, entry.operation);
        let Some(lane) = lane else { return Ok(Mapped::Unrouted) };
        let Some(road) = self.roads.get(lane.road) else { return Ok(Mapped::Unrouted) };
        if !chunk.is_for(|name| road.route.is_called(name)) {
            return Ok(Mapped::Unrouted);
        }
        let route = || Arc::clone(&road.label);
        if let Some(reason) = unread(lane, road, entry.operation) {
            return Ok(Mapped::Skipped { route: route(), reason });
        }
        let change = pgoutput::change(chunk, entry, &mut self.images)?;
        self.commit.turn_to(chunk.timeline, change.transaction);
        self.notes.clear();
        let (left, refusal) = match passage(lane, &change) {
            Passage::Sent => (false, None),
            Passage::Left => (true, None),
            Passage::Rejected(verdict) => (false, Some(verdict)),
            Passage::Skipped(reason) => return Ok(Mapped::Skipped { route: route(), reason }),
        };
        let gone = left || entry.operation == Operation::Delete;
        let set = lane.set.as_ref().filter(|_| gone);
        let operation = match entry.operation {
            _ if set.is_some() => Operation::Update,
            _ if left => Operation::Delete,
            operation => operation,
        };
        let sheet = Sheet {
            road,
            commit: &self.commit,
            operation,
            seq: entry.seq,
            head: lane.head(operation),
            prefix: None,
        };
        let draft = draft(chunk, index, entry, &road.label, out.len());
        if let Some(outbox) = &lane.outbox {
            let parts = refusal.map_or_else(|| outbox.row(&change), Err);
            let pen = OutboxPen { sheet, hash: lane.table_hash, draft };
            return Ok(pen.write(parts, out));
        }
        let pen = Pen {
            sheet,
            change,
            plan: set.unwrap_or(&lane.plan),
            lane,
            notes: &mut self.notes,
            left,
            refusal,
            draft: Draft { operation, ..draft },
        };
        Ok(pen.write(out))
    }

    /// Whether a route takes the change, whatever becomes of it then.
    #[must_use]
    pub fn takes(&mut self, chunk: &Arc<Chunk>, entry: u32) -> bool {
        let Some(entry) = chunk.entries.get(entry as usize) else { return false };
        match entry.relation {
            Some(relation) => {
                let lane = self.bindings.lane(&self.roads, chunk, relation, entry.operation);
                let road = lane.and_then(|lane| self.roads.get(lane.road));
                road.is_some_and(|road| chunk.is_for(|name| road.route.is_called(name)))
            }
            None => {
                self.takes_messages && matches!(message(&self.roads, chunk, entry), Ok(Some(_)))
            }
        }
    }

    fn map_message(
        &mut self,
        chunk: &Arc<Chunk>,
        index: u32,
        entry: &Entry,
        out: &mut Vec<u8>,
    ) -> Result<Mapped, Error> {
        if !self.takes_messages || entry.operation != Operation::Message {
            return Ok(Mapped::Unrouted);
        }
        let Some((message, road)) = message(&self.roads, chunk, entry)? else {
            return Ok(Mapped::Unrouted);
        };
        let transaction = chunk.transaction(entry).ok_or(pgoutput::Error::Index)?;
        self.commit.turn_to(chunk.timeline, transaction);
        let draft = draft(chunk, index, entry, &road.label, out.len());
        let sheet = Sheet {
            road,
            commit: &self.commit,
            operation: entry.operation,
            seq: entry.seq,
            head: b"",
            prefix: Some(message.prefix),
        };
        if let Some(outbox) = &road.route.outbox {
            let pen = OutboxPen { sheet, hash: KeyHash::outbox(), draft };
            return Ok(pen.write(outbox.message(message.content), out));
        }
        Ok(event::message(&sheet, &message, draft, out))
    }
}

/// Returns a logical message and the route that takes it.
fn message<'a, 'r>(
    roads: &'r [Road],
    chunk: &'a Chunk,
    entry: &Entry,
) -> Result<Option<(LogicalMessage<'a>, &'r Road)>, Error> {
    let Message::Logical(message) = pgoutput::parse(chunk.frame(entry))? else {
        return Err(pgoutput::Error::Index.into());
    };
    let fits = |road: &&Road| match &road.route.selector {
        Selector::Message(prefix) => prefix.matches(message.prefix),
        Selector::Table(_) => false,
    };
    let road = roads.iter().find(fits);
    Ok(road.map(|road| (message, road)))
}

fn draft(
    chunk: &Arc<Chunk>,
    index: u32,
    entry: &Entry,
    route: &Arc<RouteLabel>,
    start: usize,
) -> Draft {
    Draft {
        id: chunk.event_id(entry),
        operation: entry.operation,
        body: start..start,
        key: None,
        key_hash: 0,
        before_key_hash: None,
        outbox: None,
        before_key: None,
        whole: false,
        commit_time: chunk.transaction(entry).and_then(|transaction| transaction.commit_time),
        route: Arc::clone(route),
        chunk: Arc::clone(chunk),
        entry: index,
    }
}

/// Says which changes are skipped whatever they hold.
fn unread(lane: &Lane, road: &Road, operation: Operation) -> Option<Skip> {
    if lane.outbox.is_some() {
        let taken = matches!(operation, Operation::Insert | Operation::Read);
        return (!taken).then_some(Skip::Outbox(operation));
    }
    let ignored = operation == Operation::Delete && road.route.on_delete == OnDelete::Ignore;
    ignored.then_some(Skip::OnDelete)
}

/// Says whether a route lets a change through.
#[inline]
fn passage(lane: &Lane, change: &Change<'_>) -> Passage {
    lane.filter.as_ref().map_or(Passage::Sent, |filter| filter.passage(change, &lane.key))
}
