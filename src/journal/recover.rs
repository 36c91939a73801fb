//! What is on disk at the start: the index, and what was written after it was stored last.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::index::{self, Run};
use super::segment::{self, FIRST_RECORD};
use super::{Error, record};
use crate::lsn::{Lsn, Position};
use crate::state::{State, meta};

/// What is on disk.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Rising; the last one is appended to.
    pub(super) segments: Vec<Segment>,
    /// The end of the last whole transaction.
    pub(super) received: Option<Lsn>,
    /// From where on everything is here, should there be no segment.
    pub(super) begin: Position,
}

/// A segment file and its index.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    /// See [`segment`].
    pub(super) begin: Position,
    pub(super) runs: Vec<Run>,
}

impl Segment {
    /// Where the next record will lie.
    pub(super) fn length(&self) -> u64 {
        self.runs.last().map_or(FIRST_RECORD, Run::next_offset)
    }

    /// The position behind its last record.
    pub(super) fn end(&self) -> Position {
        self.runs.last().map_or(self.begin, |run| run.end)
    }
}

/// Reads what is there and cuts off a record that a crash left unfinished.
pub(super) fn open(folder: &Path, state: &State) -> Result<Found, Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(Error::file("create", folder))?;
    let load =
        |connection: &rusqlite::Connection| Ok((meta::load(connection)?, index::load(connection)?));
    let (meta, rows) = state.read_blocking(load).map_err(Error::State)?;
    let mut indexed: BTreeMap<u32, Vec<Run>> = BTreeMap::new();
    for run in rows {
        indexed.entry(run.segment).or_default().push(run);
    }
    let numbers = segment::list(folder)?;
    let received = (meta.received > Lsn::ZERO).then_some(meta.received);
    let begin = received.map_or(Position::ZERO, |received| Position::new(received, 0));
    let mut found = Found { segments: Vec::new(), received, begin };
    let oldest = numbers.first().copied().unwrap_or(u32::MAX);
    for (position, number) in numbers.iter().enumerate() {
        let is_last = position + 1 == numbers.len();
        let runs = indexed.remove(number).unwrap_or_default();
        if let Some(segment) = scan(folder, *number, runs, is_last, &mut found.received)? {
            found.segments.push(segment);
        }
    }
    // Rows of what retention removed just before a crash are no loss; any others are.
    let lost = indexed.keys().find(|number| **number > oldest || numbers.is_empty());
    if let Some(number) = lost {
        return Err(Error::Missing { path: segment::path(folder, *number) });
    }
    Ok(found)
}

/// Reads what lies behind the index of one segment; none when the file was never finished.
fn scan(
    folder: &Path,
    number: u32,
    mut runs: Vec<Run>,
    is_last: bool,
    received: &mut Option<Lsn>,
) -> Result<Option<Segment>, Error> {
    let path = segment::path(folder, number);
    let file = segment::open(folder, number, true)?;
    let length = file.metadata().map_err(Error::file("read", &path))?.len();
    let Some(begin) = segment::begin(&file, &path)? else {
        if is_last && runs.is_empty() {
            // Made, but not finished when the crash came: nothing can be in it.
            segment::remove(folder, number)?;
            return Ok(None);
        }
        return Err(Error::Damaged { path, offset: 0, source: record::Error::Magic });
    };
    keep_whole(&mut runs);
    let mut offset = runs.last().map_or(FIRST_RECORD, Run::next_offset);
    if length < offset {
        return Err(Error::Missing { path });
    }
    while offset < length {
        let (header, chunk) = match segment::chunk(&file, &path, offset, length - offset) {
            Ok(read) => read,
            Err(Error::Damaged { source, .. }) if is_last => {
                tracing::warn!(file = %path.display(), offset, error = %source,
                    "cut off a record that a crash left unfinished");
                file.set_len(offset).map_err(Error::file("cut", &path))?;
                break;
            }
            Err(error) => return Err(error),
        };
        if runs.last().is_none_or(Run::is_full) {
            runs.push(Run::new(number, offset, header.first));
        }
        if let Some(run) = runs.last_mut() {
            run.add(&header, &chunk);
        }
        if header.received > Lsn::ZERO {
            *received = Some(header.received.max(received.unwrap_or_default()));
        }
        offset += header.length();
    }
    if is_last {
        // What a killed process wrote is in the system's cache; it is about to be relied on. Those
        // before were flushed before the next one was made.
        file.sync_all().map_err(Error::file("flush", &path))?;
    }
    Ok(Some(Segment { number, begin, runs }))
}

/// Drops rows behind a hole: a transaction that failed (a full disk) leaves one, and what lies in
/// it would never be found again. The file itself is then read from there on.
pub(super) fn keep_whole(runs: &mut Vec<Run>) {
    let mut expected = FIRST_RECORD;
    let whole = runs.iter().take_while(|run| {
        let follows = run.offset == expected;
        expected = run.next_offset();
        follows
    });
    let whole = whole.count();
    runs.truncate(whole);
}

/// Bytes that the file system of `folder` has left for us.
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
