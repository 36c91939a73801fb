//! [`Chunk`]: a piece of the stream as Postgres sent it, with an index of the changes in it.

use std::sync::Arc;

use bytes::Bytes;

use crate::lsn::{EventId, Lsn, Position, Timestamp, Xid};
use crate::relation::Relation;

/// A piece of the change stream: raw pgoutput messages in one buffer and an index of the changes.
///
/// A chunk may start and end inside a transaction. Nothing in it is parsed beyond what the index
/// holds: values stay Postgres text inside their frame until somebody needs them.
///
/// Invariant: positions of `entries` rise strictly, within a chunk and from chunk to chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The timeline on which these changes were written.
    pub timeline: u32,
    /// The pgoutput messages of the changes (`I U D T M`, without the XLogData header), end to end.
    pub frames: Bytes,
    /// The transactions the changes belong to, in commit order. A message outside a transaction
    /// has an entry of its own here: from the last byte of its record to its end, no xid, no time.
    pub transactions: Vec<Transaction>,
    /// The table versions the changes refer to.
    pub relations: Vec<Arc<Relation>>,
    /// One a change, in the order sent; a TRUNCATE of several tables has one a table.
    pub entries: Vec<Entry>,
    /// Of a piece of a load: the names of the routes that it is for; none: all.
    pub audience: Option<Arc<[String]>>,
}

/// A transaction with at least one change, or its end, in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Where its commit record starts.
    pub commit_lsn: Lsn,
    /// Where its commit record ends, known once its Commit message is in this chunk; until then
    /// the transaction goes on in the next chunk.
    pub end_lsn: Option<Lsn>,
    /// Its id; none for a message outside a transaction.
    pub xid: Option<Xid>,
    /// When it committed; none for a message outside a transaction.
    pub commit_time: Option<Timestamp>,
}

/// Where one change lies in its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its pgoutput message starts in `frames`, in bytes.
    pub offset: u32,
    /// How long the message is, in bytes.
    pub length: u32,
    /// Index into `transactions`.
    pub transaction: u32,
    /// Index into `relations`; none for a logical message.
    pub relation: Option<u32>,
    /// The change's place in its transaction, from 0.
    pub seq: u32,
    /// What was done.
    pub operation: Operation,
}

/// What a change does. Named as the event's `op` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A row that was there before the stream began.
    Read,
    /// A new row.
    Insert,
    /// A changed row.
    Update,
    /// A row that is gone.
    Delete,
    /// A table that was emptied.
    Truncate,
    /// A logical message (`pg_logical_emit_message`).
    Message,
}

impl Operation {
    /// Each of them, where its [`number`](Self::number) says.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Insert, Self::Update, Self::Delete, Self::Truncate, Self::Message];

    /// Returns its place in [`ALL`](Self::ALL). The journal's files hold these numbers: one that
    /// is given out stays.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Read => 0,
            Self::Insert => 1,
            Self::Update => 2,
            Self::Delete => 3,
            Self::Truncate => 4,
            Self::Message => 5,
        }
    }

    /// Returns the event's word: `read`, `insert`, `update`, `delete`, `truncate`, `message`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Message => "message",
        }
    }
}

impl Chunk {
    /// Returns a chunk of one change, whose pgoutput message `frame` is. None where that is longer
    /// than an entry can say.
    #[must_use]
    pub fn of_one(
        timeline: u32,
        transaction: Transaction,
        relation: Option<Arc<Relation>>,
        seq: u32,
        operation: Operation,
        frame: Bytes,
    ) -> Option<Self> {
        let entry = Entry {
            offset: 0,
            length: u32::try_from(frame.len()).ok()?,
            transaction: 0,
            relation: relation.as_ref().map(|_| 0),
            seq,
            operation,
        };
        Some(Self {
            timeline,
            frames: frame,
            transactions: vec![transaction],
            relations: relation.into_iter().collect(),
            entries: vec![entry],
            audience: None,
        })
    }

