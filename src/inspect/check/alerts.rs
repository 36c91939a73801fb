//! Alerts: what each watches for, and where it goes. Whether that can be reached the check of the
//! sink says.

use super::report::Report;
use crate::alert::Rule;
use crate::config::Config;

pub(super) fn check(config: &Config, report: &mut Report) {
    for alert in &config.alerts {
        let subject = format!("alert {}", alert.name);
        let watches = watches(alert);
        if alert.to.is_empty() {
            let fix = "name an http sink in \"to\", or leave it so";
            let seen = format!("{watches}: told in the log and the incidents alone");
            report.warn("alert.to", &subject, seen, fix);
            continue;
        }
        let to: Vec<&str> = alert.to.iter().map(|to| to.sink.as_str()).collect();
        let seen = format!("{watches}: goes to {}, see there", to.join(", "));
        report.ok("alert.to", &subject, seen);
    }
}

fn watches(alert: &Rule) -> String {
    let limit = alert.limit();
    let limit = if limit.is_empty() { limit } else { format!(" {limit}") };
    let sinks = if alert.sinks.is_empty() {
        String::new()
    } else {
        format!(" of {}", alert.sinks.join(", "))
    };
    format!("{}{sinks}{limit}", alert.when.as_str())
}
