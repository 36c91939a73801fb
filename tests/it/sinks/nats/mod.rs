//! The `nats` sink against a real server: what is committed in Postgres is in the stream.

mod arrives;
mod refuses;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::served::{self, Served};
use crate::support::process::eventually;
use crate::support::receiver::Journal;
use crate::support::road::{PATIENCE, Road};

/// The stream of the tests.
const STREAM: &str = "CDC";

/// A NATS server with JetStream.
#[derive(Debug)]
struct Nats {
    server: Served,
    /// What of a URL says who asks.
    who: &'static str,
}

impl Nats {
    /// Starts one; `more` are lines of its configuration.
    #[track_caller]
    fn start(more: &str) -> Self {
        Self::start_for("", more)
    }

    /// Starts one for tests that ask as `who`: `user:password@`.
    #[track_caller]
    fn start_for(who: &'static str, more: &str) -> Self {
        let server = Served::new(python("nats-server"), |folder, _| {
            vec!["-c".to_owned(), folder.join("nats.conf").to_str().unwrap().to_owned()]
        });
        let mut nats = Self { server, who };
        nats.configure(more);
        nats.server.start();
        nats
    }

    /// Writes its configuration for the next start.
    fn configure(&self, more: &str) {
        let folder = self.server.folder.path();
        let port = self.server.address.port();
        let store = folder.join("store");
        let text = format!(
            "host: \"127.0.0.1\"\nport: {port}\njetstream {{ store_dir: \"{}\", max_file_store: 1GB }}\n{more}\n",
            store.display()
        );
        std::fs::write(folder.join("nats.conf"), text).unwrap();
    }

    /// Makes the stream, or changes it: `config` beside what it must have.
    #[track_caller]
    fn stream(&self, config: &Value) {
        let mut all = json!({ "subjects": ["walgate.>"], "duplicate_window": 600_000_000_000_u64 });
        for (key, value) in config.as_object().unwrap() {
            all[key] = value.clone();
        }
        self.ask(&["make", STREAM, &all.to_string()]);
    }

    /// Starts one with the stream.
    #[track_caller]
    fn with_stream() -> Self {
        let nats = Self::start("");
        nats.stream(&json!({}));
        nats
    }

    /// Reads the stream with NATS's own client.
    #[track_caller]
    fn read(&self) -> Journal {
        let text = self.ask(&["read", STREAM]);
        served::journal(text.lines().map(|line| {
            let (subject, headers, body): (String, BTreeMap<String, String>, String) =
                serde_json::from_str(line).unwrap();
            (subject, headers.into_iter().collect(), body)
        }))
    }

    #[track_caller]
    fn ask(&self, args: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sinks/nats/client.py");
        let url = format!("nats://{}{}", self.who, self.server.address);
        let output =
            Command::new(python("python")).arg(script).arg(url).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn address(&self) -> String {
        self.server.address.to_string()
    }
}

/// Returns a program that `scripts/setup test` has fetched.
#[track_caller]
fn python(program: &str) -> PathBuf {
    let home = std::env::var("HOME").unwrap_or_default();
    let places = ["/var/cache/walgate".to_owned(), format!("{home}/.cache/walgate")];
    let mut places = places.iter().map(|place| Path::new(place).join("python/bin").join(program));
    places.find(|found| found.exists()).unwrap_or_else(|| panic!("run `scripts/setup test`"))
}

/// The sink `far`; `sink` are keys of it, `keys` those of its kind.
fn far(address: &str, sink: &str, keys: &str) -> String {
    format!("[sink.far]\n{sink}\n[sink.far.nats]\nservers = \"nats://{address}\"\n{keys}\n")
}

/// Runs the example against a server that its comment makes; `road` starts from its URL.
pub(crate) fn the_example_arrives(road: impl FnOnce(&str) -> Road) {
    let nats = Nats::start("");
    let config = json!({ "subjects": ["shop.>"], "duplicate_window": 600_000_000_000_u64 });
    nats.ask(&["make", "ORDERS", &config.to_string()]);
    let mut road = road(&format!("nats://{}", nats.address()));
    road.sql("INSERT INTO orders (id, status) VALUES (1, 'new')");
    road.start();
    eventually("the load", PATIENCE, || !nats.ask(&["read", "ORDERS"]).is_empty());
    road.sql("DELETE FROM orders WHERE id = 1");
    road.confirms(&road.wal_end());
    let text = nats.ask(&["read", "ORDERS"]);
    let subjects = text.lines().map(|line| {
        let message: (String, Value, String) = serde_json::from_str(line).unwrap();
        message.0
    });
    let expected = ["shop.public.orders.read", "shop.public.orders.delete"];
    assert_eq!(subjects.collect::<Vec<_>>(), expected);
}
