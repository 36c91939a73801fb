//! A connection that breaks is made again, whatever broke it; one that only seems broken is kept.

use std::time::Duration;

use walgate::demo::cluster::{Cluster, Stop};

use super::support::process::eventually;
use super::support::proxy::{Faults, Proxy};
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http, route};

/// Retries that do not keep a test waiting.
const BRISK: &str = "timeout = \"1s\"\nretry = { initial = \"20ms\", max = \"100ms\" }\n\
                     breaker = { cooldown = \"100ms\" }";

/// The process of the replication connection and when it was made.
const WALSENDER: &str = "SELECT pid || ' ' || backend_start FROM pg_stat_replication";

/// More than sockets hold, and nothing that could be compressed.
const LARGE: &str = "INSERT INTO t SELECT n, (SELECT string_agg(md5(n || '-' || m), '')
                                              FROM generate_series(1, 300) m)
                     FROM generate_series(1, 5000) n";

/// What the server waits for.
const STUCK: &str = "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'walsender'";

fn sinks(receiver: &Receiver) -> String {
    format!("{}{}", http("far", &receiver.url("/"), BRISK), route("t", "far"))
}

/// Goes on with another address or other keys of `[source]`.
fn restart(road: &mut Road, url: &str, keys: &str, sinks: &str) {
    road.stop();
    let source = format!("[source]\nurl = \"{url}\"\n{keys}\n[admin]\nlisten = \"127.0.0.1:0\"\n");
    road.walgate.configure(&format!("{source}{sinks}"));
    let streams = |road: &Road| road.walgate.log().matches(" streaming ").count();
    let before = streams(road);
    road.start();
    // The slot may still be the last run's.
    eventually("the new run streams", PATIENCE, || streams(road) > before);
}

/// Ends the replication connection at the server.
fn cut(road: &Road) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication";
    assert_eq!(road.value(sql), "t");
}

fn drop_slot(road: &Road) {
    let sql = "SELECT active FROM pg_replication_slots";
    eventually("the slot is free", PATIENCE, || road.value(sql) == "f");
    road.sql("SELECT pg_drop_replication_slot('walgate')");
}

/// Waits until walgate streams over another connection than `before`.
fn streams_anew(road: &mut Road, before: &str) {
    eventually("another connection", PATIENCE, || {
        assert!(road.walgate.is_running(), "walgate has ended");
        let now = road.value(WALSENDER);
        !now.is_empty() && now != before
    });
    road.streams();
}

#[test]
fn a_password_that_is_being_changed_ends_a_run_only_at_its_start() {
    let receiver = Receiver::start();
    let builder = Cluster::builder().hba("host all w 127.0.0.1/32 scram-sha-256");
    let sinks = sinks(&receiver);
    let mut road = Road::new(builder, T, &sinks);
    road.sql("CREATE ROLE w LOGIN REPLICATION PASSWORD 'one'");
    let url = format!("postgres://w:one@127.0.0.1:{}/postgres", road.cluster.port());
    restart(&mut road, &url, "", &sinks);

    road.sql("ALTER ROLE w PASSWORD 'two'");
    cut(&road);
    eventually("refused more than once", PATIENCE, || {
        assert!(road.walgate.is_running(), "walgate has ended");
        road.walgate.log().matches("refused the login").count() > 1
    });
    road.sql("ALTER ROLE w PASSWORD 'one'; INSERT INTO t VALUES (1, 'a')");
    road.streams();
    road.arrived(&receiver);

    road.stop();
    road.sql("ALTER ROLE w PASSWORD 'two'");
    road.walgate.start(&[]);
    assert_eq!(road.walgate.exit_code(PATIENCE), 3);
}

#[test]
fn a_gap_is_accepted_once_though_a_sink_lags_when_the_connection_breaks() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), BRISK));
    receiver.otherwise(Reply::hang());
    road.sql("INSERT INTO t VALUES (1, 'held')");
    receiver.wait("the row", PATIENCE, |journal| !journal.requests.is_empty());
    road.stop();
    drop_slot(&road);
    road.sql("INSERT INTO t VALUES (2, 'lost')");
    road.walgate.start(&["--accept-gap"]);
    road.streams();
    let before = road.value(WALSENDER);
    cut(&road);
    streams_anew(&mut road, &before);
    road.sql("INSERT INTO t VALUES (3, 'behind the gap')");
    receiver.behave();
    let came = |journal: &super::support::receiver::Journal, id: i64| {
        journal.events().iter().any(|event| event.0["data"]["id"] == id)
    };
    receiver.wait("both rows", PATIENCE, |journal| came(journal, 1) && came(journal, 3));
    assert!(!came(&receiver.journal(), 2));
    road.confirms(&road.wal_end());
}

