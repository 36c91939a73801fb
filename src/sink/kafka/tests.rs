//! What is sent of an event, and what the codes of brokers mean: against librdkafka's own cluster
//! in this process, whose brokers answer as they are told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Respond};

use super::message::{Message, Plan};
use super::*;
use crate::chunk::{Chunk, Operation};
use crate::envelope::{Envelope, RouteLabel};
use crate::failure::Classify;
use crate::lsn::{EventId, Lsn, Position, Timestamp};
use crate::sink::Form;

const COMMON: Common = Common {
    timeout: Duration::from_secs(3),
    concurrency: 1,
    max_events: 500,
    form: Form::Walgate,
};

/// An event of key `id`, the `seq`th of its transaction.
fn event(operation: Operation, id: u32, seq: u32) -> Envelope {
    let position = Position::new(Lsn(0x17C_8338), seq);
    Envelope {
        id: EventId { timeline: 1, position },
        operation,
        body: format!(r#"{{"seq":{seq},"data":{{"a":1}}}}"#).into(),
        key: format!(r#"{{"id":{id}}}"#).into(),
        key_hash: id.into(),
        before_key_hash: None,
        before_key: None,
        outbox: None,
        commit_time: Some(Timestamp::from_unix_micros(1_700_000_000_123_456)),
        route: Arc::new(RouteLabel { name: "r".into(), mapping: Some(("m".into(), 3)) }),
        chunk: Arc::new(Chunk {
            timeline: 1,
            frames: Bytes::new(),
            transactions: Vec::new(),
            relations: Vec::new(),
            entries: Vec::new(),
            audience: None,
        }),
        entry: 0,
    }
}

fn moved(id: u32, old: u32, seq: u32) -> Envelope {
    let before_key = Some(Box::new(format!(r#"{{"id":{old}}}"#).into()));
    Envelope { before_key, before_key_hash: Some(old.into()), ..event(Operation::Update, id, seq) }
}

fn of_outbox(json: &str) -> Envelope {
    Envelope { outbox: Some(Box::new(json.to_owned().into())), ..event(Operation::Insert, 1, 0) }
}

/// One event of each of these keys, in order.
fn batch(keys: &[u32]) -> Batch {
    let events = keys.iter().zip(0..).map(|(key, seq)| event(Operation::Insert, *key, seq));
    Batch { events: events.collect(), replay: 0 }
}

fn plan(topic: &str, form: Form, change: impl FnOnce(&mut Config)) -> Plan {
    let mut config = Config::to("localhost", topic);
    change(&mut config);
    Plan::new(&config, &Common { form, ..COMMON }).unwrap()
}

/// What is sent, as `key=value` with `seq` or `-`.
fn shapes(messages: &[Message<'_>]) -> Vec<String> {
    let text = |bytes: &Option<Bytes>| match bytes {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "-".to_owned(),
    };
    let shape = |message: &Message<'_>| {
        let key = text(&message.key).replace("{\"id\":", "").replace('}', "");
        format!("{key}={}", if message.value.is_some() { "event" } else { "-" })
    };
    messages.iter().map(shape).collect()
}

#[test]
fn tombstones_are_as_the_format_has_them_unless_told() {
    #[track_caller]
    fn check(form: Form, told: Option<Tombstones>, event: &Envelope, expected: &[&str]) {
        let plan = plan("t", form, |config| config.tombstones = told);
        assert_eq!(shapes(&plan.messages(event, false).unwrap()), expected, "{form:?} {told:?}");
    }
    let delete = event(Operation::Delete, 1, 0);
    check(Form::Walgate, None, &delete, &["1=event"]);
    check(Form::CloudEvents, None, &delete, &["1=event"]);
    check(Form::Debezium, None, &delete, &["1=event", "1=-"]);
    check(Form::Mapped, None, &delete, &["1=-"]);
    check(Form::Mapped, Some(Tombstones::Off), &delete, &["1=event"]);
    check(Form::Walgate, Some(Tombstones::After), &delete, &["1=event", "1=-"]);
    check(Form::Walgate, Some(Tombstones::Instead), &delete, &["1=-"]);
    // The old key goes first; where there are no tombstones the event alone says it.
    let moved = moved(2, 1, 0);
    check(Form::Walgate, None, &moved, &["2=event"]);
    check(Form::Debezium, None, &moved, &["1=-", "2=event"]);
    check(Form::Mapped, None, &moved, &["1=-", "2=event"]);
    let keyless = |operation| Envelope { key: "null".into(), ..event(operation, 1, 0) };
    check(Form::Debezium, None, &keyless(Operation::Delete), &["-=event"]);
    check(Form::Debezium, None, &keyless(Operation::Truncate), &["-=event"]);
    check(Form::Mapped, None, &keyless(Operation::Truncate), &["-=event"]);
    let mapped = plan("t", Form::Mapped, |_| ());
    let keyless = keyless(Operation::Delete);
    let refused = mapped.messages(&keyless, false);
    assert!(refused.unwrap_err().contains("without a key"));
}

#[test]
fn a_topic_is_a_name_that_brokers_take() {
    #[track_caller]
    fn check(topic: &str, expected: Result<&str, &str>) {
        let plan = match Plan::new(&Config::to("localhost", topic), &COMMON) {
            Ok(plan) => plan,
            Err(error) => return assert_eq!(Err(error.to_string().as_str()), expected, "{topic}"),
        };
        let event = of_outbox(r#"{"aggregate_type":"order","id":"a b","type":""}"#);
        let messages = plan.messages(&event, false);
        let name = messages.as_deref().map(|messages| messages[0].topic.as_ref());
        assert_eq!(name.map_err(String::as_str), expected, "{topic}");
    }
    check("shop.orders_1-a", Ok("shop.orders_1-a"));
    check("shop.{{ outbox.aggregate_type }}", Ok("shop.order"));
    check("{{ key.id }}", Ok("1"));
    let signs = "has other signs than letters, digits, `.`, `_` and `-`";
    check("a/b", Err(&format!("`topic` {signs}")));
    check("ü{{ key.id }}", Err(&format!("`topic` {signs}")));
    check(".", Err("`topic` is `.` or `..`"));
    check(&"a".repeat(250), Err("`topic` is longer than 249 bytes"));
    check("{{ key.id", Err("`topic`"));
    // What a row makes of it is not shown.
    let template = "x{{ outbox.id }}";
    check(template, Err(&format!("topic `{template}` {signs} once it is filled in")));
    check("{{ outbox.type }}", Err("topic `{{ outbox.type }}` is empty once it is filled in"));
    check("{{ outbox.none }}", Err("topic: the event has no `outbox.none`"));
}

#[test]
fn headers_say_what_the_event_is() {
    let plan = plan("t", Form::Walgate, |_| ());
    let event = of_outbox(r#"{"headers":{"trace":"abc","n":1,"none":null}}"#);
    let messages = plan.messages(&event, true).unwrap();
    let headers: Vec<(&str, &str)> = messages[0]
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), str::from_utf8(value).unwrap()))
        .collect();
    let expected = [
        ("walgate-id", "00000001-00000000017C8338-00000000"),
        ("walgate-op", "insert"),
        ("walgate-mapping", "m-v3"),
        ("walgate-replay", "true"),
        ("content-type", "application/json"),
        ("n", "1"),
        ("trace", "abc"),
    ];
    assert_eq!(headers, expected);
    assert_eq!(messages[0].time_ms, Some(1_700_000_000_123));
    for (json, why) in [
        (r#"{"headers":{"walgate-id":"x"}}"#, "header walgate-id: an event can't set it"),
        (r#"{"headers":{"content-type":"x"}}"#, "header content-type: an event can't set it"),
        (r#"{"headers":{"a":{}}}"#, "header a: an object or a list"),
        (r#"{"headers":{"secret name":"x"}}"#, "outbox.headers: a name with other signs"),
    ] {
        let said = plan.messages(&of_outbox(json), false).unwrap_err();
        assert!(said.starts_with(why), "{said}");
    }
}

#[test]
fn cloudevents_in_binary_mode_are_headers_and_data() {
    let plan = plan("t", Form::CloudEvents, |config| config.binary = true);
    let body = r#"{"specversion":"1.0","id":"ü \"1\"","datacontenttype":"application/json","data":{"n":1.50}}"#;
    let event = Envelope { body: body.into(), ..event(Operation::Insert, 1, 0) };
    let message = plan.messages(&event, false).unwrap().remove(0);
    assert_eq!(message.value.as_deref(), Some(br#"{"n":1.50}"#.as_slice()));
    let header = |name: &str| {
        let found = message.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| str::from_utf8(value).unwrap())
    };
    assert_eq!(header("ce_specversion"), Some("1.0"));
    assert_eq!(header("ce_id"), Some("ü \"1\""));
    assert_eq!(header("content-type"), Some("application/json"));
}

#[test]
fn settings_that_cannot_work_are_refused_with_the_reason() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Config, &mut Common), key: &str, why: &str) {
        let (mut config, mut common) = (Config::to("localhost:9092", "t"), COMMON);
        change(&mut config, &mut common);
        let error = Kafka::new(&config, &common).unwrap_err();
        assert_eq!(error.key(), key, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let property = |name: &str, value: &str| {
        let property = (name.to_owned(), Secret::new(value.to_owned()));
        move |config: &mut Config, _: &mut Common| config.properties.push(property)
    };
    check(property("acks", "1"), "properties.acks", "order and completeness");
    check(property("sasl.password", "x"), "properties.sasl.password", "`sasl.password`");
    check(property("no.such.thing", "x"), "properties.no.such.thing", "No such configuration");
    check(property("linger.ms", "soon"), "properties.linger.ms", "linger.ms");
    check(|config, _| config.brokers.clear(), "brokers", "kafka-1:9092");
    check(|config, _| config.brokers = vec!["a b".into()], "brokers", "kafka-1:9092");
    check(|config, _| config.binary = true, "cloudevents", "format = \"cloudevents\"");
    check(|config, _| config.compression = "zstd".into(), "compression", "compression.codec");
    check(
        |config, common| {
            config.transactional_id = Some("w".into());
            common.concurrency = 2;
        },
        "transactional_id",
        "concurrency = 1",
    );
    let files = |ca: Option<&str>, cert: Option<&str>| crate::sink::tls::Files {
        ca: ca.map(Into::into),
        cert: cert.map(Into::into),
        key: None,
    };
    check(|config, _| config.tls = Some(files(Some("/no"), None)), "tls.ca", "tls.ca");
    check(|config, _| config.tls = Some(files(None, Some("/no"))), "tls.key", "tls.key");
}

/// A cluster of one broker with a topic `t` of one partition, and a sink for it.
struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    kafka: Kafka,
}

impl Bench {
    fn new(topic: &str, change: impl FnOnce(&mut Config)) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let mut config = Config::to(cluster.bootstrap_servers(), topic);
        change(&mut config);
        let kafka = Kafka::new(&config, &COMMON).unwrap();
        Self { cluster, kafka }
    }

    /// The next requests to produce are answered so.
    fn answers(&self, errors: &[Respond]) {
        self.cluster.clear_request_errors(RDKafkaApiKey::Produce);
        self.cluster.request_errors(RDKafkaApiKey::Produce, errors);
    }

    /// Sends one event of each of these keys; returns what became of each, empty where it arrived.
    async fn sends(&self, keys: &[u32]) -> Vec<String> {
        let limit = COMMON.timeout + Duration::from_secs(1);
        let sent = tokio::time::timeout(limit, self.kafka.send(&batch(keys))).await;
        let word = |failure: &Failure| failure.category.to_string();
        match sent.expect("the sink did not bound itself") {
            Answer::Acknowledged => vec![String::new(); keys.len()],
            Answer::Failed(failure) => vec![word(&failure); keys.len()],
            Answer::PerEvent(outcomes) => outcomes
                .iter()
                .map(|one| one.as_ref().err().map(word).unwrap_or_default())
                .collect(),
        }
    }
}

/// So often that the sink gives up first.
fn for_ever(error: Respond) -> Vec<Respond> {
    vec![error; 500]
}

#[tokio::test]
async fn each_code_of_a_broker_has_its_category() {
    let fixed = Bench::new("t", |_| ());
    assert_eq!(fixed.sends(&[1, 2]).await, ["", ""]);
    for (error, expected) in [
        (Respond::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "rejected"),
        (Respond::RD_KAFKA_RESP_ERR_INVALID_RECORD, "rejected"),
        (Respond::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, "rejected"),
        (Respond::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "setup"),
        (Respond::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "setup"),
        (Respond::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, "setup"),
        (Respond::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, "setup"),
        (Respond::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, "throttled"),
        (Respond::RD_KAFKA_RESP_ERR_POLICY_VIOLATION, "throttled"),
        (Respond::RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, "setup"),
        (Respond::RD_KAFKA_RESP_ERR_UNKNOWN, "transient"),
    ] {
        fixed.answers(&[error]);
        assert_eq!(fixed.sends(&[1]).await, [expected], "{error:?}");
        // Whatever it was, it sticks to nothing.
        fixed.answers(&[]);
        assert_eq!(fixed.sends(&[1]).await, [""], "behind {error:?}");
    }
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again_in_bounds() {
    use Respond::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as FEW;
    let bench = Bench::new("t", |_| ());
    bench.answers(&[FEW, FEW]);
    assert_eq!(bench.sends(&[1, 2]).await, ["", ""]);
    bench.answers(&for_ever(FEW));
    assert_eq!(bench.sends(&[1, 2]).await, ["transient", "transient"]);
    bench.answers(&[]);
    assert_eq!(bench.sends(&[1, 2]).await, ["", ""]);
}

#[tokio::test]
async fn a_cluster_that_is_down_is_transient_and_comes_back() {
    let bench = Bench::new("t", |_| ());
    assert_eq!(bench.sends(&[1]).await, [""]);
    bench.cluster.broker_down(1).unwrap();
    assert_eq!(bench.sends(&[1, 1, 2]).await, ["transient", "transient", "transient"]);
    bench.cluster.broker_up(1).unwrap();
    assert_eq!(bench.sends(&[1, 1, 2]).await, ["", "", ""]);
}

#[tokio::test]
async fn a_producer_that_is_past_use_makes_room_for_another() {
    let bench = Bench::new("t", |_| ());
    assert_eq!(bench.sends(&[1]).await, [""]);
    bench.answers(&[Respond::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    let first = bench.sends(&[1]).await;
    bench.answers(&[]);
    assert!(first == ["transient"] || first == [""], "{first:?}");
    assert_eq!(bench.sends(&[1]).await, [""]);
}

#[tokio::test]
async fn the_one_that_a_broker_refuses_is_found_among_its_set() {
    use Respond::{
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as LARGE, RD_KAFKA_RESP_ERR_NO_ERROR as FINE,
    };
    let bench = Bench::new("t", |config| {
        // All of a batch in one set.
        config.properties.push(("linger.ms".to_owned(), Secret::new("200".to_owned())));
    });
    assert_eq!(bench.sends(&[9]).await, [""]);
    bench.answers(&[LARGE, FINE, LARGE, FINE]);
    assert_eq!(bench.sends(&[1, 2, 3]).await, ["", "rejected", ""]);
    // What is behind it in its key counts only once it was sent behind it.
    bench.answers(&[LARGE, FINE, LARGE, FINE]);
    assert_eq!(bench.sends(&[1, 2, 2, 3]).await, ["", "rejected", "transient", ""]);
}

#[tokio::test]
async fn what_is_too_large_for_any_broker_keeps_back_its_key_alone() {
    let bench = Bench::new("t", |_| ());
    let mut batch = batch(&[1, 2, 1, 2]);
    batch.events[1].body = vec![b' '; 1_100_000].into();
    let Answer::PerEvent(outcomes) = bench.kafka.send(&batch).await else {
        panic!("one of them is too large");
    };
    let words: Vec<_> =
        outcomes.iter().map(|one| one.as_ref().map_err(Classify::category)).collect();
    let expected = [Ok(&()), Err(Category::Rejected), Ok(&()), Err(Category::Transient)];
    assert_eq!(words, expected);
    let said = outcomes[1].as_ref().unwrap_err().to_string();
    assert!(said.contains("topic `t`") && said.contains("MessageSizeTooLarge"), "{said}");
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_the_setups_fault_or_the_events() {
    for (topic, expected) in [("none", "setup"), ("none{{ key.id }}", "rejected")] {
        let bench = Bench::new(topic, |_| ());
        for topic in ["none", "none1"] {
            let error = Respond::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
            bench.cluster.topic_error(topic, error).unwrap();
        }
        assert_eq!(bench.sends(&[1]).await, [expected], "{topic}");
    }
}

#[tokio::test]
async fn a_batch_is_a_transaction_or_nothing() {
    use Respond::{
        RD_KAFKA_RESP_ERR_INVALID_RECORD as INVALID,
        RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED as FORBIDDEN,
    };
    let bench = Bench::new("t", |config| config.transactional_id = Some("w".to_owned()));
    assert_eq!(bench.sends(&[1, 2]).await, ["", ""]);
    assert_eq!(bench.sends(&[1, 2]).await, ["", ""]);
    bench.answers(&[INVALID]);
    assert_eq!(bench.sends(&[1]).await, ["rejected"]);
    bench.answers(&[]);
    // Given up in the middle: the next one begins anew. What librdkafka then throws away may be of
    // that one too, which comes again.
    let given_up = bench.kafka.send(&batch(&[1, 2])).now_or_never();
    assert_eq!(given_up, None);
    if bench.sends(&[1, 2]).await == ["transient", "transient"] {
        assert_eq!(bench.sends(&[1, 2]).await, ["", ""]);
    }
    bench.cluster.request_errors(RDKafkaApiKey::EndTxn, &[FORBIDDEN]);
    assert_eq!(bench.sends(&[1, 2]).await, ["setup", "setup"]);
    assert_eq!(bench.sends(&[1, 2]).await, ["", ""]);
}

#[tokio::test]
async fn a_check_sees_the_cluster_and_its_topic() {
    let bench = Bench::new("t", |_| ());
    let seen = bench.kafka.look().await.unwrap();
    assert!(seen.ends_with(": 1 broker, topic `t` has 1 partitions"), "{seen}");
    bench.cluster.broker_down(1).unwrap();
    let failure = bench.kafka.look().await.unwrap_err();
    assert_eq!(failure.category, Category::Transient, "{failure}");
}
