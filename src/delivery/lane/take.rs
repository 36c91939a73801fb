//! Taking events out of the lane, and putting them back.

use super::{Lane, Piece, Queued, Tracked, keys};
use crate::envelope::Envelope;
use crate::progress::ledger::Ordinal;

impl Lane {
    /// Takes a piece out.
    pub(in crate::delivery) fn take_piece(&mut self, index: usize) -> Option<Piece> {
        self.forget_search();
        self.pieces.remove(index)
    }

    /// Puts pieces where one was taken out, in order.
    pub(in crate::delivery) fn put_pieces(&mut self, index: usize, pieces: Vec<Piece>) {
        self.forget_search();
        for (offset, piece) in pieces.into_iter().enumerate() {
            self.pieces.insert((index + offset).min(self.pieces.len()), piece);
        }
    }

    /// Takes every event out that is not in flight, with the lane that waits for it.
    pub(in crate::delivery) fn drain(&mut self) -> Vec<(Tracked, Option<usize>)> {
        self.forget_search();
        let in_flight = self.flight.as_mut().map(|flight| std::mem::take(&mut flight.piece));
        let mut taken = Vec::new();
        for (index, piece) in std::mem::take(&mut self.pieces).into_iter().enumerate() {
            if Some(index) == in_flight {
                self.pieces.push_back(piece);
                continue;
            }
            let joins = piece.joins;
            taken.extend(piece.into_events().map(|tracked| (tracked, joins)));
        }
        for queued in std::mem::take(&mut self.queue) {
            match queued {
                Queued::Event { tracked, joins, .. } => taken.push((tracked, joins)),
                other => self.queue.push_back(other),
            }
        }
        taken
    }

    /// Takes every waiting event of `key` from the ordinal `from` on that is not in flight out of
    /// the lane.
    pub(in crate::delivery) fn take_key(
        &mut self,
        key: u64,
        from: Ordinal,
    ) -> Vec<(Tracked, Option<usize>)> {
        self.take(|ordinal, envelope, _| ordinal >= from && keys(envelope).any(|own| own == key))
    }

    /// Takes every event out of the lane that another lane has to come to as well, and that is not
    /// in flight.
    pub(in crate::delivery) fn take_joins(&mut self) -> Vec<(Tracked, Option<usize>)> {
        self.take(|_, _, joins| joins.is_some())
    }

    /// Takes every event like this that is not in flight out of the lane.
    fn take(
        &mut self,
        wanted: impl Fn(Ordinal, &Envelope, Option<usize>) -> bool,
    ) -> Vec<(Tracked, Option<usize>)> {
        self.forget_search();
        let mut taken = Vec::new();
        let in_flight = self.flight.map(|flight| flight.piece);
        let pieces = std::mem::take(&mut self.pieces);
        for (index, piece) in pieces.into_iter().enumerate() {
            let joins = piece.joins;
            let mut events = piece.ordinals.iter().zip(&piece.batch.events);
            let is_sent = Some(index) == in_flight;
            if is_sent || !events.any(|(ordinal, event)| wanted(*ordinal, event, joins)) {
                if is_sent {
                    self.flight.iter_mut().for_each(|flight| flight.piece = self.pieces.len());
                }
                self.pieces.push_back(piece);
                continue;
            }
            let Piece { failures, last_sent, isolating, .. } = piece;
            let (theirs, rest): (Vec<_>, Vec<_>) = piece
                .into_events()
                .partition(|event| wanted(event.ordinal, &event.envelope, joins));
            taken.extend(theirs.into_iter().map(|tracked| (tracked, joins)));
            if !rest.is_empty() {
                let rest = Piece { failures, last_sent, isolating, ..Piece::new(rest, joins) };
                self.pieces.push_back(rest);
            }
        }
        let queue = std::mem::take(&mut self.queue);
        for queued in queue {
            match queued {
                Queued::Event { tracked, joins, .. }
                    if wanted(tracked.ordinal, &tracked.envelope, joins) =>
                {
                    taken.push((tracked, joins));
                }
                other => self.queue.push_back(other),
            }
        }
        taken
    }
}
