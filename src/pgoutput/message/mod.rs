//! [`Message`]: every message of pgoutput protocol 1, one struct a message, borrowed from its frame.
//!
//! Wire shapes: <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>.

use super::Error;
use super::cursor::Cursor;
use crate::change::Cell;
use crate::lsn::{Lsn, Oid, Timestamp, Xid};
use crate::relation::ReplicaIdentity;

/// One pgoutput message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// `B`: a transaction starts.
    Begin(Begin),
    /// `C`: it is over.
    Commit(Commit),
    /// `O`: the transaction came from another server.
    Origin(Origin<'a>),
    /// `R`: the shape of a table, before its first row and after every change of it.
    Relation(RelationMessage<'a>),
    /// `Y`: the name of a type that is not built in.
    Type(Type<'a>),
    /// `I`: a new row.
    Insert(Insert<'a>),
    /// `U`: a changed row.
    Update(Update<'a>),
    /// `D`: a row that is gone.
    Delete(Delete<'a>),
    /// `T`: tables that were emptied.
    Truncate(Truncate),
    /// `M`: a logical message.
    Logical(LogicalMessage<'a>),
    /// `b`: a transaction that will be prepared starts (slots made with `two_phase`).
    BeginPrepare(BeginPrepare<'a>),
    /// `P`: it is prepared.
    Prepare(Prepare<'a>),
    /// `K`: a prepared transaction commits.
    CommitPrepared(CommitPrepared<'a>),
    /// `r`: a prepared transaction rolls back.
    RollbackPrepared(RollbackPrepared<'a>),
    /// `p`: a streamed transaction is prepared.
    StreamPrepare(Prepare<'a>),
}

/// Wire: `Byte1('B') Int64(final LSN) Int64(commit time) Int32(xid)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Where the commit record starts.
    pub commit_lsn: Lsn,
    /// When it committed.
    pub commit_time: Timestamp,
    /// The transaction's id.
    pub xid: Xid,
}

/// Wire: `Byte1('C') Int8(flags, 0) Int64(commit LSN) Int64(end LSN) Int64(commit time)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record starts.
    pub commit_lsn: Lsn,
    /// Where it ends: what may be confirmed.
    pub end_lsn: Lsn,
    /// When it committed.
    pub commit_time: Timestamp,
}

/// Wire: `Byte1('O') Int64(LSN) String(name)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Where it committed on the server it came from.
    pub lsn: Lsn,
    /// The origin's name.
    pub name: &'a str,
}

/// Wire: `Byte1('R') Int32(oid) String(namespace) String(name) Int8(identity) Int16(columns)`, then
/// a column: `Int8(flags) String(name) Int32(type oid) Int32(type modifier)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationMessage<'a> {
    /// The table's oid.
    pub oid: Oid,
    /// The schema; `pg_catalog` is spelled out though the wire has an empty string for it.
    pub namespace: &'a str,
    /// The table's name.
    pub name: &'a str,
    /// `REPLICA IDENTITY`.
    pub identity: ReplicaIdentity,
    /// The columns in the order in which their values are sent.
    pub columns: Vec<RelationColumn<'a>>,
}

/// A column of a Relation message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    /// Part of the replica identity.
    pub in_identity: bool,
    /// The column's name.
    pub name: &'a str,
    /// The type's oid.
    pub type_oid: Oid,
    /// The type modifier, -1 when there is none.
    pub type_modifier: i32,
}

/// Wire: `Byte1('Y') Int32(oid) String(namespace) String(name)`. Of a domain it has the domain's
/// oid and the base type's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type<'a> {
    /// The type's oid.
    pub oid: Oid,
    /// The schema; `pg_catalog` is spelled out.
    pub namespace: &'a str,
    /// The type's name.
    pub name: &'a str,
}

/// Wire: `Byte1('I') Int32(relation) Byte1('N') TupleData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insert<'a> {
    /// The table's oid.
    pub relation: Oid,
    /// The new row.
    pub new: Tuple<'a>,
}

/// Wire: `Byte1('U') Int32(relation) [Byte1('K'|'O') TupleData] Byte1('N') TupleData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// The table's oid.
    pub relation: Oid,
    /// The old key, when it changed.
    pub key: Option<Tuple<'a>>,
    /// The old row, with `REPLICA IDENTITY FULL`.
    pub old: Option<Tuple<'a>>,
    /// The new row.
    pub new: Tuple<'a>,
}

/// Wire: `Byte1('D') Int32(relation) Byte1('K'|'O') TupleData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// The table's oid.
    pub relation: Oid,
    /// The old key; exactly one of `key` and `old` is there.
    pub key: Option<Tuple<'a>>,
    /// The old row, with `REPLICA IDENTITY FULL`.
    pub old: Option<Tuple<'a>>,
}

/// Wire: `Byte1('T') Int32(relations) Int8(options: 1 cascade, 2 restart identity) Int32(oid)…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// `CASCADE`.
    pub cascade: bool,
    /// `RESTART IDENTITY`.
    pub restart_identity: bool,
    /// The tables' oids.
    pub relations: Vec<Oid>,
}

/// Wire: `Byte1('M') Int8(flags: 1 transactional) Int64(LSN) String(prefix) Int32(length) Byten`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogicalMessage<'a> {
    /// Part of the transaction around it.
    pub transactional: bool,
    /// Where the message lies in the log.
    pub lsn: Lsn,
    /// Its prefix.
    pub prefix: &'a str,
    /// Its content: any bytes.
    pub content: &'a [u8],
}

