//! [`SinkMapper`]: the changes of the stream become the events of one sink.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::binding::{Bindings, Lane, Road};
use super::filter::Passage;
use super::key::KeyHash;
use super::outbox::Sheet;
use super::plan::{Notes, Plan, Role};
use super::row::Row;
use super::rule::{Format, OnDelete, Route, Selector};
use super::text::{CommitText, write_integer};
use super::verdict::{Reason, Skip, Verdict};
use crate::change::{Change, Images};
use crate::chunk::{Chunk, Entry, Operation};
use crate::envelope::{Envelope, RouteLabel};
use crate::failure::{Category, Classify};
use crate::lsn::{EventId, Timestamp};
use crate::pgoutput::value::write_text_json;
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

impl SourceLabel {
    fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (mark, text) in [
            (&b"{\"system\":"[..], &self.system),
            (b",\"database\":", &self.database),
            (b",\"slot\":", &self.slot),
        ] {
            out.extend_from_slice(mark);
            write_text_json(text.as_bytes(), &mut out);
        }
        out.push(b'}');
        out
    }
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
    format: Format,
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
        let source = source.json();
        let roads: Vec<Road> = routes.into_iter().map(|route| Road::new(route, &source)).collect();
        Self {
            format,
            takes_messages: roads
                .iter()
                .any(|road| matches!(road.route.selector, Selector::Message(_))),
            roads,
            bindings: Bindings::default(),
            commit: CommitText::default(),
            images: Images::default(),
            notes: Notes::default(),
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
        if let Some(outbox) = &lane.outbox {
            if !matches!(entry.operation, Operation::Insert | Operation::Read) {
                let reason = Skip::Outbox(entry.operation);
                return Ok(Mapped::Skipped { route: Arc::clone(&road.label), reason });
            }
            let change = pgoutput::change(chunk, entry, &mut self.images)?;
            self.commit.turn_to(chunk.timeline, change.transaction);
            let draft = draft(chunk, index, entry, &road.label, out.len());
            let parts = match passage(lane, &change) {
                Passage::Skipped(reason) => {
                    return Ok(Mapped::Skipped { route: draft.route, reason });
                }
                Passage::Rejected(verdict) => Err(verdict),
                Passage::Sent | Passage::Left => outbox.row(&change),
            };
            let sheet = Sheet {
                full: self.format == Format::Walgate,
                head: lane.head(entry.operation),
                hash: lane.table_hash,
                commit: &self.commit,
                tail: &road.tail,
            };
            return Ok(sheet.write(parts, draft, out));
        }
        if entry.operation == Operation::Delete && road.route.on_delete == OnDelete::Ignore {
            let route = Arc::clone(&road.label);
            return Ok(Mapped::Skipped { route, reason: Skip::OnDelete });
        }
        let change = pgoutput::change(chunk, entry, &mut self.images)?;
        self.commit.turn_to(chunk.timeline, change.transaction);
        self.notes.clear();
        let passage = passage(lane, &change);
        if let Passage::Skipped(reason) = passage {
            return Ok(Mapped::Skipped { route: Arc::clone(&road.label), reason });
        }
        let left = matches!(passage, Passage::Left);
        let gone = left || entry.operation == Operation::Delete;
        let set = lane.set.as_ref().filter(|_| gone);
        let operation = match entry.operation {
            _ if set.is_some() => Operation::Update,
            _ if left => Operation::Delete,
            operation => operation,
        };
        let pen = Pen {
            change,
            operation,
            plan: set.unwrap_or(&lane.plan),
            lane,
            road,
            full: self.format == Format::Walgate,
            commit: &self.commit,
            notes: &mut self.notes,
            left,
            refusal: match passage {
                Passage::Rejected(verdict) => Some(verdict),
                Passage::Sent | Passage::Left | Passage::Skipped(_) => None,
            },
            draft: Draft { operation, ..draft(chunk, index, entry, &road.label, out.len()) },
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
        let mut draft = draft(chunk, index, entry, &road.label, out.len());
        if let Some(outbox) = &road.route.outbox {
            let mut head = b"\",\"op\":\"message\",\"message\":{\"prefix\":".to_vec();
            write_text_json(message.prefix.as_bytes(), &mut head);
            head.extend_from_slice(b"},\"key\":");
            let sheet = Sheet {
                full: self.format == Format::Walgate,
                head: &head,
                hash: KeyHash::outbox(),
                commit: &self.commit,
                tail: &road.tail,
            };
            return Ok(sheet.write(outbox.message(message.content), draft, out));
        }
        draft.key_hash = KeyHash::message(message.prefix).finish();
        if self.format == Format::Walgate {
            self.commit.write_id(draft.id.position, out);
            out.extend_from_slice(b"\",\"op\":\"message\",\"message\":");
        }
        write_message(message.prefix, message.content, out);
        if self.format == Format::Walgate {
            write_commit(&self.commit, entry.operation, entry.seq, out);
            out.extend_from_slice(&road.tail);
        }
        draft.body.end = out.len();
        Ok(Mapped::Event(draft))
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

/// Says whether a route lets a change through.
#[inline]
fn passage(lane: &Lane, change: &Change<'_>) -> Passage {
    lane.filter.as_ref().map_or(Passage::Sent, |filter| filter.passage(change))
}

/// Appends `,"commit":{…}`. A row that was there before has no xid.
pub(super) fn write_commit(commit: &CommitText, operation: Operation, seq: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&commit.commit);
    write_integer(seq, out);
    if operation != Operation::Read {
        out.extend_from_slice(&commit.xid);
    }
    out.extend_from_slice(&commit.time);
}

fn write_message(prefix: &str, content: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"prefix\":");
    write_text_json(prefix.as_bytes(), out);
    out.extend_from_slice(b",\"content\":");
    if std::str::from_utf8(content).is_ok() {
        write_text_json(content, out);
    } else {
        write_text_json(STANDARD.encode(content).as_bytes(), out);
        out.extend_from_slice(b",\"encoding\":\"base64\"");
    }
    out.push(b'}');
}

