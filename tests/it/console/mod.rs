//! The console and the interface behind it, over a live run.

mod api;
mod pages;
mod playground;

use crate::support::receiver::{Event, Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T, file, http, route};
use walgate::demo::cluster::Cluster;

/// A mapping to play with, and its route.
const LAB: &str = r#"
[sink.lab.file]
path = "lab.ndjson"
[mapping.lab]
version = 1
[mapping.lab.fields]
id = { column = "id", required = true }
name = { column = "v" }
[[mapping.lab.test]]
name = "a name stays"
row = { id = 1, v = "ann" }
expect = { id = 1, name = "ann" }
[[route]]
name = "t-to-lab"
table = "public.t"
sink = "lab"
mapping = "lab"
start = "now"
"#;

/// A run with a sink that refuses one row, and one that takes everything.
struct Shop {
    receiver: Receiver,
    road: Road,
}

impl Shop {
    fn start(more: &str) -> Self {
        let receiver = Receiver::start();
        receiver.when(|event: &Event| event.0["data"]["id"] == 3, Reply::status(422));
        let sinks = http("far", &receiver.url("/"), "");
        let config =
            format!("{sinks}{}{}{}{more}", route("t", "far"), file("near"), route("t", "near"));
        let road = Road::new(Cluster::builder(), T, &config);
        road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, '<b>c</b>')");
        crate::support::process::eventually("a dead letter", PATIENCE, || {
            road.dead_letters(&["--state", "dead"]).len() == 1
        });
        Self { receiver, road }
    }

    /// Starts again as one that wants a token, and returns that.
    fn wants_token(&mut self) -> &'static str {
        let config =
            std::fs::read_to_string(self.road.walgate.folder().join("walgate.toml")).unwrap();
        self.road.stop();
        let config = config.replace("[admin]\n", "[admin]\ntoken = \"s3cret\"\n");
        self.road.walgate.configure(&config);
        self.road.start();
        "s3cret"
    }
}
