//! [`Shadows`]: the next versions of mappings run beside the present ones on live changes.
//!
//! Nothing of the road waits for it, and it delivers nothing. It reads the journal's memory with a
//! cursor of its own, which holds back neither what is removed nor the slot, and takes a quarter of
//! a core at most. Where changes come faster than that, it goes on with the newest and counts a
//! gap. What it counted in the last seconds before a kill is not counted.

pub(super) mod store;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::store::{Stored, load as stored};
use self::tally::{Fate, Fates, Seen};
pub use self::tally::{Figures, Sample, SampleField, Sides};
use super::{Error, Options};
use crate::chunk::Chunk;
use crate::config::Config;
use crate::failure::chain;
use crate::journal::{Cursor, Journal};
use crate::lsn::Timestamp;
use crate::mapping::{
    self, Format, Mapped, Mapping, SinkMapper, SourceLabel, hidden_fields, routes_at,
};
use crate::state::State;

/// Changes compared before the road gets its turn: well below a millisecond of work.
const SLICE_CHANGES: usize = 128;
/// A slice is followed by a rest so many times as long.
const REST_FACTOR: u32 = 3;
/// Between two times that figures are stored.
const STORE_EVERY: Duration = Duration::from_secs(2);
/// What is left to read at a stop is read for so long at most.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Shadows {
    state: State,
    journal: Arc<Journal>,
    cursor: Cursor,
    /// The chunk at hand, and its first entry that was not compared yet: kept here, as a step may
    /// be given up between two slices.
    pending: Option<(Arc<Chunk>, usize)>,
    looks: Vec<Look>,
    /// By the mapping's name.
    shadows: BTreeMap<String, Shadow>,
}

/// A sink through whose routes changes are looked at.
#[derive(Debug)]
struct Look {
    present: SinkMapper,
    next: SinkMapper,
}

/// What is known of one mapping's next version.
#[derive(Debug)]
struct Shadow {
    figures: Figures,
    /// Fields of which no value is kept.
    hidden: BTreeSet<String>,
    is_stored: bool,
}

impl Shadows {
    /// Makes what the config asks for; none where that is nothing.
    pub(super) async fn new(
        config: &Config,
        options: Options,
        state: &State,
        journal: &Arc<Journal>,
        label: &SourceLabel,
    ) -> Result<Option<Self>, Error> {
        if config.nexts.is_empty() || !journal.is_on() || options.only_asked {
            return Ok(None);
        }
        let kept = state.read(store::load).await.map_err(Error::State)?;
        let mut shadows = BTreeMap::new();
        for next in &config.nexts {
            let Some(present) = config.mappings.iter().find(|mapping| mapping.name == next.name)
            else {
                continue;
            };
            let kept = kept.iter().find(|kept| kept.name == next.name);
            let shadow = Shadow {
                figures: kept.map(|kept| kept.figures.clone()).unwrap_or_default(),
                hidden: hidden_fields(present, next),
                is_stored: true,
            };
            shadows.insert(next.name.clone(), shadow);
        }
        let is_looked_at = |mapping: &Arc<Mapping>| shadows.contains_key(&mapping.name);
        let mut looks = Vec::new();
        for sink in &config.sinks {
            let routes = config.routes_of(&sink.name);
            if !routes.iter().any(|route| route.mapping.as_ref().is_some_and(is_looked_at)) {
                continue;
            }
            let next = config.nexts.iter().fold(routes.clone(), |routes, m| routes_at(&routes, m));
            looks.push(Look {
                present: SinkMapper::new(routes, label, Format::Mapped),
                next: SinkMapper::new(next, label, Format::Mapped),
            });
        }
        let cursor = journal.cursor(journal.end()).map_err(Error::Journal)?;
        let (state, journal) = (state.clone(), Arc::clone(journal));
        Ok(Some(Self { state, journal, cursor, pending: None, looks, shadows }))
    }

