//! [`Ward`]: what has to be written to the state, in order, one transaction at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;

use super::batches;
use super::dead_letter::{self, Begin, Begun, Discarded, Filter, Letter, Newer, Stored, Verdict};
use super::handle::{SinkProgress, Snapshot};
use super::parked::LetterState;
use super::record::Record;
use super::scheduler::Reopened;
use crate::envelope::Envelope;
use crate::lsn::{EventId, Position};
use crate::progress::ledger::{Ordinal, Reached};
use crate::progress::shapes::{self, Shape};
use crate::progress::{known, store};
use crate::state::{self, State, lsn_to_sql};

/// Writes in one transaction.
const BATCH_MAX: usize = 1000;
/// With more waiting than this nothing new is read.
pub(super) const PENDING_MAX: usize = 10_000;
/// Dead letters that are sent again are loaded so many at a time.
pub(super) const FEED_MAX: usize = 1000;

/// One thing to write.
#[derive(Debug)]
pub(super) enum Write {
    /// An event was set aside.
    Put { ordinal: Ordinal, letter: Box<Letter> },
    /// A stored event was tried again.
    Tried {
        id: EventId,
        row: i64,
        state: LetterState,
        original: Option<Vec<u8>>,
        /// What was sent, where it was mapped anew.
        sent: Option<Box<Envelope>>,
        verdict: Box<Verdict>,
    },
    /// A stored event was delivered.
    Delete { id: EventId, row: i64, at_us: i64, record: Option<Box<Record>> },
    /// No route of the sink takes a stored event any more.
    Withdraw { id: EventId, row: i64 },
    /// Dead letters that were none.
    Reopen { events: Vec<Reopened>, reached: Reached },
    /// The sink took these, of whose keys there are dead letters. Done once that is noted.
    Newer { newer: Vec<Newer>, ordinals: Vec<Ordinal>, at_us: i64 },
    /// A person has dead letters sent again.
    Begin(Box<Begin>),
    /// The next of those are wanted, from here on.
    Feed { from: Position },
    /// A dead letter is not sent again.
    Refuse { id: EventId, row: i64 },
    /// A person discards what was set aside.
    Discard { filter: Box<Filter>, reason: String },
    /// A route knows a table.
    Shape(Shape),
    /// A route is held until a person says go; why.
    Hold { route: String, reason: Option<String> },
}

/// What to do once a write is durable.
#[derive(Debug)]
pub(super) enum Written {
    /// The event is safe.
    Put { ordinal: Ordinal, id: EventId },
    /// The event is done.
    Deleted { id: EventId },
    /// These events are done.
    Noted { ordinals: Vec<Ordinal> },
    /// There are dead letters to send again.
    Begun(Begun),
    /// These are sent again; none: there are no more.
    Fed(Vec<Stored>),
    /// These are gone, and what waits behind them may go.
    Discarded(Discarded),
}

/// What one write of a transaction found.
#[derive(Debug)]
pub(super) enum Ran {
    Nothing,
    Row(i64),
    Begun(Begun),
    Fed(Vec<Stored>),
    Discarded(Discarded),
}

/// Orders what is written.
///
/// Invariant: writes reach the disk in the order in which they were asked for.
#[derive(Debug)]
pub(super) struct Ward {
    sink: Arc<str>,
    state: State,
    pending: Vec<Write>,
    writing: Option<Arc<Writing>>,
    /// Where the events are stored that are tried again.
    rows: HashMap<EventId, i64>,
    /// Events are being taken back: nothing may be sent.
    reopening: bool,
}

/// One transaction.
#[derive(Debug)]
struct Writing {
    writes: Vec<Write>,
    /// How far the sink is, where rows are deleted: what was delivered before those events must
    /// not come again once they can't any more.
    progress: Option<(SinkProgress, Snapshot)>,
}

/// What a transaction ends with: what each of its writes found.
pub(super) type Outcome = Result<Vec<Ran>, state::Error>;

impl Ward {
    pub(super) fn new(sink: &str, state: State) -> Self {
        Self {
            sink: Arc::from(sink),
            state,
            pending: Vec::new(),
            writing: None,
            rows: HashMap::new(),
            reopening: false,
        }
    }

    pub(super) fn know(&mut self, id: EventId, row: i64) {
        self.rows.insert(id, row);
    }

    pub(super) fn row(&self, id: EventId) -> Option<i64> {
        self.rows.get(&id).copied()
    }

