//! What of the journal may go, and what happens when nothing may.

use std::time::Duration;

use tokio::time::Instant;

use super::Keeper;
use crate::config::{Confirm, OnFull};
use crate::delivery::{SinkProgress, Snapshot, expire_dead_letters, prune_batches};
use crate::failure::{Category, Classify, chain};
use crate::lsn::{Position, Timestamp};
use crate::pipeline::full::{Need, Step};
use crate::pipeline::withheld::Turn;
use crate::pipeline::{Error, TICK};
use crate::progress::store;

/// Between two looks at what of the journal may go.
const RETAIN_EVERY: Duration = Duration::from_secs(5);
/// The longest time between two looks at what of the dead letters is too old.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

impl Keeper {
    /// Removes what of the journal is old, looks whether it is full of what is undone, and at the
    /// budget of WAL.
    pub(super) async fn retain(
        &mut self,
        floor: Position,
        snapshots: &[(SinkProgress, Snapshot)],
    ) -> Result<(), Error> {
        let due = if self.journal.paused().is_some() { TICK } else { RETAIN_EVERY };
        if self.retained_at.is_some_and(|at| at.elapsed() < due) {
            return Ok(());
        }
        self.retained_at = Some(Instant::now());
        let attached = snapshots.iter().filter(|(_, snapshot)| !snapshot.detached);
        let needed_from = attached.map(|(_, snapshot)| needed_from(snapshot)).min();
        match self.journal.retain(needed_from.unwrap_or(floor), Timestamp::now()).await {
            Ok(()) => {}
            Err(error) if error.category() == Category::Transient => {
                tracing::warn!(error = chain(&error), "the journal could not be trimmed");
            }
            Err(error) => return Err(Error::Journal(error)),
        }
        self.prune().await?;
        self.look_at_budget(floor, snapshots);
        self.look_whether_full(snapshots).await
    }

    /// Forgets how events were delivered that the journal does not have any more.
    async fn prune(&mut self) -> Result<(), Error> {
        let begin = self.journal.begin();
        if begin == self.pruned {
            return Ok(());
        }
        match self.state.write(move |connection| prune_batches(connection, begin)).await {
            Ok(_) => self.pruned = begin,
            Err(error) if error.category() == Category::Transient => self.could_not_write(&error),
            Err(error) => return Err(Error::State(error)),
        }
        Ok(())
    }

    async fn look_whether_full(
        &mut self,
        snapshots: &[(SinkProgress, Snapshot)],
    ) -> Result<(), Error> {
        if !self.journal.is_on() {
            return Ok(());
        }
        if snapshots.iter().any(|(_, s)| !s.detached && s.pinned_from == Some(Position::ZERO)) {
            // It is still reading what it has set aside.
            return Ok(());
        }
        let need = |snapshot: &Snapshot| {
            let from = needed_from(snapshot);
            (!snapshot.detached).then(|| Need { from, bytes: self.journal.bytes_behind(from) })
        };
        let needs: Vec<Option<Need>> = snapshots.iter().map(|(_, s)| need(s)).collect();
        let detaches = self.settings.on_full == OnFull::Detach;
        let max_size_bytes = self.settings.max_size;
        let step = self.full.look(&needs, max_size_bytes, detaches, self.started.elapsed());
        let name = |index: usize| snapshots.get(index).map_or("", |(sink, _)| sink.name());
        let bytes = |index: usize| needs.get(index).copied().flatten().map_or(0, |need| need.bytes);
        match step {
            Step::Nothing => {}
            Step::Filling(index) => tracing::warn!(
                max_size_bytes,
                undone_bytes = bytes(index),
                furthest_behind = name(index),
                "what is undone takes three quarters of the journal"
            ),
            Step::Eased => {
                tracing::info!(
                    max_size_bytes,
                    "what is undone takes less than half of the journal again"
                );
            }
            Step::Filled(index) if detaches => tracing::warn!(
                max_size_bytes,
                furthest_behind = name(index),
                "what is undone fills the journal: nothing more is read until a sink goes on or \
                 is let go"
            ),
            Step::Filled(index) => tracing::error!(
                max_size_bytes,
                furthest_behind = name(index),
                "what is undone fills the journal: nothing more is read, and the source keeps its \
                 log"
            ),
            Step::Emptied => tracing::info!("the journal has room again: reading goes on"),
            Step::Detach(index) => {
                if let (Some((sink, _)), Some(Some(need))) =
                    (snapshots.get(index), needs.get(index))
                {
                    self.detach(sink, *need).await?;
                }
            }
        }
        Ok(())
    }

