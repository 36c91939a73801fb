//! `walgate map` shows what the pipeline would send, and why.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use walgate::demo::cluster::{Cluster, Stop};

use super::support::receiver::Receiver;
use super::support::road::{PATIENCE, Road, http, route};

const CUSTOMERS: &str = "
    CREATE TABLE customers (id bigint PRIMARY KEY, email text, country char(2), joined text);
    CREATE TABLE sales (id int PRIMARY KEY, whole text);
    ALTER TABLE sales REPLICA IDENTITY FULL;
    CREATE TABLE loose (a int)";

const CONFIG: &str = r#"
[mapping.contact]
version = 3
[mapping.contact.fields]
external_id = { column = "id", as = "string" }
email = { column = "email", required = true }
"address.country" = { column = "country", on_null = { default = "US" } }
joined = { column = "joined", as = "date", on_invalid = "skip" }
origin = { value = "shop" }

[[route]]
name = "customers-to-far"
table = "public.customers"
mapping = "contact"
sink = "far"
start = "now"

[[route]]
name = "kept"
table = "public.sales"
on = ["insert", "delete"]
sink = "far"
start = "now"

[[route]]
name = "shadowed"
table = "public.sales"
sink = "far"
start = "now"

[[route]]
name = "everything"
table = "public.*"
on_delete = "ignore"
sink = "near"
start = "now"
"#;

/// A server with the tables above and a config for them; walgate has run and stopped.
fn road(receiver: &Receiver) -> Road {
    let sinks = [
        http("far", &receiver.url("/"), ""),
        http("near", &receiver.url("/"), "format = \"mapped\""),
    ];
    let mut road =
        Road::new(Cluster::builder().major(15), CUSTOMERS, &format!("{}{CONFIG}", sinks.concat()));
    road.stop();
    road
}

