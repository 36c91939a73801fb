//! The tables, and how an older database becomes one of today.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::Error;

/// Every migration in order; the n-th brings schema n-1 to n. Never changed once released.
const MIGRATIONS: [&str; 4] = [
    include_str!("../../sql/state/001_begin.sql"),
    include_str!("../../sql/state/002_shadows.sql"),
    include_str!("../../sql/state/003_origin.sql"),
    include_str!("../../sql/state/004_alerts.sql"),
];

/// The schema of this version.
const KNOWN: u32 = 4;
const _: () = assert!(MIGRATIONS.len() == KNOWN as usize, "a migration and its number go together");

/// `walg`: marks the file as ours.
const APPLICATION_ID: u32 = 0x7761_6C67;

/// How long one waits for another process (a command) that writes: it writes a few rows at most.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Sets what every connection needs.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;")
}

/// Sets what the writer needs: write-ahead log, and a flush at each commit.
pub(super) fn make_durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216;",
    )
}

/// Brings the database to this version, one transaction a migration.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let found = version(connection, path)?;
    for (number, migration) in (1..=KNOWN).zip(MIGRATIONS).skip(found as usize) {
        let mut run = || {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.commit()
        };
        run().map_err(Error::sqlite("migrate"))?;
    }
    Ok(())
}

/// Refuses a database that a reader of this version does not understand.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    match version(connection, path)? {
        // Made by an instance that is starting just now.
        0 => Err(Error::Missing { path: path.to_owned() }),
        found if found < KNOWN => {
            Err(Error::OlderSchema { path: path.to_owned(), found, known: KNOWN })
        }
        _ => Ok(()),
    }
}

fn version(connection: &Connection, path: &Path) -> Result<u32, Error> {
    let pragma = |name: &str| -> Result<u32, Error> {
        connection.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| {
            match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::NotADatabase) => Error::NotOurs { path: path.to_owned() },
                _ => Error::sqlite("read the version of")(error),
            }
        })
    };
    let found = pragma("user_version")?;
    let ours = pragma("application_id")? == APPLICATION_ID;
    let tables: u32 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(Error::sqlite("read the version of"))?;
    match found {
        _ if !ours && (found > 0 || tables > 0) => Err(Error::NotOurs { path: path.to_owned() }),
        found if found > KNOWN => {
            Err(Error::NewerSchema { path: path.to_owned(), found, known: KNOWN })
        }
        found => Ok(found),
    }
}
