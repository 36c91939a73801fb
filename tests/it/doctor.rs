//! `walgate check` finds what is wrong at the source, says why it matters, and what mends it.

use serde_json::Value;
use walgate::demo::cluster::Cluster;
use walgate::source::catalog::{create_role, grant_database, grant_schema, grant_tables};

use super::support::process::eventually;
use super::support::receiver::Receiver;
use super::support::road::{PATIENCE, Road, T, file, http, route};

pub(super) fn checks(road: &Road, args: &[&str]) -> (i32, Vec<Value>) {
    let output = road.walgate.call(&[&["check", "--json"], args].concat());
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let checks = report["checks"].as_array().unwrap().clone();
    assert!(checks.iter().all(|check| check["status"] == "ok" || check["fix"].is_string()));
    (output.status.code().unwrap(), checks)
}

/// Holds that a check says this, and how it counts.
#[track_caller]
pub(super) fn says(checks: &[Value], id: &str, status: &str, seen: &str) {
    let found = checks.iter().any(|check| {
        check["id"] == id
            && check["status"] == status
            && check["seen"].as_str().unwrap().contains(seen)
    });
    let of_id: Vec<_> = checks.iter().filter(|check| check["id"] == id).collect();
    assert!(found, "no {status} {id} with {seen:?} in {of_id:#?}");
}

fn routes(tables: &[&str]) -> String {
    let routes: Vec<String> = tables.iter().map(|table| route(table, "far")).collect();
    file("far") + &routes.concat()
}

#[test]
fn settings_that_cost_a_slot_a_disk_or_time_are_named() {
    let builder = Cluster::builder()
        .setting("wal_sender_timeout", "5s")
        .setting("logical_decoding_work_mem", "1MB");
    let road = Road::quiet(builder, T, &routes(&["t"]));
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    let (code, seen) = checks(&road, &[]);
    assert_eq!(code, 0, "warnings alone: {seen:#?}");
    says(&seen, "source.wal_keep", "warn", "can fill the server's disk");
    says(&seen, "source.wal_sender_timeout", "warn", "5s");
    says(&seen, "source.work_mem", "warn", "1024 kB");
    says(&seen, "source.tls", "ok", "no TLS");
    says(&seen, "source.capacity", "ok", "0 of 20 slots");
    says(&seen, "publication.tables", "ok", "");
    road.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'");
    road.sql("ALTER SYSTEM SET wal_sender_timeout = 0");
    if road.cluster.major() >= 18 {
        road.sql("ALTER SYSTEM SET idle_replication_slot_timeout = '1h'");
    }
    road.sql("SELECT pg_reload_conf()");
    eventually("it is taken up", PATIENCE, || road.value("SHOW wal_sender_timeout") == "0");
    let (_, seen) = checks(&road, &[]);
    says(&seen, "source.wal_keep", "ok", "1GB");
    if road.cluster.major() >= 18 {
        says(&seen, "source.idle_timeout", "warn", "1h");
    }
}

#[test]
fn an_open_transaction_and_a_prepared_one_are_named_before_a_slot_is_made() {
    let road = Road::quiet(Cluster::builder(), T, &routes(&["t"]));
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    let session = road.session();
    road.sql_in(&session, "BEGIN; INSERT INTO t VALUES (1, 'a')");
    let preparing = road.session();
    road.sql_in(&preparing, "BEGIN; INSERT INTO t VALUES (2, 'a')");
    road.sql_in(&preparing, "PREPARE TRANSACTION 'left'");
    let (_, seen) = checks(&road, &[]);
    says(&seen, "source.transactions", "warn", "keeps the slot from being made");
    says(&seen, "source.transactions", "warn", "prepared transaction \"left\"");
    let fixes: Vec<_> = seen.iter().filter_map(|check| check["fix"].as_str()).collect();
    assert!(fixes.iter().any(|fix| fix.contains("pg_terminate_backend(")), "{fixes:?}");
    assert!(fixes.iter().any(|fix| fix.contains("ROLLBACK PREPARED 'left'")), "{fixes:?}");
    road.sql("ROLLBACK PREPARED 'left'");
}

