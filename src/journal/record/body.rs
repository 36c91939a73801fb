//! The body of a record: transactions, table versions, the index, the frames.
//!
//! The index is most of it where rows are small, so an entry is a byte of flags and only those
//! numbers that do not follow from the entry before: mostly two bytes in all.

use std::sync::Arc;

use bytes::Bytes;

use super::Error;
use crate::chunk::{Chunk, Entry, Operation, Transaction};
use crate::lsn::{Lsn, Oid, Position, Timestamp, Xid};
use crate::relation::{Column, Kind, Relation, ReplicaIdentity, TableName};

/// Types nest; what nests deeper than this was not written by us.
const KIND_DEPTH_MAX: u8 = 32;

const IDENTITIES: [ReplicaIdentity; 4] = [
    ReplicaIdentity::Default,
    ReplicaIdentity::Nothing,
    ReplicaIdentity::Full,
    ReplicaIdentity::Index,
];

/// Flags of an entry, above its operation: a number that does not follow is written out.
const OFFSET: u8 = 0x08;
const TRANSACTION: u8 = 0x10;
const RELATION: u8 = 0x20;
const SEQ: u8 = 0x40;

/// Writes the chunk without its positions' checks.
pub(super) fn encode(chunk: &Chunk, out: &mut Vec<u8>) -> Result<(), Error> {
    out.reserve(chunk.frames.len() + chunk.entries.len() * 4 + 256);
    number(u64::from(chunk.timeline), out);
    audience(chunk.audience.as_deref(), out);
    number(chunk.transactions.len() as u64, out);
    for transaction in &chunk.transactions {
        out.extend(transaction.commit_lsn.0.to_le_bytes());
        optional(transaction.end_lsn.map(|lsn| lsn.0.to_le_bytes()), out);
        optional(transaction.xid.map(|xid| xid.0.to_le_bytes()), out);
        optional(transaction.commit_time.map(|time| time.0.to_le_bytes()), out);
    }
    number(chunk.relations.len() as u64, out);
    for relation in &chunk.relations {
        encode_relation(relation, out);
    }
    number(chunk.entries.len() as u64, out);
    let mut expected = Expected::default();
    for entry in &chunk.entries {
        expected.encode(entry, out);
    }
    u32::try_from(chunk.frames.len()).map_err(|_| Error::TooLarge)?;
    number(chunk.frames.len() as u64, out);
    out.extend_from_slice(&chunk.frames);
    Ok(())
}

/// Reads the chunk; the frames stay where they are.
pub(super) fn decode(raw: Bytes) -> Result<Chunk, Error> {
    let mut bytes = Cursor::new(&raw, "the body");
    let timeline = bytes.small()?;
    let audience = bytes.optional(|bytes| {
        let count = bytes.count(1)?;
        (0..count).map(|_| bytes.text()).collect::<Result<Arc<[String]>, _>>()
    })?;
    let count = bytes.count(11)?;
    let transactions = (0..count).map(|_| transaction(&mut bytes)).collect::<Result<_, _>>()?;
    let count = bytes.count(8)?;
    let relations =
        (0..count).map(|_| relation(&mut bytes).map(Arc::new)).collect::<Result<_, _>>()?;
    let count = bytes.count(2)?;
    let mut entries = Vec::with_capacity(count);
    let mut expected = Expected::default();
    for _ in 0..count {
        entries.push(expected.decode(&mut bytes)?);
    }
    let length = bytes.count(1)?;
    if length != bytes.rest.len() {
        return Err(Error::Invalid("the length of the frames"));
    }
    let frames = raw.slice(raw.len() - length..);
    Ok(Chunk { timeline, frames, transactions, relations, entries, audience })
}

/// What the next entry is like when nothing changes.
#[derive(Default)]
struct Expected {
    offset: u32,
    transaction: u32,
    relation: Option<u32>,
    seq: u32,
}

impl Expected {
    fn after(entry: &Entry) -> Self {
        Self {
            offset: entry.offset.wrapping_add(entry.length),
            transaction: entry.transaction,
            relation: entry.relation,
            seq: entry.seq.wrapping_add(1),
        }
    }

