//! What the journal and the keeper promise over the whole road.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use walgate::demo::cluster::Cluster;

use super::support::process::{eventually, pause};
use super::support::receiver::Receiver;
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
