//! What each answer means, and what is asked for.

use std::collections::VecDeque;
use std::io::Read;

use flate2::read::GzDecoder;
use walgate::chunk::Operation;
use walgate::failure::Category;
use walgate::secret::Secret;
use walgate::sink::clickhouse::{Config, Mode};
use walgate::sink::web::Reach;
use walgate::sink::{self, Answer, Batch, Sink};

use super::server::{PASSWORD, Server};
use crate::sinks::fakes::{Asked, Fake, Says, Service};
use crate::sinks::{COMMON, batch, envelope, failure, one};
use crate::support::road::runtime;

/// Says what it is told to, and remembers what it was asked.
#[derive(Debug, Default)]
struct Scripted {
    next: VecDeque<Says>,
    asked: Vec<(std::collections::HashMap<String, String>, String)>,
    authorization: String,
}

impl Service for Scripted {
    fn answer(&mut self, asked: &Asked) -> Says {
        let mut text = String::new();
        if asked.header("content-encoding") == "gzip" {
            GzDecoder::new(asked.body.as_slice()).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(asked.body.clone()).unwrap();
        }
        self.authorization = asked.header("authorization").to_owned();
        self.asked.push((asked.query.clone(), text));
        Says::text(200, "")
    }

    fn next(&mut self) -> &mut VecDeque<Says> {
        &mut self.next
    }
}

fn settings(url: String) -> Config {
    Config {
        url: Secret::new(url),
        database: "default".to_owned(),
        table: "t".to_owned(),
        user: Secret::new("default".to_owned()),
        password: Secret::new(PASSWORD.to_owned()),
        mode: Mode::Upsert,
        gzip: true,
        settings: vec![("async_insert".to_owned(), Secret::new("1".to_owned()))],
        reach: Reach::default(),
    }
}

fn build(config: Config) -> Box<dyn Sink> {
    let common = sink::Common { timeout: std::time::Duration::from_secs(20), ..COMMON };
    sink::build("far", &sink::Config::ClickHouse(Box::new(config)), &common).unwrap()
}

