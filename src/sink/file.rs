//! The `file` sink: JSON lines, on disk before they are acknowledged.
//!
//! The file holds whole lines at any time that somebody looks after a start: what a crash tore
//! off is cut when the file is opened (it was never acknowledged and comes again).

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::IgnoredAny;

use super::blocking::Blocking;
use super::{Answer, Batch, BoxFuture, Failure, Sink};
use crate::failure::Category;

/// The kind's word.
pub const KIND: &str = "file";

/// How much of the file's end is looked at in one read when it is opened, in bytes.
const TAIL_PIECE_BYTES: u64 = 64 * 1024;

/// A last line without an end that is longer counts as torn without being read, in bytes.
const TAIL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// `[sink.NAME.file]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that is appended to. Its folder must be there.
    pub path: PathBuf,
    /// Before it would grow past this size, in bytes, the file is put aside as `PATH.000001`,
    /// `PATH.000002`, … and a new one begun; 0: never. A batch is never split: one that is
    /// larger by itself makes a larger file.
    pub max_size: u64,
}

/// Appends events to a file.
#[derive(Debug)]
pub struct File {
    writer: Arc<Writer>,
    blocking: Blocking,
}

impl File {
    /// Makes the sink; the file is opened by the first delivery. So many threads may wait for the
    /// disk at a time.
    #[must_use]
    pub fn new(config: &Config, writers_max: usize) -> Self {
        let writer = Writer { config: config.clone(), open: Mutex::default() };
        Self { writer: Arc::new(writer), blocking: Blocking::new(writers_max) }
    }
}

impl Sink for File {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        let (writer, lines) = (Arc::clone(&self.writer), lines(batch));
        let write =
            move || writer.append(&lines).map_err(|error| failure(&writer.config.path, &error));
        Box::pin(self.blocking.write(batch, write))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        let path = self.writer.config.path.clone();
        Box::pin(async move {
            let looked = path.clone();
            tokio::task::spawn_blocking(move || look(&looked))
                .await
                .map_err(io::Error::other)
                .flatten()
                .map_err(|error| failure(&path, &error))
        })
    }
}

/// Puts each event on a line of its own.
pub(super) fn lines(batch: &Batch) -> Vec<u8> {
    let bytes: usize = batch.events.iter().map(|event| event.body.len().saturating_add(1)).sum();
    let mut lines = Vec::with_capacity(bytes);
    for event in &batch.events {
        lines.extend_from_slice(&event.body);
        lines.push(b'\n');
    }
    lines
}

/// The one that writes, however many batches are under way.
#[derive(Debug)]
struct Writer {
    config: Config,
    open: Mutex<Option<Arc<Open>>>,
}

/// An open file. Batches that wait for the disk at the same time share one fsync.
#[derive(Debug)]
struct Open {
    file: fs::File,
    /// Device and inode: whether the path still leads here.
    identity: (u64, u64),
    /// Up to here the file has whole lines, in bytes.
    written: AtomicU64,
    /// Up to here they are on disk.
    synced: Mutex<u64>,
    /// The disk did not take something: what is above `synced` counts for nothing.
    failed: AtomicBool,
}

impl Writer {
    /// Appends whole lines and returns once they are on disk.
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let (open, end) = self.write(lines)?;
        open.sync(end)
    }

    /// Writes under the lock; the fsync comes outside of it, so that others write meanwhile.
    fn write(&self, lines: &[u8]) -> io::Result<(Arc<Open>, u64)> {
        let bytes = u64::try_from(lines.len()).map_err(io::Error::other)?;
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = self.opened(&mut slot, bytes)?;
        let start = open.written.load(Ordering::Acquire);
        if let Err(error) = (&open.file).write_all(lines) {
            // Part of a line may be there: take it back, or give this opening up.
            if open.file.set_len(start).is_err() {
                open.failed.store(true, Ordering::Release);
            }
            return Err(error);
        }
        let end = start.saturating_add(bytes);
        open.written.store(end, Ordering::Release);
        Ok((open, end))
    }

    /// Returns the file to write `bytes` to: opened, mended or begun anew where need be.
    fn opened(
        &self,
        slot: &mut MutexGuard<'_, Option<Arc<Open>>>,
        bytes: u64,
    ) -> io::Result<Arc<Open>> {
        let Config { path, max_size } = &self.config;
        if let Some(open) = slot.take() {
            let open = if open.failed.load(Ordering::Acquire) { open.again()? } else { open };
            let written = open.written.load(Ordering::Acquire);
            let full = *max_size > 0 && written > 0 && written.saturating_add(bytes) > *max_size;
            // Somebody may have moved the file away to rotate it: then a new one is begun.
            if fs::metadata(path).is_ok_and(|found| identity(&found) == open.identity) {
                if !full {
                    **slot = Some(Arc::clone(&open));
                    return Ok(open);
                }
                open.sync(written)?;
                put_aside(path)?;
            } else {
                open.sync(written)?;
            }
        }
        let open = Arc::new(Open::new(path)?);
        let written = open.written.load(Ordering::Acquire);
        **slot = Some(Arc::clone(&open));
        if *max_size > 0 && written > 0 && written.saturating_add(bytes) > *max_size {
            return self.opened(slot, bytes);
        }
        Ok(open)
    }
}

