//! What of the journal may go, and what a slow sink may hold back at the source.

use std::time::Duration;

use tokio::time::Instant;

use super::Keeper;
use crate::config::Confirm;
use crate::delivery::{SinkProgress, Snapshot};
use crate::failure::{Category, Classify, chain};
use crate::lsn::Position;
use crate::pipeline::{Error, TICK, now};

/// Between two looks at what of the journal may go.
const RETAIN_EVERY: Duration = Duration::from_secs(5);

impl Keeper {
    /// Removes what of the journal is old, and looks at the budget of WAL.
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
        let needed_from = snapshots.iter().map(|(_, snapshot)| needed_from(snapshot)).min();
        match self.journal.retain(needed_from.unwrap_or(floor), now()).await {
            Ok(()) => {}
            Err(error) if error.category() == Category::Transient => {
                tracing::warn!(error = chain(&error), "the journal could not be trimmed");
            }
            Err(error) => return Err(Error::Journal(error)),
        }
        self.look_at_budget(floor);
        Ok(())
    }

    /// Confirms what is journaled while a slow sink makes Postgres keep too much WAL.
    fn look_at_budget(&mut self, floor: Position) {
        let budget = self.settings.wal_budget;
        if budget == 0 || !self.journal.is_on() || self.settings.confirm == Confirm::Journaled {
            return;
        }
        // What is kept now, and what would be if only what is done were confirmed.
        let (kept, undone) = {
            let inner = self.shared.lock();
            let end = inner.server_lsn.unwrap_or_default().max(inner.seen);
            let is_done = floor >= inner.end;
            let undone = if is_done { 0 } else { end.0.saturating_sub(floor.commit_lsn.0) };
            (end.0.saturating_sub(inner.confirmed.0), undone)
        };
        if !self.over_budget && kept > budget && undone > 0 {
            tracing::warn!(
                retained_wal_bytes = kept,
                wal_budget_bytes = budget,
                "a slow sink holds back too much WAL: confirming what is journaled instead"
            );
            self.over_budget = true;
        } else if self.over_budget && undone <= budget / 2 {
            tracing::info!(
                wal_budget_bytes = budget,
                "the WAL held back is within its budget again: confirming what is delivered"
            );
            self.over_budget = false;
        }
    }
}

/// The lowest position that a sink needs from the journal.
fn needed_from(snapshot: &Snapshot) -> Position {
    let floor = snapshot.reached.floor;
    snapshot.pinned_from.map_or(floor, |pinned| pinned.min(floor))
}