fn map(road: &Road, route: &str, args: &[&str]) -> Output {
    road.walgate.call(&[&["map", "--route", route], args].concat())
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn documents(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The exit code, what was printed, and a part of what was said.
#[track_caller]
fn check(output: &Output, code: i32, printed: &[Value], said: &str) {
    let err = err(output);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert_eq!(documents(output), printed, "{err}");
    assert!(err.contains(said), "not said: {said}\n{err}");
}

#[test]
fn a_row_is_shown_as_it_would_be_sent_and_why() {
    let receiver = Receiver::start();
    let road = road(&receiver);
    let row = r#"{"id": 9007199254740993, "email": "a@b.co", "joined": "2026-01-02"}"#;
    let output = map(&road, "customers-to-far", &["--row", row]);
    let [event] = documents(&output).try_into().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(event["op"], "insert");
    assert_eq!(event["key"].to_string(), r#"{"id":9007199254740993}"#);
    let data = json!({
        "external_id": "9007199254740993", "email": "a@b.co", "address": { "country": "US" },
        "joined": "2026-01-02", "origin": "shop",
    });
    assert_eq!(event["data"], data);
    assert_eq!(event["mapping"], json!({ "name": "contact", "version": 3 }));
    assert_eq!(event["id"], "00000000-0000000000000000-00000000");
    assert_eq!(event["commit"]["lsn"], "0/0");
    let system = road.value("SELECT system_identifier FROM pg_control_system()");
    assert_eq!(event["source"]["system"], system.as_str());
    let said = err(&output);
    for part in [
        "mapping contact version 3",
        "external_id      column id, as string",
        "column country is NULL: the default (on_null = { default = \"US\" })",
        "origin           always the same value",
    ] {
        assert!(said.contains(part), "not said: {part}\n{said}");
    }
    assert_eq!(receiver.journal().requests.len(), 0);
}

#[test]
fn what_a_policy_refuses_is_printed_with_its_reason() {
    let receiver = Receiver::start();
    let road = road(&receiver);
    let to_far = |args: &[&str]| map(&road, "customers-to-far", args);
    let rejected = json!({ "rejected": { "field": "email", "reason": "is NULL" } });
    check(
        &to_far(&["--row", r#"{"id": 1}"#]),
        5,
        &[rejected],
        "rejected, as the field is required",
    );
    let row = r#"{"id": 1, "email": "e", "joined": "soon"}"#;
    let why = "field `joined`: can't become `date` without loss";
    check(&to_far(&["--row", row]), 0, &[json!({ "skipped": why })], "on_invalid = \"skip\"");
    let why = "the route ignores deletes";
    let output =
        map(&road, "everything", &["--table", "public.sales", "--op", "delete", "--row", "{}"]);
    check(&output, 0, &[json!({ "skipped": why })], why);
    let why = "route \"kept\" takes it: it stands before this one in the config";
    let output = map(&road, "shadowed", &["--row", "{}"]);
    check(&output, 0, &[json!({ "skipped": why })], why);
    let why = "route \"shadowed\" takes it: it stands before this one in the config";
    let output = map(&road, "kept", &["--op", "update", "--row", "{}"]);
    check(&output, 0, &[json!({ "skipped": why })], "skipped");
}

#[test]
fn a_delete_brings_the_key_or_the_whole_row() {
    let receiver = Receiver::start();
    let road = road(&receiver);
    let row = r#"{"id": 7, "email": "a@b.co"}"#;
    let output = map(&road, "customers-to-far", &["--op", "delete", "--row", row]);
    let [event] = documents(&output).try_into().unwrap();
    assert_eq!((&event["op"], &event["key"]), (&json!("delete"), &json!({ "id": 7 })));
    assert_eq!(event["data"], json!({ "external_id": "7", "origin": "shop" }));
    let output = map(&road, "kept", &["--op", "delete", "--row", r#"{"id": 7, "whole": "row"}"#]);
    let [event] = documents(&output).try_into().unwrap();
    assert_eq!(event["data"], json!({ "id": 7, "whole": "row" }));
    let everything = ["--table", "public.loose", "--op", "update", "--row", r#"{"a": 1}"#];
    let output = map(&road, "everything", &everything);
    check(&output, 0, &documents(&output), "the old row is not known here");
    assert_eq!(documents(&output), [json!({ "a": 1 })], "the sink gets the row alone");
}

#[test]
fn without_a_row_a_few_of_the_table_are_shown() {
    let receiver = Receiver::start();
    let road = road(&receiver);
    let output = map(&road, "customers-to-far", &[]);
    check(&output, 0, &[], "public.customers has no row");
    road.sql("INSERT INTO customers SELECT g, 'a@b.co', 'NO', NULL FROM generate_series(1, 9) g");
    let output = map(&road, "customers-to-far", &["--op", "read", "-q"]);
    let events = documents(&output);
    assert_eq!((events.len(), err(&output).as_str()), (5, ""));
    assert!(events.iter().all(|event| event["op"] == "read" && event["commit"]["xid"].is_null()));
    road.sql("UPDATE customers SET email = NULL");
    let output = map(&road, "customers-to-far", &[]);
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(documents(&output).len(), 5);
}

#[test]
fn wrong_usage_says_what_was_meant() {
    let receiver = Receiver::start();
    let mut road = road(&receiver);
    let to_far = |row: &str| map(&road, "customers-to-far", &["--row", row]);
    check(&map(&road, "customer-to-far", &[]), 2, &[], "did you mean \"customers-to-far\"?");
    check(&map(&road, "x", &[]), 2, &[], "the config has customers-to-far, kept, shadowed");
    check(&to_far(r#"{"emails": 1}"#), 2, &[], "has no column \"emails\"; did you mean \"email\"?");
    check(&to_far(r#"{"id": "one"}"#), 2, &[], "invalid input syntax for type bigint");
    check(&to_far("[1]"), 2, &[], "--row is no JSON object");
    check(&map(&road, "everything", &[]), 2, &[], "say which with --table: public.customers");
    let other = map(&road, "kept", &["--table", "public.loose"]);
    check(&other, 2, &[], "route \"kept\" takes public.sales, not public.loose");
    road.stop_server(Stop::Fast, PATIENCE);
    let unreachable = map(&road, "customers-to-far", &["--row", "{}"]);
    check(&unreachable, 1, &[], "cannot reach");
}

#[test]
fn a_row_may_come_from_a_pipe() {
    let receiver = Receiver::start();
    let road = road(&receiver);
    let mut command = Command::new(env!("CARGO_BIN_EXE_walgate"));
    command.current_dir(road.walgate.folder());
    command.args(["map", "--route", "kept", "--row", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"id\": 1, \"whole\": \"it's a \\\\ \"}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(documents(&output)[0]["data"], json!({ "id": 1, "whole": "it's a \\ " }));
}

#[test]
fn it_shows_what_the_pipeline_delivers() {
    let schema = r#"
        CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, "B c" text);
        CREATE DOMAIN plz AS char(5) CHECK (VALUE > '0');
        CREATE TABLE t (id int PRIMARY KEY, b bool, c char(5), d plz, n numeric(10,2), f float8,
            j json, jb jsonb, y bytea, ts timestamp, tz timestamptz, i inet, iv interval,
            a int[], m mood[], p pair, ps pair[], q int4range, g int GENERATED ALWAYS AS (id * 2) STORED,
            x xml, u uuid, mo money, e text)"#;
    for major in [15, 18] {
        let receiver = Receiver::start();
        let sinks = format!("{}{}", http("far", &receiver.url("/"), ""), route("t", "far"));
        let road = Road::new(Cluster::builder().major(major), schema, &sinks);
        road.sql(
            r#"INSERT INTO t (id, b, c, d, n, f, j, jb, y, ts, tz, i, iv, a, m, p, ps, q, x, u, mo)
            VALUES (1, true, 'ab', '12', 12.5, 0.1, '{"a": [1.50, null]}', '{"b": null}', '\x00ff',
            '2026-01-02 03:04:05.6', '2026-01-02 03:04:05+02', '10.0.0.1', '1 day 2 hours',
            '{{1,2},{3,4}}', '{sad,ok}', '(1,"x y")', '{"(2,z)"}', '[1,5)', '<a>b</a>',
            '00000000-0000-0000-0000-000000000001', '12.34')"#,
        );
        receiver.wait("the row", PATIENCE, |journal| journal.events_processed == 1);
        let sent = receiver.journal().events()[0].0.clone();
        let row = road.value("SELECT row_to_json(t) FROM t");
        for args in [&["--row", row.as_str()][..], &[]] {
            let output = map(&road, "t-to-far", args);
            let [shown] = documents(&output).try_into().unwrap();
            for part in ["op", "table", "key", "data", "json_nulls", "source", "route"] {
                assert_eq!(shown.get(part), sent.get(part), "{part} on {major}, {args:?}");
            }
        }
    }
}
