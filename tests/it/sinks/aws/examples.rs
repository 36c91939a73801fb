//! The examples run as they are shipped, but for the address and who asks.

use std::fs;

use serde_json::{Value, json};

use super::far::Far;
use crate::examples::road;
use crate::support::road::Road;
use crate::support::state::loaded;

const ORDERS: &str =
    "INSERT INTO orders VALUES (7, 1, 'new', 12.50, 'EUR', '2026-01-02 10:00:00Z')";

/// A queue as Amazon has it, which says its region.
const QUEUE: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/q.fifo";

/// A road with an example that sends to `far`, which has just what the test makes of it.
#[track_caller]
fn to(far: &Far, example: &str, kind: &str, variable: (&str, &str)) -> Road {
    let mut road = road(example, &[variable]);
    let text = fs::read_to_string(road.walgate.folder().join("walgate.toml")).unwrap();
    let keys = far.keys("any", far.address);
    let text = text.replace(QUEUE, far.of("fifo"));
    // Where the example says the region itself, it is that of the test.
    let keys = if text.contains("\nregion = ") {
        keys.lines().skip(1).collect::<Vec<_>>().join("\n")
    } else {
        keys
    };
    let table = format!(".{kind}]\n");
    assert!(text.contains(&table), "{text}");
    road.walgate.configure(&text.replace(&table, &format!("{table}{keys}\n")));
    road.start();
    loaded(&road);
    road
}

fn body(found: &Value) -> Value {
    serde_json::from_str(found["body"].as_str().unwrap()).unwrap()
}

#[test]
fn orders_to_a_queue_and_a_stream() {
    let far = Far::start();
    let sqs = to(&far, "sqs", "sqs", ("QUEUE_URL", QUEUE));
    sqs.sql(ORDERS);
    sqs.sql("UPDATE orders SET status = 'paid'");
    sqs.confirms(&sqs.wal_end());
    let found = far.read("queue:q.fifo");
    let states: Vec<Value> = found.iter().map(|one| body(one)["data"]["status"].clone()).collect();
    assert_eq!(
        (states, &found[0]["group"]),
        (vec![json!("new"), json!("paid")], &json!(r#"{"id":7}"#))
    );
    drop(sqs);
    let arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/s";
    let stream = to(&far, "kinesis", "kinesis", ("STREAM_ARN", arn));
    stream.sql(ORDERS);
    stream.confirms(&stream.wal_end());
    let found = far.read("stream:s");
    assert_eq!((found.len(), &found[0]["key"]), (1, &json!(r#"{"id":7}"#)));
}

#[test]
fn customers_to_a_topic() {
    let far = Far::start();
    let sns = to(&far, "sns", "sns", ("TOPIC_ARN", far.of("topic")));
    sns.sql("INSERT INTO customers (id, plan) VALUES (1, 'g')");
    sns.confirms(&sns.wal_end());
    let found = far.read("queue:of-t");
    assert_eq!(body(&found[0])["data"], json!({ "id": 1, "plan": "g", "country": "US" }));
    assert_eq!(found[0]["attributes"]["walgate-mapping"], "customer-v1");
}

#[test]
fn orders_to_a_lake_and_an_outbox_to_a_bus() {
    let far = Far::start();
    let lake = to(&far, "firehose", "firehose", ("FIREHOSE", "f"));
    lake.sql(ORDERS);
    lake.sql("DELETE FROM orders");
    lake.confirms(&lake.wal_end());
    let found = far.read("bucket:lake");
    let mut lines: Vec<&str> = found.iter().map(|one| one["body"].as_str().unwrap()).collect();
    lines.sort_unstable();
    let line = r#"{"order_id":7,"customer_id":1,"total":12.50,"deleted":"#;
    assert_eq!(lines, [format!("{line}false}}"), format!("{line}true}}")]);
    drop(lake);
    let bus = to(&far, "eventbridge", "eventbridge", ("BUS", "b"));
    bus.sql(
        "INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
         VALUES ('order', '7', 'shop.paid', '{\"total\": 12.50}')",
    );
    bus.confirms(&bus.wal_end());
    let found = far.read("bus:of-b");
    assert_eq!(
        (found[0]["type"].as_str(), body(&found[0])),
        (Some("shop.paid"), json!({ "total": 12.5 }))
    );
}
