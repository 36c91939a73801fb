//! `mode = "append"`: each event is a row, and nothing is changed.

use super::{Set, Warehouse};

const FAR_SCHEMA: &str = "
    CREATE TABLE log (id Int64, v Nullable(String), big Nullable(String), _id String, _op String,
        _table String, _version UInt128, _time Nullable(DateTime64(6, 'UTC')),
        _before_key Nullable(String), _unchanged Array(String))
    ENGINE = ReplacingMergeTree ORDER BY _id";

#[test]
fn each_event_is_a_row_of_its_own() {
    let mut warehouse = Warehouse::start(Set {
        schema: "CREATE TABLE t (id int PRIMARY KEY, v text, big text);
                 ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        far_schema: FAR_SCHEMA,
        clickhouse: "mode = \"append\"\ntable = \"log\"",
        route: "start = \"now\"\non = [\"insert\", \"update\", \"delete\", \"truncate\"]",
    });
    warehouse.road.sql(
        "INSERT INTO t VALUES (1, 'a', repeat('x', 5000));
         UPDATE t SET v = 'b';
         UPDATE t SET id = 2;
         DELETE FROM t;
         INSERT INTO t VALUES (3, NULL, NULL);
         TRUNCATE t;",
    );
    warehouse.catches_up();
    let rows = "SELECT _op, id, v, length(big), _table, _before_key, _unchanged, _time IS NOT NULL
         FROM log FINAL ORDER BY _id";
    let expected = "insert\t1\ta\t5000\tpublic.t\t\\N\t[]\t1\n\
         update\t1\tb\t\\N\tpublic.t\t\\N\t['big']\t1\n\
         update\t2\tb\t\\N\tpublic.t\t{\"id\":1}\t['big']\t1\n\
         delete\t2\t\\N\t\\N\tpublic.t\t\\N\t[]\t1\n\
         insert\t3\t\\N\t\\N\tpublic.t\t\\N\t[]\t1\n\
         truncate\t0\t\\N\t\\N\tpublic.t\t\\N\t[]\t1";
    assert_eq!(warehouse.far.value(rows), expected);
    // A run that is killed repeats the end; each event is there once all the same.
    warehouse.road.walgate.kill();
    warehouse.road.until_free();
    warehouse.road.start();
    warehouse.road.sql("INSERT INTO t SELECT g, 'c' FROM generate_series(10, 500) g");
    warehouse.catches_up();
    let count = "SELECT count(), uniqExact(_id), uniqExact(_version) FROM log FINAL";
    assert_eq!(warehouse.far.value(count), "497\t497\t497");
}
