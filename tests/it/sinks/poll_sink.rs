//! A `poll` sink beside its receivers: what is refused or asked by nobody, its settings and rights.

use std::fs;
use std::thread;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::poll::{POLL, ask, commits, drain, fetch, ids, next};
use crate::support::process::eventually;
use crate::support::road::{PATIENCE, Road, T, file, route};
use crate::support::web;

#[test]
fn what_the_mapping_refuses_is_a_dead_letter_and_the_rest_flows() {
    let mapping = "[mapping.m]\nversion = 1\n[mapping.m.fields]\nid = { column = \"id\" }\n\
                   v = { column = \"v\", required = true }\n\
                   w = { column = \"w\", on_null = \"skip\" }\n";
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v text, w text)";
    let config = format!("{mapping}{POLL}{}mapping = \"m\"\n", route("t", "far"));
    let mut road = Road::new(Cluster::builder().major(15), schema, &config);
    road.sql(
        "INSERT INTO t VALUES (1, 'a', 'x'), (2, NULL, 'x'), (3, 'a', NULL), (4, NULL, 'x'), (5, 'a', 'x')",
    );
    // A transaction may come in pieces.
    let mut page = Value::Null;
    eventually("both are there", PATIENCE, || {
        page = fetch(&road, "wait=20s");
        ids(&page).len() == 2
    });
    assert_eq!(ids(&page), [1, 5]);
    // They are stored before what lies behind them is handed out.
    let dead = || road.walgate.status()["sinks"][0]["dead_letters"].clone();
    assert_eq!(dead(), json!({ "rejected": 2 }));
    // A restart neither hands them out nor sets them aside twice.
    road.walgate.kill();
    road.start();
    eventually("it is handed out again", PATIENCE, || fetch(&road, "wait=20s") == page);
    fetch(&road, &format!("after={}", next(&page)));
    road.confirms(&road.wal_end());
    let dead = || road.walgate.status()["sinks"][0]["dead_letters"].clone();
    assert_eq!(dead(), json!({ "rejected": 2 }));
    eventually("what was skipped is counted", PATIENCE, || {
        let metrics = road.walgate.get("/metrics").body;
        metrics.contains(
            "walgate_sink_events_total{sink=\"far\",route=\"t-to-far\",result=\"skipped\"} 1",
        ) && metrics.contains("walgate_dead_letters{sink=\"far\",category=\"rejected\"} 2")
    });
    // An old cursor does not bring them either.
    let first = page["events"][0]["id"].as_str().unwrap();
    assert_eq!(ids(&fetch(&road, &format!("after={first}"))), [5]);
}

#[test]
fn too_many_dead_letters_halt_it_until_some_are_gone() {
    let mapping = "[mapping.m]\nversion = 1\n[mapping.m.fields]\nid = { column = \"id\" }\n\
                   v = { column = \"v\", required = true }\n";
    let sink = "[sink.far]\nmax_dead = 3\nhalt_probe = \"100ms\"\n[sink.far.poll]\n";
    let config = format!("{mapping}{sink}{}mapping = \"m\"\n", route("t", "far"));
    let road = Road::new(Cluster::builder().major(15), T, &config);
    road.sql("INSERT INTO t SELECT generate_series(1, 4)");
    eventually("it is halted", PATIENCE, || {
        road.walgate.get("/readyz").body.contains("sink far is halted: 4 dead letters")
    });
    commits(&road, [5]);
    assert_eq!(ids(&fetch(&road, "")), Vec::<i64>::new());
    let path = road.walgate.folder().join("walgate-state/walgate.db");
    let state = rusqlite::Connection::open(path).unwrap();
    state.busy_timeout(PATIENCE).unwrap();
    state.execute_batch("DELETE FROM dead_letters WHERE seq > 0").unwrap();
    assert_eq!(ids(&fetch(&road, "wait=20s")), [5]);
    eventually("it is ready", PATIENCE, || road.walgate.get("/readyz").status == 200);
}

#[test]
fn one_that_nobody_asks_costs_the_journal_alone() {
    let sinks = format!("{POLL}{}{}{}", route("t", "far"), file("near"), route("t", "near"));
    let mut road = Road::new(Cluster::builder().major(15), T, &sinks);
    road.sql("INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1, 30000) n");
    let near = road.walgate.folder().join("near.ndjson");
    eventually("the other has it all", PATIENCE, || {
        fs::read_to_string(&near).is_ok_and(|text| text.lines().count() == 30_000)
    });
    let far = |road: &Road| road.walgate.status()["sinks"][0].clone();
    eventually("it has read ahead", PATIENCE, || far(&road)["lag_events"].as_u64() >= Some(1000));
    assert!(far(&road)["lag_events"].as_u64() < Some(2000), "{}", far(&road));
    assert_eq!(far(&road)["state"], "ok");
    // A question that waits does not hold up the stop, and is answered.
    let address = road.walgate.admin();
    let page = fetch(&road, "limit=500");
    assert_eq!(ids(&page).len(), 500);
    let (all, last) = drain(&road, "", 30_000);
    assert_eq!(all, (1..=30_000).collect::<Vec<_>>());
    let path = format!("/v1/sinks/far/events?wait=60s&after={last}");
    let asked = thread::spawn(move || web::get(address, &path, &[]));
    eventually("it is acknowledged", PATIENCE, || far(&road)["delivered"] == 30_000);
    road.stop();
    let answer = asked.join().unwrap();
    assert!(answer.status == 503 || answer.json()["events"] == json!([]), "{answer:?}");
}

