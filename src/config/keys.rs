//! The keys of the config: one description that the reader, the JSON Schema and the docs share.

use super::kinds;

/// A table of the config.
#[derive(Debug)]
pub(super) struct Section {
    /// As problems call it: `[source]`, `a sink`.
    pub(super) title: &'static str,
    /// In the order of the docs.
    pub(super) keys: &'static [Key],
}

impl Section {
    /// Returns the description of a key.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// One key of a table.
#[derive(Debug)]
pub(super) struct Key {
    /// As it is written.
    pub(super) name: &'static str,
    /// What may stand there.
    pub(super) shape: Shape,
    /// Whether and what stands there when it is left out.
    pub(super) otherwise: Otherwise,
    /// One line for the docs and the schema.
    pub(super) doc: &'static str,
}

/// What holds when a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// It must be there.
    Required,
    /// Nothing; the docs say what that means.
    None,
    /// This, as TOML would have it.
    Toml(&'static str),
    /// The contract has it, this version does not: it may not be there.
    Later,
}

/// What may stand behind a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Any text.
    Text,
    /// A text that is not shown.
    Secret,
    /// A file or folder; relative to the folder of the config.
    Path,
    /// A whole number from … to.
    Integer(u32, u32),
    /// true or false.
    Boolean,
    /// `250ms`, at least the given milliseconds.
    Duration(u64),
    /// `64KiB`.
    Size,
    /// `50/s`.
    Rate,
    /// `10MiB/s`.
    ByteRate,
    /// One of these words. Those of the second list come with a later version.
    Word(&'static [&'static str], &'static [&'static str]),
    /// Anything that has a JSON form.
    Any,
    /// A table of its own.
    Table(&'static Section),
    /// A table of named tables.
    Named(&'static Section),
    /// Names and secret texts (headers).
    Secrets,
    /// Names and values of any form.
    Values,
    /// A list.
    List(&'static Self),
    /// Whichever of these has the form of what stands there.
    Either(&'static [Self]),
}

use Otherwise::{Later, None, Required, Toml};
use Shape::{
    Any, Boolean, ByteRate, Duration, Either, Integer, List, Named, Path, Rate, Secret, Size,
    Table, Text, Values, Word,
};

const fn key(name: &'static str, shape: Shape, otherwise: Otherwise, doc: &'static str) -> Key {
    Key { name, shape, otherwise, doc }
}

const fn later(name: &'static str, doc: &'static str) -> Key {
    Key { name, shape: Any, otherwise: Later, doc }
}

/// The whole file.
pub(super) static ROOT: Section = Section {
    title: "the config",
    keys: &[
        key(
            "shutdown_grace",
            Duration(0),
            Toml("\"10s\""),
            "how long what is in flight may take to finish when walgate is asked to stop",
        ),
        key("source", Table(&SOURCE), Required, "the database to read"),
        key("state", Table(&STATE), Toml("{}"), "where walgate keeps what it must not forget"),
        key("journal", Table(&JOURNAL), Toml("{}"), "the originals, as Postgres sent them"),
        key("admin", Table(&ADMIN), Toml("{}"), "metrics, health and events to fetch, over HTTP"),
        key(
            "mapping",
            Named(&MAPPING),
            None,
            "what a row becomes; the table's name is the mapping's",
        ),
        key("sink", Named(&SINK), Required, "a destination; the table's name is the sink's"),
        key("route", List(&Table(&ROUTE)), Required, "ties a table to a sink"),
    ],
};

pub(super) static SOURCE: Section = Section {
    title: "[source]",
    keys: &[
        key(
            "url",
            Secret,
            Required,
            "libpq URL or key=value string; several hosts, `sslmode`, `sslrootcert`, `sslcert`, `sslkey` (paths relative to the config's folder), `channel_binding`, `target_session_attrs`",
        ),
        key("publication", Text, Toml("\"walgate\""), "must cover the routed tables"),
        key(
            "slot",
            Text,
            Toml("\"walgate\""),
            "made on first start; lower case letters, digits and `_`",
        ),
        key(
            "streaming",
            Word(&["auto", "off"], &[]),
            Toml("\"auto\""),
            "large transactions come while they are still open, and are kept here until they commit, past 16 MiB in `spill` under `[state] path`; `off`: the server keeps them",
        ),
        key(
            "binary",
            Boolean,
            Toml("false"),
            "the server sends values in their binary form, which events do not show: for rows whose text is larger than the server can send (1 GiB, a bytea of half that)",
        ),
        key(
            "heartbeat",
            Duration(0),
            Toml("\"30s\""),
            "a logical message that goes the whole road; `\"0s\"` turns it off",
        ),
    ],
};

static STATE: Section = Section {
    title: "[state]",
    keys: &[key(
        "path",
        Path,
        Toml("\"walgate-state\""),
        "a folder on a local disk: checkpoints, journal, dead letters, registry of mappings",
    )],
};

static JOURNAL: Section = Section {
    title: "[journal]",
    keys: &[
        key(
            "retain",
            Duration(0),
            Toml("\"7d\""),
            "how long originals are kept; never less than what a sink has not done",
        ),
        key(
            "max_size",
            Size,
            Toml("\"10GiB\""),
            "how much is kept; never less than what a sink has not done; `\"0\"` keeps nothing: all sinks share the pace of the slowest, and `replay`, `trace` and `route hold` have nothing to go by",
        ),
        key(
            "on_full",
            Word(&["pause", "detach"], &[]),
            Toml("\"pause\""),
            "when what is undone reaches `max_size`: stop reading, or let go of the sink furthest behind, which then halts with a gap and needs a load",
        ),
        key("reserve", Size, Toml("\"512MiB\""), "disk kept free for progress and dead letters"),
        key(
            "confirm",
            Word(&["delivered", "journaled"], &[]),
            Toml("\"delivered\""),
            "the slot moves when every sink is done, or when the journal has it on disk",
        ),
        key(
            "wal_budget",
            Size,
            Toml("\"4GiB\""),
            "with `delivered`: when a slow sink makes Postgres keep more WAL than this, what is journaled is confirmed instead; `\"0\"` turns it off",
        ),
    ],
};

static ADMIN: Section = Section {
    title: "[admin]",
    keys: &[
        key(
            "listen",
            Text,
            Toml("\"127.0.0.1:7717\""),
            "address and port, 0 for any that is free; anything but loopback needs a token",
        ),
        key("token", Secret, None, "what callers must show: `authorization: Bearer TOKEN`"),
    ],
};

static MAPPING: Section = Section {
    title: "a mapping",
    keys: &[
        key(
            "version",
            Integer(1, u32::MAX),
            Required,
            "raise it whenever the fields change; the same number with other fields is refused at start",
        ),
        key(
            "fields",
            Named(&FIELD),
            Required,
            "what is sent, in this order; a dot in a name nests",
        ),
        key(
            "rest",
            Word(&["omit", "include"], &[]),
            Toml("\"omit\""),
            "columns that no field names",
        ),
        later("mask_key", "the key of `mask = \"hash\"`"),
        later("test", "rows and what becomes of them"),
    ],
};

const POLICY: Shape =
    Either(&[Word(&["null", "omit", "reject", "skip"], &[]), Table(&POLICY_DEFAULT)]);

static POLICY_DEFAULT: Section = Section {
    title: "a policy",
    keys: &[key("default", Any, Required, "the value to send instead")],
};

static FIELD: Section = Section {
    title: "a field",
    keys: &[
        key("column", Text, None, "the column, as SQL would quote it"),
        key("value", Any, None, "always this value"),
        key(
            "as",
            Word(&["string", "integer", "number", "boolean", "date", "timestamp", "json"], &[]),
            None,
            "what the value becomes; it is never bent to fit",
        ),
        key(
            "required",
            Boolean,
            Toml("false"),
            "a NULL rejects the event, unless `on_null` says otherwise",
        ),
        key(
            "on_null",
            POLICY,
            None,
            "the value is NULL; `null` unless set, `reject` where `required`",
        ),
        key("on_missing", POLICY, Toml("\"reject\""), "the table has no such column any more"),
        key("on_invalid", POLICY, Toml("\"reject\""), "the value can't become `as` without loss"),
        key(
            "on_unchanged",
            Word(&["omit", "reject"], &[]),
            Toml("\"omit\""),
            "Postgres did not send it (unchanged TOAST, or a delete without it)",
        ),
        later("expr", "a CEL expression over the row"),
        later("check", "what a value must be"),
        later("lookup", "a table of values"),
        later("on_miss", "the value is not in `lookup`"),
        later("mask", "hides a value"),
    ],
};

pub(super) static SINK: Section = Section {
    title: "a sink",
    keys: &[
        key(
            "format",
            Word(&["walgate", "mapped"], &["debezium", "cloudevents"]),
            Toml("\"walgate\""),
            "the whole event, or the mapping's output alone",
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
        key("http", Table(&kinds::HTTP), None, "kind: requests to an HTTP endpoint"),
        key(
            "file",
            Table(&kinds::FILE),
            None,
            "kind: JSON lines in a file, on disk before they are acknowledged",
        ),
        key("stdout", Table(&kinds::STDOUT), None, "kind: JSON lines on standard output"),
        key(
            "poll",
            Table(&kinds::POLL),
            None,
            "kind: the receiver fetches events from the admin listener",
        ),
        later("kafka", "kind: Apache Kafka"),
        later("nats", "kind: NATS JetStream"),
        later("amqp", "kind: RabbitMQ"),
        later("redis", "kind: Redis streams"),
        later("postgres", "kind: PostgreSQL tables"),
        later("clickhouse", "kind: ClickHouse"),
        later("snowflake", "kind: Snowflake"),
        later("bigquery", "kind: BigQuery"),
        later("salesforce", "kind: Salesforce"),
        later("hubspot", "kind: HubSpot"),
        later("s3", "kind: object storage"),
        later("sqs", "kind: Amazon SQS"),
        later("kinesis", "kind: Amazon Kinesis"),
        later("pubsub", "kind: Google Pub/Sub"),
        later("elasticsearch", "kind: Elasticsearch, OpenSearch"),
    ],
};

/// The kinds of sinks that this version has, by their table.
pub(super) const KINDS: &[&str] = &["http", "file", "stdout", "poll"];

static BATCH: Section = Section {
    title: "batch",
    keys: &[
        key("max_events", Integer(1, 100_000), None, "1 for http, else 500"),
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

pub(super) static ROUTE: Section = Section {
    title: "a route",
    keys: &[
        key("name", Text, Required, "unlike any other's"),
        key("table", Text, None, "`schema.table` as SQL would quote it; globs allowed: `sales.*`"),
        key(
            "message",
            Text,
            None,
            "instead of `table`: a prefix of logical messages, glob allowed",
        ),
        key(
            "on",
            List(&Word(&["insert", "update", "delete", "read", "truncate"], &[])),
            Toml("[\"insert\", \"update\", \"delete\", \"read\"]"),
            "the operations it takes",
        ),
        key("mapping", Text, None, "a mapping's name; every column as it is unless set"),
        key(
            "key",
            List(&Text),
            None,
            "columns of order and identity; primary key, else replica identity, else none unless set",
        ),
        key(
            "on_delete",
            Either(&[Word(&["send", "ignore"], &[]), Table(&ON_DELETE)]),
            Toml("\"send\""),
            "a delete is sent, ignored, or sent as an update with these fields: `{ set = { deleted = true } }`",
        ),
        key(
            "start",
            Word(&["load", "now", "journal"], &[]),
            Toml("\"load\""),
            "where a new route begins: with the rows that are there, with the next change, or as far back as the journal goes",
        ),
        key(
            "on_schema_change",
            Word(&["continue", "hold"], &[]),
            Toml("\"continue\""),
            "when a table changes its columns: go on, or keep this route's events in the journal until `walgate route release`",
        ),
        key(
            "on_leave",
            Word(&["skip"], &["delete"]),
            Toml("\"skip\""),
            "an update that leaves `where`",
        ),
        key(
            "sink",
            Text,
            Required,
            "a sink's name; the first route of a sink that fits takes a change",
        ),
        later("where", "a CEL expression over the row"),
        later("on_where_error", "`where` can't be computed"),
        later("columns_changed", "only updates that change one of these"),
        key(
            "outbox",
            Table(&OUTBOX),
            None,
            "the table, or the JSON of the messages, is an outbox: its payloads are sent, and only inserts; `{}` for the names below",
        ),
    ],
};

static OUTBOX: Section = Section {
    title: "an outbox",
    keys: &[
        key("id", Text, Toml("\"id\""), "the column, or member of a message's JSON, of this"),
        key("aggregate_type", Text, Toml("\"aggregate_type\""), "what kind of thing it is about"),
        key(
            "aggregate_id",
            Text,
            Toml("\"aggregate_id\""),
            "which one: the key of the event, so that what is of one is sent in order",
        ),
        key("type", Text, Toml("\"type\""), "what happened"),
        key("payload", Text, Toml("\"payload\""), "what is sent"),
        key(
            "headers",
            Text,
            None,
            "an object of headers for the sink; `headers`, where there is one, unless set",
        ),
    ],
};

static ON_DELETE: Section = Section {
    title: "on_delete",
    keys: &[key("set", Values, Required, "fields of the update that is sent instead")],
};