    /// Lets a sink go: stored first, so that it stays so.
    async fn detach(&mut self, sink: &SinkProgress, need: Need) -> Result<(), Error> {
        let name = sink.name().to_owned();
        let last = self.journal.end().previous().unwrap_or_default();
        let reason = format!(
            "{}{} to {last}, and all behind it: what the sink had not done had filled the journal. \
             Its tables need a load; `walgate sink forget {name}` lets it begin anew",
            store::GAP,
            need.from
        );
        let halted = reason.clone();
        let write = self.state.write(move |c| store::set_halted(c, &name, Some(&halted)));
        match write.await {
            Ok(()) => {
                tracing::error!(
                    sink = sink.name(),
                    reason,
                    undone_bytes = need.bytes,
                    "the sink is halted and let go; the others go on"
                );
                sink.detach(&reason, Some(Timestamp::now()));
                // What it held back may go at once.
                self.retained_at = None;
                Ok(())
            }
            Err(error) if error.category() == Category::Transient => {
                self.could_not_write(&error);
                Ok(())
            }
            Err(error) => Err(Error::State(error)),
        }
    }

    /// Discards dead letters that are older than their sink keeps them.
    pub(super) async fn expire(&mut self) -> Result<(), Error> {
        let Some(shortest) = self.dead_retain.iter().map(|(_, retain)| *retain).min() else {
            return Ok(());
        };
        let due = shortest.clamp(TICK, EXPIRE_EVERY);
        if self.expired_at.is_some_and(|at| at.elapsed() < due) {
            return Ok(());
        }
        self.expired_at = Some(Instant::now());
        for (sink, retain) in self.dead_retain.clone() {
            let micros = i64::try_from(retain.as_micros()).unwrap_or(i64::MAX);
            let before =
                Timestamp::from_unix_micros(Timestamp::now().unix_micros().saturating_sub(micros));
            let name = sink.clone();
            match self.state.write(move |c| expire_dead_letters(c, &name, before)).await {
                Ok(0) => {}
                Ok(discarded) => tracing::warn!(
                    sink,
                    discarded,
                    "dead letters older than dead_retain were discarded"
                ),
                Err(error) if error.category() == Category::Transient => {
                    self.could_not_write(&error);
                }
                Err(error) => return Err(Error::State(error)),
            }
        }
        Ok(())
    }

    /// Confirms what is journaled while a slow sink makes Postgres keep too much WAL.
    fn look_at_budget(&mut self, floor: Position, snapshots: &[(SinkProgress, Snapshot)]) {
        let mut budget = self.settings.wal_budget;
        if budget == 0 || !self.journal.is_on() || self.settings.confirm == Confirm::Journaled {
            return;
        }
        let attached = snapshots.iter().filter(|(_, snapshot)| !snapshot.detached);
        let furthest = attached.min_by_key(|(_, snapshot)| snapshot.reached.floor);
        let furthest_behind = furthest.map_or("", |(sink, _)| sink.name());
        // What is kept now, and what would be if only what is done were confirmed.
        let (kept, undone) = {
            let inner = self.shared.lock();
            let end = inner.server_lsn.unwrap_or_default().max(inner.seen);
            // What the server bounds by itself is acted on well before the slot is in danger.
            if let (Some(safe), Some(retained)) = (inner.wal.safe, inner.retained_wal) {
                let bound = u64::try_from(safe.max(0).saturating_add(retained)).unwrap_or(0);
                budget = budget.min((bound / 2).max(1));
            }
            let is_done = floor >= inner.end;
            let undone = if is_done { 0 } else { end.0.saturating_sub(floor.commit_lsn.0) };
            (end.0.saturating_sub(inner.confirmed.0), undone)
        };
        match self.withheld.look(kept, undone, budget) {
            Turn::Nothing => {}
            Turn::Near => tracing::warn!(
                retained_wal_bytes = kept,
                wal_budget_bytes = budget,
                furthest_behind,
                "a slow sink holds back three quarters of the budget of WAL"
            ),
            Turn::Eased => tracing::info!(
                retained_wal_bytes = kept,
                wal_budget_bytes = budget,
                "the WAL held back is below half of its budget again"
            ),
            Turn::Over => tracing::warn!(
                retained_wal_bytes = kept,
                wal_budget_bytes = budget,
                furthest_behind,
                "a slow sink holds back too much WAL: confirming what is journaled instead"
            ),
            Turn::Within => tracing::info!(
                wal_budget_bytes = budget,
                "the WAL held back is within its budget again: confirming what is delivered"
            ),
        }
    }
}

/// The lowest position that a sink needs from the journal.
fn needed_from(snapshot: &Snapshot) -> Position {
    let floor = snapshot.reached.floor;
    snapshot.pinned_from.map_or(floor, |pinned| pinned.min(floor))
}
