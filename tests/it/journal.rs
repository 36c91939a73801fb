//! What the journal and the keeper promise over the whole road.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use walgate::demo::cluster::Cluster;

use super::support::process::{eventually, pause};
use super::support::receiver::{Journal, Receiver, Reply};
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

fn journal_bytes(road: &Road) -> u64 {
    road.walgate.status()["journal"]["bytes"].as_u64().unwrap()
}

/// What the journal holds at this moment; `status` is a second behind.
fn written_bytes(road: &Road) -> u64 {
    let metrics = road.walgate.get("/metrics").body;
    let figure = metrics.lines().find_map(|line| line.strip_prefix("walgate_journal_bytes "));
    // There is no figure before the journal is open.
    figure.map_or(0, |figure| figure.parse().unwrap())
}

#[test]
fn a_full_journal_pauses_reading_and_goes_on_by_itself() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let journal = "[journal]\nmax_size = \"4MiB\"\n";
    let road = Road::of_t(&format!("{journal}{}", http("far", &receiver.url("/"), HASTY)));
    road.sql(&rows(1, 200_000));
    eventually("the pause is told", PATIENCE, || {
        let status = road.walgate.status();
        status["source"]["reason"] == "what is undone has reached `journal.max_size`"
            && road.walgate.log().contains("ERROR what is undone fills the journal")
    });
    let paused = journal_bytes(&road);
    pause(Duration::from_secs(2));
    assert_eq!(journal_bytes(&road), paused, "it reads on");
    assert!(paused < 14 << 20, "{paused} bytes");
    receiver.behave();
    let all = |journal: &Journal| journal.events_processed >= 200_000;
    receiver.wait("all rows", PATIENCE, all);
    road.confirms(&road.wal_end());
    assert!(journal_bytes(&road) > paused, "this test needs more than fits");
    eventually("the end of the pause is told", PATIENCE, || {
        road.walgate.status()["source"]["reason"].is_null()
            && road.walgate.log().contains("the journal has room again")
    });
    let peak = road.walgate.peak_memory_bytes();
    assert!(peak < 150 << 20, "{} MiB", peak >> 20);
}

#[test]
fn a_journal_that_is_filling_is_warned_of_before_it_is_full() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let journal = "[journal]\nmax_size = \"16MiB\"\n";
    let road = Road::of_t(&format!("{journal}{}", http("far", &receiver.url("/"), HASTY)));
    let (mut rows_sent, mut bytes) = (0, 0);
    // In steps that stay far below the quarter that is left.
    while bytes < 25 << 19 {
        road.sql(&rows(rows_sent + 1, rows_sent + 3000));
        rows_sent += 3000;
        let before = bytes;
        eventually("it is journaled", PATIENCE, || {
            bytes = written_bytes(&road);
            bytes > before
        });
    }
    let told = "what is undone takes three quarters of the journal";
    eventually("it is told", PATIENCE, || road.walgate.log().contains(told));
    let log = road.walgate.log();
    let line = log.lines().find(|line| line.contains(told)).unwrap();
    assert!(line.contains("WARN") && line.contains("far"), "{line}");
    let undone = line.split_once("undone_bytes=").unwrap().1.split(' ').next().unwrap();
    let undone: u64 = undone.parse().unwrap();
    assert!((12 << 20..16 << 20).contains(&undone), "{line}");
    assert!(!log.contains("fills the journal"), "{log}");
    receiver.behave();
    eventually("its end is told", PATIENCE, || {
        road.walgate.log().contains("less than half of the journal again")
    });
    assert_eq!(road.walgate.log().matches(told).count(), 1);
}

fn sink_of<'a>(status: &'a Value, name: &str) -> &'a Value {
    let sinks = status["sinks"].as_array().unwrap();
    sinks.iter().find(|sink| sink["name"] == name).unwrap()
}

#[test]
fn a_full_journal_lets_go_of_the_sink_furthest_behind_and_of_no_other() {
    let (near, far) = (Receiver::start(), Receiver::start());
    far.otherwise(Reply::hang());
    let config = [
        "[journal]\nmax_size = \"4MiB\"\non_full = \"detach\"\n".to_owned(),
        http("near", &near.url("/"), HASTY),
        http("far", &far.url("/"), HASTY),
        route("t", "near"),
        route("t", "far"),
    ];
    let mut road = Road::new(Cluster::builder().major(15), T, &config.concat());
    road.sql(&rows(1, 200_000));
    near.wait("all rows", PATIENCE, |journal| journal.events_processed >= 200_000);
    road.confirms(&road.wal_end());
    let is_let_go = |road: &Road| {
        let status = road.walgate.status();
        assert_ne!(sink_of(&status, "near")["state"], "halted");
        let far = sink_of(&status, "far");
        let reason = far["reason"].as_str().unwrap_or_default().to_owned();
        let is_gap = reason.starts_with("a gap from 0/") && reason.contains("need a load");
        far["state"] == "halted" && is_gap
    };
    eventually("the hung sink is let go", PATIENCE, || is_let_go(&road));
    assert_eq!(road.walgate.log().matches("the sink is halted and let go").count(), 1);
    // It stays so, and holds back nothing.
    road.walgate.kill();
    assert!(is_let_go(&road));
    far.behave();
    let sent = far.journal().requests.len();
    road.start();
    road.sql(&rows(200_001, 200_100));
    near.wait("the rows behind the kill", PATIENCE, |j| j.events_processed >= 200_100);
    road.confirms(&road.wal_end());
    assert!(is_let_go(&road));
    assert_eq!(far.journal().requests.len(), sent);
    road.stop();
    // Forgotten, it begins anew.
    let output = road.walgate.call(&["sink", "forget", "far"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    road.start();
    road.sql(&rows(200_101, 200_200));
    far.wait("new rows", PATIENCE, |journal| journal.events_processed == 100);
}

/// Writes rows of which the first holds back the slot before the others come: without it the slot
/// may move while their transaction is still being written.
fn write_behind_one_that_hangs(road: &Road, receiver: &Receiver, from: u32, to: u32) {
    let before = receiver.journal().requests.len();
    road.sql(&rows(from, from));
    receiver.wait("the first row", PATIENCE, |journal| journal.requests.len() > before);
    road.sql(&rows(from + 1, to));
}

/// A hung sink, a slot that moves all the same, a kill: the sink gets all of it in the end.
fn a_slot_moves_with_the_journal(settings: &str) -> (Road, Receiver) {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let config = format!("[journal]\n{settings}\n{}", http("far", &receiver.url("/"), HASTY));
    let mut road = Road::of_t(&config);
    write_behind_one_that_hangs(&road, &receiver, 1, 30_000);
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
    write_behind_one_that_hangs(&road, &receiver, 30_001, 60_000);
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
