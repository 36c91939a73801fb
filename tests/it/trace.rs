//! What was delivered is told: of each event, by which batch, and of each row, its life.

use std::collections::BTreeSet;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use walgate::config;
use walgate::demo::cluster::Cluster;
use walgate::journal::{Archive, Window};
use walgate::lsn::Position;
use walgate::mapping::{Mapped, SinkMapper, SourceLabel};
use walgate::state::State;

use super::support::process::eventually;
use super::support::receiver::{Event, Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, file, http, route};

const QUICK: &str = "retry = { initial = \"10ms\", max = \"50ms\" }";

/// Two sinks: `far` with a mapping, and a file that takes no deletes.
fn of_two_sinks(receiver: &Receiver) -> Road {
    let config = format!(
        "{}{}[mapping.contact]\nversion = 3\nfields = {{ id = {{ column = \"id\" }}, \
         v = {{ column = \"v\" }} }}\n{}mapping = \"contact\"\n{}on_delete = \"ignore\"\n",
        http("far", &receiver.url("/"), QUICK),
        file("log"),
        route("t", "far"),
        route("t", "log"),
    );
    Road::new(Cluster::builder().major(15), T, &config)
}

fn call(road: &Road, key: &str, more: &[&str]) -> Output {
    let args = [&["trace", "--table", "public.t", "--key", key], more].concat();
    road.walgate.call(&args)
}

