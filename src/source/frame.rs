//! The replication stream's own messages: XLogData and keepalive in, status update out (pure).
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-replication.html>.

use bytes::{BufMut, BytesMut};

use crate::lsn::{Lsn, Timestamp};

/// A message inside `CopyData`, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// Wire: `Byte1('w') Int64(start) Int64(end) Int64(time) payload`.
    XLogData {
        /// When the server sent it, by its clock.
        sent: Timestamp,
        /// One pgoutput message.
        payload: &'a [u8],
    },
    /// Wire: `Byte1('k') Int64(end) Int64(time) Byte1(reply)`.
    Keepalive {
        /// All that commits before it has been sent.
        wal_end: Lsn,
        /// The server wants an answer at once.
        reply: bool,
    },
}

/// The bytes are no message of the replication stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// The message ends too early.
    #[error("a replication message ends inside its header")]
    Short,
    /// The message is of no known kind.
    #[error("unknown replication message 0x{0:02x}")]
    Unknown(u8),
}

/// Bytes of XLogData before the payload.
const XLOG_HEADER: usize = 25;

/// Reads the body of one `CopyData` message.
pub(super) fn read(body: &[u8]) -> Result<Frame<'_>, FrameError> {
    match body.first() {
        Some(b'w') => Ok(Frame::XLogData {
            sent: Timestamp(int64(body, 17)?.cast_signed()),
            payload: body.get(XLOG_HEADER..).ok_or(FrameError::Short)?,
        }),
        Some(b'k') => Ok(Frame::Keepalive {
            wal_end: Lsn(int64(body, 1)?),
            reply: *body.get(17).ok_or(FrameError::Short)? != 0,
        }),
        Some(tag) => Err(FrameError::Unknown(*tag)),
        None => Err(FrameError::Short),
    }
}

fn int64(body: &[u8], at: usize) -> Result<u64, FrameError> {
    let bytes = body.get(at..).and_then(<[u8]>::first_chunk).ok_or(FrameError::Short)?;
    Ok(u64::from_be_bytes(*bytes))
}

/// What a status update tells the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// Received; for `pg_stat_replication` only.
    pub(super) written: Lsn,
    /// Safe; what the server may forget up to.
    pub(super) confirmed: Lsn,
    /// The server shall answer with a keepalive.
    pub(super) reply: bool,
}

/// Appends a whole `CopyData` message with a status update.
///
/// Wire: `Byte1('d') Int32(38) Byte1('r') Int64(written) Int64(flushed) Int64(applied) Int64(time)
/// Byte1(reply)`.
pub(super) fn write_status(status: Status, now: Timestamp, out: &mut BytesMut) {
    out.put_u8(b'd');
    out.put_i32(4 + 34);
    out.put_u8(b'r');
    out.put_u64(status.written.0);
    out.put_u64(status.confirmed.0);
    out.put_u64(status.confirmed.0);
    out.put_i64(now.0);
    out.put_u8(u8::from(status.reply));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_messages_of_the_server_are_read() {
        let mut body = vec![b'w'];
        body.extend(1_u64.to_be_bytes());
        body.extend(2_u64.to_be_bytes());
        body.extend(3_i64.to_be_bytes());
        body.extend(b"payload");
        let expected = Frame::XLogData { sent: Timestamp(3), payload: b"payload" };
        assert_eq!(read(&body), Ok(expected));

        let mut body = vec![b'k'];
        body.extend(0x17C_8338_u64.to_be_bytes());
        body.extend(3_i64.to_be_bytes());
        body.push(1);
        let expected = Frame::Keepalive { wal_end: Lsn(0x17C_8338), reply: true };
        assert_eq!(read(&body), Ok(expected));
    }

    #[test]
    fn a_message_cut_short_or_unknown_is_an_error() {
        assert_eq!(read(b""), Err(FrameError::Short));
        assert_eq!(read(b"w123"), Err(FrameError::Short));
        assert_eq!(read(b"k12345678"), Err(FrameError::Short));
        assert_eq!(read(b"x"), Err(FrameError::Unknown(b'x')));
    }

    #[test]
    fn a_status_update_confirms_the_same_as_flushed_and_applied() {
        let mut out = BytesMut::new();
        let status = Status { written: Lsn(9), confirmed: Lsn(7), reply: false };
        write_status(status, Timestamp(5), &mut out);
        let mut expected = b"d\0\0\0\x26r".to_vec();
        for number in [9_u64, 7, 7, 5] {
            expected.extend(number.to_be_bytes());
        }
        expected.push(0);
        assert_eq!(out, expected);
    }
}
