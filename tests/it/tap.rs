//! `walgate tap` shows changes as they commit, and moves nothing.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::support::process::eventually;
use super::support::receiver::Receiver;
use super::support::road::{PATIENCE, Road, http};

/// A `walgate tap` that is attached. Killed on drop.
struct Tap {
    child: Child,
    out: BufReader<ChildStdout>,
    said: std::path::PathBuf,
}

impl Tap {
    /// Starts it and waits until it is attached.
    #[track_caller]
    fn start(folder: &Path, args: &[&str]) -> Self {
        let said = folder.join(format!("tap-{}.err", fastrand::u64(..)));
        let mut command = Command::new(env!("CARGO_BIN_EXE_walgate"));
        command.current_dir(folder).arg("tap").args(args).env("NO_COLOR", "1");
        let err = std::fs::File::create(&said).unwrap();
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(err);
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let tap = Self { child, out, said };
        eventually("it is attached", PATIENCE, || tap.said().contains("tapping"));
        tap
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    /// Waits for the next lines.
    #[track_caller]
    fn lines(&mut self, count: usize) -> Vec<Value> {
        let mut line = || {
            let mut text = String::new();
            self.out.read_line(&mut text).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        (0..count).map(|_| line()).collect()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end; returns the exit code and what was left to read.
    #[track_caller]
    fn ended(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code().unwrap(), rest)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["id"].as_str().unwrap()).collect()
}

/// Waits until there are so many slots beside the run's own.
#[track_caller]
fn other_slots(road: &Road, count: u32) {
    road.until(&format!(
        "SELECT count(*) = {count} FROM pg_replication_slots WHERE slot_name <> 'walgate'"
    ));
}

#[test]
fn the_same_events_as_a_run_delivers_in_order_and_nothing_is_moved() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), ""));
    let folder = road.walgate.folder().to_owned();
    let mut tap = Tap::start(&folder, &[]);
    other_slots(&road, 1);
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 20) g");
    road.sql("UPDATE t SET v = 'b' WHERE id <= 10");
    road.sql("UPDATE t SET id = 100 WHERE id = 1");
    road.sql("DELETE FROM t WHERE id > 15");
    let shown = tap.lines(20 + 10 + 1 + 6);
    let journal = road.arrived(&receiver);
    let delivered: Vec<Value> = journal.events().iter().map(|event| event.0.clone()).collect();
    let mut sorted = delivered.clone();
    sorted.sort_by_key(|event| event["id"].as_str().unwrap().to_owned());
    assert_eq!(shown, sorted, "not what was delivered, in the order of the commits");
    // Without an instance: the slot of the run stays where it is, and so does the state.
    road.stop();
    let (slot, state) = (road.confirmed(), road.walgate.status()["sinks"].clone());
    road.sql("INSERT INTO t VALUES (200, 'c')");
    let [event] = tap.lines(1).try_into().unwrap();
    assert_eq!(event["data"], json!({ "id": 200, "v": "c" }));
    assert_eq!(road.confirmed(), slot);
    let mut now = road.walgate.status()["sinks"].clone();
    now[0]["freshness_seconds"] = state[0]["freshness_seconds"].clone();
    now[0]["lag_events"] = state[0]["lag_events"].clone();
    assert_eq!(now, state);
    tap.signal("INT");
    assert_eq!(tap.ended(), (0, String::new()));
    other_slots(&road, 0);
    road.start();
    assert_eq!(road.arrived(&receiver).events().last().unwrap().0, event);
}

const MASKED: &str = r#"
[mapping.contact]
version = 2
[mapping.contact.fields]
id = { column = "id" }
email = { column = "email", required = true }
phone = { column = "phone", mask = "last4" }

[[route]]
name = "contacts"
table = "public.people"
where = 'row.email != "draft"'
mapping = "contact"
sink = "far"
start = "now"

[[route]]
name = "all"
table = "public.people"
on = ["insert"]
mapping = "contact"
sink = "near"
start = "now"
"#;

const PEOPLE: &str = "
    CREATE TABLE people (id int PRIMARY KEY, email text, phone text);
    CREATE TABLE people_old (phone text PRIMARY KEY, id int, fax text);
    CREATE TABLE \"it's a \"\"Table\"\"\" (\"Id\" int PRIMARY KEY, v text);
    CREATE TABLE loose (a int)";

/// A road to nowhere that is not run.
fn still(major: u32) -> Road {
    let nowhere = "http://127.0.0.1:1/";
    let sinks = [http("far", nowhere, "format = \"mapped\""), http("near", nowhere, "")];
    let builder = Cluster::builder().major(major);
    let road = Road::quiet(builder, PEOPLE, &format!("{}{MASKED}", sinks.concat()));
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road
}

