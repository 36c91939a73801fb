//! [`Gather`]: how far a sink with times of its own reads, and what of it is worth sending.

use std::sync::Arc;
use std::time::Duration;

use super::super::compact::{Change, Compaction, KEYS_MAX};
use super::super::registry::Versions;
use super::super::schedule::Schedule;
use super::super::settings::Settings;
use super::{Error, Runner};
use crate::chunk::Chunk;
use crate::envelope::RouteLabel;
use crate::journal::{self, Cursor, Journal};
use crate::lsn::{Position, Timestamp};
use crate::mapping::{self, Mapped, SinkMapper};

/// Between two looks at the clock at most: somebody may set it.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// The step of a sink that has times and is not to wait for them.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Lets a sink read up to where the journal ended at its last time, and no further.
///
/// Where it compacts, what is due is read before by a cursor of its own, stretch by stretch: the
/// reader never comes to a change that was not looked at.
#[derive(Debug)]
pub(super) struct Gather {
    schedule: Schedule,
    journal: Arc<Journal>,
    versions: Versions,
    compacts: bool,
    /// The times are the sink's own, not [`AT_ONCE`].
    is_told: bool,
    next: Option<Timestamp>,
    /// When the clock is looked at again.
    look_at: Duration,
    /// Everything below is due.
    due: Position,
    /// With `compacts`, everything below was looked at.
    looked_to: Position,
    scan: Option<Scan>,
    waiting: Waiting,
}

/// Counts what comes behind what is due.
#[derive(Debug)]
struct Waiting {
    cursor: Cursor,
    mapper: SinkMapper,
    count: u64,
}

/// The first pass over a stretch.
#[derive(Debug)]
struct Scan {
    cursor: Cursor,
    mapper: SinkMapper,
    compaction: Compaction,
    /// The sink's routes as they come.
    routes: Vec<Arc<RouteLabel>>,
    buffer: Vec<u8>,
    until: Position,
}

/// Why no further step can be made.
#[derive(Debug)]
pub(super) enum Broken {
    Journal(journal::Error),
    Mapping(mapping::Error),
}

impl Gather {
    /// Begins to wait for the next time; none where the sink has none.
    pub(super) fn new(
        settings: &Settings,
        at_once: bool,
        journal: &Arc<Journal>,
        versions: &Versions,
        from: Position,
    ) -> Result<Option<Self>, journal::Error> {
        let Some(schedule) = &settings.schedule else { return Ok(None) };
        if at_once && !settings.compact {
            return Ok(None);
        }
        let waiting = Waiting { cursor: journal.cursor(from)?, mapper: versions.today(), count: 0 };
        let schedule = if at_once { Schedule::every(AT_ONCE) } else { schedule.clone() };
        Ok(Some(Self {
            next: schedule.next_after(Timestamp::now()),
            schedule,
            journal: Arc::clone(journal),
            versions: versions.clone(),
            compacts: settings.compact,
            is_told: !at_once,
            look_at: Duration::ZERO,
            due: from,
            looked_to: from,
            scan: None,
            waiting,
        }))
    }

    /// Says that an earlier run had come so far: that is due still.
    pub(super) fn had_come_to(&mut self, position: Position) {
        self.due = self.due.max(position);
    }

    /// Returns up to where may be read.
    pub(super) const fn horizon(&self) -> Position {
        if self.compacts { self.looked_to } else { self.due }
    }

    /// Returns when the clock is to be looked at.
    pub(super) const fn wake_at(&self) -> Duration {
        self.look_at
    }

    /// Returns the next time, and how many changes wait for it.
    fn rest(&self) -> Option<(Timestamp, u64)> {
        self.next.filter(|_| self.is_told).map(|next| (next, self.waiting.count))
    }

    /// Looks whether the time has come. `now` is the loop's, `wall` the time of day.
    fn look(&mut self, now: Duration, wall: Timestamp) {
        if now < self.look_at {
            return;
        }
        if self.next.is_some_and(|next| next <= wall) {
            self.due = self.due.max(self.journal.end());
            self.waiting.count = 0;
        }
        // Anew even where the time has not come: the clock may have been set back.
        self.next = self.schedule.next_after(wall);
        let left = self.next.map_or(LOOK_MAX, |next| {
            let micros = next.unix_micros().saturating_sub(wall.unix_micros());
            Duration::from_micros(micros.max(1).unsigned_abs())
        });
        self.look_at = now.saturating_add(left.min(LOOK_MAX));
    }

