//! A run ends when it is told to, whatever is stuck.

use std::io::Read;
use std::time::{Duration, Instant};

use super::support::process::{Walgate, eventually, pause};
use super::support::receiver::Receiver;
use super::support::road::{PATIENCE, Road, T, http, route};
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
