//! TRUNCATE: after everything of its table, before all that follows, beside all other tables.

use walgate::demo::cluster::Cluster;

use crate::support::process::eventually;
use crate::support::receiver::{Event, Journal, Receiver, Reply};
use crate::support::road::{PATIENCE, Road, http, route};

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v text);
                      CREATE TABLE u (id int PRIMARY KEY, v text)";

const EVERY: &str = "on = [\"insert\", \"update\", \"delete\", \"truncate\"]\n";

#[track_caller]
fn road(receiver: &Receiver, keys: &str) -> Road {
    let sink = http("far", &receiver.url("/"), keys);
    let routes = route("t", "far") + EVERY + &route("u", "far") + EVERY;
    Road::new(Cluster::builder().major(15), SCHEMA, &(sink + &routes))
}

fn is_truncate_of_t(event: &Event) -> bool {
    event.op() == "truncate" && event.0["table"] == "public.t"
}

fn count(journal: &Journal, table: &str) -> usize {
    journal.events().iter().filter(|event| event.0["table"] == table).count()
}

/// Every event of `t` came after those of it before the TRUNCATE and before those behind it.
#[track_caller]
fn is_in_order(journal: &Journal) {
    let of_t: Vec<Event> =
        journal.events().into_iter().filter(|event| event.0["table"] == "public.t").collect();
    for (place, truncate) in of_t.iter().enumerate().filter(|(_, event)| is_truncate_of_t(event)) {
        assert!(of_t[..place].iter().all(|event| event.id() < truncate.id()));
        assert!(of_t[place + 1..].iter().all(|event| event.id() > truncate.id()));
    }
    assert_eq!(journal.out_of_order(), Vec::<String>::new());
}

/// A TRUNCATE that is not answered, or always fails, held up the rows of every other table.
#[test]
fn a_truncate_that_fails_holds_up_its_own_table_only() {
    let brisk =
        "timeout = \"2s\"\nretry = { initial = \"20ms\", max = \"100ms\", max_attempts = 1000 }";
    for (concurrency, refusal) in
        [(4, Reply::hang()), (4, Reply::status(500)), (1, Reply::status(500))]
    {
        let receiver = Receiver::start();
        receiver.when(is_truncate_of_t, refusal);
        let mut road = road(&receiver, &format!("concurrency = {concurrency}\n{brisk}"));
        road.sql("INSERT INTO t SELECT g, 'before' FROM generate_series(1, 50) g");
        road.sql("TRUNCATE t");
        road.sql("INSERT INTO t SELECT g, 'behind' FROM generate_series(1, 50) g");
        for round in 0..20 {
            road.sql(&format!(
                "INSERT INTO u SELECT g, 'a' FROM generate_series({round}01, {round}50) g"
            ));
        }
        receiver.wait("the other table", PATIENCE, |journal| count(journal, "public.u") == 1000);
        assert_eq!(count(&receiver.journal(), "public.t"), 50, "nothing overtakes the TRUNCATE");
        receiver.behave();
        receiver.wait("all of it", PATIENCE, |journal| count(journal, "public.t") == 101);
        is_in_order(&receiver.journal());
        road.stop();
    }
}

/// What a TRUNCATE holds up survives a crash, and so does the order.
#[test]
fn a_truncate_among_what_was_set_aside_keeps_its_place_over_a_crash() {
    let receiver = Receiver::start();
    receiver.when(is_truncate_of_t, Reply::status(500));
    let brisk =
        "concurrency = 4\nretry = { initial = \"20ms\", max = \"100ms\", max_attempts = 1000 }";
    let mut road = road(&receiver, brisk);
    road.sql("INSERT INTO t SELECT g, 'before' FROM generate_series(1, 50) g; TRUNCATE t");
    road.sql("INSERT INTO t SELECT g, 'behind' FROM generate_series(1, 50) g");
    let u = "INSERT INTO u SELECT g, 'a' FROM generate_series((SELECT count(*) FROM u) + 1, (SELECT count(*) FROM u) + 9) g";
    eventually("the TRUNCATE is set aside with what is behind it", PATIENCE, || {
        road.sql(u);
        road.dead_letters(&["--state", "blocked"]).len() == 50
    });
    road.confirms(&road.wal_end());
    road.walgate.kill();
    road.start();
    road.sql("INSERT INTO t SELECT g, 'later' FROM generate_series(51, 60) g");
    road.sql(u);
    let all = road.value("SELECT count(*) FROM u").parse().unwrap();
    receiver.wait("the other table", PATIENCE, |journal| count(journal, "public.u") >= all);
    assert_eq!(count(&receiver.journal(), "public.t"), 50);
    receiver.behave();
    receiver.wait("all of it", PATIENCE, |journal| count(journal, "public.t") == 111);
    is_in_order(&receiver.journal());
    road.stop();
}

