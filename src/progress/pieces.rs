//! Pieces of loads that have their place in the stream, until they are in the journal for good.
//! Functions to run inside `State::write` and `State::read`.

use rusqlite::{Connection, OptionalExtension};

use super::load::{Step, step};
use crate::lsn::{Lsn, Timestamp};
use crate::state::{lsn_from_sql, lsn_to_sql};

/// Stores a piece at its place in the stream together with [`step`], and forgets those that nobody
/// can need any more: the stream never begins below `safe` again.
///
/// # Errors
/// Any of SQLite's.
pub fn keep(
    connection: &Connection,
    made: &Step,
    (commit_lsn, end_lsn): (Lsn, Lsn),
    records: &[u8],
    safe: Lsn,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM pieces WHERE end_lsn <= ?1", [lsn_to_sql(safe)])?;
    let sql = "INSERT OR REPLACE INTO pieces (commit_lsn, end_lsn, load, \"before\", rows, records)
               VALUES (?1, ?2, ?3, (SELECT \"cursor\" FROM loads WHERE id = ?3), ?4, ?5)";
    let (commit_lsn, end_lsn) = (lsn_to_sql(commit_lsn), lsn_to_sql(end_lsn));
    let values = (commit_lsn, end_lsn, made.load, made.rows.cast_signed(), records);
    connection.prepare(sql)?.execute(values)?;
    step(connection, made, now)
}

/// Gives up the pieces whose places end behind `lsn`: they never come, as the stream goes on behind
/// a gap, or on another timeline. Their loads go back to where they were.
///
/// # Errors
/// Any of SQLite's.
pub fn give_back(connection: &Connection, lsn: Lsn) -> rusqlite::Result<()> {
    let lost = "SELECT load, \"before\", rows FROM pieces WHERE end_lsn > ?1 ORDER BY end_lsn DESC";
    // One that was over goes on; one that a person stopped or gave up stays so.
    let back = "UPDATE loads SET \"cursor\" = ?2, rows = max(0, rows - ?3),
                       state = CASE state WHEN 'done' THEN 'running' ELSE state END
                WHERE id = ?1";
    let (mut lost, mut back) = (connection.prepare(lost)?, connection.prepare(back)?);
    let mut pieces = lost.query([lsn_to_sql(lsn)])?;
    while let Some(piece) = pieces.next()? {
        let (load, before, rows): (i64, Option<String>, i64) =
            (piece.get(0)?, piece.get(1)?, piece.get(2)?);
        back.execute((load, before, rows))?;
    }
    let forget = "DELETE FROM pieces WHERE end_lsn > ?1";
    connection.prepare(forget)?.execute([lsn_to_sql(lsn)]).map(drop)
}

/// Returns where pieces lie that may have to come again.
///
/// # Errors
/// Any of SQLite's.
pub fn kept(connection: &Connection) -> rusqlite::Result<Vec<Lsn>> {
    let mut statement = connection.prepare("SELECT commit_lsn FROM pieces")?;
    statement.query_map([], |row| Ok(lsn_from_sql(row.get(0)?)))?.collect()
}

/// Returns the records of the piece at a place.
///
/// # Errors
/// Any of SQLite's.
pub fn records(connection: &Connection, commit_lsn: Lsn) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT records FROM pieces WHERE commit_lsn = ?1";
    connection.prepare(sql)?.query_row([lsn_to_sql(commit_lsn)], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use super::super::load::{self, LoadState, Wanted};
    use super::*;
    use crate::state::State;

    const AT: Timestamp = Timestamp::from_unix_micros(0);

    /// Runs `work` with a load of this number.
    fn within(work: impl FnOnce(&Connection, i64) -> rusqlite::Result<()> + Send + 'static) {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state")).unwrap();
        let wanted = Wanted {
            table: "public.t".to_owned(),
            sink: None,
            routes: Vec::new(),
            filter: None,
            sweep: false,
        };
        let with = move |connection: &Connection| {
            let id = load::add(connection, &wanted, AT)?;
            work(connection, id)
        };
        state.write_blocking(with).unwrap();
    }

    fn a_step(load: i64, next: Option<&str>) -> Step {
        Step { load, rows: 10, next: next.map(str::to_owned) }
    }

    #[test]
    fn a_piece_is_kept_until_the_stream_can_not_bring_its_place_again() {
        within(|connection, id| {
            let step = a_step(id, Some("next"));
            keep(connection, &step, (Lsn(10), Lsn(12)), b"one", Lsn(0), AT)?;
            keep(connection, &step, (Lsn(20), Lsn(22)), b"two", Lsn(11), AT)?;
            assert_eq!(kept(connection)?, [Lsn(10), Lsn(20)]);
            keep(connection, &step, (Lsn(30), Lsn(32)), b"three", Lsn(12), AT)?;
            assert_eq!(kept(connection)?, [Lsn(20), Lsn(30)]);
            assert_eq!(records(connection, Lsn(20))?.as_deref(), Some(&b"two"[..]));
            assert_eq!(records(connection, Lsn(10))?, None);
            Ok(())
        });
    }

    #[test]
    fn pieces_whose_places_never_come_give_their_load_back_what_it_had_done() {
        within(|connection, id| {
            let now = |connection: &Connection| load::get(connection, id).map(Option::unwrap);
            keep(connection, &a_step(id, Some("one")), (Lsn(10), Lsn(12)), b"", Lsn(0), AT)?;
            keep(connection, &a_step(id, Some("two")), (Lsn(20), Lsn(22)), b"", Lsn(0), AT)?;
            keep(connection, &a_step(id, None), (Lsn(30), Lsn(32)), b"", Lsn(0), AT)?;
            assert_eq!(now(connection)?.state, LoadState::Done);
            give_back(connection, Lsn(32))?;
            assert_eq!(now(connection)?.state, LoadState::Done, "all of them came");
            give_back(connection, Lsn(12))?;
            let load = now(connection)?;
            assert_eq!((load.state, load.rows), (LoadState::Running, 10));
            assert_eq!(load.cursor.as_deref(), Some("one"));
            assert_eq!(kept(connection)?, [Lsn(10)]);
            give_back(connection, Lsn(0))?;
            assert_eq!((now(connection)?.cursor, now(connection)?.rows), (None, 0));
            Ok(())
        });
    }
}