#[test]
fn one_that_nobody_asks_is_let_go_where_the_journal_says_so() {
    let sinks = format!(
        "[journal]\nmax_size = \"4MiB\"\non_full = \"detach\"\n{POLL}{}{}{}",
        route("t", "far"),
        file("near"),
        route("t", "near")
    );
    let mut road = Road::new(Cluster::builder().major(15), T, &sinks);
    road.sql("INSERT INTO t SELECT n, repeat(md5(n::text), 4) FROM generate_series(1, 150000) n");
    let is_let_go = |road: &Road| {
        let answer = ask(road, "");
        answer.status == 503 && answer.body.contains("a gap from 0/")
    };
    eventually("it is let go", PATIENCE, || is_let_go(&road));
    road.confirms(&road.wal_end());
    road.walgate.kill();
    road.start();
    eventually("it stays so", PATIENCE, || is_let_go(&road));
    assert_eq!(road.walgate.get("/readyz").status, 503);
}

#[test]
fn settings_of_sending_are_refused_and_check_says_where_it_is_served() {
    let road = Road::bare(Cluster::builder().major(15), T);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    for (key, word) in [
        ("concurrency = 2", "concurrency"),
        ("rate_limit = { requests = \"5/s\" }", "rate_limit"),
        ("retry = { max_attempts = 2 }", "retry"),
        ("breaker = { failures = 2 }", "breaker"),
        ("timeout = \"5s\"", "timeout"),
        ("max_blocked = 5", "max_blocked"),
        ("on_dead = \"block\"", "on_dead"),
        ("batch = { max_wait = \"1s\" }", "max_wait"),
    ] {
        road.configure(&format!("[sink.far]\n{key}\n[sink.far.poll]\n{}", route("t", "far")));
        let refused = road.walgate.call(&["check", "--offline"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{key}: {said}");
        assert!(said.contains(word) && said.contains("poll"), "{said}");
    }
    let fine = "[sink.far]\non_dead = \"continue\"\nmax_dead = 5\nbatch = { max_events = 5 }\nformat = \"mapped\"\n[sink.far.poll]\n";
    road.configure(&format!("{fine}{}", route("t", "far")));
    let check = road.walgate.call(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(0), "{said}");
    assert!(said.contains("/v1/sinks/far/events"), "{said}");
}

/// What was refused beside a running instance was stored all the same.
#[test]
fn it_is_neither_paused_nor_are_its_routes_held() {
    let mut road = Road::of_t(POLL);
    fetch(&road, "wait=20s");
    for _ in 0..2 {
        for args in [["sink", "pause", "far"], ["route", "hold", "t-to-far"]] {
            let refused = road.walgate.call(&args);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(2), "{said}");
            assert!(said.contains("its receiver comes and asks"), "{said}");
        }
        for args in [["sink", "resume", "far"], ["route", "release", "t-to-far"]] {
            let idle = road.walgate.call(&args);
            let said = String::from_utf8_lossy(&idle.stderr).into_owned();
            assert!(idle.status.success() && said.contains(" is not "), "{said}");
        }
        if road.walgate.is_running() {
            road.stop();
        }
    }
}

#[test]
fn the_token_guards_events_and_the_format_is_the_sinks() {
    let mut road = Road::bare(Cluster::builder().major(15), T);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    let url = road.cluster.url("postgres", "postgres");
    let sink = "[sink.far]\nformat = \"mapped\"\n[sink.far.poll]\n";
    road.walgate.configure(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"s3cret\"\n[source]\nurl = \"{url}\"\n{sink}{}",
        route("t", "far")
    ));
    road.start();
    commits(&road, [1]);
    assert_eq!(ask(&road, "wait=5s").status, 401);
    eventually("all is well", PATIENCE, || road.walgate.get("/readyz").status == 200);
    let shown = [("authorization", "Bearer s3cret")];
    let answer = web::get(road.walgate.admin(), "/v1/sinks/far/events?wait=20s", &shown);
    assert_eq!(answer.json()["events"], json!([{ "id": 1, "v": "v1" }]));
}
