//! Tables that are renamed, emptied, altered or made anew while they are loaded, and servers that
//! lose what they were loaded with.

use serde_json::json;

use super::super::support::process::eventually;
use super::super::support::receiver::{Journal, Receiver};
use super::super::support::road::{PATIENCE, Road, T};
use super::super::support::state;
use super::{
    FILLED, arrived, backfill, batches, behind_a_gap, builder, filled, loaded, reads, route,
};

/// A table that only its load has brought is followed like any other.
#[test]
fn a_table_that_was_loaded_and_then_renamed_is_followed() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    road.start();
    loaded(&road);
    road.confirms(&road.wal_end());
    road.sql("ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (6000, 'later')");
    road.confirms(&road.wal_end());
    let events = receiver.journal().events();
    let last = &events.last().unwrap().0;
    assert_eq!((events.len(), &last["table"]), (5001, &json!("public.u")));
}

#[test]
fn a_table_that_is_emptied_or_altered_meanwhile_is_loaded_as_it_is() {
    let receiver = Receiver::start();
    let route = format!(
        "{}on = [\"insert\", \"update\", \"delete\", \"read\", \"truncate\"]\n",
        route("t", "far")
    );
    let sinks = format!("{}{route}", batches(&receiver.url("/")));
    let mut road = Road::quiet(builder(), T, &sinks);
    road.sql(FILLED);
    road.sql("INSERT INTO t SELECT i, 'row ' || i FROM generate_series(5001, 60000) i");
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road.start();
    receiver.wait("it is under way", PATIENCE, |journal| !journal.events().is_empty());
    road.sql("ALTER TABLE t ADD COLUMN w int DEFAULT 7");
    road.sql("TRUNCATE t");
    road.sql("INSERT INTO t VALUES (1, 'new', 8)");
    road.sql("ALTER TABLE t DROP COLUMN w");
    loaded(&road);
    road.sql("UPDATE t SET v = 'newest'");
    arrived(&road, &receiver);
}

/// Rows of the table of [`cut_short`].
const ROWS: usize = 200_000;

/// A road whose load has begun.
#[track_caller]
fn under_way(receiver: &Receiver) -> Road {
    let mut road = filled(receiver);
    road.sql(&format!("INSERT INTO t SELECT i, 'more' FROM generate_series(5001, {ROWS}) i"));
    // Nothing but its first rows is waited for: it is over soon.
    road.walgate.start(&[]);
    receiver.wait("the first rows", PATIENCE, |journal| journal.events_processed > 0);
    road
}

/// One whose load ended in the middle.
#[track_caller]
fn cut_short(receiver: &Receiver) -> Road {
    let mut road = under_way(receiver);
    road.walgate.kill();
    let open = "SELECT count(*) FROM loads WHERE state = 'running' AND \"cursor\" IS NOT NULL";
    assert_eq!(state::number(&road.walgate, open), 1);
    road
}

/// The ids of the rows that were read, each once.
fn ids(journal: &Journal) -> usize {
    let events = journal.events();
    let reads = events.iter().filter(|event| event.op() == "read");
    let ids: std::collections::BTreeSet<_> = reads.map(|e| e.0["data"]["id"].as_u64()).collect();
    ids.len()
}

#[test]
fn a_table_that_is_renamed_while_it_is_loaded_is_followed_by_either_name() {
    let receiver = Receiver::start();
    let mut road = cut_short(&receiver);
    road.sql("ALTER TABLE t RENAME TO renamed");
    road.start();
    loaded(&road);
    road.confirms(&road.wal_end());
    let journal = receiver.journal();
    assert_eq!(ids(&journal), ROWS);
    assert!(reads(&journal) < 2 * ROWS, "it went on where it was");
    let last = journal.events().pop().unwrap();
    assert_eq!(last.0["table"], "public.renamed");
    let before = reads(&journal);
    for name in ["public.renamed", "public.t"] {
        let (code, said) = backfill(&road, &["start", name, "--where", "id <= 3"]);
        assert_eq!(code, 0, "{said}");
    }
    road.confirms(&road.wal_end());
    assert_eq!(reads(&receiver.journal()), before + 6);
}

#[test]
fn a_table_that_is_renamed_under_its_reader_is_followed() {
    let receiver = Receiver::start();
    let road = under_way(&receiver);
    road.sql("ALTER TABLE t RENAME TO renamed; CREATE SCHEMA other");
    road.sql("ALTER TABLE renamed SET SCHEMA other");
    road.sql("GRANT USAGE ON SCHEMA other TO walgate");
    loaded(&road);
    road.confirms(&road.wal_end());
    let journal = receiver.journal();
    assert_eq!((ids(&journal), reads(&journal)), (ROWS, ROWS));
    let last = journal.events().pop().unwrap();
    assert_eq!(last.0["table"], "other.renamed");
}

#[test]
fn a_table_that_is_made_anew_while_it_is_loaded_is_loaded_from_its_first_row() {
    let receiver = Receiver::start();
    let mut road = cut_short(&receiver);
    road.sql("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text)");
    road.sql("INSERT INTO t SELECT i, 'anew' FROM generate_series(1, 10) i");
    road.start();
    loaded(&road);
    road.confirms(&road.wal_end());
    let events = receiver.journal().events();
    let anew = events.iter().filter(|event| event.op() == "read" && event.0["data"]["v"] == "anew");
    assert_eq!(anew.count(), 10);
    assert!(road.walgate.log().contains("made anew"), "it is said");
}

/// What a kill leaves between the storing of a piece and its place in the journal, and then the
/// place never comes: the stream goes on behind it.
#[test]
fn a_piece_whose_place_a_gap_took_is_read_again() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    road.start();
    arrived(&road, &receiver);
    road.stop();
    let piece = "INSERT INTO pieces (commit_lsn, end_lsn, load, records, rows)
                 SELECT received + 8, received + 16, 1, x'', 5000 FROM meta";
    state::change(&road.walgate, piece);
    road.sql("SELECT pg_drop_replication_slot('walgate')");
    road.start_with(&["--accept-gap"]);
    let lost = "SELECT count(*) FROM pieces WHERE records = x''";
    eventually("the piece is given up", PATIENCE, || state::number(&road.walgate, lost) == 0);
    let journal = arrived(&road, &receiver);
    assert_eq!(reads(&journal), 10_000);
    let rows = "SELECT rows FROM loads WHERE state = 'done'";
    assert_eq!(state::number(&road.walgate, rows), 5000);
}

/// What the journal has under a table's old name is known of it under the new one.
#[test]
fn a_sweep_of_a_renamed_table_finds_what_was_deleted_under_its_old_name() {
    let receiver = Receiver::start();
    let lost = "ALTER TABLE t RENAME TO u; DELETE FROM u WHERE id <= 10";
    let road = behind_a_gap(&receiver, lost);
    road.sql("INSERT INTO u VALUES (6000, 'x')");
    road.confirms(&road.wal_end());
    let (code, said) = backfill(&road, &["start", "public.u", "--sweep"]);
    assert_eq!(code, 0, "{said}");
    road.confirms(&road.wal_end());
    let events = receiver.journal().events();
    assert_eq!(events.iter().filter(|event| event.op() == "delete").count(), 10);
}
