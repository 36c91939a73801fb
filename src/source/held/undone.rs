//! [`Undone`]: which subtransactions of a transaction were rolled back (pure).

use crate::lsn::Xid;
use crate::source::Error;

/// So many rolled back subtransactions of one transaction are remembered: 16 MiB. One that has more
/// is for `streaming = "off"`, where the server leaves them out.
const UNDONE_MAX: usize = 4 << 20;

/// See the module. Sorted, as ids rise but for those that are nested.
#[derive(Debug, Default)]
pub(super) struct Undone(Vec<u32>);

impl Undone {
    pub(super) fn add(&mut self, Xid(xid): Xid) -> Result<(), Error> {
        if let Err(place) = self.0.binary_search(&xid) {
            if self.0.len() >= UNDONE_MAX {
                return Err(Error::TooManyUndone { count: UNDONE_MAX });
            }
            self.0.insert(place, xid);
        }
        Ok(())
    }

    #[inline]
    pub(super) fn has(&self, Xid(xid): Xid) -> bool {
        !self.0.is_empty() && self.0.binary_search(&xid).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_undone_in_any_order_is_known() {
        let mut undone = Undone::default();
        for xid in [5, 3, 9, 5, 4] {
            undone.add(Xid(xid)).unwrap();
        }
        let known: Vec<_> = (0..12).filter(|xid| undone.has(Xid(*xid))).collect();
        assert_eq!(known, [3, 4, 5, 9]);
    }
}
