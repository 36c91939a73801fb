//! `mode = "append"`: each event is a row, once.

use super::{A_WHILE, BRISK, Set, Warehouse, Writers};
use crate::support::process::pause;

const SET: Set<'static> = Set {
    schema: "CREATE TABLE t (id int PRIMARY KEY, v text, big text);
             ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
    far_schema: "",
    sink: BRISK,
    postgres: "evolve = true\nmode = \"append\"\ntable = \"log.{{ table.name }}\"",
    route: "start = \"now\"\non = [\"insert\", \"update\", \"delete\", \"truncate\"]",
};

#[test]
fn a_row_tells_what_was_done() {
    let warehouse = Warehouse::start(SET);
    warehouse.road.sql("INSERT INTO t VALUES (1, 'a', repeat('x', 5000))");
    warehouse.road.sql("UPDATE t SET v = 'b'");
    warehouse.road.sql("UPDATE t SET id = 2");
    warehouse.road.sql("DELETE FROM t");
    warehouse.road.sql("TRUNCATE t");
    warehouse.catches_up();
    let rows = warehouse.value(
        "SELECT string_agg(concat_ws('|', _op, _table, _key, _before_key, _unchanged, id, v,
             length(big)), E'\\n' ORDER BY _id) FROM log.t",
    );
    assert_eq!(
        rows,
        "insert|public.t|{\"id\": 1}|1|a|5000\n\
         update|public.t|{\"id\": 1}|{big}|1|b\n\
         update|public.t|{\"id\": 2}|{\"id\": 1}|{big}|2|b\n\
         delete|public.t|{\"id\": 2}|2\n\
         truncate|public.t"
    );
    let whole = "SELECT bool_and(_lsn IS NOT NULL AND _seq IS NOT NULL AND _time IS NOT NULL
                     AND _id LIKE '00000001-%' AND _source LIKE '%/postgres') FROM log.t";
    assert_eq!(warehouse.value(whole), "t");
}

#[test]
fn each_event_is_there_once_whatever_is_repeated() {
    let mut warehouse = Warehouse::start(SET);
    let block = "DO $$ BEGIN
        FOR i IN 1..300 LOOP
            INSERT INTO t VALUES (i, 'a'); COMMIT;
            UPDATE t SET v = 'b' WHERE id = i; COMMIT;
            DELETE FROM t WHERE id = i; COMMIT;
        END LOOP; END $$";
    let writers = Writers::start(&warehouse.road, 1, block);
    for _ in 0..4 {
        pause(A_WHILE);
        warehouse.road.walgate.kill();
        warehouse.road.until_free();
        warehouse.road.start();
    }
    writers.end();
    warehouse.catches_up();
    let count = warehouse.value("SELECT count(*) || ' ' || count(DISTINCT _id) FROM log.t");
    assert_eq!(count, "900 900");
    let wrong = warehouse.value(
        "SELECT count(*) FROM (SELECT id FROM log.t GROUP BY id
         HAVING string_agg(_op, ' ' ORDER BY _id) <> 'insert update delete') x",
    );
    assert_eq!(wrong, "0");
}