    /// Returns the pgoutput message of an entry; empty should the index lie (a decoder then says so).
    #[must_use]
    pub fn frame(&self, entry: &Entry) -> &[u8] {
        let start = entry.offset as usize;
        self.frames.get(start..start.saturating_add(entry.length as usize)).unwrap_or_default()
    }

    /// Returns the transaction of an entry.
    #[must_use]
    pub fn transaction(&self, entry: &Entry) -> Option<&Transaction> {
        self.transactions.get(entry.transaction as usize)
    }

    /// Returns the table version of an entry; none for a logical message.
    #[must_use]
    pub fn relation(&self, entry: &Entry) -> Option<&Arc<Relation>> {
        self.relations.get(entry.relation? as usize)
    }

    /// Returns the place of an entry in commit order.
    #[must_use]
    pub fn position(&self, entry: &Entry) -> Position {
        let commit_lsn = self.transaction(entry).map_or(Lsn::ZERO, |t| t.commit_lsn);
        Position::new(commit_lsn, entry.seq)
    }

    /// Returns the id of an entry's event.
    #[must_use]
    pub fn event_id(&self, entry: &Entry) -> EventId {
        EventId { timeline: self.timeline, position: self.position(entry) }
    }

    /// Whether it is meant for a route, which goes by the names that are given.
    #[must_use]
    pub fn is_for(&self, is_called: impl Fn(&str) -> bool) -> bool {
        self.audience.as_ref().is_none_or(|names| names.iter().any(|name| is_called(name)))
    }

    /// Returns the position of the first change, none when the chunk only ends a transaction.
    #[must_use]
    pub fn first_position(&self) -> Option<Position> {
        self.entries.first().map(|entry| self.position(entry))
    }

    /// Returns the lowest position behind everything in this chunk: behind the whole last
    /// transaction when its commit is here, else behind the last change.
    #[must_use]
    pub fn end_position(&self) -> Position {
        match self.transactions.last() {
            Some(Transaction { commit_lsn, end_lsn: Some(_), .. }) => {
                Position::after_transaction(*commit_lsn)
            }
            _ => self.entries.last().map_or(Position::ZERO, |entry| self.position(entry).next()),
        }
    }

    /// Returns about how much memory it holds, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.frames.len()
            + self.entries.len() * size_of::<Entry>()
            + self.transactions.len() * size_of::<Transaction>()
            + 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Oid;
    use crate::relation::ReplicaIdentity;

    #[test]
    fn a_chunk_of_one_change_gives_back_what_it_was_made_of() {
        let transaction =
            Transaction { commit_lsn: Lsn(7), end_lsn: None, xid: Some(Xid(1)), commit_time: None };
        let relation = Arc::new(Relation {
            oid: Oid(9),
            namespace: "public".to_owned(),
            name: "t".to_owned(),
            identity: ReplicaIdentity::Default,
            columns: Vec::new(),
            primary_key: Vec::new(),
            formerly: None,
        });
        for relation in [Some(relation), None] {
            let frame = Bytes::from_static(b"any");
            let chunk =
                Chunk::of_one(2, transaction, relation.clone(), 3, Operation::Update, frame);
            let chunk = chunk.unwrap();
            let [entry] = chunk.entries[..] else { panic!("not one change") };
            assert_eq!((chunk.frame(&entry), entry.operation), (&b"any"[..], Operation::Update));
            assert_eq!(chunk.transaction(&entry), Some(&transaction));
            assert_eq!(chunk.relation(&entry), relation.as_ref());
            let position = Position::new(Lsn(7), 3);
            assert_eq!(chunk.event_id(&entry), EventId { timeline: 2, position });
        }
    }

    #[test]
    fn each_operation_keeps_the_number_that_is_in_the_files() {
        let words = Operation::ALL.map(Operation::as_str);
        assert_eq!(words, ["read", "insert", "update", "delete", "truncate", "message"]);
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(operation.number()), place);
        }
    }
}
