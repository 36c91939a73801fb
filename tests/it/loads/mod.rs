//! Rows that were there before: loaded once, beside the stream, over whatever happens meanwhile.

mod asked;
mod moved;

use std::time::Duration;

use serde_json::Value;
use walgate::demo::cluster::{Builder, Cluster};

use super::support::load::Load;
use super::support::process::eventually;
use super::support::receiver::{Journal, Receiver};
use super::support::road::{PATIENCE, Road, T, http, route as from_now};
use super::support::state::{self, loaded};

const FILLED: &str = "INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 5000) i";

/// A route that begins with the rows that are there.
fn route(table: &str, sink: &str) -> String {
    format!(
        "[[route]]\nname = \"{table}-to-{sink}\"\ntable = \"public.{table}\"\nsink = \"{sink}\"\n"
    )
}

fn builder() -> Builder {
    Cluster::builder()
}

/// With extensions, locales, and publications that filter rows.
fn debian() -> Builder {
    Cluster::builder().major(15)
}

fn batches(url: &str) -> String {
    http("far", url, "batch = { max_events = 500 }")
}

/// A road that has not begun, with what is there before in `t`.
#[track_caller]
fn filled(receiver: &Receiver) -> Road {
    let sinks = format!("{}{}", batches(&receiver.url("/")), route("t", "far"));
    let road = Road::quiet(builder(), T, &sinks);
    road.sql(FILLED);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road
}

#[track_caller]
fn arrived(road: &Road, receiver: &Receiver) -> Journal {
    loaded(road);
    road.arrived(receiver)
}

/// A road whose slot is lost after all was loaded, and that goes on behind the gap in which `sql` ran.
#[track_caller]
fn behind_a_gap(receiver: &Receiver, sql: &str) -> Road {
    let mut road = filled(receiver);
    road.start();
    arrived(&road, receiver);
    road.stop();
    road.sql("SELECT pg_drop_replication_slot('walgate')");
    road.sql(sql);
    road.start_with(&["--accept-gap"]);
    road
}

fn reads(journal: &Journal) -> usize {
    journal.events().iter().filter(|event| event.op() == "read").count()
}

#[test]
fn the_rows_that_are_there_come_first_and_then_what_happens() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    road.start();
    let journal = arrived(&road, &receiver);
    assert_eq!(reads(&journal), 5000);
    let event = &journal.events()[0].0;
    assert_eq!(event["data"]["v"], "row 1");
    assert_eq!(event["commit"].get("xid"), None);
    assert!(!road.walgate.log().contains("a load waits"), "no piece is read twice for nothing");
    road.sql("UPDATE t SET v = 'new' WHERE id = 7; DELETE FROM t WHERE id = 8");
    arrived(&road, &receiver);
    road.stop();
    // It is done for good.
    road.start();
    let journal = arrived(&road, &receiver);
    assert_eq!(reads(&journal), 5000);
}

/// D9, D10: what was written while a load began, or while a piece of it was read, was in neither or
/// came back older.
#[test]
fn a_table_under_load_is_loaded_while_it_changes() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    let load = Load::start(&road, Duration::from_millis(1));
    load.goes_on(20);
    road.start();
    loaded(&road);
    load.goes_on(50);
    drop(load);
    let journal = arrived(&road, &receiver);
    assert!(reads(&journal) > 4000, "{}", reads(&journal));
}

/// D8, D11: rows of a load were confirmed before they were delivered, or what happened to those that
/// were read already was lost with a restart.
///
/// Kills walgate and starts it again, over and over, while a table is loaded and changes.
#[test]
fn a_load_that_is_killed_again_and_again_goes_on_where_it_was() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    road.sql("INSERT INTO t SELECT i, 'more ' || i FROM generate_series(10001, 40000) i");
    let load = Load::start(&road, Duration::from_millis(2));
    road.start();
    for round in 1..=10 {
        load.goes_on(5 * round);
        road.walgate.kill();
        road.start();
    }
    loaded(&road);
    drop(load);
    let journal = arrived(&road, &receiver);
    let reads = reads(&journal);
    // What changed while its piece was read came by the stream alone; a few pieces came twice.
    assert!((20_000..80_000).contains(&reads), "{reads}");
    assert_eq!(state::number(&road.walgate, "SELECT count(*) FROM loads WHERE state = 'done'"), 1);
}

