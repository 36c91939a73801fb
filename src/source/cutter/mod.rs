//! [`Cutter`]: pgoutput messages in, chunks out (pure).
//!
//! Copies each change's message once into the chunk's buffer and notes where it lies. Counts every
//! change, so that a repeat after any restart counts alike, and drops what the journal has.

mod describe;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use self::tables::Tables;
use super::Error;
use super::load::WATERMARK_PREFIX;
use crate::chunk::{Chunk, Entry, Operation, Transaction};
use crate::lsn::{Lsn, Oid, Position, Timestamp};
use crate::pgoutput::binary::{self, Form};
use crate::pgoutput::{self, Message};
use crate::relation::{Relation, quote_identifier};

pub(super) use describe::relation;

/// A chunk is cut before it grows past this; one larger row still makes a chunk of its own.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// A chunk is cut before it has more changes, so that tables of tiny rows make no giant index.
const CHUNK_ENTRIES_MAX: usize = 16_384;

/// Below this a chunk gets a buffer of just its size, and the cutter keeps the large one: many
/// small chunks in memory must not pin a megabyte each.
const COPY_BELOW: usize = 64 << 10;

/// What the state remembers, as far as the cutter drops by it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Have {
    /// Whole transactions that commit before it are dropped.
    pub(super) received: Lsn,
    /// The last change in the journal; it and what is before are dropped.
    pub(super) journaled: Option<Position>,
}

/// What to do after a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next message, please.
    Taken,
    /// Take the chunk first, then offer the same message again.
    Full,
    /// Look the table up, hand it to [`Cutter::describe`], then go on.
    Describe,
    /// A transaction ended here.
    Committed(Lsn),
    /// A watermark of a load ended here: take the chunk before the next message.
    Marked(Lsn),
}

/// Timelines of the server's past: each with where the next one left it.
pub(super) type Timelines = Vec<(u32, Lsn)>;

/// The transaction between Begin and Commit.
struct Open {
    transaction: Transaction,
    /// The place of the next change.
    seq: u32,
    /// Index into the chunk's transactions once a change of it is in this chunk.
    index: Option<u32>,
    /// A change of it, or part of it in the journal, makes its end worth telling.
    told: bool,
    /// All of it is in the journal.
    dropped: bool,
    /// It is a load's watermark.
    marked: bool,
}

/// Invariant: positions rise strictly over all entries of all chunks.
pub(super) struct Cutter {
    have: Have,
    /// Where the newest transaction or lone message is.
    newest: Lsn,
    timeline: u32,
    past: Timelines,
    tables: Tables,
    open: Option<Open>,
    /// When the newest transaction committed, by the server's clock.
    committed: Option<Timestamp>,
    chunk_timeline: u32,
    frames: Vec<u8>,
    transactions: Vec<Transaction>,
    entries: Vec<Entry>,
}

