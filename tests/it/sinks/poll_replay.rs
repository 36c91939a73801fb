//! Dead letters of a `poll` sink that a person has sent again: the next question gets them.

use std::thread;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::poll::{POLL, commits, fetch, ids, next};
use crate::support::process::eventually;
use crate::support::road::{PATIENCE, Road, T, route};
use crate::support::state::change;

/// Refuses rows without a `v`; the second version does not.
fn config(version: u32) -> String {
    let required = version == 1;
    format!(
        "[mapping.m]\nversion = {version}\n[mapping.m.fields]\nid = {{ column = \"id\" }}\n\
         v = {{ column = \"v\", required = {required} }}\n{POLL}{}mapping = \"m\"\n",
        route("t", "far")
    )
}

fn of_refused() -> Road {
    Road::new(Cluster::builder().major(15), T, &config(1))
}

/// Goes on with the mapping that refuses nothing.
fn mend(road: &mut Road) {
    road.stop();
    road.configure(&config(2));
    road.start();
}

#[track_caller]
fn begin(road: &Road, more: &[&str]) {
    let (code, _, said) = road.dlq(&[&["replay", "--all", "--no-wait"], more].concat());
    assert_eq!(code, 0, "{said}");
}

/// Has these letters sent again, and no others.
#[track_caller]
fn begin_with(road: &Road, letters: &[&Value]) {
    let numbers: Vec<String> = letters.iter().map(|letter| letter["id"].to_string()).collect();
    let numbers = numbers.iter().map(String::as_str);
    let args: Vec<&str> = ["replay", "--no-wait"].into_iter().chain(numbers).collect();
    let (code, _, said) = road.dlq(&args);
    assert_eq!(code, 0, "{said}");
}

/// Asks behind a page, waiting for what comes.
#[track_caller]
fn behind(road: &Road, page: &Value) -> Value {
    fetch(road, &format!("after={}&wait=5s", next(page)))
}

/// `op id`, as they came.
fn brief(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().unwrap();
    let brief = |event: &Value| format!("{} {}", event["op"].as_str().unwrap(), event["key"]["id"]);
    events.iter().map(brief).collect()
}

#[test]
fn the_next_question_gets_it_as_the_same_event_over_a_crash_too() {
    let mut road = of_refused();
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, NULL), (3, 'a'), (4, NULL)");
    // A transaction may come in pieces.
    let mut first = Value::Null;
    eventually("both are there", PATIENCE, || {
        first = fetch(&road, "wait=20s");
        ids(&first).len() == 2
    });
    assert_eq!(ids(&first), [1, 3]);
    let letters = road.dead_letters(&["--state", "dead"]);
    assert_eq!(letters.len(), 2);
    mend(&mut road);
    commits(&road, [5]);
    begin(&road, &[]);
    let question = format!("after={}&wait=20s", next(&first));
    let again = fetch(&road, &question);
    assert_eq!(ids(&again), [2, 4], "before what was not fetched yet");
    for (event, letter) in again["events"].as_array().unwrap().iter().zip(&letters) {
        assert_eq!(event["id"], letter["event_id"]);
        assert_eq!(event["mapping"]["version"], 2);
    }
    assert_eq!(fetch(&road, &question), again, "the same question, the same answer");
    road.walgate.kill();
    road.start();
    assert_eq!(fetch(&road, &question)["events"], again["events"]);
    // Only in part: the rest follows.
    let one = fetch(&road, "limit=1");
    assert_eq!(ids(&one), [2]);
    let two = behind(&road, &one);
    assert_eq!(ids(&two), [4]);
    let rest = behind(&road, &two);
    assert_eq!(ids(&rest), [5]);
    eventually("both are delivered", PATIENCE, || {
        road.dead_letters(&["--state", "delivered"]).len() == 2
    });
    fetch(&road, &format!("after={}", next(&rest)));
    road.confirms(&road.wal_end());
    road.walgate.kill();
    road.start();
    // A cursor of another run's tray is an old one: what follows comes again from the journal.
    assert_eq!(ids(&fetch(&road, &format!("after={}", next(&two)))), [4, 5]);
    assert_eq!(ids(&fetch(&road, "")), Vec::<i64>::new());
    let trace = ["trace", "--table", "public.t", "--key", "{\"id\":2}", "--json"];
    let told: Value = serde_json::from_slice(&road.walgate.call(&trace).stdout).unwrap();
    assert_eq!(told["sinks"][0]["state"], "delivered");
    assert!(told["sinks"][0]["delivered_at"].is_string());
}

