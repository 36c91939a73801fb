//! `mode = "upsert"`: the rows as they are, each change once.

use super::{A_WHILE, BRISK, Set, Warehouse, Writers};
use crate::support::process::pause;
use crate::support::state::loaded;

pub(in crate::sinks) const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, v text, n numeric, big text);
    ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE u (id int PRIMARY KEY, v text);
    CREATE TABLE \"Two keys\" (a int, b text, v text, PRIMARY KEY (b, a));
    INSERT INTO t SELECT g, 'before', g / 3.0, repeat(md5(g::text), 100)
        FROM generate_series(1, 200) g;
    INSERT INTO u SELECT g, 'before' FROM generate_series(1, 200) g;
    INSERT INTO \"Two keys\" SELECT g, 'k' || g, 'before' FROM generate_series(1, 200) g";

/// Changes of every kind, some of several rows in one transaction: a row that moves to another key
/// keeps what Postgres does not send.
pub(in crate::sinks) const CHANGES: &str = r#"DO $$
    DECLARE k int;
    BEGIN
        FOR i IN 1..250 LOOP
            k := 1 + (random() * 250)::int;
            BEGIN
                CASE (random() * 10)::int
                WHEN 0 THEN DELETE FROM t WHERE id = k;
                WHEN 1 THEN INSERT INTO t VALUES (k, 'new', random(), repeat(md5(i::text), 100))
                    ON CONFLICT DO NOTHING;
                WHEN 2 THEN UPDATE t SET id = k + 1000 WHERE id = k;
                WHEN 3 THEN UPDATE t SET id = k WHERE id = k + 1000;
                WHEN 4 THEN UPDATE t SET big = repeat(md5(random()::text), 100) WHERE id = k;
                WHEN 5 THEN UPDATE t SET n = NULL, v = md5(random()::text) WHERE id % 20 = k % 20;
                WHEN 6 THEN
                    UPDATE t SET id = k + 2000 WHERE id = k;
                    UPDATE t SET v = 'moved' WHERE id = k + 2000;
                    UPDATE t SET id = k WHERE id = k + 2000;
                WHEN 7 THEN
                    IF i % 20 = 0 THEN TRUNCATE u; END IF;
                    INSERT INTO u SELECT g, md5(random()::text) FROM generate_series(k, k + 5) g
                        ON CONFLICT (id) DO UPDATE SET v = excluded.v;
                WHEN 8 THEN UPDATE "Two keys" SET b = 'k' || k, v = 'moved' WHERE a = k + 1;
                WHEN 9 THEN DELETE FROM t WHERE id = k; INSERT INTO t VALUES (k, 'back');
                ELSE UPDATE t SET v = md5(random()::text) WHERE id = k;
                END CASE;
            EXCEPTION WHEN unique_violation THEN NULL;
            END;
            COMMIT;
        END LOOP;
    END $$"#;

fn set() -> Set<'static> {
    Set {
        schema: SCHEMA,
        route: "on = [\"insert\", \"update\", \"delete\", \"read\", \"truncate\"]",
        ..Set::default()
    }
}

#[track_caller]
fn are_equal(warehouse: &Warehouse) {
    warehouse.road.sql("INSERT INTO u VALUES (0, 'last') ON CONFLICT DO NOTHING");
    for table in ["t", "u", "\"Two keys\""] {
        warehouse.is_equal(table, table);
    }
    assert_eq!(warehouse.road.dead_letters(&[]), Vec::<serde_json::Value>::new());
}

/// [`CHANGES`] in which rows of `t` keep their keys: one that moves from a part that is not loaded
/// yet to one that is takes no large value along.
fn without_moves() -> String {
    let moves = |line: &&str| !line.contains("UPDATE t SET id = ");
    let lines: Vec<&str> = CHANGES.lines().filter(moves).collect();
    lines.join("\n").replace("WHEN 6 THEN", "WHEN 2, 3, 6 THEN")
}

#[test]
fn tables_under_load_are_the_same_there() {
    let warehouse = Warehouse::start(set());
    Writers::start(&warehouse.road, 4, &without_moves()).end();
    loaded(&warehouse.road);
    Writers::start(&warehouse.road, 4, CHANGES).end();
    are_equal(&warehouse);
    let noted = warehouse.value("SELECT count(*) FROM walgate.applied");
    assert!(noted.parse::<u32>().unwrap() > 0, "nothing was noted");
}