const ODD_KEYS: &str = "
    CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('z', 'a', 'm');
    CREATE COLLATION german (provider = icu, locale = 'de-DE');
    CREATE TABLE composite (region text COLLATE german, id int, v text, PRIMARY KEY (region, id));
    INSERT INTO composite SELECT (ARRAY['ä', 'B', 'a', 'Z'])[1 + i % 4], i, 'x' FROM generate_series(1, 2500) i;
    CREATE TABLE numbers (id numeric PRIMARY KEY, v text);
    INSERT INTO numbers SELECT (i - 1200) / 7.0, 'x' FROM generate_series(1, 2500) i;
    INSERT INTO numbers VALUES ('NaN', 'nan'), ('Infinity', 'inf'), ('-Infinity', '-inf');
    CREATE TABLE uuids (id uuid PRIMARY KEY, v text);
    INSERT INTO uuids SELECT md5(i::text)::uuid, 'x' FROM generate_series(1, 2500) i;
    CREATE TABLE texts (id citext PRIMARY KEY, v text);
    INSERT INTO texts SELECT chr(65 + i % 26) || chr(97 + i % 25) || i, 'x' FROM generate_series(1, 2500) i;
    CREATE TABLE times (id timestamptz, mood mood, v text, PRIMARY KEY (id, mood));
    INSERT INTO times SELECT '2024-01-01'::timestamptz + (i / 3) * interval '1 microsecond',
        (ARRAY['z', 'a', 'm']::mood[])[1 + i % 3], 'x' FROM generate_series(0, 2499) i;
    INSERT INTO times VALUES ('infinity', 'a', 'x'), ('-infinity', 'a', 'x');
    CREATE TABLE padded (id char(6), n bytea, v text, PRIMARY KEY (id, n));
    INSERT INTO padded SELECT i % 100, decode(md5(i::text), 'hex'), 'x' FROM generate_series(1, 2500) i;
    CREATE TABLE indexed (a int NOT NULL, b text, id int PRIMARY KEY);
    CREATE UNIQUE INDEX by_a ON indexed (a);
    ALTER TABLE indexed REPLICA IDENTITY USING INDEX by_a;
    INSERT INTO indexed SELECT -i, 'x', i FROM generate_series(1, 2500) i;
    CREATE TABLE patterned (a text COLLATE german NOT NULL, v text);
    CREATE UNIQUE INDEX by_pattern ON patterned (a text_pattern_ops);
    ALTER TABLE patterned REPLICA IDENTITY USING INDEX by_pattern;
    INSERT INTO patterned SELECT (ARRAY['ä', 'B', 'a', 'Z'])[1 + i % 4] || i, 'x' FROM generate_series(1, 2500) i;
    CREATE TABLE included (id int, v text, PRIMARY KEY (id) INCLUDE (v));
    INSERT INTO included SELECT i, 'x' FROM generate_series(1, 2500) i;
    CREATE TABLE keyless (v int);
    INSERT INTO keyless SELECT i FROM generate_series(1, 60000) i;
    CREATE TABLE nothing (id int PRIMARY KEY);
    CREATE TABLE bare ();
    INSERT INTO bare DEFAULT VALUES;
    CREATE TABLE parent (id int PRIMARY KEY, v text);
    CREATE TABLE child (more int) INHERITS (parent);
    INSERT INTO parent VALUES (1, 'parent');
    INSERT INTO child VALUES (2, 'child', 3);
    CREATE TABLE made (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, v text);
    INSERT INTO made (id, v) SELECT i, 'x' FROM generate_series(1, 10) i;
    CREATE TABLE sliced (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE low PARTITION OF sliced FOR VALUES FROM (0) TO (1000);
    CREATE TABLE high (v text, id int NOT NULL);
    ALTER TABLE sliced ATTACH PARTITION high FOR VALUES FROM (1000) TO (9000);
    INSERT INTO sliced SELECT i, 'x' FROM generate_series(1, 2500) i;
    CREATE TABLE listed (id int PRIMARY KEY, shown text, hidden text);
    INSERT INTO listed SELECT i, 'shown', 'hidden' FROM generate_series(1, 100) i;";

/// How many rows of each table have to come.
const COUNTS: [(&str, usize); 16] = [
    ("composite", 2500),
    ("numbers", 2503),
    ("uuids", 2500),
    ("texts", 2500),
    ("times", 2502),
    ("padded", 2500),
    ("indexed", 2500),
    ("patterned", 2500),
    ("included", 2500),
    ("keyless", 60_000),
    ("nothing", 0),
    ("bare", 1),
    ("parent", 1),
    ("child", 1),
    ("made", 10),
    ("sliced", 2500),
];

/// D12: a key that could not be compared ended the load early.
#[test]
fn every_row_of_a_table_with_an_odd_key_comes_once() {
    let receiver = Receiver::start();
    let route = "[[route]]\nname = \"all\"\ntable = \"public.*\"\nsink = \"far\"\n";
    let sinks = format!("{}{route}", batches(&receiver.url("/")));
    let mut road = Road::quiet(debian(), ODD_KEYS, &sinks);
    let tables: Vec<&str> = COUNTS.iter().map(|(table, _)| *table).collect();
    // Children are named on their own, or they come with their parent.
    let tables = tables.join(", ").replace("parent, child", "ONLY parent, child");
    road.sql(&format!(
        "CREATE PUBLICATION walgate FOR TABLE {tables}, listed (id, shown) WHERE (id <= 7)
         WITH (publish_via_partition_root = true)"
    ));
    road.start();
    loaded(&road);
    road.confirms(&road.wal_end());
    let events = receiver.journal().events();
    let of = |table: &str| {
        let name = format!("public.{table}");
        events.iter().filter(move |event| event.0["table"] == name.as_str())
    };
    for (table, count) in COUNTS {
        let keys: std::collections::BTreeSet<String> =
            of(table).map(|event| format!("{}{}", event.0["key"], event.0["data"])).collect();
        let seen = of(table).count();
        assert_eq!((table, seen), (table, count));
        let distinct = if table == "composite" { keys.len() } else { count };
        assert_eq!((table, keys.len()), (table, distinct));
    }
    let listed: Vec<_> = of("listed").collect();
    assert_eq!(listed.len(), 7, "the publication's row filter");
    assert_eq!(listed[0].0["data"], serde_json::json!({ "id": 1, "shown": "shown" }));
    assert_eq!(of("made").next().unwrap().0["data"], serde_json::json!({ "id": 1, "v": "x" }));
    let sliced = of("sliced").next_back().unwrap();
    assert_eq!(sliced.0["data"], serde_json::json!({ "id": 2500, "v": "x" }));
    assert_eq!(of("included").next().unwrap().0["key"], serde_json::json!({ "id": 1 }));
}

#[test]
fn a_row_is_the_same_byte_for_byte_by_load_and_by_stream() {
    let schema = "
        CREATE EXTENSION hstore;
        CREATE TYPE pair AS (a int, b text);
        CREATE DOMAIN positive AS numeric CHECK (VALUE > 0);
        CREATE TABLE t (id int PRIMARY KEY, n numeric, f float8, r float4, b bool, d date,
            ts timestamp, tz timestamptz, i interval, j json, jb jsonb, by bytea, a int[], ta text[],
            p pair, h hstore, x positive, c char(5), m money, u uuid, ip inet, range int4range,
            t text, reg regclass, bits bit(5));
        INSERT INTO t VALUES (1, 12.50, 0.30000000000000004, 1e20, true, '0044-03-15 BC',
            '2024-02-03 13:05:06.789', '2024-02-03 13:05:06.789+05', '1 mon -2 days 03:04:05',
            '{\"a\" : 1}', '{\"b\": 1.10}', '\\x00ff', '{{1,2},{3,NULL}}', '{\"a,b\",NULL,\"q\\\"\"}',
            '(1,\"x y\")', '\"a\"=>NULL', 7, 'ab', '12.34', gen_random_uuid(), '192.168.0.1/12',
            '[1,5)', E'tab\\t\\\\N\\n\u{1F600}', 'pg_class', '00101'), (2);";
    let schema = schema.replace(", (2);", "; INSERT INTO t (id) VALUES (2);");
    let receiver = Receiver::start();
    let sinks = format!("{}{}", batches(&receiver.url("/")), route("t", "far"));
    let mut road = Road::quiet(debian(), &schema, &sinks);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road.sql("ALTER DATABASE postgres SET datestyle = 'German'");
    road.start();
    loaded(&road);
    road.sql("UPDATE t SET id = id");
    road.confirms(&road.wal_end());
    let journal = receiver.journal();
    for (key, events) in journal.by_key() {
        let [read, update] = &events[..] else { panic!("{key}: {events:?}") };
        assert_eq!((read.op(), update.op()), ("read", "update"));
        assert_eq!(read.0["data"].to_string(), update.0["data"].to_string(), "{key}");
    }
    assert_eq!(journal.events().len(), 4);
}

/// Runs `walgate backfill …`; returns its exit code and what it said.
#[track_caller]
fn backfill(road: &Road, args: &[&str]) -> (i32, String) {
    let output = road.walgate.call(&[&["backfill"], args].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

/// Returns what `walgate backfill list` tells.
#[track_caller]
fn listed(road: &Road) -> Vec<Value> {
    let output = road.walgate.call(&["backfill", "list", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn reason(road: &Road) -> String {
    let output = road.walgate.call(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["source"]["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_right_that_is_missing_is_said_and_waited_for() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    road.sql("CREATE ROLE reader LOGIN REPLICATION; GRANT USAGE ON SCHEMA public TO reader");
    let url = road.cluster.url("reader", "postgres");
    let sinks = format!("{}{}", batches(&receiver.url("/")), route("t", "far"));
    road.configure_at(&url, "", "", &sinks);
    road.start();
    eventually("it says so", PATIENCE, || reason(&road).contains("permission denied for table t"));
    road.sql("ALTER TABLE t ENABLE ROW LEVEL SECURITY; GRANT SELECT ON t TO reader");
    let hidden = "query would be affected by row-level security policy";
    eventually("it is no less", PATIENCE, || reason(&road).contains(hidden));
    assert_eq!(reads(&receiver.journal()), 0);
    // Nobody waits for ever for what a person has to do.
    road.stop();
    let output = road.walgate.call(&["run", "--until-caught-up", "--timeout", "60s"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("halted: loading public.t (") && said.contains(hidden), "{said}");
    road.start();
    road.sql("ALTER ROLE reader BYPASSRLS");
    assert_eq!(reads(&arrived(&road, &receiver)), 5000);
    eventually("nothing is left to say", PATIENCE, || reason(&road).is_empty());
}

#[test]
fn a_right_that_is_missing_is_waited_for_where_a_condition_is_asked_for_too() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    road.sql("CREATE ROLE reader LOGIN REPLICATION; GRANT USAGE ON SCHEMA public TO reader");
    let url = road.cluster.url("reader", "postgres");
    let sinks = format!("{}{}start = \"now\"\n", batches(&receiver.url("/")), route("t", "far"));
    road.configure_at(&url, "", "", &sinks);
    road.start();
    let args = ["start", "public.t", "--where", "id > 0", "--no-wait"];
    assert_eq!(backfill(&road, &args).0, 0);
    eventually("it is tried", PATIENCE, || {
        listed(&road).first().is_some_and(|load| load["reason"].is_string())
    });
    assert_eq!(listed(&road)[0]["state"], "running", "{:?}", listed(&road));
    road.sql("GRANT SELECT ON t TO reader");
    assert_eq!(reads(&arrived(&road, &receiver)), 5000);
}

#[test]
fn tables_that_wait_hold_no_other_table_back() {
    let receiver = Receiver::start();
    let sinks = format!("{}{}", batches(&receiver.url("/")), route("*", "far"));
    let sinks = sinks.replace("*-to-far", "all");
    let mut road = Road::quiet(builder(), T, &sinks);
    road.sql(FILLED);
    for table in ["a", "b", "c", "d", "e"] {
        road.sql(&format!("CREATE TABLE {table} (id int PRIMARY KEY)"));
    }
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road.sql("CREATE ROLE reader LOGIN REPLICATION; GRANT USAGE ON SCHEMA public TO reader");
    road.sql("GRANT SELECT ON t TO reader");
    let url = road.cluster.url("reader", "postgres");
    road.configure_at(&url, "", "", &sinks);
    road.start();
    receiver.wait("the table that may be read comes", PATIENCE, |journal| reads(journal) == 5000);
    eventually("it says so", PATIENCE, || reason(&road).contains("permission denied for table a"));
    road.sql("GRANT SELECT ON a, b, c, d, e TO reader");
    loaded(&road);
}

#[test]
fn a_run_until_caught_up_loads_everything_first() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    let output = road.walgate.call(&["run", "--until-caught-up", "--timeout", "60s"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(reads(&receiver.journal()), 5000);
    road.start();
    road.arrived(&receiver);
}

#[test]
fn a_row_that_the_stream_has_and_a_read_does_not_see_yet_is_waited_for() {
    let receiver = Receiver::start();
    let sinks = http("far", &receiver.url("/"), "") + &from_now("t", "far");
    // From its start on, as a session can't tell when a server that runs has taken it up.
    let builder = builder()
        .setting("synchronous_standby_names", "nobody")
        .setting("synchronous_commit", "local");
    let road = Road::new(builder, T, &sinks);
    road.sql("INSERT INTO t SELECT i, 'old' FROM generate_series(1, 20) i");
    road.arrived(&receiver);
    // Its commit is in the log and waits for a standby that never comes: nobody sees it.
    let url = road.cluster.url("postgres", "postgres");
    let waiting = std::thread::spawn(move || {
        super::support::road::runtime().block_on(async {
            let session = walgate::demo::cluster::Session::open(&url).await.unwrap();
            session.batch_execute("SET synchronous_commit = on").await.unwrap();
            session.batch_execute("UPDATE t SET v = 'new' WHERE id = 7").await.unwrap();
        });
    });
    receiver.wait("the stream brings it", PATIENCE, |journal| {
        journal.events().iter().any(|event| event.0["data"]["v"] == "new")
    });
    assert_eq!(road.value("SELECT v FROM t WHERE id = 7"), "old");
    assert_eq!(backfill(&road, &["start", "public.t", "--no-wait"]).0, 0);
    eventually("it waits", PATIENCE, || reason(&road).contains("not visible yet"));
    assert_eq!(reads(&receiver.journal()), 0);
    road.sql("ALTER SYSTEM SET synchronous_standby_names = ''");
    road.value("SELECT pg_reload_conf()");
    waiting.join().unwrap();
    assert_eq!(reads(&arrived(&road, &receiver)), 20);
}
