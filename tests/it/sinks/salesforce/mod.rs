//! The `salesforce` sink, against a stand-in of an org.

mod answers;
mod bulk;
mod login;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use walgate::chunk::Operation;
use walgate::demo::cluster::Cluster;
use walgate::failure::Category;
use walgate::secret::Secret;
use walgate::sink::salesforce::{Config, Login, Mode};
use walgate::sink::web::Reach;
use walgate::sink::{self, Answer, Common, Failure, Sink};

use super::fakes::Fake;
use super::fakes::salesforce::Org;
use super::{COMMON, one};
use crate::support::process::eventually;
use crate::support::road::{PATIENCE, Road};
use crate::support::state::loaded;

const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, name text, note text, amount numeric(12, 2));
    ALTER TABLE t ALTER note SET STORAGE EXTERNAL;";

/// Settings of a sink that is called without a pipeline.
fn settings(url: &str) -> Config {
    Config {
        url: url.to_owned(),
        auth: Login::ClientCredentials {
            client_id: Secret::new("app".to_owned()),
            client_secret: Secret::new("the app's secret".to_owned()),
        },
        object: "Contact".to_owned(),
        external_id: Some("Ext__c".to_owned()),
        api: "v66.0".to_owned(),
        mode: Mode::Upsert,
        deletes: true,
        bulk: None,
        daily_budget: 90,
        allow_duplicates: false,
        reach: Reach::default(),
    }
}

fn build(config: Config, common: &Common) -> Box<dyn Sink> {
    sink::build("crm", &sink::Config::Salesforce(Box::new(config)), common).unwrap()
}

/// The failure of a batch of one event.
#[track_caller]
fn alone(answer: Answer) -> Failure {
    match answer {
        Answer::Failed(failure) => failure,
        Answer::PerEvent(outcomes) => outcomes.into_iter().next().unwrap().unwrap_err(),
        Answer::Acknowledged => unreachable!(),
    }
}

/// The config of a pipeline; `more` are keys of the kind.
fn config(org: &Fake<Org>, more: &str) -> String {
    format!(
        r#"
        [mapping.contact]
        version = 1
        [mapping.contact.fields]
        Name = {{ column = "name" }}
        Note__c = {{ column = "note" }}
        Amount__c = {{ column = "amount" }}
        [sink.crm]
        retry = {{ initial = "50ms", max = "200ms", retry_after_max = "300ms" }}
        breaker = {{ cooldown = "100ms" }}
        halt_probe = "100ms"
        [sink.crm.salesforce]
        url = "{}"
        object = "Contact"
        external_id = "Ext__c"
        delete = "delete"
        {more}
        [sink.crm.salesforce.auth.client_credentials]
        client_id = "app"
        client_secret = "the app's secret"
        [[route]]
        name = "t-to-crm"
        table = "public.t"
        mapping = "contact"
        sink = "crm"
        "#,
        org.url()
    )
}

fn road(org: &Fake<Org>, more: &str) -> Road {
    let road = Road::quiet(Cluster::builder(), SCHEMA, &config(org, more));
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road
}

/// The table as the org should have it.
fn rows(road: &Road) -> BTreeMap<String, Map<String, Value>> {
    let sql = "SELECT coalesce(json_object_agg(id, json_strip_nulls(json_build_object(
                 'Name', name, 'Note__c', note, 'Amount__c', amount))), '{}') FROM t";
    serde_json::from_str(&road.value(sql)).unwrap()
}

fn records(org: &Fake<Org>) -> BTreeMap<String, Map<String, Value>> {
    let mut records = org.state().records.clone();
    for record in records.values_mut() {
        record.remove("Id");
    }
    records
}

/// Waits until the org has what the table has.
#[track_caller]
fn equal(road: &Road, org: &Fake<Org>) {
    let rows = rows(road);
    eventually("the records are the rows", PATIENCE, || records(org) == rows);
}

#[test]
fn an_orgs_records_are_the_rows_of_the_table() {
    let mut org = Fake::start(Org::default());
    let mut road = road(&org, "");
    road.sql(
        "INSERT INTO t SELECT g, 'n' || g, repeat('long ', 1000), g + 0.50
         FROM generate_series(1, 450) g",
    );
    road.start();
    equal(&road, &org);
    // Several changes of a key in a transaction, a value that is not sent, one that becomes NULL.
    road.sql(
        "BEGIN;
         INSERT INTO t VALUES (500, 'new', 'x', 1), (501, 'gone', NULL, 2);
         UPDATE t SET name = 'newer' WHERE id = 500;
         UPDATE t SET name = 'newest', amount = NULL WHERE id = 500;
         DELETE FROM t WHERE id = 501;
         UPDATE t SET name = 'renamed' WHERE id <= 300;
         DELETE FROM t WHERE id BETWEEN 301 AND 400;
         INSERT INTO t VALUES (301, 'again', NULL, NULL);
         COMMIT;",
    );
    equal(&road, &org);
    // A key that changes takes its record along; one swaps places with another.
    road.sql(
        "BEGIN;
         UPDATE t SET id = 1500 WHERE id = 500;
         UPDATE t SET id = 500, note = 'short' WHERE id = 301;
         UPDATE t SET id = 301 WHERE id = 1500;
         COMMIT;",
    );
    equal(&road, &org);
    // It goes away and comes back, the token ends, and somebody holds a lock.
    org.refuse();
    road.sql("UPDATE t SET amount = amount + 1; DELETE FROM t WHERE id = 9");
    org.state().expire();
    org.state().locked.insert("10".to_owned(), 2);
    org.listen();
    equal(&road, &org);
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    assert!(org.state().issued >= 2);
    // Asked for in as few requests as may be: 450 rows take three.
    let calls = org.state().calls.clone();
    assert!(calls.len() < 60, "{calls:?}");
    road.stop();
}