#[test]
fn tables_whose_rows_or_writes_would_be_missed_are_named() {
    let schema = "CREATE TABLE keyless (v text); CREATE TABLE other (id int PRIMARY KEY);
        CREATE TABLE apart (id int PRIMARY KEY, big text);
        ALTER TABLE apart ALTER big SET STORAGE EXTERNAL;
        INSERT INTO apart VALUES (1, repeat('x', 100000));
        CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
        CREATE TABLE filtered (id int PRIMARY KEY, v text);
        CREATE TABLE listed (id int PRIMARY KEY, v text);
        ALTER TABLE listed REPLICA IDENTITY FULL";
    let tables = ["apart", "filtered", "listed", "unlogged", "nowhere"];
    let road = Road::quiet(Cluster::builder(), schema, &routes(&tables));
    let (code, seen) = checks(&road, &[]);
    assert_eq!(code, 3);
    says(&seen, "publication.exists", "fail", "does not exist");
    let has_lists = road.cluster.major() >= 15;
    road.sql(if has_lists {
        "CREATE PUBLICATION walgate FOR TABLE keyless, other, apart, filtered WHERE (id > 5),
         listed (id)"
    } else {
        "CREATE PUBLICATION walgate FOR TABLE keyless, other, apart, filtered, listed"
    });
    let (code, seen) = checks(&road, &[]);
    assert_eq!(code, 3);
    says(&seen, "publication.tables", "warn", "public.keyless, public.other");
    says(&seen, "publication.identity", "warn", "public.keyless");
    says(&seen, "table.toast", "warn", "big");
    says(&seen, "table.published", "fail", "unlogged");
    says(&seen, "table.exists", "fail", "public.nowhere");
    if has_lists {
        says(&seen, "table.published", "warn", "published only where (id > 5)");
        says(&seen, "table.identity", "fail", "v of the replica identity is not published");
    }
    if road.cluster.major() >= 18 {
        road.sql("ALTER TABLE other ADD g int GENERATED ALWAYS AS (id * 2) STORED");
        road.sql("ALTER TABLE other REPLICA IDENTITY FULL; INSERT INTO other VALUES (1)");
        road.configure(&routes(&["other"]));
        let (_, seen) = checks(&road, &[]);
        says(&seen, "table.identity", "fail", "g of the replica identity is not published");
    }
}

#[test]
fn a_slot_that_a_promotion_would_lose_and_a_state_of_another_server_are_named() {
    let mut road = Road::quiet(Cluster::builder(), T, &routes(&["t"]));
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    road.start();
    eventually("the source is noted", PATIENCE, || road.walgate.log().contains("streaming slot="));
    road.stop();
    let (code, seen) = checks(&road, &[]);
    assert_eq!(code, 0, "{seen:#?}");
    says(&seen, "state.source", "ok", "on timeline 1");
    says(&seen, "slot.wal", "ok", "reserved");
    road.sql("SELECT pg_drop_replication_slot('walgate')");
    let (code, seen) = checks(&road, &[]);
    assert_eq!(code, 3);
    says(&seen, "slot.exists", "fail", "gone");
    road.sql(
        "SELECT pg_create_logical_replication_slot('walgate', 'pgoutput');
              SELECT pg_create_physical_replication_slot('standby')",
    );
    let (_, seen) = checks(&road, &[]);
    says(&seen, "slot.failover", "warn", "a promotion loses it");
}

#[test]
fn safe_fixes_are_shown_and_run_only_when_told() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE keyless (v text)";
    let road = Road::bare(Cluster::builder(), schema);
    // Whoever mends has to own the tables.
    let owner = road.cluster.url("postgres", "postgres");
    road.configure_at(&owner, "", "", &routes(&["t"]));
    let (code, _) = checks(&road, &[]);
    assert_eq!(code, 3);
    let asked = road.walgate.call(&["check", "--fix"]);
    let said = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(2), "{said}");
    assert!(said.contains("CREATE PUBLICATION") && said.contains("--yes"), "{said}");
    assert_eq!(road.value("SELECT count(*) FROM pg_publication"), "0");
    let (code, _) = checks(&road, &["--fix", "--yes"]);
    assert_eq!(code, 0);

    // A table without a key is not published by itself: its updates would fail.
    road.sql("ALTER PUBLICATION walgate DROP TABLE t");
    road.sql("ALTER PUBLICATION walgate SET (publish = 'insert, update, delete')");
    road.configure_at(&owner, "", "", &routes(&["t", "keyless"]));
    let (code, seen) = checks(&road, &["--fix", "--yes"]);
    assert_eq!(code, 3);
    says(&seen, "table.published", "ok", "published");
    says(&seen, "table.published", "fail", "not in publication");
    let tables = "SELECT string_agg(tablename, ' ') FROM pg_publication_tables";
    assert_eq!(road.value(tables), "t");
}

