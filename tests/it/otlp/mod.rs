//! A collector of OpenTelemetry is told what `/metrics` says and what was sent, in the form of the
//! protocol, as its own definitions read it; and nothing depends on it.

mod metrics;
mod outages;
mod traces;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::formats::interpreter;
use crate::support::receiver::{Journal, Receiver, Request};

/// The table that names the collector; `keys` are lines of it.
fn otlp(collector: &Receiver, keys: &str) -> String {
    format!("[telemetry.otlp]\nendpoint = \"{}\"\n{keys}\n", collector.url(""))
}

/// Requests to a path, taken or not.
fn to<'j>(journal: &'j Journal, path: &str) -> Vec<&'j Request> {
    journal.requests.iter().filter(|request| request.target == path).collect()
}

/// Returns what the definitions of the protocol read in what a collector took: `metrics`, export by
/// export, and `spans`.
#[track_caller]
fn read(journal: &Journal) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let taken = journal.requests.iter().filter(|request| request.processed);
    let requests: Vec<Value> = taken
        .map(|request| {
            assert_eq!(request.header("content-type"), Some("application/json"));
            let body = str::from_utf8(&request.body).unwrap();
            json!({ "path": request.target, "body": body })
        })
        .collect();
    fs::write(folder.path().join("requests"), json!(requests).to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/otlp/read.py");
    let mut command = Command::new(interpreter());
    command.arg(script).args(["requests", "read"]).current_dir(folder.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&fs::read_to_string(folder.path().join("read")).unwrap()).unwrap()
}
