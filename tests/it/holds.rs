//! A paused sink and a held route: what waits, what flows, and over a restart.

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::support::process::eventually;
use super::support::receiver::Receiver;
use super::support::road::{PATIENCE, Road, T, http, route};

#[test]
fn a_paused_sink_is_sent_nothing_until_it_is_resumed_over_a_restart_too() {
    let (near, far) = (Receiver::start(), Receiver::start());
    let sinks = [
        http("near", &near.url("/"), ""),
        http("far", &far.url("/"), ""),
        route("t", "near"),
        route("t", "far"),
    ];
    let mut road = Road::new(Cluster::builder().major(15), T, &sinks.concat());
    let call = |road: &Road, args: &[&str], code: i32| {
        let output = road.walgate.call(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    call(&road, &["sink", "pause", "far", "--reason", "moving house"], 0);
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 50) g");
    near.wait("the other sink", PATIENCE, |journal| journal.events_processed == 50);
    eventually("status says why", PATIENCE, || {
        let sink = road.walgate.status()["sinks"][1].clone();
        sink["state"] == "halted" && sink["reason"].as_str().unwrap().contains("moving house")
    });
    road.stop();
    road.start();
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(51, 100) g");
    near.wait("the other sink", PATIENCE, |journal| journal.events_processed == 100);
    assert_eq!(far.journal().requests.len(), 0);
    road.stop();
    let ended = call(&road, &["run", "--until-caught-up", "--timeout", "50s"], 4);
    assert!(ended.contains("moving house"), "{ended}");
    // Without an instance it is noted for the next.
    call(&road, &["sink", "resume", "far"], 0);
    road.start();
    assert_eq!(road.arrived(&far).repeats(), 0);
    assert!(call(&road, &["sink", "pause", "farr"], 2).contains("did you mean \"far\""));
}

#[test]
fn a_held_route_waits_in_the_journal_and_the_others_of_its_sink_flow() {
    let receiver = Receiver::start();
    let sinks =
        [http("far", &receiver.url("/"), "concurrency = 3"), route("t", "far"), route("u", "far")];
    let schema = format!("{T}; CREATE TABLE u (id int PRIMARY KEY, v text)");
    let mut road = Road::new(Cluster::builder().major(15), &schema, &sinks.concat());
    let call = |road: &Road, args: &[&str]| {
        let output = road.walgate.call(args);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    };
    call(&road, &["route", "hold", "t-to-far", "--reason", "the mapping is being changed"]);
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 30) g");
    road.sql("UPDATE t SET v = 'b'");
    road.sql("INSERT INTO u SELECT g, 'a' FROM generate_series(1, 30) g");
    let of = |table: &'static str| {
        move |journal: &super::support::receiver::Journal| {
            journal.events().iter().filter(|event| event.0["table"] == table).count()
        }
    };
    receiver.wait("the other table", PATIENCE, |journal| of("public.u")(journal) == 30);
    eventually("they wait as references", PATIENCE, || {
        road.dead_letters(&["--state", "blocked"]).len() == 60
    });
    // The position has moved past them: they are kept by the journal.
    road.confirms(&road.wal_end());
    road.walgate.kill();
    road.start();
    road.sql("UPDATE t SET v = 'c' WHERE id <= 10");
    eventually("status says so", PATIENCE, || {
        let status = road.walgate.status();
        status["sinks"][0]["reason"].as_str().is_some_and(|why| why.contains("held: t-to-far"))
    });
    assert_eq!(of("public.t")(&receiver.journal()), 0);
    call(&road, &["route", "release", "t-to-far"]);
    receiver.wait("all of it", PATIENCE, |journal| of("public.t")(journal) == 70);
    assert_eq!(receiver.journal().out_of_order(), Vec::<String>::new());
    eventually("nothing waits", PATIENCE, || road.dead_letters(&[]).is_empty());
    road.stop();
}

#[test]
fn a_held_route_is_told_of_until_what_waits_for_it_is_done() {
    let receiver = Receiver::start();
    let mapping = "mapping = \"m\"\n[mapping.m]\nversion = 3\n[mapping.m.fields]\n\
                   id = { column = \"id\" }\nv = { column = \"v\", mask = \"redact\" }\n";
    let sinks = [http("far", &receiver.url("/"), ""), route("t", "far"), mapping.to_owned()];
    let mut road = Road::new(Cluster::builder().major(15), T, &sinks.concat());
    let call = |road: &Road, args: &[&str], code: i32| {
        let output = road.walgate.call(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    let reason = |road: &Road| {
        let status = road.walgate.status();
        status["sinks"][0]["reason"].as_str().unwrap_or_default().to_owned()
    };
    call(&road, &["route", "hold", "t-to-far", "--reason", "a new mapping"], 0);
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 5) g");
    let told = |count| format!("held: t-to-far (a new mapping), {count} events wait");
    eventually("five wait", PATIENCE, || reason(&road) == told(5));
    road.sql("INSERT INTO t SELECT g, 'b' FROM generate_series(6, 8) g");
    eventually("eight wait", PATIENCE, || reason(&road) == told(8));
    road.stop();
    assert_eq!(reason(&road), told(8));

    // What waits is shown as it is in the journal.
    let letters = road.dead_letters(&["--state", "blocked"]);
    assert_eq!(letters.len(), 8);
    let number = letters[0]["id"].to_string();
    let (_, exported, _) = road.dlq(&["export"]);
    let values: Vec<&Value> = exported.iter().map(|letter| &letter["original"]).collect();
    let rows: Vec<Value> = (1..=8).map(|id| json!({ "id": id, "v": "***" })).collect();
    assert_eq!(values, rows.iter().collect::<Vec<_>>());
    assert_eq!(exported[0]["mapping"], json!({ "name": "m", "version": 3 }));
    let shown = |args: &[&str]| {
        let output = road.walgate.call(&[&["dlq", "show", &number, "--json"], args].concat());
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["original"].clone()
    };
    assert_eq!(shown(&[]), json!({ "id": 1, "v": "***" }));
    assert_eq!(shown(&["--unmasked"]), json!({ "id": 1, "v": "a" }));

    let until = ["run", "--until-caught-up", "--timeout", "50s"];
    let ended = call(&road, &until, 4);
    let says = "far (route t-to-far is held, 8 events wait: `walgate route release t-to-far`)";
    assert!(ended.contains(says), "{ended}");
    assert_eq!(receiver.journal().requests.len(), 0);
    call(&road, &["route", "release", "t-to-far"], 0);
    call(&road, &until, 0);
    assert_eq!(receiver.journal().events_processed, 8);
    assert_eq!(reason(&road), "");
}

#[test]
fn more_than_may_wait_for_a_held_route_end_it_as_well() {
    let receiver = Receiver::start();
    let sinks = [http("far", &receiver.url("/"), "max_blocked = 3"), route("t", "far")];
    let mut road = Road::new(Cluster::builder().major(15), T, &sinks.concat());
    assert!(road.walgate.call(&["route", "hold", "t-to-far"]).status.success());
    road.stop();
    // Two chunks at least: those that are read at once wait all the same.
    for id in 1..=20 {
        road.sql(&format!("INSERT INTO t VALUES ({id}, repeat('x', 100000))"));
    }
    let output = road.walgate.call(&["run", "--until-caught-up", "--timeout", "50s"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("route t-to-far is held"), "{said}");
    let waiting = road.dead_letters(&["--state", "blocked"]).len();
    assert!((3..20).contains(&waiting), "{waiting} wait: the sink was to stop reading before");
}