impl Open {
    /// Opens or creates the file for one writer and mends its end.
    fn new(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    ErrorKind::ResourceBusy,
                    "another process writes to it",
                ));
            }
            // Some network file systems have no locks.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let length = mend(&mut file)?;
        file.sync_all()?;
        sync_folder(path)?;
        Ok(Self::at(identity(&file.metadata()?), file, length))
    }

    /// Starts over behind what is on disk, after a failure.
    fn again(&self) -> io::Result<Arc<Self>> {
        let synced = *self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.set_len(synced)?;
        self.file.sync_all()?;
        Ok(Arc::new(Self::at(self.identity, self.file.try_clone()?, synced)))
    }

    fn at(identity: (u64, u64), file: fs::File, length: u64) -> Self {
        Self {
            file,
            identity,
            written: AtomicU64::new(length),
            synced: Mutex::new(length),
            failed: AtomicBool::new(false),
        }
    }

    /// Returns once everything up to `end` is on disk: by another's fsync or its own.
    fn sync(&self, end: u64) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= end {
            return Ok(());
        }
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("the disk did not take what was written before"));
        }
        let written = self.written.load(Ordering::Acquire);
        match self.file.sync_data() {
            Ok(()) => {
                *synced = written;
                Ok(())
            }
            Err(error) => {
                // A second fsync would say yes without having written anything.
                self.failed.store(true, Ordering::Release);
                Err(error)
            }
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Gives the file's last line an end, or cuts it where a crash tore it. Returns the length.
fn mend(file: &mut fs::File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let start = last_line(file, length)?;
    let tail_bytes = length.saturating_sub(start);
    if tail_bytes == 0 {
        return Ok(length);
    }
    let mut tail = Vec::new();
    if tail_bytes <= TAIL_BYTES_MAX {
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut tail)?;
    }
    let whole = serde_json::from_slice::<IgnoredAny>(&tail).is_ok();
    // What can't be the beginning of an event is not ours to cut.
    let ours = tail.is_empty() || tail.starts_with(b"{") || tail.contains(&0);
    if ours && !whole {
        file.set_len(start)?;
        return Ok(start);
    }
    file.write_all(b"\n")?;
    Ok(length.saturating_add(1))
}

/// Returns where the last line without an end starts; `length` where there is none.
fn last_line(file: &mut fs::File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(TAIL_PIECE_BYTES);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        Read::take(&mut *file, end.saturating_sub(start)).read_to_end(&mut piece)?;
        if let Some(newline) = memchr::memrchr(b'\n', &piece) {
            let behind = u64::try_from(newline).map_err(io::Error::other)?.saturating_add(1);
            return Ok(start.saturating_add(behind));
        }
        end = start;
    }
    Ok(0)
}

/// Renames the file to the number behind the highest there is.
fn put_aside(path: &Path) -> io::Result<()> {
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    let mut highest: u64 = 0;
    for entry in fs::read_dir(folder(path))? {
        let name = entry?.file_name();
        let digits = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        highest = highest.max(number.unwrap_or_default());
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{:06}", highest.saturating_add(1)));
    fs::rename(path, aside)?;
    sync_folder(path)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file is there after a crash only once its folder is on disk too.
fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(folder(path))?.sync_all()
}

/// Looks whether the file could be written, and leaves everything as it was.
fn look(path: &Path) -> io::Result<String> {
    if let Ok(metadata) = fs::metadata(path) {
        OpenOptions::new().append(true).open(path)?;
        return Ok(format!("{}: {} bytes, can be appended to", path.display(), metadata.len()));
    }
    let probe = tempfile::Builder::new().prefix(".walgate-check-").tempfile_in(folder(path))?;
    probe.close()?;
    Ok(format!("{}: not there yet, its folder can be written", path.display()))
}

/// Sorts an I/O error: what only a person mends is the set-up.
fn failure(path: &Path, error: &io::Error) -> Failure {
    let category = match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::ReadOnlyFilesystem => Category::Setup,
        _ => Category::Transient,
    };
    Failure::new(category, format!("{}: {error}", path.display()))
}
