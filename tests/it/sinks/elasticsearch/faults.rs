//! What goes wrong there stays there.

use serde_json::{Value, json};

use super::{Fake, config, is_equal, road};
use crate::sinks::fakes::elasticsearch::{Cluster, Index};
use crate::support::process::eventually;
use crate::support::road::{PATIENCE, Road};

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v text, n text, big text);
                      ALTER TABLE t ALTER big SET STORAGE EXTERNAL";

#[track_caller]
fn halts(road: &Road, reason: &str) {
    eventually(reason, PATIENCE, || {
        let status = road.walgate.status();
        let sink = &status["sinks"][0];
        sink["state"] == "halted" && sink["reason"].to_string().contains(reason)
    });
}

#[test]
fn a_document_that_does_not_fit_is_set_aside_and_the_rest_flows() {
    let far = Fake::start(Cluster::default());
    let mut road = road(&far, SCHEMA, "start = \"now\"");
    road.sql("INSERT INTO t VALUES (1, 'never loaded', '1', repeat('x', 4000))");
    road.start();
    // A field whose mapping is a number.
    let numbers = r#"{"index":{"_index":"t","_id":"0"}}"#.to_owned() + "\n{\"id\":0,\"n\":1}\n";
    let answer = crate::support::web::say(
        far.url().strip_prefix("http://").unwrap().parse().unwrap(),
        &format!(
            "POST /_bulk HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{numbers}",
            numbers.len()
        ),
    );
    assert_eq!(answer.unwrap().status, 200);
    road.sql(
        "BEGIN;
         INSERT INTO t SELECT g, 'v', CASE g WHEN 20 THEN 'secret' ELSE g::text END
             FROM generate_series(10, 60) g;
         INSERT INTO t VALUES (70, 'good', '1'); UPDATE t SET n = 'secret' WHERE id = 70;
         UPDATE t SET v = 'changed' WHERE id = 1;
         COMMIT",
    );
    let mut letters = Vec::new();
    eventually("three are set aside", PATIENCE, || {
        letters = road.dead_letters(&["--state", "dead"]);
        letters.len() == 3
    });
    let of = |id: u32| {
        let letter = letters.iter().find(|letter| letter["key"] == json!({ "id": id })).unwrap();
        assert_eq!(letter["category"], "rejected");
        (letter["op"].as_str().unwrap().to_owned(), letter["message"].as_str().unwrap().to_owned())
    };
    let refused = "answered 400 (document_parsing_exception)";
    assert!(of(20).0 == "insert" && of(20).1.contains(refused), "{:?}", of(20));
    assert!(of(70).0 == "update" && of(70).1.contains(refused), "{:?}", of(70));
    assert!(of(1).1.contains("the document is not there"), "{:?}", of(1));
    assert!(!road.walgate.log().contains("secret"));
    eventually("the rest is there", PATIENCE, || far.state().documents("t").len() == 52);
    let state = far.state();
    assert_eq!(state.indices["t"].documents["70"].source["n"], "1");
}

#[test]
fn a_key_that_is_refused_halts_and_goes_on_when_it_is_mended() {
    let authorization = Some("ApiKey another".to_owned());
    let far = Fake::start(Cluster { authorization, ..Cluster::default() });
    let mut road = road(&far, SCHEMA, "");
    road.configure(&config(&far.url(), "", "api_key = \"a-key-of-this-test\"", ""));
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'a')");
    halts(&road, "401");
    let check = road.walgate.call(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("401") && !said.contains("a-key-of"), "{said}");
    assert!(!road.walgate.log().contains("a-key-of"));
    far.state().authorization = Some("ApiKey a-key-of-this-test".to_owned());
    is_equal(&road, &far, "t");
    assert_eq!(road.dead_letters(&["--state", "dead"]), Vec::<Value>::new());
}

#[test]
fn an_index_that_is_missing_or_blocked_halts_until_it_is_mended() {
    let far = Fake::start(Cluster { creates: false, ..Cluster::default() });
    let mut road = road(&far, SCHEMA, "");
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'a')");
    halts(&road, "404 (index_not_found_exception)");
    far.state().indices.insert("t".to_owned(), Index::default());
    is_equal(&road, &far, "t");
    far.state().indices.get_mut("t").unwrap().is_blocked = true;
    road.sql("INSERT INTO t VALUES (2, 'b')");
    halts(&road, "403 (cluster_block_exception)");
    far.state().indices.get_mut("t").unwrap().is_blocked = false;
    is_equal(&road, &far, "t");
    assert_eq!(road.dead_letters(&["--state", "dead"]), Vec::<Value>::new());
}

#[test]
fn a_request_that_is_too_large_goes_in_halves() {
    let far = Fake::start(Cluster { content_max: 20_000, ..Cluster::default() });
    let mut road = road(&far, SCHEMA, "");
    road.sql("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 200) g");
    road.sql("INSERT INTO t VALUES (300, repeat('x', 30000))");
    road.start();
    let mut letters = Vec::new();
    eventually("the one that never fits is set aside", PATIENCE, || {
        letters = road.dead_letters(&["--state", "dead"]);
        letters.len() == 1
    });
    assert_eq!(letters[0]["key"], json!({ "id": 300 }));
    eventually("the rest is there", PATIENCE, || far.state().documents("t").len() == 200);
}

#[test]
fn settings_that_do_not_fit_are_refused_where_they_stand() {
    let far = Fake::start(Cluster::default());
    let road = road(&far, SCHEMA, "");
    let url = far.url();
    for (url, sink, more, problem) in [
        (url.as_str(), "", "index = \"{{ table\"", "is not closed"),
        (&url, "", "index = \"_{{ table.name }}\"", "makes no name of an index"),
        (&url, "", "index = \"a b\"", "makes no name of an index"),
        (&url, "", "user = \"a\"", "needs \"password\""),
        (&url, "", "password = \"a\"", "needs \"user\""),
        (&url, "", "api_key = \"k\"\nuser = \"a\"\npassword = \"b\"", "drop the other"),
        (&url, "", "api_key = \"a\\nb\"", "has a line end"),
        (&url, "format = \"debezium\"", "", "which only format = \"walgate\" has"),
        ("http://u:p@localhost:9200", "", "", "address alone"),
        ("http://10.0.0.1:9200", "", "", "allow_private"),
    ] {
        road.configure(&config(url, sink, more, ""));
        let check = road.walgate.call(&["check", "--offline"]);
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(2), "{problem}: {said}");
        assert!(said.contains(problem) && said.contains("walgate.toml:"), "{problem}: {said}");
    }
}
