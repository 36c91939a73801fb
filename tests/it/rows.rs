//! What an event says of a row: whatever its table's replica identity, its key, its TOASTed
//! values, its partitions.

use serde_json::{Value, json};
use walgate::demo::cluster::{Builder, Cluster};

use super::support::receiver::{Event, Receiver};
use super::support::road::{Road, http};

fn builder() -> Builder {
    Cluster::builder().major(15)
}

/// Every table of the schema, to one sink.
fn every(receiver: &Receiver) -> String {
    let route = "[[route]]\nname = \"all\"\ntable = \"public.*\"\nsink = \"far\"\nstart = \"now\"\n\
                 on = [\"insert\", \"update\", \"delete\", \"truncate\"]\n";
    format!("{}{route}", http("far", &receiver.url("/"), ""))
}

/// Runs statements and returns the events that come of them.
#[track_caller]
fn events(schema: &str, sql: &str) -> Vec<Event> {
    let receiver = Receiver::start();
    let road = Road::new(builder(), schema, &every(&receiver));
    road.sql(sql);
    road.confirms(&road.wal_end());
    receiver.journal().events()
}

/// What matters of an event: operation, key, the key before, data, the row before, unchanged.
fn seen(events: &[Event]) -> Vec<[Value; 6]> {
    let of = |event: &Event| {
        let at = |name: &str| event.0.get(name).cloned().unwrap_or(Value::Null);
        ["op", "key", "before_key", "data", "before", "unchanged"].map(at)
    };
    events.iter().map(of).collect()
}

/// Too long and too random to be stored in line.
const LONG: &str = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i)";

#[test]
fn a_default_identity_brings_the_old_key_only_where_it_changed() {
    let schema =
        "CREATE TABLE t (id int, name text, surname text, city text, PRIMARY KEY (surname, id))";
    let sql = "INSERT INTO t VALUES (1, 'alice', 'smith', 'rome');
               UPDATE t SET city = NULL; UPDATE t SET id = 2; DELETE FROM t";
    let row = |id: i32, city: Value| json!({ "id": id, "name": "alice", "surname": "smith", "city": city });
    let key = |id: i32| json!({ "surname": "smith", "id": id });
    assert_eq!(
        seen(&events(schema, sql)),
        [
            [json!("insert"), key(1), Value::Null, row(1, json!("rome")), Value::Null, Value::Null],
            [json!("update"), key(1), Value::Null, row(1, Value::Null), Value::Null, Value::Null],
            [
                json!("update"),
                key(2),
                key(1),
                row(2, Value::Null),
                json!({ "id": 1, "surname": "smith" }),
                Value::Null
            ],
            [
                json!("delete"),
                key(2),
                Value::Null,
                json!({ "id": 2, "surname": "smith" }),
                Value::Null,
                Value::Null
            ],
        ]
    );
}

#[test]
fn a_full_identity_brings_the_whole_old_row_and_the_key_is_still_the_primary_key() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v text, big text);
                  ALTER TABLE t ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL";
    let sql =
        &format!("INSERT INTO t VALUES (1, 'a', {LONG}); UPDATE t SET v = 'b'; DELETE FROM t");
    let events = events(schema, sql);
    let long = events[0].0["data"]["big"].clone();
    assert_eq!(long.as_str().unwrap().len(), 12_800);
    let row = |v: &str| json!({ "id": 1, "v": v, "big": long });
    assert_eq!(
        seen(&events),
        [
            [json!("insert"), json!({ "id": 1 }), Value::Null, row("a"), Value::Null, Value::Null],
            [json!("update"), json!({ "id": 1 }), Value::Null, row("b"), row("a"), Value::Null],
            [json!("delete"), json!({ "id": 1 }), Value::Null, row("b"), Value::Null, Value::Null],
        ],
        "what did not change is filled from the old row"
    );
}

