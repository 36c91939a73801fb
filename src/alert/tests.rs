//! What is told of series of observations.

use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;

use super::store::{self, Filter};
use super::*;
use crate::lsn::Timestamp;

const fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

fn rule(when: When, lasting: u64) -> Rule {
    let to = vec![To { sink: "ops".to_owned(), slack: false }];
    Rule { lasting: Duration::from_secs(lasting), to, ..Rule::new(when) }
}

fn seen(sink: SinkSeen) -> Seen {
    let source = SourceSeen { is_attached: true, is_looked_at: true, ..SourceSeen::default() };
    let sink = SinkSeen { name: "crm".to_owned(), ..sink };
    Seen { source, sinks: vec![sink] }
}

fn fresh(age: f64) -> Seen {
    seen(SinkSeen { freshness_seconds: Some(age), ..SinkSeen::default() })
}

fn evaluator(rule: Rule) -> Evaluator {
    Evaluator::new(vec![rule], &["crm".to_owned()])
}

/// Looks once a second; returns what was told, each with its second.
fn told(evaluator: &mut Evaluator, series: impl IntoIterator<Item = Seen>) -> Vec<(i64, Change)> {
    let mut told = Vec::new();
    for (second, seen) in (0..).zip(series) {
        let happenings = evaluator.look(&seen, at(second));
        told.extend(happenings.into_iter().map(|happening| (second, happening.change)));
    }
    told
}

#[track_caller]
fn check(rule: Rule, series: Vec<Seen>, expected: &[(i64, Change)]) {
    assert_eq!(told(&mut evaluator(rule), series), expected);
}

fn steps(parts: &[(f64, usize)]) -> Vec<Seen> {
    parts.iter().flat_map(|(age, count)| vec![fresh(*age); *count]).collect()
}

#[test]
fn it_has_to_last_on_the_way_up_and_on_the_way_down() {
    use Change::{Fired, Resolved};
    let rule = || rule(When::Freshness, 10);
    check(rule(), steps(&[(400.0, 30)]), &[(10, Fired)]);
    check(rule(), steps(&[(400.0, 9), (0.0, 30)]), &[]);
    check(rule(), steps(&[(400.0, 20), (0.0, 30)]), &[(10, Fired), (30, Resolved)]);
    // It comes back before it was well for long enough: the same incident goes on.
    let back = steps(&[(400.0, 20), (0.0, 9), (400.0, 20), (0.0, 30)]);
    check(rule(), back, &[(10, Fired), (59, Resolved)]);
    // The threshold itself is not too much.
    check(rule(), steps(&[(300.0, 30)]), &[]);
}

#[test]
fn what_flaps_is_told_once() {
    let flaps: Vec<Seen> =
        (0..600).map(|second| fresh(if second % 4 < 2 { 400.0 } else { 0.0 })).collect();
    check(rule(When::Freshness, 10), flaps.clone(), &[]);
    // Without `for` too: it is over only once it was well for a while.
    check(rule(When::Freshness, 0), flaps, &[(0, Change::Fired)]);
}

#[test]
fn what_goes_on_is_repeated_slowly() {
    let rule = Rule { repeat: Duration::from_secs(100), ..rule(When::Freshness, 1) };
    let expected = [
        (1, Change::Fired),
        (101, Change::Repeated),
        (201, Change::Repeated),
        (301, Change::Repeated),
    ];
    check(rule, steps(&[(400.0, 400)]), &expected);
}

#[test]
fn what_is_not_known_begins_and_ends_nothing() {
    let unknown = || vec![seen(SinkSeen::default()); 60];
    check(rule(When::Freshness, 5), unknown(), &[]);
    let series = steps(&[(400.0, 10)]).into_iter().chain(unknown()).chain(steps(&[(0.0, 10)]));
    check(
        rule(When::Freshness, 5),
        series.collect(),
        &[(5, Change::Fired), (75, Change::Resolved)],
    );
}

