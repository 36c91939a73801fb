//! Stage 2, decode: a pgoutput frame becomes a message, row images and values (pure).
//!
//! Protocol versions 1 to 4 with text values, and the messages of prepared transactions, which a
//! slot made with `two_phase` sends to any client. Knows nothing of connections, of tables beyond
//! their [`Relation`](crate::relation::Relation), and of where a change goes.

pub mod binary;
pub mod build;
mod cursor;
mod error;
mod images;
mod message;
pub mod value;

pub use error::Error;
pub use images::{change, images};
pub use message::{
    Begin, BeginPrepare, Commit, CommitPrepared, Delete, Insert, LogicalMessage, Message, Origin,
    Part, Prepare, RelationColumn, RelationMessage, RollbackPrepared, StreamAbort, StreamCommit,
    StreamStart, Truncate, Tuple, TupleCells, Type, Update, parse, parse_part, part,
};
