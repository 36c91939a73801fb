//! Versions of documents: external ones, which rise as commits did.

use crate::lsn::{Lsn, Position};

/// Bits beside the LSN. A commit's LSN is a multiple of 8, so that each has room for 8192 versions:
/// the first kibi for its changes, the rest for partial updates, each of which raises the version
/// that is there by one. LSNs below 2^53 (8 PiB of WAL) fit into the 63 bits that there are.
const BITS: u32 = 10;

/// Changes of one commit that are told apart.
const CHANGES_MAX: u64 = (1 << BITS) - 1;

/// Bits of an LSN that are 0.
const ALIGNED: u64 = 7;

/// Returns the version of a change.
pub(super) fn of(position: Position) -> u64 {
    let change = u64::from(position.seq).min(CHANGES_MAX);
    (position.commit_lsn.0 << BITS) | change
}

/// Whether a version was made by (or raised from) a change of the same commit.
pub(super) const fn is_of(version: u64, commit: Lsn) -> bool {
    (version >> BITS) & !ALIGNED == commit.0 & !ALIGNED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_as_commits_did_and_know_their_commit() {
        let at = |lsn: u64, seq: u32| of(Position::new(Lsn(lsn), seq));
        assert!(at(8, 0) < at(8, 1) && at(8, 1023) < at(16, 0));
        assert_eq!(at(8, 1023), at(8, u32::MAX));
        assert!(is_of(at(8, 5), Lsn(8)) && is_of(at(8, 1023) + 7000, Lsn(8)));
        assert!(!is_of(at(8, 5), Lsn(16)) && !is_of(at(16, 0), Lsn(8)));
        assert!(i64::try_from(at((1 << 53) - 8, 1)).is_ok());
    }
}
