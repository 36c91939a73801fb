//! A run ends when it is told to, whatever is stuck.

use std::io::Read;
use std::time::{Duration, Instant};

use super::support::load::Load;
use super::support::process::{Walgate, eventually, pause};
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http, route};
use super::support::state::letters;
use walgate::demo::cluster::Cluster;

/// A stop that has to wait for nobody.
const SOON: Duration = Duration::from_secs(10);

/// A sink to a pipe, and rows enough to fill it.
fn stuck(settings: &str, grace: &str) -> (Road, std::process::ChildStdout) {
    let sinks = format!("[sink.far]\n{settings}\n[sink.far.stdout]\n{}", route("t", "far"));
    let mut road = Road::quiet(Cluster::builder().major(15), T, "");
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road.configure_as(&format!("shutdown_grace = \"{grace}\"\n"), "", &sinks);
    let out = road.walgate.start_piped(&[]);
    road.streams();
    road.sql("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 5000) g");
    eventually("it is sent", PATIENCE, || {
        let undone = road.walgate.status()["sinks"][0]["lag_events"].as_u64();
        // The first of them may have gone into the pipe at once.
        undone.is_some_and(|undone| undone > 3000)
    });
    // The pipe holds 64 KiB: the write is stuck by now.
    pause(Duration::from_millis(300));
    (road, out)
}

#[test]
fn a_reader_that_never_reads_does_not_keep_a_run_from_ending() {
    let (mut road, _out) = stuck("", "500ms");
    road.walgate.signal("TERM");
    assert_eq!(road.walgate.exit_code(SOON), 0);
}

#[test]
fn a_second_signal_ends_a_stuck_run_at_once() {
    let (mut road, _out) = stuck("", "10m");
    road.walgate.signal("TERM");
    eventually("it is stopping", PATIENCE, || road.walgate.log().contains("stopping"));
    road.walgate.signal("INT");
    assert_eq!(road.walgate.exit_code(SOON), 0);
}

#[test]
fn a_stuck_write_is_not_piled_upon_nor_repeated() {
    let settings = "timeout = \"100ms\"\nbatch = { max_events = 5000 }\n\
        retry = { initial = \"10ms\", max = \"50ms\" }\nbreaker = { cooldown = \"50ms\" }";
    let (road, mut out) = stuck(settings, "10s");
    let threads = || {
        let path = format!("/proc/{}/task", road.walgate.pid());
        std::fs::read_dir(path).unwrap().count()
    };
    let before = threads();
    pause(Duration::from_secs(3));
    assert!(threads() <= before + 2, "{before} threads became {}", threads());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text).unwrap()
    });
    road.confirms(&road.wal_end());
    let mut road = road;
    road.stop();
    let text = reader.join().unwrap();
    let ids: std::collections::BTreeSet<&str> =
        text.lines().filter_map(|line| line.get(..45)).collect();
    assert_eq!(ids.len(), 5000);
    // A batch may have been cut anew once; before, each attempt came again.
    assert!(text.lines().count() <= 2 * 5000, "{} lines", text.lines().count());
}

#[test]
fn the_time_given_counts_from_the_start() {
    let sinks = format!("{}{}", http("far", "http://127.0.0.1:1/", ""), route("t", "far"));
    let url = "postgres://nobody@127.0.0.1:1/none";
    let mut walgate = Walgate::new(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[source]\nurl = \"{url}\"\n{sinks}"
    ));
    let started = Instant::now();
    walgate.start(&["--until-caught-up", "--timeout", "1s"]);
    assert_eq!(walgate.exit_code(SOON), 1);
    assert!(started.elapsed() >= Duration::from_secs(1));
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    let args = ["run", "--standby", "--until-caught-up", "--timeout", "1s"];
    let output = road.walgate.call(&args);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What was answered just before a stop came again after it.