/// A held route that takes a TRUNCATE held up its sink.
#[test]
fn a_held_truncate_holds_up_its_own_table_only() {
    let receiver = Receiver::start();
    let mut road = road(&receiver, "concurrency = 4");
    let call = |road: &Road, args: &[&str]| {
        assert_eq!(road.walgate.call(args).status.code(), Some(0));
    };
    call(&road, &["route", "hold", "t-to-far", "--reason", "a test"]);
    road.sql("INSERT INTO t SELECT g, 'before' FROM generate_series(1, 20) g; TRUNCATE t");
    road.sql("INSERT INTO t SELECT g, 'behind' FROM generate_series(1, 20) g");
    road.sql("INSERT INTO u SELECT g, 'a' FROM generate_series(1, 200) g; TRUNCATE u");
    receiver.wait("the other table", PATIENCE, |journal| count(journal, "public.u") == 201);
    assert_eq!(count(&receiver.journal(), "public.t"), 0);
    call(&road, &["route", "release", "t-to-far"]);
    receiver.wait("all of it", PATIENCE, |journal| count(journal, "public.t") == 41);
    is_in_order(&receiver.journal());
    road.stop();
}

/// A dead letter that a person has sent again was overtaken by a TRUNCATE that waits, over a crash.
#[test]
fn a_truncate_waits_for_an_older_letter_that_is_sent_again_over_a_crash_too() {
    let receiver = Receiver::start();
    let is_bad = |event: &Event| event.0["data"]["v"] == "bad";
    receiver.when(is_bad, Reply::status(422));
    receiver.when(is_truncate_of_t, Reply::status(500));
    let brisk =
        "concurrency = 4\nretry = { initial = \"20ms\", max = \"100ms\", max_attempts = 100000 }";
    let mut road = road(&receiver, brisk);
    road.sql("INSERT INTO t VALUES (1, 'bad'), (2, 'good'); TRUNCATE t");
    let u = "INSERT INTO u SELECT 1 + count(*), 'a' FROM u";
    let in_state = |road: &Road, state: &str| {
        road.sql(u);
        road.dead_letters(&["--state", state]).len()
    };
    eventually("both are set aside", PATIENCE, || {
        in_state(&road, "dead") == 1 && in_state(&road, "retrying") == 1
    });
    receiver.when(is_bad, Reply::status(500));
    let (code, _, said) = road.dlq(&["replay", "--state", "dead", "--no-wait"]);
    assert_eq!(code, 0, "{said}");
    eventually("it is sent again", PATIENCE, || in_state(&road, "replaying") == 1);
    road.confirms(&road.wal_end());
    road.walgate.kill();
    receiver.behave();
    receiver.when(is_bad, Reply::status(500));
    road.start();
    for _ in 0..20 {
        road.sql(u);
    }
    let all = road.value("SELECT count(*) FROM u").parse().unwrap();
    receiver.wait("the other table", PATIENCE, |journal| count(journal, "public.u") >= all);
    assert_eq!(count(&receiver.journal(), "public.t"), 1, "the TRUNCATE waits");
    receiver.behave();
    receiver.wait("all of it", PATIENCE, |journal| count(journal, "public.t") == 3);
    is_in_order(&receiver.journal());
    road.stop();
}

/// A dead letter was sent again behind a TRUNCATE of its table that had been set aside meanwhile.
#[test]
fn a_letter_older_than_a_truncate_that_got_through_late_is_refused() {
    let receiver = Receiver::start();
    receiver.when(|event| event.0["data"]["v"] == "bad", Reply::status(422));
    receiver.when(is_truncate_of_t, Reply::status(500));
    let brisk =
        "concurrency = 4\nretry = { initial = \"20ms\", max = \"100ms\", max_attempts = 100000 }";
    let mut road = road(&receiver, brisk);
    road.sql("INSERT INTO t VALUES (1, 'bad'); TRUNCATE t");
    let count_of = |state: &str| road.dead_letters(&["--state", state]).len();
    eventually("both are set aside", PATIENCE, || {
        road.sql("INSERT INTO u SELECT 1 + count(*), 'a' FROM u");
        count_of("dead") == 1 && count_of("retrying") == 1
    });
    receiver.behave();
    receiver.wait("the TRUNCATE", PATIENCE, |journal| count(journal, "public.t") == 1);
    eventually("it is none that waits", PATIENCE, || count_of("retrying") == 0);
    let (code, _, said) = road.dlq(&["replay", "--state", "dead"]);
    assert_eq!(code, 5, "{said}");
    assert_eq!((count_of("dead"), count(&receiver.journal(), "public.t")), (1, 1));
    road.stop();
}
