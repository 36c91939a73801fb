//! `[telemetry.otlp]`

use std::time::Duration;

use serde_json::Value as Json;

use super::sink::{files, place_of};
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table, Value};
use crate::failure::chain;
use crate::secret::Secret;
use crate::sink::web::{self, Post, Reach};

/// A collector of OpenTelemetry.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// Where it listens, without the path of a signal.
    pub endpoint: Secret,
    /// Names and values.
    pub headers: Vec<(String, Secret)>,
    /// Between two exports of the metrics.
    pub interval: Duration,
    /// Which part of the traces is kept, above 0 and up to 1; none: there are none.
    pub traces: Option<f64>,
    /// Attributes of whoever exports: texts, numbers and booleans.
    pub resource: Vec<(String, Json)>,
    /// Until an export is given up that nobody answers.
    pub timeout: Duration,
    /// Where requests may go, and how.
    pub reach: Reach,
}

impl Otlp {
    /// Returns what sends to a path of it: `/v1/metrics`.
    ///
    /// # Errors
    /// No request can be made with the settings.
    pub fn post(&self, path: &str) -> Result<Post, web::Error> {
        let base = ("endpoint", &self.endpoint);
        Post::new(base, path, &self.headers, &self.reach, self.timeout)
    }
}

/// Reads the table, if there is one; none only when a problem has been noted.
pub(super) fn otlp(tree: &Table, notes: &mut Notes<'_>) -> Option<Option<Otlp>> {
    let table = match tree.table("telemetry") {
        None => return Some(None),
        Some(telemetry) => match telemetry.entry("otlp") {
            None if telemetry.refused => return None,
            None => return Some(None),
            Some(entry) => entry.table()?,
        },
    };
    let headers = table.named("headers").iter();
    let headers = headers.filter_map(|entry| Some((entry.name.clone(), entry.secret()?.clone())));
    let resource: Vec<_> =
        table.named("resource").iter().map(|entry| attribute(entry, notes)).collect();
    let otlp = Otlp {
        endpoint: table.secret("endpoint")?.clone(),
        headers: headers.collect(),
        interval: table.duration("interval")?,
        traces: match table.boolean("traces") {
            Some(true) => Some(1.0),
            Some(false) => None,
            None => Some(table.any("traces")?.as_f64()?),
        },
        resource: resource.into_iter().collect::<Option<_>>()?,
        timeout: table.duration("timeout")?,
        reach: Reach { tls: files(table), allow_private: table.boolean("allow_private")? },
    };
    if let Err(error) = otlp.post("/v1/metrics") {
        let span = place_of(Some(table), error.key()).unwrap_or_else(|| table.place.clone());
        notes.problem(&span, chain(&error));
        return None;
    }
    Some(Some(otlp))
}

fn attribute(entry: &Entry, notes: &mut Notes<'_>) -> Option<(String, Json)> {
    match &entry.value {
        Value::Any(value @ (Json::String(_) | Json::Bool(_) | Json::Number(_))) => {
            Some((entry.name.clone(), value.clone()))
        }
        _ => {
            let message = format!("\"{}\" must be a text, a number, true or false", entry.name);
            notes.problem(&entry.span, message);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::{Config, Environment, parse};

    fn read(keys: &str) -> Result<Config, Vec<String>> {
        let text = format!(
            "[source]\nurl = \"postgres://h/d\"\n[sink.s.stdout]\n\
             [[route]]\nname = \"r\"\ntable = \"public.t\"\nsink = \"s\"\n{keys}\n"
        );
        let variable = |name: &str| (name == "TOKEN").then(|| "s3cret-t0ken".to_owned());
        let environment = Environment { variable: &variable, folder: Path::new("/etc/walgate") };
        parse("walgate.toml", &text, &environment)
            .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_collector_is_read_and_its_secrets_are_not_shown() {
        assert!(read("").unwrap().otlp.is_none());
        assert!(read("[telemetry]").unwrap().otlp.is_none());
        let config = read(
            "[telemetry.otlp]\nendpoint = \"https://c.example/otel/\"\ntraces = 0.25\n\
             headers = { api-key = \"${TOKEN}\" }\n\
             resource = { \"deployment.environment.name\" = \"prod\", shard = 3 }",
        )
        .unwrap();
        let otlp = config.otlp.unwrap();
        assert_eq!(otlp.traces, Some(0.25));
        assert_eq!(otlp.interval, Duration::from_secs(15));
        let resource = [("deployment.environment.name", json!("prod")), ("shard", json!(3))];
        assert_eq!(otlp.resource, resource.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(otlp.post("/v1/traces").unwrap().host(), "c.example:443");
        assert!(config.text.contains("traces = 0.25"), "{}", config.text);
        let shown = format!("{otlp:?}{}", config.text);
        assert!(!shown.contains("s3cret") && !shown.contains("c.example"), "{shown}");
    }

    #[test]
    fn traces_are_all_none_or_a_part() {
        let traces = |word: &str| {
            let keys = format!("[telemetry.otlp]\nendpoint = \"http://localhost:4318\"\n{word}");
            read(&keys).unwrap().otlp.unwrap().traces
        };
        assert_eq!(traces(""), None);
        assert_eq!(traces("traces = false"), None);
        assert_eq!(traces("traces = true"), Some(1.0));
        assert_eq!(traces("traces = 1"), Some(1.0));
    }

    #[track_caller]
    fn refuses(keys: &str, expected: &str) {
        let problems = read(&format!("[telemetry.otlp]\n{keys}")).unwrap_err();
        let expected = format!("walgate.toml:{expected}");
        assert!(problems.contains(&expected), "{problems:#?} lacks {expected}");
    }

    #[test]
    fn what_makes_no_sense_is_told_at_its_place() {
        let endpoint = "endpoint = \"http://h\"";
        let scheme = "`endpoint` must start with https:// or http:// and name a host";
        refuses("endpoint = \"grpc://h:4317\"", &format!("9:12: {scheme}"));
        let header = "`headers.x` has a line end or a control character in its value";
        refuses(&format!("{endpoint}\nheaders = {{ x = \"a\\nb\" }}"), &format!("10:17: {header}"));
        let name = "`headers.a b` is not a header's name";
        let written = "headers = { \"a b\" = \"c\" }";
        refuses(&format!("{endpoint}\n{written}"), &format!("10:21: {name}"));
        let ratio = "\"traces\" must be a number above 0, up to 1, not 1.5";
        refuses(&format!("{endpoint}\ntraces = 1.5"), &format!("10:10: {ratio}"));
        let value = "\"tags\" must be a text, a number, true or false";
        refuses(&format!("{endpoint}\nresource = {{ tags = [1] }}"), &format!("10:21: {value}"));
        let unknown = "unknown key \"end_point\"; did you mean \"endpoint\"?";
        refuses("end_point = \"http://h\"", &format!("9:1: {unknown}"));
    }
}
