//! `[[alert]]`

use crate::alert::{Form, Rule, Threshold, To, When};
use crate::config::compile::{Sink, SinkKind};
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table};
use crate::config::unit;
use crate::sink;

/// Reads the alerts; none only when a problem has been noted.
pub(super) fn all(tree: &Table, sinks: &[Sink], notes: &mut Notes<'_>) -> Option<Vec<Rule>> {
    let tables: Vec<&Table> = tree.list("alert").iter().filter_map(Entry::table).collect();
    let mut rules: Vec<Rule> = Vec::new();
    for table in &tables {
        let Some(rule) = rule(tree, table, sinks, notes) else { continue };
        let span = if table.given("name") { table.span("name") } else { table.place.clone() };
        super::check_name("alert", &rule.name, &span, notes);
        if rules.iter().any(|earlier| earlier.name == rule.name) {
            let message =
                format!("two alerts are called \"{}\"; give one another \"name\"", rule.name);
            notes.problem(&span, message);
        }
        let is_taken = |when: &When| when.as_str() == rule.name && *when != rule.when;
        if When::ALL.iter().any(is_taken) {
            let message =
                format!("\"{}\" is the name of another alert; name it otherwise", rule.name);
            notes.problem(&span, message);
        }
        rules.push(rule);
    }
    (rules.len() == tables.len()).then_some(rules)
}

/// Whether an alert goes to a sink.
pub(super) fn names(tree: &Table, sink: &str) -> bool {
    let mut alerts = tree.list("alert").iter().filter_map(Entry::table);
    alerts.any(|alert| destinations(alert).any(|entry| entry.text() == Some(sink)))
}

/// The entries of `to`: one, or a list.
fn destinations(table: &Table) -> impl Iterator<Item = &Entry> {
    let one = table.entry("to").filter(|entry| entry.text().is_some());
    one.into_iter().chain(table.list("to"))
}

fn rule(tree: &Table, table: &Table, sinks: &[Sink], notes: &mut Notes<'_>) -> Option<Rule> {
    let word = table.text("when")?;
    let when = When::ALL.into_iter().find(|when| when.as_str() == word)?;
    let threshold = threshold(table, when, notes);
    let watched = watched(tree, table, when, notes);
    let mut to: Vec<To> = Vec::new();
    for entry in destinations(table) {
        let name = entry.text()?;
        if to.iter().any(|other| other.sink == name) {
            notes.problem(&entry.span, format!("\"{name}\" stands in \"to\" twice"));
        }
        to.push(destination(tree, name, sinks, &entry.span, notes));
    }
    Some(Rule {
        name: table.text("name").unwrap_or(word).to_owned(),
        when,
        threshold: threshold?,
        lasting: table.duration("for").unwrap_or_else(|| when.lasting()),
        of_run: watched.is_empty(),
        sinks: watched,
        repeat: table.duration("repeat")?,
        to,
    })
}

fn threshold(table: &Table, when: When, notes: &mut Notes<'_>) -> Option<Threshold> {
    if !table.given("threshold") {
        return Some(when.threshold());
    }
    let (text, number) = (table.text("threshold"), table.integer("threshold"));
    let duration = || text.and_then(unit::duration).map(Threshold::Duration);
    let size = || text.and_then(unit::size).map(Threshold::Size);
    let (read, form) = match when.form() {
        Form::None => {
            let message = format!("\"{}\" has no threshold; leave it out", when.as_str());
            notes.problem(&table.span("threshold"), message);
            return None;
        }
        Form::Duration => (duration(), "a duration such as \"5m\""),
        Form::DurationOrSize => {
            (duration().or_else(size), "a duration such as \"5m\", or a size such as \"1GiB\"")
        }
        Form::Size => (size(), "a size such as \"4GiB\""),
        Form::Count => (number.map(Threshold::Count), "a whole number from 0"),
        Form::Factor => (
            number.filter(|factor| *factor > 1).map(Threshold::Factor),
            "a whole number from 2: how many times the usual",
        ),
    };
    if read.is_none() {
        let message = format!("the threshold of \"{}\" is {form}; write one", when.as_str());
        notes.problem(&table.span("threshold"), message);
    }
    read
}

/// The sinks that it watches; empty: all.
fn watched(tree: &Table, table: &Table, when: When, notes: &mut Notes<'_>) -> Vec<String> {
    let mut watched = Vec::new();
    for (key, what) in [("sinks", "sink"), ("routes", "route")] {
        if !table.given(key) {
            continue;
        }
        if when.of_source() {
            let message = format!("\"{}\" is about the source; leave \"{key}\" out", when.as_str());
            notes.problem(&table.span(key), message);
        }
        if table.list(key).is_empty() {
            notes.problem(&table.span(key), format!("\"{key}\" names no {what}; leave it out"));
        }
        for entry in table.list(key) {
            let Some(name) = entry.text() else { continue };
            if key == "sinks" {
                super::refer("sink", name, tree.named("sink"), &entry.span, notes);
                watched.push(name.to_owned());
                continue;
            }
            let mut routes = tree.list("route").iter().filter_map(Entry::table);
            let route = routes.find(|route| route.text("name") == Some(name));
            match route.and_then(|route| route.text("sink")) {
                Some(sink) => watched.push(sink.to_owned()),
                None => {
                    let message = format!("there is no route \"{name}\"; name one of the file");
                    notes.problem(&entry.span, message);
                }
            }
        }
    }
    watched.sort();
    watched.dedup();
    watched
}

