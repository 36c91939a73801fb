//! [`Ward`]: what has to be written to the state, in order, one transaction at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;

use super::batches;
use super::dead_letter::{self, Letter, Verdict};
use super::handle::{SinkProgress, Snapshot};
use super::parked::LetterState;
use super::record::Record;
use crate::lsn::{EventId, Position};
use crate::progress::ledger::{Ordinal, Reached};
use crate::progress::store;
use crate::state::{self, State, lsn_to_sql};

/// Writes in one transaction.
const BATCH_MAX: usize = 1000;
/// With more waiting than this nothing new is read.
pub(super) const PENDING_MAX: usize = 10_000;

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
        verdict: Box<Verdict>,
    },
    /// A stored event was delivered.
    Delete { id: EventId, row: i64, record: Option<Box<Record>> },
    /// Dead letters that were none.
    Reopen { events: Vec<(Ordinal, EventId)>, reached: Reached },
}

/// What to do once a write is durable.
#[derive(Debug)]
pub(super) enum Written {
    /// The event is safe.
    Put { ordinal: Ordinal, id: EventId },
    /// The event is done.
    Deleted { id: EventId },
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

/// What a transaction ends with: the rows of what was put, in order.
pub(super) type Outcome = Result<Vec<i64>, state::Error>;

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
        let rest = self.pending.split_off(self.pending.len().min(BATCH_MAX));
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
    pub(super) fn finish(&mut self, rows: Vec<i64>) -> Vec<Written> {
        let Some(writing) = self.writing.take() else { return Vec::new() };
        let mut rows = rows.into_iter();
        let mut written = Vec::new();
        for write in &writing.writes {
            match write {
                Write::Put { ordinal, letter } => {
                    let id = letter.envelope.id;
                    if let Some(row) = rows.next() {
                        self.rows.insert(id, row);
                    }
                    written.push(Written::Put { ordinal: *ordinal, id });
                }
                Write::Tried { .. } => {}
                Write::Delete { id, .. } => {
                    self.rows.remove(id);
                    written.push(Written::Deleted { id: *id });
                }
                Write::Reopen { events, .. } => {
                    events.iter().for_each(|(_, id)| self.forget(*id));
                }
            }
        }
        self.reopening = self.pending.iter().any(|write| matches!(write, Write::Reopen { .. }));
        written
    }

    /// The row of a dead letter that is not tried again by itself need not be known.
    pub(super) fn forget(&mut self, id: EventId) {
        self.rows.remove(&id);
    }
}

/// Takes events back in the ledger before their rows go. What was to be set aside in this very
/// transaction is not set aside at all.
fn take_back(mut writes: Vec<Write>, progress: &SinkProgress) -> Vec<Write> {
    let mut taken: HashSet<Ordinal> = HashSet::new();
    for write in &mut writes {
        if let Write::Reopen { events, reached } = write {
            *reached = progress.reopen(events);
            taken.extend(events.iter().map(|(ordinal, _)| *ordinal));
        }
    }
    writes.retain(|write| !matches!(write, Write::Put { ordinal, .. } if taken.contains(ordinal)));
    writes
}

fn run(connection: &Connection, sink: &str, writing: &Writing) -> rusqlite::Result<Vec<i64>> {
    if let Some((progress, snapshot)) = &writing.progress
        && progress.is_current(snapshot)
        && progress.is_newest(snapshot)
    {
        store::save_reached(connection, sink, &snapshot.reached)?;
    }
    let mut rows = Vec::new();
    for write in &writing.writes {
        match write {
            Write::Put { letter, .. } => rows.push(dead_letter::put(connection, sink, letter)?),
            Write::Tried { row, state, original, verdict, .. } => {
                dead_letter::tried(connection, *row, *state, original.as_deref(), verdict)?;
            }
            Write::Delete { row, record, .. } => {
                dead_letter::delete(connection, *row)?;
                if let Some(record) = record {
                    batches::store(connection, sink, std::slice::from_ref(record))?;
                }
            }
            Write::Reopen { events, reached } => {
                for (_, id) in events {
                    dead_letter::delete_event(connection, sink, *id)?;
                }
                go_back(connection, sink, reached)?;
            }
        }
    }
    Ok(rows)
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