#[track_caller]
fn trace(road: &Road, key: &str) -> Vec<Value> {
    let output = call(road, key, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until the trace has so many changes, all of them done at a sink.
#[track_caller]
fn traced(road: &Road, key: &str, count: usize, sink: usize) -> Vec<Value> {
    let mut told = Vec::new();
    eventually("the trace is whole", PATIENCE, || {
        told = trace(road, key);
        let done = |event: &Value| event["sinks"][sink]["state"] != "waiting";
        told.len() == count && told.iter().all(done)
    });
    told
}

/// `op key before_key columns`, then of each sink `state attempts`.
fn brief(event: &Value) -> String {
    let sinks = event["sinks"].as_array().unwrap();
    let sinks: Vec<String> = sinks
        .iter()
        .map(|at| format!("{} {} {}", at["sink"], at["state"], at["attempts"]).replace('"', ""))
        .collect();
    format!(
        "{} {} {} {} | {}",
        event["op"].as_str().unwrap(),
        event["key"],
        event.get("before_key").unwrap_or(&Value::Null),
        event["columns"],
        sinks.join(" | ")
    )
}

#[test]
fn the_life_of_a_row_is_told_beside_a_running_instance_and_without_one() {
    let receiver = Receiver::start();
    let mut road = of_two_sinks(&receiver);
    let is_bad = |event: &Event| event.0["data"]["v"] == "bad";
    receiver.when(is_bad, Reply::status(422).body("no such thing"));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    traced(&road, "{\"id\":1}", 1, 0);
    receiver.next(Reply::status(503));
    receiver.next(Reply::status(503));
    road.sql("UPDATE t SET v = 'b' WHERE id = 1");
    traced(&road, "{\"id\":1}", 2, 0);
    road.sql("UPDATE t SET id = 2 WHERE id = 1");
    traced(&road, "{\"id\":1}", 3, 0);
    road.sql("UPDATE t SET v = 'bad' WHERE id = 2");
    traced(&road, "{\"id\":2}", 2, 0);
    road.sql("DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (20, 'another')");
    let first = traced(&road, "{\"id\":1}", 3, 1);
    let second = traced(&road, "{\"id\": 2.0}", 3, 0);
    assert_eq!(
        first.iter().map(brief).collect::<Vec<_>>(),
        [
            r#"insert {"id":1} null ["id","v"] | far delivered 1 | log delivered 1"#,
            r#"update {"id":1} null ["v"] | far delivered 3 | log delivered 1"#,
            r#"update {"id":2} {"id":1} ["id"] | far delivered 1 | log delivered 1"#,
        ]
    );
    assert_eq!(
        second.iter().map(brief).collect::<Vec<_>>(),
        [
            r#"update {"id":2} {"id":1} ["id","v"] | far delivered 1 | log delivered 1"#,
            r#"update {"id":2} null ["v"] | far dead 1 | log delivered 1"#,
            r#"delete {"id":2} null [] | far delivered 1 | log skipped null"#,
        ]
    );
    let ids: BTreeSet<String> =
        receiver.journal().events().iter().map(|event| event.id().to_owned()).collect();
    assert!(first.iter().all(|event| ids.contains(event["event_id"].as_str().unwrap())));
    let retried = &first[1]["sinks"][0];
    assert_eq!(retried["mapping"], json!({ "name": "contact", "version": 3 }));
    assert_eq!(retried["route"], "t-to-far");
    assert!(retried["delivered_at"].as_str() > first[1]["time"].as_str());
    assert!(retried["took_ms"].as_f64() > Some(0.0));
    assert_eq!(first[1]["sinks"][1]["mapping"], Value::Null);
    let dead = &second[1]["sinks"][0];
    assert_eq!(dead["category"], "rejected");
    assert_eq!(dead["tries"].as_array().unwrap().len(), 1);
    let tried = &dead["tries"][0];
    assert_eq!((&tried["status"], &tried["answer"]), (&json!(422), &json!("no such thing")));
    assert!(tried["time"].is_string());
    let skipped = &second[2]["sinks"][1];
    assert_eq!(skipped["reason"], "the route ignores deletes");
    road.stop();
    assert_eq!(trace(&road, "{\"id\":1}"), first);
    assert_eq!(trace(&road, "{\"id\":2}"), second);
    let text = String::from_utf8(call(&road, "{\"id\":1}", &[]).stdout).unwrap();
    assert!(text.contains("  far      delivered  t-to-far (contact 3), 3 attempts, "), "{text}");
    assert!(text.contains("  key      {\"id\":1} became {\"id\":2}\n"), "{text}");
}

#[test]
fn what_was_set_aside_is_told_with_its_tries_and_then_as_delivered() {
    let receiver = Receiver::start();
    let more = "retry = { initial = \"200ms\", max = \"1s\", max_attempts = 1000 }";
    let mut road = Road::of_t(&http("far", &receiver.url("/"), more));
    receiver.when(|event| event.0["data"]["id"] == 1, Reply::status(500).body("not now"));
    road.sql("INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (2, 'a')");
    let state = |told: &[Value], at: usize| told[at]["sinks"][0]["state"].clone();
    let mut told = Vec::new();
    eventually("the first goes on trying by itself", PATIENCE, || {
        told = trace(&road, "{\"id\":1}");
        told.len() == 1 && state(&told, 0) == "retrying"
    });
    road.sql("UPDATE t SET v = 'b' WHERE id = 1");
    eventually("the second waits behind it", PATIENCE, || {
        told = trace(&road, "{\"id\":1}");
        told.len() == 2 && state(&told, 1) == "blocked"
    });
    let failing = &told[0]["sinks"][0];
    assert_eq!(
        (&failing["category"], &failing["delivered_at"]),
        (&json!("transient"), &Value::Null)
    );
    let tries = failing["tries"].as_array().unwrap();
    assert!(tries.iter().all(|tried| tried["status"] == 500 && tried["answer"] == "not now"));
    receiver.behave();
    eventually("both are delivered", PATIENCE, || {
        told = trace(&road, "{\"id\":1}");
        (0..2).all(|at| state(&told, at) == "delivered")
    });
    let requests = receiver.journal().requests;
    let sent = |event: &Value| {
        let id = event["event_id"].as_str().unwrap();
        requests.iter().filter(|request| request.events().iter().any(|e| e.id() == id)).count()
    };
    for event in &told {
        assert_eq!(event["sinks"][0]["attempts"], sent(event));
    }
    assert!(sent(&told[0]) > 2);
    road.stop();
    assert_eq!(trace(&road, "{\"id\":1}"), told);
    let ids: BTreeSet<String> =
        receiver.journal().events().iter().map(|event| event.id().to_owned()).collect();
    let alone =
        every_event_has_one_row(&road, &ids).iter().filter(|row| row.lane.is_none()).count();
    assert_eq!(alone, 2);
}

#[test]
fn what_a_sink_has_not_done_is_waiting_also_after_a_kill() {
    let receiver = Receiver::start();
    let mut road = of_two_sinks(&receiver);
    receiver.refuse();
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let told = traced(&road, "{\"id\":1}", 1, 1);
    assert_eq!(
        told.iter().map(brief).collect::<Vec<_>>(),
        [r#"insert {"id":1} null ["id","v"] | far waiting null | log delivered 1"#]
    );
    road.walgate.kill();
    assert_eq!(trace(&road, "{\"id\":1}"), told);
    receiver.listen();
    road.start();
    let told = traced(&road, "{\"id\":1}", 1, 0);
    assert_eq!(told[0]["sinks"][0]["state"], "delivered");
}

#[test]
fn what_can_not_be_found_is_said_and_what_can_not_be_meant_is_refused() {
    let receiver = Receiver::start();
    let mut road = of_two_sinks(&receiver);
    road.sql("INSERT INTO t VALUES (1, 'a')");
    traced(&road, "{\"id\":1}", 1, 0);
    road.stop();
    let later = road.value("SELECT pg_current_wal_lsn() + 1000000");
    for (key, more, said) in [
        ("{\"id\":2}", vec![], "nothing found of public.t {\"id\":2}; the journal goes back to 2"),
        ("{\"id\":1}", vec!["--from", &later], "nothing found in this window"),
        ("{\"id\":1}", vec!["--to", "2020-01-01T00:00:00Z"], "nothing found in this window"),
    ] {
        let output = call(&road, key, &more);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{text}");
        assert!(text.contains(said), "{text}");
    }
    let one = call(&road, "{\"id\":1}", &["--json", "--sink", "log", "--to", &later]);
    let one: Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!(one["sinks"].as_array().unwrap().len(), 1);
    for (key, more, said) in [
        ("{\"v\":\"a\"}", vec![], "its key is {id}"),
        ("{\"id\":1,\"v\":\"a\"}", vec![], "its key is {id}"),
        ("1", vec![], "the key is no JSON object"),
        ("{\"id\":1}", vec!["--sink", "fat"], "did you mean \"far\"?"),
        ("{\"id\":1}", vec!["--from", "yesterday"], "neither a time such as"),
    ] {
        let output = call(&road, key, &more);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(said), "{text}");
    }
}

/// A row of `batches`.
struct Batch {
    lane: Option<u64>,
    lanes: u64,
    first: Position,
    last: Position,
    count: u64,
    requests: u64,
}

/// Holds every event that `far` was sent against the rows of `batches`; returns those.
#[track_caller]
fn every_event_has_one_row(road: &Road, delivered: &BTreeSet<String>) -> Vec<Batch> {
    let config = config::load(&road.walgate.folder().join("walgate.toml")).unwrap();
    let folder = road.walgate.folder().join("walgate-state");
    let reader = State::open_reader(&folder).unwrap();
    let lsn = |value: i64| walgate::state::lsn_from_sql(value);
    let rows = reader.read(|connection| {
        let sql = "SELECT lane, lanes, first_lsn, first_seq, last_lsn, last_seq, count, requests
                   FROM batches WHERE sink = 'far'";
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Batch {
                lane: row.get::<_, Option<i64>>(0)?.map(i64::cast_unsigned),
                lanes: row.get::<_, i64>(1)?.cast_unsigned(),
                first: Position::new(lsn(row.get(2)?), row.get(3)?),
                last: Position::new(lsn(row.get(4)?), row.get(5)?),
                count: row.get::<_, i64>(6)?.cast_unsigned(),
                requests: row.get::<_, i64>(7)?.cast_unsigned(),
            })
        };
        connection.prepare(sql)?.query_map([], row)?.collect::<rusqlite::Result<Vec<_>>>()
    });
    let rows = rows.unwrap();
    let archive = Archive::open(&folder, &reader).unwrap();
    let mut mapper =
        SinkMapper::new(config.routes_of("far"), &SourceLabel::default(), config.sinks[0].format);
    let mut found = 0;
    for chunk in archive.read(Window::default()) {
        let chunk = chunk.unwrap();
        for entry in 0..u32::try_from(chunk.entries.len()).unwrap() {
            let mapped = mapper.map(&chunk, entry, &mut Vec::new()).unwrap();
            let Mapped::Event(draft) = mapped else { continue };
            if !delivered.contains(&draft.id.to_string()) {
                continue;
            }
            found += 1;
            let at = draft.id.position;
            let holds = |row: &&Batch| row.first <= at && at <= row.last;
            let alone = rows.iter().filter(holds).filter(|row| row.lane.is_none()).count();
            let in_lane = |row: &&Batch| row.lane == Some(draft.key_hash % row.lanes);
            let in_lane = rows.iter().filter(holds).filter(in_lane).count();
            // One that was set aside lies among those of its lane; its own row goes before.
            assert!(alone == 1 || (alone == 0 && in_lane == 1), "{at}: {alone} and {in_lane}");
        }
    }
    assert_eq!(found, delivered.len());
    let counted: u64 = rows.iter().map(|row| row.count).sum();
    assert_eq!(counted, delivered.len() as u64);
    rows
}

