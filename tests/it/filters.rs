//! Which rows and updates a route takes, and what it computes of them, on a real server.

use std::process::Output;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use crate::support::receiver::{Event, Receiver};
use crate::support::road::{PATIENCE, Road, http};

const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, status text, price numeric, bio text, settings jsonb);
    ALTER TABLE t ALTER COLUMN bio SET STORAGE EXTERNAL;
    CREATE TABLE f (id int PRIMARY KEY, status text, email text);
    ALTER TABLE f REPLICA IDENTITY FULL";

fn config(receiver: &Receiver, rules: &str) -> String {
    http("far", &receiver.url("/"), "") + rules
}

fn told(event: &Event) -> Value {
    json!([event.op(), event.0["key"], event.0["data"]])
}

/// What came, once `count` events did.
#[track_caller]
fn came(road: &Road, receiver: &Receiver, count: usize) -> Vec<Value> {
    road.confirms(&road.wal_end());
    receiver.wait("what is let through", PATIENCE, |journal| journal.events().len() >= count);
    let events = receiver.journal().events();
    assert_eq!(events.len(), count, "{events:?}");
    events.iter().map(told).collect()
}

#[test]
fn a_route_takes_the_rows_for_which_where_is_true_and_counts_the_others() {
    let receiver = Receiver::start();
    let rules = r#"
[mapping.m]
version = 1
[mapping.m.fields]
id = { column = "id" }
label = { expr = 'row.status + " " + string(row.price)', on_invalid = "null" }
theme = { expr = "row.settings.theme", on_invalid = { default = "none" } }
about = { expr = 'row.bio == null ? null : row.bio.substring(0, 3)', on_null = "omit" }
[[route]]
name = "t-to-far"
table = "public.t"
where = 'row.status != "draft" && (row.price >= 10.0 || row.settings.vip == true)'
on_where_error = "skip"
mapping = "m"
sink = "far"
start = "now"
"#;
    let road = Road::new(Cluster::builder(), SCHEMA, &config(&receiver, rules));
    road.sql(
        "INSERT INTO t VALUES (1, 'new', 12.50, repeat('x', 9000), '{\"theme\": \"dark\"}'),
            (2, 'draft', 12.50, NULL, NULL), (3, 'new', 9.99, NULL, '{\"vip\": true}'),
            (4, 'new', 9.99, NULL, '{}'), (5, 'new', NULL, 'abc', '{\"vip\": true}'),
            (6, 'new', 'NaN', NULL, NULL)",
    );
    // A large value that stays as it is has no part in what can be computed.
    road.sql("UPDATE t SET price = 99999999999999999999.5 WHERE id = 1");
    road.sql("UPDATE t SET price = 20 WHERE id = 1; DELETE FROM t WHERE id = 3");
    let events = came(&road, &receiver, 4);
    assert_eq!(
        events,
        [
            json!(["insert", { "id": 1 }, { "id": 1, "label": "new 12.5", "theme": "dark", "about": "xxx" }]),
            json!(["insert", { "id": 3 }, { "id": 3, "label": "new 9.99", "theme": "none" }]),
            json!(["insert", { "id": 5 }, { "id": 5, "label": null, "theme": "none", "about": "abc" }]),
            json!(["update", { "id": 1 }, { "id": 1, "label": "new 20", "theme": "dark" }]),
        ]
    );
    assert_eq!(receiver.journal().events()[3].0["unchanged"], json!(["about"]));
    let metrics = road.walgate.get("/metrics").body;
    let skipped = "walgate_sink_events_total{sink=\"far\",route=\"t-to-far\",result=\"skipped\"} 5";
    assert!(metrics.contains(skipped), "{metrics}");
    assert_eq!(road.dead_letters(&[]), [] as [Value; 0]);
}

