//! The `hubspot` sink, against a stand-in of an account.

mod answers;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use walgate::demo::cluster::Cluster;

use super::fakes::hubspot::Account;
use super::fakes::{Fake, Says};
use crate::support::process::eventually;
use crate::support::road::{PATIENCE, Road};
use crate::support::state::loaded;

const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, name text, note text, amount numeric(12, 2), email text);
    ALTER TABLE t ALTER note SET STORAGE EXTERNAL;";

/// The config of a pipeline.
fn config(account: &Fake<Account>) -> String {
    format!(
        r#"
        [mapping.contact]
        version = 1
        [mapping.contact.fields]
        firstname = {{ column = "name" }}
        note = {{ column = "note" }}
        amount = {{ column = "amount" }}
        email = {{ column = "email" }}
        [sink.crm]
        retry = {{ initial = "50ms", max = "200ms", retry_after_max = "300ms" }}
        breaker = {{ cooldown = "100ms" }}
        halt_probe = "100ms"
        [sink.crm.hubspot]
        url = "{}"
        token = "pat-na1-a-token"
        object = "contacts"
        id_property = "external_id"
        delete = "archive"
        [[route]]
        name = "t-to-crm"
        table = "public.t"
        mapping = "contact"
        sink = "crm"
        "#,
        account.url()
    )
}

fn road(account: &Fake<Account>) -> Road {
    let road = Road::quiet(Cluster::builder(), SCHEMA, &config(account));
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road
}

/// The table as the account should have it: every value a text, with all its digits.
fn rows(road: &Road) -> BTreeMap<String, Map<String, Value>> {
    let sql = "SELECT coalesce(json_object_agg(id, json_strip_nulls(json_build_object(
                 'external_id', id::text, 'firstname', name, 'note', note, 'amount', amount::text,
                 'email', email))), '{}') FROM t";
    serde_json::from_str(&road.value(sql)).unwrap()
}

#[track_caller]
fn equal(road: &Road, account: &Fake<Account>) {
    let rows = rows(road);
    eventually("the records are the rows", PATIENCE, || account.state().by_external_id() == rows);
}

#[test]
fn an_accounts_records_are_the_rows_of_the_table() {
    let mut account = Fake::start(Account::default());
    let mut road = road(&account);
    road.sql(
        "INSERT INTO t SELECT g, 'n' || g, repeat('long ', 1000), g + 0.50, g || '@example.com'
         FROM generate_series(1, 250) g",
    );
    road.start();
    equal(&road, &account);
    road.sql(
        "BEGIN;
         INSERT INTO t VALUES (500, 'new', 'x', 1), (501, 'gone', NULL, 2);
         UPDATE t SET name = 'newer' WHERE id = 500;
         UPDATE t SET name = 'newest', amount = NULL WHERE id = 500;
         DELETE FROM t WHERE id = 501;
         UPDATE t SET name = 'renamed' WHERE id <= 150;
         DELETE FROM t WHERE id BETWEEN 151 AND 200;
         INSERT INTO t VALUES (151, 'again', NULL, NULL);
         COMMIT;",
    );
    equal(&road, &account);
    road.sql(
        "BEGIN;
         UPDATE t SET id = 1500 WHERE id = 500;
         UPDATE t SET id = 500, note = 'short' WHERE id = 151;
         UPDATE t SET id = 151 WHERE id = 1500;
         COMMIT;",
    );
    equal(&road, &account);
    // The address of a record that goes is that of a new one.
    road.sql("BEGIN; DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (5005, 'x', NULL, NULL, '5@example.com'); COMMIT");
    equal(&road, &account);
    account.refuse();
    road.sql("UPDATE t SET amount = amount + 1; DELETE FROM t WHERE id = 9");
    let says = |status| Says::text(status, "{}");
    account.state().next.extend([says(503), says(423), says(477).with("retry-after", "1")]);
    account.listen();
    equal(&road, &account);
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    assert!(account.state().calls.len() < 60, "{:?}", account.state().calls);
    road.stop();
}

#[test]
fn a_record_that_is_refused_is_set_aside_and_the_rest_goes_on() {
    let account = Fake::start(Account::default());
    let mut road = road(&account);
    road.start();
    // What comes before a load of its row has begun is sent once more by it.
    loaded(&road);
    road.sql(
        "BEGIN;
         INSERT INTO t SELECT g, CASE WHEN g = 17 THEN 'poison' ELSE 'n' || g END
         FROM generate_series(1, 40) g;
         INSERT INTO t VALUES (41, 'a', NULL, NULL, 'same@example.com'),
                              (42, 'b', NULL, NULL, 'same@example.com');
         COMMIT;",
    );
    let mut letters = Vec::new();
    eventually("two are set aside", PATIENCE, || {
        letters = road.dead_letters(&[]);
        letters.len() == 2
    });
    let of = |id: u32| {
        let letter = letters.iter().find(|letter| letter["key"] == json!({ "id": id })).unwrap();
        letter["message"].as_str().unwrap().to_owned()
    };
    assert!(of(17).contains("VALIDATION_ERROR"), "{}", of(17));
    assert!(of(42).contains("CONFLICT"), "{}", of(42));
    eventually("the rest is there", PATIENCE, || account.state().records.len() == 40);
}

#[test]
fn a_token_that_is_refused_halts_the_sink_until_it_is_mended() {
    let token = "another".to_owned();
    let account = Fake::start(Account { token, ..Account::default() });
    let mut road = road(&account);
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'a', NULL, 1)");
    eventually("the sink halts", PATIENCE, || {
        road.walgate.status()["sinks"][0]["state"] == "halted"
    });
    assert!(!road.walgate.log().contains("pat-na1"));
    account.state().token = "pat-na1-a-token".to_owned();
    equal(&road, &account);
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
}

#[test]
fn a_day_that_is_used_up_is_waited_for() {
    let account = Fake::start(Account { daily: 0, ..Account::default() });
    let mut road = road(&account);
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'a', NULL, 1)");
    eventually("it is told", PATIENCE, || {
        let metrics = road.walgate.get("/metrics").body;
        let line = metrics.lines().find(|line| {
            line.starts_with("walgate_sink_attempts_total") && line.contains("throttled")
        });
        line.is_some_and(|line| !line.ends_with(" 0"))
    });
    account.state().daily = 1_000;
    equal(&road, &account);
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
}

#[test]
fn settings_that_do_not_fit_are_told_with_their_place() {
    let account = Fake::start(Account::default());
    let road = road(&account);
    let good = config(&account);
    for (from, to, expected) in [
        ("object = \"contacts\"", "object = \"con/tacts\"", "is not an object such as"),
        ("\"external_id\"", "\"external id\"", "is not a property's internal name"),
        ("delete = \"archive\"", "delete = \"delete\"", "archive"),
        (
            "[sink.crm]",
            "[sink.crm]\nformat = \"cloudevents\"",
            "which only format = \"walgate\" has",
        ),
        ("token = \"pat-na1-a-token\"", "", "token"),
    ] {
        assert!(good.contains(from), "{from}");
        road.configure(&good.replace(from, to));
        let output = road.walgate.call(&["check", "--offline"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = said + &String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(expected), "{to}: {said}");
        assert!(said.contains("walgate.toml:"), "{to}: {said}");
    }
}