#[test]
fn what_fired_before_a_restart_is_not_fired_again_and_ends() {
    let standing = Standing {
        alert: "freshness".to_owned(),
        what: "freshness".to_owned(),
        subject: Subject::Sink("crm".to_owned()),
        since: at(-100),
        told: at(-50),
        worst: 500.0,
    };
    let mut goes_on = evaluator(rule(When::Freshness, 5));
    assert!(goes_on.restore(&standing));
    assert_eq!(goes_on.firing()["freshness"], 1);
    assert_eq!(told(&mut goes_on, steps(&[(400.0, 60)])), []);
    let mut ended = evaluator(rule(When::Freshness, 5));
    assert!(ended.restore(&standing));
    assert_eq!(told(&mut ended, steps(&[(0.0, 60)])), [(5, Change::Resolved)]);
    assert_eq!(ended.firing()["freshness"], 0);
    // Nobody watches that any more.
    for changed in [
        Standing { alert: "other".to_owned(), ..standing.clone() },
        Standing { subject: Subject::Sink("gone".to_owned()), ..standing.clone() },
        Standing { what: "lag".to_owned(), ..standing },
    ] {
        assert!(!evaluator(rule(When::Freshness, 5)).restore(&changed), "{changed:?}");
    }
}

/// A rule, what is too much for it, what is not, and what it says.
type Row = (Rule, Seen, Seen, &'static str);

fn rows_of_the_source() -> Vec<Row> {
    let source = |source: SourceSeen| Seen { source, ..seen(SinkSeen::default()) };
    let attached = || SourceSeen { is_attached: true, is_looked_at: true, ..SourceSeen::default() };
    let lag = Rule { threshold: Threshold::Size(1 << 20), ..Rule::new(When::Lag) };
    vec![
        (
            Rule::new(When::Lag),
            source(SourceSeen { lag_seconds: Some(3600.0), ..attached() }),
            source(SourceSeen { lag_seconds: Some(1.0), ..attached() }),
            "the stream is 60 min behind the server (more than 5 min)",
        ),
        (
            lag,
            source(SourceSeen { lag_bytes: Some(2 << 20), ..attached() }),
            source(SourceSeen { lag_bytes: Some(1 << 20), ..attached() }),
            "the slot is 2.0 MiB behind the server (more than 1.0 MiB)",
        ),
        (
            Rule::new(When::RetainedWal),
            source(SourceSeen { retained_wal_bytes: Some(5 << 30), ..attached() }),
            source(SourceSeen { retained_wal_bytes: Some(1), ..attached() }),
            "the server keeps 5.0 GiB of WAL for the slot (more than 4.0 GiB)",
        ),
        (
            Rule::new(When::WalSecondsLeft),
            source(SourceSeen { wal_seconds_left: Some(600), ..attached() }),
            source(attached()),
            "the slot may be lost in 10 min at this rate (less than 60 min)",
        ),
        (
            Rule::new(When::Gap),
            source(SourceSeen { gap: Some("changes were lost".into()), ..attached() }),
            source(attached()),
            "changes were lost",
        ),
        (
            Rule::new(When::SourceAway),
            source(SourceSeen { reason: Some("refused".into()), ..SourceSeen::default() }),
            source(attached()),
            "the source is not attached: refused",
        ),
    ]
}

fn rows_of_sinks() -> Vec<Row> {
    let (of, none) = (seen, SinkSeen::default);
    vec![
        (
            Rule::new(When::Freshness),
            fresh(301.0),
            fresh(299.0),
            "what sink crm has is 5 min old (more than 5 min)",
        ),
        (
            Rule::new(When::DeadLetters),
            of(SinkSeen { dead: Some(1), ..none() }),
            of(SinkSeen { dead: Some(0), ..none() }),
            "sink crm has 1 dead letter (more than 0)",
        ),
        (
            Rule::new(When::BreakerOpen),
            of(SinkSeen { is_open: Some(true), reason: Some("503".into()), ..none() }),
            of(SinkSeen { is_open: Some(false), ..none() }),
            "sink crm is down: 503",
        ),
        (
            Rule::new(When::Halted),
            of(SinkSeen { is_halted: Some(true), reason: Some("401".into()), ..none() }),
            of(SinkSeen { is_halted: Some(false), ..none() }),
            "sink crm is halted: 401",
        ),
        (
            Rule::new(When::Gap),
            of(SinkSeen { has_gap: true, reason: Some("a gap from 0/1".into()), ..none() }),
            of(none()),
            "sink crm was let go: a gap from 0/1",
        ),
        (
            Rule::new(When::Unaccounted),
            of(SinkSeen { unaccounted: 2, ..none() }),
            of(none()),
            "2 events of sink crm are not accounted for",
        ),
    ]
}

#[test]
fn every_alert_has_its_own_measure() {
    for (rule, bad, good, message) in rows_of_the_source().into_iter().chain(rows_of_sinks()) {
        let when = rule.when;
        let mut evaluator = evaluator(rule);
        let mut look = |seen: &Seen, second| evaluator.look(seen, at(second));
        let fired: Vec<_> =
            [0, 1_000, 1_001].into_iter().flat_map(|second| look(&bad, second)).collect();
        let [fired] = fired.as_slice() else { panic!("{when:?}: {fired:?}") };
        assert_eq!((fired.change, fired.message.as_str()), (Change::Fired, message), "{when:?}");
        assert!(!fired.next().is_empty());
        assert_eq!(look(&good, 2_000), [], "{when:?}");
        let resolved = look(&good, 3_000);
        assert_eq!(resolved[0].change, Change::Resolved, "{when:?}");
        assert_eq!(resolved[0].ended, Some(at(2_000)));
    }
}

#[test]
fn a_sink_is_compared_with_its_own_usual() {
    // Ten requests a second, of which one in fifty fails; later four in ten.
    let failing = |second: u64, lately: u64| {
        let requests = (second + lately) * 10;
        seen(SinkSeen {
            attempts: requests,
            failures: second / 5 + lately * 4,
            ..SinkSeen::default()
        })
    };
    let usual = (0..600).map(|second| failing(second, 0));
    let more = (1..120).map(|second| failing(600, second));
    let happenings = told(&mut evaluator(rule(When::FailureRate, 60)), usual.clone().chain(more));
    assert_eq!(happenings.len(), 1, "{happenings:?}");
    assert!(happenings[0].0 > 600 && happenings[0].1 == Change::Fired);
    // A single failure is no news.
    let one = (0..100).map(|second| {
        let attempts = second * 10;
        seen(SinkSeen { attempts, failures: u64::from(second > 50), ..SinkSeen::default() })
    });
    assert_eq!(told(&mut evaluator(rule(When::FailureRate, 60)), one), []);
    // Events that took 20 ms take 3 s.
    let slow = |second: u64, lately: u64| {
        let latency_sum_us = second * 10 * 20_000 + lately * 10 * 3_000_000;
        seen(SinkSeen { delivered: (second + lately) * 10, latency_sum_us, ..SinkSeen::default() })
    };
    let series = (0..300).map(|second| slow(second, 0)).chain((1..60).map(|l| slow(300, l)));
    let happenings = told(&mut evaluator(rule(When::Latency, 60)), series);
    assert_eq!(happenings.len(), 1, "{happenings:?}");
    // Fast enough is fast enough: 2 ms that become 20 ms.
    let fast = |second: u64, lately: u64| {
        let latency_sum_us = second * 10 * 2_000 + lately * 10 * 20_000;
        seen(SinkSeen { delivered: (second + lately) * 10, latency_sum_us, ..SinkSeen::default() })
    };
    let series = (0..300).map(|second| fast(second, 0)).chain((1..60).map(|l| fast(300, l)));
    assert_eq!(told(&mut evaluator(rule(When::Latency, 60)), series), []);
}

#[test]
fn what_is_built_in_gives_way_to_what_the_config_says() {
    let sinks = ["a", "b"].map(str::to_owned);
    let names = |rules: &[Rule]| {
        let rules = in_force(rules, &sinks).into_iter();
        rules.map(|rule| (rule.name, rule.sinks)).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]).len(), 7);
    let own = Rule { name: "own".into(), ..Rule::new(When::Halted) };
    assert!(!names(std::slice::from_ref(&own)).iter().any(|(name, _)| name == "halted"));
    let of_a = Rule { sinks: vec!["a".into()], of_run: false, ..own };
    let rest = names(&[of_a]);
    assert!(rest.contains(&("halted".into(), vec!["b".into()])), "{rest:?}");
    assert_eq!(rest.len(), 8);
    // However many sinks it names, it does not watch the run.
    let of_both = Rule { sinks: sinks.to_vec(), of_run: false, ..Rule::new(When::Halted) };
    let rules = in_force(&[of_both], &sinks);
    let of_run: Vec<_> = rules.iter().filter(|rule| rule.when == When::Halted).collect();
    assert!(of_run.iter().any(|rule| rule.watches(&Subject::Source)), "{of_run:?}");
    let watches_a = |rule: &&&Rule| rule.watches(&Subject::Sink("a".into()));
    assert_eq!(of_run.iter().filter(watches_a).count(), 1);
}

