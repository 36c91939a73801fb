//! Sinks: whether each can be reached and used.

use std::time::Duration;

use super::report::Report;
use crate::config::{Config, SinkKind};
use crate::failure::chain;
use crate::sink;

/// How long a sink may take to answer a check.
const CHECK_MAX: Duration = Duration::from_secs(10);

pub(super) async fn check(config: &Config, report: &mut Report) {
    for settings in &config.sinks {
        let subject = format!("sink {}", settings.name);
        let kind = match &settings.kind {
            SinkKind::Sent(kind) => kind,
            SinkKind::Polled => {
                report.ok("sink.ready", &subject, served(config, &settings.name));
                continue;
            }
        };
        let built = sink::build(&settings.name, kind, &settings.common());
        let sink = match built {
            Ok(sink) => sink,
            Err(error) => {
                report.fail("sink.config", &subject, chain(&error), "mend its table in the config");
                continue;
            }
        };
        match tokio::time::timeout(CHECK_MAX, sink.check()).await {
            Ok(Ok(seen)) => report.ok("sink.ready", &subject, seen),
            Ok(Err(failure)) => {
                let fix = "mend it or its table in the config; `run` waits for it meanwhile";
                report.fail("sink.ready", &subject, failure.message, fix);
            }
            Err(_) => {
                let seen = format!("no answer in {} s", CHECK_MAX.as_secs());
                report.fail("sink.ready", &subject, seen, "look whether the destination is up");
            }
        }
    }
}

/// Says where events of a sink are fetched.
fn served(config: &Config, name: &str) -> String {
    let token = if config.admin.token.is_some() { ", to who shows the token" } else { "" };
    format!("`run` serves it at http://{}/v1/sinks/{name}/events{token}", config.admin.listen)
}