/// Wire: `Byte1('b') Int64(prepare LSN) Int64(end LSN) Int64(prepare time) Int32(xid) String(gid)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeginPrepare<'a> {
    /// Where the prepare record starts.
    pub prepare_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When it was prepared.
    pub prepare_time: Timestamp,
    /// The transaction's id.
    pub xid: Xid,
    /// The name given to `PREPARE TRANSACTION`.
    pub gid: &'a str,
}

/// Wire: `Byte1('P'|'p') Int8(flags, 0) Int64(prepare LSN) Int64(end LSN) Int64(prepare time)
/// Int32(xid) String(gid)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare<'a> {
    /// Where the prepare record starts.
    pub prepare_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When it was prepared.
    pub prepare_time: Timestamp,
    /// The transaction's id.
    pub xid: Xid,
    /// The name given to `PREPARE TRANSACTION`.
    pub gid: &'a str,
}

/// Wire: `Byte1('K') Int8(flags, 0) Int64(commit LSN) Int64(end LSN) Int64(commit time) Int32(xid)
/// String(gid)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPrepared<'a> {
    /// Where the record of `COMMIT PREPARED` starts.
    pub commit_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When it committed.
    pub commit_time: Timestamp,
    /// The transaction's id.
    pub xid: Xid,
    /// The name given to `PREPARE TRANSACTION`.
    pub gid: &'a str,
}

/// Wire: `Byte1('r') Int8(flags, 0) Int64(prepare end LSN) Int64(rollback end LSN)
/// Int64(prepare time) Int64(rollback time) Int32(xid) String(gid)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollbackPrepared<'a> {
    /// Where the prepare record ended.
    pub prepare_end_lsn: Lsn,
    /// Where the record of `ROLLBACK PREPARED` ends.
    pub rollback_end_lsn: Lsn,
    /// When it was prepared.
    pub prepare_time: Timestamp,
    /// When it was rolled back.
    pub rollback_time: Timestamp,
    /// The transaction's id.
    pub xid: Xid,
    /// The name given to `PREPARE TRANSACTION`.
    pub gid: &'a str,
}

/// A row as it lies in its frame, checked to its last byte.
///
/// Wire: `TupleData = Int16(columns)`, then a column: `Byte1('n')` NULL, `Byte1('u')` unchanged
/// TOAST, or `Byte1('t') Int32(length) Byten` text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    data: &'a [u8],
}

impl<'a> Tuple<'a> {
    /// Returns how many columns it has.
    #[must_use]
    pub const fn columns(self) -> u16 {
        self.columns
    }

    /// Returns the values in order. In an old key image, what lies outside the key comes as NULL,
    /// as it does on the wire.
    #[must_use]
    pub const fn cells(self) -> TupleCells<'a> {
        TupleCells { remaining: self.columns, cursor: Cursor::new(self.data) }
    }
}

/// The values of a [`Tuple`].
#[derive(Clone, Copy, Debug)]
pub struct TupleCells<'a> {
    remaining: u16,
    cursor: Cursor<'a>,
}

impl<'a> Iterator for TupleCells<'a> {
    type Item = Cell<'a>;

    fn next(&mut self) -> Option<Cell<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        cell(&mut self.cursor).ok()
    }
}

/// Reads one frame: a pgoutput message without the XLogData header.
///
/// # Errors
/// When it is not a whole message of protocol 1 with text values, or has bytes left over.
pub fn parse(frame: &[u8]) -> Result<Message<'_>, Error> {
    let mut cursor = Cursor::new(frame);
    let kind = cursor.byte("kind").map_err(|_| Error::Empty)?;
    let cursor = &mut cursor;
    let message = match kind {
        b'B' => Message::Begin(begin(cursor)?),
        b'C' => Message::Commit(commit(cursor)?),
        b'O' => Message::Origin(Origin {
            lsn: lsn(cursor, "origin LSN")?,
            name: cursor.string("origin name")?,
        }),
        b'R' => Message::Relation(relation(cursor)?),
        b'Y' => Message::Type(Type {
            oid: Oid(cursor.int32("type oid")?),
            namespace: namespace(cursor.string("type namespace")?),
            name: cursor.string("type name")?,
        }),
        b'I' => Message::Insert(insert(cursor)?),
        b'U' => Message::Update(update(cursor)?),
        b'D' => Message::Delete(delete(cursor)?),
        b'T' => Message::Truncate(truncate(cursor)?),
        b'M' => Message::Logical(logical(cursor)?),
        b'b' => Message::BeginPrepare(begin_prepare(cursor)?),
        b'P' => Message::Prepare(prepare(cursor)?),
        b'K' => Message::CommitPrepared(commit_prepared(cursor)?),
        b'r' => Message::RollbackPrepared(rollback_prepared(cursor)?),
        b'p' => Message::StreamPrepare(prepare(cursor)?),
        kind => return Err(Error::UnknownKind { kind }),
    };
    cursor.end(message.name())?;
    Ok(message)
}

