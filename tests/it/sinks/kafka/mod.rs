//! The `kafka` sink against a real broker, read back with kafka-python.

mod broker;
mod tls;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use self::broker::{Broker, Message, compacted, journal};
use crate::examples;
use crate::support::load::Load;
use crate::support::loopback;
use crate::support::process::eventually;
use crate::support::proxy::{Faults, Proxy};
use crate::support::road::{PATIENCE, Road, T, route};

/// A sink `name` that writes to a topic of its name; `more` are keys of the sink, `keys` of the
/// kind.
fn sink(name: &str, broker: &Broker, more: &str, keys: &str) -> String {
    let address = broker.address();
    format!(
        "[sink.{name}]\ntimeout = \"3s\"\nretry = {{ initial = \"50ms\", max = \"500ms\" }}\n\
         breaker = {{ cooldown = \"200ms\" }}\nhalt_probe = \"300ms\"\n{more}\n\
         [sink.{name}.kafka]\nbrokers = \"{address}\"\ntopic = \"{name}\"\n{keys}\n"
    )
}

/// A road of `t` to the topic `far`.
fn road(broker: &Broker, more: &str, keys: &str) -> Road {
    Road::new(
        Cluster::builder(),
        T,
        &format!("{}{}", sink("far", broker, more, keys), route("t", "far")),
    )
}

/// Waits until everything is done; returns what came, each key once in order and alike.
#[track_caller]
fn arrived(road: &Road, broker: &Broker) -> Vec<Message> {
    road.confirms(&road.wal_end());
    let messages = broker.read("far");
    let journal = journal(&messages);
    assert_eq!(journal.fold(), road.table("t"), "the topic differs from the table");
    assert_eq!(journal.out_of_order(), Vec::<String>::new());
    assert_eq!(journal.repeats_unlike(), Vec::<String>::new());
    messages
}

#[track_caller]
fn state(road: &Road, is: &str) -> String {
    let mut reason = String::new();
    eventually(is, PATIENCE, || {
        let sink = &road.walgate.status()["sinks"][0];
        reason = sink["reason"].as_str().unwrap_or_default().to_owned();
        sink["state"] == is
    });
    reason
}

