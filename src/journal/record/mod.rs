//! A chunk as bytes: a header with positions and checksum, and a compressed body (pure).
//!
//! ```text
//! magic u32 · crc32 u32 (of all that follows) · version u8 · flags u8 · 0 u16 · stored u32 · raw u32
//! first (lsn u64, seq u32) · end (lsn u64, seq u32) · received u64 · commit time i64 · written i64
//! body: `stored` bytes, an lz4 block of `raw` bytes (flag 1) or the bytes themselves
//! ```
//!
//! All numbers little-endian. The body is self-contained: it carries the table versions its
//! changes refer to, so that it renders alike whatever the catalog says later.

mod body;

use std::sync::Arc;

use bytes::Bytes;

use crate::chunk::{Chunk, Entry};
use crate::lsn::{Lsn, Position, Timestamp};

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 68;

const MAGIC: u32 = u32::from_le_bytes(*b"wgr1");
const VERSION: u8 = 1;
const COMPRESSED: u8 = 1;

/// No commit time is known.
const NO_TIME: i64 = i64::MIN;

/// The most that lz4 can make of a byte: a claim above it is a lie, found before allocating.
const RATIO_MAX: usize = 255;

/// The bytes are not a whole record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They end too early.
    #[error("the record ends inside {0}")]
    Truncated(&'static str),
    /// They are no record.
    #[error("no record starts here")]
    Magic,
    /// They are not as they were written.
    #[error("the checksum does not fit")]
    Checksum,
    /// A later walgate wrote them.
    #[error("the record has version {0}, this walgate reads {VERSION}")]
    Version(u8),
    /// What they say cannot be.
    #[error("{0} is not possible")]
    Invalid(&'static str),
    /// More than a record can hold.
    #[error("the chunk is larger than 4 GiB")]
    TooLarge,
}

/// What a record says of its chunk without being unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The checksum of the rest.
    crc: u32,
    flags: u8,
    /// Bytes of the body as stored.
    pub(super) stored: u32,
    /// Bytes of the body unpacked.
    raw: u32,
    /// The first change, or the end where there is none.
    pub(super) first: Position,
    /// Behind everything in it.
    pub(super) end: Position,
    /// The end of the last whole transaction in it; zero for none.
    pub(super) received: Lsn,
    /// The newest commit in it.
    pub(super) time: Option<Timestamp>,
    /// When it was written, in microseconds since 1970.
    pub(super) written_at: i64,
}

impl Header {
    /// Returns the bytes of the whole record.
    pub(super) const fn length(&self) -> u64 {
        HEADER_BYTES as u64 + self.stored as u64
    }

    /// Reads a header; the checksum is compared by [`Header::verify`].
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut bytes = body::Cursor::new(bytes, "the header");
        if bytes.u32()? != MAGIC {
            return Err(Error::Magic);
        }
        let crc = bytes.u32()?;
        let version = bytes.u8()?;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let flags = bytes.u8()?;
        bytes.take(2)?;
        let (stored, raw) = (bytes.u32()?, bytes.u32()?);
        let first = bytes.position()?;
        let end = bytes.position()?;
        let received = Lsn(bytes.u64()?);
        let time = bytes.u64()?.cast_signed();
        let time = (time != NO_TIME).then_some(Timestamp(time));
        let written_at = bytes.u64()?.cast_signed();
        Ok(Self { crc, flags, stored, raw, first, end, received, time, written_at })
    }

    /// Compares the checksum of a whole record.
    pub(super) fn verify(&self, record: &[u8]) -> Result<(), Error> {
        let rest = record.get(8..).ok_or(Error::Truncated("the header"))?;
        if crc32fast::hash(rest) == self.crc { Ok(()) } else { Err(Error::Checksum) }
    }
}

/// Returns the chunk as one record.
///
/// # Errors
///
/// [`Error::TooLarge`] for more than 4 GiB.
pub fn encode(chunk: &Chunk) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    Encoder::default().encode(chunk, 0, &mut out)?;
    Ok(out)
}

/// Returns the chunk that a record holds. Any other bytes are an error.
///
/// # Errors
///
/// What is wrong with the bytes.
pub fn decode(record: &[u8]) -> Result<Chunk, Error> {
    let header = Header::parse(record)?;
    let length = usize::try_from(header.length()).map_err(|_| Error::TooLarge)?;
    let record = record.get(..length).ok_or(Error::Truncated("the body"))?;
    header.verify(record)?;
    let stored = record.get(HEADER_BYTES..).unwrap_or_default();
    let raw_bytes = usize::try_from(header.raw).map_err(|_| Error::TooLarge)?;
    let raw = if header.flags & COMPRESSED == 0 {
        stored.to_vec()
    } else {
        if raw_bytes > stored.len().saturating_mul(RATIO_MAX) {
            return Err(Error::Invalid("the unpacked length"));
        }
        lz4_flex::block::decompress(stored, raw_bytes)
            .map_err(|_| Error::Invalid("the compressed body"))?
    };
    if raw.len() != raw_bytes {
        return Err(Error::Invalid("the unpacked length"));
    }
    body::decode(Bytes::from(raw))
}

