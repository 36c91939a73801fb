//! The next version of a mapping runs beside the present one and delivers nothing.

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::support::process::{Walgate, eventually};
use super::support::receiver::Receiver;
use super::support::road::{PATIENCE, Road, T, http};

const PRESENT: &str = "[mapping.row]\nversion = 1\n[mapping.row.fields]\n\
                       id = { column = \"id\" }\nv = { column = \"v\" }\n";
const NEXT: &str = "[mapping.row.next]\nversion = 2\n[mapping.row.next.fields]\n\
                    id = { column = \"id\" }\nv = { column = \"v\", required = true }\n\
                    w = { column = \"v\", as = \"integer\", on_invalid = \"omit\" }\n";

fn config(receiver: &Receiver, mapping: &str) -> String {
    format!(
        "{}[[route]]\nname = \"t\"\ntable = \"public.t\"\nmapping = \"row\"\nsink = \"far\"\n\
         start = \"now\"\n{mapping}",
        http("far", &receiver.url("/"), "")
    )
}

/// What `walgate mappings shadow` tells of the mapping; none: nothing.
#[track_caller]
fn shadow(road: &Road) -> Option<Value> {
    let output = road.walgate.call(&["mappings", "shadow", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().next().map(|line| serde_json::from_str(line).unwrap())
}

#[track_caller]
fn until_compared(road: &Road, count: u64) -> Value {
    let compared = || shadow(road).is_some_and(|shadow| shadow["compared"] == count);
    eventually("the events are compared", PATIENCE, compared);
    shadow(road).unwrap()
}

#[test]
fn the_next_version_says_what_it_would_do_and_does_nothing() {
    let receiver = Receiver::start();
    let both = format!("{PRESENT}{NEXT}");
    let mut road = Road::new(Cluster::builder(), T, &config(&receiver, &both));
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, '7'), (3, NULL)");
    let told = until_compared(&road, 3);
    receiver.wait("the rows", PATIENCE, |journal| journal.events_processed == 3);
    assert_eq!((&told["version"], &told["next_version"]), (&json!(1), &json!(2)));
    assert_eq!((&told["differ"], &told["fields"]), (&json!(2), &json!({ "w": 1 })));
    assert_eq!(told["rejected"], json!({ "present": 0, "next": 1 }));
    let samples = told["samples"].as_array().unwrap();
    assert_eq!(samples[0]["fields"], json!([{ "field": "w", "present": null, "next": "7" }]));
    assert_eq!(samples[1]["next"], "rejected: field \"v\": is NULL");
    for event in receiver.journal().events() {
        assert_eq!(event.0["mapping"], json!({ "name": "row", "version": 1 }));
        assert_eq!(event.0["data"].as_object().unwrap().len(), 2);
    }
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    let output = road.walgate.call(&["mappings", "shadow", "row"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("3 events compared, 2 differ"), "{text}");
    let output = road.walgate.call(&["mappings", "diff", "row", "1", "2"]);
    assert!(
        String::from_utf8(output.stdout).unwrap().contains("+ w: "),
        "before it ever delivered"
    );

    // What is counted outlives a stop; what came last before it is counted too.
    road.sql("INSERT INTO t VALUES (4, '8')");
    road.confirms(&road.wal_end());
    road.stop();
    assert_eq!(shadow(&road).unwrap()["compared"], 4);
    road.start();
    road.sql("INSERT INTO t VALUES (5, 'b')");
    let again = until_compared(&road, 5);
    assert_eq!((&again["since"], &again["differ"]), (&told["since"], &json!(3)));
    road.stop();

    // Other fields begin anew.
    road.configure(&config(&receiver, &both.replace("as = \"integer\"", "as = \"number\"")));
    road.start();
    assert_eq!(shadow(&road).unwrap()["compared"], 0);
    road.stop();
    // Raised: the next version is the present one, and there is nothing to compare.
    let promoted = NEXT.replace("[mapping.row.next", "[mapping.row");
    road.configure(&config(&receiver, &promoted));
    road.start();
    assert_eq!(shadow(&road), None);
    road.sql("INSERT INTO t VALUES (6, '9')");
    receiver.wait("the row", PATIENCE, |journal| journal.events_processed == 6);
    let last = receiver.journal().events().last().unwrap().0.clone();
    assert_eq!((&last["mapping"]["version"], &last["data"]["w"]), (&json!(2), &json!(9)));
}

#[test]
fn an_event_that_goes_to_two_sinks_is_compared_once() {
    let receiver = Receiver::start();
    let both = format!("{PRESENT}{NEXT}");
    let mut config = config(&receiver, &both);
    config.push_str(&http("other", &receiver.url("/"), ""));
    config.push_str(
        "[[route]]\nname = \"u\"\ntable = \"public.t\"\nmapping = \"row\"\nsink = \"other\"\n\
         start = \"now\"\n",
    );
    let road = Road::new(Cluster::builder(), T, &config);
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, '7')");
    receiver.wait("the rows", PATIENCE, |journal| journal.events_processed == 4);
    let told = until_compared(&road, 2);
    assert_eq!((&told["differ"], &told["fields"]), (&json!(1), &json!({ "w": 1 })));
    assert_eq!(told["samples"].as_array().unwrap().len(), 1);
}

#[test]
fn a_sink_that_is_down_keeps_nothing_from_being_compared() {
    let receiver = Receiver::start();
    let both = format!("{PRESENT}{NEXT}");
    let mut road = Road::new(Cluster::builder(), T, &config(&receiver, &both));
    receiver.refuse();
    road.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 500) g");
    let told = until_compared(&road, 500);
    assert_eq!((&told["differ"], &told["fields"]), (&json!(500), &json!({ "w": 500 })));
    assert!(told["samples"].as_array().unwrap().len() <= 20);
    road.walgate.kill();
    // What was stored is still there.
    assert_eq!(shadow(&road).unwrap()["compared"], 500);
}

#[test]
fn a_next_version_that_cannot_be_one_is_a_problem_of_the_config() {
    let receiver = Receiver::start();
    let next = NEXT.replace("version = 2", "version = 1");
    let walgate = Walgate::new(&format!(
        "[source]\nurl = \"postgres://h/d\"\n[journal]\nmax_size = \"0\"\n{}",
        config(&receiver, &format!("{PRESENT}{next}"))
    ));
    let output = walgate.call(&["check", "--offline"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the next version must be above 1"), "{said}");
    assert!(said.contains("\"next\" needs a journal"), "{said}");
}
