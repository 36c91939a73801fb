//! Stage 3, keep: chunks on disk and in memory, a cursor per sink.
//!
//! A chunk is handed on from memory as soon as it is appended; a thread of its own writes it to
//! segment files. Whoever has fallen behind what memory holds reads the files. Knows nothing of
//! what a sink is or what a value means.

mod archive;
mod cursor;
mod error;
mod index;
pub mod record;
mod recover;
mod segment;
mod shared;
#[cfg(test)]
mod tests;
mod window;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use archive::{Archive, Chunks};
pub use cursor::Cursor;
pub use error::Error;
pub use index::{Run, Stored, store, stored, stored_ages, stored_bytes_behind};
pub use window::{Moment, ParseMomentError, Window};

use crate::chunk::Chunk;
use crate::lsn::{Lsn, Position, Timestamp};
use crate::state::State;
use shared::Shared;
use writer::Writer;

/// How originals are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long they are kept.
    pub retain: Duration,
    /// How much is kept, in bytes; 0: nothing on disk, all sinks share one pace.
    pub max_bytes: u64,
    /// Disk that stays free for progress and dead letters, in bytes.
    pub reserve_bytes: u64,
}

/// What is on disk for good.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    /// Everything below is; none where there is no journal, and so nothing to wait for.
    pub through: Option<Position>,
    /// The end of the last whole transaction in it; none before the first.
    pub received: Option<Lsn>,
    /// Index rows that changed, for [`store`] in the transaction that stores progress.
    pub runs: Vec<Run>,
}

/// What `status` says of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Bytes on disk.
    pub bytes: u64,
    /// The oldest and the newest commit in it.
    pub oldest: Option<Timestamp>,
    /// See `oldest`.
    pub newest: Option<Timestamp>,
    /// Why nothing more is read for now.
    pub paused: Option<&'static str>,
}

/// Every chunk that some sink still needs, and those that are kept to look at again.
///
/// Invariant: a cursor gets every chunk behind its position exactly once, in order, whether from
/// memory or from disk.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    /// None where the journal is off.
    writer: Option<Writer>,
    settings: Settings,
    state: State,
    folder: PathBuf,
}

impl Journal {
    /// Opens the journal in the state's folder: cuts off a record that a crash left unfinished,
    /// and takes up what was written but not yet indexed.
    ///
    /// # Errors
    /// A file that can't be read, or that is not as it was written.
    pub fn open(settings: Settings, state: &State) -> Result<Self, Error> {
        let folder = folder(state.folder());
        let state = state.clone();
        if settings.max_bytes == 0 {
            let shared = Arc::new(Shared::without_disk());
            return Ok(Self { shared, writer: None, settings, state, folder });
        }
        let found = recover::open(&folder, &state)?;
        let shared = Arc::new(Shared::new(&found, settings));
        let writer = Writer::start(Arc::clone(&shared), &folder, found, settings)?;
        Ok(Self { shared, writer: Some(writer), settings, state, folder })
    }

    /// Whether originals are kept on disk.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Returns the folder of the segment files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the position behind the last chunk.
    #[must_use]
    pub fn end(&self) -> Position {
        self.shared.lock().end
    }

    /// Returns the lowest position from which on everything is here.
    #[must_use]
    pub fn begin(&self) -> Position {
        self.shared.lock().begin()
    }

    /// Returns the position behind the last chunk that was written: more can't be made durable yet.
    #[must_use]
    pub fn written(&self) -> Position {
        self.shared.lock().written
    }

    /// Returns a position before which nothing committed at or after `time`, as far as what is on
    /// disk goes: where to begin to read.
    #[must_use]
    pub fn position_at(&self, time: Timestamp) -> Position {
        self.shared.lock().position_at(time)
    }

    /// Says where a journal that holds nothing yet begins: what lies before will never come.
    pub fn begin_at(&self, position: Position) {
        self.shared.lock().begin_at(position);
    }

