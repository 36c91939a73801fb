//! Documents are the rows, whatever happens on the way.

use serde_json::Value;

use super::{Fake, is_equal, road};
use crate::sinks::fakes::elasticsearch::Cluster;
use crate::sinks::postgres::upsert::{CHANGES, SCHEMA};
use crate::sinks::postgres::{A_WHILE, Writers};
use crate::support::process::pause;
use crate::support::road::Road;

const ROUTE: &str = "on = [\"insert\", \"update\", \"delete\", \"read\", \"truncate\"]";

/// Rows whose large value Postgres does not send again.
const PARTIAL: &str = "CREATE TABLE p (id int PRIMARY KEY, v text, o jsonb, big text);
     ALTER TABLE p ALTER big SET STORAGE EXTERNAL;
     ALTER TABLE t REPLICA IDENTITY FULL";

const PARTIAL_CHANGES: &str = "DO $$
    DECLARE k int;
    BEGIN
        FOR i IN 1..300 LOOP
            k := 1 + (random() * 40)::int;
            CASE (random() * 5)::int
            WHEN 0 THEN DELETE FROM p WHERE id = k;
            WHEN 1 THEN INSERT INTO p VALUES (k, 'new', '{\"a\": 1, \"b\": {\"c\": 2}}', repeat(md5(i::text), 100))
                ON CONFLICT DO NOTHING;
            WHEN 2 THEN UPDATE p SET o = jsonb_build_object('k' || i % 3, i) WHERE id = k;
            WHEN 3 THEN
                UPDATE p SET v = md5(random()::text) WHERE id % 10 = k % 10;
                UPDATE p SET v = NULL WHERE id = k;
            WHEN 4 THEN UPDATE p SET big = repeat(md5(random()::text), 100) WHERE id = k;
            ELSE DELETE FROM p WHERE id = k; INSERT INTO p VALUES (k, 'back', NULL, 'short');
            END CASE;
            COMMIT;
        END LOOP;
    END $$";

fn start(far: &Fake<Cluster>) -> Road {
    // No index has capitals or spaces in its name.
    let schema = format!("{SCHEMA}; {PARTIAL}").replace("\"Two keys\"", "two_keys");
    let mut road = road(far, &schema, ROUTE);
    road.start();
    road
}

fn writers(road: &Road) -> [Writers; 2] {
    let changes = CHANGES.replace("\"Two keys\"", "two_keys");
    [Writers::start(road, 2, &changes), Writers::start(road, 1, PARTIAL_CHANGES)]
}

#[track_caller]
fn are_equal(road: &Road, far: &Fake<Cluster>) {
    road.sql("INSERT INTO u VALUES (0, 'last') ON CONFLICT DO NOTHING");
    for table in ["t", "u", "two_keys", "p"] {
        is_equal(road, far, table);
    }
    assert_eq!(road.dead_letters(&["--state", "dead"]), Vec::<Value>::new());
}

/// A cluster that goes away and comes back, and whose queues are full now and then.
#[test]
fn tables_under_load_are_the_same_there() {
    let mut far = Fake::start(Cluster::default());
    let road = start(&far);
    let writers = writers(&road);
    for _ in 0..3 {
        pause(A_WHILE / 2);
        far.refuse();
        pause(A_WHILE / 2);
        far.state().busy = 7;
        far.listen();
    }
    writers.into_iter().for_each(Writers::end);
    are_equal(&road, &far);
}

#[test]
fn they_are_the_same_after_walgate_was_killed_on_the_way() {
    let far = Fake::start(Cluster::default());
    let mut road = start(&far);
    let writers = writers(&road);
    for _ in 0..3 {
        pause(A_WHILE);
        road.walgate.kill();
        road.until_free();
        road.start();
    }
    writers.into_iter().for_each(Writers::end);
    are_equal(&road, &far);
}