#[tokio::test]
async fn every_answer_is_sorted() {
    let far = Fake::start(Scripted::default());
    let sink = build(settings(far.url()));
    let code = |status: u16, code: &str| {
        Says::text(status, format!("Code: {code}. {PASSWORD}"))
            .with("x-clickhouse-exception-code", code)
    };
    let codes = |category: Category, codes: &[u32]| {
        let codes = codes.iter();
        codes.map(move |number| (code(500, &number.to_string()), category)).collect::<Vec<_>>()
    };
    let mut all = [
        codes(Category::Rejected, &[6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 131, 321, 349, 469]),
        codes(Category::Setup, &[16, 47, 60, 62, 81, 115, 164, 192, 193, 194, 497, 516]),
        codes(Category::Throttled, &[201, 202, 241, 252, 745]),
        codes(Category::Transient, &[3, 107, 159, 203, 209, 210, 242, 285, 319, 425, 999, 1000]),
    ]
    .concat();
    for (status, category) in [
        (401, Category::Setup),
        (403, Category::Setup),
        (404, Category::Setup),
        (413, Category::Rejected),
        (429, Category::Throttled),
        (500, Category::Transient),
        (502, Category::Transient),
        (503, Category::Transient),
        (301, Category::Setup),
    ] {
        all.push((Says::text(status, "no"), category));
    }
    // The server's own word counts, also where the status says otherwise.
    all.push((code(200, "241"), Category::Throttled));
    all.push((code(404, "117"), Category::Rejected));
    for (says, category) in all {
        far.state().next.push_back(says.clone());
        let answer = match sink.deliver(&one(Operation::Insert, 1, r#"{"a":1}"#)).await {
            Answer::Failed(failure) => failure,
            Answer::PerEvent(outcomes) => outcomes.into_iter().next().unwrap().unwrap_err(),
            Answer::Acknowledged => unreachable!("{says:?}"),
        };
        assert_eq!(answer.category, category, "{says:?}");
        assert!(!format!("{answer:?}").contains(PASSWORD), "{answer:?}");
    }
    // Of several rows nobody knows which it was: they come again in halves.
    far.state().next.push_back(code(400, "117"));
    assert_eq!(failure(sink.deliver(&batch(0..3)).await).category, Category::Rejected);
}

#[tokio::test]
async fn what_is_asked_for_leaves_nothing_to_guess() {
    let far = Fake::start(Scripted::default());
    let sink = build(settings(far.url()));
    let mut events = batch(0..2).events;
    events.push(envelope(Operation::Delete, 5, r#"{"id":5}"#));
    events.push(envelope(Operation::Update, 1, r#"{"a":2,"new":"ü"}"#));
    let batch_of = |events, replay| Batch { events, replay };
    assert_eq!(sink.deliver(&batch_of(events.clone(), 0)).await, Answer::Acknowledged);
    let (query, text) = far.state().asked.pop().unwrap();
    let version = |seq: u32| ((0x17C_8338_u128 << 32) | u128::from(seq)).to_string();
    let (zero, one, five) = (version(0), version(1), version(5));
    let expected = format!(
        "INSERT INTO `default`.`t` (`id`,`a`,`_version`,`_deleted`,`new`) FORMAT JSONEachRow\n\
         {{\"id\":0,\"a\":1,\"_version\":\"{zero}\",\"_deleted\":0}}\n\
         {{\"id\":1,\"a\":2,\"new\":\"ü\",\"_version\":\"{one}\",\"_deleted\":0}}\n\
         {{\"id\":5,\"_version\":\"{five}\",\"_deleted\":1}}\n"
    );
    assert_eq!(text, expected);
    for (name, value) in [
        ("database", "default"),
        ("async_insert", "1"),
        ("wait_for_async_insert", "1"),
        ("wait_end_of_query", "1"),
        ("input_format_skip_unknown_fields", "0"),
        ("input_format_null_as_default", "0"),
        ("date_time_overflow_behavior", "throw"),
    ] {
        assert_eq!(query[name], value, "{name}");
    }
    assert!(far.state().authorization.starts_with("Basic "));
    // The same rows have the same mark, and another when an operator sends them again.
    let token = query["insert_deduplication_token"].clone();
    assert_eq!(token.len(), 64);
    assert_eq!(sink.deliver(&batch_of(events.clone(), 0)).await, Answer::Acknowledged);
    assert_eq!(far.state().asked.pop().unwrap().0["insert_deduplication_token"], token);
    assert_eq!(sink.deliver(&batch_of(events, 1)).await, Answer::Acknowledged);
    let again = far.state().asked.pop().unwrap().0["insert_deduplication_token"].clone();
    assert_eq!(again, format!("{token}-r1"));
    // A large body is compressed: the stand-in reads it.
    assert_eq!(sink.deliver(&batch(0..500)).await, Answer::Acknowledged);
    assert!(far.state().asked.pop().unwrap().1.len() > 10_000);
}

/// A table is emptied in its place: what came before is not written any more, what follows is
/// written behind it; an event that can't be written stops no other.
#[tokio::test]
async fn a_truncate_stands_between_what_was_before_and_what_comes_after() {
    let far = Fake::start(Scripted::default());
    let sink = build(settings(far.url()));
    let mut events = batch(0..2).events;
    events.push(envelope(Operation::Truncate, 2, "null"));
    events.push(envelope(Operation::Insert, 3, "[1]"));
    events.extend(batch(4..5).events);
    let Answer::PerEvent(outcomes) =
        sink.deliver(&Batch { events: events.clone(), replay: 0 }).await
    else {
        unreachable!()
    };
    assert_eq!(
        outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, true, true, false, true]
    );
    let asked: Vec<_> = std::mem::take(&mut far.state().asked);
    assert_eq!(asked[0].1, "TRUNCATE TABLE `default`.`t`");
    assert_eq!(asked[0].0["lock_acquire_timeout"], "20");
    assert_eq!(asked[1].1.lines().count(), 2);
    assert_eq!(asked.len(), 2);
    // Where that fails, nothing is written behind it.
    events.remove(3);
    far.state()
        .next
        .push_back(Says::text(400, "Code: 48").with("x-clickhouse-exception-code", "117"));
    let answer = sink.deliver(&Batch { events, replay: 0 }).await;
    assert_eq!(failure(answer).category, Category::Rejected);
    assert_eq!(far.state().asked.len(), 0);
}

/// Who sends nothing must not be told that a server is up which nobody has asked.
#[tokio::test]
async fn an_event_that_is_refused_here_says_nothing_of_the_server() {
    let mut far = Fake::start(Scripted::default());
    let sink = build(settings(far.url()));
    let bad = one(Operation::Insert, 3, "[1]");
    far.refuse();
    let good = one(Operation::Insert, 1, "{}");
    assert_eq!(failure(sink.deliver(&good).await).category, Category::Transient);
    assert_eq!(failure(sink.deliver(&bad).await).category, Category::Transient);
    far.listen();
    while let Answer::Failed(_) = sink.deliver(&bad).await {}
    let Answer::PerEvent(outcomes) = sink.deliver(&bad).await else { unreachable!() };
    assert_eq!(outcomes[0].as_ref().unwrap_err().category, Category::Rejected);
}

#[test]
fn check_looks_at_the_table_and_an_insert_that_comes_again_is_dropped() {
    let far = Server::start(
        "CREATE TABLE t (id Int64, a Nullable(Int64), _version UInt128, _deleted UInt8)
             ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id;
         CREATE TABLE plain (id Int64, _version UInt128, _deleted UInt8) ENGINE = MergeTree ORDER BY id;
         CREATE TABLE log (id Int64, a Int64, _id String, _op String, _table String,
             _version UInt128, _time Nullable(DateTime64(6, 'UTC')), _before_key Nullable(String),
             _unchanged Array(String))
             ENGINE = MergeTree ORDER BY _id SETTINGS non_replicated_deduplication_window = 100",
    );
    let of = |table: &str, mode: Mode| {
        let table = table.to_owned();
        build(Config { table, mode, ..settings(far.url()) })
    };
    let checked = |table: &str, mode: Mode| runtime().block_on(of(table, mode).check());
    let seen = checked("t", Mode::Upsert).unwrap();
    assert!(seen.contains("ClickHouse 2") && seen.contains("ReplacingMergeTree"), "{seen}");
    let seen = checked("{{ table.name }}", Mode::Upsert).unwrap();
    assert!(seen.contains("ClickHouse 2"), "{seen}");
    assert!(checked("default.log", Mode::Append).is_ok());
    for (table, mode, expected) in [
        ("plain", Mode::Upsert, "every version of a row stays"),
        ("t", Mode::Append, "has no column _id"),
        ("log", Mode::Upsert, "has no column _deleted"),
        ("nothing", Mode::Upsert, "(UNKNOWN_TABLE)"),
        ("nowhere.t", Mode::Upsert, "8"),
    ] {
        let failure = checked(table, mode).unwrap_err();
        assert_eq!(failure.category, Category::Setup, "{table}");
        assert!(failure.message.contains(expected), "{failure:?}");
    }
    let log = of("log", Mode::Append);
    let mut events = batch(0..3);
    let count = || far.value("SELECT count() FROM log");
    // No chunk stands behind these events, so that they are of no table.
    for (replay, expected) in [(0, "3"), (0, "3"), (1, "6"), (1, "6")] {
        events.replay = replay;
        assert_eq!(runtime().block_on(log.deliver(&events)), Answer::Acknowledged);
        assert_eq!(count(), expected, "replay {replay}");
    }
}
