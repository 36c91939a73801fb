//! How a message is kept, in memory as on disk (pure).
//!
//! Layout: `u32 length, u32 xid, frame`, and behind the frame of a Relation message `u64`: how many
//! of them came before. Numbers are little-endian; `length` counts what follows the xid.

use crate::lsn::Xid;
use crate::source::Error;

/// Bytes before the frame.
const HEADER: usize = 8;
/// Bytes behind the frame of a Relation message.
const ARRIVAL: usize = 8;

/// A message that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The transaction or subtransaction that it is of.
    pub(super) xid: Xid,
    /// As it would have come outside a streamed part.
    pub(super) frame: &'a [u8],
    /// Of a Relation message: how many of them came before.
    pub(super) arrived: Option<u64>,
}

/// Appends a message, its first byte and the rest.
pub(super) fn write(
    xid: Xid,
    kind: u8,
    rest: &[u8],
    arrived: Option<u64>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let length = 1 + rest.len() + arrived.map_or(0, |_| ARRIVAL);
    let length = u32::try_from(length)
        .map_err(|_| Error::Unreadable { what: "a message of more than 4 GiB" })?;
    out.extend(length.to_le_bytes());
    out.extend(xid.0.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(rest);
    if let Some(arrived) = arrived {
        out.extend(arrived.to_le_bytes());
    }
    Ok(())
}

/// Returns the first message and how many bytes it takes; none while it is not all there.
pub(super) fn read(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let length = whole(bytes)?;
    let xid = Xid(u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?));
    let body = bytes.get(HEADER..length)?;
    if body.first() != Some(&b'R') {
        return Some((Record { xid, frame: body, arrived: None }, length));
    }
    let (frame, arrived) = body.split_last_chunk::<ARRIVAL>()?;
    Some((Record { xid, frame, arrived: Some(u64::from_le_bytes(*arrived)) }, length))
}

/// Returns how many bytes the first message takes; none while that is not known.
pub(super) fn whole(bytes: &[u8]) -> Option<usize> {
    Some(HEADER + u32::from_le_bytes(*bytes.first_chunk()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_waited_for() {
        let mut bytes = Vec::new();
        write(Xid(7), b'I', b"row", None, &mut bytes).unwrap();
        let first = bytes.len();
        write(Xid(8), b'R', b"shape", Some(5), &mut bytes).unwrap();
        let row = Record { xid: Xid(7), frame: b"Irow", arrived: None };
        assert_eq!(read(&bytes), Some((row, first)));
        let shape = Record { xid: Xid(8), frame: b"Rshape", arrived: Some(5) };
        assert_eq!(read(&bytes[first..]), Some((shape, bytes.len() - first)));
        for length in 0..first {
            assert_eq!(read(&bytes[..length]), None);
            assert_eq!(whole(&bytes[..length]), (length >= 4).then_some(first));
        }
    }
}
