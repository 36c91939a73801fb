//! Frames built from values: what Postgres would send, for `walgate map --row`, loads and tests.

use std::sync::Arc;

use bytes::Bytes;

use super::Error;
use crate::change::Cell;
use crate::chunk::{Chunk, Operation, Transaction};
use crate::lsn::{Lsn, Oid, Timestamp, Xid};
use crate::relation::{Relation, ReplicaIdentity};

/// The old half of an update or a delete.
#[derive(Clone, Copy, Debug)]
pub enum Old<'a> {
    /// Only the key: NULL stands in every place outside it.
    Key(&'a [Cell<'a>]),
    /// The whole row.
    Full(&'a [Cell<'a>]),
}

/// Returns a chunk that holds one change of a table, whose message `frame` is. Its place in the log,
/// its time and its transaction are zero: nothing was committed.
///
/// # Errors
/// When the message is longer than a chunk can say.
pub fn chunk(
    relation: &Arc<Relation>,
    operation: Operation,
    frame: Vec<u8>,
) -> Result<Arc<Chunk>, Error> {
    let transaction = Transaction {
        commit_lsn: Lsn::ZERO,
        end_lsn: Some(Lsn::ZERO),
        xid: Some(Xid(0)),
        commit_time: Some(Timestamp(0)),
    };
    let (relation, frame) = (Some(Arc::clone(relation)), Bytes::from(frame));
    let chunk = Chunk::of_one(0, transaction, relation, 0, operation, frame);
    chunk.map(Arc::new).ok_or(Error::TooLong)
}

/// Appends an Insert message. An absent value is written as NULL.
///
/// # Errors
/// When there are more columns or longer values than the protocol can count.
pub fn insert(relation: Oid, new: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), Error> {
    out.push(b'I');
    out.extend(relation.0.to_be_bytes());
    out.push(b'N');
    tuple(new, out)
}

/// Appends an Update message.
///
/// # Errors
/// As [`insert`].
pub fn update(
    relation: Oid,
    old: Option<Old<'_>>,
    new: &[Cell<'_>],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.push(b'U');
    out.extend(relation.0.to_be_bytes());
    if let Some(old) = old {
        old_row(old, out)?;
    }
    out.push(b'N');
    tuple(new, out)
}

/// Appends a Delete message.
///
/// # Errors
/// As [`insert`].
pub fn delete(relation: Oid, old: Old<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    out.push(b'D');
    out.extend(relation.0.to_be_bytes());
    old_row(old, out)
}

/// Appends a Truncate message.
///
/// # Errors
/// When there are more tables than the protocol can count.
pub fn truncate(
    relations: &[Oid],
    cascade: bool,
    restart_identity: bool,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.push(b'T');
    out.extend(length(relations.len())?.to_be_bytes());
    out.push(u8::from(cascade) | (u8::from(restart_identity) << 1));
    for oid in relations {
        out.extend(oid.0.to_be_bytes());
    }
    Ok(())
}

/// Appends a Message message.
///
/// # Errors
/// When the content is longer than the protocol can count.
pub fn message(
    transactional: bool,
    lsn: Lsn,
    prefix: &str,
    content: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.push(b'M');
    out.push(u8::from(transactional));
    out.extend(lsn.0.to_be_bytes());
    string(prefix, out);
    out.extend(length(content.len())?.to_be_bytes());
    out.extend_from_slice(content);
    Ok(())
}

/// Appends a Begin message.
pub fn begin(commit_lsn: Lsn, commit_time: Timestamp, xid: Xid, out: &mut Vec<u8>) {
    out.push(b'B');
    out.extend(commit_lsn.0.to_be_bytes());
    out.extend(commit_time.0.to_be_bytes());
    out.extend(xid.0.to_be_bytes());
}

/// Appends a Commit message.
pub fn commit(commit_lsn: Lsn, end_lsn: Lsn, commit_time: Timestamp, out: &mut Vec<u8>) {
    out.extend([b'C', 0]);
    out.extend(commit_lsn.0.to_be_bytes());
    out.extend(end_lsn.0.to_be_bytes());
    out.extend(commit_time.0.to_be_bytes());
}

/// Appends a Relation message.
///
/// # Errors
/// When there are more columns than the protocol can count.
pub fn relation(relation: &Relation, out: &mut Vec<u8>) -> Result<(), Error> {
    out.push(b'R');
    out.extend(relation.oid.0.to_be_bytes());
    string(&relation.namespace, out);
    string(&relation.name, out);
    out.push(match relation.identity {
        ReplicaIdentity::Default => b'd',
        ReplicaIdentity::Nothing => b'n',
        ReplicaIdentity::Full => b'f',
        ReplicaIdentity::Index => b'i',
    });
    out.extend(columns(relation.columns.len())?.to_be_bytes());
    for column in &relation.columns {
        out.push(u8::from(column.in_identity));
        string(&column.name, out);
        out.extend(column.type_oid.0.to_be_bytes());
        out.extend(column.type_modifier.to_be_bytes());
    }
    Ok(())
}

fn old_row(old: Old<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let (marker, cells) = match old {
        Old::Key(cells) => (b'K', cells),
        Old::Full(cells) => (b'O', cells),
    };
    out.push(marker);
    tuple(cells, out)
}

fn tuple(cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend(columns(cells.len())?.to_be_bytes());
    for cell in cells {
        match cell {
            Cell::Value(text) => {
                out.push(b't');
                out.extend(length(text.len())?.to_be_bytes());
                out.extend_from_slice(text);
            }
            Cell::Null | Cell::Absent => out.push(b'n'),
            Cell::Unchanged => out.push(b'u'),
        }
    }
    Ok(())
}

/// A zero byte would end the string early on the wire; Postgres has none in names.
fn string(text: &str, out: &mut Vec<u8>) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

fn length(length: usize) -> Result<u32, Error> {
    u32::try_from(length).map_err(|_| Error::TooLong)
}

fn columns(count: usize) -> Result<u16, Error> {
    u16::try_from(count)
        .map_err(|_| Error::ColumnCount { expected: usize::from(u16::MAX), found: count })
}