impl Message<'_> {
    /// Returns the protocol page's name of the message.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "Begin",
            Self::Commit(_) => "Commit",
            Self::Origin(_) => "Origin",
            Self::Relation(_) => "Relation",
            Self::Type(_) => "Type",
            Self::Insert(_) => "Insert",
            Self::Update(_) => "Update",
            Self::Delete(_) => "Delete",
            Self::Truncate(_) => "Truncate",
            Self::Logical(_) => "Message",
            Self::BeginPrepare(_) => "Begin Prepare",
            Self::Prepare(_) => "Prepare",
            Self::CommitPrepared(_) => "Commit Prepared",
            Self::RollbackPrepared(_) => "Rollback Prepared",
            Self::StreamPrepare(_) => "Stream Prepare",
        }
    }
}

fn lsn(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Lsn, Error> {
    cursor.int64(field).map(Lsn)
}

fn time(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Timestamp, Error> {
    cursor.signed64(field).map(Timestamp)
}

/// Reads a byte of flags of which only those of `known` may be set.
fn flags(cursor: &mut Cursor<'_>, known: u8, field: &'static str) -> Result<u8, Error> {
    let marker = cursor.byte(field)?;
    if marker & !known == 0 { Ok(marker) } else { Err(Error::UnknownMarker { field, marker }) }
}

/// An empty string on the wire stands for `pg_catalog`.
const fn namespace(name: &str) -> &str {
    if name.is_empty() { "pg_catalog" } else { name }
}

fn begin(cursor: &mut Cursor<'_>) -> Result<Begin, Error> {
    Ok(Begin {
        commit_lsn: lsn(cursor, "final LSN")?,
        commit_time: time(cursor, "commit time")?,
        xid: Xid(cursor.int32("xid")?),
    })
}

fn commit(cursor: &mut Cursor<'_>) -> Result<Commit, Error> {
    flags(cursor, 0, "commit flags")?;
    Ok(Commit {
        commit_lsn: lsn(cursor, "commit LSN")?,
        end_lsn: lsn(cursor, "end LSN")?,
        commit_time: time(cursor, "commit time")?,
    })
}

fn relation<'a>(cursor: &mut Cursor<'a>) -> Result<RelationMessage<'a>, Error> {
    let oid = Oid(cursor.int32("relation oid")?);
    let namespace = namespace(cursor.string("relation namespace")?);
    let name = cursor.string("relation name")?;
    let identity = match cursor.byte("replica identity")? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        marker => return Err(Error::UnknownMarker { field: "replica identity", marker }),
    };
    let count = cursor.int16("column count")?;
    let columns = (0..count)
        .map(|_| {
            Ok(RelationColumn {
                in_identity: flags(cursor, 1, "column flags")? == 1,
                name: cursor.string("column name")?,
                type_oid: Oid(cursor.int32("column type")?),
                type_modifier: cursor.signed32("column type modifier")?,
            })
        })
        .collect::<Result<_, Error>>()?;
    Ok(RelationMessage { oid, namespace, name, identity, columns })
}

fn insert<'a>(cursor: &mut Cursor<'a>) -> Result<Insert<'a>, Error> {
    let relation = Oid(cursor.int32("relation")?);
    match cursor.byte("new row marker")? {
        b'N' => Ok(Insert { relation, new: tuple(cursor)? }),
        marker => Err(Error::UnknownMarker { field: "new row marker", marker }),
    }
}

fn update<'a>(cursor: &mut Cursor<'a>) -> Result<Update<'a>, Error> {
    let relation = Oid(cursor.int32("relation")?);
    let (mut key, mut old) = (None, None);
    let mut marker = cursor.byte("row marker")?;
    match marker {
        b'K' => key = Some(tuple(cursor)?),
        b'O' => old = Some(tuple(cursor)?),
        _ => {}
    }
    if key.is_some() || old.is_some() {
        marker = cursor.byte("new row marker")?;
    }
    if marker != b'N' {
        return Err(Error::UnknownMarker { field: "new row marker", marker });
    }
    Ok(Update { relation, key, old, new: tuple(cursor)? })
}