#[test]
fn what_the_receiver_has_newer_is_not_overwritten_unless_forced() {
    let mut road = of_refused();
    for id in 1..=3 {
        road.sql(&format!("INSERT INTO t VALUES ({id}, NULL)"));
    }
    eventually("all are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 3);
    road.sql("UPDATE t SET v = 'acknowledged' WHERE id = 1");
    let first = fetch(&road, "wait=20s");
    assert_eq!(brief(&first), ["update 1"]);
    fetch(&road, &format!("after={}", next(&first)));
    mend(&mut road);
    road.sql("UPDATE t SET v = 'handed out' WHERE id = 2");
    let second = fetch(&road, "wait=20s");
    assert_eq!(brief(&second), ["update 2"]);
    road.sql("UPDATE t SET v = 'there' WHERE id = 3");
    eventually("it lies there", PATIENCE, || ids(&fetch(&road, "")).len() == 2);
    begin(&road, &[]);
    let reason = |id: i64| {
        let dead = road
            .dead_letters(&["--state", "dead"])
            .into_iter()
            .find(|letter| letter["key"]["id"] == id);
        dead.and_then(|letter| Some(letter["reason"].as_str()?.to_owned()))
    };
    assert!(reason(1).unwrap().contains("newer"));
    // The second was handed out before, and only now says the receiver that it has it.
    let third = behind(&road, &second);
    assert_eq!(brief(&third), ["insert 3"]);
    eventually("the second is refused", PATIENCE, || reason(2).is_some());
    assert!(reason(2).unwrap().contains("newer"));
    let rest = behind(&road, &third);
    assert_eq!(brief(&rest), ["update 3"]);
    let (code, outcomes, said) = road.dlq(&["replay", "--all", "--json"]);
    assert_eq!((code, outcomes.len()), (5, 2), "{said}");
    assert!(outcomes.iter().all(|one| one["outcome"] == "refused"), "{outcomes:?}");
    begin(&road, &["--force"]);
    assert_eq!(brief(&behind(&road, &rest)), ["insert 1", "insert 2"]);
}

#[test]
fn who_waits_for_it_is_told_once_it_was_fetched() {
    let mut road = of_refused();
    road.sql("INSERT INTO t VALUES (1, NULL), (2, NULL)");
    eventually("both are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 2);
    // The mapping is as it was.
    let (code, outcomes, said) = road.dlq(&["replay", "--all", "--json"]);
    assert_eq!((code, &outcomes[0]["outcome"]), (5, &json!("dead")), "{said}");
    road.stop();
    let (code, _, said) = road.dlq(&["replay", "--sink", "far"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("from a running instance"), "{said}");
    road.configure(&config(2));
    road.start();
    fetch(&road, "");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| road.dlq(&["replay", "--all", "--json"]));
        let mut page = fetch(&road, "wait=5s");
        eventually("they are laid out", PATIENCE, || {
            let came = ids(&page) == [1, 2];
            if !came {
                page = fetch(&road, "wait=5s");
            }
            came
        });
        assert!(!waiting.is_finished());
        fetch(&road, &format!("after={}", next(&page)));
        let (code, outcomes, said) = waiting.join().unwrap();
        assert_eq!((code, outcomes.len()), (0, 2), "{said}");
        assert!(outcomes.iter().all(|one| one["outcome"] == "delivered"), "{outcomes:?}");
    });
}

