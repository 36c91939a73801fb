//! Loads: how far each is.

use std::time::Duration;

use serde::Serialize;

use crate::lsn::Timestamp;
use crate::progress::load::{Load, LoadState};

/// A line of `backfill list --json`.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// Its number.
    pub id: i64,
    /// The table, as SQL would quote it.
    pub table: &'a str,
    /// The one sink that it was asked for; none: every one that wants the table.
    pub sink: Option<&'a str>,
    /// How it is.
    pub state: &'a str,
    /// Rows that were handed to the journal.
    pub rows: u64,
    /// About how many there are.
    pub total_estimate: Option<u64>,
    /// Since it was asked for.
    pub rows_per_second: f64,
    /// The routes that it is for.
    pub routes: &'a [String],
    /// A condition in SQL that rows have to meet.
    #[serde(rename = "where")]
    pub filter: Option<&'a str>,
    /// Why it does not go on, where that is so.
    pub reason: Option<&'a str>,
}

impl<'a> Document<'a> {
    /// Tells how far a load is.
    #[must_use]
    pub fn of(load: &'a Load, now: Timestamp) -> Self {
        Self {
            id: load.id,
            table: &load.table,
            sink: load.sink.as_deref(),
            state: load.state.as_str(),
            rows: load.rows,
            total_estimate: load.total_estimate,
            rows_per_second: rate(load, now),
            routes: &load.routes,
            filter: load.filter.as_deref(),
            reason: load.reason.as_deref(),
        }
    }
}

/// Returns rows a second since it was asked for.
#[must_use]
pub fn rate(load: &Load, now: Timestamp) -> f64 {
    let end = if load.state == LoadState::Running { now } else { load.updated_at };
    let micros = end.0.saturating_sub(load.started_at.0).max(1).unsigned_abs();
    let rows = u32::try_from(load.rows).map_or(f64::INFINITY, f64::from);
    let rate = (rows / Duration::from_micros(micros).as_secs_f64() * 10.0).round() / 10.0;
    if rate.is_finite() { rate } else { 0.0 }
}
