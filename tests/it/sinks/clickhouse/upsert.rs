//! `mode = "upsert"`: the newest version of each row is the row.

use super::{Set, Warehouse};
use crate::sinks::clickhouse::server::PASSWORD;
use crate::sinks::postgres::upsert::{CHANGES, SCHEMA};
use crate::sinks::postgres::{A_WHILE, Writers};
use crate::support::process::pause;

/// Every update has the whole row.
const FULL: &str = "ALTER TABLE t REPLICA IDENTITY FULL";

const FAR_SCHEMA: &str = r#"
    CREATE TABLE t (id Int64, v Nullable(String), n Nullable(String), big Nullable(String),
        _version UInt128, _deleted UInt8) ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id;
    CREATE TABLE u (id Int64, v Nullable(String), _version UInt128, _deleted UInt8)
        ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id;
    CREATE TABLE "Two keys" (a Int32, b String, v Nullable(String), _version UInt128, _deleted UInt8)
        ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY (b, a)"#;

#[track_caller]
fn start() -> Warehouse {
    let schema = format!("{SCHEMA}; {FULL}");
    Warehouse::start(Set {
        schema: &schema,
        far_schema: FAR_SCHEMA,
        route: "on = [\"insert\", \"update\", \"delete\", \"read\", \"truncate\"]",
        ..Set::default()
    })
}

#[track_caller]
fn are_equal(warehouse: &Warehouse) {
    warehouse.road.sql("INSERT INTO u VALUES (0, 'last') ON CONFLICT DO NOTHING");
    for (table, columns, order) in [
        ("t", ["id::text", "v", "n::text", "big"].as_slice(), "id"),
        ("u", &["id::text", "v"], "id"),
        ("\"Two keys\"", &["a::text", "b", "v"], "b COLLATE \"C\", a"),
    ] {
        let nulls: Vec<_> =
            columns.iter().map(|column| format!("coalesce({column}, '\\N')")).collect();
        let here = format!(
            "SELECT string_agg(concat_ws(E'\\t', {}), E'\\n' ORDER BY {order}) FROM {table}",
            nulls.join(", ")
        );
        let bare = columns.join(", ").replace("::text", "");
        let order = order.replace(" COLLATE \"C\"", "");
        let there = format!("SELECT {bare} FROM {table} FINAL ORDER BY {order}");
        warehouse.is_equal(&here, &there);
    }
    assert_eq!(warehouse.road.dead_letters(&["--state", "dead"]), Vec::<serde_json::Value>::new());
}

/// Loads, changes of every kind at once, and a server that is killed in the middle.
#[test]
fn tables_under_load_are_the_same_there() {
    let mut warehouse = start();
    let writers = Writers::start(&warehouse.road, 3, CHANGES);
    for _ in 0..2 {
        pause(A_WHILE);
        warehouse.far.kill();
        pause(A_WHILE);
        warehouse.far.listen(PASSWORD);
    }
    writers.end();
    are_equal(&warehouse);
}

#[test]
fn they_are_the_same_after_walgate_was_killed_on_the_way() {
    let mut warehouse = start();
    let writers = Writers::start(&warehouse.road, 3, CHANGES);
    for _ in 0..3 {
        pause(A_WHILE);
        warehouse.road.walgate.kill();
        warehouse.road.until_free();
        warehouse.road.start();
    }
    writers.end();
    are_equal(&warehouse);
}

#[test]
fn values_arrive_as_they_are() {
    let warehouse = Warehouse::start(Set {
        schema: "
            CREATE TABLE v (id bigint PRIMARY KEY, i smallint, big bigint, n numeric(38, 10),
                f double precision, b boolean, s text, d date, at timestamptz, local timestamp,
                u uuid, tags int[], doc jsonb, raw bytea);
            INSERT INTO v VALUES
            (1, -32768, 9223372036854775807, 1234567890123456789012345678.0123456789, 1e-300, true,
             E'tab\\t \"quoted\" \\\\ line\\n ü 🚀', '2026-01-02', '2026-01-02 23:30:00.123456-02',
             '1999-12-31 23:59:59.5', 'a81bc81b-dead-4e5d-abff-90865d1e13b1', '{1,NULL,3}',
             '{\"a\": [1, 2.50]}', '\\xdeadbeef'),
            (2, NULL, NULL, NULL, 'NaN', NULL, '', NULL, NULL, NULL, NULL, '{}', 'null', NULL),
            (3, 0, -9223372036854775808, -0.0000000001, 'Infinity', false, NULL, '1900-01-01',
             '1900-01-01 00:00:00Z', '2299-12-31 23:59:59.999999', NULL, '{-1}', '[]', '')",
        far_schema: "
            CREATE TABLE v (id Int64, i Nullable(Int16), big Nullable(Int64),
                n Nullable(Decimal(38, 10)), f Nullable(Float64), b Nullable(Bool),
                s Nullable(String), d Nullable(Date32), at Nullable(DateTime64(6, 'UTC')),
                local Nullable(DateTime64(6, 'UTC')), u Nullable(UUID), tags Array(Nullable(Int32)),
                doc Nullable(String), raw Nullable(String), _version UInt128, _deleted UInt8)
            ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id",
        clickhouse: "table = \"default.{{ table.name }}\"",
        ..Set::default()
    });
    let time = "'YYYY-MM-DD HH24:MI:SS.US'";
    let here = format!(
        "SELECT string_agg(concat_ws('|', id, coalesce(i::text, '~'), coalesce(big::text, '~'),
             coalesce(n::text, '~'), CASE id WHEN 1 THEN '1e-300' WHEN 2 THEN 'nan' ELSE 'inf' END,
             coalesce(b::text, '~'), coalesce(encode(convert_to(s, 'UTF8'), 'hex'), '~'),
             coalesce(d::text, '~'), coalesce(to_char(at AT TIME ZONE 'UTC', {time}), '~'),
             coalesce(to_char(local, {time}), '~'), coalesce(u::text, '~'),
             replace(tags::text, 'NULL', '~'), CASE id WHEN 1 THEN '{{\"a\":[1,2.50]}}' WHEN 2 THEN '~' ELSE '[]' END,
             coalesce(encode(raw, 'base64'), '~')), E'\\n' ORDER BY id) FROM v"
    );
    let there = "SELECT concat(id, '|', ifNull(toString(i), '~'), '|', ifNull(toString(big), '~'), '|',
             ifNull(toString(n), '~'), '|', toString(f), '|', ifNull(toString(b), '~'), '|',
             ifNull(lower(hex(s)), '~'), '|', ifNull(toString(d), '~'), '|',
             ifNull(toString(at), '~'), '|', ifNull(toString(local), '~'), '|',
             ifNull(toString(u), '~'), '|',
             '{' || arrayStringConcat(arrayMap(x -> ifNull(toString(x), '~'), tags), ',') || '}', '|',
             replaceAll(ifNull(doc, '~'), ' ', ''), '|', ifNull(raw, '~'))
         FROM v FINAL ORDER BY id SETTINGS output_format_decimal_trailing_zeros = 1";
    warehouse.is_equal(&here, there);
}
