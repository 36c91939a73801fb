//! Formats of others, held against the software of others: what walgate sent over HTTP is read by
//! the SDK of CloudEvents, and what Debezium makes of the same changes stands beside it.

mod cloudevents;
mod debezium;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use walgate::config::{self, Environment};

use super::support::process::eventually;

/// How long a script may take: one starts a virtual machine, and in it an engine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A Python program that runs for a test, and ends with it.
struct Python(Child);

impl Python {
    /// Starts a script of this folder; what it says goes to the file `log` of `folder`.
    #[track_caller]
    fn start(script: &str, folder: &Path, args: &[&str]) -> Self {
        let log = File::create(folder.join("log")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/formats").join(script);
        let mut command = Command::new(interpreter());
        command.arg(script).args(args).current_dir(folder);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// Waits until it has ended well.
    #[track_caller]
    fn ends(&mut self, folder: &Path) {
        let mut status = None;
        eventually("the script ends", PATIENCE, || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        let log = || std::fs::read_to_string(folder.join("log")).unwrap();
        assert!(status.unwrap().success(), "{}", log());
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the interpreter that `scripts/setup test` has put the software of others beside.
#[track_caller]
pub(crate) fn interpreter() -> PathBuf {
    let home = std::env::var("HOME").unwrap_or_default();
    let places = ["/var/cache/walgate".to_owned(), format!("{home}/.cache/walgate")];
    let mut places = places.iter().map(|place| Path::new(place).join("python/bin/python"));
    let found = places.find(|python| python.exists());
    found.unwrap_or_else(|| panic!("`scripts/setup test` makes the environment"))
}

#[test]
fn a_mode_of_cloudevents_wants_cloudevents_and_one_event_a_request() {
    #[track_caller]
    fn check(sink: &str, http: &str, expected: &str) {
        let text = format!(
            "[source]\nurl = \"postgres://localhost/shop\"\n[sink.far]\n{sink}\n[sink.far.http]\n\
             url = \"http://localhost/\"\n{http}\n[[route]]\nname = \"t\"\ntable = \"public.t\"\nsink = \"far\"\n"
        );
        let environment = Environment { variable: &|_| None, folder: Path::new(".") };
        let said = match config::parse("walgate.toml", &text, &environment) {
            Ok(config) => format!("{:?}", config.warnings),
            Err(error) => format!("{error:?}"),
        };
        assert!(said.contains(expected), "{said}");
        assert!(!expected.is_empty() || said == "[]", "{said}");
    }
    let cloudevents = "format = \"cloudevents\"";
    check("format = \"debezium\"\nbatch = { max_events = 9 }", "", "");
    check(cloudevents, "", "");
    check(cloudevents, "cloudevents = \"binary\"", "");
    check(
        &format!("{cloudevents}\nbatch = {{ max_events = 9 }}"),
        "cloudevents = \"structured\"",
        "",
    );
    check(
        &format!("{cloudevents}\nbatch = {{ max_events = 9 }}"),
        "cloudevents = \"binary\"",
        "set batch.max_events = 1",
    );
    for mode in ["binary", "structured"] {
        check(
            "format = \"mapped\"",
            &format!("cloudevents = \"{mode}\""),
            "set that, or leave it out",
        );
    }
    let headers = "cloudevents = \"binary\"\nheaders = { ce-own = \"x\" }";
    check(cloudevents, headers, "is set by walgate itself");
}
