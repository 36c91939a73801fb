//! What a lane holds, to be compared with what is counted of it.

use super::{Lane, Piece, Queued, weight};
use crate::lsn::EventId;
use crate::progress::ledger::Ordinal;

impl Lane {
    /// The marks, and how many events another lane has to come to, and what all weighs.
    pub(in crate::delivery) fn check(&self) -> (Vec<EventId>, u64, u64, Vec<Ordinal>) {
        let mut joined = self.pieces.iter().filter(|piece| piece.joins.is_some()).count() as u64;
        let mut bytes: u64 = self.pieces.iter().map(Piece::bytes).sum();
        let (mut marks, mut holds) = (Vec::new(), Vec::new());
        let mut last = 0;
        for queued in &self.queue {
            assert!(queued.ordinal() >= last, "not in order");
            last = queued.ordinal();
            match queued {
                Queued::Event { tracked, joins, .. } => {
                    joined += u64::from(joins.is_some());
                    bytes += weight(&tracked.envelope);
                }
                Queued::Hold(ordinal) => holds.push(*ordinal),
                Queued::Mark(_, id) => marks.push(*id),
            }
        }
        (marks, joined, bytes, holds)
    }
}
