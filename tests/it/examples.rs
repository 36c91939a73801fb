//! The examples run as they are shipped.

use std::fs;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

#[cfg(feature = "amqp")]
use crate::sinks::amqp::server::Rabbit;
use crate::sinks::clickhouse::server::{PASSWORD, Server};
use crate::sinks::fakes::Fake;
use crate::sinks::fakes::elasticsearch;
use crate::sinks::fakes::hubspot::Account;
use crate::sinks::fakes::salesforce::Org;
use crate::sinks::pubsub::far::Far;
use crate::support::process::eventually;
use crate::support::receiver::{Receiver, Request};
use crate::support::road::{PATIENCE, Road, runtime};

const SCHEMA: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, email text, first_name text, last_name text,
        country_code text, plan text, phone text, city text, born date, status text,
        created_at timestamptz);
    ALTER TABLE customers REPLICA IDENTITY FULL;
    CREATE TABLE orders (id bigint PRIMARY KEY, customer_id int, status text, total numeric(12, 2),
        currency text, placed_at timestamptz);
    ALTER TABLE orders REPLICA IDENTITY FULL;";

/// A server with the tables of the examples, and one of the examples as the config: its variables
/// are those of the test.
#[track_caller]
pub(crate) fn road(example: &str, variables: &[(&str, &str)]) -> Road {
    let schema = format!("{SCHEMA}{}", include_str!("../../sql/source/outbox.sql"));
    let road = Road::bare(Cluster::builder(), &schema);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    let text = fs::read_to_string(format!("examples/{example}.toml")).unwrap();
    let mut text = format!("[admin]\nlisten = \"127.0.0.1:0\"\n\n{text}");
    let url = road.cluster.url("walgate", "postgres");
    for (name, value) in [("DATABASE_URL", url.as_str())].iter().chain(variables) {
        let variable = format!("${{{name}}}");
        assert!(text.contains(&variable), "{example} has no {name}");
        text = text.replace(&variable, value);
    }
    road.walgate.configure(&text);
    let output = road.walgate.call(&["check", "--offline"]);
    assert!(output.status.success(), "{example}: {output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("warn"), "{example}: {said}");
    road
}

/// Its own tests pass.
#[track_caller]
pub(crate) fn passes(road: &Road, count: usize) {
    let output = road.walgate.call(&["test", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["passed"], &report["failed"]), (&json!(count), &json!(0)), "{report:#}");
}

/// Runs it until it is caught up; returns the lines of a file that it wrote.
#[track_caller]
fn lines(road: &Road, file: &str) -> Vec<Value> {
    let output = road.walgate.call(&["run", "--until-caught-up", "--timeout", "60s"]);
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(road.walgate.folder().join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn processed(receiver: &Receiver) -> Vec<Request> {
    receiver.journal().requests.into_iter().filter(|request| request.processed).collect()
}

#[test]
fn customers_to_a_crm() {
    let receiver = Receiver::start();
    let url = receiver.url("");
    let mut road = road("crm", &[("CRM_URL", url.trim_end_matches('/')), ("CRM_TOKEN", "secret")]);
    passes(&road, 2);
    road.sql(
        "INSERT INTO customers (id, email, first_name, last_name, plan, city, status, created_at)
         VALUES (1, 'ada@example.com', 'Ada', 'Lovelace', 'g', 'London', 'active', '2026-01-02 03:04:05Z'),
                (2, 'not a mail', NULL, NULL, 'x', NULL, 'active', NULL),
                (3, 'draft@example.com', NULL, NULL, NULL, NULL, 'draft', NULL)",
    );
    road.start();
    receiver.wait("the load", PATIENCE, |journal| !journal.requests.is_empty());
    road.sql("UPDATE customers SET status = 'gone' WHERE id = 1");
    receiver.wait("the delete", PATIENCE, |journal| journal.requests.len() == 2);
    let requests = processed(&receiver);
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(
        (requests[0].method.as_str(), requests[0].target.as_str()),
        ("PUT", "/v1/contacts/1")
    );
    assert_eq!(requests[0].header("authorization"), Some("Bearer secret"));
    assert_eq!(
        body,
        json!({
            "external_id": "1", "email": "ada@example.com", "name": "Ada Lovelace", "country": "US",
            "tier": "gold", "signed_up": "2026-01-02", "address": { "city": "London" },
            "source": "shop"
        })
    );
    let last = (requests[1].method.as_str(), requests[1].target.as_str());
    assert_eq!(last, ("DELETE", "/v1/contacts/1"));
    let mut letters = Vec::new();
    eventually("the other one is set aside", PATIENCE, || {
        letters = road.dead_letters(&[]);
        !letters.is_empty()
    });
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["key"], json!({ "id": 2 }));
}

#[test]
fn orders_to_a_warehouse() {
    let runtime = runtime();
    let warehouse = runtime.block_on(Cluster::builder().start()).unwrap();
    let url = warehouse.url("postgres", "postgres");
    let road = road("warehouse", &[("WAREHOUSE_URL", &url)]);
    passes(&road, 2);
    road.sql(
        "INSERT INTO orders VALUES (1, 7, 'paid', 1000.50, NULL, '2026-01-02 23:30:00-02'),
            (2, 7, 'new', 9.90, 'USD', '2026-01-02 10:00:00Z')",
    );
    let rows = || {
        let output = road.walgate.call(&["run", "--until-caught-up", "--timeout", "60s"]);
        assert!(output.status.success(), "{output:?}");
        let sql = "SELECT string_agg(concat_ws(' ', id, order_id, customer_id, status, total,
                       currency, placed_on, is_large, deleted), E'\\n' ORDER BY id)
                   FROM shop.orders";
        runtime.block_on(warehouse.value(sql)).unwrap()
    };
    assert_eq!(rows(), "1 1 7 paid 1000.50 EUR 2026-01-03 t f\n2 2 7 new 9.90 USD 2026-01-02 f f");
    road.sql("DELETE FROM orders WHERE id = 2; UPDATE orders SET total = 12 WHERE id = 1");
    assert_eq!(rows(), "1 1 7 paid 12.00 EUR 2026-01-03 f f\n2 2 7 new 9.90 USD 2026-01-02 f t");
}

