//! Whether everything is ready: config, state, source and sinks, a line each.

mod alerts;
mod binary;
mod mappings;
mod report;
mod resume;
mod server;
mod sinks;
mod source;
mod state;
mod tables;

pub use report::{Check, Report, Status};

use crate::config::Config;

/// Looks at all of it; at the config alone where `offline`.
pub async fn examine(config: &Config, offline: bool) -> Report {
    let mut report = Report::default();
    lint(config, &mut report);
    alerts::check(config, &mut report);
    if !offline {
        state::check(config, &mut report);
        source::check(config, &mut report).await;
        sinks::check(config, &mut report).await;
    }
    report
}

/// The config itself is fine, or we were not here; its warnings are told.
fn lint(config: &Config, report: &mut Report) {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    let (routes, sinks) = (config.routes.len(), config.sinks.len());
    report.ok("config", "config", format!("{}, {}", count(routes, "route"), count(sinks, "sink")));
    for warning in &config.warnings {
        let (seen, fix) = match warning.message.split_once("; ") {
            Some((seen, fix)) => (seen, fix),
            None => (warning.message.as_str(), ""),
        };
        let place = format!("{}:{}:{}", warning.file, warning.line, warning.column);
        report.warn("config.warning", &place, seen, fix);
    }
}