#[test]
fn the_least_role_is_enough_and_what_it_lacks_is_named() {
    let road = Road::quiet(Cluster::builder(), T, "");
    road.sql(
        "CREATE PUBLICATION walgate FOR TABLE t; CREATE ROLE least LOGIN REPLICATION;
              CREATE ROLE weak LOGIN",
    );
    let url = |role: &str| road.cluster.url(role, "postgres");
    road.configure_at(&url("least"), "", "", &routes(&["t"]));
    let (code, seen) = checks(&road, &[]);
    assert_eq!(code, 0, "{seen:#?}");
    says(&seen, "source.role", "ok", "not a superuser");
    says(&seen, "source.replication", "ok", "opens");
    let loads = routes(&["t"]).replace("start = \"now\"", "start = \"load\"");
    road.configure_at(&url("least"), "", "", &loads);
    let (_, seen) = checks(&road, &[]);
    says(&seen, "table.select", "fail", "may not read");
    road.sql("GRANT SELECT ON t TO least; ALTER TABLE t ENABLE ROW LEVEL SECURITY");
    let (_, seen) = checks(&road, &[]);
    says(&seen, "table.row_security", "fail", "the rows that are there can't be read");
    road.sql("ALTER TABLE t DISABLE ROW LEVEL SECURITY; REVOKE USAGE ON SCHEMA public FROM public");
    let (_, seen) = checks(&road, &[]);
    says(&seen, "table.select", "fail", "may not read");
    let grants = seen.iter().filter_map(|check| check["fix"].as_str());
    let grants = grants.filter(|fix| fix.starts_with("GRANT USAGE ON SCHEMA public TO least"));
    assert_eq!(grants.count(), 1);
    road.configure_at(&url("weak"), "", "", &routes(&["t"]));
    let (code, seen) = checks(&road, &[]);
    assert_eq!(code, 3);
    says(&seen, "source.replication", "fail", "the role lacks a right");
    road.configure_at(&url("postgres"), "", "", &routes(&["t"]));
    let (_, seen) = checks(&road, &[]);
    says(&seen, "source.role", "warn", "superuser");
}

/// The role of `sql/source/`, with nothing else: slot, stream, heartbeat and what is watched.
#[test]
fn the_least_role_is_enough_for_a_whole_run() {
    let receiver = Receiver::start();
    let mut road = Road::bare(Cluster::builder(), T);
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    for statement in [
        create_role("least", "secret"),
        grant_database("postgres", "least"),
        grant_schema("public", "least"),
        grant_tables(&[("public", "t")], "least"),
    ] {
        road.sql(&statement);
    }
    let sinks = http("far", &receiver.url("/"), "") + &route("t", "far");
    let url = road.cluster.url("least", "postgres");
    road.configure_at(&url, "", "heartbeat = \"100ms\"", &sinks);
    road.start();
    let session = road.session();
    road.sql_in(&session, "BEGIN; INSERT INTO t VALUES (1, 'held')");
    road.sql("INSERT INTO t VALUES (2, 'a')");
    receiver.wait("the row", PATIENCE, |journal| journal.events_processed == 1);
    let seen = road.confirmed();
    eventually("heartbeats go the whole road", PATIENCE, || road.confirmed() > seen);
    // Another role's session is named by its process; how long it is open was watched.
    eventually("who holds WAL back is named", PATIENCE, || {
        road.walgate.status()["source"]["held_by"][0]["pid"].is_u64()
    });
    road.sql_in(&session, "COMMIT");
    road.arrived(&receiver);
    assert!(!road.walgate.log().contains("WARN"), "{}", road.walgate.log());
    road.stop();
}

