//! Mappings before they run and what they hide: held against the catalogue and real rows by
//! `check`, and never shown by who only looks.

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::doctor::{checks, says};
use super::support::process::eventually;
use super::support::receiver::Receiver;
use super::support::road::{PATIENCE, Road, file, http, route};

const CUSTOMERS: &str = "
    CREATE TABLE customers (id bigint PRIMARY KEY, email text, phone text, plan text NOT NULL,
        age int, born date, big text NOT NULL);
    INSERT INTO customers
    SELECT n, CASE WHEN n % 10 = 0 THEN NULL WHEN n % 10 = 1 THEN 'nobody' ELSE 'a@b.co' END,
        'secret' || n, CASE WHEN n % 5 = 0 THEN 'x' ELSE 'g' END, n, '2026-01-02', 'b'
    FROM generate_series(1, 50) n";

const MAPPING: &str = r#"
[mapping.contact]
version = 1
mask_key = "a key that is long enough"
[mapping.contact.fields]
email = { column = "email", required = true, check = "email" }
phone = { column = "phone", mask = "last4" }
plan = { column = "plan", lookup = { g = "gold" }, on_miss = "skip" }
"#;

/// A config whose route takes the table through these fields.
fn config(sink: &str, mapping: &str) -> String {
    format!("{sink}{mapping}{}mapping = \"contact\"\n", route("customers", "far"))
}

fn road(mapping: &str) -> Road {
    let config = config(&file("far"), mapping);
    let road = Road::quiet(Cluster::builder(), CUSTOMERS, &config);
    road.sql("CREATE PUBLICATION walgate FOR TABLE customers");
    road
}

#[test]
fn a_sample_tells_what_would_be_refused_by_field_with_keys() {
    let road = road(MAPPING);
    let (code, seen) = checks(&road, &[]);
    assert_eq!(code, 0, "warnings alone: {seen:#?}");
    let refused = "5 of 50 sampled rows would become dead letters: field \"email\"";
    says(&seen, "mapping.rows", "warn", &format!("{refused} is NULL; for example {{\"id\":10}}"));
    says(&seen, "mapping.rows", "warn", &format!("{refused} fails `check`: email; for example"));
    says(&seen, "mapping.rows", "ok", "would be skipped: field \"plan\" is not in `lookup`");
    says(&seen, "mapping.rows", "ok", "of 50 sampled rows would be sent");
    says(&seen, "mapping.nulls", "warn", "field \"email\" is required, and column email may be");
    let told = json!(seen).to_string();
    assert!(!told.contains("secret") && !told.contains("nobody"), "{told}");
    road.sql("UPDATE customers SET email = 'a@b.co', plan = 'g'");
    road.sql("ALTER TABLE customers ALTER email SET NOT NULL");
    let (_, seen) = checks(&road, &[]);
    says(&seen, "mapping.rows", "ok", "50 of 50 sampled rows would be sent");
    says(&seen, "mapping.fields", "ok", "types and NULLs fit");
    assert!(seen.iter().all(|check| check["id"] != "mapping.nulls"));
}

#[test]
fn a_key_that_is_masked_is_no_example() {
    let fields = "id = { column = \"id\", mask = \"redact\" }\n\
                  email = { column = \"email\", required = true }\n";
    let mapping = format!("[mapping.contact]\nversion = 1\n[mapping.contact.fields]\n{fields}");
    let (_, seen) = checks(&road(&mapping), &[]);
    says(&seen, "mapping.rows", "warn", "field \"email\" is NULL");
    let rows = seen.iter().filter(|check| check["id"] == "mapping.rows");
    assert!(rows.into_iter().all(|check| !check["seen"].as_str().unwrap().contains("example")));
}

#[test]
fn a_where_that_means_nothing_for_rows_that_are_there_is_told() {
    let road = road(MAPPING);
    let with = |condition: &str| {
        let route = route("customers", "far");
        road.configure(&format!("{}{route}where = '{condition}'\n", file("far")));
        checks(&road, &[]).1
    };
    let seen = with("row.age");
    says(&seen, "mapping.rows", "warn", "50 of 50 sampled rows would be sent though `where`");
    let seen = with("row.email > \"a\"");
    says(&seen, "mapping.rows", "warn", "5 of 50 sampled rows would be sent though `where` can't");
    let seen = with("row.age > 3");
    says(&seen, "mapping.rows", "ok", "47 of 50 sampled rows would be sent");
    assert!(seen.iter().all(|check| check["id"] != "mapping.rows" || check["status"] == "ok"));
}

#[test]
fn columns_of_the_rest_that_a_field_stands_for_are_told() {
    let fields = "rest = \"include\"\n[mapping.contact.fields]\nphone = { column = \"email\" }\n";
    let (_, seen) = checks(&road(&format!("[mapping.contact]\nversion = 1\n{fields}")), &[]);
    let left = "column phone is left out: field \"phone\" has its name";
    says(&seen, "mapping.rest", "warn", left);
}

