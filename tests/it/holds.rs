//! A paused sink and a held route: what waits, what flows, and over a restart.

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
