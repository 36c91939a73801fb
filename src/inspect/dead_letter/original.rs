//! [`Originals`]: the rows of events that were set aside, as Postgres sent them.
//!
//! One that failed has a copy with it. One that only waits is a reference into the journal, which
//! keeps what is waited for.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::chunk::{Chunk, Operation};
use crate::config::Config;
use crate::delivery::{DeadLetter, DeadLetterShown};
use crate::inspect::json;
use crate::journal::{Archive, Error, Moment, Window, record};
use crate::lsn::EventId;
use crate::mapping::{
    Format, Mapped, Operations, PrefixPattern, Route, Selector, SinkMapper, SourceLabel,
    TablePattern,
};
use crate::state::Reader;

/// A change, and its place in its chunk.
type Found = Option<(Arc<Chunk>, u32)>;

/// See the module. The journal is opened when it is needed first.
#[derive(Debug)]
pub struct Originals<'a> {
    config: &'a Config,
    reader: &'a Reader,
    archive: Option<Archive>,
    /// Where the last one was: the next mostly lies there too.
    last: Option<Arc<Chunk>>,
    /// Why the journal can't be read, where it could not.
    broken: Option<Error>,
}

impl<'a> Originals<'a> {
    /// Looks where these settings say.
    #[must_use]
    pub const fn new(config: &'a Config, reader: &'a Reader) -> Self {
        Self { config, reader, archive: None, last: None, broken: None }
    }

    /// Returns the row of an event, by column; none where nobody has it any more, or it can't be
    /// read.
    pub fn row(&mut self, letter: &DeadLetterShown) -> Option<Box<RawValue>> {
        let (chunk, entry) = self.change(letter)?;
        row(&chunk, entry, &letter.listed)
    }

    /// Returns the change itself: its chunk, and its place in it.
    pub fn change(&mut self, letter: &DeadLetterShown) -> Option<(Arc<Chunk>, u32)> {
        match &letter.original {
            Some(record) => Some((Arc::new(record::decode(record).ok()?), 0)),
            None => self.journaled(&letter.listed),
        }
    }

    /// Returns why originals that only the journal has are left out; none where it can be read.
    #[must_use]
    pub const fn broken(&self) -> Option<&Error> {
        self.broken.as_ref()
    }

    /// Finds an event in the journal that has no copy.
    fn journaled(&mut self, listed: &DeadLetter) -> Found {
        // Of those the bytes are to be gone.
        if matches!(listed.state.as_str(), "discarded" | "delivered") {
            return None;
        }
        let wanted: EventId = listed.event_id.parse().ok()?;
        if let Some(found) = self.last.as_ref().and_then(|chunk| find(chunk, wanted)) {
            return Some(found);
        }
        let found = self.look(wanted).unwrap_or_else(|error| {
            self.broken.get_or_insert(error);
            None
        });
        self.last = found.as_ref().map(|(chunk, _)| Arc::clone(chunk)).or(self.last.take());
        found
    }

    fn look(&mut self, wanted: EventId) -> Result<Found, Error> {
        if let Some(archive) = &self.archive
            && let Some(found) = look(archive, wanted)?
        {
            return Ok(Some(found));
        }
        // It may have come since.
        let archive = self.archive.insert(Archive::open(&self.config.state, self.reader)?);
        look(archive, wanted)
    }
}

fn look(archive: &Archive, wanted: EventId) -> Result<Found, Error> {
    let moment = Some(Moment::Lsn(wanted.position.commit_lsn));
    for chunk in archive.read(Window { from: moment, to: moment, tables: None }) {
        match chunk {
            // What is newer is still there.
            Err(Error::Gone { .. }) => {}
            Err(error) => return Err(error),
            Ok(chunk) => {
                if let Some(found) = find(&chunk, wanted) {
                    return Ok(Some(found));
                }
            }
        }
    }
    Ok(None)
}

fn find(chunk: &Arc<Chunk>, wanted: EventId) -> Found {
    let mut entries = (0_u32..).zip(&chunk.entries);
    let (entry, _) = entries.find(|(_, entry)| chunk.event_id(entry) == wanted)?;
    Some((Arc::clone(chunk), entry))
}

/// Returns the row of a change, by column; none where it can't be read.
fn row(chunk: &Arc<Chunk>, entry: u32, listed: &DeadLetter) -> Option<Box<RawValue>> {
    let selector = match &listed.table {
        Some(table) => Selector::Table(TablePattern::parse(table).ok()?),
        None => Selector::Message(PrefixPattern::new("*")),
    };
    let on = Operations::default().with(Operation::Truncate);
    let route = Route { on, ..Route::new("", selector, "") };
    let source = SourceLabel::default();
    let mut mapper = SinkMapper::new(vec![Arc::new(route)], &source, Format::Mapped);
    let mut body = Vec::new();
    match mapper.map(chunk, entry, &mut body).ok()? {
        Mapped::Event(draft) => body.get(draft.body).map(json),
        Mapped::Unrouted | Mapped::Skipped { .. } | Mapped::Rejected { .. } => None,
    }
}