    fn encode(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        let mut flags = entry.operation.number();
        let differs = [
            (OFFSET, entry.offset != self.offset),
            (TRANSACTION, entry.transaction != self.transaction),
            (RELATION, entry.relation != self.relation),
            (SEQ, entry.seq != self.seq),
        ];
        for (flag, _) in differs.iter().filter(|(_, differs)| *differs) {
            flags |= flag;
        }
        out.push(flags);
        number(u64::from(entry.length), out);
        if flags & OFFSET != 0 {
            number(u64::from(entry.offset), out);
        }
        if flags & TRANSACTION != 0 {
            number(u64::from(entry.transaction), out);
        }
        if flags & RELATION != 0 {
            number(entry.relation.map_or(0, |index| u64::from(index) + 1), out);
        }
        if flags & SEQ != 0 {
            number(u64::from(entry.seq), out);
        }
        *self = Self::after(entry);
    }

    fn decode(&mut self, bytes: &mut Cursor<'_>) -> Result<Entry, Error> {
        let flags = bytes.u8()?;
        let operation = Operation::ALL.get(usize::from(flags & 0x07));
        let length = bytes.small()?;
        let offset = if flags & OFFSET == 0 { self.offset } else { bytes.small()? };
        let transaction =
            if flags & TRANSACTION == 0 { self.transaction } else { bytes.small()? };
        let relation = if flags & RELATION == 0 {
            self.relation
        } else {
            let index = bytes.number()?.checked_sub(1);
            let index = index.map(u32::try_from).transpose();
            index.map_err(|_| Error::Invalid("the relation of an entry"))?
        };
        let seq = if flags & SEQ == 0 { self.seq } else { bytes.small()? };
        let operation = *operation.ok_or(Error::Invalid("the operation of an entry"))?;
        let entry = Entry { offset, length, transaction, relation, seq, operation };
        *self = Self::after(&entry);
        Ok(entry)
    }
}

fn transaction(bytes: &mut Cursor<'_>) -> Result<Transaction, Error> {
    Ok(Transaction {
        commit_lsn: Lsn(bytes.u64()?),
        end_lsn: bytes.optional(Cursor::u64)?.map(Lsn),
        xid: bytes.optional(Cursor::u32)?.map(Xid),
        commit_time: bytes.optional(Cursor::u64)?.map(|time| Timestamp(time.cast_signed())),
    })
}

fn audience(names: Option<&[String]>, out: &mut Vec<u8>) {
    out.push(u8::from(names.is_some()));
    if let Some(names) = names {
        number(names.len() as u64, out);
        names.iter().for_each(|name| text(name, out));
    }
}

fn encode_relation(relation: &Relation, out: &mut Vec<u8>) {
    number(u64::from(relation.oid.0), out);
    text(&relation.namespace, out);
    text(&relation.name, out);
    out.push(match relation.identity {
        ReplicaIdentity::Default => 0,
        ReplicaIdentity::Nothing => 1,
        ReplicaIdentity::Full => 2,
        ReplicaIdentity::Index => 3,
    });
    number(relation.columns.len() as u64, out);
    for column in &relation.columns {
        text(&column.name, out);
        number(u64::from(column.type_oid.0), out);
        out.extend(column.type_modifier.to_le_bytes());
        out.push(u8::from(column.in_identity));
        encode_kind(&column.kind, out);
    }
    number(relation.primary_key.len() as u64, out);
    for index in &relation.primary_key {
        number(u64::from(*index), out);
    }
    out.push(u8::from(relation.formerly.is_some()));
    if let Some(TableName { namespace, name }) = &relation.formerly {
        text(namespace, out);
        text(name, out);
    }
}

fn relation(bytes: &mut Cursor<'_>) -> Result<Relation, Error> {
    let oid = Oid(bytes.small()?);
    let namespace = bytes.text()?;
    let name = bytes.text()?;
    let identity =
        *IDENTITIES.get(usize::from(bytes.u8()?)).ok_or(Error::Invalid("the replica identity"))?;
    let count = bytes.count(8)?;
    let columns = (0..count)
        .map(|_| {
            Ok(Column {
                name: bytes.text()?,
                type_oid: Oid(bytes.small()?),
                type_modifier: bytes.u32()?.cast_signed(),
                in_identity: bytes.u8()? != 0,
                kind: kind(bytes, 0)?,
            })
        })
        .collect::<Result<_, Error>>()?;
    let count = bytes.count(1)?;
    let primary_key = (0..count)
        .map(|_| {
            u16::try_from(bytes.number()?).map_err(|_| Error::Invalid("a primary key's column"))
        })
        .collect::<Result<_, _>>()?;
    let formerly =
        bytes.optional(|bytes| Ok(TableName { namespace: bytes.text()?, name: bytes.text()? }))?;
    Ok(Relation { oid, namespace, name, identity, columns, primary_key, formerly })
}

