//! Beside the stream, over ordinary SQL: heartbeats, and what the server says of the slot.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Options;
use super::lag::Lag;
use super::shared::Shared;
use crate::config::Source;
use crate::failure::chain;
use crate::lsn::Timestamp;
use crate::source::{Catalog, Error};

/// Between two looks at the slot.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_secs(2);
/// A question that has no answer by then is asked again over another connection: this one may lead
/// nowhere any more.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Looks after the source until dropped. Nothing of the road waits for it: it may fail and is
/// tried again.
pub(super) async fn run(source: Source, shared: Arc<Shared>, options: Options) {
    let mut told = false;
    let mut beat_at = None;
    loop {
        if let Err(error) = look(&source, &shared, options, &mut told, &mut beat_at).await {
            tracing::debug!(error = chain(&error), "the source can't be looked at");
            if error.is_server_stopping() {
                shared.server_stops.notify_waiters();
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// One connection's life.
async fn look(
    source: &Source,
    shared: &Shared,
    options: Options,
    told: &mut bool,
    beat_at: &mut Option<Instant>,
) -> Result<(), Error> {
    let mut catalog = Catalog::connect(source.url.expose()).await?;
    let server = in_time(catalog.server()).await?;
    let wants_goal = options.until_caught_up && shared.lock().goal.is_none();
    if wants_goal {
        shared.lock().goal = Some(server.lsn);
    }
    loop {
        if let Some(wal) = in_time(catalog.slot_wal(&source.slot)).await? {
            let slot = in_time(catalog.slot(&source.slot)).await?;
            let status =
                slot.and_then(|slot| slot.row.get("wal_status")?.as_str().map(str::to_owned));
            let mut inner = shared.lock();
            inner.server_lsn = Some(wal.server_lsn);
            if inner.seen >= wal.server_lsn {
                inner.lag = Lag::InStep(Timestamp::now());
            }
            inner.retained_wal = wal.retained;
            inner.wal_status = status;
        }
        let due = beat_at.is_none_or(|at: Instant| at.elapsed() >= source.heartbeat);
        if (due && !source.heartbeat.is_zero()) || (wants_goal && beat_at.is_none()) {
            let nonce = format!("{:016x}", fastrand::u64(..));
            // One that failed is tried again at the next look, not a whole interval later.
            match in_time(catalog.heartbeat(&nonce)).await {
                Ok(()) => *beat_at = Some(Instant::now()),
                // A standby can't; the stream's own keepalives then have to do.
                Err(error) if !*told => {
                    *told = true;
                    tracing::warn!(error = chain(&error), "no heartbeat could be sent");
                }
                Err(_) => {}
            }
        }
        let pause =
            if source.heartbeat.is_zero() { LOOK_EVERY } else { LOOK_EVERY.min(source.heartbeat) };
        tokio::time::sleep(pause).await;
    }
}

/// Bounds a question. Connecting has bounds of its own.
async fn in_time<T>(question: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answer = tokio::time::timeout(ANSWER_MAX, question).await;
    answer.unwrap_or(Err(Error::Silent { seconds: ANSWER_MAX.as_secs() }))
}
