//! The `poll` sink: receivers that come and ask, of a running instance and a real server.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;
use walgate::lsn::{Lsn, Position, Timestamp};
use walgate::progress::store;

use crate::support::process::{Walgate, eventually, pause};
use crate::support::road::{PATIENCE, Road, T, file, route};
use crate::support::web::{self, Answer};

pub(super) const POLL: &str = "[sink.far]\n[sink.far.poll]\n";

/// Asks; a run that has not opened its state yet is asked again.
#[track_caller]
pub(super) fn ask(road: &Road, query: &str) -> Answer {
    let ask = || road.walgate.get(&format!("/v1/sinks/far/events?{query}"));
    let mut answer = ask();
    eventually("the run is open", PATIENCE, || {
        let starts = answer.status == 503 && answer.body.contains("the run is starting");
        if starts {
            answer = ask();
        }
        !starts
    });
    answer
}

#[track_caller]
pub(super) fn fetch(road: &Road, query: &str) -> Value {
    let answer = ask(road, query);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The rows' ids, in the order in which they came.
pub(super) fn ids(page: &Value) -> Vec<i64> {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| event["data"]["id"].as_i64().unwrap()).collect()
}

pub(super) fn next(page: &Value) -> String {
    page["next"].as_str().unwrap().to_owned()
}

/// Fetches until `count` events came, acknowledging each page with the next question.
#[track_caller]
fn drain(road: &Road, from: &str, count: usize) -> (Vec<i64>, String) {
    let (mut all, mut after) = (Vec::new(), from.to_owned());
    let deadline = Instant::now() + PATIENCE;
    while all.len() < count {
        assert!(Instant::now() < deadline, "only {all:?} came");
        let query = if after.is_empty() { String::new() } else { format!("after={after}&") };
        let page = fetch(road, &format!("{query}wait=5s"));
        all.extend(ids(&page));
        after = next(&page);
    }
    (all, after)
}

fn floor(walgate: &Walgate) -> Position {
    let path = walgate.folder().join("walgate-state/walgate.db");
    let connection = rusqlite::Connection::open(path).unwrap();
    store::load_all(&connection).unwrap()["far"].reached.floor
}

/// Inserts rows, each in a transaction of its own.
pub(super) fn commits(road: &Road, ids: impl IntoIterator<Item = i64>) {
    for id in ids {
        road.sql(&format!("INSERT INTO t VALUES ({id}, 'v{id}')"));
    }
}

#[test]
fn events_come_in_order_and_the_next_question_is_what_moves_the_slot() {
    let road = Road::of_t(POLL);
    commits(&road, 1..=5);
    let first = fetch(&road, "wait=20s&limit=1");
    assert_eq!(ids(&first), [1]);
    let first_lsn: Lsn = first["events"][0]["commit"]["lsn"].as_str().unwrap().parse().unwrap();
    eventually("the keeper stored how far it is", PATIENCE, || {
        floor(&road.walgate) == Position::new(first_lsn, 0)
    });
    // Asked again without an acknowledgement, it is the same.
    for _ in 0..3 {
        assert_eq!(fetch(&road, "limit=1"), first);
    }
    assert!(road.confirmed() <= first_lsn);
    let query = format!("after={}&limit=2", next(&first));
    let second = fetch(&road, &query);
    assert_eq!(ids(&second), [2, 3]);
    assert_eq!(ask(&road, &query).json(), second, "the same question, the same answer");
    eventually("the acknowledgement is stored", PATIENCE, || {
        floor(&road.walgate) > Position::new(first_lsn, 0)
    });
    let rest = fetch(&road, &format!("after={}", next(&second)));
    assert_eq!(ids(&rest), [4, 5]);
    let empty = fetch(&road, &format!("after={}", next(&rest)));
    assert_eq!(ids(&empty), Vec::<i64>::new());
    road.confirms(&road.wal_end());
    let status = road.walgate.status();
    eventually("status has it", PATIENCE, || road.walgate.status()["sinks"][0]["delivered"] == 5);
    assert_eq!(
        (&status["sinks"][0]["kind"], &status["sinks"][0]["state"]),
        (&json!("poll"), &json!("ok"))
    );
    // Nothing is wanted of this, and the slot moves all the same, though nobody asks.
    road.sql("CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u SELECT generate_series(1, 1000)");
    road.confirms(&road.wal_end());
}

