//! What is firing outlives the process, and what could not be told is told later.

use serde_json::json;

use super::{BRISK, alert, are_told, firing, notices, once_each, ops, sink, statuses};
use crate::support::process::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T, http};
use crate::support::state;
use walgate::demo::cluster::Cluster;

fn road(bell: &Receiver, receiver: &Receiver) -> Road {
    let sinks = [ops(bell), sink("far", receiver, ""), alert("stuck", "halted", "")];
    Road::new(Cluster::builder(), T, &sinks.concat())
}

#[test]
fn what_was_firing_before_a_restart_is_not_fired_again_and_its_end_is_told() {
    let (bell, receiver) = (Receiver::start(), Receiver::start());
    let mut road = road(&bell, &receiver);
    receiver.otherwise(Reply::status(401));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    are_told(&bell, &["stuck"], 1);
    road.walgate.kill();
    road.start();
    let asked = receiver.journal().requests.len();
    receiver.wait("it is tried again", PATIENCE, |journal| journal.requests.len() > asked + 20);
    assert_eq!(firing(&road, "stuck").as_deref(), Some("1"));
    assert_eq!(statuses(&bell)["stuck"], ["firing"]);
    // It ends while nobody looks.
    road.walgate.kill();
    receiver.behave();
    road.start();
    are_told(&bell, &["stuck"], 2);
    once_each(&bell, &["stuck"]);
    assert_eq!(state::number(&road.walgate, "SELECT count(*) FROM incidents"), 1);
}

#[test]
fn a_destination_that_is_down_hears_of_it_later_and_holds_nothing_up() {
    let (bell, receiver) = (Receiver::start(), Receiver::start());
    let mut road = road(&bell, &receiver);
    bell.refuse();
    receiver.otherwise(Reply::status(401));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    eventually("it can't be told", PATIENCE, || {
        road.walgate.log().contains("a notice can't be sent")
    });
    eventually("the status says so", PATIENCE, || {
        let text = road.walgate.call(&["status"]).stdout;
        String::from_utf8(text).unwrap().contains("1 notice waits for ops: ")
    });
    receiver.behave();
    road.confirms(&road.wal_end());
    // Neither over a restart, nor for long.
    road.stop();
    road.start();
    road.sql("INSERT INTO t VALUES (2, 'b')");
    road.confirms(&road.wal_end());
    let said = || road.walgate.log().matches("a notice can't be sent").count();
    eventually("it is said once a start", PATIENCE, || said() == 2);
    bell.listen();
    are_told(&bell, &["stuck"], 2);
    once_each(&bell, &["stuck"]);
    eventually("nothing is owed", PATIENCE, || {
        state::number(&road.walgate, "SELECT count(*) FROM notices") == 0
    });
}

#[test]
fn slack_gets_a_text() {
    let (bell, receiver) = (Receiver::start(), Receiver::start());
    bell.otherwise(Reply::ok().body("ok"));
    let ops = http("ops", &bell.url("/hook"), &format!("format = \"mapped\"\n{BRISK}"));
    let sinks =
        [ops + "preset = \"slack\"\n", sink("far", &receiver, ""), alert("stuck", "halted", "")];
    let road = Road::new(Cluster::builder(), T, &sinks.concat());
    let checked = String::from_utf8(road.walgate.call(&["check"]).stdout).unwrap();
    assert!(checked.contains("alert stuck") && checked.contains("goes to ops"), "{checked}");
    assert!(!checked.contains("named by no route"), "{checked}");
    receiver.otherwise(Reply::status(401));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    bell.wait("it is told", PATIENCE, |journal| journal.events().len() == 1);
    receiver.behave();
    bell.wait("its end is told", PATIENCE, |journal| journal.events().len() == 2);
    let told = notices(&bell);
    for notice in &told {
        let keys: Vec<_> = notice.as_object().unwrap().keys().collect();
        assert_eq!(json!(keys), json!(["text"]), "{notice}");
    }
    let text = told[0]["text"].as_str().unwrap();
    assert!(text.starts_with(":red_circle: *stuck* firing: sink far is halted: "), "{text}");
    assert!(text.contains("walgate postgres/walgate, since "), "{text}");
    let over = told[1]["text"].as_str().unwrap();
    assert!(over.starts_with(":large_green_circle: *stuck* resolved: "), "{over}");
}
