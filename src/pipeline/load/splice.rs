//! [`Splice`]: puts pieces of tables into the stream, at the watermarks that close them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::super::tables::Tables;
use super::super::{Error, insist};
use crate::chunk::{Chunk, Entry, Operation, Transaction};
use crate::failure::chain;
use crate::journal::{Journal, record};
use crate::lsn::{Lsn, Oid, Position, Timestamp, Xid};
use crate::pgoutput::{self, Message};
use crate::progress::load::{self, Step};
use crate::progress::pieces;
use crate::source::load::{Piece, Seen, Void, WATERMARK_PREFIX, Window};
use crate::state::{State, meta};

/// Chunks of a piece are as large as those of the stream.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_ENTRIES_MAX: usize = 16_384;

/// What became of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the stream, or there was nothing in it.
    Taken,
    /// It is to be read again; why.
    Void(String),
    /// A piece with fewer rows may do; why this one does not.
    TooLong(String),
}

/// Between the tasks that read tables and the one that reads the stream.
#[derive(Debug)]
pub(in crate::pipeline) struct Splice {
    state: State,
    journal: Arc<Journal>,
    tables: Tables,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seen: Seen,
    /// By the nonce of their watermarks.
    pending: HashMap<String, Pending>,
    /// Where pieces lie that may have to come again.
    kept: BTreeSet<Lsn>,
    /// Behind the last piece that was given its place.
    placed: Position,
}

/// A piece that is being read.
#[derive(Debug)]
struct Pending {
    table: Oid,
    /// Open since the low watermark came.
    window: Option<Window>,
    /// There as soon as it was read.
    offered: Option<Offer>,
    done: Option<oneshot::Sender<Outcome>>,
}

/// A piece that was read, and whom it is for.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) load: i64,
    pub(super) piece: Piece,
    /// [`Step::next`].
    pub(super) next: Option<String>,
    pub(super) audience: Arc<[String]>,
}

/// A piece with its place in the stream.
struct Placed {
    chunks: Vec<Arc<Chunk>>,
    step: Step,
    done: Option<oneshot::Sender<Outcome>>,
}

impl Splice {
    pub(in crate::pipeline) async fn new(
        state: &State,
        journal: &Arc<Journal>,
    ) -> Result<Self, Error> {
        let kept = state.read(pieces::kept).await.map_err(Error::State)?;
        let inner = Inner { kept: kept.into_iter().collect(), ..Inner::default() };
        let tables = Tables::new(state).await?;
        let (state, journal, inner) = (state.clone(), Arc::clone(journal), Mutex::new(inner));
        Ok(Self { state, journal, tables, inner })
    }