/// Returns the chunks of records that lie end to end.
///
/// # Errors
///
/// What is wrong with the bytes.
pub fn decode_all(mut records: &[u8]) -> Result<Vec<Chunk>, Error> {
    let mut chunks = Vec::new();
    while !records.is_empty() {
        let length = usize::try_from(Header::parse(records)?.length());
        let length = length.map_err(|_| Error::TooLarge)?;
        chunks.push(decode(records)?);
        records = records.get(length..).unwrap_or_default();
    }
    Ok(chunks)
}

/// Cuts one change out of a chunk: with its transaction (whose end is left out, as it is not this
/// change's to tell), its table version, and its frame.
#[must_use]
pub fn extract(chunk: &Chunk, entry: &Entry) -> Chunk {
    let transaction = chunk.transaction(entry).map(|transaction| {
        let mut transaction = *transaction;
        transaction.end_lsn = None;
        transaction
    });
    let relation = chunk.relation(entry).map(Arc::clone);
    // A copy: a slice would keep the whole chunk in memory for one row.
    let frames = Bytes::copy_from_slice(chunk.frame(entry));
    let entry = Entry {
        offset: 0,
        length: u32::try_from(frames.len()).unwrap_or(entry.length),
        transaction: 0,
        relation: relation.as_ref().map(|_| 0),
        ..*entry
    };
    Chunk {
        timeline: chunk.timeline,
        frames,
        transactions: transaction.into_iter().collect(),
        relations: relation.into_iter().collect(),
        entries: vec![entry],
        // Whoever has it already was meant.
        audience: None,
    }
}

/// Encodes one chunk after the other into the same buffers.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    raw: Vec<u8>,
}

impl Encoder {
    /// Appends the chunk's record to `out` and returns its header.
    pub(super) fn encode(
        &mut self,
        chunk: &Chunk,
        written_at: i64,
        out: &mut Vec<u8>,
    ) -> Result<Header, Error> {
        self.raw.clear();
        body::encode(chunk, &mut self.raw)?;
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        let body_start = out.len();
        out.resize(body_start + lz4_flex::block::get_maximum_output_size(self.raw.len()), 0);
        let room = out.get_mut(body_start..).unwrap_or_default();
        let mut flags = COMPRESSED;
        match lz4_flex::block::compress_into(&self.raw, room) {
            Ok(length) if length < self.raw.len() => out.truncate(body_start + length),
            _ => {
                flags = 0;
                out.truncate(body_start);
                out.extend_from_slice(&self.raw);
            }
        }
        let end = chunk.end_position();
        let whole = chunk.transactions.iter().rev().find_map(|t| t.end_lsn);
        let mut header = Header {
            crc: 0,
            flags,
            stored: u32::try_from(out.len() - body_start).map_err(|_| Error::TooLarge)?,
            raw: u32::try_from(self.raw.len()).map_err(|_| Error::TooLarge)?,
            first: chunk.first_position().unwrap_or(end),
            end,
            received: whole.unwrap_or_default(),
            time: chunk.transactions.iter().rev().find_map(|t| t.commit_time),
            written_at,
        };
        write_header(&header, out.get_mut(start..).unwrap_or_default());
        header.crc = crc32fast::hash(out.get(start + 8..).unwrap_or_default());
        if let Some(place) = out.get_mut(start + 4..start + 8) {
            place.copy_from_slice(&header.crc.to_le_bytes());
        }
        // One huge row must not stay allocated for ever.
        if self.raw.capacity() > 16 << 20 {
            self.raw = Vec::new();
        }
        Ok(header)
    }
}

fn write_header(header: &Header, out: &mut [u8]) {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend(MAGIC.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend([VERSION, header.flags, 0, 0]);
    bytes.extend(header.stored.to_le_bytes());
    bytes.extend(header.raw.to_le_bytes());
    for position in [header.first, header.end] {
        bytes.extend(position.commit_lsn.0.to_le_bytes());
        bytes.extend(position.seq.to_le_bytes());
    }
    bytes.extend(header.received.0.to_le_bytes());
    bytes.extend(header.time.map_or(NO_TIME, |time| time.0).to_le_bytes());
    bytes.extend(header.written_at.to_le_bytes());
    for (place, byte) in out.iter_mut().zip(bytes) {
        *place = byte;
    }
}

#[cfg(test)]
pub(super) mod tests;
