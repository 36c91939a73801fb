//! Dead letters that a person sends again, and what keeps an older change from overwriting a
//! newer one.

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::store::{STORED, stored};
use super::{DeadKeys, Filter, Stored};
use crate::lsn::{EventId, Position};
use crate::state::{lsn_from_sql, lsn_to_sql};

/// Why a dead letter is not sent again.
const NEWER: &str =
    "the sink has taken a newer change of the same key; --force sends it all the same";

/// As [`NEWER`], of one that was sent again out of the journal.
const OLD: &str = "it was sent again out of the journal, and the sink may have a newer change of \
                   the same key; --force sends it all the same";

/// As [`NEWER`].
const TRUNCATE: &str =
    "a TRUNCATE is not sent again, as it would remove what came after it; discard it";

/// The columns of a request to send again that matter to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The request's number.
    pub request: i64,
    /// Which.
    pub filter: Filter,
    /// The version of the mapping: none today's, 0 the one that it had.
    pub mapping: Option<u32>,
    /// Although the sink has something newer.
    pub force: bool,
}

/// How many dead letters are sent again, and how many are not because there is something newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// They are on their way.
    pub begun: u64,
    /// They stay where they are.
    pub refused: u64,
}

/// Marks a sink's dead letters to be sent again.
pub(in crate::delivery) fn begin(
    connection: &Connection,
    sink: &str,
    what: &Begin,
) -> rusqlite::Result<Begun> {
    let (selection, mut values) = what.filter.sql();
    let n = values.len();
    values.push(Value::Text(sink.to_owned()));
    values.push(Value::Integer(what.request));
    values.push(what.mapping.map_or(Value::Null, |version| Value::Integer(version.into())));
    values.push(Value::Integer(what.force.into()));
    let dead = format!("{selection} AND sink = ?{} AND state = 'dead'", n + 1);
    let sql = format!(
        "UPDATE dead_letters SET state = 'replaying', request = ?{}, replay_mapping = ?{},
             forced = ?{}, replays = replays + 1, reason = NULL
         WHERE {dead} AND (?{} OR newer_lsn IS NULL) AND op <> 'truncate'",
        n + 2,
        n + 3,
        n + 4,
        n + 4
    );
    let begun = connection.prepare(&sql)?.execute(params_from_iter(&values))? as u64;
    values.truncate(n + 2);
    let sql = format!(
        "UPDATE dead_letters SET request = ?{},
             reason = CASE WHEN op = 'truncate' THEN '{TRUNCATE}'
                 WHEN (newer_lsn, newer_seq) = (commit_lsn, seq) THEN '{OLD}'
                 ELSE '{NEWER}' END WHERE {dead}",
        n + 2
    );
    let refused = connection.prepare(&sql)?.execute(params_from_iter(&values))? as u64;
    Ok(Begun { begun, refused })
}

/// Returns the next of a sink's events that are to be sent again, in stream order. One that has
/// become older than what the sink has stays dead.
pub(in crate::delivery) fn feed(
    connection: &Connection,
    sink: &str,
    from: Position,
    limit: usize,
) -> rusqlite::Result<Vec<Stored>> {
    let sql = "UPDATE dead_letters SET state = 'dead', reason = ?2
               WHERE sink = ?1 AND state = 'replaying' AND NOT forced AND newer_lsn IS NOT NULL";
    connection.prepare(sql)?.execute((sink, NEWER))?;
    let sql = format!(
        "SELECT {STORED} FROM dead_letters
         WHERE sink = ?1 AND state = 'replaying' AND (commit_lsn, seq) >= (?2, ?3)
         ORDER BY commit_lsn, seq LIMIT ?4"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![sink, lsn_to_sql(from.commit_lsn), from.seq, limit];
    connection.prepare(&sql)?.query_map(values, stored)?.collect()
}

/// Leaves an event dead that was to be sent again: the sink has something newer.
pub(in crate::delivery) fn refuse(connection: &Connection, row: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE dead_letters SET state = 'dead', reason = ?2
               WHERE id = ?1 AND state = 'replaying'";
    connection.prepare(sql)?.execute((row, NEWER)).map(drop)
}

/// A change that the sink took, as far as older dead letters care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Newer {
    /// One of this key.
    Key(u64, EventId),
    /// A TRUNCATE of this table, as SQL would quote it.
    Table(String, EventId),
}

/// Notes what the sink took: a dead letter before it is older than what the sink has, and its own
/// dead letter is none any more.
pub(in crate::delivery) fn newer(
    connection: &Connection,
    sink: &str,
    newer: &Newer,
    at_us: i64,
) -> rusqlite::Result<()> {
    let (Newer::Key(_, id) | Newer::Table(_, id)) = newer;
    let Position { commit_lsn, seq } = id.position;
    let note = |condition: &str, of: Value| {
        let sql = format!(
            "UPDATE dead_letters SET newer_lsn = ?3, newer_seq = ?4
             WHERE sink = ?1 AND {condition} AND state IN ('dead', 'replaying')
                 AND \"key\" <> 'null' AND (commit_lsn, seq) < (?3, ?4)"
        );
        let values = params![sink, of, lsn_to_sql(commit_lsn), seq];
        connection.prepare(&sql)?.execute(values).map(drop)
    };
    match newer {
        Newer::Key(key, _) => {
            note("key_hash = ?2", Value::Integer(key.cast_signed()))?;
            note("before_key_hash = ?2", Value::Integer(key.cast_signed()))?;
        }
        Newer::Table(table, _) => note("\"table\" = ?2", Value::Text(table.clone()))?,
    }
    let sql = "UPDATE dead_letters SET state = 'delivered', original = NULL, payload = NULL,
                   last_failed = coalesce(last_failed, ?5)
               WHERE sink = ?1 AND state = 'dead' AND commit_lsn = ?2 AND seq = ?3
                   AND event_id = ?4";
    let values = params![sink, lsn_to_sql(commit_lsn), seq, id.to_string(), at_us];
    connection.prepare(sql)?.execute(values).map(drop)
}

/// Returns the keys of a sink's dead letters whose later changes have to be noted.
pub(in crate::delivery) fn keys_of_dead(
    connection: &Connection,
    sink: &str,
) -> rusqlite::Result<DeadKeys> {
    let sql = "SELECT key_hash, before_key_hash, commit_lsn FROM dead_letters
               WHERE sink = ?1 AND state IN ('dead', 'replaying') AND newer_lsn IS NULL
                   AND \"key\" <> 'null'";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([sink])?;
    let mut keys = DeadKeys::default();
    while let Some(row) = rows.next()? {
        let both: [Option<i64>; 2] = [row.get(0)?, row.get(1)?];
        let both = both.into_iter().flatten().map(i64::cast_unsigned);
        keys.died(both, lsn_from_sql(row.get(2)?));
    }
    Ok(keys)
}