    /// What the stream's tables are called.
    pub(in crate::pipeline) const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// A panic elsewhere leaves plain values, not broken invariants.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a piece of a table will be read between two watermarks with this nonce. What
    /// became of it comes out of the receiver; it is closed where the stream broke off.
    pub(super) fn expect(&self, nonce: &str, table: Oid) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        let pending = Pending { table, window: None, offered: None, done: Some(done) };
        self.lock().pending.insert(nonce.to_owned(), pending);
        outcome
    }

    /// Hands over what was read, before its high watermark is set.
    pub(super) fn offer(&self, nonce: &str, mut offer: Offer) {
        let formerly = self.tables.formerly(&offer.piece.relation);
        if formerly.is_some() {
            Arc::make_mut(&mut offer.piece.relation).formerly = formerly;
        }
        if let Some(pending) = self.lock().pending.get_mut(nonce) {
            pending.offered = Some(offer);
        }
    }

    /// Forgets a piece that nobody waits for any more.
    pub(super) fn withdraw(&self, nonce: &str) {
        self.lock().pending.remove(nonce);
    }

    /// Returns the position behind the last piece that was given its place, appended or not.
    pub(super) fn placed(&self) -> Position {
        self.lock().placed
    }

    /// Notes transactions that an earlier run may have read.
    pub(super) fn suspect(&self, xids: Vec<Xid>) {
        self.lock().seen.suspect(xids);
    }

    /// Forgets pieces whose places end behind `lsn`, as [`pieces::give_back`] did: none comes.
    pub(in crate::pipeline) fn give_back(&self, lsn: Lsn) {
        let _never = self.lock().kept.split_off(&lsn);
    }

    /// Gives up every piece under way: the stream broke off, and what it brought is not known whole.
    pub(in crate::pipeline) fn reset(&self) {
        self.lock().pending.clear();
    }

    /// Returns what to append for a chunk of the stream: itself, and the rows of the piece that it
    /// closes. Those are stored before.
    ///
    /// Cancel safety: safe; the chunk is then not appended, and what was stored comes again with it.
    pub(in crate::pipeline) async fn take(
        &self,
        chunk: Arc<Chunk>,
    ) -> Result<Vec<Arc<Chunk>>, Error> {
        let Some(at) = self.note(&chunk)? else { return Ok(vec![chunk]) };
        let Some(last) = chunk.transactions.last().copied() else { return Ok(vec![chunk]) };
        let Some(end_lsn) = last.end_lsn else { return Ok(vec![chunk]) };
        let (chunks, done) = match at {
            Place::Kept => (self.again(last.commit_lsn).await?, None),
            Place::Closed(pending) => {
                // Whoever is loaded is known by the name that it has here.
                if let Some(offer) = &pending.offered {
                    self.tables.know(&offer.piece.relation).await?;
                }
                let Some(placed) = place(*pending, &mut self.lock().seen, &chunk, last)? else {
                    return Ok(vec![chunk]);
                };
                let Placed { chunks, step, done } = placed;
                if let Some(newest) = chunks.last() {
                    // The stream begins behind what was appended.
                    let passed = self.journal.received().unwrap_or_default();
                    let mut inner = self.lock();
                    inner.kept = inner.kept.split_off(&passed);
                    inner.kept.insert(last.commit_lsn);
                    inner.placed = newest.end_position();
                }
                self.keep(step, (last.commit_lsn, end_lsn), chunks.clone()).await?;
                (chunks, done)
            }
        };
        // After what is stored: a task that hears it goes by the state.
        if let Some(done) = done {
            let _gone = done.send(Outcome::Taken);
        }
        if chunks.is_empty() {
            return Ok(vec![chunk]);
        }
        let have = self.journal.end();
        let mut all = Vec::with_capacity(chunks.len() + 1);
        all.extend(unended(&chunk));
        all.extend(chunks.into_iter().filter(|chunk| chunk.end_position() > have));
        Ok(all)
    }

    /// Looks through a chunk. Returns what closes in it.
    fn note(&self, chunk: &Arc<Chunk>) -> Result<Option<Place>, Error> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.seen.note(chunk);
        let last = chunk.transactions.last();
        if let Some(last) = last.filter(|last| last.end_lsn.is_some())
            && inner.kept.contains(&last.commit_lsn)
        {
            return Ok(Some(Place::Kept));
        }
        if inner.pending.is_empty() {
            return Ok(None);
        }
        for entry in &chunk.entries {
            if entry.operation != Operation::Message {
                for window in inner.pending.values_mut().filter_map(|one| one.window.as_mut()) {
                    window.note(chunk, entry).map_err(unreadable)?;
                }
                continue;
            }
            let Some((nonce, is_high)) = watermark(chunk, entry)? else { continue };
            if is_high {
                // The stream is cut behind it.
                return Ok(inner.pending.remove(&nonce).map(|one| Place::Closed(Box::new(one))));
            }
            if let Some(pending) = inner.pending.get_mut(&nonce) {
                pending.window = Some(Window::open(pending.table, &inner.seen));
            }
        }
        Ok(None)
    }

    /// Stores a piece with its place, and how far its load is.
    async fn keep(
        &self,
        step: Step,
        place: (Lsn, Lsn),
        chunks: Vec<Arc<Chunk>>,
    ) -> Result<(), Error> {
        let has_journal = self.journal.is_on();
        let now = Timestamp::now();
        let keep = move |connection: &rusqlite::Connection| {
            if chunks.is_empty() {
                return load::step(connection, &step, now);
            }
            let mut records = Vec::new();
            for chunk in &chunks {
                let record = record::encode(chunk);
                let record = record
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
                records.extend(record);
            }
            let known = meta::load(connection)?;
            // The stream begins with one or the other.
            let safe = if has_journal { known.received } else { known.confirmed };
            pieces::keep(connection, &step, place, &records, safe, now)
        };
        insist::write(&self.state, "a piece of a load", keep).await
    }

    /// Returns the piece that was put at this place before.
    async fn again(&self, at: Lsn) -> Result<Vec<Arc<Chunk>>, Error> {
        // Behind what an attempt before may have left to the writer.
        let read = move |connection: &rusqlite::Connection| pieces::records(connection, at);
        let records = insist::write(&self.state, "a piece of a load", read).await?;
        let records = records.unwrap_or_default();
        let chunks = record::decode_all(&records).map_err(Error::Piece)?;
        tracing::debug!(at = %at, chunks = chunks.len(), "a piece of a load comes again");
        Ok(chunks.into_iter().map(Arc::new).collect())
    }
}

/// What closes in a chunk.
#[derive(Debug)]
enum Place {
    /// A piece lies there since before.
    Kept,
    /// A piece that was read just now.
    Closed(Box<Pending>),
}

pub(super) fn unreadable(error: pgoutput::Error) -> Error {
    Error::Source(crate::source::Error::Pgoutput(error))
}