#[test]
fn a_value_that_did_not_change_is_unchanged_and_never_null() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v text, big text);
                  ALTER TABLE t ALTER big SET STORAGE EXTERNAL";
    let sql = &format!(
        "INSERT INTO t VALUES (1, 'a', {LONG}); UPDATE t SET v = 'b'; UPDATE t SET big = big || '';
         UPDATE t SET id = 2; UPDATE t SET big = NULL; DELETE FROM t"
    );
    let events = events(schema, sql);
    let long = events[0].0["data"]["big"].clone();
    let unchanged = json!(["big"]);
    assert_eq!(
        seen(&events)[1..5],
        [
            [
                json!("update"),
                json!({ "id": 1 }),
                Value::Null,
                json!({ "id": 1, "v": "b" }),
                Value::Null,
                unchanged.clone()
            ],
            [
                json!("update"),
                json!({ "id": 1 }),
                Value::Null,
                json!({ "id": 1, "v": "b", "big": long }),
                Value::Null,
                Value::Null
            ],
            [
                json!("update"),
                json!({ "id": 2 }),
                json!({ "id": 1 }),
                json!({ "id": 2, "v": "b" }),
                json!({ "id": 1 }),
                unchanged
            ],
            [
                json!("update"),
                json!({ "id": 2 }),
                Value::Null,
                json!({ "id": 2, "v": "b", "big": null }),
                Value::Null,
                Value::Null
            ],
        ]
    );
}

#[test]
fn a_key_that_is_stored_out_of_line_is_known_all_the_same() {
    let schema = "CREATE TABLE t (id text PRIMARY KEY, v text);
                  ALTER TABLE t ALTER id SET STORAGE EXTERNAL";
    // An index takes no more than 2.7 kB, and out of line goes what is above 2 kB.
    let long = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 70) i)";
    let sql = &format!(
        "INSERT INTO t VALUES ({long}, repeat('x', 500)); UPDATE t SET v = 'b'; DELETE FROM t"
    );
    let events = events(schema, sql);
    let keys: Vec<_> = events.iter().map(|event| event.0["key"].clone()).collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(keys[0]["id"].as_str().unwrap().len(), 2240);
    assert!(keys.iter().all(|key| *key == keys[0]), "the key of one row is one key");
    assert_eq!(events[1].0.get("before_key"), None, "it did not change");
}

#[test]
fn an_index_as_identity_brings_its_columns_and_the_key_is_those() {
    let schema =
        "CREATE TABLE t (id int, name text NOT NULL, surname text NOT NULL, PRIMARY KEY (id));
                  CREATE UNIQUE INDEX by_name ON t (surname, name);
                  ALTER TABLE t REPLICA IDENTITY USING INDEX by_name";
    let sql = "INSERT INTO t VALUES (1, 'alice', 'smith'); UPDATE t SET id = 2;
               UPDATE t SET name = 'bob'; DELETE FROM t";
    let events = events(schema, sql);
    let told: Vec<_> =
        events.iter().map(|event| (event.op().to_owned(), event.0["data"].clone())).collect();
    assert_eq!(told[3], ("delete".to_owned(), json!({ "name": "bob", "surname": "smith" })));
    // A primary key that a delete does not bring can be no key: its events would lie apart.
    let keys: Vec<_> = events.iter().map(|event| event.0["key"].clone()).collect();
    let alice = json!({ "name": "alice", "surname": "smith" });
    let bob = json!({ "name": "bob", "surname": "smith" });
    assert_eq!(keys, [alice.clone(), alice.clone(), bob.clone(), bob]);
    assert_eq!(events[2].0["before_key"], alice);
}

#[test]
fn tables_without_an_identity_send_what_they_can() {
    let schema = "CREATE TABLE bare (v text); CREATE TABLE never (id int PRIMARY KEY, v text);
                  CREATE TABLE whole (v text);
                  ALTER TABLE never REPLICA IDENTITY NOTHING; ALTER TABLE whole REPLICA IDENTITY FULL";
    let sql = "INSERT INTO bare VALUES ('a'), ('a'); INSERT INTO never VALUES (1, 'a');
               INSERT INTO whole VALUES ('a'), ('a'), (NULL);
               DELETE FROM whole WHERE ctid = (SELECT min(ctid) FROM whole); UPDATE whole SET v = 'b' WHERE v IS NULL";
    let events = events(schema, sql);
    let told: Vec<_> =
        events.iter().map(|e| format!("{} {} {}", e.op(), e.key(), e.0["data"]["v"])).collect();
    assert_eq!(
        told,
        [
            "insert public.barenull \"a\"",
            "insert public.barenull \"a\"",
            "insert public.never{\"id\":1} \"a\"",
            "insert public.wholenull \"a\"",
            "insert public.wholenull \"a\"",
            "insert public.wholenull null",
            "delete public.wholenull \"a\"",
            "update public.wholenull \"b\"",
        ]
    );
}

