//! What can be wrong with a frame.

use crate::failure::{Category, Classify};

/// The bytes are not a pgoutput message that we asked for. Never skipped: WAL that was not
/// understood must not be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A frame without a single byte.
    #[error("empty pgoutput frame")]
    Empty,
    /// The frame ends inside a field.
    #[error("pgoutput frame ends inside `{field}`")]
    Truncated {
        /// The field being read.
        field: &'static str,
    },
    /// More bytes than the message has fields.
    #[error("{bytes} bytes left over behind a pgoutput {message} message")]
    Trailing {
        /// The message's name.
        message: &'static str,
        /// How many bytes.
        bytes: usize,
    },
    /// A kind of message that cannot be there.
    #[error("unknown pgoutput message kind 0x{kind:02x}")]
    UnknownKind {
        /// The first byte of the frame.
        kind: u8,
    },
    /// A byte that marks a part of a message has no meaning there.
    #[error("unknown marker 0x{marker:02x} in pgoutput field `{field}`")]
    UnknownMarker {
        /// The field being read.
        field: &'static str,
        /// The byte found.
        marker: u8,
    },
    /// A value in binary form, where text was asked for.
    #[error("binary value in a pgoutput row, where text was asked for")]
    Binary,
    /// A name or prefix is not UTF-8, though the session's `client_encoding` is.
    #[error("pgoutput field `{field}` is not UTF-8")]
    NotUtf8 {
        /// The field being read.
        field: &'static str,
    },
    /// A row has another number of values than its relation has columns.
    #[error("row of {found} values for a relation of {expected} columns")]
    ColumnCount {
        /// How many columns the relation has.
        expected: usize,
        /// How many values the row has.
        found: usize,
    },
    /// The frame is longer than an index of 32 bits reaches.
    #[error("pgoutput frame of 4 GiB or more")]
    TooLong,
    /// The chunk's index names a transaction or relation that the chunk does not have, or another
    /// operation than the frame.
    #[error("chunk index does not fit its frames")]
    Index,
}

impl Classify for Error {
    fn category(&self) -> Category {
        match self {
            Self::Empty
            | Self::Truncated { .. }
            | Self::Trailing { .. }
            | Self::UnknownKind { .. }
            | Self::UnknownMarker { .. }
            | Self::Binary
            | Self::NotUtf8 { .. }
            | Self::ColumnCount { .. }
            | Self::TooLong
            | Self::Index => Category::Setup,
        }
    }
}