#[test]
fn a_record_that_is_refused_is_set_aside_and_the_rest_goes_on() {
    let org = Fake::start(Org::default());
    let mut road = road(&org, "");
    road.start();
    // What comes before a load of its row has begun is sent once more by it.
    loaded(&road);
    // The second change of 2 is bad: nobody can tell which it was until it stands alone.
    road.sql(
        "BEGIN;
         INSERT INTO t VALUES (1, 'a', NULL, 1), (2, 'b', NULL, 2), (3, 'c', NULL, 3);
         UPDATE t SET name = 'poison' WHERE id = 2;
         INSERT INTO t VALUES (4, 'poison', NULL, NULL), (5, 'e', NULL, NULL);
         COMMIT;",
    );
    let mut letters = Vec::new();
    eventually("both are set aside", PATIENCE, || {
        letters = road.dead_letters(&[]);
        letters.len() == 2
    });
    let ids: Vec<(&Value, &Value)> = letters.iter().map(|one| (&one["key"], &one["op"])).collect();
    assert!(ids.contains(&(&json!({ "id": 2 }), &json!("update"))), "{ids:?}");
    assert!(ids.contains(&(&json!({ "id": 4 }), &json!("insert"))), "{ids:?}");
    let message = letters[0]["message"].as_str().unwrap();
    assert!(message.contains("FIELD_CUSTOM_VALIDATION_EXCEPTION (Name)"), "{message}");
    assert!(!road.walgate.log().contains("not allowed"), "what it says may have values");
    eventually("the rest is there", PATIENCE, || {
        let records = records(&org);
        let names: Vec<&Value> = records.values().map(|record| &record["Name"]).collect();
        names == ["a", "b", "c", "e"]
    });
    road.sql("UPDATE t SET name = 'good' WHERE name = 'poison'");
    equal(&road, &org);
}

#[test]
fn an_app_that_is_refused_halts_the_sink_until_it_is_let_in() {
    let org = Fake::start(Org { secret: "another".to_owned(), ..Org::default() });
    let mut road = road(&org, "");
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'a', NULL, 1)");
    eventually("the sink halts", PATIENCE, || {
        let status = road.walgate.status();
        let sink = &status["sinks"][0];
        let reason = sink["reason"].as_str().unwrap_or_default();
        sink["state"] == "halted" && reason.contains("no token")
    });
    assert!(!road.walgate.log().contains("the app's secret"));
    org.state().secret = "the app's secret".to_owned();
    equal(&road, &org);
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
}

#[test]
fn the_last_tenth_of_the_days_requests_is_left_to_others() {
    let org = Fake::start(Org { used: 94, max: 100, ..Org::default() });
    let mut road = road(&org, "");
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'a', NULL, 1)");
    // That nothing is left is known once something was answered.
    equal(&road, &org);
    road.sql("INSERT INTO t VALUES (2, 'b', NULL, 2)");
    let used = org.state().used;
    eventually("it asks whether something is left", PATIENCE, || org.state().used >= used + 2);
    assert_eq!(records(&org).len(), 1);
    org.state().max = 10_000;
    equal(&road, &org);
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
}

/// Who deletes nothing must not be told that an org is up which nobody has asked.
#[tokio::test]
async fn a_delete_that_is_left_out_says_nothing_of_the_org() {
    let mut org = Fake::start(Org::default());
    let config = Config { deletes: false, ..settings(&org.url()) };
    let sink = build(config, &COMMON);
    let delete = one(Operation::Delete, 1, "{}");
    assert_eq!(sink.deliver(&delete).await, Answer::Acknowledged);
    org.refuse();
    let insert = one(Operation::Insert, 1, r#"{"Name":"a"}"#);
    assert_eq!(alone(sink.deliver(&insert).await).category, Category::Transient);
    assert_eq!(alone(sink.deliver(&delete).await).category, Category::Transient);
    org.listen();
    while sink.deliver(&delete).await != Answer::Acknowledged {}
    assert_eq!(sink.deliver(&insert).await, Answer::Acknowledged);
}

#[test]
fn settings_that_do_not_fit_are_told_with_their_place() {
    let org = Fake::start(Org::default());
    let road = road(&org, "");
    let good = config(&org, "");
    for (from, to, expected) in [
        ("object = \"Contact\"", "object = \"Contact/x\"", "is not an API name"),
        ("external_id = \"Ext__c\"", "", "records are upserted by it"),
        ("delete = \"delete\"", "api = \"66\"", "is not a version"),
        ("delete = \"delete\"", "bulk = 5000", "set batch.max_events"),
        ("delete = \"delete\"", "mode = \"platform_event\"", "about records"),
        ("[sink.crm]", "[sink.crm]\nformat = \"mapped\"", "which only format = \"walgate\" has"),
        (".auth.client_credentials]", ".auth.nothing]", "unknown key"),
        ("client_secret", "client_word", "client_word"),
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