/// Delivers to four lanes while requests fail and events are refused.
fn delivered_in(batch: &str, rows: u32) -> Vec<Batch> {
    let receiver = Receiver::start();
    let more = format!("{QUICK}\nconcurrency = 4\n{batch}");
    let mut road = Road::of_t(&http("far", &receiver.url("/"), &more));
    let seen = Arc::new(AtomicUsize::new(0));
    receiver.when(|event| event.0["data"]["v"] == "bad", Reply::status(422));
    receiver.when(move |_| seen.fetch_add(1, Ordering::Relaxed) % 97 == 96, Reply::status(503));
    road.sql(&format!(
        "INSERT INTO t SELECT g, CASE WHEN g % 150 = 7 THEN 'bad' ELSE 'a' END
         FROM generate_series(1, {rows}) g;
         UPDATE t SET v = 'b' WHERE id % 10 = 0"
    ));
    let updates = rows / 10;
    let refused = (1..=rows).filter(|id| id % 150 == 7).count();
    let all = (rows + updates) as usize - refused;
    receiver.wait("all is delivered", PATIENCE, |journal| journal.events_processed >= all);
    road.confirms(&road.wal_end());
    road.stop();
    let events = receiver.journal().events();
    let delivered: BTreeSet<String> = events.iter().map(|event| event.id().to_owned()).collect();
    assert_eq!(delivered.len(), all);
    every_event_has_one_row(&road, &delivered)
}

#[test]
fn every_delivered_event_is_in_one_row_of_its_lane_though_batches_fail() {
    let rows = delivered_in("batch = { max_events = 20 }", 1500);
    assert!(rows.iter().any(|row| row.count < 20), "some were parted");
    let lanes: BTreeSet<Option<u64>> = rows.iter().map(|row| row.lane).collect();
    assert!((0..4).all(|lane| lanes.contains(&Some(lane))));
}

#[test]
fn many_single_events_share_rows_and_each_is_still_found_in_one() {
    let rows = delivered_in("", 3000);
    assert!(rows.iter().any(|row| row.requests > 1));
    assert!(rows.len() < 1500, "{} rows", rows.len());
}
