//! The `debezium` format beside what Debezium's own engine makes of the same changes.

use std::fs;

use serde_json::{Map, Value, json};
use url::Url;
use walgate::demo::cluster::Cluster;

use super::Python;
use crate::support::receiver::Receiver;
use crate::support::road::{PATIENCE, Road, http, route};

const SCHEMA: &str = "
    CREATE EXTENSION hstore;
    CREATE TABLE t (
        id int PRIMARY KEY, big bigint, price numeric(10,2), many numeric, d double precision,
        r real, b bool, s text, c char(4), day date, ts timestamp, tz timestamptz, j jsonb,
        raw bytea, a int[], words text[], u uuid, h hstore, ip inet, span int4range, o oid,
        large text, large_raw bytea, large_words text[], large_numbers int[], large_j jsonb
    );
    CREATE TABLE f (id int PRIMARY KEY, v text, large text);
    ALTER TABLE f REPLICA IDENTITY FULL;
    ALTER TABLE f ALTER large SET STORAGE EXTERNAL;
    ALTER TABLE t ALTER large SET STORAGE EXTERNAL, ALTER large_raw SET STORAGE EXTERNAL,
        ALTER large_words SET STORAGE EXTERNAL, ALTER large_numbers SET STORAGE EXTERNAL,
        ALTER large_j SET STORAGE EXTERNAL";

/// Debezium writes numeric and JSON as strings.
const MAPPING: &str = "[mapping.m]\nversion = 1\nrest = \"include\"\n[mapping.m.fields]\n\
    price = { column = \"price\", as = \"string\" }\nmany = { column = \"many\", as = \"string\" }\n\
    j = { column = \"j\", as = \"string\" }\nlarge_j = { column = \"large_j\", as = \"string\" }\n";

const CHANGES: [&str; 8] = [
    r#"INSERT INTO t SELECT 1, 9007199254740993, 12.50, 1e20, 1.5, 0.1, true, 'x"y', 'ab',
        '2026-11-23', '2026-11-23 12:00:00.123456', '2026-11-23 12:00:00.25+02', '{"a": 1.50}',
        '\x00ff', '{1,NULL,3}', '{a,"b c"}', '0193ad2e-0000-7000-8000-000000000001',
        'a=>1, b=>NULL', '10.0.0.1/24', '[1,5)', 77, x, x::bytea, ARRAY[x], array_fill(1, '{3000}'),
        jsonb_build_array(x) FROM repeat('x', 9000) x"#,
    "BEGIN; INSERT INTO f VALUES (1, 'a', repeat('y', 9000)), (2, NULL, '');
        UPDATE t SET s = 'new', b = NULL; UPDATE f SET v = 'b' WHERE id = 1;
        SELECT pg_logical_emit_message(true, 'hello', 'café'); COMMIT",
    "UPDATE t SET id = 2, j = 'null'",
    r"SELECT pg_logical_emit_message(true, 'bytes', '\xff00'::bytea)",
    "SELECT pg_logical_emit_message(false, 'loose', 'x')",
    "INSERT INTO t (id, j) VALUES (3, NULL)",
    "BEGIN; DELETE FROM t WHERE id = 2; DELETE FROM f WHERE id = 1; TRUNCATE t, f; COMMIT",
    "SELECT pg_logical_emit_message(true, 'end', '')",
];

/// Runs Debezium on its slot up to the message `end`; returns its events.
fn debezium(road: &Road) -> Vec<Value> {
    let url = Url::parse(&road.cluster.url("postgres", "postgres")).unwrap();
    let properties = json!({
        "name": "debezium",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        "database.hostname": url.host_str().unwrap(),
        "database.port": url.port().unwrap(),
        "database.user": "postgres",
        "database.password": "none",
        "database.dbname": "postgres",
        "topic.prefix": "walgate",
        "plugin.name": "pgoutput",
        "slot.name": "debezium",
        "publication.name": "walgate",
        "publication.autocreate.mode": "disabled",
        "snapshot.mode": "no_data",
        "message.prefix.exclude.list": "walgate.*",
        "skipped.operations": "none",
        "provide.transaction.metadata": true,
        "poll.interval.ms": 10,
        "key.converter.schemas.enable": false,
        "value.converter.schemas.enable": false,
        // What corresponds to walgate's forms.
        "decimal.handling.mode": "string",
        "time.precision.mode": "isostring",
        "hstore.handling.mode": "map",
        "interval.handling.mode": "string",
        "include.unknown.datatypes": true,
    });
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("properties"), properties.to_string()).unwrap();
    Python::start("debezium.py", folder.path(), &["properties", "events"]).ends(folder.path());
    let text = fs::read_to_string(folder.path().join("events")).unwrap();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["value"].clone()).collect()
}

