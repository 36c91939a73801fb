//! What a receiver of a `poll` sink gets for its question, and what its cursor acknowledges.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use walgate::lsn::{Lsn, Position, Timestamp};
use walgate::progress::store;

use crate::support::process::{Walgate, eventually, pause};
use crate::support::road::{PATIENCE, Road};
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
pub(super) fn drain(road: &Road, from: &str, count: usize) -> (Vec<i64>, String) {
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