    pub(super) fn add(&mut self, write: Write) {
        self.reopening |= matches!(write, Write::Reopen { .. });
        self.pending.push(write);
    }

    pub(super) const fn is_reopening(&self) -> bool {
        self.reopening
    }

    pub(super) fn is_idle(&self) -> bool {
        self.writing.is_none() && self.pending.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX
    }

    /// The lowest position that a write still needs from the journal.
    pub(super) fn pinned_from(&self) -> Option<Position> {
        let writing = self.writing.iter().flat_map(|writing| writing.writes.iter());
        let tried = writing.chain(&self.pending).filter_map(|write| match write {
            Write::Tried { id, .. } => Some(id.position),
            _ => None,
        });
        tried.min()
    }

    /// Starts the next transaction, unless one is running.
    pub(super) fn start(
        &mut self,
        progress: &SinkProgress,
    ) -> Option<impl Future<Output = Outcome> + Send + use<>> {
        if self.writing.is_some() || self.pending.is_empty() {
            return None;
        }
        let rest = self.pending.split_off(together(&self.pending));
        let writes = std::mem::replace(&mut self.pending, rest);
        let writes = take_back(writes, progress);
        let deletes = writes.iter().any(|write| matches!(write, Write::Delete { .. }));
        let progress = deletes.then(|| (progress.clone(), progress.snapshot()));
        self.writing = Some(Arc::new(Writing { writes, progress }));
        self.again()
    }

    /// Runs the transaction that was started, again after it failed.
    pub(super) fn again(&self) -> Option<impl Future<Output = Outcome> + Send + use<>> {
        let writing = Arc::clone(self.writing.as_ref()?);
        let (state, sink) = (self.state.clone(), Arc::clone(&self.sink));
        Some(async move { state.write(move |connection| run(connection, &sink, &writing)).await })
    }

    /// The transaction is durable: returns what follows from it, in order.
    pub(super) fn finish(&mut self, ran: Vec<Ran>) -> Vec<Written> {
        let Some(writing) = self.writing.take() else { return Vec::new() };
        let mut written = Vec::new();
        for (write, ran) in writing.writes.iter().zip(ran) {
            match (write, ran) {
                (Write::Put { ordinal, letter }, Ran::Row(row)) => {
                    let id = letter.envelope.id;
                    self.rows.insert(id, row);
                    written.push(Written::Put { ordinal: *ordinal, id });
                }
                (Write::Delete { id, .. } | Write::Withdraw { id, .. }, _) => {
                    self.rows.remove(id);
                    written.push(Written::Deleted { id: *id });
                }
                (Write::Reopen { events, .. }, _) => {
                    events.iter().for_each(|event| self.forget(event.id));
                }
                (Write::Newer { ordinals, .. }, _) => {
                    written.push(Written::Noted { ordinals: ordinals.clone() });
                }
                (_, Ran::Begun(begun)) => written.push(Written::Begun(begun)),
                (_, Ran::Fed(stored)) => {
                    stored.iter().for_each(|stored| self.know(stored.id, stored.row));
                    written.push(Written::Fed(stored));
                }
                (Write::Refuse { id, .. }, _) => self.forget(*id),
                (_, Ran::Discarded(discarded)) => written.push(Written::Discarded(discarded)),
                _ => {}
            }
        }
        self.reopening = self.pending.iter().any(|write| matches!(write, Write::Reopen { .. }));
        written
    }

    /// Returns the events that are done once what is to be written is on disk.
    pub(super) fn ordinals(&self) -> impl Iterator<Item = Ordinal> {
        let writing = self.writing.iter().flat_map(|writing| writing.writes.iter());
        writing
            .chain(&self.pending)
            .flat_map(|write| match write {
                Write::Put { ordinal, .. } => std::slice::from_ref(ordinal),
                Write::Newer { ordinals, .. } => ordinals,
                _ => &[],
            })
            .copied()
    }

    /// The row of a dead letter that is not tried again by itself need not be known.
    pub(super) fn forget(&mut self, id: EventId) {
        self.rows.remove(&id);
    }
}

/// Returns how many of the writes may go in one transaction. A row is deleted only once everything
/// that was delivered before counts as done: a note has to be on disk for that.
fn together(writes: &[Write]) -> usize {
    let mut noting = false;
    let apart = writes.iter().position(|write| {
        noting |= matches!(write, Write::Newer { ordinals, .. } if !ordinals.is_empty());
        noting && matches!(write, Write::Delete { .. })
    });
    apart.unwrap_or(writes.len()).min(BATCH_MAX)
}

