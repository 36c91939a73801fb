//! [`Snapshot`]: which transactions a piece of a table was read without (pure).

use crate::lsn::Xid;

/// What a transaction sees, as `pg_current_snapshot()` says it.
///
/// Source: <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Everything below has ended, and is seen where it committed.
    xmin: u64,
    /// Nothing from here on is seen.
    xmax: u64,
    /// What was in progress between the two, rising.
    in_progress: Vec<u64>,
}

impl Snapshot {
    /// Reads `xmin:xmax:xip,xip`; none for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let list = parts.next()?;
        let numbers = list.split(',').filter(|number| !number.is_empty());
        let mut in_progress = numbers.map(|n| n.parse().ok()).collect::<Option<Vec<u64>>>()?;
        in_progress.sort_unstable();
        parts.next().is_none().then_some(Self { xmin, xmax, in_progress })
    }

    /// Returns what was in progress.
    pub fn in_progress(&self) -> impl Iterator<Item = Xid> {
        // The stream has no epochs either.
        self.in_progress.iter().map(|full| Xid(u32::try_from(full & 0xFFFF_FFFF).unwrap_or(0)))
    }

    /// Whether a transaction that committed is seen. The stream gives ids without their epoch: the
    /// one within 2^31 of this snapshot is meant.
    #[must_use]
    pub fn sees(&self, xid: Xid) -> bool {
        let full = self.widen(xid);
        full < self.xmin || (full < self.xmax && self.in_progress.binary_search(&full).is_err())
    }

    fn widen(&self, Xid(xid): Xid) -> u64 {
        const EPOCH: u64 = 1 << 32;
        const HALF: u64 = 1 << 31;
        let full = (self.xmax & !(EPOCH - 1)) | u64::from(xid);
        if full > self.xmax.saturating_add(HALF) {
            full.saturating_sub(EPOCH)
        } else if full.saturating_add(HALF) < self.xmax {
            full.saturating_add(EPOCH)
        } else {
            full
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_progress_or_came_later_is_not_seen() {
        let snapshot = Snapshot::parse("100:105:100,103").unwrap();
        for (xid, seen) in
            [(99, true), (100, false), (101, true), (103, false), (104, true), (105, false)]
        {
            assert_eq!(snapshot.sees(Xid(xid)), seen, "{xid}");
        }
        assert!(Snapshot::parse("575:575:").unwrap().sees(Xid(574)));
        for wrong in ["", "1:2", "1:2:x", "1:2:3:4", "a:2:"] {
            assert_eq!(Snapshot::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_without_its_epoch_is_the_one_nearby() {
        let epoch = 1_u64 << 32;
        let text = format!("{}:{}:{}", epoch + 5, epoch + 7, epoch + 5);
        let snapshot = Snapshot::parse(&text).unwrap();
        assert!(snapshot.sees(Xid(4)), "of this epoch");
        assert!(!snapshot.sees(Xid(5)));
        assert!(snapshot.sees(Xid(u32::MAX)), "of the epoch before");
        let text = format!("{}:{}:", epoch - 3, epoch - 2);
        assert!(!Snapshot::parse(&text).unwrap().sees(Xid(1)), "of the next epoch");
    }
}