    /// Begins with the next stretch where the last one is read to its end.
    fn begin(&mut self, read_to: Position) -> Result<(), journal::Error> {
        if self.scan.is_none() && read_to >= self.horizon() && read_to < self.due {
            self.scan = Some(Scan {
                cursor: self.journal.cursor(read_to)?,
                mapper: self.versions.today(),
                compaction: Compaction::new(KEYS_MAX),
                routes: Vec::new(),
                buffer: Vec::new(),
                until: self.due,
            });
        }
        Ok(())
    }

    /// Returns what a stretch that was looked at needs not send, once.
    fn looked(&mut self) -> Option<Compaction> {
        let scan = self.scan.take_if(|scan| scan.is_done())?;
        self.looked_to = scan.cursor.position();
        Some(scan.compaction)
    }

    /// Looks at the next chunk: of what is due, or of what comes behind it.
    ///
    /// Cancel safety: safe.
    async fn step(&mut self) -> Result<(), Broken> {
        tokio::task::coop::consume_budget().await;
        match &mut self.scan {
            Some(scan) => {
                let chunk = scan.cursor.next().await.map_err(Broken::Journal)?;
                scan.note(&chunk).map_err(Broken::Mapping)
            }
            None => {
                let chunk = self.waiting.cursor.next().await.map_err(Broken::Journal)?;
                self.waiting.add(&chunk, self.due);
                Ok(())
            }
        }
    }
}

/// Looks at the next chunk where the sink has times of its own.
///
/// Cancel safety: safe.
pub(super) async fn step(gather: &mut Option<Gather>) -> Result<(), Broken> {
    match gather {
        Some(gather) => gather.step().await,
        None => std::future::pending().await,
    }
}

impl Waiting {
    fn add(&mut self, chunk: &Arc<Chunk>, due: Position) {
        if chunk.end_position() <= due {
            return;
        }
        for (entry, index) in chunk.entries.iter().zip(0_u32..) {
            if chunk.position(entry) >= due && self.mapper.takes(chunk, index) {
                self.count += 1;
            }
        }
    }
}

impl Scan {
    fn is_done(&self) -> bool {
        self.compaction.is_full() || self.cursor.position() >= self.until
    }

    fn note(&mut self, chunk: &Arc<Chunk>) -> Result<(), mapping::Error> {
        for (_, index) in chunk.entries.iter().zip(0_u32..) {
            self.buffer.clear();
            let mapped = self.mapper.map(chunk, index, &mut self.buffer)?;
            let (draft, refused) = match &mapped {
                Mapped::Event(draft) => (draft, false),
                Mapped::Rejected { draft, .. } => (draft, true),
                Mapped::Unrouted | Mapped::Skipped { .. } => continue,
            };
            let route = place_of(&mut self.routes, &draft.route);
            self.compaction.note(&Change::of(draft, &self.buffer, route, refused));
        }
        Ok(())
    }
}

/// Numbers routes as they come.
fn place_of(routes: &mut Vec<Arc<RouteLabel>>, route: &Arc<RouteLabel>) -> u32 {
    let known = routes.iter().position(|known| Arc::ptr_eq(known, route));
    let place = known.unwrap_or_else(|| {
        routes.push(Arc::clone(route));
        routes.len() - 1
    });
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl Runner {
    /// Looks whether a sink with times of its own may read on.
    pub(super) fn gathers(&mut self, now: Duration) -> Result<(), Error> {
        let Some(gather) = &mut self.gather else { return Ok(()) };
        gather.look(now, Timestamp::now());
        if gather.compacts && self.reader.needs_chunk() {
            if let Some(compaction) = gather.looked() {
                self.reader.compact(Some(compaction));
            } else if self.reader.position() >= gather.horizon() {
                self.reader.compact(None);
            }
            let begun = gather.begin(self.reader.position());
            // What was not read yet may be gone already.
            if let Err(source) = begun
                && !self.progress.is_detached()
            {
                return Err(Error::Journal { sink: self.name.to_string(), source });
            }
        }
        self.view.rests(gather.rest());
        Ok(())
    }

    /// Whether the next chunk is due.
    pub(super) fn is_due(&self) -> bool {
        self.gather.as_ref().is_none_or(|gather| self.reader.position() < gather.horizon())
    }

    /// Says why the journal can't be looked at.
    pub(super) fn broken(&self, broken: Broken) -> Error {
        let sink = self.name.to_string();
        match broken {
            Broken::Journal(source) => Error::Journal { sink, source },
            Broken::Mapping(source) => Error::Mapping { sink, source },
        }
    }
}
