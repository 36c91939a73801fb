//! `walgate test`: rows in the config and what becomes of them, and tests made of real events.

use std::process::Output;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::support::process::{Walgate, eventually};
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, http};

const SINK: &str = "
[source]
url = \"postgres://nobody@127.0.0.1:1/nowhere\"
[sink.out]
[sink.out.stdout]
[[route]]
name = \"customers\"
table = \"public.customers\"
mapping = \"contact\"
sink = \"out\"
";

const CONTACT: &str = r#"
[mapping.contact]
version = 3

[mapping.contact.fields]
external_id = { column = "id", as = "string" }
email       = { column = "email", required = true }
country     = { column = "country_code", on_null = { default = "US" } }
signed_up   = { column = "created_at", as = "date", on_invalid = "skip" }
"address.city" = { column = "city" }
bio         = { column = "bio" }
price       = { column = "price", on_missing = "omit" }
source      = { value = "shop" }
"#;

/// Each passes.
const RIGHT: &str = r#"
[[mapping.contact.test]]
name = "a null country gets the default"
row = { id = 1, email = "a@b.co", created_at = "2026-01-02T03:04:05Z" }
expect = { external_id = "1", email = "a@b.co", country = "US", signed_up = "2026-01-02", source = "shop" }

[[mapping.contact.test]]
name = "all that is sent"
row = { id = 1, email = "a@b.co", country_code = "NO", created_at = 2026-01-02T23:30:00-01:00, city = "Oslo", price = 12.50, bio = "x" }
expect = { external_id = "1", email = "a@b.co", country = "NO", signed_up = 2026-01-03, address = { city = "Oslo" }, price = 12.5, bio = "x", source = "shop" }
exact = true

[[mapping.contact.test]]
name = "no mail, no contact"
row = { id = 1 }
reject = "email"

[[mapping.contact.test]]
name = "and the reason"
row = { id = 1 }
reject = { field = "email", reason = "is NULL" }

[[mapping.contact.test]]
name = "no day, no event"
row = { id = 1, email = "a@b.co", created_at = "soon" }
skip = "signed_up"

[[mapping.contact.test]]
name = "an update leaves out what did not change"
row = { id = 1, email = "a@b.co" }
unchanged = ["bio"]
missing = ["price"]
null = ["address.city", "signed_up"]
absent = ["bio", "price"]

[[mapping.contact.test]]
name = "with the whole old row it is known"
row = { id = 1, email = "a@b.co" }
before = { id = 1, bio = "old" }
identity = "full"
unchanged = ["bio"]
expect = { bio = "old" }

[[mapping.contact.test]]
name = "a delete brings its key alone"
op = "delete"
before = { id = 7 }
expect = { external_id = "7", source = "shop" }
exact = true

[[mapping.contact.test]]
name = "digits stay, however many"
row = { id = 1, email = "a@b.co", price = 123456789012345678901234567890.12345678901234567890 }
expect = { price = 123456789012345678901234567890.12345678901234567890 }
"#;

/// None passes.
const WRONG: &str = r#"
[[mapping.contact.test]]
name = "another value"
row = { id = 1, email = "a@b.co", price = 1.5 }
expect = { external_id = 1, price = 1.51, "address.zip" = "0150" }
absent = ["source"]

[[mapping.contact.test]]
name = "rejected after all"
row = { id = 1 }
expect = { external_id = "1" }

[[mapping.contact.test]]
name = "sent after all"
row = { id = 1, email = "a@b.co", city = "Oslo" }
reject = "email"

[[mapping.contact.test]]
name = "more than is named"
op = "delete"
before = { id = 7 }
expect = { external_id = "7" }
exact = true
"#;

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs `walgate test --json` and returns its exit code with the document.
#[track_caller]
fn test(walgate: &Walgate) -> (i32, Value) {
    let output = walgate.call(&["test", "--json"]);
    let document = serde_json::from_slice(&output.stdout);
    (output.status.code().unwrap(), document.unwrap_or_else(|_| panic!("{}", err(&output))))
}

