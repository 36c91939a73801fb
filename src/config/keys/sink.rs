//! The keys of a sink that every kind has.

use super::Otherwise::{None, Toml};
use super::Shape::{Boolean, ByteRate, Duration, Integer, Rate, Size, Table, Text, Word};
use super::{Section, key, kind, later};

pub(super) static SINK: Section = Section {
    title: "a sink",
    keys: &[
        key(
            "format",
            Word(&["walgate", "mapped", "debezium", "cloudevents"], &[]),
            Toml("\"walgate\""),
            "the whole event, the mapping's output alone, what Debezium writes, or CloudEvents 1.0",
        ),
        key("batch", Table(&BATCH), Toml("{}"), "how much goes in one request"),
        key(
            "schedule",
            Text,
            None,
            "nothing is sent but at these times, in UTC: a step such as `\"15m\"`, counted from midnight, or a cron line of five fields: `\"*/15 * * * *\"`",
        ),
        key(
            "compact",
            Boolean,
            Toml("false"),
            "with `schedule`: of what has gathered only the last change of each key is sent",
        ),
        key(
            "concurrency",
            Integer(1, 1024),
            Toml("1"),
            "requests in flight at most: a sink that comes back gets one, then two, four, …; order holds per key at any number",
        ),
        key(
            "rate_limit",
            Table(&RATE_LIMIT),
            Toml("{}"),
            "how fast; any of them alone or together",
        ),
        key("timeout", Duration(1), Toml("\"30s\""), "of one request"),
        key(
            "retry",
            Table(&RETRY),
            Toml("{}"),
            "when a failure is tried again: full jitter between 0 and a bound that doubles",
        ),
        key("breaker", Table(&BREAKER), Toml("{}"), "when a sink counts as down"),
        key("halt_probe", Duration(1), Toml("\"30s\""), "how often a halted sink is tried again"),
        key(
            "on_dead",
            Word(&["continue", "block"], &[]),
            Toml("\"continue\""),
            "later changes of a dead event's key go on, or wait behind it",
        ),
        key(
            "max_dead",
            Integer(1, u32::MAX),
            Toml("10000"),
            "more dead letters than this halt the sink",
        ),
        key(
            "max_blocked",
            Integer(1, u32::MAX),
            Toml("100000"),
            "more events that wait behind others than this make the lane wait",
        ),
        key(
            "dead_retain",
            Duration(1),
            None,
            "dead letters older than this are discarded and counted; for ever unless set",
        ),
        key("http", Table(&kind::HTTP), None, "kind: requests to an HTTP endpoint"),
        key(
            "file",
            Table(&kind::FILE),
            None,
            "kind: JSON lines in a file, on disk before they are acknowledged",
        ),
        key("stdout", Table(&kind::STDOUT), None, "kind: JSON lines on standard output"),
        key(
            "poll",
            Table(&kind::POLL),
            None,
            "kind: the receiver fetches events from the admin listener",
        ),
        key("kafka", Table(&kind::KAFKA), None, "kind: Apache Kafka"),
        key("nats", Table(&kind::NATS), None, "kind: NATS JetStream"),
        key("amqp", Table(&kind::AMQP), None, "kind: RabbitMQ"),
        key("redis", Table(&kind::REDIS), None, "kind: Redis streams"),
        key(
            "postgres",
            Table(&kind::POSTGRES),
            None,
            "kind: tables of another PostgreSQL, a transaction a batch",
        ),
        key(
            "clickhouse",
            Table(&kind::CLICKHOUSE),
            None,
            "kind: tables of ClickHouse, versions of rows or a row an event",
        ),
        later("snowflake", "kind: Snowflake"),
        later("bigquery", "kind: BigQuery"),
        key(
            "salesforce",
            Table(&kind::SALESFORCE),
            None,
            "kind: records of Salesforce by their external id, or platform events",
        ),
        key(
            "hubspot",
            Table(&kind::HUBSPOT),
            None,
            "kind: records of HubSpot by a property with unique values",
        ),
        later("s3", "kind: object storage"),
        key("sqs", Table(&kind::SQS), None, "kind: Amazon SQS, queues of both kinds"),
        key("sns", Table(&kind::SNS), None, "kind: Amazon SNS, topics of both kinds"),
        key("kinesis", Table(&kind::KINESIS), None, "kind: Amazon Kinesis Data Streams"),
        key("firehose", Table(&kind::FIREHOSE), None, "kind: Amazon Data Firehose"),
        key("eventbridge", Table(&kind::EVENTBRIDGE), None, "kind: Amazon EventBridge"),
        key("pubsub", Table(&kind::PUBSUB), None, "kind: Google Pub/Sub"),
        key(
            "elasticsearch",
            Table(&kind::ELASTICSEARCH),
            None,
            "kind: documents of Elasticsearch or OpenSearch",
        ),
    ],
};

/// The kinds of sinks that this version has, by their table.
pub(in crate::config) const KINDS: &[&str] = &[
    "http",
    "file",
    "stdout",
    "poll",
    "kafka",
    "nats",
    "amqp",
    "redis",
    "postgres",
    "salesforce",
    "hubspot",
    "sqs",
    "sns",
    "kinesis",
    "firehose",
    "eventbridge",
    "pubsub",
    "clickhouse",
    "elasticsearch",
];

static BATCH: Section = Section {
    title: "batch",
    keys: &[
        key(
            "max_events",
            Integer(1, 100_000),
            None,
            "1 for http, 10 for sqs, sns and eventbridge, 200 for salesforce, 100 for hubspot, 10000 for clickhouse, else 500",
        ),
        key("max_bytes", Size, Toml("\"1MiB\""), "of bodies; a larger event goes alone"),
        key("max_wait", Duration(0), Toml("\"0ms\""), "above 0 a batch waits that long to fill"),
    ],
};

static RATE_LIMIT: Section = Section {
    title: "rate_limit",
    keys: &[
        key("requests", Rate, None, "no limit unless set"),
        key("events", Rate, None, "no limit unless set"),
        key("bytes", ByteRate, None, "of bodies; no limit unless set"),
        key(
            "burst",
            Integer(1, 1_000_000),
            Toml("1"),
            "requests that may go at once after a pause",
        ),
    ],
};

static RETRY: Section = Section {
    title: "retry",
    keys: &[
        key("initial", Duration(1), Toml("\"1s\""), "the bound after the first failure"),
        key("max", Duration(1), Toml("\"5m\""), "what the bound never passes"),
        key(
            "max_attempts",
            Integer(1, 1_000_000),
            Toml("10"),
            "after so many an event that fails alone becomes a dead letter",
        ),
        key(
            "retry_after_max",
            Duration(0),
            Toml("\"1h\""),
            "a destination that asks for more time is believed only so far",
        ),
    ],
};

static BREAKER: Section = Section {
    title: "breaker",
    keys: &[
        key("failures", Integer(1, 1_000_000), Toml("5"), "in a row"),
        key("window", Duration(1), Toml("\"30s\""), "within which they fall"),
        key("cooldown", Duration(1), Toml("\"30s\""), "before the next probe"),
    ],
};
