//! Versions of mappings: a number belongs to its fields, and what changed is told.

use std::process::Output;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::support::process::{Walgate, eventually};
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http};

fn mapping(version: u32, fields: &str) -> String {
    format!("[mapping.row]\nversion = {version}\n[mapping.row.fields]\n{fields}\n")
}

const ONE: &str = "id = { column = \"id\" }\nv = { column = \"v\", required = true }";
const OTHER: &str = "id = { column = \"id\", as = \"string\" }\nw = { column = \"v\" }";

fn config(receiver: &Receiver, mapping: &str) -> String {
    format!(
        "{}[[route]]\nname = \"t\"\ntable = \"public.t\"\nmapping = \"row\"\nsink = \"far\"\n\
         start = \"now\"\n{mapping}",
        http("far", &receiver.url("/"), "")
    )
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The versions that `walgate mappings list` knows: number, whether it is today's, whether it ran.
#[track_caller]
fn versions(walgate: &Walgate) -> Vec<(u64, bool, bool)> {
    let output = walgate.call(&["mappings", "list", "--json"]);
    assert!(output.status.success(), "{}", err(&output));
    let lines: Vec<Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let one = |line: &Value| {
        (line["version"].as_u64().unwrap(), line["today"] == true, !line["first_seen"].is_null())
    };
    lines.iter().map(one).collect()
}

#[test]
fn the_same_number_with_other_fields_is_refused_and_says_which() {
    let receiver = Receiver::start();
    let schema = Cluster::builder();
    let mut road = Road::new(schema, T, &config(&receiver, &mapping(1, ONE)));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    receiver.wait("the row", PATIENCE, |journal| journal.events_processed == 1);
    road.stop();

    road.configure(&config(&receiver, &mapping(1, OTHER)));
    let said = "field \"id\": \"as\" is new, field \"v\" is gone";
    let said = said.replace("field \"v\" is gone", "field \"v\" is gone, field \"w\" is new");
    let output = road.walgate.call(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["id"] == "mapping.version").unwrap();
    assert_eq!((&found["status"], &found["subject"]), (&json!("fail"), &json!("mapping row")));
    assert!(found["seen"].as_str().unwrap().contains(&said), "{found}");
    assert_eq!(found["fix"], "version = 2, or take the change back");

    let output = road.walgate.call(&["run"]);
    assert_eq!(output.status.code(), Some(4), "{}", err(&output));
    let told = format!("mapping `row` version 1 is not what it was: {said}");
    assert!(err(&output).contains(&told), "{}", err(&output));
    assert!(err(&output).contains("help: raise its version to 2, or take the change back"));
    let reason = road.walgate.status()["source"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(&told) && reason.contains("raise its version to 2"), "{reason}");

    let output = road.walgate.call(&["mappings", "diff", "row"]);
    assert_eq!(
        out(&output),
        "row: version 1 → 1\n  ~ id: as: left out → \"string\"\n  \
         - v: column = \"v\", required = true\n  + w: column = \"v\"\n"
    );
    assert_eq!(versions(&road.walgate), [(1, false, true), (1, true, false)]);
    let output = road.walgate.call(&["mappings", "show", "row@9"]);
    assert!(err(&output).contains("help: it has 1\n"), "{}", err(&output));

    road.configure(&config(&receiver, &mapping(2, OTHER)));
    assert_eq!(versions(&road.walgate), [(1, false, true), (2, true, false)]);
    road.start();
    assert_eq!(versions(&road.walgate), [(1, false, true), (2, true, true)]);
    let output = road.walgate.call(&["mappings", "show", "row@1"]);
    assert!(out(&output).contains("v                    column = \"v\", required = true\n"));
    let output = road.walgate.call(&["mappings", "diff", "row", "2", "1", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        document["differences"][0],
        json!({ "change": "changed", "field": "id", "key": "as", "was": "string", "now": null })
    );
    // Back to what it was is no other version.
    road.stop();
    road.configure(&config(&receiver, &mapping(1, ONE)));
    road.start();
}

#[test]
fn a_start_that_fails_uses_up_no_version() {
    let receiver = Receiver::start();
    let mut road = Road::quiet(Cluster::builder(), T, &config(&receiver, &mapping(1, ONE)));
    let output = road.walgate.call(&["run"]);
    assert_eq!(output.status.code(), Some(3), "there is no publication: {}", err(&output));
    assert_eq!(versions(&road.walgate), [(1, true, false)]);
    road.configure(&config(&receiver, &mapping(1, OTHER)));
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road.start();
    assert_eq!(versions(&road.walgate), [(1, true, true)]);
    road.stop();
    // Neither one that a person has to see to.
    let renamed = config(&receiver, &mapping(2, ONE)).replace("name = \"t\"", "name = \"u\"");
    road.configure(&renamed);
    let output = road.walgate.call(&["run"]);
    assert_eq!(output.status.code(), Some(4), "the route is gone: {}", err(&output));
    assert_eq!(versions(&road.walgate), [(1, false, true), (2, true, false)]);
}

#[test]
fn before_the_first_run_there_is_the_config_alone() {
    let receiver = Receiver::start();
    let source = "[source]\nurl = \"postgres://nobody@127.0.0.1:1/nowhere\"\n";
    let walgate = Walgate::new(&format!("{source}{}", config(&receiver, &mapping(3, ONE))));
    assert_eq!(versions(&walgate), [(3, true, false)]);
    let output = walgate.call(&["mappings", "list"]);
    assert!(out(&output).ends_with(" today's, has not run: t\n"), "{}", out(&output));
    let output = walgate.call(&["mappings", "show", "row", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["fields"][1], json!({ "target": "v", "column": "v", "required": true }));
    let output = walgate.call(&["mappings", "diff", "row"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), ""));
    assert!(err(&output).contains("no version of mapping \"row\" has run yet"));
    for (args, said) in [
        (&["show", "rows"][..], "did you mean \"row\"?"),
        (&["show", "row@x"], "\"x\" is no version"),
        (&["diff", "row", "1", "2"], "has no version 2"),
    ] {
        let output = walgate.call(&[&["mappings"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).contains(said), "{}", err(&output));
    }
    let output = walgate.call(&["mappings", "shadow"]);
    assert!(err(&output).contains("no next version is compared"), "{}", err(&output));
}

#[test]
fn a_dead_letter_knows_its_version_and_is_sent_again_by_the_one_that_is_asked_for() {
    let receiver = Receiver::start();
    receiver.when(|_| true, Reply::status(422));
    let mut road = Road::new(Cluster::builder(), T, &config(&receiver, &mapping(1, ONE)));
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    eventually("all are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 3);
    road.stop();
    receiver.behave();
    road.configure(&config(&receiver, &mapping(2, OTHER)));
    road.start();
    let letters = road.dead_letters(&[]);
    for (letter, args, version) in [
        (&letters[0], &["--mapping-version", "original"][..], 1),
        (&letters[1], &["--mapping-version", "1"], 1),
        (&letters[2], &[], 2),
    ] {
        assert_eq!(letter["mapping"], json!({ "name": "row", "version": 1 }));
        let id = letter["id"].to_string();
        let (code, _, said) = road.dlq(&[&["replay", id.as_str()], args].concat());
        assert_eq!(code, 0, "{said}");
        let sent = receiver.journal().events().last().unwrap().0.clone();
        assert_eq!(sent["mapping"]["version"], json!(version), "{args:?}");
        let is_old = sent["data"].as_object().unwrap().contains_key("v");
        assert_eq!(is_old, version == 1, "{sent}");
        let key = letter["key"].to_string();
        let output = road.walgate.call(&["trace", "--table", "public.t", "--key", &key, "--json"]);
        let traced: Value = serde_json::from_slice(&output.stdout).unwrap();
        let at = &traced["sinks"][0];
        assert_eq!(at["mapping"], json!({ "name": "row", "version": version }), "{traced}");
        assert_eq!((&at["state"], &at["attempts"]), (&json!("delivered"), &json!(2)), "{traced}");
        let output = road.walgate.call(&["trace", "--table", "public.t", "--key", &key]);
        assert!(out(&output).contains("Z  accepted\n"), "{}", out(&output));
    }
}

/// What its mapping refuses under another version is of that version, and was not sent.
#[test]
fn a_version_that_is_not_to_be_had_changes_nothing_and_one_that_refuses_is_named() {
    let receiver = Receiver::start();
    let config = |version: u32, column: &str| {
        let fields = format!("v = {{ column = \"{column}\", required = true }}");
        config(&receiver, &mapping(version, &fields))
    };
    let mut road = Road::new(Cluster::builder(), T, &config(1, "v"));
    road.sql("INSERT INTO t VALUES (1, NULL), (2, 'b')");
    eventually("one is dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 1);
    road.confirms(&road.wal_end());
    let dead = road.dead_letters(&[])[0].clone();
    assert_eq!(dead["attempts"], 0);
    for args in [
        &["dlq", "replay", "--all", "--mapping-version", "9"][..],
        &["replay", "--sink", "far", "--from", "0/0", "--mapping-version", "9"],
        &["replay", "--sink", "far", "--from", "0/0", "--mapping-version", "9", "--dry-run"],
    ] {
        let output = road.walgate.call(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
        assert!(err(&output).contains("version 9 of mapping \"row\" never ran here"));
    }
    assert_eq!(road.dead_letters(&[])[0], dead);
    let output = road.walgate.call(&["replay", "--sink", "far", "--from", "0/0"]);
    assert_eq!(output.status.code(), Some(5), "{}", err(&output));
    for said in [
        "not in the journal: what lies from 0/0#0 to ",
        "1 events were sent again, 1 of them delivered; 1 are refused by their mapping",
    ] {
        assert!(err(&output).contains(said), "{}", err(&output));
    }
    road.stop();
    road.configure(&config(2, "w"));
    // The command does the sending: the version runs for the first time now.
    let (code, _, said) = road.dlq(&["replay", "--all", "--mapping-version", "2"]);
    assert_eq!(code, 5, "{said}");
    let again = road.dead_letters(&[])[0].clone();
    assert_eq!(again["mapping"], json!({ "name": "row", "version": 2 }));
    assert_eq!(again["attempts"], 0, "{again}");
}

#[test]
fn members_of_a_constant_in_another_order_are_told() {
    let receiver = Receiver::start();
    let with = |value: &str| config(&receiver, &mapping(1, &format!("k = {{ value = {value} }}")));
    let mut road = Road::new(Cluster::builder(), T, &with("{ b = 1, a = 2 }"));
    road.stop();
    road.configure(&with("{ a = 2, b = 1 }"));
    let output = road.walgate.call(&["run"]);
    assert_eq!(output.status.code(), Some(4), "{}", err(&output));
    assert!(err(&output).contains("field \"k\": \"value\" is another"), "{}", err(&output));
    let output = road.walgate.call(&["mappings", "diff", "row"]);
    assert!(
        out(&output).contains("k: value: {\"b\":1,\"a\":2} → {\"a\":2,\"b\":1}"),
        "{}",
        out(&output)
    );
}
