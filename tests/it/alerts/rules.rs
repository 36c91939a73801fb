//! The rules for Prometheus and the dashboard that are shipped: they work, and ask for what is
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;
use walgate::demo::cluster::Cluster;

use crate::support::process::eventually;
use crate::support::receiver::{Event, Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T, http};

const RULES: &str = "examples/prometheus/walgate.rules.yml";
const DASHBOARD: &str = "examples/grafana/walgate.json";

/// Labels that Prometheus gives, or that it computes.
const GIVEN: &[&str] = &["job", "instance", "le"];

#[track_caller]
fn promtool(args: &[&str]) {
    let output = Command::new("promtool").current_dir("examples/prometheus").args(args).output();
    let output = output.unwrap_or_else(|error| panic!("promtool ({error}): scripts/setup test"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn the_rules_do_what_they_say() {
    promtool(&["check", "rules", "walgate.rules.yml"]);
    promtool(&["test", "rules", "walgate.test.yml"]);
    let (rules, tests) = (
        fs::read_to_string(RULES).unwrap(),
        fs::read_to_string("examples/prometheus/walgate.test.yml").unwrap(),
    );
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {name}")), "no test of {name}");
        let page = fs::read_to_string("docs/alerts.md").unwrap();
        assert!(page.contains(name), "docs/alerts.md lacks {name}");
    }
}

#[test]
fn what_rules_and_dashboard_ask_for_is_there() {
    let receiver = Receiver::start();
    receiver.when(|event: &Event| event.0["data"]["id"] == 3, Reply::status(422));
    let route = "[[route]]\nname = \"r\"\ntable = \"public.t\"\nsink = \"far\"\n";
    let config = http("far", &receiver.url("/"), "") + route;
    let builder = Cluster::builder().setting("max_slot_wal_keep_size", "200MB");
    let mut road = Road::bare(builder, T);
    road.sql(
        "CREATE PUBLICATION walgate FOR ALL TABLES; CREATE TABLE noise (v text);
              INSERT INTO t VALUES (0, 'loaded')",
    );
    road.configure_as("", "heartbeat = \"1s\"", &config);
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    let mut wanted = metrics(&fs::read_to_string(RULES).unwrap());
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(DASHBOARD).unwrap()).unwrap();
    let mut rows = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        if panel["type"] == "row" {
            rows.push(panel["title"].as_str().unwrap());
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
            wanted.extend(metrics(target["expr"].as_str().unwrap()));
        }
    }
    assert_eq!(rows, ["Source", "Pipeline", "Sinks"]);
    assert!(wanted.len() > 20, "{wanted:?}");
    let session = road.session();
    road.sql_in(&session, "BEGIN; INSERT INTO t VALUES (4, 'open')");
    eventually("every metric is there", PATIENCE, || {
        // What is kept for the slot grows while the transaction is open.
        road.sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 100)");
        let there = samples(&road.walgate.get("/metrics").body);
        wanted.iter().all(|asked| is_there(asked, &there))
    });
    drop(session);
}

/// A metric that is asked for, with the labels that it is asked by.
type Asked = (String, Vec<String>);

/// The metrics of walgate in a text of queries, with the labels in their braces.
fn metrics(text: &str) -> BTreeSet<Asked> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("walgate_") {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let rest = &text[at..];
        let name: String = rest.chars().take_while(|c| is_of_name(*c)).collect();
        let behind = &rest[name.len()..];
        let labels = behind.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let labels = labels.map(|(labels, _)| labels.split(',')).into_iter().flatten();
        let labels = labels.filter_map(|label| Some(label.split_once(['=', '!'])?.0.to_owned()));
        found.insert((name, labels.collect()));
    }
    found
}

/// The labels of each metric that is there.
fn samples(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap();
        let labels = line[end..].strip_prefix('{').map(|inner| inner.split("\",")).into_iter();
        let labels = labels.flatten().filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        there.entry(line[..end].to_owned()).or_default().extend(labels);
    }
    there
}

fn is_there((name, labels): &Asked, there: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let has = |label: &String, known: &BTreeSet<String>| {
        GIVEN.contains(&label.as_str()) || known.contains(label)
    };
    there.get(name).is_some_and(|known| labels.iter().all(|label| has(label, known)))
}
