//! What of another key may show whether the first piece or the sink is at fault.

use std::collections::HashSet;

use super::{Lane, Piece, Queued, Tracked, keys};

impl Lane {
    /// Finds something to send of another key than the first piece's: a piece that did not fail
    /// yet, or the first such event of the queue, which becomes a piece. With `again`, a piece
    /// that failed does as well. Returns the piece's index.
    pub(in crate::delivery) fn probe(&mut self, again: bool) -> Option<usize> {
        let untried = self.find_piece(|piece| piece.failures == 0);
        if untried.is_some() {
            return untried;
        }
        if let Some(tracked) = self.take_of_another_key() {
            self.pieces.push_back(Piece::new([tracked], None));
            return self.pieces.len().checked_sub(1);
        }
        if again { self.find_piece(|_| true) } else { None }
    }

    /// Returns the piece behind the first that shares no key with any before it and failed least.
    fn find_piece(&self, wanted: impl Fn(&Piece) -> bool) -> Option<usize> {
        let mut seen: HashSet<u64> = HashSet::new();
        let mut best: Option<(u32, usize)> = None;
        for (index, piece) in self.pieces.iter().enumerate() {
            let apart = piece.keys().all(|key| !seen.contains(&key));
            let better = best.is_none_or(|(failures, _)| piece.failures < failures);
            if index > 0 && apart && better && piece.joins.is_none() && wanted(piece) {
                best = Some((piece.failures, index));
            }
            seen.extend(piece.keys());
        }
        best.map(|(_, index)| index)
    }

    /// Takes the first event of the queue whose keys occur nowhere before it.
    fn take_of_another_key(&mut self) -> Option<Tracked> {
        if self.searched == 0 {
            self.searched_keys = self.pieces.iter().flat_map(Piece::keys).collect();
        }
        while let Some(queued) = self.queue.get(self.searched) {
            if matches!(queued, Queued::Mark(..)) {
                self.searched += 1;
                continue;
            }
            // Behind the place of another lane's event nothing may overtake it.
            let Queued::Event { tracked, joins: None, .. } = queued else { return None };
            let apart = keys(&tracked.envelope).all(|key| !self.searched_keys.contains(&key));
            self.searched_keys.extend(keys(&tracked.envelope));
            if !apart {
                self.searched += 1;
                continue;
            }
            let Some(Queued::Event { tracked, .. }) = self.queue.remove(self.searched) else {
                return None;
            };
            return Some(tracked);
        }
        None
    }

    /// The keys before the queue changed: a search has to start again.
    pub(in crate::delivery) fn forget_search(&mut self) {
        self.searched = 0;
        self.searched_keys.clear();
    }
}