#[test]
fn what_a_mapping_masks_is_shown_nowhere() {
    let road = still(14);
    let folder = road.walgate.folder().to_owned();
    let mut tap = Tap::start(&folder, &["-v"]);
    road.sql("INSERT INTO people VALUES (1, 'a@b.co', '+49 30 1234567')");
    // Skipped by the one, taken by the other; refused by both; not taken by any operation's route.
    road.sql("INSERT INTO people VALUES (2, 'draft', '+49 30 7654321')");
    road.sql("INSERT INTO people VALUES (3, NULL, '+49 30 1111111')");
    road.sql("INSERT INTO people_old VALUES ('+49 30 2222222', 4, NULL)");
    road.sql("TRUNCATE people");
    // The mapping does not know yet what it is called.
    road.sql("ALTER TABLE people RENAME phone TO mobile; INSERT INTO people VALUES (5, 'e', '+49 30 3333333')");
    let lines = tap.lines(7);
    let routes: Vec<&Value> = lines.iter().map(|line| &line["route"]).collect();
    let null = Value::Null;
    let (contacts, all) = (json!("contacts"), json!("all"));
    assert_eq!(routes, [&contacts, &all, &all, &null, &null, &null, &null]);
    assert_eq!(lines[0]["data"], json!({ "id": 1, "email": "a@b.co", "phone": "***4567" }));
    assert_eq!(lines[0]["mapping"], json!({ "name": "contact", "version": 2 }));
    assert_eq!(lines[3]["data"], json!({ "id": 3, "email": null, "phone": "***" }));
    assert_eq!(lines[4]["key"], json!({ "phone": "***" }));
    assert_eq!(lines[4]["data"], json!({ "phone": "***", "id": 4, "fax": null }));
    assert_eq!(
        (&lines[5]["op"], &lines[5]["table"]),
        (&json!("truncate"), &json!("public.people"))
    );
    assert_eq!((&lines[6]["key"], lines[6].get("data")), (&json!({ "id": 5 }), None));
    let said = tap.said();
    let id = lines[3]["id"].as_str().unwrap();
    for part in [
        &format!(
            "rejected by route contacts: {id}, insert of public.people: field \"email\": is NULL"
        ),
        &format!("rejected by route all: {id}"),
        "skipped by route contacts:",
    ] {
        assert!(said.contains(part), "not said: {part}\n{said}");
    }
    for number in ["1234567", "7654321", "1111111", "2222222", "3333333"] {
        assert!(!said.contains(number) && !json!(lines).to_string().contains(number));
    }
    assert!(!folder.join("walgate-state").exists());
}

#[test]
fn a_route_or_a_table_alone_as_far_as_is_asked_for() {
    let road = still(18);
    let folder = road.walgate.folder().to_owned();
    let mut of_route = Tap::start(&folder, &["--route", "contacts", "--limit", "2"]);
    let quoted = "public.\"it's a \"\"Table\"\"\"";
    let mut of_table = Tap::start(&folder, &["--table", quoted]);
    let of_loose = Tap::start(&folder, &["--table", "public.l*", "--limit", "1"]);
    road.sql(
        "BEGIN; INSERT INTO people VALUES (1, 'a', '1'); INSERT INTO loose VALUES (1);
         INSERT INTO people VALUES (2, 'draft', '2'), (3, 'c', '3'), (4, 'd', '4'); COMMIT",
    );
    road.sql("INSERT INTO \"it's a \"\"Table\"\"\" VALUES (7, 'x')");
    let two = of_route.lines(2);
    assert_eq!([&two[0]["key"]["id"], &two[1]["key"]["id"]], [1, 3]);
    assert_eq!(ids(&two)[0].get(..25), ids(&two)[1].get(..25), "one transaction");
    assert_eq!(of_route.ended(), (0, String::new()));
    let [event] = of_table.lines(1).try_into().unwrap();
    assert_eq!((&event["table"], &event["key"]), (&json!(quoted), &json!({ "Id": 7 })));
    let (code, loose) = of_loose.ended();
    let loose: Value = serde_json::from_str(&loose).unwrap();
    assert_eq!((code, &loose["key"], &loose["data"]), (0, &Value::Null, &json!({ "a": 1 })));
    // Who closes the pipe ends it, though nothing comes any more.
    let Tap { out, .. } = &mut of_table;
    let gone = std::mem::replace(out, BufReader::new(empty_pipe()));
    drop(gone);
    eventually("it ends", PATIENCE, || of_table.child.try_wait().unwrap().is_some());
    assert_eq!(of_table.child.wait().unwrap().code(), Some(0));
    assert_eq!(of_table.said().lines().count(), 1, "{}", of_table.said());
    other_slots(&road, 0);
}

/// The stdout of a process that has ended.
fn empty_pipe() -> ChildStdout {
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    child.wait().unwrap();
    child.stdout.take().unwrap()
}

#[test]
fn what_keeps_it_from_beginning_is_said() {
    let road = still(16);
    let tap = |args: &[&str]| {
        let output = road.walgate.call(&[&["tap", "--for", "1ms"], args].concat());
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = tap(&["--table", "public.nothing", "--route", "all"]);
    let warning = "warning: publication \"walgate\" has no table public.nothing";
    assert!(code == 0 && said.contains(warning), "{code} {said}");
    let (code, said) = tap(&["--route", "al"]);
    assert!(code == 2 && said.contains("did you mean \"all\"?"), "{code} {said}");
    let (code, said) = tap(&["--table", "People"]);
    assert!(code == 2 && said.contains("--table: "), "{code} {said}");
    road.sql("DROP PUBLICATION walgate");
    let (code, said) = tap(&[]);
    let missing = "error: publication \"walgate\" does not exist";
    assert!(code == 3 && said.starts_with(missing), "{code} {said}");
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    let slots = "SELECT count(pg_create_physical_replication_slot('s' || g)) \
                 FROM generate_series(1, 20) g";
    road.value(&format!("SELECT ({slots})::text"));
    let (code, said) = tap(&[]);
    assert!(code == 3 && said.contains("raise max_replication_slots"), "{code} {said}");
}

#[test]
fn a_source_that_goes_away_ends_it_and_says_why() {
    let mut road = still(17);
    let folder = road.walgate.folder().to_owned();
    let tap = Tap::start(&folder, &[]);
    road.stop_server(walgate::demo::cluster::Stop::Fast, PATIENCE);
    let said = tap.said.clone();
    assert_eq!(tap.ended(), (1, String::new()));
    let said = std::fs::read_to_string(said).unwrap();
    assert!(said.contains("error: the stream ended: the server is shutting down"), "{said}");
}