/// The server pings a client that it has heard nothing of; one that reports by itself must ask.
#[test]
fn an_idle_server_is_not_taken_for_a_dead_one() {
    let receiver = Receiver::start();
    let sinks = sinks(&receiver);
    let builder = Cluster::builder().setting("wal_sender_timeout", "2s");
    let mut road = Road::new(builder, T, &sinks);
    let url = road.cluster.url("postgres", "postgres");
    restart(&mut road, &url, "heartbeat = \"0s\"", &sinks);
    let before = road.value(WALSENDER);
    // Three times what counts as silence.
    road.sql("SELECT pg_sleep(12)");
    assert_eq!(road.value(WALSENDER), before);
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.arrived(&receiver);
    assert!(!road.walgate.log().contains("not attached"));
}

#[test]
fn a_server_that_fell_silent_is_left_for_a_new_connection() {
    let receiver = Receiver::start();
    let sinks = sinks(&receiver);
    let builder = Cluster::builder().setting("wal_sender_timeout", "2s");
    let mut road = Road::new(builder, T, &sinks);
    let proxy = Proxy::start(([127, 0, 0, 1], road.cluster.port()).into());
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    restart(&mut road, &url, "heartbeat = \"1s\"", &sinks);
    proxy.set(Faults { half_open: true, ..Faults::default() });
    eventually("the server's side is closed", PATIENCE, || road.value(WALSENDER).is_empty());
    proxy.set(Faults::default());
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.streams();
    road.arrived(&receiver);
    assert!(road.walgate.log().contains("nothing came from the server"));
    // What asks beside the stream is over it too.
    let seen = road.confirmed();
    eventually("heartbeats go on", PATIENCE, || road.confirmed() > seen);
}

/// Nothing is read while the journal takes no more, so nobody sees that the server waits.
#[track_caller]
fn stops_in_time(journal: &str, reply: Reply) {
    let receiver = Receiver::start();
    receiver.otherwise(reply);
    let sinks = format!("[journal]\n{journal}\n{}", sinks(&receiver));
    let mut road = Road::new(Cluster::builder(), T, &sinks);
    road.sql(LARGE);
    eventually("the server can't go on", PATIENCE, || road.value(STUCK) == "WalSenderWriteData");
    road.stop_server(Stop::Fast, Duration::from_secs(25));
    road.start_server();
    road.streams();
}

#[test]
fn a_fast_stop_of_the_server_does_not_hang_on_a_disk_that_is_full() {
    stops_in_time("reserve = \"1000000GiB\"", Reply::ok());
}

#[test]
fn a_fast_stop_of_the_server_does_not_hang_on_a_journal_that_is_full() {
    stops_in_time("max_size = \"1MiB\"", Reply::hang());
}

/// A transaction is open at the server for as long as it takes to send it.
#[test]
fn a_transaction_that_is_sent_slowly_is_not_ended_by_a_time_out_of_transactions() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let sinks = format!("[journal]\nmax_size = \"1MiB\"\n{}", sinks(&receiver));
    let mut road = Road::quiet(Cluster::builder(), T, &sinks);
    if road.cluster.major() < 17 {
        return;
    }
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    road.sql("ALTER ROLE walgate SET transaction_timeout = '500ms'");
    road.start();
    let before = road.value(WALSENDER);
    road.sql(LARGE);
    eventually("the server can't go on", PATIENCE, || road.value(STUCK) == "WalSenderWriteData");
    road.sql("SELECT pg_sleep(4)");
    assert_eq!(road.value(WALSENDER), before);
}

/// A kill between the making of the slot and its being remembered.
#[test]
fn a_slot_that_nobody_was_left_to_remember_is_known_as_ours() {
    let receiver = Receiver::start();
    let sinks = sinks(&receiver);
    let mut road = Road::new(Cluster::builder(), T, &sinks);
    let url = road.cluster.url("postgres", "postgres");
    restart(&mut road, &url, "heartbeat = \"0s\"", &sinks);
    road.stop();
    drop_slot(&road);
    let state = road.walgate.folder().join("walgate-state");
    std::fs::remove_dir_all(&state).unwrap();
    road.start();
    let state = rusqlite::Connection::open(state.join("walgate.db")).unwrap();
    state.busy_timeout(PATIENCE).unwrap();
    let remembered = "SELECT system_id IS NOT NULL FROM meta";
    eventually("the slot is remembered", PATIENCE, || {
        state.query_row(remembered, [], |row| row.get(0)).unwrap()
    });
    road.walgate.kill();
    let forget = "UPDATE meta SET system_id = NULL, timeline = NULL, database = NULL, slot = NULL,
                                  received = 0, confirmed = 0;
                  DELETE FROM progress";
    let intend = "INSERT INTO slot_intent SELECT 1, system_id, database, slot, confirmed FROM meta";
    state.execute(intend, []).unwrap();
    state.execute_batch(forget).unwrap();
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.until_free();
    assert!(check(&road).contains("ours: made by a start that was cut short"));
    road.start();
    road.arrived(&receiver);

    road.walgate.kill();
    state.execute_batch(forget).unwrap();
    road.until_free();
    assert!(check(&road).contains("the state folder knows nothing of it"));
    road.walgate.start(&[]);
    assert_eq!(road.walgate.exit_code(PATIENCE), 4, "without an intent it is someone else's");
}

fn check(road: &Road) -> String {
    String::from_utf8(road.walgate.call(&["check"]).stdout).unwrap()
}