#[test]
fn every_test_that_is_right_passes_without_a_database() {
    let walgate = Walgate::new(&format!("{SINK}{CONTACT}{RIGHT}"));
    let (code, document) = test(&walgate);
    let failed: Vec<&Value> =
        document["tests"].as_array().unwrap().iter().filter(|test| test["ok"] != true).collect();
    assert_eq!(failed, Vec::<&Value>::new());
    assert_eq!((code, &document["passed"], &document["failed"]), (0, &json!(9), &json!(0)));
    assert_eq!(
        document["tests"][0],
        json!({ "mapping": "contact", "name": "a null country gets the default", "ok": true, "diff": [] })
    );
    let output = walgate.call(&["test"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(out(&output).contains("ok   contact: no mail, no contact\n"), "{}", out(&output));
    assert!(out(&output).ends_with("9 passed, 0 failed\n"));
    assert_eq!(out(&walgate.call(&["test", "-q"])), "");
}

#[test]
fn a_test_that_fails_says_in_what() {
    let walgate = Walgate::new(&format!("{SINK}{CONTACT}{RIGHT}{WRONG}"));
    let (code, document) = test(&walgate);
    assert_eq!((code, &document["passed"], &document["failed"]), (1, &json!(9), &json!(4)));
    let diff = |index: usize| document["tests"][9 + index]["diff"].clone();
    assert_eq!(
        diff(0),
        json!([
            { "field": "external_id", "expected": 1, "found": "1" },
            { "field": "price", "expected": 1.51, "found": 1.5 },
            { "field": "address.zip", "expected": "0150" },
            { "field": "source", "found": "shop" },
        ])
    );
    assert_eq!(
        diff(1),
        json!([{ "field": null, "expected": "an event", "found": "rejected: field \"email\": is NULL" }])
    );
    assert_eq!(diff(2)[0]["expected"], "a rejection that names field \"email\"");
    assert!(diff(2)[0]["found"].as_str().unwrap().starts_with("sent: {"));
    assert_eq!(diff(3), json!([{ "field": "source", "found": "shop" }]));
    let output = walgate.call(&["test", "-q"]);
    assert_eq!(output.status.code(), Some(1));
    let said = "\
FAIL contact: another value
       external_id: expected 1, found \"1\"
       price: expected 1.51, found 1.5
       address.zip: missing, expected \"0150\"
       source: unexpected, found \"shop\"
FAIL contact: rejected after all
       expected an event, but it is rejected: field \"email\": is NULL
";
    assert!(out(&output).starts_with(said), "{}", out(&output));
}

#[test]
fn without_tests_there_is_nothing_to_fail_and_wrong_ones_are_wrong_config() {
    let walgate = Walgate::new(&format!("{SINK}{CONTACT}"));
    let output = walgate.call(&["test"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), ""));
    assert!(err(&output).contains("add [[mapping.NAME.test]]"));
    walgate.configure(&format!("{SINK}{CONTACT}[[mapping.contact.test]]\nname = \"x\"\n"));
    let output = walgate.call(&["test"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("walgate.toml:24:1: a test expects something"),
        "{}",
        err(&output)
    );
    let output = walgate.call(&["check", "--offline"]);
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
}

const TABLE: &str = "
    CREATE TABLE t (id bigint PRIMARY KEY, v text, n numeric, f float8, b bool, d date,
        ts timestamp, tz timestamptz, j jsonb, y bytea, a int[], bio text, \"Big Name\" text);
    ALTER TABLE t ALTER bio SET STORAGE EXTERNAL";

const MAPPED: &str = r#"
[[route]]
name = "t"
table = "public.t"
mapping = "row"
sink = "far"
start = "now"

[mapping.row]
version = 1
rest = "include"
[mapping.row.fields]
"key.id" = { column = "id", as = "string" }
v = { column = "v", required = true }
"#;

/// A road where `t` goes through a mapping that refuses rows without `v`.
fn road(receiver: &Receiver) -> (Road, String) {
    let config = format!("{}{MAPPED}", http("far", &receiver.url("/"), ""));
    (Road::new(Cluster::builder(), TABLE, &config), config)
}

/// Asks for a test, adds it to the config and runs it.
#[track_caller]
fn pasted(road: &Road, config: &mut String, args: &[&str]) -> String {
    let output = road.walgate.call(&[&["test"], args].concat());
    assert!(output.status.success(), "{}", err(&output));
    let block = out(&output);
    config.push_str(&block);
    road.configure(config);
    let (code, document) = test(&road.walgate);
    assert_eq!(code, 0, "{block}\n{document:#}");
    assert_eq!(document["passed"], json!(config.matches("[[mapping.row.test]]").count()));
    block
}

#[test]
fn a_test_made_of_a_dead_letter_passes_as_it_is() {
    let receiver = Receiver::start();
    let (road, mut config) = road(&receiver);
    road.sql("INSERT INTO t (id) VALUES (1)");
    eventually("it is set aside", PATIENCE, || road.dead_letters(&[]).len() == 1);
    receiver.when(|event| event.0["data"]["v"] == "bad", Reply::status(422));
    road.sql(
        "INSERT INTO t VALUES (2, 'bad', 12.50, 0.1, true, '2026-01-02', '2026-01-02 03:04:05.5',
         '2026-01-02 03:04:05+02', '{\"a\": [1.50, null], \"b\": \"${X}\"}', '\\x00ff', '{1,NULL}',
         E'it''s \"q\"\\n', 'x')",
    );
    eventually("both are set aside", PATIENCE, || road.dead_letters(&[]).len() == 2);
    let ids: Vec<String> = road.dead_letters(&[]).iter().map(|it| it["id"].to_string()).collect();
    let block = pasted(&road, &mut config, &["--from-dlq", &ids[0]]);
    assert!(block.contains("\nreject = \"v\"\n"), "{block}");
    let block = pasted(&road, &mut config, &["--from-dlq", &ids[1]]);
    for part in [
        "op = \"insert\"\ntable = \"public.t\"\n",
        "n = 12.50",
        "d = 2026-01-02,",
        "ts = 2026-01-02T03:04:05.5,",
        "tz = 2026-01-02T01:04:05Z,",
        "f = \"double precision\"",
        "\"Big Name\" = \"x\"",
        "expect = { \"Big Name\" = \"x\", ",
        "\"key.id\" = \"2\"",
    ] {
        assert!(block.contains(part), "{part}\n{block}");
    }
    let output = road.walgate.call(&["test", "--from-dlq", "99"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("there is no dead letter 99"));
}

#[test]
fn a_test_made_of_the_journal_passes_as_it_is() {
    let receiver = Receiver::start();
    let (mut road, mut config) = road(&receiver);
    road.sql("INSERT INTO t (id, v, bio) VALUES (1, 'a', repeat('long ', 2000)), (2, 'b', 'c')");
    road.sql("UPDATE t SET v = 'b' WHERE id = 1");
    road.confirms(&road.wal_end());
    let of = |id: u32| format!("{{\"id\": {id}}}");
    let one = of(1);
    let by_key = ["--from-journal", "--table", "public.t", "--key", one.as_str()];
    let block = pasted(&road, &mut config, &by_key);
    assert!(block.contains("op = \"update\""), "{block}");
    assert!(block.contains("unchanged = [\"bio\"]"), "{block}");
    assert!(!block.contains("long"), "{block}");
    // The same again has another name.
    pasted(&road, &mut config, &by_key);

    road.sql("ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET v = 'c' WHERE id = 2");
    road.confirms(&road.wal_end());
    let events = receiver.journal().events();
    let last = events.last().unwrap().0["id"].as_str().unwrap().to_owned();
    let block = pasted(&road, &mut config, &["--from-journal", &last, "--sink", "far"]);
    assert!(block.contains("identity = \"full\"") && block.contains("before = { "), "{block}");
    road.sql("DELETE FROM t WHERE id = 2; DELETE FROM t WHERE id = 1");
    road.confirms(&road.wal_end());
    // Without an instance too.
    road.stop();
    let block = pasted(&road, &mut config, &by_key);
    assert!(block.contains("op = \"delete\""), "{block}");
    let output =
        road.walgate.call(&["test", "--from-journal", "--table", "public.t", "--key", &of(9)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("the journal has no event of public.t"), "{}", err(&output));
    let output = road.walgate.call(&["test", "--from-journal"]);
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
}

const MASKED: &str = r#"
[[route]]
name = "t"
table = "public.t"
mapping = "row"
sink = "far"
start = "now"

[mapping.row]
version = 1
[mapping.row.fields]
id = { column = "id" }
tier = { column = "v", lookup = { g = "gold", s = "silver", b = "bronze" }, mask = "redact" }
ssn = { expr = 'row.j.ssn', mask = "last4" }
bio = { column = "bio", required = true }
"#;

/// A made-up value was none of a lookup's keys, and of JSON nothing was left: the test told of
/// another fate than the event had.
#[test]
fn a_made_up_value_keeps_the_fate_of_the_row() {
    let receiver = Receiver::start();
    let mut config = format!("{}{MASKED}", http("far", &receiver.url("/"), ""));
    let road = Road::new(Cluster::builder(), TABLE, &config);
    road.sql(
        "INSERT INTO t (id, v, j, bio) VALUES
             (1, 'g', '{\"ssn\": \"123-45-6789\", \"n\": 42}', 'x'),
             (2, 's', '{\"ssn\": \"123-45-6789\"}', NULL),
             (3, 'gold', '{\"ssn\": \"123-45-6789\"}', 'x')",
    );
    eventually("two are set aside", PATIENCE, || road.dead_letters(&[]).len() == 2);
    receiver.wait("the other", PATIENCE, |journal| journal.events_processed == 1);
    road.confirms(&road.wal_end());
    let one = ["--from-journal", "--table", "public.t", "--key", "{\"id\": 1}"];
    let block = pasted(&road, &mut config, &one);
    assert!(block.contains("v = \"s\"") || block.contains("v = \"b\""), "{block}");
    assert!(block.contains("ssn = \"***1111\"") && block.contains("\"n\": 11"), "{block}");
    assert!(block.contains("# v is made up") && !block.contains("another fate"), "{block}");
    assert!(!block.contains("6789"), "{block}");
    let letters = road.dead_letters(&[]);
    for (letter, fate) in [(&letters[0], "reject = \"bio\""), (&letters[1], "reject = \"tier\"")] {
        let block = pasted(&road, &mut config, &["--from-dlq", &letter["id"].to_string()]);
        assert!(block.contains(fate) && !block.contains("6789"), "{block}");
    }
}