#[test]
fn a_clean_stop_repeats_nothing_that_was_answered_at_any_sink_nor_of_a_replay() {
    const LETTERS: i64 = 400;
    let receivers = [Receiver::start(), Receiver::start(), Receiver::start()];
    let names = ["one", "two", "three"];
    let keys = ["batch = { max_events = 10 }", "batch = { max_events = 1 }", "on_dead = \"block\""];
    let mut config = String::new();
    for ((name, receiver), keys) in names.iter().zip(&receivers).zip(keys) {
        let keys = format!("concurrency = 6\nretry = {{ initial = \"20ms\" }}\n{keys}");
        config += &http(name, &receiver.url("/"), &keys);
        config += &route("t", name);
    }
    let mut road = Road::new(Cluster::builder().major(15), T, &config);
    let is_bad = |event: &super::support::receiver::Event| event.0["data"]["v"] == "bad";
    receivers[1..].iter().for_each(|receiver| receiver.when(is_bad, Reply::status(422)));
    road.sql(&format!(
        "INSERT INTO t SELECT g, CASE g % 2 WHEN 0 THEN 'bad' ELSE 'good' END
         FROM generate_series(1001, 1000 + 2 * {LETTERS}) g"
    ));
    eventually("all are dead", PATIENCE, || {
        letters(&road.walgate, "state = 'dead'") == 2 * LETTERS
    });
    for receiver in &receivers {
        receiver.behave();
        receiver.otherwise(Reply::ok().after(Duration::from_millis(20)));
    }
    let load = Load::start(&road, Duration::from_millis(1));
    for round in 0..4 {
        // Once it is under way it goes on over the stops.
        if round == 0 {
            let (code, _, said) = road.dlq(&["replay", "--state", "dead", "--no-wait"]);
            assert_eq!(code, 0, "{said}");
        }
        load.goes_on(60);
        road.stop();
        let said = road.walgate.log();
        assert!(!said.contains("were unanswered"), "{said}");
        let left = letters(&road.walgate, "state = 'replaying'");
        assert!(left > 0 || round > 0, "this test needs a replay that takes longer");
        road.start();
    }
    load.end();
    // But for those of which the load has made something newer meanwhile.
    eventually("all were sent again", PATIENCE, || {
        letters(&road.walgate, "state <> 'delivered' AND newer_lsn IS NULL") == 0
    });
    for (receiver, name) in receivers.iter().zip(names) {
        let journal = road.arrived(receiver);
        assert_eq!(journal.repeats(), 0, "{name}");
    }
}

/// Such a commit lies behind what the server calls written.
#[test]
fn caught_up_takes_in_what_was_committed_without_waiting_for_the_disk() {
    let receiver = Receiver::start();
    let builder = Cluster::builder().setting("wal_writer_delay", "10s");
    let mut road = Road::bare(builder, T);
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    road.configure(&(http("far", &receiver.url("/"), "") + &route("t", "far")));
    road.start();
    road.stop();
    // What is looked at before the first heartbeat waits for it.
    let session = road.session();
    road.sql_in(&session, "BEGIN; LOCK TABLE pg_publication_rel IN ACCESS EXCLUSIVE MODE");
    road.sql("SET synchronous_commit = off; INSERT INTO t VALUES (1, 'a')");
    road.walgate.start(&["--until-caught-up"]);
    road.streams();
    road.sql_in(&session, "ROLLBACK");
    assert_eq!(road.walgate.exit_code(PATIENCE), 0);
    assert_eq!(receiver.journal().events_processed, 1);
}

/// It ended with `halted: ` and named nothing.
#[test]
fn a_load_that_keeps_all_from_being_done_is_named() {
    let receiver = Receiver::start();
    let mut road = Road::bare(Cluster::builder(), T);
    road.sql("CREATE PUBLICATION walgate FOR TABLE t; ALTER TABLE t ENABLE ROW LEVEL SECURITY");
    let loads = route("t", "far").replace("start = \"now\"", "start = \"load\"");
    road.configure(&(http("far", &receiver.url("/"), "") + &loads));
    road.walgate.start(&["--until-caught-up"]);
    assert_eq!(road.walgate.exit_code(PATIENCE), 4);
    let log = road.walgate.log();
    assert!(log.contains("error: halted: loading ") && log.contains("BYPASSRLS"), "{log}");
}
