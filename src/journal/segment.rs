//! Segment files: `00000001.wgj`, a header, then records end to end.
//!
//! ```text
//! magic "walgate journal\n" · crc32 u32 (of what follows) · number u32 · begin (lsn u64, seq u32)
//! ```
//!
//! `begin` is the end of the segment before: everything from there on that is not in a later
//! segment is in this one.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Error;
use super::record::{self, HEADER_BYTES, Header};
use crate::chunk::Chunk;
use crate::lsn::{Lsn, Position};

/// A segment is closed once it holds so many bytes: what retention removes at a time.
pub(super) const SEGMENT_BYTES: u64 = 64 << 20;

/// Where the first record starts.
pub(super) const FIRST_RECORD: u64 = 36;

const MAGIC: &[u8; 16] = b"walgate journal\n";

/// Returns the file of a segment.
pub(super) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.wgj"))
}

/// Returns the numbers of the segments in a folder, rising.
pub(super) fn list(folder: &Path) -> Result<Vec<u32>, Error> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file("list", folder))? {
        let name = entry.map_err(Error::file("list", folder))?.file_name();
        let number: Option<u32> =
            name.to_str().and_then(|name| name.strip_suffix(".wgj")?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a segment; it is there for good when this returns.
pub(super) fn create(folder: &Path, number: u32, begin: Position) -> Result<File, Error> {
    let path = path(folder, number);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&path).map_err(Error::file("create", &path))?;
    let mut rest = Vec::with_capacity(16);
    rest.extend(number.to_le_bytes());
    rest.extend(begin.commit_lsn.0.to_le_bytes());
    rest.extend(begin.seq.to_le_bytes());
    let mut header = MAGIC.to_vec();
    header.extend(crc32fast::hash(&rest).to_le_bytes());
    header.extend(rest);
    file.write_all_at(&header, 0).map_err(Error::file("write", &path))?;
    file.sync_all().map_err(Error::file("flush", &path))?;
    sync_folder(folder)?;
    Ok(file)
}

/// Opens a segment for reading; with `write`, for appending too.
pub(super) fn open(folder: &Path, number: u32, write: bool) -> Result<File, Error> {
    let path = path(folder, number);
    let file = OpenOptions::new().read(true).write(write).open(&path);
    file.map_err(Error::file("open", &path))
}

/// Removes a segment.
pub(super) fn remove(folder: &Path, number: u32) -> Result<(), Error> {
    let path = path(folder, number);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", &path)(error))
        }
        _ => sync_folder(folder),
    }
}

/// Makes names in the folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), Error> {
    let flushed = File::open(folder).and_then(|folder| folder.sync_all());
    flushed.map_err(Error::file("flush", folder))
}

/// Reads `begin` of a segment; none when its header is not whole (a crash while it was made).
pub(super) fn begin(file: &File, path: &Path) -> Result<Option<Position>, Error> {
    let mut header = [0; 36];
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other.map_err(Error::file("read", path))?,
    }
    let Some((magic, rest)) = header.split_first_chunk::<16>() else { return Ok(None) };
    let Some((crc, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    if magic != MAGIC || crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return Ok(None);
    }
    let Some((lsn, seq)) = rest.get(4..).and_then(|rest| rest.split_first_chunk::<8>()) else {
        return Ok(None);
    };
    let Some(seq) = seq.first_chunk::<4>() else { return Ok(None) };
    Ok(Some(Position::new(Lsn(u64::from_le_bytes(*lsn)), u32::from_le_bytes(*seq))))
}

/// Reads a record's header at `offset`.
pub(super) fn header(file: &File, path: &Path, offset: u64) -> Result<Header, Error> {
    let mut bytes = [0; HEADER_BYTES];
    let damaged = |source| Error::Damaged { path: path.to_owned(), offset, source };
    match file.read_exact_at(&mut bytes, offset) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err(damaged(record::Error::Truncated("the header")));
        }
        other => other.map_err(Error::file("read", path))?,
    }
    Header::parse(&bytes).map_err(damaged)
}

/// Reads the bytes of a record, checked.
pub(super) fn verified(
    file: &File,
    path: &Path,
    offset: u64,
    room: u64,
) -> Result<(Header, Vec<u8>), Error> {
    let damaged = |source| Error::Damaged { path: path.to_owned(), offset, source };
    let header = header(file, path, offset)?;
    if header.length() > room {
        return Err(damaged(record::Error::Truncated("the body")));
    }
    let length = usize::try_from(header.length()).map_err(|_| damaged(record::Error::TooLarge))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).map_err(Error::file("read", path))?;
    header.verify(&bytes).map_err(damaged)?;
    Ok((header, bytes))
}

/// Reads a record's chunk.
pub(super) fn chunk(
    file: &File,
    path: &Path,
    offset: u64,
    room: u64,
) -> Result<(Header, Chunk), Error> {
    let (header, bytes) = verified(file, path, offset, room)?;
    let chunk = record::decode(&bytes).map_err(|source| Error::Damaged {
        path: path.to_owned(),
        offset,
        source,
    })?;
    Ok((header, chunk))
}