fn notice(incident: i64) -> Notice {
    Notice {
        incident,
        number: 1,
        name: "crm <old>".into(),
        when: "freshness".into(),
        status: Status::Firing,
        subject: Subject::Sink("crm".into()),
        message: "what sink crm has is 7 min old".into(),
        since: at(0),
        ended: None,
        next: "`walgate status`".into(),
    }
}

#[test]
fn a_notice_is_a_document_or_a_text_for_slack() {
    let instance = Instance { database: "shop".into(), slot: "walgate".into() };
    let expected = serde_json::json!({
        "name": "crm <old>", "when": "freshness", "status": "firing",
        "subject": { "kind": "sink", "name": "crm" },
        "message": "what sink crm has is 7 min old", "since": "2000-01-01T00:00:00Z",
        "ended": null, "next": "`walgate status`", "incident": 7, "number": 1,
        "instance": { "database": "shop", "slot": "walgate" },
    });
    assert_eq!(notice(7).json(&instance), expected);
    let text = ":red_circle: *crm &lt;old&gt;* firing: what sink crm has is 7 min old\n\
                Next: `walgate status`\nwalgate shop/walgate, since 2000-01-01T00:00:00Z";
    assert_eq!(notice(7).slack(&instance)["text"], text);
    let over = Notice { status: Status::Resolved, ended: Some(at(60)), ..notice(7) };
    assert_eq!(over.json(&instance)["next"], serde_json::Value::Null);
    let text = over.slack(&instance)["text"].as_str().unwrap().to_owned();
    assert!(text.ends_with("from 2000-01-01T00:00:00Z to 2000-01-01T00:01:00Z"), "{text}");
    let many = folded(&[notice(1), over], 3, &instance, false);
    let message = "1 notices of what is so and 1 of what is over; 3 more were given up";
    assert_eq!(many["message"], message);
    assert_eq!(many["notices"].as_array().unwrap().len(), 2);
}

