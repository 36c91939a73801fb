//! The `redis` sink against a real server: what is committed in Postgres is in the stream.

mod arrives;
mod refuses;

use std::process::Command;

use super::served::{self, Served};
use crate::support::process::eventually;
use crate::support::receiver::Journal;
use crate::support::road::{PATIENCE, Road};

/// The stream of the table `t`.
const STREAM: &str = "walgate:public.t";

/// A Redis server that has on disk what it says it has.
#[derive(Debug)]
struct Redis {
    server: Served,
    password: &'static str,
}

impl Redis {
    #[track_caller]
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one; `more` are settings: `--name value`.
    #[track_caller]
    fn start_with(more: &[&str]) -> Self {
        let mut server = Served::new("redis-server".into(), |folder, port| {
            let (folder, port) = (folder.to_str().unwrap(), port.to_string());
            let own = ["--port", &port, "--dir", folder, "--bind", "127.0.0.1", "--save", ""];
            let disk = ["--appendonly", "yes", "--appendfsync", "always"];
            own.iter().chain(&disk).chain(more).map(|word| (*word).to_owned()).collect()
        });
        server.start();
        let mut redis = Self { server, password: "" };
        if let Some(at) = more.iter().position(|word| *word == "--requirepass") {
            redis.password = if more[at + 1] == "right" { "right" } else { "other" };
        }
        redis
    }

    /// Runs a command with Redis's own client; returns what it says, as JSON.
    #[track_caller]
    fn ask(&self, args: &[&str]) -> serde_json::Value {
        let port = self.server.address.port().to_string();
        let mut command = Command::new("redis-cli");
        command.args(["--json", "-p", &port]).args(args).env("REDISCLI_AUTH", self.password);
        if self.password.is_empty() {
            command.env_remove("REDISCLI_AUTH");
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{args:?}: {text}"))
    }

    /// Reads the ids and the fields of a stream's entries.
    #[track_caller]
    fn entries(&self, stream: &str) -> Vec<(String, Vec<(String, String)>)> {
        let entries: Vec<(String, Vec<String>)> =
            serde_json::from_value(self.ask(&["XRANGE", stream, "-", "+"])).unwrap();
        let pairs = |fields: Vec<String>| {
            fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
        };
        entries.into_iter().map(|(id, fields)| (id, pairs(fields))).collect()
    }

    /// Reads the stream of `t`: fields are headers, the event is the body.
    #[track_caller]
    fn read(&self) -> Journal {
        served::journal(self.entries(STREAM).into_iter().map(|(id, fields)| {
            let event = fields.iter().find(|field| field.0 == "event").unwrap().1.clone();
            (id, fields, event)
        }))
    }

    fn address(&self) -> String {
        self.server.address.to_string()
    }
}

/// The sink `far`; `sink` are keys of it, `keys` those of its kind.
fn far(address: &str, sink: &str, keys: &str) -> String {
    format!("[sink.far]\n{sink}\n[sink.far.redis]\nurl = \"redis://{address}\"\n{keys}\n")
}

/// Runs the example; `road` starts from the URL of its server.
pub(crate) fn the_example_arrives(road: impl FnOnce(&str) -> Road) {
    let redis = Redis::start();
    let mut road = road(&format!("redis://{}", redis.address()));
    road.sql("INSERT INTO orders (id, status) VALUES (1, 'new')");
    road.start();
    eventually("the load", PATIENCE, || !redis.entries("orders").is_empty());
    road.sql("DELETE FROM orders WHERE id = 1");
    road.confirms(&road.wal_end());
    let entries = redis.entries("orders");
    let ops = entries.iter().flat_map(|(_, fields)| fields).filter(|field| field.0 == "op");
    assert_eq!(ops.map(|field| &field.1).collect::<Vec<_>>(), ["read", "delete"]);
}