/// Each partition has an identity of its own, and a filter may need more than the identity.
#[test]
fn partitions_and_row_filters_that_break_writes_are_named_and_not_made() {
    let schema = "CREATE TABLE parted (id int, v text) PARTITION BY RANGE (id);
        CREATE TABLE first PARTITION OF parted FOR VALUES FROM (0) TO (9);
        ALTER TABLE parted REPLICA IDENTITY FULL;
        CREATE TABLE other (id int PRIMARY KEY, parent int, v text);
        CREATE VIEW seen AS SELECT * FROM other";
    let road = Road::bare(Cluster::builder(), schema);
    let owner = road.cluster.url("postgres", "postgres");
    road.configure_at(&owner, "", "", &routes(&["parted", "other", "seen"]));
    road.sql("CREATE PUBLICATION walgate FOR TABLE other WITH (publish_via_partition_root = true)");
    let (code, seen) = checks(&road, &["--fix", "--yes"]);
    assert_eq!(code, 3);
    says(&seen, "table.published", "fail", "not in publication");
    // What mends it breaks no write.
    let mends = "ALTER TABLE public.first REPLICA IDENTITY FULL; ALTER PUBLICATION \"walgate\" ADD";
    let fixes = seen.iter().filter_map(|check| check["fix"].as_str());
    assert_eq!(fixes.filter(|fix| fix.starts_with(mends)).count(), 1);
    says(&seen, "table.exists", "fail", "public.seen is a view");
    road.sql("ALTER PUBLICATION walgate ADD TABLE parted");
    let (_, seen) = checks(&road, &[]);
    says(&seen, "table.identity", "fail", "public.first");
    road.sql("ALTER TABLE first REPLICA IDENTITY FULL");
    let (_, seen) = checks(&road, &[]);
    says(&seen, "table.identity", "ok", "the whole row");
    if road.cluster.major() >= 15 {
        road.sql("ALTER PUBLICATION walgate SET TABLE other WHERE (v = 'x' AND id > 1)");
        let (_, seen) = checks(&road, &[]);
        says(&seen, "table.row_filter", "fail", "about v, outside the replica identity");
        road.sql("INSERT INTO other VALUES (1, 1, 'x')");
        let session = road.session();
        let refused = road.refuses(&session, "UPDATE other SET v = 'y'");
        assert!(refused.contains("cannot update"), "{refused}");
        road.sql("ALTER PUBLICATION walgate SET TABLE other WHERE (id > 1)");
        let (_, seen) = checks(&road, &[]);
        says(&seen, "table.identity", "ok", "the primary key");
    }
}

/// `run` would end with 4 by each of them.
#[test]
fn a_slot_that_another_moved_is_told_before_a_run() {
    let mut road = Road::quiet(Cluster::builder(), T, &routes(&["t"]));
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    road.start();
    road.stop();
    road.until_free();
    road.sql("INSERT INTO t VALUES (1, 'lost')");
    road.sql("SELECT pg_replication_slot_advance('walgate', pg_current_wal_lsn())");
    let (code, seen) = checks(&road, &[]);
    assert_eq!(code, 3);
    says(&seen, "slot.position", "fail", "is lost to the stream");
}

#[test]
fn what_init_sets_up_breaks_no_write_and_passes_a_check() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED);
        CREATE TABLE parted (id int, v text) PARTITION BY RANGE (id);
        CREATE TABLE first PARTITION OF parted FOR VALUES FROM (0) TO (9)";
    let road = Road::bare(Cluster::builder(), schema);
    let url = road.cluster.url("postgres", "postgres");
    let config = road.walgate.folder().join("walgate.toml");
    std::fs::remove_file(&config).unwrap();
    let tables = "public.t,public.parted";
    // Who needs a lock is not kept waiting by one that waits for it.
    let session = road.session();
    road.sql_in(&session, "BEGIN; SELECT FROM parted");
    let blocked = road.walgate.call(&["init", "--url", &url, "--tables", tables, "--apply"]);
    let said = String::from_utf8(blocked.stderr).unwrap();
    assert!(blocked.status.code() == Some(1) && said.contains("55P03"), "{said}");
    road.sql_in(&session, "ROLLBACK");
    let made = road.walgate.call(&["init", "--url", &url, "--tables", tables, "--apply"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    road.sql("INSERT INTO parted VALUES (1, 'a'); UPDATE parted SET v = 'b'");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("${DATABASE_URL}", &url)).unwrap();
    let (_, seen) = checks(&road, &[]);
    let bad = |check: &&Value| check["status"] == "fail" && check["id"] != "sink.ready";
    assert_eq!(seen.iter().filter(bad).collect::<Vec<_>>(), Vec::<&Value>::new());
    if road.cluster.major() >= 18 {
        road.sql("CREATE TABLE stuck (id int, g int GENERATED ALWAYS AS (id * 2) STORED)");
        let args = ["init", "--url", &url, "--tables", "public.stuck", "-o", "other.toml"];
        let refused = road.walgate.call(&args);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("UPDATE and DELETE on it would fail"), "{said}");
    }
}
