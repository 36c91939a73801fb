//! [`Pending`]: prepared transactions, and how far they let the slot move (pure).

use std::collections::HashMap;

use crate::lsn::{Lsn, Xid};

/// A prepared transaction whose changes are not known to be safe.
#[derive(Clone, Copy, Debug)]
struct Prepared {
    /// Where the record of `PREPARE TRANSACTION` starts: a server that is told more does not send
    /// what was done before it again.
    prepare_lsn: Lsn,
    /// Where its commit record ends, once that came.
    end_lsn: Option<Lsn>,
}

/// See the module. As many at most as there are transactions that are held.
#[derive(Debug, Default)]
pub(super) struct Pending(HashMap<Xid, Prepared>);

impl Pending {
    pub(super) fn prepared(&mut self, xid: Xid, prepare_lsn: Lsn) {
        self.0.insert(xid, Prepared { prepare_lsn, end_lsn: None });
    }

    pub(super) fn committed(&mut self, xid: Xid, end_lsn: Lsn) {
        if let Some(prepared) = self.0.get_mut(&xid) {
            prepared.end_lsn = Some(end_lsn);
        }
    }

    pub(super) fn rolled_back(&mut self, xid: Xid) {
        self.0.remove(&xid);
    }

    /// Returns how far the slot may move when all that commits before `safe` is.
    pub(super) fn bound(&mut self, safe: Lsn) -> Lsn {
        self.0.retain(|_, prepared| prepared.end_lsn.is_none_or(|end| safe < end));
        self.0.values().map(|prepared| prepared.prepare_lsn).fold(safe, Lsn::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_transaction_holds_the_slot_until_what_it_did_is_safe() {
        let mut pending = Pending::default();
        assert_eq!(pending.bound(Lsn(90)), Lsn(90));
        pending.prepared(Xid(1), Lsn(100));
        pending.prepared(Xid(2), Lsn(200));
        assert_eq!(pending.bound(Lsn(95)), Lsn(95));
        assert_eq!(pending.bound(Lsn(250)), Lsn(100));
        // That it commits alone does not do: it came, and is not safe yet.
        pending.committed(Xid(1), Lsn(300));
        assert_eq!(pending.bound(Lsn(299)), Lsn(100));
        assert_eq!(pending.bound(Lsn(300)), Lsn(200));
        pending.rolled_back(Xid(2));
        assert_eq!(pending.bound(Lsn(300)), Lsn(300));
    }
}