fn destination(
    tree: &Table,
    name: &str,
    sinks: &[Sink],
    span: &std::ops::Range<usize>,
    notes: &mut Notes<'_>,
) -> To {
    super::refer("sink", name, tree.named("sink"), span, notes);
    let to = |slack| To { sink: name.to_owned(), slack };
    let Some(settings) = sinks.iter().find(|sink| sink.name == name) else { return to(false) };
    let SinkKind::Sent(config @ sink::Config::Http(_)) = &settings.kind else {
        let message = format!("sink \"{name}\" is not of the kind http; alerts go to http sinks");
        notes.problem(span, message);
        return to(false);
    };
    if let Err(error) = sink::build(name, config, &settings.common_of_notices()) {
        let message = format!("alerts can't go to sink \"{name}\": {}", super::sink::chain(&error));
        notes.problem(span, message);
    }
    let entry = tree.named("sink").iter().find(|entry| entry.name == name);
    let http = entry.and_then(Entry::table).and_then(|table| table.table("http"));
    to(http.and_then(|http| http.text("preset")) == Some("slack"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, Environment, parse};

    fn read(alerts: &str) -> Result<Config, Vec<String>> {
        let text = format!(
            "[source]\nurl = \"postgres://h/d\"\n[sink.crm.stdout]\n[sink.ops.http]\n\
             url = \"http://localhost/\"\npreset = \"slack\"\n[sink.ops]\nformat = \"mapped\"\n\
             [[route]]\nname = \"r\"\ntable = \"public.t\"\nsink = \"crm\"\n{alerts}"
        );
        let environment = Environment { variable: &|_| None, folder: Path::new(".") };
        parse("walgate.toml", &text, &environment)
            .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_alert_is_read_with_its_defaults() {
        let config = read(
            "[[alert]]\nwhen = \"freshness\"\nthreshold = \"10m\"\nroutes = [\"r\"]\nto = \"ops\"\n\
             [[alert]]\nname = \"big\"\nwhen = \"lag\"\nthreshold = \"1GiB\"\nfor = \"30s\"\n\
             [[alert]]\nwhen = \"failure_rate\"\nthreshold = 3\nto = [\"ops\"]\n",
        )
        .unwrap();
        let [stale, lag, rate] = config.alerts.as_slice() else { panic!("three alerts") };
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(stale.threshold, Threshold::Duration(minutes(10)));
        assert_eq!((stale.lasting, stale.repeat), (minutes(1), minutes(240)));
        assert_eq!(
            (stale.name.as_str(), stale.sinks.as_slice()),
            ("freshness", &["crm".to_owned()][..])
        );
        assert_eq!(stale.to, [To { sink: "ops".to_owned(), slack: true }]);
        assert_eq!((lag.threshold, lag.to.len()), (Threshold::Size(1 << 30), 0));
        assert_eq!(rate.threshold, Threshold::Factor(3));
        // A sink that only alerts name is one that is meant.
        assert!(!config.warnings.iter().any(|it| it.message.contains("by no route")));
    }

    #[track_caller]
    fn refuses(alert: &str, place: &str, message: &str) {
        let problems = read(&format!("[[alert]]\n{alert}\n")).unwrap_err();
        let expected = format!("walgate.toml:{place}: {message}");
        assert!(problems.contains(&expected), "{problems:#?} lacks {expected}");
    }

    #[test]
    fn what_makes_no_sense_is_told_at_its_place() {
        let not_http = "sink \"crm\" is not of the kind http; alerts go to http sinks";
        refuses("when = \"halted\"\nto = \"crm\"", "15:6", not_http);
        refuses(
            "when = \"halted\"\nto = [\"opz\"]",
            "15:7",
            "there is no sink \"opz\"; did you mean \"ops\"?",
        );
        refuses(
            "when = \"halted\"\nthreshold = 3",
            "15:13",
            "\"halted\" has no threshold; leave it out",
        );
        let size = "the threshold of \"retained_wal\" is a size such as \"4GiB\"; write one";
        refuses("when = \"retained_wal\"\nthreshold = \"5m\"", "15:13", size);
        let factor = "the threshold of \"latency\" is a whole number from 2: how many times the usual; write one";
        refuses("when = \"latency\"\nthreshold = 1", "15:13", factor);
        refuses(
            "when = \"lag\"\nsinks = [\"crm\"]",
            "15:9",
            "\"lag\" is about the source; leave \"sinks\" out",
        );
        refuses(
            "when = \"gap\"\nroutes = [\"x\"]",
            "15:11",
            "there is no route \"x\"; name one of the file",
        );
        let twice = "two alerts are called \"gap\"; give one another \"name\"";
        refuses("when = \"gap\"\n[[alert]]\nwhen = \"gap\"", "15:1", twice);
        let taken = "\"halted\" is the name of another alert; name it otherwise";
        refuses("when = \"gap\"\nname = \"halted\"", "15:8", taken);
    }
}
