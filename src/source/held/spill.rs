//! The files of transactions that are too large for the memory: one each, gone with its holder.
//!
//! They are worth nothing after a restart: the server sends again what is open.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::runtime::Handle;

use super::record;
use crate::lsn::Xid;
use crate::source::Error;

/// What is read at once, unless one message is larger.
const READ_BYTES: usize = 1 << 20;

/// Where the files are.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// In every name: what an earlier connection still writes is not taken for its own by this one.
    nonce: u64,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, nonce: fastrand::u64(..) }
    }

    /// Names the file of a transaction.
    pub(super) fn file(&self, xid: Xid) -> File {
        File { path: self.path.join(format!("{:016x}-{}", self.nonce, xid.0)) }
    }
}

/// Empties the folder, which the first file makes.
pub(in crate::source) fn clear(folder: &Path) -> Result<(), Error> {
    let failed = |source| failed("empty the spill folder", folder, source);
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        entries => entries
            .map_err(failed)?
            .try_for_each(|entry| fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)),
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Spill { doing, path: path.to_owned(), source }
}

/// The file of one transaction. Removed with the last who holds it.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
}

impl File {
    fn open(&self) -> io::Result<fs::File> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        match (options.open(&self.path), self.path.parent()) {
            (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                options.open(&self.path)
            }
            (opened, _) => opened,
        }
    }

    /// Appends records; makes the file, and the folder for its owner alone, where they are not
    /// there.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.open().and_then(|mut file| file.write_all(bytes));
        written.map_err(|source| failed("keep a transaction in", &self.path, source))
    }

    /// Reads behind what is in `buffer`, which starts in the middle of a file of `length` bytes and
    /// ends at `offset`. Returns where it ends then.
    pub(super) fn read(
        &self,
        buffer: &mut Vec<u8>,
        offset: u64,
        length: u64,
    ) -> Result<u64, Error> {
        let missing = record::whole(buffer).unwrap_or_default().saturating_sub(buffer.len());
        let left = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let start = buffer.len();
        let count = missing.max(READ_BYTES).min(left);
        buffer.resize(start + count, 0);
        let room = buffer.get_mut(start..).unwrap_or_default();
        let open = fs::File::open(&self.path);
        let read = open.and_then(|file| file.read_exact_at(room, offset));
        read.map_err(|source| failed("read a transaction back from", &self.path, source))?;
        Ok(offset.saturating_add(count as u64))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Whoever closes a file last that has no name frees its blocks. Of a large one that takes
        // seconds, in which nothing would be read and the server not be answered.
        let open = fs::File::open(&self.path);
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            // The next start empties the folder.
            tracing::debug!(path = %self.path.display(), %error, "a spill file stays behind");
        }
        if let (Ok(file), Ok(runtime)) = (open, Handle::try_current()) {
            runtime.spawn_blocking(move || drop(file));
        }
    }
}