#[test]
fn a_kill_between_question_and_acknowledgement_repeats_the_same_bytes() {
    let mut road = Road::of_t(POLL);
    commits(&road, 1..=3);
    eventually("all are there", PATIENCE, || ids(&fetch(&road, "")).len() == 3);
    let before = ask(&road, "limit=2").body;
    assert_eq!(ids(&serde_json::from_str(&before).unwrap()), [1, 2]);
    road.walgate.kill();
    road.start();
    assert_eq!(ask(&road, "limit=2&wait=20s").body, before);
    let after = next(&serde_json::from_str(&before).unwrap());
    assert_eq!(ids(&fetch(&road, &format!("after={after}&wait=20s"))), [3]);
    // What was acknowledged a moment ago need not be stored: the receiver's cursor says it.
    road.walgate.kill();
    commits(&road, 4..=4);
    road.start();
    assert_eq!(drain(&road, &after, 2).0, [3, 4]);
    road.walgate.kill();
    road.start();
    let (_, last) = drain(&road, &after, 2);
    assert_eq!(ids(&fetch(&road, &format!("after={last}"))), Vec::<i64>::new());
    road.confirms(&road.wal_end());
}

#[test]
fn a_cursor_that_outlives_the_end_of_the_journal_still_counts() {
    let mut road = Road::of_t(POLL);
    commits(&road, 1..=2);
    let (_, after) = drain(&road, "", 2);
    fetch(&road, &format!("after={after}"));
    road.confirms(&road.wal_end());
    // From here on nothing is made durable, and what is written is lost, as when power fails.
    let path = road.walgate.folder().join("walgate-state/walgate.db");
    let lock = rusqlite::Connection::open(path).unwrap();
    lock.busy_timeout(PATIENCE).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let segments = || -> BTreeMap<PathBuf, u64> {
        let folder = fs::read_dir(road.walgate.folder().join("walgate-state/journal")).unwrap();
        let files = folder.map(|entry| entry.unwrap());
        files.map(|file| (file.path(), file.metadata().unwrap().len())).collect()
    };
    let kept = segments();
    commits(&road, 3..=4);
    let (came, ahead) = drain(&road, &after, 2);
    assert_eq!(came, [3, 4]);
    eventually("they are written", PATIENCE, || segments() != kept);
    road.walgate.kill();
    for path in segments_of(&road) {
        match kept.get(&path) {
            Some(length) => {
                fs::File::options().write(true).open(&path).unwrap().set_len(*length).unwrap();
            }
            None => fs::remove_file(&path).unwrap(),
        }
    }
    drop(lock);
    road.start();
    commits(&road, 5..=5);
    assert_eq!(drain(&road, &ahead, 1).0, [5], "3 and 4 had arrived");
}

