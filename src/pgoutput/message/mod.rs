//! [`Message`]: every message of pgoutput, one struct a message, borrowed from its frame.
//!
//! Wire shapes: <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>.

mod transaction;
mod prepared;
mod streamed;
mod relation;
mod change;
mod tuple;
mod field;

pub use self::change::{Delete, Insert, LogicalMessage, Truncate, Update};
pub use self::prepared::{BeginPrepare, CommitPrepared, Prepare, RollbackPrepared};
pub use self::relation::{RelationColumn, RelationMessage, Type};
pub use self::streamed::{Part, StreamAbort, StreamCommit, StreamStart, part};
pub use self::transaction::{Begin, Commit, Origin};
pub use self::tuple::{Tuple, TupleCells};
use super::Error;
use super::cursor::Cursor;
use crate::lsn::Xid;

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
    /// `S`: a part of a transaction that is still open starts.
    StreamStart(StreamStart),
    /// `E`: that part ends.
    StreamStop,
    /// `c`: a streamed transaction commits.
    StreamCommit(StreamCommit),
    /// `A`: a streamed transaction, or a subtransaction of it, is undone.
    StreamAbort(StreamAbort),
    /// `p`: a streamed transaction is prepared.
    StreamPrepare(Prepare<'a>),
}

/// Reads one frame: a pgoutput message without the XLogData header.
///
/// # Errors
/// When it is not a whole message with text values, or has bytes left over.
pub fn parse(frame: &[u8]) -> Result<Message<'_>, Error> {
    let mut cursor = Cursor::new(frame);
    let kind = cursor.byte("kind").map_err(|_| Error::Empty)?;
    message(kind, cursor)
}

/// Reads one frame of a streamed part; returns who made the change, too.
///
/// # Errors
/// As [`parse`].
pub fn parse_part(frame: &[u8]) -> Result<(Xid, Message<'_>), Error> {
    let Part { kind, xid, rest } = part(frame)?;
    Ok((xid, message(kind, Cursor::new(rest))?))
}

fn message(kind: u8, mut cursor: Cursor<'_>) -> Result<Message<'_>, Error> {
    let cursor = &mut cursor;
    let message = match kind {
        b'B' => Message::Begin(Begin::read(cursor)?),
        b'C' => Message::Commit(Commit::read(cursor)?),
        b'O' => Message::Origin(Origin::read(cursor)?),
        b'R' => Message::Relation(RelationMessage::read(cursor)?),
        b'Y' => Message::Type(Type::read(cursor)?),
        b'I' => Message::Insert(Insert::read(cursor)?),
        b'U' => Message::Update(Update::read(cursor)?),
        b'D' => Message::Delete(Delete::read(cursor)?),
        b'T' => Message::Truncate(Truncate::read(cursor)?),
        b'M' => Message::Logical(LogicalMessage::read(cursor)?),
        b'b' => Message::BeginPrepare(BeginPrepare::read(cursor)?),
        b'P' => Message::Prepare(Prepare::read(cursor)?),
        b'K' => Message::CommitPrepared(CommitPrepared::read(cursor)?),
        b'r' => Message::RollbackPrepared(RollbackPrepared::read(cursor)?),
        b'S' => Message::StreamStart(StreamStart::read(cursor)?),
        b'E' => Message::StreamStop,
        b'c' => Message::StreamCommit(StreamCommit::read(cursor)?),
        b'A' => Message::StreamAbort(StreamAbort::read(cursor)?),
        b'p' => Message::StreamPrepare(Prepare::read(cursor)?),
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
            Self::StreamStart(_) => "Stream Start",
            Self::StreamStop => "Stream Stop",
            Self::StreamCommit(_) => "Stream Commit",
            Self::StreamAbort(_) => "Stream Abort",
            Self::StreamPrepare(_) => "Stream Prepare",
        }
    }
}

#[cfg(test)]
mod tests;
