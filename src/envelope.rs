//! [`Envelope`]: one mapped change, ready to send.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::chunk::{Chunk, Operation};
use crate::lsn::{EventId, Timestamp};

/// One event as a sink gets it: its JSON body and what delivery needs to know of it.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The event's identity.
    pub id: EventId,
    /// What was done.
    pub operation: Operation,
    /// The body to send: one JSON document without a line end.
    pub body: Bytes,
    /// Where the key's JSON lies in `body` in the full format; the key's own bytes otherwise.
    pub key: Bytes,
    /// Hash of table and key. Events of one key have one hash; of a table without a key, all have
    /// the table's. Its upper bits are the [table's](TableTag).
    pub key_hash: u64,
    /// Hash of table and old key, only when an update changed the key.
    pub before_key_hash: Option<u64>,
    /// The old key's JSON, only when an update changed the key: who keeps rows by their key deletes
    /// that one first. Boxed, since few have one and many wait.
    pub before_key: Option<Box<Bytes>>,
    /// Of an outbox: the JSON object of what is sent with the payload.
    /// Boxed, since few have one and many wait.
    pub outbox: Option<Box<Bytes>>,
    /// When the change committed.
    pub commit_time: Option<Timestamp>,
    /// The route that took it.
    pub route: Arc<RouteLabel>,
    /// The chunk it was read from: the original.
    pub chunk: Arc<Chunk>,
    /// Its entry in that chunk.
    pub entry: u32,
}

/// What is the same in the key hashes of a table's events: their upper 16 bits. Two tables may
/// share it; then a TRUNCATE of the one is ordered among the events of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableTag(u64);

impl TableTag {
    const BITS: u64 = 0xFFFF << 48;

    /// Returns the tag in a key hash.
    #[must_use]
    pub const fn of(key_hash: u64) -> Self {
        Self(key_hash & Self::BITS)
    }

    /// Returns the hash with this tag in it.
    #[must_use]
    pub const fn mark(self, hash: u64) -> u64 {
        (hash & !Self::BITS) | self.0
    }
}

/// What an event says of the road it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteLabel {
    /// The route's name.
    pub name: String,
    /// The mapping's name and version, where the route has one.
    pub mapping: Option<(String, u32)>,
}

impl Envelope {
    /// Returns what tells the events of its table from those of others.
    #[must_use]
    pub const fn table_tag(&self) -> TableTag {
        TableTag::of(self.key_hash)
    }

    /// Returns how much it weighs in a batch, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Returns the table's name as SQL would quote it; none for a logical message.
    #[must_use]
    pub fn table(&self) -> Option<String> {
        let entry = self.chunk.entries.get(self.entry as usize)?;
        self.chunk.relation(entry).map(|relation| relation.quoted_name())
    }

    /// Returns by what a receiver knows a repeat: the id with its mapping's version, and with which
    /// replay of an operator's it comes (0: none). `00000001-00000000017C8338-00000003-v3-r1`.
    #[must_use]
    pub fn repeat_id(&self, replay: u32) -> String {
        let mut id = self.id.to_string();
        // Writing to a string does not fail.
        if let Some((_, version)) = &self.route.mapping {
            let _ = write!(id, "-v{version}");
        }
        if replay > 0 {
            let _ = write!(id, "-r{replay}");
        }
        id
    }

    /// Returns a part of a body without copying it.
    #[must_use]
    pub fn slice(body: &Bytes, range: Range<usize>) -> Bytes {
        if range.start <= range.end && range.end <= body.len() {
            body.slice(range)
        } else {
            Bytes::new()
        }
    }
}