#[test]
fn a_destination_gets_few_messages_a_minute_and_misses_nothing() {
    let mut post = Post::default();
    (0..40).for_each(|incident| assert_eq!(post.add(notice(incident)), None));
    let (mut messages, mut notices) = (0, 0);
    loop {
        match post.next(at(0)) {
            Next::One(_) => notices += 1,
            Next::Many(many, lost) => {
                notices += many.len();
                assert_eq!(lost, 0);
            }
            Next::Wait(_) | Next::Nothing => break,
        }
        messages += 1;
    }
    assert_eq!((messages, notices), (10, 40));
    post.add(notice(41));
    assert_eq!(post.next(at(30)), Next::Wait(at(60)));
    assert!(matches!(post.next(at(60)), Next::One(_)));
    // One that is away for long is told of what was given up.
    let mut away = Post::default();
    let given_up = (0..520).filter_map(|incident| away.add(notice(incident))).count();
    assert_eq!(given_up, 20);
    assert!(matches!(away.next(at(0)), Next::Many(many, 20) if many.len() == 500));
}

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    connection.execute_batch(include_str!("../../sql/state/004_alerts.sql")).unwrap();
    connection
}

#[test]
fn an_incident_is_kept_with_what_is_owed_of_it() {
    let connection = database();
    let mut evaluator = evaluator(rule(When::Freshness, 0));
    let fired = evaluator.look(&fresh(400.0), at(0)).remove(0);
    let notice = store::begin(&connection, &fired, at(0)).unwrap().unwrap();
    assert_eq!((notice.number, notice.status), (1, Status::Firing));
    // Once, however often it is said.
    assert_eq!(store::begin(&connection, &fired, at(1)).unwrap(), None);
    assert_eq!(store::owed(&connection).unwrap(), [("ops".to_owned(), notice.clone())]);
    assert_eq!(store::standing(&connection).unwrap().len(), 1);
    store::failed(&connection, "ops", &[(notice.incident, 1)], "refused").unwrap();
    let failing = store::failing(&connection).unwrap();
    assert_eq!(failing, [("ops".to_owned(), "refused".to_owned(), 1)]);
    evaluator.look(&fresh(0.0), at(10));
    let resolved = evaluator.look(&fresh(0.0), at(20)).remove(0);
    let over = store::end(&connection, &resolved, at(20)).unwrap().unwrap();
    assert_eq!((over.number, over.status, over.ended), (2, Status::Resolved, Some(at(10))));
    assert_eq!(store::owed(&connection).unwrap().len(), 2);
    store::settled(&connection, "ops", &[(notice.incident, 1), (over.incident, 2)]).unwrap();
    assert_eq!(store::owed(&connection).unwrap(), []);
    let listed = store::list(&connection, &Filter::default(), 10).unwrap();
    assert_eq!((listed[0].began, listed[0].ended), (at(0), Some(at(10))));
    let open = Filter { open: true, ..Filter::default() };
    assert_eq!(store::list(&connection, &open, 10).unwrap(), []);
    assert_eq!(store::end(&connection, &resolved, at(20)).unwrap(), None);
}