fn segments_of(road: &Road) -> Vec<PathBuf> {
    let folder = fs::read_dir(road.walgate.folder().join("walgate-state/journal")).unwrap();
    folder.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_question_that_waits_is_answered_as_soon_as_something_commits() {
    let road = Road::of_t(POLL);
    let address = road.walgate.admin();
    let mut after = next(&fetch(&road, ""));
    let mut best = Duration::MAX;
    for round in 1..=5 {
        let path = format!("/v1/sinks/far/events?after={after}&wait=30s");
        let asked = thread::spawn(move || (web::get(address, &path, &[]), Instant::now()));
        // Long enough for the question to be there; too short makes nothing wrong.
        pause(Duration::from_millis(200));
        assert!(!asked.is_finished());
        commits(&road, [round]);
        let committed = Instant::now();
        let (answer, at) = asked.join().unwrap();
        let page = answer.json();
        assert_eq!(ids(&page), [round]);
        after = next(&page);
        best = best.min(at.saturating_duration_since(committed));
    }
    // The best of five: the machine may be busy with other things.
    assert!(best < Duration::from_millis(100), "{best:?}");
    let asked = Instant::now();
    assert_eq!(ids(&fetch(&road, &format!("after={after}&wait=300ms"))), Vec::<i64>::new());
    assert!(asked.elapsed() >= Duration::from_millis(300));
}

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
fn an_old_cursor_is_served_again_from_the_journal_and_moves_nothing() {
    let mut road = Road::of_t(POLL);
    commits(&road, 1..=6);
    let first = fetch(&road, "limit=1&wait=20s");
    let (rest, last) = drain(&road, &next(&first), 5);
    assert_eq!(rest, [2, 3, 4, 5, 6]);
    fetch(&road, &format!("after={last}"));
    road.confirms(&road.wal_end());
    for _ in 0..2 {
        let again = fetch(&road, &format!("after={}&limit=3", next(&first)));
        assert_eq!(ids(&again), [2, 3, 4]);
        let on = fetch(&road, &format!("after={}", next(&again)));
        assert_eq!((ids(&on), next(&on)), (vec![5, 6], last.clone()));
        // Behind what is acknowledged comes what is not.
        assert_eq!(ids(&fetch(&road, "")), Vec::<i64>::new());
        road.stop();
        road.start();
    }
    commits(&road, [7]);
    assert_eq!(drain(&road, &last, 1).0, [7]);
    let gone = ask(&road, "after=00000001-0000000000000001-00000000");
    assert_eq!(gone.status, 410);
    let why = gone.json()["error"].as_str().unwrap().to_owned();
    assert!(why.contains("no longer in the journal") && why.contains("without \"after\""), "{why}");
    for (query, status) in [
        ("after=00000001-7FFFFFFFFFFFFFFF-00000000", 400),
        ("after=FFFFFFFF-FFFFFFFFFFFFFFFF-FFFFFFFF", 400),
        ("after=yesterday", 400),
        ("limit=0", 400),
        ("wait=soon", 400),
        ("what=ever", 400),
        ("limit=100000", 200),
    ] {
        let answer = ask(&road, query);
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        assert!(status == 200 || answer.json()["error"].is_string());
    }
    assert_eq!(road.walgate.get("/v1/sinks/near/events").status, 404);
    // None of it has acknowledged anything.
    assert_eq!(ids(&fetch(&road, "")), [7]);
}

#[test]
fn two_receivers_at_once_lose_nothing() {
    let road = Road::of_t(
        "[sink.far]\nbatch = { max_events = 40, max_bytes = \"4KiB\" }\n[sink.far.poll]\n",
    );
    let address = road.walgate.admin();
    const LAST: i64 = 600;
    let receiver = move || {
        let (mut came, mut after) = (Vec::new(), String::new());
        let deadline = Instant::now() + PATIENCE;
        while came.last() != Some(&LAST) && Instant::now() < deadline {
            let path = format!("/v1/sinks/far/events?wait=2s{after}");
            let answer = web::get(address, &path, &[]);
            assert_eq!(answer.status, 200, "{answer:?}");
            let page = answer.json();
            assert!(answer.body.len() < 8 << 10 && ids(&page).len() <= 40);
            came.extend(ids(&page));
            after = format!("&after={}", next(&page));
        }
        came
    };
    fetch(&road, "");
    // The first question of each goes behind nothing, so that both begin with the first event.
    let receivers = [thread::spawn(receiver), thread::spawn(receiver)];
    for tens in 0..60 {
        road.sql(&format!(
            "INSERT INTO t SELECT n, n FROM generate_series({tens} * 10 + 1, {tens} * 10 + 10) n"
        ));
    }
    let all: Vec<i64> = (1..=LAST).collect();
    let came = receivers.map(|receiver| receiver.join().unwrap());
    // Who asks first without a cursor when the other has acknowledged already goes on behind that.
    for came in &came {
        assert!(came.windows(2).all(|two| two[0] < two[1]), "out of order: {came:?}");
        assert_eq!(came[..], all[all.len() - came.len()..]);
    }
    assert!(came.contains(&all));
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

/// What `trace` says of the row's only change.
#[track_caller]
fn traced(road: &Road, id: i64) -> Value {
    let key = format!("{{\"id\":{id}}}");
    let output = road.walgate.call(&["trace", "--table", "public.t", "--key", &key, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str::<Value>(text.lines().next().unwrap_or("null")).unwrap()
}

#[test]
fn a_trace_says_what_was_acknowledged_and_when_and_what_waits() {
    let mut road = Road::of_t(POLL);
    commits(&road, 1..=4);
    eventually("all are there", PATIENCE, || ids(&fetch(&road, "")).len() == 4);
    let told = |road: &Road, id| traced(road, id)["sinks"][0].clone();
    assert!((1..=4).all(|id| told(&road, id)["state"] == "waiting"), "handed out is not had");
    let two = fetch(&road, "limit=2");
    let before = Timestamp::now().to_string();
    assert_eq!(ids(&fetch(&road, &format!("after={}", next(&two)))), [3, 4]);
    eventually("it is stored", PATIENCE, || told(&road, 2)["state"] == "delivered");
    let check = |road: &Road| {
        for at in [1, 2].map(|id| told(road, id)) {
            assert_eq!(at["state"], "delivered", "{at}");
            assert!(at["delivered_at"].as_str() > Some(before.as_str()), "{at}");
            assert_eq!((&at["attempts"], &at["took_ms"]), (&Value::Null, &Value::Null));
        }
        for at in [3, 4].map(|id| told(road, id)) {
            assert_eq!(at["state"], "waiting");
            assert!(at["reason"].as_str().unwrap().contains("fetched and acknowledged"), "{at}");
        }
    };
    check(&road);
    road.walgate.kill();
    check(&road);
    road.start();
    check(&road);
}
