//! [`Applied`]: which events the tables have, told in the transaction that wrote them.
//!
//! An event comes again after a crash, or when an answer was lost. Its row here was committed
//! together with what it changed, or not at all; so one that is here is passed over. Somebody who
//! comes while another transaction with the same event is open waits for its end: the primary key
//! sees to that.
//!
//! A row is kept for as long as its event can come again: until walgate has stored that all below
//! it is done. Events that were done after that was stored (they had been set aside) are kept for
//! a day.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::PgLsn;

use super::failure::Error;
use super::name::quoted;
use super::session::Session;
use crate::envelope::Envelope;
use crate::lsn::{EventId, Lsn, Position};
use crate::sink::row::Origin;

/// Between two times at which rows are let go of that are needed no more.
const PRUNE_EVERY: Duration = Duration::from_secs(10);

/// Events that were set aside are kept for a day of the server's clock; but whatever that says,
/// nothing of them goes before walgate has run for this long, which is time to send them again.
const LATE_UNTIL: Duration = Duration::from_secs(3600);

/// The tables are made by these.
const STATE: &str = include_str!("../../../sql/warehouse/state.sql");

/// What makes the two tables by one process at a time.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('walgate'))";

/// See the module.
#[derive(Debug)]
pub(super) struct Applied {
    sink: String,
    /// The schema, quoted.
    schema: String,
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The numbers of the streams that events came from.
    streams: HashMap<Origin, i32>,
    /// All below is stored as done.
    floor: Position,
    pruned: Option<(Instant, Position)>,
}

impl Applied {
    pub(super) fn new(sink: &str, schema: &str) -> Self {
        let (sink, schema) = (sink.to_owned(), quoted(schema));
        Self { sink, schema, started: Instant::now(), inner: Mutex::default() }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Inner) -> T) -> T {
        use_it(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets what it knows of its tables.
    pub(super) fn forget(&self) {
        self.with(|inner| inner.streams.clear());
    }

    /// Everything below is stored as done: it will not come again.
    pub(super) fn settle(&self, floor: Position) {
        self.with(|inner| inner.floor = floor);
    }

    /// Returns the number of a stream. Makes the tables where they are not there.
    pub(super) async fn stream(
        &self,
        session: &mut Session<'_>,
        origin: &Origin,
    ) -> Result<i32, Error> {
        if let Some(known) = self.with(|inner| inner.streams.get(origin).copied()) {
            return Ok(known);
        }
        self.prepare(session).await?;
        let schema = &self.schema;
        let sql = format!(
            "INSERT INTO {schema}.streams (system, database, slot, sink) VALUES ($1, $2, $3, $4)
             ON CONFLICT (system, database, slot, sink) DO UPDATE SET sink = excluded.sink
             RETURNING stream"
        );
        let Origin { system, database, slot } = origin;
        let rows = session.query(&sql, &[system, database, slot, &self.sink]).await?;
        let row = rows.first().ok_or(Error::Lost(None))?;
        let stream = row.try_get(0)?;
        self.with(|inner| inner.streams.insert(origin.clone(), stream));
        Ok(stream)
    }

    async fn prepare(&self, session: &mut Session<'_>) -> Result<(), Error> {
        let schema = &self.schema;
        let there = "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL";
        let table = format!("{schema}.applied");
        let rows = session.query(there, &[schema, &table]).await?;
        let row = rows.first().ok_or(Error::Lost(None))?;
        let (has_schema, has_tables): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
        if has_tables {
            return Ok(());
        }
        session.batch("BEGIN").await?;
        session.batch(LOCK).await?;
        if !has_schema {
            session.batch(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
        }
        session.batch(&STATE.replace("{schema}", schema)).await?;
        session.batch("COMMIT").await
    }

    /// Notes events in the open transaction; returns, for each, whether it was not there yet.
    pub(super) async fn note(
        &self,
        session: &mut Session<'_>,
        stream: i32,
        events: &[Envelope],
    ) -> Result<Vec<bool>, Error> {
        let floor = self.with(|inner| inner.floor);
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let lsns: Vec<PgLsn> = ids.iter().map(|id| id.position.commit_lsn.0.into()).collect();
        let seqs: Vec<i64> = ids.iter().map(|id| id.position.seq.into()).collect();
        let timelines: Vec<i64> = ids.iter().map(|id| id.timeline.into()).collect();
        let late: Vec<bool> = ids.iter().map(|id| id.position < floor).collect();
        let sql = format!(
            "INSERT INTO {}.applied (stream, lsn, seq, timeline, is_late)
             SELECT $1, * FROM unnest($2::pg_lsn[], $3::int8[], $4::int8[], $5::boolean[])
             ON CONFLICT DO NOTHING RETURNING lsn, seq, timeline",
            self.schema
        );
        let rows = session.query(&sql, &[&stream, &lsns, &seqs, &timelines, &late]).await?;
        if rows.len() == events.len() {
            return Ok(vec![true; events.len()]);
        }
        let mut fresh = Vec::with_capacity(rows.len());
        for row in rows {
            let (lsn, seq, timeline): (PgLsn, i64, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            fresh.push((Lsn(lsn.into()), seq, timeline));
        }
        fresh.sort_unstable();
        let key = |id: &EventId| {
            (id.position.commit_lsn, i64::from(id.position.seq), i64::from(id.timeline))
        };
        Ok(ids.iter().map(|id| fresh.binary_search(&key(id)).is_ok()).collect())
    }

    /// Notes events in the open transaction, all of which should be new; else the server refuses.
    pub(super) async fn fill(
        &self,
        session: &mut Session<'_>,
        stream: i32,
        events: &[Envelope],
    ) -> Result<(), Error> {
        let floor = self.with(|inner| inner.floor);
        let mut lines = String::new();
        for EventId { position, timeline } in events.iter().map(|event| event.id) {
            let Position { commit_lsn, seq } = position;
            let late = if position < floor { 't' } else { 'f' };
            let _ = writeln!(lines, "{stream}\t{commit_lsn}\t{seq}\t{timeline}\t{late}");
        }
        let sql = format!(
            "COPY {}.applied (stream, lsn, seq, timeline, is_late) FROM STDIN",
            self.schema
        );
        session.copy(&sql, std::iter::once(lines.into())).await
    }

    /// Lets go of what can't come again, now and then. Outside of a transaction.
    pub(super) async fn prune(&self, session: &mut Session<'_>, stream: i32) -> Result<(), Error> {
        let now = Instant::now();
        let due = self.with(|inner| {
            let floor = inner.floor;
            let is_due = match inner.pruned {
                None => floor > Position::ZERO,
                Some((at, below)) => floor > below && now.duration_since(at) >= PRUNE_EVERY,
            };
            is_due.then(|| {
                inner.pruned = Some((now, floor));
                floor
            })
        });
        let Some(floor) = due else { return Ok(()) };
        let sql = format!(
            "DELETE FROM {}.applied WHERE stream = $1 AND (lsn, seq) < ($2, $3)
                 AND (NOT is_late OR $4 AND applied_at < now() - interval '1 day')",
            self.schema
        );
        let (lsn, seq) = (PgLsn::from(floor.commit_lsn.0), i64::from(floor.seq));
        let late_too = now.duration_since(self.started) >= LATE_UNTIL;
        session.execute(&sql, &[&stream, &lsn, &seq, &late_too]).await.map(drop)
    }
}