#[test]
fn fields_that_no_value_of_their_column_fits_are_told() {
    let mapping = "[mapping.contact]\nversion = 1\n[mapping.contact.fields]\n\
        mail = { column = \"emails\" }\n\
        born = { column = \"born\", as = \"number\" }\n\
        age = { column = \"age\", check = \"email\", on_invalid = \"null\" }\n\
        old = { column = \"age\", lookup = { a = 1 } }\n\
        big = { column = \"big\", on_unchanged = \"reject\" }\n";
    let road = road(mapping);
    let (code, seen) = checks(&road, &[]);
    assert_eq!(code, 3);
    says(&seen, "mapping.columns", "fail", "there is no column emails");
    let fixes: Vec<_> = seen.iter().filter_map(|check| check["fix"].as_str()).collect();
    assert!(fixes.iter().any(|fix| fix.contains("did you mean email?")), "{fixes:?}");
    says(&seen, "mapping.types", "fail", "column born is date, and a date can't become number");
    says(&seen, "mapping.types", "warn", "column age is integer, and a number never passes");
    says(&seen, "mapping.types", "fail", "no key of the lookup is a number");
    says(&seen, "mapping.unchanged", "warn", "every delete, and each update that leaves a large");
    road.sql("ALTER TABLE customers REPLICA IDENTITY FULL");
    let (_, seen) = checks(&road, &[]);
    assert!(seen.iter().all(|check| check["id"] != "mapping.unchanged"), "{seen:#?}");
}

#[test]
fn a_next_version_is_held_against_the_table_too_and_only_warns() {
    let next = "[mapping.contact.next]\nversion = 2\n[mapping.contact.next.fields]\n\
        mail = { column = \"emails\" }\nborn = { column = \"born\", as = \"number\" }\n\
        age = { column = \"age\", check = { max = 40 } }\n";
    let (code, seen) = checks(&road(&format!("{MAPPING}{next}")), &[]);
    assert_eq!(code, 0, "nothing that keeps the present one from working: {seen:#?}");
    says(&seen, "mapping.columns", "warn", "there is no column emails");
    says(&seen, "mapping.types", "warn", "a date can't become number");
    says(&seen, "mapping.rows", "warn", "field \"mail\"");
    let of_next = |check: &&Value| {
        check["subject"].as_str().unwrap().ends_with(", next version 2 of contact")
    };
    assert_eq!(seen.iter().filter(of_next).filter(|check| check["status"] == "ok").count(), 0);
    assert_eq!(seen.iter().filter(of_next).count(), 3);
}

#[test]
fn a_dead_letter_shows_its_original_without_what_the_mapping_masks() {
    let receiver = Receiver::start();
    let config = config(&http("far", &receiver.url("/"), ""), MAPPING);
    let mut road = Road::new(Cluster::builder(), CUSTOMERS, &config);
    road.sql("INSERT INTO customers VALUES (100, 'nobody', 'secret100', 'g', 1, NULL, 'b')");
    eventually("it is set aside", PATIENCE, || road.dead_letters(&[]).len() == 1);
    let number = road.dead_letters(&[])[0]["id"].to_string();
    let original = |args: &[&str]| -> Value {
        let output = road.walgate.call(&[&["dlq"], args].concat());
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        shown["original"].clone()
    };
    let shown = json!({ "id": 100, "email": "nobody", "phone": "***", "plan": "g", "age": 1,
        "born": null, "big": "b" });
    let mut whole = shown.clone();
    whole["phone"] = json!("secret100");
    assert_eq!(original(&["show", &number, "--json"]), shown);
    assert_eq!(original(&["export"]), shown);
    assert_eq!(original(&["show", &number, "--json", "--unmasked"]), whole);
    assert_eq!(original(&["export", "--unmasked"]), whole);
    let listed = road.dead_letters(&[])[0]["message"].clone();
    assert_eq!(listed, "field `email`: fails `check`: email");
    road.stop();
}

#[test]
fn a_mapping_with_another_key_is_another_and_needs_a_new_number() {
    let receiver = Receiver::start();
    let sink = http("far", &receiver.url("/"), "");
    let keyed = |key: &str, version: u32| {
        let mapping = MAPPING
            .replace("a key that is long enough", key)
            .replace("version = 1", &format!("version = {version}"))
            .replace("last4", "hash");
        config(&sink, &mapping)
    };
    let mut road = Road::new(Cluster::builder(), CUSTOMERS, &keyed("the first key of all", 1));
    road.sql("INSERT INTO customers VALUES (100, 'a@b.co', 'secret100', 'g', 1, NULL, 'b')");
    receiver.wait("the row", PATIENCE, |journal| journal.events_processed == 1);
    let sent = receiver.journal().events()[0].0["data"]["phone"].clone();
    assert_eq!(sent.as_str().unwrap().len(), 64);
    road.confirms(&road.wal_end());
    road.stop();
    road.configure(&keyed("the second key of all", 1));
    let output = road.walgate.call(&["run", "--until-caught-up"]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    road.configure(&keyed("the second key of all", 2));
    let replay = ["replay", "--sink", "far", "--from", "0/0", "--mapping-version"];
    road.start();
    let output = road.walgate.call(&[&replay[..], &["1", "--dry-run"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("hid values with another `mask_key`"), "{said}");
    road.stop();
}
