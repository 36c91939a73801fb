//! The state's folder on disk: private, and locked by whoever runs on it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Error;

const DATABASE: &str = "walgate.db";
const LOCK: &str = "lock";

/// A command that looks who runs holds the lock for less than this: one that is taken for so long
/// so many times in a row is an instance's.
const LOOK: Duration = Duration::from_millis(10);
/// See [`LOOK`].
const LOOKS_MAX: u32 = 5;

/// Returns the database's path.
pub(super) fn database(folder: &Path) -> PathBuf {
    folder.join(DATABASE)
}

/// Makes the folder for its owner alone; one that was there loses the rights of others.
pub(super) fn make(folder: &Path) -> Result<(), Error> {
    let failed = |doing| move |source| failure(doing, folder, source);
    if !folder.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed("make the state folder"))?;
        // The folder's own name must outlive a power cut too.
        if let Some(parent) = folder.parent() {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent)
                .and_then(|parent| parent.sync_all())
                .map_err(failed("flush the parent of the state folder"))?;
        }
        return Ok(());
    }
    let mode = folder.metadata().map_err(failed("look at the state folder"))?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(folder, Permissions::from_mode(0o700))
            .map_err(failed("make private the state folder"))?;
    }
    Ok(())
}

/// Takes the folder's lock. It ends with the file handle, so with the process however it ends.
pub(super) fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let failed = |doing| {
        let path = path.clone();
        move |source| failure(doing, &path, source)
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open the lock"))?;
    let mut tries = 0;
    let locked = loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if tries < LOOKS_MAX => {
                tries += 1;
                std::thread::park_timeout(LOOK);
            }
            locked => break locked,
        }
    };
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = file.take(32).read_to_string(&mut holder);
            let holder = read.ok().and_then(|_| holder.trim().parse().ok());
            return Err(Error::Locked { path: folder.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(failure("lock", &path, source)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()));
    match written {
        // The id is for people only: a full disk must not keep anybody from starting.
        Err(error) if error.kind() != io::ErrorKind::StorageFull => {
            Err(failure("write the lock", &path, error))
        }
        _ => Ok(file),
    }
}

/// Looks whether somebody holds the folder's lock, without taking it for longer than a moment.
pub(super) fn is_locked(folder: &Path) -> bool {
    let lock = File::open(folder.join(LOCK));
    lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Makes a file that only its owner reads; SQLite gives its side files the same rights.
pub(super) fn make_private(path: &Path) -> Result<(), Error> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.map(drop).map_err(|source| failure("open the database", path, source))
}

fn failure(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Folder { doing, path: path.to_owned(), source: Arc::new(source) }
}