#[test]
fn a_webhook_per_order() {
    let receiver = Receiver::start();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let mut road =
        road("webhook", &[("WEBHOOK_URL", &receiver.url("/")), ("WEBHOOK_SECRET", secret)]);
    passes(&road, 1);
    road.start();
    road.sql("INSERT INTO orders VALUES (7, 1, 'new', 12.50, NULL, now())");
    road.sql("UPDATE orders SET total = 13 WHERE id = 7");
    road.sql("UPDATE orders SET status = 'paid' WHERE id = 7");
    receiver.wait("two events", PATIENCE, |journal| journal.requests.len() == 2);
    let requests = processed(&receiver);
    let paid: Value = serde_json::from_slice(&requests[1].body).unwrap();
    assert_eq!(requests[1].header("content-type"), Some("application/cloudevents+json"));
    assert!(requests[1].header("webhook-signature").is_some());
    assert_eq!((&paid["specversion"], &paid["type"]), (&json!("1.0"), &json!("walgate.update")));
    assert_eq!(
        paid["data"],
        json!({ "id": 7, "status": "paid", "previous": "new", "total": "13.00" })
    );
}

#[test]
fn an_outbox_to_a_queue() {
    let mut road = road("outbox", &[]);
    road.start();
    road.sql(
        "INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
         VALUES ('order', '7', 'order-paid', '{\"total\": 12.50}')",
    );
    let mut page = Value::Null;
    eventually("the event is handed out", PATIENCE, || {
        let answer = road.walgate.get("/v1/sinks/queue/events?wait=20s");
        page = if answer.status == 200 { answer.json() } else { Value::Null };
        page["events"].as_array().is_some_and(|events| !events.is_empty())
    });
    let event = &page["events"][0];
    assert_eq!(event["data"], json!({ "total": 12.5 }));
    assert_eq!(event["key"], json!({ "aggregate_id": "7" }));
    assert_eq!(event["outbox"]["type"], "order-paid");
}

#[cfg(feature = "amqp")]
#[test]
fn an_outbox_to_rabbitmq() {
    let rabbit = Rabbit::start("");
    let bound = ["bind", "orders", "shop", "order-paid"];
    rabbit.ask(&json!([["exchange", "shop"], ["queue", "orders"], bound]));
    let mut road = road("rabbitmq", &[("RABBITMQ_URL", &rabbit.url("guest:guest"))]);
    road.start();
    road.sql(
        "INSERT INTO outbox (aggregate_type, aggregate_id, type, payload, headers)
         VALUES ('order', '7', 'order-paid', '{\"total\": 12.50}', '{\"trace\": \"a-1\"}')",
    );
    road.confirms(&road.wal_end());
    let messages = rabbit.ask(&json!([["read", "orders"]]));
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0]["body"], "{\"total\": 12.50}");
    assert_eq!(messages[0]["routing_key"], "order-paid");
    assert_eq!(messages[0]["headers"]["trace"], "a-1");
}

