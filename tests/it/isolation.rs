//! Ten sinks of one slot, half of them in trouble: no trouble of one is another's.

use std::time::{Duration, Instant};

use walgate::demo::cluster::Cluster;

use super::support::process::{eventually, pause, say};
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http, route};
use super::support::state::letters;

/// The most memory that walgate may ever hold.
const MEMORY_BYTES_MAX: u64 = 150 << 20;
const LONG: Duration = Duration::from_secs(180);

/// Rows of a load: each is inserted and then changed.
const ROWS: usize = 10_000;

/// How long a good receiver takes for a request: what is measured is waiting, not this machine.
const ANSWER: Duration = Duration::from_millis(10);

/// A sink that is quick to give up and to try again.
const HASTY: &str = "concurrency = 4\nbatch = { max_events = 100 }\n\
    retry = { initial = \"20ms\", max = \"100ms\" }\nbreaker = { cooldown = \"200ms\" }\n\
    max_dead = 100000";

const GOOD: [&str; 5] = ["good0", "good1", "good2", "good3", "good4"];
const BAD: [&str; 5] = ["refusing", "slow", "busy", "picky", "flaky"];

/// A road with ten sinks, a receiver each: the five good ones first.
struct Ten {
    road: Road,
    receivers: Vec<Receiver>,
}

impl Ten {
    /// Starts with the good ones alone.
    fn start(journal: &str) -> Self {
        let receivers: Vec<Receiver> = (0..10).map(|_| Receiver::start()).collect();
        let road = Road::bare(Cluster::builder().major(15), T);
        road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
        let mut ten = Self { road, receivers };
        ten.configure(journal, &GOOD);
        ten.road.start();
        ten.good().iter().for_each(|receiver| receiver.otherwise(Reply::ok().after(ANSWER)));
        ten
    }

    fn configure(&self, journal: &str, names: &[&str]) {
        let mut sinks = format!("[journal]\n{journal}\n");
        for (name, receiver) in names.iter().zip(&self.receivers) {
            sinks += &http(name, &receiver.url("/"), HASTY);
            sinks += &route("t", name);
        }
        self.road.configure(&sinks);
    }

    /// Starts again with all ten, of which five are in trouble.
    fn add_the_bad(&mut self, journal: &str) {
        self.road.stop();
        self.configure(journal, &[GOOD, BAD].concat());
        self.trouble();
        self.road.start();
    }

    fn trouble(&self) {
        let [refusing, slow, busy, picky, flaky] = &self.receivers[5..] else { unreachable!() };
        refusing.refuse();
        slow.otherwise(Reply::ok().after(Duration::from_secs(3)));
        busy.otherwise(Reply::status(429).retry_after("1"));
        let is_fifth = |event: &super::support::receiver::Event| {
            event.0["key"]["id"].as_u64().unwrap().is_multiple_of(5)
        };
        picky.when(is_fifth, Reply::status(422));
        flaky.when(|_| fastrand::u32(..300) == 0, Reply::status(503));
    }

    fn all_behave(&self) {
        self.receivers[5].listen();
        self.receivers[5..].iter().for_each(Receiver::behave);
    }

    fn good(&self) -> &[Receiver] {
        &self.receivers[..5]
    }

    /// Writes a load and returns how long it took until each good sink had all of it.
    fn load(&self, what: &str) -> Duration {
        let before: Vec<usize> =
            self.good().iter().map(|receiver| receiver.journal().events_processed).collect();
        let started = Instant::now();
        self.road
            .sql(&format!("INSERT INTO t SELECT g, '{what}' FROM generate_series(1, {ROWS}) g"));
        for part in 0..10 {
            let sql = format!("UPDATE t SET v = '{what} again' WHERE (id - 1) / 1000 = {part}");
            self.road.sql(&sql);
        }
        for (receiver, before) in self.good().iter().zip(before) {
            receiver.wait("all of the load", LONG, |journal| {
                journal.events_processed >= before + 2 * ROWS
            });
        }
        started.elapsed()
    }

    /// Holds every receiver against the table.
    fn all_are_equal(&self) {
        let table = self.road.table("t");
        for (receiver, name) in self.receivers.iter().zip([GOOD, BAD].concat()) {
            let journal = receiver.journal();
            assert_eq!(journal.out_of_order(), Vec::<String>::new(), "{name}");
            assert_eq!(journal.repeats(), 0, "{name}");
            assert!(journal.fold() == table, "{name} differs from the table");
        }
    }
}

