//! What lies in walgate's state folder, looked at and made beside it.

use rusqlite::{Connection, OpenFlags};

use super::process::{Walgate, eventually};
use super::road::{PATIENCE, Road};

/// Returns the first number that a query gives, beside a running instance.
#[track_caller]
pub(crate) fn number(walgate: &Walgate, sql: &str) -> i64 {
    let path = walgate.folder().join("walgate-state/walgate.db");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, flags).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Returns how many dead letters there are that fit a condition.
#[track_caller]
pub(crate) fn letters(walgate: &Walgate, condition: &str) -> i64 {
    number(walgate, &format!("SELECT count(*) FROM dead_letters WHERE {condition}"))
}

/// Runs statements in the state of an instance that does not run.
#[track_caller]
pub(crate) fn change(walgate: &Walgate, sql: &str) {
    let path = walgate.folder().join("walgate-state/walgate.db");
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
    connection.execute_batch(&format!("BEGIN; {sql}; COMMIT")).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// Keeps an instance that runs from writing until it is dropped.
#[track_caller]
pub(crate) fn locked(walgate: &Walgate) -> Connection {
    let connection = Connection::open(walgate.folder().join("walgate-state/walgate.db")).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

/// Waits until nothing is left to load.
#[track_caller]
pub(crate) fn loaded(road: &Road) {
    let open = "SELECT (SELECT count(*) FROM loads WHERE state IN ('running', 'paused'))
                     + (SELECT count(*) FROM known WHERE to_load = 1)
                     + NOT EXISTS (SELECT 1 FROM known WHERE kind = 'route')";
    eventually("all is loaded", PATIENCE, || number(&road.walgate, open) == 0);
}