#[test]
fn personal_data_is_masked() {
    let road = road("masking", &[("MASK_KEY", "a key of this test")]);
    passes(&road, 1);
    road.sql(
        "INSERT INTO customers (id, email, last_name, phone, born, city, status)
         VALUES (1, 'ada@example.com', 'Lovelace', '+44 20 7946 0123', '1815-12-10', 'London', 'x')",
    );
    let people = lines(&road, "people.ndjson");
    let person = people[0]["person"].as_str().unwrap();
    assert!(person.len() == 64 && person.bytes().all(|byte| byte.is_ascii_hexdigit()), "{person}");
    let mut rest = people[0].clone();
    rest.as_object_mut().unwrap().remove("person");
    assert_eq!(
        rest,
        json!({
            "domain": "example.com", "phone": "***0123", "name": "***", "born": 1815,
            "city": "London"
        })
    );
    let log = road.walgate.log();
    assert!(!log.contains("Lovelace") && !log.contains("ada@"), "{log}");
}

/// What `nats` and `redis` have at the far side, `sinks` reads.
#[test]
#[cfg(feature = "nats")]
fn orders_to_nats() {
    super::sinks::nats::the_example_arrives(|url| road("nats", &[("NATS_URL", url)]));
}

#[test]
#[cfg(feature = "redis")]
fn orders_to_redis() {
    super::sinks::redis::the_example_arrives(|url| road("redis", &[("REDIS_URL", url)]));
}

#[test]
fn customers_to_salesforce() {
    let org = Fake::start(Org { contact_fields: CONTACT.to_vec(), ..Org::default() });
    let url = org.url();
    let secrets = [("SF_CLIENT_ID", "app"), ("SF_CLIENT_SECRET", "the app's secret")];
    let mut road = road("salesforce", &[&[("SF_URL", url.as_str())][..], &secrets].concat());
    passes(&road, 1);
    road.sql("INSERT INTO customers (id, email, last_name, plan) VALUES (1, 'a@b.co', 'B', 'g')");
    road.start();
    eventually("the load", PATIENCE, || org.state().records.len() == 1);
    let mut record = org.state().records["1"].clone();
    record.remove("Id");
    let expected = json!({ "LastName": "B", "Email": "a@b.co", "Plan__c": "Gold" });
    assert_eq!(Value::Object(record), expected);
    road.sql("DELETE FROM customers");
    eventually("the delete", PATIENCE, || org.state().records.is_empty());
}

/// What the example writes.
const CONTACT: [&str; 8] =
    ["attributes", "Ext__c", "FirstName", "LastName", "Email", "Phone", "MailingCity", "Plan__c"];

#[test]
fn customers_to_hubspot() {
    let account = Fake::start(Account::default());
    account.state().known.extend(["lastname", "city", "plan"]);
    let url = account.url();
    let mut road = road(
        "hubspot",
        &[("HUBSPOT_TOKEN", "pat-na1-a-token"), ("HUBSPOT_URL:-https://api.hubapi.com", &url)],
    );
    passes(&road, 1);
    road.sql("INSERT INTO customers (id, email, last_name, plan) VALUES (1, 'a@b.co', 'B', 'g')");
    road.start();
    eventually("the load", PATIENCE, || account.state().records.len() == 1);
    let record = account.state().by_external_id()["1"].clone();
    let expected =
        json!({ "external_id": "1", "email": "a@b.co", "lastname": "B", "plan": "gold" });
    assert_eq!(Value::Object(record), expected);
    road.sql("DELETE FROM customers");
    eventually("the delete", PATIENCE, || account.state().records.is_empty());
}