#[test]
fn one_that_is_discarded_while_it_lies_there_is_not_handed_out() {
    let mut road = of_refused();
    road.sql("INSERT INTO t VALUES (1, NULL), (2, NULL)");
    eventually("both are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 2);
    mend(&mut road);
    begin(&road, &[]);
    eventually("they lie there", PATIENCE, || ids(&fetch(&road, "wait=1s")) == [1, 2]);
    let (code, _, said) = road.dlq(&["discard", "--key", "{\"id\": 1}", "--reason", "a test"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(ids(&fetch(&road, "")), [2]);
}

#[test]
fn more_than_one_tray_comes_in_the_order_of_the_stream_too() {
    let mut road = of_refused();
    road.sql("INSERT INTO t SELECT n, NULL FROM generate_series(1, 1001) n");
    let dead = |road: &Road| road.walgate.status()["sinks"][0]["dead_letters"]["rejected"].clone();
    eventually("all are dead", PATIENCE, || dead(&road) == 1001);
    mend(&mut road);
    road.sql("UPDATE t SET v = 'new' WHERE id = 1001");
    eventually("it lies there", PATIENCE, || brief(&fetch(&road, "")) == ["update 1001"]);
    begin(&road, &[]);
    let mut page = Value::Null;
    eventually("they lie there", PATIENCE, || {
        page = fetch(&road, "limit=500");
        brief(&page)[0] == "insert 1"
    });
    let mut all = brief(&page);
    eventually("the newest comes", PATIENCE, || {
        page = fetch(&road, &format!("after={}&limit=500&wait=1s", next(&page)));
        all.extend(brief(&page));
        all.iter().any(|one| one == "update 1001")
    });
    let last = all.iter().position(|one| one == "insert 1001").unwrap();
    assert!(all.iter().position(|one| one == "update 1001").unwrap() > last);
    assert_eq!(all.len(), 1002);
}

#[test]
fn one_that_can_not_be_read_is_dead_again_and_holds_up_nothing() {
    let mut road = of_refused();
    road.sql("INSERT INTO t VALUES (1, NULL), (2, NULL)");
    eventually("both are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 2);
    mend(&mut road);
    let changed = "UPDATE dead_letters SET original = x'00' WHERE seq = 0";
    change(&road.walgate, changed);
    begin(&road, &[]);
    commits(&road, [3]);
    let (mut all, mut after) = (Vec::new(), String::new());
    eventually("the others come", PATIENCE, || {
        let page = fetch(&road, &format!("wait=1s{after}"));
        all.extend(brief(&page));
        after = format!("&after={}", next(&page));
        all.len() >= 2
    });
    assert_eq!(all, ["insert 2", "insert 3"]);
    eventually("it is dead again", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 1);
}

#[test]
fn what_a_second_replay_asks_for_falls_in_with_what_was_not_handed_out_yet() {
    let mut road = of_refused();
    road.sql("INSERT INTO t VALUES (2, NULL)");
    road.sql("INSERT INTO t VALUES (1, NULL)");
    road.sql("UPDATE t SET v = NULL WHERE id = 1");
    eventually("all are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 3);
    let letters = road.dead_letters(&["--state", "dead"]);
    mend(&mut road);
    begin_with(&road, &[&letters[0], &letters[2]]);
    let first = fetch(&road, "limit=1&wait=20s");
    assert_eq!(brief(&first), ["insert 2"]);
    begin_with(&road, &[&letters[1]]);
    assert_eq!(fetch(&road, "limit=1"), first, "the same question, the same answer");
    let rest = behind(&road, &first);
    assert_eq!(brief(&rest), ["insert 1", "update 1"]);
    fetch(&road, &format!("after={}", next(&rest)));
    eventually("all are delivered", PATIENCE, || {
        road.dead_letters(&["--state", "delivered"]).len() == 3
    });
}

#[test]
fn what_was_handed_out_keeps_its_place_before_what_a_second_replay_asks_for() {
    let mut road = of_refused();
    road.sql("INSERT INTO t VALUES (1, NULL)");
    road.sql("INSERT INTO t VALUES (2, NULL)");
    road.sql("UPDATE t SET v = NULL WHERE id = 1");
    eventually("all are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 3);
    let letters = road.dead_letters(&["--state", "dead"]);
    mend(&mut road);
    commits(&road, [3]);
    begin_with(&road, &[&letters[2]]);
    let first = fetch(&road, "wait=20s");
    assert_eq!(brief(&first), ["update 1"]);
    begin_with(&road, &[&letters[0], &letters[1]]);
    assert_eq!(fetch(&road, ""), first, "nothing older of the key comes behind it");
    let second = behind(&road, &first);
    assert_eq!(brief(&second), ["insert 2"]);
    assert_eq!(brief(&behind(&road, &second)), ["insert 3"]);
    let dead = road.dead_letters(&["--state", "dead"]);
    assert_eq!((dead.len(), &dead[0]["id"]), (1, &letters[0]["id"]));
    assert!(dead[0]["reason"].as_str().unwrap().contains("newer"), "{dead:?}");
}

/// Of two of a key the first was noted as older than the second before it was noted as delivered.
#[test]
fn what_was_acknowledged_comes_again_whole_or_not_at_all_after_a_crash() {
    let mut road = of_refused();
    road.sql("INSERT INTO t VALUES (1, NULL)");
    road.sql("UPDATE t SET v = NULL WHERE id = 1");
    eventually("both are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 2);
    road.stop();
    let refuses = "CREATE TRIGGER refuses BEFORE UPDATE ON dead_letters
                   WHEN NEW.state = 'delivered' BEGIN SELECT RAISE(ABORT, 'not now'); END";
    change(&road.walgate, refuses);
    road.configure(&config(2));
    road.start();
    road.sql("UPDATE t SET v = 'new' WHERE id = 1");
    begin(&road, &[]);
    let mut page = Value::Null;
    eventually("they lie there", PATIENCE, || {
        page = fetch(&road, "wait=1s");
        brief(&page) == ["insert 1", "update 1"]
    });
    let follows = behind(&road, &page);
    eventually("it can't be stored", PATIENCE, || {
        road.walgate.log().contains("dead letters can't be stored")
    });
    road.walgate.kill();
    change(&road.walgate, "DROP TRIGGER refuses");
    road.start();
    let again = behind(&road, &follows);
    assert_eq!(road.dead_letters(&["--state", "dead"]), Vec::<Value>::new());
    assert_eq!(brief(&follows), Vec::<String>::new(), "a cursor behind it would say too much");
    assert_eq!(brief(&again), ["insert 1", "update 1"]);
    let rest = behind(&road, &again);
    assert_eq!(rest["events"][0]["data"]["v"], "new");
    eventually("both are delivered", PATIENCE, || {
        road.dead_letters(&["--state", "delivered"]).len() == 2
    });
}
