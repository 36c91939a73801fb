//! However much breaks at once, a destination hears of it in few words.

use std::collections::BTreeSet;

use walgate::demo::cluster::Cluster;

use super::{alert, firing, notices, ops, sink};
use crate::support::process::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T};

const SINKS: usize = 20;

#[test]
fn many_sinks_that_break_at_once_are_no_storm() {
    let (bell, receiver) = (Receiver::start(), Receiver::start());
    let sinks: String = (0..SINKS).map(|n| sink(&format!("s{n}"), &receiver, "")).collect();
    let config = ops(&bell) + &sinks + &alert("stuck", "freshness", "threshold = \"3s\"");
    let road = Road::new(Cluster::builder(), T, &config);
    receiver.otherwise(Reply::status(401));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    eventually("all are firing", PATIENCE, || firing(&road, "stuck") == Some(SINKS.to_string()));
    let named = || {
        let named = notices(&bell).into_iter();
        named.map(|it| it["subject"]["name"].to_string()).collect::<BTreeSet<_>>().len()
    };
    eventually("all are named", PATIENCE, || named() == SINKS);
    let journal = bell.journal();
    assert!(journal.requests.len() <= 10, "{} messages", journal.requests.len());
    assert_eq!(notices(&bell).len(), SINKS, "each is named once");
    let last = journal.events().pop().unwrap().0;
    assert_eq!(last["status"], "folded");
    assert_eq!(last["message"], "11 notices of what is so and 0 of what is over");
}