#[test]
fn keys_that_are_swapped_or_written_otherwise_are_told_by_the_key_before() {
    let schema = "CREATE TABLE t (id numeric PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
                  ALTER TABLE t REPLICA IDENTITY FULL";
    let receiver = Receiver::start();
    let road = Road::new(builder(), schema, &every(&receiver));
    road.sql("INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3.0, 'three')");
    road.sql("BEGIN; UPDATE t SET id = 3 - id WHERE id < 3; COMMIT");
    road.sql("UPDATE t SET id = 3.00 WHERE id = 3");
    road.confirms(&road.wal_end());
    // As they were sent: a number of JSON's own would be 3 either way.
    let bodies: Vec<String> = receiver
        .journal()
        .requests
        .iter()
        .map(|request| String::from_utf8(request.body.clone()).unwrap())
        .collect();
    for (body, (key, before, v)) in
        bodies[3..].iter().zip([("2", "1", "one"), ("1", "2", "two"), ("3.00", "3.0", "three")])
    {
        assert!(body.contains(&format!("\"key\":{{\"id\":{key}}}")), "{body}");
        assert!(body.contains(&format!("\"before_key\":{{\"id\":{before}}}")), "{body}");
        assert!(body.contains(&format!("\"v\":\"{v}\"")), "{body}");
    }
    assert_eq!(bodies.len(), 6);
}