/// What Debezium says of an event, made comparable. None: walgate has no such event.
fn theirs(event: &Value) -> Option<Value> {
    // Tombstones, and where transactions begin and end.
    event.get("op")?;
    let mut event = event.clone();
    for row in ["before", "after"] {
        let Some(row) = event.get_mut(row).and_then(Value::as_object_mut) else { continue };
        for (name, value) in row {
            let Some(text) = value.as_str() else { continue };
            match name.as_str() {
                // A day or time without a zone has none here.
                "day" | "ts" => *value = json!(text.trim_end_matches('Z')),
                // A fraction has only the digits that it needs.
                "tz" => {
                    let plain = text.trim_end_matches('Z').trim_end_matches('0');
                    *value = json!(format!("{plain}Z"));
                }
                _ => {}
            }
        }
    }
    Some(event)
}

/// What walgate says, as the events that Debezium makes of it: a changed key is two.
fn ours(event: &Value) -> Vec<Value> {
    let (before, after) = (&event["before"], &event["after"]);
    let moves = event["op"] == "u" && before["id"].is_number() && before["id"] != after["id"];
    if !moves {
        return vec![event.clone()];
    }
    let (mut gone, mut new) = (event.clone(), event.clone());
    (gone["op"], gone["after"]) = (json!("d"), Value::Null);
    (new["op"], new["before"]) = (json!("c"), Value::Null);
    let place = &mut new["transaction"]["total_order"];
    *place = json!(place.as_u64().unwrap() + 1);
    vec![gone, new]
}

/// Takes out what can't be the same, after a look at it.
#[track_caller]
fn compared(theirs: &mut Value, ours: &mut Value) {
    for event in [&mut *theirs, &mut *ours] {
        let members = event.as_object_mut().unwrap();
        // Debezium's is when it saw the change.
        for name in ["ts_ms", "ts_us", "ts_ns"] {
            members.remove(name);
        }
    }
    // Of the change there, of its transaction's commit here.
    let lsn = |event: &Value| event["source"]["lsn"].as_u64().unwrap();
    let is_loose = theirs["source"]["txId"].is_null();
    // A message outside a transaction has that of its last byte here.
    assert!(lsn(theirs) <= lsn(ours) + u64::from(is_loose), "{theirs} and {ours}");
    for source in [&mut theirs["source"], &mut ours["source"]] {
        let source = source.as_object_mut().unwrap();
        for name in ["version", "lsn", "sequence"] {
            assert!(source.remove(name).is_some(), "{name}");
        }
        // Postgres does not tell when a message outside a transaction was written.
        for name in ["ts_ms", "ts_us", "ts_ns"] {
            assert!(source.contains_key(name));
            if is_loose {
                source.remove(name);
            }
        }
    }
    let place = |event: &mut Value| {
        let transaction = event["transaction"].take();
        let id = transaction["id"].as_str().unwrap_or_default();
        (id.split(':').next().unwrap().to_owned(), transaction["total_order"].clone())
    };
    let (theirs_at, ours_at) = (place(theirs), place(ours));
    assert_eq!(theirs_at, ours_at, "transaction and place");
    // What was not sent of an old row is null there, and left out here.
    let sent = ours["before"].as_object().cloned().unwrap_or_default();
    if let Some(row) = theirs["before"].as_object() {
        let (kept, rest): (Map<_, _>, Map<_, _>) =
            row.clone().into_iter().partition(|(name, _)| sent.contains_key(name));
        assert!(rest.values().all(Value::is_null), "{rest:?}");
        theirs["before"] = Value::Object(kept);
    }
}

#[test]
fn what_debezium_makes_of_the_same_changes_is_the_same() {
    let receiver = Receiver::start();
    let on = "on = [\"insert\", \"update\", \"delete\", \"truncate\"]\n";
    let config = format!(
        "{MAPPING}{}{}{on}mapping = \"m\"\n{}{on}[[route]]\nname = \"messages\"\nmessage = \"*\"\nsink = \"far\"\n",
        http("far", &receiver.url("/"), "format = \"debezium\""),
        route("t", "far"),
        route("f", "far"),
    );
    let road = Road::new(Cluster::builder().major(15), SCHEMA, &config);
    road.sql("SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')");
    for change in CHANGES {
        road.sql(change);
    }
    let is_end = |event: &Value| event["message"]["prefix"] == "end";
    receiver.wait("the end", PATIENCE, |journal| journal.events().iter().any(|e| is_end(&e.0)));
    let journal = receiver.journal();
    assert_eq!(journal.requests[0].header("content-type"), Some("application/json"));
    let ours: Vec<Value> = journal.events().iter().flat_map(|event| ours(&event.0)).collect();
    let theirs: Vec<Value> = debezium(&road).iter().filter_map(theirs).collect();
    let ops = |events: &[Value]| -> Vec<String> {
        events.iter().map(|event| event["op"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ops(&ours), ops(&theirs));
    assert_eq!(ops(&ours).concat(), "cccuumdcmmcddttm");
    for (mut theirs, mut ours) in theirs.into_iter().zip(ours) {
        compared(&mut theirs, &mut ours);
        assert_eq!(theirs, ours);
    }
}