#[test]
fn they_are_the_same_after_walgate_was_killed_on_the_way() {
    let mut warehouse = Warehouse::start(set());
    for changes in [&without_moves(), CHANGES] {
        let writers = Writers::start(&warehouse.road, 3, changes);
        for _ in 0..2 {
            pause(A_WHILE);
            warehouse.road.walgate.kill();
            warehouse.road.until_free();
            warehouse.road.start();
        }
        writers.end();
        loaded(&warehouse.road);
    }
    are_equal(&warehouse);
}

/// Every change that a table there sees is counted; one at a time, so that none is folded.
#[test]
fn each_change_takes_effect_once_whatever_is_repeated() {
    let mut warehouse = Warehouse::start(Set {
        schema: "CREATE TABLE t (id int PRIMARY KEY, v text)",
        far_schema: "
            CREATE TABLE t (id int PRIMARY KEY, v text);
            CREATE TABLE seen (n bigserial, op text, id int, v text);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO seen (op, id, v) VALUES (TG_OP, coalesce(NEW.id, OLD.id), NEW.v);
                RETURN NULL;
            END $$;
            CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON t
                FOR EACH ROW EXECUTE FUNCTION note()",
        sink: &format!("{BRISK}\nbatch = {{ max_events = 1 }}"),
        postgres: "",
        route: "start = \"now\"",
    });
    let block = "DO $$ BEGIN
        FOR i IN 1..300 LOOP
            INSERT INTO t VALUES (i, 'a'); COMMIT;
            UPDATE t SET v = 'b' WHERE id = i; COMMIT;
            DELETE FROM t WHERE id = i; COMMIT;
            INSERT INTO t VALUES (i, 'c'); COMMIT;
        END LOOP; END $$";
    let writers = Writers::start(&warehouse.road, 1, block);
    for round in 0..6 {
        pause(A_WHILE);
        if round % 2 == 0 {
            warehouse.road.walgate.kill();
            warehouse.road.until_free();
            warehouse.road.start();
        } else {
            // An answer is lost: nobody here knows whether it was committed.
            warehouse.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'walgate'",
            );
        }
    }
    writers.end();
    warehouse.is_equal("t", "t");
    let counted = warehouse.value("SELECT count(*) FROM seen");
    let wrong = warehouse.value(
        "SELECT count(*) FROM (SELECT id FROM seen GROUP BY id
         HAVING string_agg(concat_ws(' ', op, v), ', ' ORDER BY n)
             <> 'INSERT a, UPDATE b, DELETE, INSERT c') x",
    );
    assert_eq!((counted.as_str(), wrong.as_str()), ("1200", "0"));
}

#[test]
fn what_was_applied_is_remembered_only_as_long_as_it_can_come_again() {
    let warehouse = Warehouse::start(Set::default());
    warehouse.road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 2000) g");
    warehouse.is_equal("t", "t");
    // Rows go ten seconds apart, with the next batch.
    let mut id = 10_000;
    crate::support::process::eventually("few are left", std::time::Duration::from_secs(40), || {
        id += 1;
        warehouse.road.sql(&format!("INSERT INTO t VALUES ({id}, 'b')"));
        pause(A_WHILE);
        warehouse.value("SELECT count(*) < 500 FROM walgate.applied") == "t"
    });
}

/// A soft delete is an update that the route makes of it.
#[test]
fn rows_are_marked_where_the_route_says_so_and_go_where_it_does_not() {
    let warehouse = Warehouse::start(Set {
        schema: "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY FULL",
        route: "on_delete = { set = { deleted = true } }",
        postgres: "evolve = true\ntable = \"kept.{{ table.name }}_all\"",
        ..Set::default()
    });
    warehouse.road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'); DELETE FROM t WHERE id = 1");
    warehouse.catches_up();
    let rows = warehouse.value("SELECT string_agg(x::text, ' ' ORDER BY id) FROM kept.t_all x");
    assert_eq!(rows, "(1,a,t) (2,b,)");
}