    /// Returns the last whole transaction's end among what is here; none when there is none.
    #[must_use]
    pub fn received(&self) -> Option<Lsn> {
        self.shared.lock().received
    }

    /// Appends a chunk. Returns as soon as cursors can read it; waits while memory holds too much
    /// that is not on disk yet, or while the disk is full of what is not done.
    ///
    /// Cancel safety: safe; the chunk is then not appended.
    ///
    /// # Errors
    /// When the disk failed: nothing more can be kept.
    pub async fn append(&self, chunk: Arc<Chunk>) -> Result<(), Error> {
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.shared.lock().push(&chunk)? {
                break;
            }
            room.await;
        }
        self.shared.grown.notify_waiters();
        match &self.writer {
            Some(writer) => writer.write(chunk),
            None => Ok(()),
        }
    }

    /// Returns a cursor that reads everything behind `from`.
    ///
    /// # Errors
    /// [`Error::Gone`] when part of that is no longer here.
    pub fn cursor(&self, from: Position) -> Result<Cursor, Error> {
        Cursor::open(&self.shared, &self.folder, from)
    }

    /// Makes everything that was appended before this call durable.
    ///
    /// # Errors
    /// When writing or flushing failed: what the disk holds is then not known, and the journal
    /// refuses everything from then on.
    pub async fn sync(&self) -> Result<Durable, Error> {
        match &self.writer {
            Some(writer) => writer.sync().await,
            None => Ok(Durable::default()),
        }
    }

    /// Returns the chunk and entry of one change; none when it is not (or no longer) here.
    /// Blocks while it reads a file.
    ///
    /// # Errors
    /// A file that can't be read, or that is not as it was written.
    pub fn read_at(&self, position: Position) -> Result<Option<(Arc<Chunk>, u32)>, Error> {
        cursor::read_at(&self.shared, &self.folder, position)
    }

    /// Says that nothing below `needed_from` is needed any more, and removes whole segments of it
    /// that are older than `retain` or more than `max_size` allows.
    ///
    /// # Errors
    /// When a file can't be removed or the index can't be changed; nothing needed is lost by it.
    pub async fn retain(&self, needed_from: Position, now: Timestamp) -> Result<(), Error> {
        if self.writer.is_none() {
            return Ok(());
        }
        let removed = self.shared.lock().retire(needed_from, now, &self.settings);
        self.shared.room.notify_waiters();
        for segment in removed {
            segment::remove(&self.folder, segment)?;
            let forget =
                move |connection: &rusqlite::Connection| index::forget(connection, segment);
            self.state.write(forget).await.map_err(Error::State)?;
        }
        Ok(())
    }

    /// Where the journal is off: removes what an earlier run kept.
    ///
    /// # Errors
    /// When a file can't be removed or the index can't be changed.
    pub async fn forget_disk(&self) -> Result<(), Error> {
        if self.writer.is_some() {
            return Ok(());
        }
        // The index first: what it no longer names is looked for by nobody.
        let forget = |connection: &rusqlite::Connection| {
            connection.execute("DELETE FROM chunks", []).map(drop)
        };
        self.state.write(forget).await.map_err(Error::State)?;
        if !self.folder.exists() {
            return Ok(());
        }
        for number in segment::list(&self.folder)? {
            segment::remove(&self.folder, number)?;
        }
        Ok(())
    }

    /// Why nothing more is taken for now, if so.
    #[must_use]
    pub fn paused(&self) -> Option<&'static str> {
        self.shared.lock().paused()
    }

    /// Returns how many bytes on disk hold what lies behind `from`.
    #[must_use]
    pub fn bytes_behind(&self, from: Position) -> u64 {
        self.shared.lock().bytes_behind(from)
    }

    /// Returns how much there is and whether it takes more.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.lock().status()
    }
}

/// Returns the folder of the segment files within the state's.
fn folder(state: &Path) -> PathBuf {
    state.join("journal")
}

/// Shared between threads; a panic elsewhere leaves plain values, not broken invariants.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
