//! Who asked for it is told what is wrong: once, and once when it is over.

mod restarts;
mod rules;
mod sinks;
mod source;
mod storms;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::process::eventually;
use crate::support::receiver::Receiver;
use crate::support::road::{PATIENCE, Road, http, route};

/// Retries that do not keep a test waiting.
const BRISK: &str = "retry = { initial = \"50ms\", max = \"200ms\", max_attempts = 1000 }\n\
                     breaker = { failures = 2, cooldown = \"200ms\" }\nhalt_probe = \"200ms\"";

/// The sink that notices go to, which no route names.
fn ops(bell: &Receiver) -> String {
    http("ops", &bell.url("/ops"), BRISK)
}

/// A sink at a path of its own, with a route of `t`.
fn sink(name: &str, receiver: &Receiver, keys: &str) -> String {
    http(name, &receiver.url(&format!("/{name}")), &format!("{BRISK}\n{keys}")) + &route("t", name)
}

/// An alert that does not wait; `keys` are lines of it.
fn alert(name: &str, when: &str, keys: &str) -> String {
    format!("[[alert]]\nname = \"{name}\"\nwhen = \"{when}\"\nfor = \"1s\"\nto = \"ops\"\n{keys}\n")
}

/// What came of each alert, in order: notices folded into one count as if they had come alone.
fn notices(bell: &Receiver) -> Vec<Value> {
    let unfold = |notice: Value| match notice["notices"].as_array() {
        Some(notices) => notices.clone(),
        None => vec![notice],
    };
    bell.journal().events().into_iter().flat_map(|event| unfold(event.0)).collect()
}

/// The statuses of each alert in the order in which they came.
fn statuses(bell: &Receiver) -> BTreeMap<String, Vec<String>> {
    let mut statuses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for notice in notices(bell) {
        statuses.entry(text(&notice["name"])).or_default().push(text(&notice["status"]));
    }
    statuses
}

/// Waits until each of these alerts was told of so often.
#[track_caller]
fn are_told(bell: &Receiver, names: &[&str], count: usize) {
    eventually(&format!("{count} notices of each of {names:?}"), PATIENCE, || {
        let seen = statuses(bell);
        names.iter().all(|name| seen.get(*name).map_or(0, Vec::len) >= count)
    });
}

/// Nothing but this has come of each of these alerts: it began, and it ended.
#[track_caller]
fn once_each(bell: &Receiver, names: &[&str]) {
    let seen = statuses(bell);
    for name in names {
        assert_eq!(seen[*name], ["firing", "resolved"], "{name} in {seen:?}");
    }
}

/// How many incidents of an alert are firing, as the metrics have it.
fn firing(road: &Road, alert: &str) -> Option<String> {
    let page = road.walgate.get("/metrics").body;
    let name = format!("walgate_alerts_firing{{alert=\"{alert}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned)
}