fn encode_kind(kind: &Kind, out: &mut Vec<u8>) {
    match kind {
        Kind::Integer => out.push(0),
        Kind::Numeric => out.push(1),
        Kind::Float => out.push(2),
        Kind::Boolean => out.push(3),
        Kind::Date => out.push(4),
        Kind::Timestamp => out.push(5),
        Kind::TimestampTz => out.push(6),
        Kind::Json => out.push(7),
        Kind::Bytea => out.push(8),
        Kind::Array { element, delimiter } => {
            out.extend([9, *delimiter]);
            encode_kind(element, out);
        }
        Kind::Composite { fields } => {
            out.push(10);
            number(fields.len() as u64, out);
            for (name, kind) in fields {
                text(name, out);
                encode_kind(kind, out);
            }
        }
        Kind::Hstore => out.push(11),
        Kind::Text => out.push(12),
    }
}

fn kind(bytes: &mut Cursor<'_>, depth: u8) -> Result<Kind, Error> {
    if depth > KIND_DEPTH_MAX {
        return Err(Error::Invalid("the depth of a type"));
    }
    Ok(match bytes.u8()? {
        0 => Kind::Integer,
        1 => Kind::Numeric,
        2 => Kind::Float,
        3 => Kind::Boolean,
        4 => Kind::Date,
        5 => Kind::Timestamp,
        6 => Kind::TimestampTz,
        7 => Kind::Json,
        8 => Kind::Bytea,
        9 => {
            let delimiter = bytes.u8()?;
            Kind::Array { element: Box::new(kind(bytes, depth + 1)?), delimiter }
        }
        10 => {
            let count = bytes.count(2)?;
            let fields = (0..count)
                .map(|_| Ok((bytes.text()?, kind(bytes, depth + 1)?)))
                .collect::<Result<_, Error>>()?;
            Kind::Composite { fields }
        }
        11 => Kind::Hstore,
        12 => Kind::Text,
        _ => return Err(Error::Invalid("a type's kind")),
    })
}

/// Writes seven bits a byte, the lowest first.
fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn text(value: &str, out: &mut Vec<u8>) {
    number(value.len() as u64, out);
    out.extend_from_slice(value.as_bytes());
}

fn optional<const N: usize>(value: Option<[u8; N]>, out: &mut Vec<u8>) {
    out.push(u8::from(value.is_some()));
    out.extend(value.into_iter().flatten());
}

/// Reads from the front; every read can end too early, none can panic.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    part: &'static str,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8], part: &'static str) -> Self {
        Self { rest: bytes, part }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or(Error::Truncated(self.part))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated(self.part))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn position(&mut self) -> Result<Position, Error> {
        Ok(Position::new(Lsn(self.u64()?), self.u32()?))
    }

    fn number(&mut self) -> Result<u64, Error> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Invalid("a number of more than 64 bits"))
    }

    fn small(&mut self) -> Result<u32, Error> {
        u32::try_from(self.number()?).map_err(|_| Error::Invalid("a number of more than 32 bits"))
    }

    /// Reads how many things of at least `least` bytes follow; more than the bytes can hold is
    /// refused before anything is allocated.
    fn count(&mut self, least: usize) -> Result<usize, Error> {
        let count = usize::try_from(self.number()?).map_err(|_| Error::TooLarge)?;
        if count > self.rest.len() / least {
            return Err(Error::Truncated(self.part));
        }
        Ok(count)
    }

    fn text(&mut self) -> Result<String, Error> {
        let length = self.count(1)?;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::Invalid("a name that is not UTF-8"))
    }

    fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Error::Invalid("a flag")),
        }
    }
}
