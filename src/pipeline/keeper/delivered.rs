//! [`Deliveries`]: what was delivered and is not stored yet.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::delivery::{Record, Records, store_batches};

/// Rows that wait for a transaction; past it the oldest are given up, and it is said.
const ROWS_MAX: usize = 16_384;

/// Rows by sink, until a transaction has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Deliveries {
    rows: BTreeMap<String, Vec<Record>>,
    lost: u64,
}

impl Deliveries {
    /// Adds what a sink delivered since the last tick.
    pub(super) fn add(&mut self, sink: &str, records: Records) {
        self.lost += records.lost;
        if records.rows.is_empty() {
            return;
        }
        let rows = self.rows.entry(sink.to_owned()).or_default();
        rows.extend(records.rows);
        if rows.len() > ROWS_MAX {
            let given_up = rows.drain(..rows.len() - ROWS_MAX);
            self.lost += given_up.map(|row| row.count).sum::<u64>();
        }
    }

    /// Stores them, inside a transaction.
    pub(super) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.rows.iter().try_for_each(|(sink, rows)| store_batches(connection, sink, rows))
    }

    /// They are stored. Says so where some were not.
    pub(super) fn stored(&mut self) {
        self.rows.clear();
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            tracing::warn!(
                events = lost,
                "how these events were delivered is not kept: there was too much at a time"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Position;

    fn records(count: usize) -> Records {
        let row = Record {
            lane: Some(0),
            lanes: 1,
            first: Position::ZERO,
            last: Position::ZERO,
            count: 2,
            requests: 1,
            routes: Vec::new(),
            attempts: 1,
            replay: 0,
            started_us: 0,
            took_us: 0,
        };
        Records { rows: vec![row; count], lost: 0 }
    }

    #[test]
    fn what_can_not_be_stored_is_bounded_and_what_was_is_gone() {
        let mut deliveries = Deliveries::default();
        deliveries.add("a", records(ROWS_MAX));
        deliveries.add("b", records(1));
        assert_eq!(deliveries.lost, 0);
        deliveries.add("a", records(10));
        assert_eq!(deliveries.rows["a"].len(), ROWS_MAX);
        assert_eq!(deliveries.lost, 20);
        deliveries.stored();
        assert!(deliveries.rows.is_empty());
        assert_eq!(deliveries.lost, 0);
    }
}
