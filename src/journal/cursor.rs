//! [`Cursor`]: one reader's way through the journal.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Error;
use super::segment;
use super::shared::{Next, Shared};
use crate::chunk::Chunk;
use crate::lsn::Position;

/// Reads chunk after chunk: from memory while it keeps up, from the files while it is behind.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    folder: PathBuf,
    id: u64,
    /// Everything below was returned.
    after: Position,
    /// Where the last record from a file ended; none when it is to be looked for.
    place: Option<Place>,
    /// A read under way. It outlives a dropped `next`: one that is dropped again and again would
    /// otherwise begin anew each time and never end.
    reading: Option<JoinHandle<ReadBehind>>,
}

/// What a read of a file brings: where it ended, and the chunk.
type ReadBehind = Result<(Place, Arc<Chunk>), Error>;

#[derive(Debug)]
struct Place {
    file: Arc<File>,
    segment: u32,
    offset: u64,
}

impl Cursor {
    pub(super) fn open(shared: &Arc<Shared>, folder: &Path, from: Position) -> Result<Self, Error> {
        let id = {
            let mut inner = shared.lock();
            if from < inner.begin() {
                return Err(Error::Gone { from, begin: inner.begin() });
            }
            inner.enlist(from)
        };
        let (shared, folder) = (Arc::clone(shared), folder.to_owned());
        Ok(Self { shared, folder, id, after: from, place: None, reading: None })
    }

    /// Returns the position behind which it reads on.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.after
    }

    /// Returns the position from which on all chunks are in the journal's own memory.
    #[must_use]
    pub fn tail_begin(&self) -> Position {
        self.shared.lock().tail_begin
    }

    /// Whether everything that was appended so far was returned.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.after >= self.shared.lock().end
    }

    /// Returns the next chunk, the first one that does not end at or before the position; waits
    /// where there is none yet.
    ///
    /// Cancel safety: safe.
    ///
    /// # Errors
    /// A file that can't be read or is not as it was written: nothing is ever skipped.
    pub async fn next(&mut self) -> Result<Arc<Chunk>, Error> {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = reading.await;
                self.reading = None;
                let (place, chunk) = read.map_err(|_| Error::Closed)??;
                self.place = Some(place);
                self.pass(&chunk);
                return Ok(chunk);
            }
            let grown = Arc::clone(&self.shared);
            let grown = grown.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            let next = self.shared.lock().next(self.after)?;
            match next {
                Next::Chunk(chunk) => {
                    self.place = None;
                    self.pass(&chunk);
                    return Ok(chunk);
                }
                Next::Disk { segment, offset, length } => {
                    let place = self.place.take();
                    let place =
                        place.filter(|place| place.segment == segment && place.offset < length);
                    let (folder, after) = (self.folder.clone(), self.after);
                    self.reading = Some(tokio::task::spawn_blocking(move || {
                        read_behind(&folder, place, segment, offset, length, after)
                    }));
                }
                Next::Wait => grown.await,
            }
        }
    }

    fn pass(&mut self, chunk: &Chunk) {
        self.after = chunk.end_position();
        self.shared.lock().moved(self.id, self.after);
        self.shared.room.notify_waiters();
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.shared.lock().delist(self.id);
        self.shared.room.notify_waiters();
    }
}

/// Reads the first record that ends behind `after`, which lies in this segment.
fn read_behind(
    folder: &Path,
    place: Option<Place>,
    number: u32,
    offset: u64,
    length: u64,
    after: Position,
) -> ReadBehind {
    let path = segment::path(folder, number);
    let mut place = match place {
        Some(place) => place,
        None => {
            Place { file: Arc::new(segment::open(folder, number, false)?), segment: number, offset }
        }
    };
    while place.offset < length {
        let header = segment::header(&place.file, &path, place.offset)?;
        let start = place.offset;
        place.offset += header.length();
        if header.end > after {
            let (_, chunk) = segment::chunk(&place.file, &path, start, length - start)?;
            return Ok((place, Arc::new(chunk)));
        }
    }
    Err(Error::Missing { path })
}

/// See [`super::Journal::read_at`].
pub(super) fn read_at(
    shared: &Shared,
    folder: &Path,
    position: Position,
) -> Result<Option<(Arc<Chunk>, u32)>, Error> {
    let next = {
        let inner = shared.lock();
        if position < inner.begin() { Next::Wait } else { inner.next(position)? }
    };
    let chunk = match next {
        Next::Wait => return Ok(None),
        Next::Chunk(chunk) => chunk,
        Next::Disk { segment, offset, length } => {
            read_behind(folder, None, segment, offset, length, position)?.1
        }
    };
    let found = chunk.entries.iter().position(|entry| chunk.position(entry) == position);
    let entry = found.and_then(|index| u32::try_from(index).ok());
    Ok(entry.map(|entry| (chunk, entry)))
}
