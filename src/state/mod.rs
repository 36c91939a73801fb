//! The one SQLite database and its folder: opened once, written by one thread, read by anybody.
//!
//! It knows neither Postgres nor sinks: it keeps rows durably, and the stages say which.

pub mod intent;
pub mod meta;
pub mod request;

mod error;
mod folder;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

pub use error::Error;
use writer::Writer;

use crate::lsn::Lsn;

/// The state of one walgate: its folder, locked, and the database in it.
///
/// Clones share one writer thread; the last one dropped ends it and unlocks the folder.
#[derive(Clone, Debug)]
pub struct State {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    // Order matters: fields are dropped from top to bottom, the lock last.
    reader: Arc<Mutex<Connection>>,
    writer: Writer,
    _lock: std::fs::File,
}

impl State {
    /// Opens the state in `folder`, makes it where there is none, and brings it to this version.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another instance has it, [`Error::NewerSchema`] when a later walgate
    /// wrote it, others when the folder or the database can't be used.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        folder::make(folder)?;
        let lock = folder::lock(folder)?;
        let path = folder::database(folder);
        folder::make_private(&path)?;
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        schema::make_durable(&connection).map_err(Error::sqlite("configure"))?;
        schema::migrate(&mut connection, &path)?;
        let reader = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let writer = Writer::start(connection, folder)?;
        let reader = Arc::new(Mutex::new(reader));
        let folder = folder.to_owned();
        Ok(Self { shared: Arc::new(Shared { folder, reader, writer, _lock: lock }) })
    }

    /// Opens the database for reading, beside a running instance or without one.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is no state yet; as [`State::open`] otherwise.
    pub fn open_reader(folder: &Path) -> Result<Reader, Error> {
        let path = folder::database(folder);
        if !path.exists() {
            return Err(Error::Missing { path });
        }
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        schema::check(&connection, &path)?;
        Ok(Reader { connection })
    }

    /// Returns whether an instance runs on the state in `folder`. Changes nothing.
    #[must_use]
    pub fn is_in_use(folder: &Path) -> bool {
        folder::is_locked(folder)
    }

    /// Returns the state's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Runs `work` inside the next group-committed transaction and returns after it is durable.
    ///
    /// An error that `work` returns undoes what `work` did and nothing else.
    ///
    /// Cancel safety: dropped before it is queued, nothing happens; dropped later, the work is
    /// still done and its result lost.
    ///
    /// # Errors
    ///
    /// What `work` returned, or what kept the transaction from committing (then nothing of it is
    /// there and it may be tried again if the category says so).
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.shared.writer.write(work).await
    }

    /// As [`State::write`], for a thread that may block (never a runtime's own).
    ///
    /// # Errors
    ///
    /// As [`State::write`].
    pub fn write_blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.shared.writer.write_blocking(work)
    }

    /// Runs `work` on a read-only connection, in one short transaction.
    ///
    /// Cancel safety: safe; the work is then done and its result lost.
    ///
    /// # Errors
    ///
    /// What `work` returned.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let reader = Arc::clone(&self.shared.reader);
        let task = tokio::task::spawn_blocking(move || {
            let connection = reader.lock().unwrap_or_else(PoisonError::into_inner);
            read(&connection, work)
        });
        task.await.map_err(|_| Error::Stopped)?
    }

    /// As [`State::read`], for a thread that may block.
    ///
    /// # Errors
    ///
    /// What `work` returned.
    pub fn read_blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<T>,
    {
        read(&self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner), work)
    }
}

/// A read-only view of a state, for commands.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Runs `work` in one transaction, so that all it reads is of one moment. Keep it short: what
    /// it sees can't be reclaimed meanwhile.
    ///
    /// # Errors
    ///
    /// What `work` returned.
    pub fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<T>,
    {
        read(&self.connection, work)
    }
}

/// Returns an LSN as the database keeps it: the same bits, signed.
#[must_use]
pub const fn lsn_to_sql(lsn: Lsn) -> i64 {
    lsn.0.cast_signed()
}

/// Returns an LSN that the database kept.
#[must_use]
pub const fn lsn_from_sql(value: i64) -> Lsn {
    Lsn(value.cast_unsigned())
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let open = || {
        let connection =
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        schema::configure(&connection)?;
        Ok(connection)
    };
    open().map_err(Error::sqlite("open"))
}

fn read<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let run = || {
        let transaction = connection.unchecked_transaction()?;
        let value = work(&transaction)?;
        transaction.finish()?;
        Ok(value)
    };
    run().map_err(Error::sqlite("read"))
}