#[test]
fn every_change_arrives_in_the_partition_of_its_key() {
    let broker = Broker::start(&[]);
    broker.topic("far", 6);
    let road = road(&broker, "concurrency = 4", "");
    let load = Load::start(&road, Duration::ZERO);
    load.goes_on(300);
    load.end();
    road.sql("SELECT pg_logical_emit_message(true, 'not', 'routed')");
    let messages = arrived(&road, &broker);
    assert_eq!(journal(&messages).repeats(), 0);
    let mut used: Vec<u32> = messages.iter().map(|message| message.partition).collect();
    used.dedup();
    assert_eq!(used, [0, 1, 2, 3, 4, 5]);
    for message in &messages {
        assert_eq!(Some(message.partition), message.expected, "{message:?}");
        let event: Value = serde_json::from_str(message.value.as_ref().unwrap()).unwrap();
        assert_eq!(message.key.as_ref().unwrap(), &event["key"].to_string());
        let header = |name: &str| message.headers.get(name).map(String::as_str);
        assert_eq!(header("walgate-id"), event["id"].as_str());
        assert_eq!(header("walgate-op"), event["op"].as_str());
        assert_eq!(header("walgate-table"), Some("public.t"));
        assert_eq!(header("content-type"), Some("application/json"));
        assert_eq!((header("walgate-mapping"), header("walgate-replay")), (None, None));
        let time: jiff::Timestamp = event["commit"]["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(message.time, time.as_millisecond());
    }
    // What an operator sends again is the same, and says that it is.
    let output = road.walgate.call(&["replay", "--sink", "far", "--from", "0/1"]);
    assert!(output.status.success(), "{output:?}");
    let replayed = |messages: &[Message]| {
        messages.iter().filter(|message| message.headers.contains_key("walgate-replay")).count()
    };
    eventually("the replay arrives", PATIENCE, || replayed(&broker.read("far")) == messages.len());
    assert_eq!(journal(&broker.read("far")).repeats_unlike(), Vec::<String>::new());
}

#[test]
fn a_compacted_topic_is_the_table() {
    let broker = Broker::start(&[]);
    let formats = [("mapped", "rows"), ("debezium", "changes")];
    let mut config = "[mapping.m]\nversion = 1\nrest = \"include\"\n[mapping.m.fields]\n\
                      id = { column = \"id\" }\n"
        .to_owned();
    for (format, name) in formats {
        broker.topic(name, 4);
        config += &sink(name, &broker, &format!("format = \"{format}\""), "");
        config += &route("t", name);
        config += "mapping = \"m\"\n";
    }
    let road = Road::new(Cluster::builder(), T, &config);
    let load = Load::start(&road, Duration::ZERO);
    // Keys move: away, onto one that was given up before, and back.
    for _ in 0..20 {
        load.goes_on(5);
        // The load's own transactions stay out of the way.
        road.sql(
            "BEGIN; LOCK t IN EXCLUSIVE MODE;
                  UPDATE t SET id = id + 1000 WHERE id <= 100; COMMIT",
        );
        road.sql("BEGIN; LOCK t IN EXCLUSIVE MODE;
                  DELETE FROM t WHERE id <= 100 AND EXISTS (SELECT FROM t o WHERE o.id = t.id + 1000);
                  DELETE FROM t WHERE id > 1000 AND EXISTS (SELECT FROM t o WHERE o.id = t.id - 1000);
                  UPDATE t SET id = id - 1000 WHERE id > 1000 AND id % 2 = 0;
                  DELETE FROM t WHERE id > 1000; COMMIT");
    }
    load.end();
    road.confirms(&road.wal_end());
    let rows = broker.read("rows");
    assert_eq!(compacted(&rows), road.table("t"));
    let mapping = |message: &Message| message.headers.get("walgate-mapping").cloned();
    assert!(rows.iter().all(|message| mapping(message).as_deref() == Some("m-v1")));
    let changes = broker.read("changes");
    let after = compacted(&changes).into_iter().map(|(key, event)| (key, event["after"].clone()));
    assert_eq!(after.collect::<BTreeMap<_, _>>(), road.table("t"));
    // Each delete is followed by the tombstone of its key.
    let mut of_key: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
    for message in &changes {
        of_key.entry(message.key.as_deref().unwrap()).or_default().push(message);
    }
    let mut deletes = 0;
    for pair in of_key.values().flat_map(|messages| messages.windows(2)) {
        if pair[0].value.is_some() && pair[0].headers["walgate-op"] == "delete" {
            assert_eq!(
                (&pair[1].value, &pair[1].headers["walgate-id"]),
                (&None, &pair[0].headers["walgate-id"])
            );
            deletes += 1;
        }
    }
    assert!(deletes > 0);
}

#[test]
fn a_broker_that_hangs_under_load_gets_all_of_it_in_order() {
    let broker = Broker::start(&[]);
    broker.topic("far", 3);
    let road = road(&broker, "concurrency = 2", "");
    let load = Load::start(&road, Duration::from_millis(1));
    load.goes_on(100);
    // What was under way then may be taken once it goes on, long after it was given up.
    broker.signal("STOP");
    eventually("a batch is given up", PATIENCE, || {
        let sink = &road.walgate.status()["sinks"][0];
        sink["state"] != "ok" && sink["reason"].as_str().is_some_and(|why| why.contains("no ac"))
    });
    load.goes_on(100);
    broker.signal("CONT");
    load.goes_on(100);
    load.end();
    arrived(&road, &broker);
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
}

#[test]
fn a_broker_that_is_gone_for_a_while_gets_what_came_meanwhile() {
    let listens = loopback().0;
    let proxy = Proxy::start(listens);
    let broker = Broker::start_at(listens, proxy.address(), &[]);
    broker.topic("far", 3);
    let road = road(&broker, "", "");
    road.sql("INSERT INTO t SELECT n, 'before' FROM generate_series(1, 50) n");
    assert_eq!(arrived(&road, &broker).len(), 50);
    proxy.set(Faults { refuse: true, ..Faults::default() });
    road.sql("UPDATE t SET v = 'meanwhile'; DELETE FROM t WHERE id > 40");
    let reason = state(&road, "open");
    assert!(reason.contains("no acknowledgement within"), "{reason}");
    proxy.set(Faults::default());
    let messages = arrived(&road, &broker);
    assert_eq!((messages.len(), journal(&messages).repeats()), (110, 0));
}

#[test]
fn one_that_is_too_large_is_set_aside_and_the_rest_flows() {
    let broker = Broker::start(&[]);
    broker.topic("far", 3);
    let road = road(&broker, "", "compression = \"none\"");
    road.sql(
        "BEGIN; INSERT INTO t SELECT n, 'x' FROM generate_series(1, 20) n;
              UPDATE t SET v = repeat('secret', 200000) WHERE id = 7;
              UPDATE t SET v = 'after' WHERE id < 10; COMMIT",
    );
    arrived(&road, &broker);
    let letters = road.dead_letters(&[]);
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (&letters[0]["category"], &letters[0]["key"]["id"]),
        (&"rejected".into(), &7.into())
    );
    let message = letters[0]["message"].as_str().unwrap();
    assert!(message.contains("MessageSizeTooLarge") && !message.contains("secret"), "{message}");
}

#[test]
fn customers_and_an_outbox_to_kafka() {
    let broker = Broker::start(&[]);
    broker.topic("shop.customers", 3);
    broker.topic("shop.order", 3);
    let mut road = examples::road("kafka", &[("KAFKA_BROKERS", &broker.address().to_string())]);
    examples::passes(&road, 1);
    road.sql(
        "INSERT INTO customers (id, email) VALUES (1, 'ada@example.com'), (2, 'b@example.com')",
    );
    road.start();
    road.sql("DELETE FROM customers WHERE id = 2");
    road.sql(
        "INSERT INTO outbox (aggregate_type, aggregate_id, type, payload, headers) VALUES
            ('order', '7', 'order-paid', '{\"total\": 12.50}', '{\"trace\": \"abc\"}'),
            ('no such topic!', '8', 'x', '1', NULL)",
    );
    road.confirms(&road.wal_end());
    let customers = compacted(&broker.read("shop.customers"));
    let ada = json!({ "id": 1, "email": "ada@example.com", "country": "US" });
    assert_eq!(customers, BTreeMap::from([("public.t{\"id\":1}".to_owned(), ada)]));
    let orders = broker.read("shop.order");
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].key.as_deref(), Some(r#"{"aggregate_id":"7"}"#));
    assert_eq!(orders[0].value.as_deref(), Some(r#"{"total": 12.50}"#));
    assert_eq!(orders[0].headers["trace"], "abc");
    let letters = road.dead_letters(&[]);
    assert_eq!((letters.len(), &letters[0]["category"]), (1, &json!("rejected")));
    assert!(!letters[0]["message"].to_string().contains("no such"), "{letters:?}");
}

#[test]
fn refused_credentials_halt_the_sink_and_lose_nothing() {
    let mut broker = Broker::start(&["--authentication"]);
    let sasl = "sasl = { mechanism = \"SCRAM-SHA-256\", user = \"nobody-here\", password = \"hush-hush\" }";
    let mut road = road(&broker, "", sasl);
    road.sql("INSERT INTO t VALUES (1, 'x'), (2, 'y')");
    let reason = state(&road, "halted");
    assert!(reason.contains("refused the credentials"), "{reason}");
    let output = road.walgate.call(&["check"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("refused the credentials"), "{said}");
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    for text in [road.walgate.log(), said, reason] {
        assert!(!text.contains("hush-hush") && !text.contains("nobody-here"), "{text}");
    }
    road.stop();
    broker.kill();
    broker = Broker::start(&[]);
    broker.topic("far", 1);
    road.configure(&format!("{}{}", sink("far", &broker, "", ""), route("t", "far")));
    road.start();
    assert_eq!(arrived(&road, &broker).len(), 2);
}

#[test]
fn a_run_that_is_killed_repeats_but_never_skips() {
    for (more, keys) in [("concurrency = 4", ""), ("", "transactional_id = \"walgate\"")] {
        let broker = Broker::start(&[]);
        broker.topic("far", 3);
        let mut road = road(&broker, more, keys);
        let load = Load::start(&road, Duration::from_millis(1));
        for _ in 0..2 {
            load.goes_on(150);
            road.walgate.kill();
            road.start();
        }
        load.goes_on(50);
        load.end();
        let messages = arrived(&road, &broker);
        let all = broker.read_as("far", "read_uncommitted");
        assert!(all.len() >= messages.len());
        road.stop();
    }
}