/// Says what became of a change whose event began at `start`.
pub(super) fn finish(
    written: Result<(), Verdict>,
    mut draft: Draft,
    start: usize,
    out: &mut Vec<u8>,
) -> Mapped {
    match written {
        Ok(()) => {
            draft.body.end = out.len();
            Mapped::Event(draft)
        }
        Err(Verdict { field, reason, skip: true }) => {
            out.truncate(start);
            Mapped::Skipped { route: draft.route, reason: Skip::Policy { field, reason } }
        }
        Err(Verdict { field, reason, skip: false }) => {
            let end = draft.key.as_ref().map_or(start, |key| key.end);
            out.truncate(end);
            draft.body = end..end;
            draft.before_key = None;
            draft.outbox = None;
            Mapped::Rejected { draft, field, reason }
        }
    }
}

/// Everything at hand while one row is written.
struct Pen<'a> {
    change: Change<'a>,
    /// As the event says it.
    operation: Operation,
    plan: &'a Plan,
    lane: &'a Lane,
    road: &'a Road,
    /// The whole event, not the mapping's output alone.
    full: bool,
    /// An update after which the row is no longer one of the route's.
    left: bool,
    /// The route's own, whatever the mapping says.
    refusal: Option<Verdict>,
    commit: &'a CommitText,
    notes: &'a mut Notes,
    draft: Draft,
}

impl Pen<'_> {
    fn write(mut self, out: &mut Vec<u8>) -> Mapped {
        let start = out.len();
        let written = self.write_event(start, out);
        finish(written, self.draft, start, out)
    }

    fn write_event(&mut self, start: usize, out: &mut Vec<u8>) -> Result<(), Verdict> {
        self.draft.key_hash = self.lane.table_hash.finish();
        if self.full {
            self.commit.write_id(self.draft.id.position, out);
            out.extend_from_slice(self.lane.head(self.operation));
        }
        self.write_key(out)?;
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        if self.full {
            out.extend_from_slice(b",\"data\":");
            self.draft.body.start = start;
        } else {
            self.draft.body.start = out.len();
        }
        self.write_data(out)?;
        self.draft.whole = self.operation == Operation::Delete
            || (self.notes.unchanged.is_empty() && !self.notes.omitted);
        if !self.full {
            return Ok(());
        }
        self.write_before(out)?;
        for (name, list) in [
            (&b",\"unchanged\":["[..], &self.notes.unchanged),
            (b",\"json_nulls\":[", &self.notes.json_nulls),
        ] {
            if !list.is_empty() {
                out.extend_from_slice(name);
                out.extend_from_slice(list);
                out.push(b']');
            }
        }
        write_commit(self.commit, self.operation, self.change.seq, out);
        out.extend_from_slice(&self.road.tail);
        Ok(())
    }

    /// In the full format the keys are a part of the body; else they lie before it.
    fn write_key(&mut self, out: &mut Vec<u8>) -> Result<(), Verdict> {
        let (lane, change) = (self.lane, &self.change);
        if change.operation == Operation::Truncate || lane.key.is_none() {
            if self.full {
                out.extend_from_slice(b"null");
            }
            return Ok(());
        }
        let start = out.len();
        if self.left {
            lane.key.write_before(change, out)?;
        } else {
            lane.key.write(change, out)?;
        }
        let hash = |start: usize, out: &[u8]| {
            lane.table_hash.with(out.get(start..).unwrap_or_default()).finish()
        };
        self.draft.key_hash = hash(start, out);
        self.draft.key = Some(start..out.len());
        if !self.left && lane.key.has_changed(change) {
            if self.full {
                out.extend_from_slice(b",\"before_key\":");
            }
            let start = out.len();
            lane.key.write_before(change, out)?;
            self.draft.before_key_hash = Some(hash(start, out));
            self.draft.before_key = Some(start..out.len());
        }
        Ok(())
    }

    fn write_data(&mut self, out: &mut Vec<u8>) -> Result<(), Verdict> {
        let change = &self.change;
        let role = if self.operation == Operation::Delete { Role::Gone } else { Role::New };
        match change.operation {
            Operation::Truncate | Operation::Message => {
                out.extend_from_slice(b"null");
                Ok(())
            }
            Operation::Delete => self.plan.write(role, Row::gone(change), self.notes, out),
            Operation::Update if self.left => {
                self.plan.write(role, Row::left(change), self.notes, out)
            }
            Operation::Read | Operation::Insert | Operation::Update => {
                self.plan.write(Role::New, Row::new(change), self.notes, out)
            }
        }
    }

    fn write_before(&mut self, out: &mut Vec<u8>) -> Result<(), Verdict> {
        let change = &self.change;
        if self.left || change.operation != Operation::Update || !change.images.old.present {
            return Ok(());
        }
        let start = out.len();
        out.extend_from_slice(b",\"before\":");
        let object = out.len();
        self.plan.write(Role::Before, Row::before(change), self.notes, out)?;
        if out.get(object..) == Some(b"{}") {
            out.truncate(start);
        }
        Ok(())
    }
}
