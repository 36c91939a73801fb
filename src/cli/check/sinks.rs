//! Sinks: whether each can be reached and used.

use std::time::Duration;

use super::report::Report;
use crate::config::Config;
use crate::failure::chain;
use crate::sink;

/// How long a sink may take to answer a check.
const CHECK_MAX: Duration = Duration::from_secs(10);

pub(super) async fn check(config: &Config, report: &mut Report) {
    for settings in &config.sinks {
        let subject = format!("sink {}", settings.name);
        let built = sink::build(&settings.name, &settings.kind, &settings.common());
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