#[test]
fn incidents_are_bounded() {
    let connection = database();
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10500)
               INSERT INTO incidents (alert, what, subject, name, began, ended, told, message, worst)
               SELECT 'a', 'gap', 'source', '', 0, ?1, 0, '', 0 FROM n";
    connection.execute(sql, [at(0).unix_micros()]).unwrap();
    let happening = evaluator(rule(When::Freshness, 0)).look(&fresh(400.0), at(1)).remove(0);
    store::begin(&connection, &happening, at(1)).unwrap();
    let count = |sql: &str| -> i64 { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(count("SELECT count(*) FROM incidents"), 10_001);
    let long = at(100 * 86_400);
    let sink = |name: &str| Happening { subject: Subject::Sink(name.into()), ..happening.clone() };
    store::begin(&connection, &sink("b"), long).unwrap();
    // What is firing is never forgotten.
    assert_eq!(count("SELECT count(*) FROM incidents"), 2);
}

proptest! {
    /// Whatever comes: begun once, ended once, in turn, and never sooner than it may.
    #[test]
    fn what_is_told_is_told_in_turn(
        ages in prop::collection::vec((prop::option::of(0_u32..600), 1_i64..20), 1..400),
        lasting in 0_u64..30,
    ) {
        let mut evaluator = evaluator(rule(When::Freshness, lasting));
        let (mut now, mut is_firing) = (0, false);
        for (age, step) in ages {
            now += step;
            let sink = SinkSeen { freshness_seconds: age.map(f64::from), ..SinkSeen::default() };
            for happening in evaluator.look(&seen(sink), at(now)) {
                let lasted = |since: Timestamp| at(now).0 - since.0;
                match happening.change {
                    Change::Fired => {
                        prop_assert!(!is_firing);
                        prop_assert!(lasted(happening.since) >= lasting.cast_signed() * 1_000_000);
                        is_firing = true;
                    }
                    Change::Repeated => prop_assert!(is_firing),
                    Change::Resolved => {
                        prop_assert!(is_firing);
                        let ended = happening.ended.unwrap();
                        let hold = lasting.max(5).cast_signed() * 1_000_000;
                        prop_assert!(lasted(ended) >= hold && ended >= happening.since);
                        is_firing = false;
                    }
                }
            }
            prop_assert_eq!(evaluator.firing()["freshness"], u64::from(is_firing));
        }
    }
}