fn delete<'a>(cursor: &mut Cursor<'a>) -> Result<Delete<'a>, Error> {
    let relation = Oid(cursor.int32("relation")?);
    match cursor.byte("old row marker")? {
        b'K' => Ok(Delete { relation, key: Some(tuple(cursor)?), old: None }),
        b'O' => Ok(Delete { relation, key: None, old: Some(tuple(cursor)?) }),
        marker => Err(Error::UnknownMarker { field: "old row marker", marker }),
    }
}

fn truncate(cursor: &mut Cursor<'_>) -> Result<Truncate, Error> {
    let count = cursor.int32("relation count")?;
    let options = flags(cursor, 0b11, "truncate options")?;
    // Checked before anything is reserved: a count that lies costs no memory.
    if cursor.remaining() / 4 < count as usize {
        return Err(Error::Truncated { field: "truncated relation" });
    }
    let relations = (0..count)
        .map(|_| cursor.int32("truncated relation").map(Oid))
        .collect::<Result<_, Error>>()?;
    Ok(Truncate { cascade: options & 1 != 0, restart_identity: options & 2 != 0, relations })
}

fn logical<'a>(cursor: &mut Cursor<'a>) -> Result<LogicalMessage<'a>, Error> {
    let transactional = flags(cursor, 1, "message flags")? == 1;
    let lsn = lsn(cursor, "message LSN")?;
    let prefix = cursor.string("message prefix")?;
    let length = cursor.int32("message length")?;
    let content = cursor.bytes(length, "message content")?;
    Ok(LogicalMessage { transactional, lsn, prefix, content })
}

fn begin_prepare<'a>(cursor: &mut Cursor<'a>) -> Result<BeginPrepare<'a>, Error> {
    Ok(BeginPrepare {
        prepare_lsn: lsn(cursor, "prepare LSN")?,
        end_lsn: lsn(cursor, "end LSN")?,
        prepare_time: time(cursor, "prepare time")?,
        xid: Xid(cursor.int32("xid")?),
        gid: cursor.string("gid")?,
    })
}

fn prepare<'a>(cursor: &mut Cursor<'a>) -> Result<Prepare<'a>, Error> {
    flags(cursor, 0, "prepare flags")?;
    Ok(Prepare {
        prepare_lsn: lsn(cursor, "prepare LSN")?,
        end_lsn: lsn(cursor, "end LSN")?,
        prepare_time: time(cursor, "prepare time")?,
        xid: Xid(cursor.int32("xid")?),
        gid: cursor.string("gid")?,
    })
}

fn commit_prepared<'a>(cursor: &mut Cursor<'a>) -> Result<CommitPrepared<'a>, Error> {
    flags(cursor, 0, "commit prepared flags")?;
    Ok(CommitPrepared {
        commit_lsn: lsn(cursor, "commit LSN")?,
        end_lsn: lsn(cursor, "end LSN")?,
        commit_time: time(cursor, "commit time")?,
        xid: Xid(cursor.int32("xid")?),
        gid: cursor.string("gid")?,
    })
}

fn rollback_prepared<'a>(cursor: &mut Cursor<'a>) -> Result<RollbackPrepared<'a>, Error> {
    flags(cursor, 0, "rollback prepared flags")?;
    Ok(RollbackPrepared {
        prepare_end_lsn: lsn(cursor, "prepare end LSN")?,
        rollback_end_lsn: lsn(cursor, "rollback end LSN")?,
        prepare_time: time(cursor, "prepare time")?,
        rollback_time: time(cursor, "rollback time")?,
        xid: Xid(cursor.int32("xid")?),
        gid: cursor.string("gid")?,
    })
}

/// Walks a row to its end, so that [`Tuple::cells`] can't fail later.
fn tuple<'a>(cursor: &mut Cursor<'a>) -> Result<Tuple<'a>, Error> {
    let columns = cursor.int16("column count")?;
    let data = cursor.rest();
    for _ in 0..columns {
        cell(cursor)?;
    }
    let length = data.len().saturating_sub(cursor.remaining());
    Ok(Tuple { columns, data: data.get(..length).unwrap_or_default() })
}

fn cell<'a>(cursor: &mut Cursor<'a>) -> Result<Cell<'a>, Error> {
    match cursor.byte("column kind")? {
        b't' => {
            let length = cursor.int32("column length")?;
            cursor.bytes(length, "column value").map(Cell::Value)
        }
        b'n' => Ok(Cell::Null),
        b'u' => Ok(Cell::Unchanged),
        b'b' => Err(Error::Binary),
        marker => Err(Error::UnknownMarker { field: "column kind", marker }),
    }
}

#[cfg(test)]
mod tests;