/// Takes events back in the ledger before their rows go. What was to be set aside in this very
/// transaction is not set aside at all.
fn take_back(mut writes: Vec<Write>, progress: &SinkProgress) -> Vec<Write> {
    let mut taken: HashSet<Ordinal> = HashSet::new();
    for write in &mut writes {
        if let Write::Reopen { events, reached } = write {
            *reached = progress.reopen(events);
            taken.extend(events.iter().map(|event| event.ordinal));
        }
    }
    writes.retain(|write| !matches!(write, Write::Put { ordinal, .. } if taken.contains(ordinal)));
    writes
}

fn run(connection: &Connection, sink: &str, writing: &Writing) -> rusqlite::Result<Vec<Ran>> {
    if let Some((progress, snapshot)) = &writing.progress
        && progress.is_current(snapshot)
        && progress.is_newest(snapshot)
    {
        store::save_reached(connection, sink, &snapshot.reached)?;
    }
    writing.writes.iter().map(|write| run_one(connection, sink, write)).collect()
}

fn run_one(connection: &Connection, sink: &str, write: &Write) -> rusqlite::Result<Ran> {
    match write {
        Write::Put { letter, .. } => {
            return dead_letter::put(connection, sink, letter).map(Ran::Row);
        }
        Write::Tried { row, state, original, sent, verdict, .. } => {
            let (original, sent) = (original.as_deref(), sent.as_deref());
            dead_letter::tried(connection, *row, *state, original, sent, verdict)?;
        }
        Write::Delete { row, at_us, record, .. } => {
            let route = record.as_ref().and_then(|record| record.routes.first());
            let mapping = route.and_then(|route| route.mapping.as_ref());
            dead_letter::delivered(connection, *row, mapping, *at_us)?;
            if let Some(record) = record {
                batches::store(connection, sink, std::slice::from_ref(record))?;
            }
        }
        Write::Withdraw { row, .. } => dead_letter::withdraw(connection, *row)?,
        Write::Reopen { events, reached } => {
            for event in events {
                dead_letter::delete_event(connection, sink, event.id)?;
            }
            go_back(connection, sink, reached)?;
        }
        Write::Newer { newer, at_us, .. } => {
            newer
                .iter()
                .try_for_each(|newer| dead_letter::newer(connection, sink, newer, *at_us))?;
        }
        Write::Begin(what) => {
            return dead_letter::begin(connection, sink, what).map(Ran::Begun);
        }
        Write::Feed { from } => {
            return dead_letter::feed(connection, sink, *from, FEED_MAX).map(Ran::Fed);
        }
        Write::Refuse { row, .. } => dead_letter::refuse(connection, *row)?,
        Write::Discard { filter, reason } => {
            let discarded = dead_letter::discard_selected(connection, filter, reason)?;
            return Ok(Ran::Discarded(discarded));
        }
        Write::Shape(shape) => shapes::save(connection, shape)?,
        Write::Hold { route, reason } => known::hold(connection, route, reason.as_deref())?,
    }
    Ok(Ran::Nothing)
}

/// Takes the stored position of a sink back. Ranges above it are dropped: they cost a repeat.
fn go_back(connection: &Connection, sink: &str, reached: &Reached) -> rusqlite::Result<()> {
    let Position { commit_lsn, seq } = reached.floor;
    connection
        .prepare(
            "UPDATE progress SET floor_lsn = ?2, floor_seq = ?3, ranges = x''
             WHERE sink = ?1 AND (floor_lsn, floor_seq) > (?2, ?3)",
        )?
        .execute((sink, lsn_to_sql(commit_lsn), seq))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_deleted_only_once_what_was_delivered_before_counts_as_done() {
        let noted = |ordinals: &[Ordinal]| Write::Newer {
            newer: Vec::new(),
            ordinals: ordinals.to_vec(),
            at_us: 0,
        };
        let deleted = || Write::Delete { id: EventId::FIRST, row: 1, at_us: 0, record: None };
        let refused = || Write::Refuse { id: EventId::FIRST, row: 1 };
        assert_eq!(together(&[refused(), noted(&[7]), refused(), deleted(), refused()]), 3);
        assert_eq!(together(&[deleted(), noted(&[7]), refused()]), 3);
        assert_eq!(together(&[noted(&[]), deleted()]), 2);
        assert_eq!(together(&std::iter::repeat_with(deleted).take(2000).collect::<Vec<_>>()), 1000);
    }
}