/// Reads a watermark: its nonce, and whether it is the high one.
fn watermark(chunk: &Chunk, entry: &Entry) -> Result<Option<(String, bool)>, Error> {
    let Message::Logical(message) = pgoutput::parse(chunk.frame(entry)).map_err(unreadable)? else {
        return Ok(None);
    };
    if message.prefix != WATERMARK_PREFIX || !message.transactional {
        return Ok(None);
    }
    let content = std::str::from_utf8(message.content).unwrap_or_default();
    Ok(match content.split_once(' ') {
        Some((nonce, "low")) => Some((nonce.to_owned(), false)),
        Some((nonce, "high")) => Some((nonce.to_owned(), true)),
        _ => None,
    })
}

/// Gives a piece its place, or says that it is void.
fn place(
    pending: Pending,
    seen: &mut Seen,
    chunk: &Chunk,
    last: Transaction,
) -> Result<Option<Placed>, Error> {
    let Pending { window, offered, mut done, .. } = pending;
    let void = |done: Option<oneshot::Sender<Outcome>>, outcome: Outcome| {
        if let Some(done) = done {
            let _gone = done.send(outcome);
        }
        Ok(None)
    };
    let (Some(window), Some(offer)) = (window, offered) else {
        let reason = "the stream did not bring its first watermark".to_owned();
        return void(done.take(), Outcome::Void(reason));
    };
    let stale = match window.judge(&offer.piece, seen).map_err(unreadable)? {
        Ok(stale) => stale,
        Err(reason @ Void::Partial) => {
            return void(done.take(), Outcome::TooLong(chain(&reason)));
        }
        Err(reason) => return void(done.take(), Outcome::Void(chain(&reason))),
    };
    let (chunks, rows) = rows(&offer, &stale, chunk.timeline, last)?;
    let step = Step { load: offer.load, rows, next: offer.next };
    Ok(Some(Placed { chunks, step, done }))
}

/// The rows of a piece as changes of its watermark's transaction, behind the message.
fn rows(
    offer: &Offer,
    stale: &[usize],
    timeline: u32,
    last: Transaction,
) -> Result<(Vec<Arc<Chunk>>, u64), Error> {
    let mut stale = stale.iter().copied().peekable();
    let mut chunks = Vec::new();
    let (mut frames, mut entries) = (Vec::new(), Vec::new());
    let transaction = Transaction { end_lsn: None, xid: None, ..last };
    let chunk = |frames: Vec<u8>, entries: Vec<Entry>, transaction: Transaction| Chunk {
        timeline,
        frames: Bytes::from(frames),
        transactions: vec![transaction],
        relations: vec![Arc::clone(&offer.piece.relation)],
        entries,
        audience: Some(Arc::clone(&offer.audience)),
    };
    let mut seq = 0_u32;
    for (index, frame) in offer.piece.frames().enumerate() {
        if stale.next_if_eq(&index).is_some() {
            continue;
        }
        if frames.len() + frame.len() > CHUNK_BYTES && !entries.is_empty()
            || entries.len() >= CHUNK_ENTRIES_MAX
        {
            let (frames, entries) = (std::mem::take(&mut frames), std::mem::take(&mut entries));
            chunks.push(chunk(frames, entries, transaction));
        }
        seq += 1;
        let number = |length: usize| u32::try_from(length).map_err(|_| too_long());
        entries.push(Entry {
            offset: number(frames.len())?,
            length: number(frame.len())?,
            transaction: 0,
            relation: Some(0),
            seq,
            operation: offer.piece.operation,
        });
        frames.extend_from_slice(frame);
    }
    if !entries.is_empty() {
        chunks.push(chunk(frames, entries, transaction));
    }
    if let Some(newest) = chunks.last_mut()
        && let Some(transaction) = newest.transactions.last_mut()
    {
        transaction.end_lsn = last.end_lsn;
    }
    Ok((chunks.into_iter().map(Arc::new).collect(), u64::from(seq)))
}

fn too_long() -> Error {
    Error::Source(crate::source::Error::Unreadable { what: "a message of more than 4 GiB" })
}

/// A chunk whose last transaction goes on; none where nothing else was in it.
fn unended(chunk: &Arc<Chunk>) -> Option<Arc<Chunk>> {
    let mut chunk = Chunk::clone(chunk);
    if let Some(last) = chunk.transactions.last_mut() {
        last.end_lsn = None;
    }
    // It told of an end alone.
    let is_empty = chunk.entries.is_empty() && chunk.transactions.len() <= 1;
    (!is_empty).then(|| Arc::new(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Position;

    #[test]
    fn a_chunk_that_only_ended_the_watermark_leaves_nothing() {
        let transaction =
            Transaction { commit_lsn: Lsn(8), end_lsn: Some(Lsn(9)), xid: None, commit_time: None };
        let frame = Bytes::from_static(b"M");
        let chunk = Chunk::of_one(1, transaction, None, 0, Operation::Message, frame).unwrap();
        let left = unended(&Arc::new(chunk.clone())).unwrap();
        assert_eq!(left.end_position(), Position::new(Lsn(8), 1));
        let bare = Chunk { entries: Vec::new(), ..chunk };
        assert_eq!(unended(&Arc::new(bare)), None);
    }
}