    /// Runs until it is stopped, or until something keeps it from going on: the road will say it.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut store_at = Instant::now() + STORE_EVERY;
        loop {
            let went = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(store_at) => {
                    self.store().await;
                    store_at = Instant::now() + STORE_EVERY;
                    true
                }
                went = self.step(REST_FACTOR) => went,
            };
            if !went {
                break;
            }
        }
        let drained = tokio::time::timeout(DRAIN_MAX, async {
            while (self.pending.is_some() || !self.cursor.is_at_end()) && self.step(0).await {}
        });
        if drained.await.is_err() {
            tracing::debug!("not all that came last was compared with the next mappings");
        }
        self.store().await;
    }

    /// Compares the next slice; false when there will be none.
    async fn step(&mut self, rest_factor: u32) -> bool {
        let Some((chunk, from)) = self.pending.clone() else { return self.fetch().await };
        let began = Instant::now();
        let to = chunk.entries.len().min(from + SLICE_CHANGES);
        for index in from..to {
            if let Err(error) = self.compare(&chunk, index) {
                tracing::warn!(error = chain(&error), "the next mappings are not compared");
                self.pending = None;
                return false;
            }
        }
        self.pending = (to < chunk.entries.len()).then_some((chunk, to));
        if rest_factor == 0 {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(began.elapsed() * rest_factor).await;
        }
        true
    }

    /// Takes the next chunk; false when there will be none.
    async fn fetch(&mut self) -> bool {
        if self.cursor.position() < self.cursor.tail_begin() && !self.leap() {
            return false;
        }
        match self.cursor.next().await {
            Ok(chunk) => self.pending = Some((chunk, 0)),
            Err(crate::journal::Error::Gone { .. }) => return self.leap(),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the next mappings are not compared");
                return false;
            }
        }
        true
    }

    /// Goes on with what comes next, whatever lies between.
    fn leap(&mut self) -> bool {
        let Ok(cursor) = self.journal.cursor(self.journal.end()) else { return false };
        self.cursor = cursor;
        for shadow in self.shadows.values_mut() {
            shadow.figures.gaps += 1;
            shadow.is_stored = false;
        }
        true
    }

    /// Compares what one change becomes at each sink. It counts once for each mapping.
    fn compare(&mut self, chunk: &Arc<Chunk>, index: usize) -> Result<(), mapping::Error> {
        let Ok(entry) = u32::try_from(index) else { return Ok(()) };
        let Some(change) = chunk.entries.get(index) else { return Ok(()) };
        let mut found: BTreeMap<String, Vec<Fates>> = BTreeMap::new();
        for look in &mut self.looks {
            let mut present = Vec::new();
            let mapped = look.present.map(chunk, entry, &mut present)?;
            let label = match &mapped {
                Mapped::Unrouted => continue,
                Mapped::Event(draft) | Mapped::Rejected { draft, .. } => &draft.route,
                Mapped::Skipped { route, .. } => route,
            };
            let Some((name, _)) = &label.mapping else { continue };
            if !self.shadows.contains_key(name) {
                continue;
            }
            let mut next = Vec::new();
            let mapped_next = look.next.map(chunk, entry, &mut next)?;
            let (present, next) = (fate(&mapped, &present), fate(&mapped_next, &next));
            found.entry(name.clone()).or_default().push(Fates { present, next });
        }
        for (name, sinks) in found {
            let Some(shadow) = self.shadows.get_mut(&name) else { continue };
            let seen = Seen {
                event: chunk.event_id(change),
                operation: change.operation,
                table: chunk.relation(change).map(|relation| relation.quoted_name()),
            };
            shadow.figures.add(&seen, &sinks, &shadow.hidden);
            shadow.is_stored = false;
        }
        Ok(())
    }

    /// Stores what is new. A failure is the road's to tell: it stores more than this.
    async fn store(&mut self) {
        let now = Timestamp::now();
        for (name, shadow) in &mut self.shadows {
            if shadow.is_stored {
                continue;
            }
            let (name, figures) = (name.clone(), shadow.figures.clone());
            let write = self.state.write(move |c| store::save(c, &name, &figures, now));
            match write.await {
                Ok(()) => shadow.is_stored = true,
                Err(error) => tracing::debug!(error = chain(&error), "figures can't be stored"),
            }
        }
    }
}

/// Starts what there is to run beside the road.
pub(super) fn spawned(shadows: Option<Shadows>, stop: &CancellationToken) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    if let Some(shadows) = shadows {
        tasks.spawn(shadows.run(stop.clone()));
    }
    tasks
}

fn fate(mapped: &Mapped, body: &[u8]) -> Fate {
    match mapped {
        Mapped::Event(draft) => {
            Fate::Sent(body.get(draft.body.clone()).unwrap_or_default().to_vec())
        }
        Mapped::Rejected { field, reason, .. } => {
            Fate::Rejected(format!("field \"{field}\": {reason}"))
        }
        Mapped::Skipped { reason, .. } => Fate::Skipped(reason.to_string()),
        Mapped::Unrouted => Fate::Skipped("no route takes it".to_owned()),
    }
}
