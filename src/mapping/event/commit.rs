//! [`CommitText`]: what an event says of its transaction, written once for all of its rows.

use super::super::rule::Format;
use super::super::text::write_hex;
use super::{cloudevents, debezium, walgate};
use crate::chunk::Transaction;

/// Pieces of the events of one transaction, kept while its rows pass. What they hold is for the
/// format to say.
#[derive(Debug)]
pub(in crate::mapping) struct CommitText {
    format: Format,
    key: Option<(u32, Transaction)>,
    pub(super) id: Vec<u8>,
    pub(super) commit: Vec<u8>,
    pub(super) xid: Vec<u8>,
    pub(super) time: Vec<u8>,
}

impl CommitText {
    /// Begins with no transaction.
    pub(in crate::mapping) fn new(format: Format) -> Self {
        let [id, commit, xid, time] = [const { Vec::new() }; 4];
        Self { format, key: None, id, commit, xid, time }
    }

    /// Makes the pieces those of `transaction` on `timeline`.
    #[inline]
    pub(in crate::mapping) fn turn_to(&mut self, timeline: u32, transaction: &Transaction) {
        if self.key == Some((timeline, *transaction)) {
            return;
        }
        self.key = Some((timeline, *transaction));
        for piece in [&mut self.id, &mut self.commit, &mut self.xid, &mut self.time] {
            piece.clear();
        }
        match self.format {
            Format::Walgate => walgate::commit(self, timeline, transaction),
            Format::Mapped => {}
            Format::Debezium => debezium::commit(self, transaction),
            Format::CloudEvents => cloudevents::commit(self, timeline, transaction),
        }
    }

    /// Appends an event's start up to the id's end, without the quote behind it.
    pub(super) fn write_id(&self, seq: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        write_hex(u64::from(seq), 8, out);
    }

    /// `00000001-00000000017C8338-`
    pub(super) fn push_id(&mut self, timeline: u32, lsn: u64) {
        write_hex(u64::from(timeline), 8, &mut self.id);
        self.id.push(b'-');
        write_hex(lsn, 16, &mut self.id);
        self.id.push(b'-');
    }
}