#[test]
fn what_leaves_where_goes_as_a_delete_and_only_what_is_watched_goes_again() {
    let receiver = Receiver::start();
    let rules = r#"
[[route]]
name = "f-to-far"
table = "public.f"
where = 'row.status == "active"'
on_leave = "delete"
columns_changed = ["email"]
sink = "far"
start = "now"
"#;
    let road = Road::new(Cluster::builder(), SCHEMA, &config(&receiver, rules));
    road.sql("INSERT INTO f VALUES (1, 'active', 'a'), (2, 'waits', 'b')");
    road.sql("UPDATE f SET status = 'active' WHERE id = 2");
    road.sql("UPDATE f SET status = status");
    road.sql("UPDATE f SET email = 'c' WHERE id = 1");
    road.sql("UPDATE f SET status = 'gone', id = 7 WHERE id = 1");
    road.sql("UPDATE f SET email = 'd' WHERE id = 7");
    road.sql("DELETE FROM f");
    let row = |id: u32, email: &str| json!({ "id": id, "status": "active", "email": email });
    assert_eq!(
        came(&road, &receiver, 5),
        [
            json!(["insert", { "id": 1 }, row(1, "a")]),
            json!(["update", { "id": 2 }, row(2, "b")]),
            json!(["update", { "id": 1 }, row(1, "c")]),
            json!(["delete", { "id": 1 }, row(1, "c")]),
            json!(["delete", { "id": 2 }, row(2, "b")]),
        ]
    );
}

/// A sink that is refused for what `where` fails at has dead letters that name it.
#[test]
fn a_condition_that_can_not_be_computed_may_be_a_dead_letter() {
    let receiver = Receiver::start();
    let rules = "[[route]]\nname = \"t-to-far\"\ntable = \"public.t\"\nwhere = 'row.price > 1'\n\
                 on_where_error = \"reject\"\nsink = \"far\"\nstart = \"now\"\n";
    let road = Road::new(Cluster::builder().major(15), SCHEMA, &config(&receiver, rules));
    road.sql("INSERT INTO t (id, price) VALUES (1, NULL), (2, 3)");
    came(&road, &receiver, 1);
    let letters = road.dead_letters(&[]);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["key"], json!({ "id": 1 }));
    let message = letters[0]["message"].as_str().unwrap();
    let expected = "`where`: can't be computed: `>` means nothing between null and int";
    assert!(message.contains(expected), "{message}");
}

#[track_caller]
fn checks(output: &Output, id: &str) -> Vec<(String, String)> {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["id"] == id);
    let text = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    checks.map(|check| (text(check, "status"), text(check, "seen"))).collect()
}

#[test]
fn check_says_which_columns_and_old_values_are_not_to_be_had() {
    let receiver = Receiver::start();
    let rules = r#"
[mapping.m]
version = 1
[mapping.m.fields]
name = { expr = "row.name_of + row.status" }
[[route]]
name = "t-to-far"
table = "public.t"
where = 'row.statsu == "x" || row.status == "y"'
on_leave = "delete"
on_where_error = "skip"
columns_changed = ["price", "none"]
mapping = "m"
sink = "far"
[[route]]
name = "f-to-far"
table = "public.f"
where = 'row.status == "x"'
on_leave = "delete"
columns_changed = ["email"]
sink = "far"
"#;
    let road = Road::quiet(Cluster::builder().major(15), SCHEMA, &config(&receiver, rules));
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    let output = road.walgate.call(&["check", "--json"]);
    let found = |id: &str| checks(&output, id);
    let has = |id: &str, status: &str, seen: &str| {
        let found = found(id);
        assert!(found.iter().any(|(a, b)| a == status && b.contains(seen)), "{id}: {found:?}");
    };
    has("mapping.columns", "fail", "field \"name\": there is no column name_of");
    has("route.where", "fail", "`where` can't be computed: there is no column statsu");
    has("route.where", "warn", "a delete does not bring status");
    has("route.on_leave", "warn", "an update does not bring the old status");
    has("route.columns_changed", "fail", "there is no column none");
    has("route.columns_changed", "warn", "an update does not bring the old price");
    assert_eq!(found("route.on_leave").len(), 1, "the old rows of f are sent");
}