#[test]
fn orders_to_pubsub() {
    let far = Far::start(&["orders"]);
    let url = format!("http://{}", far.address);
    let variables =
        [("GCP_PROJECT", "walgate-test"), ("PUBSUB_URL:-https://pubsub.googleapis.com", &url)];
    let mut road = road("pubsub", &variables);
    road.start();
    road.sql("INSERT INTO orders VALUES (7, 1, NULL, 12.50, NULL, now())");
    road.sql("UPDATE orders SET status = 'paid'");
    road.confirms(&road.wal_end());
    let found = far.read("orders");
    assert_eq!(found.len(), 2, "{found:?}");
    let event: Value = serde_json::from_str(found[1]["body"].as_str().unwrap()).unwrap();
    assert_eq!(event["data"], json!({ "order_id": 7, "total": "12.50", "status": "paid" }));
    let status = |one: &Value| one["attributes"]["status"].clone();
    assert_eq!((status(&found[0]), status(&found[1])), (json!("new"), json!("paid")));
    assert_eq!(found[0]["key"], "{\"id\":7}");
}

/// The table is made as the example's comment says.
#[test]
fn orders_to_clickhouse() {
    let text = fs::read_to_string("examples/clickhouse.toml").unwrap();
    let comment = text.lines().take_while(|line| line.starts_with('#'));
    let comment: Vec<&str> = comment.map(|line| line.trim_start_matches(['#', ' '])).collect();
    let (_, schema) =
        comment.split_at(comment.iter().position(|l| l.starts_with("CREATE")).unwrap());
    let end = schema.iter().position(|line| line.starts_with("CLICKHOUSE_URL")).unwrap();
    let far = Server::start(&format!("CREATE DATABASE shop; {}", schema[..end].join("\n")));
    let variables = [("CLICKHOUSE_URL", &*far.url()), ("CLICKHOUSE_PASSWORD", PASSWORD)];
    let mut road = road("clickhouse", &variables);
    passes(&road, 1);
    road.sql("INSERT INTO orders VALUES (1, 7, 'new', 12.50, NULL, '2026-01-02 23:30:00-02')");
    road.start();
    let orders = "SELECT * FROM shop.orders_now ORDER BY id FORMAT TabSeparated";
    let order = |status: &str, total: &str, is_large: bool| {
        format!("1\t7\t{status}\t{total}\tEUR\t2026-01-03 01:30:00.000000\t{is_large}")
    };
    let loaded = order("new", "12.5", false);
    eventually("the load", PATIENCE, || far.value(orders) == loaded);
    road.sql("UPDATE orders SET status = 'paid', total = 1000.50");
    let updated = order("paid", "1000.5", true);
    eventually("the update", PATIENCE, || far.value(orders) == updated);
    road.sql("DELETE FROM orders");
    eventually("the delete", PATIENCE, || far.value(orders).is_empty());
}

#[test]
fn customers_to_elasticsearch() {
    let authorization = Some("ApiKey the key of this test".to_owned());
    let far = Fake::start(elasticsearch::Cluster { authorization, ..Default::default() });
    let url = far.url();
    let variables =
        [("ELASTICSEARCH_URL", url.as_str()), ("ELASTICSEARCH_KEY", "the key of this test")];
    let mut road = road("elasticsearch", &variables);
    passes(&road, 1);
    road.sql(
        "INSERT INTO customers (id, email, first_name, last_name, country_code, created_at)
         VALUES (1, 'a@b.co', 'Ada', 'B', 'DE', '2026-01-02 12:00:00Z')",
    );
    road.start();
    let index = "shop-customers";
    eventually("the load", PATIENCE, || far.state().documents(index).len() == 1);
    let document: Value = serde_json::from_str(&far.state().documents(index)[0]).unwrap();
    let expected = json!({ "id": 1, "name": "Ada B", "email": "a@b.co", "city": null,
                           "country": "Germany", "since": "2026-01-02" });
    assert_eq!(document, expected);
    road.sql("DELETE FROM customers");
    eventually("the delete", PATIENCE, || far.state().documents(index).is_empty());
}

/// Nobody ships an example that no test runs.
#[test]
fn every_example_is_run_here() {
    let names = fs::read_dir("examples").unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort_unstable();
    let run = [
        "clickhouse.toml",
        "crm.toml",
        "elasticsearch.toml",
        "eventbridge.toml",
        "firehose.toml",
        // As `alerts::rules` does.
        "grafana",
        "hubspot.toml",
        "kafka.toml",
        "kinesis.toml",
        "masking.toml",
        "nats.toml",
        "outbox.toml",
        "prometheus",
        "pubsub.toml",
        "rabbitmq.toml",
        "redis.toml",
        "salesforce.toml",
        "sns.toml",
        "sqs.toml",
        "warehouse.toml",
        "webhook.toml",
    ];
    assert_eq!(names, run);
}