#[test]
fn partitions_come_as_themselves_or_as_their_root() {
    let schema = "
        CREATE TABLE m (id int, r text, v text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
        CREATE TABLE m_a PARTITION OF m FOR VALUES IN ('a');
        CREATE TABLE m_b (v text, r text NOT NULL, id int NOT NULL);
        ALTER TABLE m ATTACH PARTITION m_b FOR VALUES IN ('b')";
    let sql = "INSERT INTO m VALUES (1, 'a', 'x'); UPDATE m SET r = 'b'; UPDATE m SET v = 'y';
               CREATE TABLE m_c (id int NOT NULL, r text NOT NULL, v text);
               INSERT INTO m_c VALUES (9, 'c', 'before'); ALTER TABLE m ATTACH PARTITION m_c FOR VALUES IN ('c');
               INSERT INTO m VALUES (10, 'c', 'behind'); ALTER TABLE m DETACH PARTITION m_c;
               INSERT INTO m_c VALUES (11, 'c', 'apart'); TRUNCATE m";
    for via_root in [false, true] {
        let receiver = Receiver::start();
        let mut road = Road::bare(builder(), schema);
        road.configure(&every(&receiver));
        road.sql(&format!(
            "CREATE PUBLICATION walgate FOR TABLE m WITH (publish_via_partition_root = {via_root})"
        ));
        road.start();
        road.sql(sql);
        road.confirms(&road.wal_end());
        let journal = receiver.journal();
        let told = |event: &Event| {
            let table = event.0["table"].as_str().unwrap_or_default().to_owned();
            format!("{} {} {} {}", event.op(), table, event.0["key"]["id"], event.0["data"]["v"])
        };
        let told: Vec<String> = journal.events().iter().map(told).collect();
        let leaf =
            |name: &str| if via_root { "public.m".to_owned() } else { format!("public.m_{name}") };
        let (a, b, c) = (leaf("a"), leaf("b"), leaf("c"));
        let mut expected = vec![
            format!("insert {a} 1 \"x\""),
            format!("delete {a} 1 null"),
            format!("insert {b} 1 \"x\""),
            format!("update {b} 1 \"y\""),
            format!("insert {c} 10 \"behind\""),
        ];
        if via_root {
            expected.push("truncate public.m null null".to_owned());
        } else {
            expected.extend(
                ["truncate public.m_a null null", "truncate public.m_b null null"]
                    .map(str::to_owned),
            );
        }
        assert_eq!(told, expected, "via_root = {via_root}");
    }
}

#[test]
fn what_makes_no_row_change_makes_no_event_and_what_does_makes_one() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE UNLOGGED TABLE u (id int PRIMARY KEY);
                  CREATE TABLE parent (id int PRIMARY KEY);
                  CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
                  CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE moods (id int PRIMARY KEY, m mood);
                  CREATE SEQUENCE s; CREATE MATERIALIZED VIEW mv AS SELECT 1 AS one;
                  CREATE VIEW w AS SELECT * FROM t";
    let sql = "
        BEGIN; INSERT INTO t VALUES (1, 'never'); ROLLBACK;
        SELECT nextval('s'); REFRESH MATERIALIZED VIEW mv; INSERT INTO u VALUES (1);
        CREATE TEMP TABLE tt (id int); INSERT INTO tt VALUES (1);
        INSERT INTO t VALUES (1, 'a') ON CONFLICT DO NOTHING; INSERT INTO t VALUES (1, 'b') ON CONFLICT DO NOTHING;
        INSERT INTO t VALUES (1, 'c') ON CONFLICT (id) DO UPDATE SET v = excluded.v;
        UPDATE t SET v = v; UPDATE t SET v = 'd' WHERE false; INSERT INTO w VALUES (2, 'view');
        INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1); UPDATE parent SET id = 2; DELETE FROM parent;
        ALTER TYPE mood ADD VALUE 'glad'; INSERT INTO moods VALUES (1, 'glad');
        BEGIN; CREATE TABLE brief (id int PRIMARY KEY); INSERT INTO brief VALUES (1); DROP TABLE brief; COMMIT;
        CREATE TABLE made AS SELECT 7 AS id";
    // One at a time: some of them take no transaction.
    let receiver = Receiver::start();
    let road = Road::new(builder(), schema, &every(&receiver));
    let session = road.session();
    for statement in sql.split(';') {
        road.sql_in(&session, statement);
    }
    road.confirms(&road.wal_end());
    let told: Vec<String> = receiver
        .journal()
        .events()
        .iter()
        .map(|e| format!("{} {} {}", e.op(), e.0["table"].as_str().unwrap(), e.0["data"]["id"]))
        .collect();
    assert_eq!(
        told,
        [
            "insert public.t 1",
            "update public.t 1",
            "update public.t 1",
            "insert public.t 2",
            "insert public.parent 1",
            "insert public.child 1",
            "update public.parent 2",
            "update public.child 1",
            "delete public.parent 2",
            "delete public.child 1",
            "insert public.moods 1",
            "insert public.brief 1",
            "insert public.made 7",
        ]
    );
}

#[test]
fn a_row_filter_makes_inserts_and_deletes_of_rows_that_enter_and_leave() {
    let schema = "CREATE TABLE t (a int PRIMARY KEY, b text, hidden text); ALTER TABLE t REPLICA IDENTITY FULL";
    let receiver = Receiver::start();
    let mut road = Road::bare(builder(), schema);
    road.configure(&every(&receiver));
    road.sql("CREATE PUBLICATION walgate FOR TABLE t WHERE (a > 10 AND b <> 'out')");
    road.start();
    road.sql(
        "INSERT INTO t VALUES (1, 'in'), (20, 'in'), (30, 'out'); UPDATE t SET b = NULL WHERE a = 20;
         UPDATE t SET b = 'in' WHERE a = 30; UPDATE t SET b = 'still' WHERE a = 30; DELETE FROM t WHERE a = 1;
         TRUNCATE t",
    );
    road.confirms(&road.wal_end());
    let told: Vec<String> = receiver
        .journal()
        .events()
        .iter()
        .map(|e| format!("{} {}", e.op(), e.0["key"]["a"]))
        .collect();
    assert_eq!(told, ["insert 20", "delete 20", "insert 30", "update 30", "truncate null"]);
}
