//! What the journal and the keeper promise over the whole road.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use walgate::demo::cluster::Cluster;

use super::support::process::{eventually, pause};
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http, route};

/// No heartbeat: nothing but the server's own keepalives moves the slot.
const SILENT: &str = "heartbeat = \"0s\"\n";

/// WAL of a table that is not published.
const ELSEWHERE: &str = "INSERT INTO other SELECT g FROM generate_series(1, 20000) g";

/// Returns how often the state was written within `time`.
fn writes_within(road: &Road, time: Duration) -> usize {
    let wal = road.walgate.folder().join("walgate-state/walgate.db-wal");
    let mut times = BTreeSet::new();
    let until = Instant::now() + time;
    while Instant::now() < until {
        times.insert(std::fs::metadata(&wal).unwrap().modified().unwrap());
        pause(Duration::from_millis(5));
    }
    times.len() - 1
}

#[test]
fn an_idle_slot_follows_the_log_and_the_disk_is_left_alone() {
    let receiver = Receiver::start();
    let sinks = http("far", &receiver.url("/"), "");
    let config = format!("{SILENT}{sinks}{}", route("t", "far"));
    let mut road = Road::quiet(Cluster::builder().major(15), T, &config);
    road.sql("CREATE PUBLICATION walgate FOR TABLE t; CREATE TABLE other (id int)");
    road.start();
    // Before the first change, behind one, and after a restart.
    for round in 0..3 {
        road.sql(ELSEWHERE);
        road.confirms(&road.wal_end());
        let writes = writes_within(&road, Duration::from_secs(3));
        assert!(writes <= 4, "{writes} writes in 3 s of idleness, round {round}");
        match round {
            0 => road.sql("INSERT INTO t VALUES (1, 'a')"),
            _ => {
                road.stop();
                road.start();
            }
        }
    }
    eventually("the row came", PATIENCE, || receiver.journal().events_processed == 1);
}

/// A sink that is quick to give up and to try again.
const HASTY: &str = "timeout = \"500ms\"\nbatch = { max_events = 500 }\n\
    retry = { initial = \"20ms\", max = \"100ms\" }\nbreaker = { cooldown = \"200ms\" }\n";

/// Rows of 128 digits that hardly compress.
fn rows(from: u32, to: u32) -> String {
    format!(
        "INSERT INTO t SELECT g, md5(g::text) || md5((g + 1)::text) || md5((g + 2)::text) \
         || md5((g + 3)::text) FROM generate_series({from}, {to}) g"
    )
}

/// A hung sink, a slot that moves all the same, a kill: the sink gets all of it in the end.
fn a_slot_moves_with_the_journal(settings: &str) -> (Road, Receiver) {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let config = format!("[journal]\n{settings}\n{}", http("far", &receiver.url("/"), HASTY));
    let mut road = Road::of_t(&config);
    road.sql(&rows(1, 30_000));
    let end = road.wal_end();
    road.confirms(&end);
    road.walgate.kill();
    road.start();
    receiver.behave();
    receiver.wait("all rows", PATIENCE, |journal| journal.events_processed >= 30_000);
    road.arrived(&receiver);
    (road, receiver)
}

#[test]
fn a_slow_sink_over_the_budget_of_wal_no_longer_holds_back_the_slot() {
    let (road, receiver) = a_slot_moves_with_the_journal("wal_budget = \"1MiB\"");
    assert!(road.walgate.log().contains("WARN a slow sink holds back too much WAL"));
    receiver.otherwise(Reply::hang());
    road.sql(&rows(30_001, 60_000));
    eventually("it is over again", PATIENCE, || {
        road.walgate.log().matches("a slow sink holds back too much WAL").count() == 2
    });
    receiver.behave();
    receiver.wait("all rows", PATIENCE, |journal| journal.events_processed >= 60_000);
    road.arrived(&receiver);
    eventually("its end is told", PATIENCE, || road.walgate.log().contains("within its budget"));
}

#[test]
fn what_is_journaled_may_be_all_that_the_slot_waits_for() {
    a_slot_moves_with_the_journal("confirm = \"journaled\"");
}
