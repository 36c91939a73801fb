//! Rows that are new go by COPY, and are there as if they had gone otherwise.

use walgate::demo::cluster::Cluster;

use super::values::{table, types};
use super::{A_WHILE, Set, Warehouse};
use crate::support::process::{eventually, pause};
use crate::support::road::PATIENCE;
use crate::support::state::loaded;
use crate::values::SET_UP;

/// Counts the rows of `t` that came by COPY.
const COUNTED: &str = "
    CREATE TABLE copied (n bigint);
    CREATE FUNCTION count_copied() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_query() LIKE 'COPY%' THEN
            INSERT INTO copied SELECT count(*) FROM new_rows;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER count_copied AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION count_copied()";

const COPIED: &str = "SELECT coalesce(sum(n), 0) FROM copied";

#[test]
fn values_of_every_type_come_out_as_they_went_in() {
    let cases = types();
    let (create, fill) = table(&cases);
    let columns: Vec<String> = (0..cases.len()).map(|n| format!("c{n}")).collect();
    let columns = columns.join(", ");
    let schema = format!(
        "{SET_UP}; {create}; {fill};
         INSERT INTO t SELECT id + 100 * g, {columns} FROM t, generate_series(1, 400) g"
    );
    let far_schema = format!("{SET_UP}; {create}; {COUNTED}");
    let set = Set { schema: &schema, far_schema: &far_schema, ..Set::default() };
    let mut warehouse = Warehouse::quiet(Cluster::builder(), set);
    warehouse.road.start();
    warehouse.is_equal("t", "t");
    assert_ne!(warehouse.value(COPIED), "0", "no row went by COPY");
    // By the stream, over rows that are there and others.
    warehouse.road.sql(
        "BEGIN; DELETE FROM t WHERE id < 5000; UPDATE t SET id = id + 100000;
         UPDATE t SET id = id - 100000 WHERE id % 2 = 0; COMMIT",
    );
    warehouse.is_equal("t", "t");
    assert_eq!(warehouse.road.dead_letters(&[]), Vec::<serde_json::Value>::new());
}

#[test]
fn a_load_is_whole_whatever_breaks_off() {
    let schema = "
        CREATE TABLE t (id int PRIMARY KEY, v text, n numeric);
        CREATE TABLE u (a bigint, b text, c date, PRIMARY KEY (b, a));
        INSERT INTO t SELECT g, repeat(E'line\\n\\\\N\\t', g % 7), g / 7.0 FROM generate_series(1, 40000) g;
        INSERT INTO u SELECT g, g::text, DATE '2000-01-01' + g FROM generate_series(1, 40000) g";
    let far_schema = format!("CREATE TABLE t (id int PRIMARY KEY, v text, n numeric); {COUNTED}");
    let set = Set { schema, far_schema: &far_schema, ..Set::default() };
    let mut warehouse = Warehouse::quiet(Cluster::builder(), set);
    warehouse.road.start();
    for _ in 0..3 {
        pause(A_WHILE);
        warehouse.road.walgate.kill();
        warehouse.road.until_free();
        warehouse.road.start();
    }
    warehouse.road.sql("UPDATE t SET v = 'changed', n = NULL WHERE id % 3 = 0");
    loaded(&warehouse.road);
    warehouse.is_equal("t", "t");
    warehouse.is_equal("u", "u");
    assert_ne!(warehouse.value(COPIED), "0", "no row went by COPY");
    assert_eq!(warehouse.road.dead_letters(&[]), Vec::<serde_json::Value>::new());
}

#[test]
fn rows_that_are_there_are_written_over() {
    let far_schema = format!(
        "CREATE TABLE t (id int PRIMARY KEY, v text, mine text DEFAULT 'kept');
         INSERT INTO t SELECT g, 'old' FROM generate_series(1500, 8000) g; {COUNTED}"
    );
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v text);
                  INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 10000) g";
    let set = Set { schema, far_schema: &far_schema, postgres: "", ..Set::default() };
    let mut warehouse = Warehouse::quiet(Cluster::builder(), set);
    warehouse.road.start();
    let there = "SELECT count(*) || ' ' || min(id) || ' ' || max(id) FROM t
                 WHERE v = 'v' || id AND mine = 'kept'";
    eventually("all are there", PATIENCE, || warehouse.value(there) == "10000 1 10000");
    assert_eq!(warehouse.road.dead_letters(&[]), Vec::<serde_json::Value>::new());
}

#[test]
fn a_row_that_does_not_fit_is_set_aside_alone() {
    let far_schema = "CREATE TABLE t (id int PRIMARY KEY, v varchar(5))";
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v text);
                  INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 3000) g;
                  UPDATE t SET v = 'too long' WHERE id = 1234";
    let set = Set { schema, far_schema, postgres: "", ..Set::default() };
    let mut warehouse = Warehouse::quiet(Cluster::builder(), set);
    warehouse.road.start();
    let mut letters = Vec::new();
    eventually("it is set aside", PATIENCE, || {
        letters = warehouse.road.dead_letters(&[]);
        !letters.is_empty()
    });
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["key"], serde_json::json!({ "id": 1234 }));
    let there = "SELECT count(*) || ' ' || min(id) || ' ' || max(id) FROM t WHERE v = 'v' || id";
    eventually("the others are there", PATIENCE, || warehouse.value(there) == "2999 1 3000");
    assert_eq!(warehouse.road.dead_letters(&[]).len(), 1);
}
