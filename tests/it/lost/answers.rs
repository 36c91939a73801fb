//! Only a whole 2xx is an acknowledgement, and every other answer is somebody's fault.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::support::receiver::Reply;

const NO_LETTERS: [String; 0] = [];

/// Dead letters and what is on its way to be one.
fn letters(road: &Road) -> Vec<String> {
    rows_of(
        &road.walgate,
        "SELECT state, category, status FROM dead_letters WHERE state <> 'delivered' ORDER BY id",
    )
}

/// D24: a redirect, a cut-off answer and an answer of something else counted as delivered.
#[test]
fn nothing_but_a_whole_2xx_is_an_acknowledgement() {
    let (receiver, elsewhere) = (Receiver::start(), Receiver::start());
    let road = road(15, &[sink("far", &receiver, BRISK)]);
    let redirect = |status| Reply::status(status).header("location", &elsewhere.url("/events"));
    let odd = [
        redirect(301),
        redirect(302),
        redirect(303),
        redirect(307),
        redirect(308),
        Reply::status(304),
        Reply::raw(""),
        Reply::raw("HTTP/1.1 2"),
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"),
        Reply::raw("HTTP/1.1 100 Continue\r\n\r\n"),
        Reply::raw("HTTP/1.1 103 Early Hints\r\n\r\n"),
        Reply::raw("HTTP/1.1 20 OK\r\n\r\n"),
        Reply::raw("200 OK\r\n\r\n"),
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{"),
        Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"),
    ];
    for (id, reply) in (1..).zip(odd) {
        let what = format!("the row behind {reply:?}");
        receiver.next(reply);
        road.sql(&format!("INSERT INTO t VALUES ({id}, 'row')"));
        receiver.wait(&what, PATIENCE, |journal| has_all(journal, [id]));
    }
    let journal = road.arrived(&receiver);
    assert_eq!((journal.events_processed, journal.repeats()), (15, 0));
    assert_eq!(journal.requests.len(), 30, "each was answered oddly once");
    assert_eq!(letters(&road), NO_LETTERS);
    assert_eq!(elsewhere.journal().connections, 0);
    // A Location beside a 2xx is nothing to follow.
    receiver.next(Reply::status(201).header("location", &elsewhere.url("/made")));
    road.sql("INSERT INTO t VALUES (100, 'row')");
    road.arrived(&receiver);
    assert_eq!((receiver.journal().requests.len(), elsewhere.journal().connections), (31, 0));
}

/// D24: a 200 that came before the row had been sent counted as an answer to it.
#[test]
fn an_answer_before_the_end_of_the_row_is_none_to_it() {
    let receiver = Receiver::start();
    let road = road(15, &[sink("far", &receiver, BRISK)]);
    receiver.next(Reply::early());
    road.sql("INSERT INTO t VALUES (1, repeat('0123456789abcdef', 2000000))");
    receiver.wait("the row", PATIENCE, |journal| has_all(journal, [1]));
    road.arrived(&receiver);
}

/// D25: a failure that waiting mends was taken for one of the row, and the row was given up.
#[test]
fn what_waiting_mends_is_tried_until_it_is_mended() {
    let receiver = Receiver::start();
    let keys = format!("timeout = \"500ms\"\n{BRISK}");
    let road = road(15, &[sink("far", &receiver, &keys)]);
    let statuses = [408, 425, 500, 501, 502, 503, 504, 599].map(Reply::status);
    let broken = [
        Reply::status(429).retry_after("0"),
        Reply::status(503).retry_after("soon"),
        Reply::reset(),
        Reply::cut(),
        Reply::lost(),
        Reply::hang(),
        Reply::ok().after(Duration::from_secs(1)),
        Reply::ok().drip(Duration::from_millis(100)),
    ];
    let count = i64::try_from(statuses.len() + broken.len()).unwrap();
    for (id, reply) in (1..).zip(statuses.into_iter().chain(broken)) {
        let what = format!("the row behind {reply:?}");
        receiver.next(reply.clone());
        receiver.next(reply);
        let before = receiver.journal().requests.len();
        road.sql(&format!("INSERT INTO t VALUES ({id}, 'row')"));
        let third = |journal: &Journal| journal.requests.len() >= before + 3;
        receiver.wait(&what, PATIENCE, third);
        road.confirms(&road.wal_end());
    }
    let journal = road.arrived(&receiver);
    assert!(has_all(&journal, 1..=count));
    assert_eq!(letters(&road), NO_LETTERS);
}

/// D25, while the sink takes others: the row goes on trying by itself and holds up nobody.
#[test]
fn a_row_that_keeps_failing_lets_others_pass_and_arrives_in_the_end() {
    let receiver = Receiver::start();
    let keys = format!(
        "timeout = \"500ms\"\n{}",
        BRISK.replace("retry = {", "retry = { max_attempts = 9999,")
    );
    let road = road(15, &[sink("far", &receiver, &keys)]);
    for (round, reply) in
        [Reply::status(500), Reply::reset(), Reply::hang()].into_iter().enumerate()
    {
        let round = i64::try_from(round).unwrap() * 100;
        receiver.when(move |event| id(event) == round, reply);
        road.sql(&format!("INSERT INTO t VALUES ({round}, 'odd')"));
        road.sql(&format!("INSERT INTO t SELECT {round} + g, 'row' FROM generate_series(1, 20) g"));
        road.sql(&format!("UPDATE t SET v = 'behind it' WHERE id = {round}"));
        receiver.wait("others", PATIENCE, |j| has_all(j, round + 1..=round + 20));
        let waiting = || {
            rows_of(
                &road.walgate,
                "SELECT state FROM dead_letters WHERE state <> 'delivered' ORDER BY id",
            )
        };
        eventually("it waits by itself", PATIENCE, || waiting() == ["retrying", "blocked"]);
        receiver.behave();
        receiver.wait("the odd one", PATIENCE, |journal| {
            journal.events().iter().filter(|event| id(event) == round).count() == 2
        });
        eventually("nothing waits", PATIENCE, || letters(&road).is_empty());
    }
    road.arrived(&receiver);
}

/// D7, D24, D25: one bad row of a batch took the others with it, or was delivered with them.
#[test]
fn a_refused_row_becomes_a_dead_letter_alone() {
    let receiver = Receiver::start();
    let keys = format!("batch = {{ max_events = 20 }}\n{BRISK}");
    let road = road(15, &[sink("far", &receiver, &keys)]);
    let statuses = [400, 402, 409, 413, 415, 422];
    let mut bad = BTreeSet::new();
    for (round, status) in (0..).zip(statuses) {
        let odd = round * 100 + round * 3 + 1;
        bad.insert(odd);
        receiver.when(move |event| id(event) == odd, Reply::status(status));
        road.sql(&format!(
            "INSERT INTO t SELECT {round} * 100 + g, 'row' FROM generate_series(1, 20) g"
        ));
        let others = (1..=20).map(|g| round * 100 + g).filter(|id| *id != odd);
        receiver.wait("the others", PATIENCE, |journal| has_all(journal, others.clone()));
        road.confirms(&road.wal_end());
    }
    let journal = receiver.journal();
    assert_eq!((journal.events_processed, journal.repeats()), (19 * statuses.len(), 0));
    assert!(journal.events().iter().all(|event| !bad.contains(&id(event))));
    let told: Vec<_> = statuses.iter().map(|status| format!("dead|rejected|{status}")).collect();
    assert_eq!(letters(&road), told);
    let keys = rows_of(
        &road.walgate,
        "SELECT key FROM dead_letters WHERE state <> 'delivered' ORDER BY id",
    );
    assert_eq!(keys, bad.iter().map(|id| format!("{{\"id\":{id}}}")).collect::<Vec<_>>());
    // What was refused is no reason to hold up a later change of the same row.
    receiver.behave();
    road.sql("UPDATE t SET v = 'mended' WHERE id = 1");
    receiver.wait("the mended row", PATIENCE, |journal| has_all(journal, [1]));
}