#[test]
fn five_sinks_in_trouble_delay_no_other_and_nobody_loses_anything() {
    let mut ten = Ten::start("");
    let alone = ten.load("alone");
    ten.road.sql("DELETE FROM t");
    ten.road.confirms(&ten.road.wal_end());
    ten.add_the_bad("");
    let beside = ten.load("beside");
    say(&format!("the five good ones: {alone:?} alone, {beside:?} beside five in trouble"));
    assert!(beside < alone * 3, "{beside:?} beside the others, {alone:?} alone");
    let took: Vec<usize> = ten.receivers.iter().map(|r| r.journal().events_processed).collect();
    assert_eq!((took[5], took[7]), (0, 0));
    assert!(took[6] < ROWS && took[8] < 2 * ROWS, "these are still at it: {took:?}");
    // The trouble goes on for a while, over dozens of retries and breakers that open.
    pause(Duration::from_secs(3));
    assert_eq!(letters(&ten.road.walgate, "sink <> 'picky' AND state = 'dead'"), 0);
    let peak = ten.road.walgate.peak_memory_bytes();
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
    say(&format!("memory at the most {} MiB in trouble", peak >> 20));
    eventually("the picky one has refused each fifth", LONG, || {
        letters(&ten.road.walgate, "sink = 'picky' AND state = 'dead'") == 2 * 2000
    });
    assert_eq!(letters(&ten.road.walgate, "state = 'dead' AND category <> 'rejected'"), 0);
    ten.all_behave();
    let started = Instant::now();
    let (code, _, said) = ten.road.dlq(&["replay", "--sink", "picky", "--all"]);
    assert_eq!(code, 0, "{said}");
    ten.road.confirms(&ten.road.wal_end());
    say(&format!("all ten have caught up after {:?}", started.elapsed()));
    ten.all_are_equal();
    assert_eq!(letters(&ten.road.walgate, "state <> 'delivered'"), 0);
    let peak = ten.road.walgate.peak_memory_bytes();
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
    say(&format!("memory at the most {} MiB", peak >> 20));
}

/// With `confirm = "delivered"` the slot waits for the slowest, up to the budget: that is told
/// when three quarters are used, when all of it is, and when it is over.
#[test]
fn a_slot_held_back_by_five_of_ten_moves_past_its_budget_and_says_so_before() {
    let budget = "wal_budget = \"4MiB\"";
    let mut ten = Ten::start(budget);
    ten.add_the_bad(budget);
    let near = "a slow sink holds back three quarters of the budget of WAL";
    let over = "a slow sink holds back too much WAL: confirming what is journaled instead";
    let (mut rows, before) = (0, ten.road.confirmed());
    let held = |ten: &Ten| -> u64 {
        let sql = "SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots";
        ten.road.value(sql).parse().unwrap()
    };
    // Up to between three quarters and all of it.
    while held(&ten) < 13 << 18 {
        let sql = format!(
            "INSERT INTO t SELECT g, repeat(md5(g::text), 4) FROM generate_series({}, {}) g",
            rows + 1,
            rows + 200
        );
        ten.road.sql(&sql);
        rows += 200;
    }
    assert!(held(&ten) < 4 << 20);
    eventually("it is told before", PATIENCE, || ten.road.walgate.log().contains(near));
    let log = ten.road.walgate.log();
    let line = log.lines().find(|line| line.contains(near)).unwrap();
    assert!(line.contains("WARN") && BAD.iter().any(|name| line.contains(name)), "{line}");
    assert!(!log.contains(over), "{log}");
    let waited = ten.road.confirmed();
    ten.road.sql(&format!(
        "INSERT INTO t SELECT g, repeat(md5(g::text), 4) FROM generate_series({}, {}) g",
        rows + 1,
        rows + 10_000
    ));
    let end = ten.road.wal_end();
    eventually("it is told when it is over", PATIENCE, || ten.road.walgate.log().contains(over));
    ten.road.confirms(&end);
    say(&format!("confirmed {before} at first, {waited} up to the budget, {end} past it"));
    assert_eq!(ten.receivers[5].journal().events_processed, 0, "and nothing of it is delivered");
    ten.all_behave();
    let within = "the WAL held back is within its budget again";
    eventually("it is told afterwards", LONG, || ten.road.walgate.log().contains(within));
    assert_eq!(ten.road.walgate.log().matches(over).count(), 1);
    // What was refused before is sent again; the rest came from the journal.
    let (code, _, said) = ten.road.dlq(&["replay", "--all"]);
    assert_eq!(code, 0, "{said}");
    ten.road.confirms(&ten.road.wal_end());
    ten.all_are_equal();
}

#[test]
fn a_slot_that_waits_for_the_journal_alone_moves_all_the_time() {
    let journal = "confirm = \"journaled\"";
    let mut ten = Ten::start(journal);
    ten.add_the_bad(journal);
    for round in 0..10 {
        let (from, to) = (round * 500 + 1, (round + 1) * 500);
        ten.road.sql(&format!("INSERT INTO t SELECT g, 'x' FROM generate_series({from}, {to}) g"));
        let asked = Instant::now();
        ten.road.confirms(&ten.road.wal_end());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_eq!(ten.receivers[5].journal().events_processed, 0);
    }
    ten.road.walgate.kill();
    ten.all_behave();
    ten.road.start();
    let table = ten.road.table("t");
    // The others have dead letters.
    for receiver in ten.good().iter().chain(&ten.receivers[5..8]) {
        eventually("all of it", LONG, || receiver.journal().fold() == table);
        assert_eq!(receiver.journal().out_of_order(), Vec::<String>::new());
    }
}