impl Cutter {
    pub(super) fn new(have: Have, timeline: u32, past: Timelines) -> Self {
        Self {
            have,
            newest: Lsn::ZERO,
            timeline,
            past,
            tables: Tables::default(),
            open: None,
            committed: None,
            chunk_timeline: timeline,
            frames: Vec::new(),
            transactions: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Whether there is anything for a chunk.
    pub(super) const fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// Whether a transaction has begun and not ended.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the open transaction has a watermark of a load in it.
    pub(super) fn is_marked(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.marked)
    }

    /// When the newest transaction committed, open or ended, by the server's clock.
    pub(super) const fn commit_time(&self) -> Option<Timestamp> {
        self.committed
    }

    /// Takes one pgoutput message.
    pub(super) fn push(&mut self, frame: &[u8]) -> Result<Step, Error> {
        match frame.first() {
            Some(b'I') => self.row(frame, Operation::Insert),
            Some(b'U') => self.row(frame, Operation::Update),
            Some(b'D') => self.row(frame, Operation::Delete),
            _ => self.other(frame),
        }
    }

    fn row(&mut self, frame: &[u8], operation: Operation) -> Result<Step, Error> {
        let oid = oid_at(frame, 1)?;
        let Some(seq) = self.next_seq()? else { return Ok(Step::Taken) };
        if self.is_full(frame.len(), 1) {
            self.give_back(1);
            return Ok(Step::Full);
        }
        let relation = self.tables.index(oid)?;
        let (offset, length) = self.keep_row(frame, oid)?;
        self.entry_of(offset, length, Some(relation), seq, operation)?;
        Ok(Step::Taken)
    }

    fn other(&mut self, frame: &[u8]) -> Result<Step, Error> {
        match pgoutput::parse(frame).map_err(Error::Pgoutput)? {
            Message::Begin(begin) => {
                if self.open.is_some() {
                    return Err(Error::Unreadable { what: "a transaction begins inside another" });
                }
                return self.begin(Transaction {
                    commit_lsn: begin.commit_lsn,
                    end_lsn: None,
                    xid: Some(begin.xid),
                    commit_time: Some(begin.commit_time),
                });
            }
            Message::Commit(commit) => return self.commit(commit.end_lsn),
            Message::Relation(_) => return Ok(Step::Describe),
            Message::Truncate(truncate) => return self.truncate(frame, &truncate.relations),
            Message::Logical(message) if message.transactional => {
                if message.prefix == WATERMARK_PREFIX
                    && let Some(open) = &mut self.open
                {
                    open.marked = true;
                }
                let Some(seq) = self.next_seq()? else { return Ok(Step::Taken) };
                if self.is_full(frame.len(), 1) {
                    self.give_back(1);
                    return Ok(Step::Full);
                }
                let offset = self.keep(frame)?;
                self.entry(frame, offset, None, seq, Operation::Message)?;
            }
            Message::Logical(message) => return self.lone_message(frame, message.lsn),
            // Nothing in them that an event tells.
            Message::Origin(_) | Message::Type(_) => {}
            Message::Insert(_) | Message::Update(_) | Message::Delete(_) => {
                return Err(Error::Unreadable { what: "a row change where none can be" });
            }
            // They are held until they commit, and come as the others do then.
            Message::BeginPrepare(_)
            | Message::Prepare(_)
            | Message::CommitPrepared(_)
            | Message::RollbackPrepared(_)
            | Message::StreamStart(_)
            | Message::StreamStop
            | Message::StreamCommit(_)
            | Message::StreamAbort(_)
            | Message::StreamPrepare(_) => {
                return Err(Error::Unreadable {
                    what: "a transaction that is not known to commit",
                });
            }
        }
        Ok(Step::Taken)
    }

    fn begin(&mut self, transaction: Transaction) -> Result<Step, Error> {
        let timeline = self.timeline_of(transaction.commit_lsn);
        if !self.is_empty() && timeline != self.chunk_timeline {
            return Ok(Step::Full);
        }
        self.rise_to(transaction.commit_lsn)?;
        self.committed = transaction.commit_time;
        self.chunk_timeline = timeline;
        let journaled = self.have.journaled.map(|position| position.commit_lsn);
        let dropped = transaction.commit_lsn < self.have.received
            || journaled.is_some_and(|lsn| transaction.commit_lsn < lsn);
        let told = journaled == Some(transaction.commit_lsn) && !dropped;
        self.open = Some(Open { transaction, seq: 0, index: None, told, dropped, marked: false });
        Ok(Step::Taken)
    }

    /// Refuses a position that is not above all before it: whoever has done the one would take the
    /// other for done too.
    fn rise_to(&mut self, lsn: Lsn) -> Result<(), Error> {
        if lsn <= self.newest {
            return Err(Error::Unreadable { what: "a position that does not rise" });
        }
        self.newest = lsn;
        Ok(())
    }

    fn commit(&mut self, end_lsn: Lsn) -> Result<Step, Error> {
        let Some(open) = self.open.take() else {
            return Err(Error::Unreadable { what: "a transaction ends that never began" });
        };
        if open.told {
            let index = match open.index {
                Some(index) => index,
                None => self.add_transaction(open.transaction)?,
            };
            if let Some(transaction) = self.transactions.get_mut(index as usize) {
                transaction.end_lsn = Some(end_lsn);
            }
        }
        Ok(if open.marked { Step::Marked(end_lsn) } else { Step::Committed(end_lsn) })
    }

    fn truncate(&mut self, frame: &[u8], relations: &[Oid]) -> Result<Step, Error> {
        let count = relations.len();
        if self.open.is_none() {
            return Err(Error::Unreadable { what: "a change outside a transaction" });
        }
        if self.is_full(frame.len(), count) {
            return Ok(Step::Full);
        }
        let mut offset = None;
        for oid in relations {
            let Some(seq) = self.next_seq()? else { continue };
            let relation = self.tables.index(*oid)?;
            let at = match offset {
                Some(at) => at,
                None => *offset.insert(self.keep(frame)?),
            };
            self.entry(frame, at, Some(relation), seq, Operation::Truncate)?;
        }
        Ok(Step::Taken)
    }

    /// A message outside a transaction: the first and only change at its place.
    ///
    /// `end_lsn` is the LSN that Postgres gives it: where its record ends and the next one starts.
    /// When that is a commit record, its transaction has the same LSN, so the message's place is
    /// the last byte of its own record, where no other record can start.
    fn lone_message(&mut self, frame: &[u8], end_lsn: Lsn) -> Result<Step, Error> {
        if self.open.is_some() {
            return Err(Error::Unreadable { what: "a lone message inside a transaction" });
        }
        let lsn = Lsn(end_lsn.0.saturating_sub(1));
        let have = self.have.journaled >= Some(Position::new(lsn, 0));
        if lsn < self.have.received || have {
            self.rise_to(lsn)?;
            return Ok(Step::Taken);
        }
        let timeline = self.timeline_of(lsn);
        let moved = !self.is_empty() && timeline != self.chunk_timeline;
        if moved || self.is_full(frame.len(), 1) {
            return Ok(Step::Full);
        }
        self.rise_to(lsn)?;
        self.chunk_timeline = timeline;
        let end_lsn = Some(end_lsn);
        let transaction = Transaction { commit_lsn: lsn, end_lsn, xid: None, commit_time: None };
        let transaction = self.add_transaction(transaction)?;
        let offset = self.keep(frame)?;
        let operation = Operation::Message;
        let length = length(frame.len())?;
        self.entries.push(Entry { offset, length, transaction, relation: None, seq: 0, operation });
        Ok(Step::Taken)
    }

    /// Counts a change of the open transaction; none when the journal has it.
    fn next_seq(&mut self) -> Result<Option<u32>, Error> {
        let Some(open) = &mut self.open else {
            return Err(Error::Unreadable { what: "a change outside a transaction" });
        };
        let seq = open.seq;
        open.seq = seq
            .checked_add(1)
            .ok_or(Error::Unreadable { what: "more than 2^32 changes in one transaction" })?;
        let position = Position::new(open.transaction.commit_lsn, seq);
        let have = open.dropped || self.have.journaled.is_some_and(|last| position <= last);
        Ok((!have).then_some(seq))
    }

    /// The same message comes again after the chunk is cut.
    const fn give_back(&mut self, count: u32) {
        if let Some(open) = &mut self.open {
            open.seq = open.seq.saturating_sub(count);
        }
    }

    fn is_full(&self, bytes: usize, entries: usize) -> bool {
        !self.is_empty()
            && (self.frames.len() + bytes > CHUNK_BYTES
                || self.entries.len() + entries > CHUNK_ENTRIES_MAX)
    }

    fn keep(&mut self, frame: &[u8]) -> Result<u32, Error> {
        let offset = length(self.frames.len())?;
        self.frames.extend_from_slice(frame);
        Ok(offset)
    }

    /// Keeps a row as text, whatever form it came in: nothing behind the source can tell. Returns
    /// where it lies and how long it is there.
    fn keep_row(&mut self, frame: &[u8], oid: Oid) -> Result<(u32, u32), Error> {
        let Some(forms) = self.tables.forms(oid) else {
            return Ok((self.keep(frame)?, length(frame.len())?));
        };
        let start = self.frames.len();
        if let Err(problem) = binary::text_frame(frame, forms, &mut self.frames) {
            self.frames.truncate(start);
            return Err(self.undecodable(oid, problem));
        }
        Ok((length(start)?, length(self.frames.len() - start)?))
    }

    fn undecodable(&self, oid: Oid, problem: binary::Problem) -> Error {
        let relation = self.tables.relation(oid);
        let column = problem.column.and_then(|index| relation?.columns.get(index));
        Error::Binary {
            table: relation.map_or_else(String::new, Relation::quoted_name),
            column: column.map_or_else(String::new, |column| quote_identifier(&column.name)),
            source: problem.error,
        }
    }

    fn entry(
        &mut self,
        frame: &[u8],
        offset: u32,
        relation: Option<u32>,
        seq: u32,
        operation: Operation,
    ) -> Result<(), Error> {
        self.entry_of(offset, length(frame.len())?, relation, seq, operation)
    }

    fn entry_of(
        &mut self,
        offset: u32,
        length: u32,
        relation: Option<u32>,
        seq: u32,
        operation: Operation,
    ) -> Result<(), Error> {
        let transaction = self.transaction_index()?;
        self.entries.push(Entry { offset, length, transaction, relation, seq, operation });
        Ok(())
    }

    fn transaction_index(&mut self) -> Result<u32, Error> {
        match &self.open {
            Some(Open { index: Some(index), .. }) => Ok(*index),
            Some(Open { transaction, .. }) => {
                let index = self.add_transaction(*transaction)?;
                if let Some(open) = &mut self.open {
                    open.index = Some(index);
                    open.told = true;
                }
                Ok(index)
            }
            None => Err(Error::Unreadable { what: "a change outside a transaction" }),
        }
    }

    fn add_transaction(&mut self, transaction: Transaction) -> Result<u32, Error> {
        let index = length(self.transactions.len())?;
        self.transactions.push(transaction);
        Ok(index)
    }

    /// Takes the answer to [`Step::Describe`]: how its columns are sent too, where that is in binary
    /// (before that values are taken for text); `arrived` tells how many Relation messages came
    /// before the one described.
    pub(super) fn describe(&mut self, relation: Relation, forms: Option<Vec<Form>>, arrived: u64) {
        self.tables.describe(relation, forms, arrived);
    }

    /// Returns the tables with values of composite types, each with how many Relation messages came
    /// before the one that described it. Nobody tells when such a type is altered.
    pub(super) fn composites(&self) -> Vec<(Arc<Relation>, u64)> {
        self.tables.composites()
    }

    /// What is described from here on is how a transaction saw it whose messages came earlier.
    pub(super) fn begin_replay(&mut self) {
        self.tables.begin_replay();
    }

    /// That transaction is done: what others described meanwhile counts again where it came later.
    pub(super) fn end_replay(&mut self) {
        self.tables.end_replay();
    }

    fn timeline_of(&self, lsn: Lsn) -> u32 {
        let past = self.past.iter().find(|(_, switch)| lsn < *switch);
        past.map_or(self.timeline, |(timeline, _)| *timeline)
    }

    /// Cuts here; none when nothing came since the last.
    pub(super) fn cut(&mut self) -> Option<Chunk> {
        if self.is_empty() {
            return None;
        }
        let frames = if self.frames.len() < COPY_BELOW {
            let frames = Bytes::copy_from_slice(&self.frames);
            self.frames.clear();
            frames
        } else {
            Bytes::from(std::mem::replace(&mut self.frames, Vec::with_capacity(CHUNK_BYTES)))
        };
        if let Some(open) = &mut self.open {
            open.index = None;
        }
        let entries = std::mem::take(&mut self.entries);
        if entries.len() > 64 {
            self.entries.reserve(entries.len());
        }
        Some(Chunk {
            timeline: self.chunk_timeline,
            frames,
            transactions: std::mem::take(&mut self.transactions),
            relations: self.tables.cut(),
            entries,
            audience: None,
        })
    }
}

fn oid_at(frame: &[u8], at: usize) -> Result<Oid, Error> {
    let bytes = frame.get(at..).and_then(<[u8]>::first_chunk);
    let short = Error::Unreadable { what: "a change ends before its table's oid" };
    bytes.map(|bytes| Oid(u32::from_be_bytes(*bytes))).ok_or(short)
}

fn length(length: usize) -> Result<u32, Error> {
    u32::try_from(length).map_err(|_| Error::Unreadable { what: "a message of more than 4 GiB" })
}
