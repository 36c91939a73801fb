//! What goes wrong at the warehouse stays there: nothing is lost, and one bad row stops no other.

use walgate::demo::cluster::{Cluster, Stop};

use super::{A_WHILE, BRISK, Set, Warehouse, Writers};
use crate::support::process::{eventually, pause};
use crate::support::road::{PATIENCE, runtime};

const BLOCK: &str = "DO $$ BEGIN
    FOR i IN 1..400 LOOP
        INSERT INTO t VALUES (i, md5(random()::text)); COMMIT;
        UPDATE t SET v = md5(random()::text) WHERE id = 1 + (random() * i)::int; COMMIT;
        DELETE FROM t WHERE id = 1 + (random() * i)::int; COMMIT;
    END LOOP; END $$";

#[test]
fn a_warehouse_that_stops_and_starts_has_everything() {
    let mut warehouse = Warehouse::start(Set::default());
    let writers = Writers::start(&warehouse.road, 1, BLOCK);
    for how in [Stop::Immediate, Stop::Fast, Stop::Immediate] {
        pause(A_WHILE);
        runtime().block_on(warehouse.far.stop(how, PATIENCE)).unwrap();
        pause(A_WHILE);
        runtime().block_on(warehouse.far.start()).unwrap();
    }
    writers.end();
    warehouse.is_equal("t", "t");
    assert_eq!(warehouse.road.dead_letters(&[]), Vec::<serde_json::Value>::new());
}

#[test]
fn a_row_that_does_not_fit_is_set_aside_and_the_rest_flows() {
    let warehouse = Warehouse::start(Set {
        far_schema: "CREATE TABLE t (id int PRIMARY KEY, v varchar(10) CHECK (v <> 'secret'))",
        postgres: "",
        route: "start = \"now\"",
        ..Set::default()
    });
    warehouse.road.sql(
        "INSERT INTO t SELECT g, CASE g WHEN 50 THEN 'much too long for it' WHEN 70 THEN 'secret'
             ELSE 'fits' END FROM generate_series(1, 200) g",
    );
    warehouse.catches_up();
    assert_eq!(warehouse.value("SELECT count(*) FROM t"), "198");
    let mut letters = Vec::new();
    eventually("both are set aside", PATIENCE, || {
        letters = warehouse.road.dead_letters(&["--state", "dead"]);
        letters.len() == 2
    });
    for letter in &letters {
        let message = letter["message"].as_str().unwrap();
        assert_eq!(letter["category"], "rejected");
        assert!(message.contains("SQLSTATE 2"), "{message}");
        assert!(!message.contains("secret") && !message.contains("much too"), "{message}");
    }
    // Mended, it goes.
    warehouse.sql("ALTER TABLE t ALTER v TYPE text, DROP CONSTRAINT t_v_check");
    let (code, _, said) = warehouse.road.dlq(&["replay", "--all"]);
    assert_eq!(code, 0, "{said}");
    warehouse.is_equal("t", "t");
}

#[test]
fn a_password_that_is_refused_halts_and_goes_on_when_it_is_mended() {
    let far = Cluster::builder().hba("host all w 127.0.0.1/32 scram-sha-256");
    let set = Set::default();
    let mut warehouse = Warehouse::quiet(far, set);
    warehouse.sql(
        "CREATE ROLE w LOGIN PASSWORD 'right'; GRANT ALL ON DATABASE postgres TO w;
                   GRANT ALL ON SCHEMA public TO w",
    );
    let url = format!("postgres://w:wrong@127.0.0.1:{}/postgres", warehouse.far.port());
    warehouse.configure(set, &url);
    let check = warehouse.road.walgate.call(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("refused the login") && !said.contains("wrong"), "{said}");
    warehouse.road.start();
    warehouse.road.sql("INSERT INTO t VALUES (1, 'a')");
    eventually("the sink halts", PATIENCE, || {
        warehouse.road.walgate.status()["sinks"][0]["state"] == "halted"
    });
    warehouse.sql("ALTER ROLE w PASSWORD 'wrong'");
    warehouse.is_equal("t", "t");
    let check = warehouse.road.walgate.call(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("PostgreSQL 1") && said.contains("database postgres"), "{said}");
}

#[test]
fn a_table_or_column_that_is_not_there_halts_until_it_is() {
    let warehouse = Warehouse::start(Set { postgres: "", ..Set::default() });
    warehouse.road.sql("INSERT INTO t VALUES (1, 'a')");
    let reason = |part: &str| {
        eventually(part, PATIENCE, || {
            let status = warehouse.road.walgate.status();
            let sink = &status["sinks"][0];
            sink["state"] == "halted" && sink["reason"].to_string().contains(part)
        });
    };
    reason("there is no table");
    warehouse.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    warehouse.is_equal("t", "t");
    warehouse.road.sql("ALTER TABLE t ADD w int DEFAULT 7; UPDATE t SET v = 'b'");
    reason("has no column");
    warehouse.sql("ALTER TABLE t ADD w int");
    warehouse.is_equal("t", "t");
}

#[test]
fn settings_that_make_no_table_are_refused_where_they_stand() {
    let warehouse = Warehouse::quiet(Cluster::builder(), Set::default());
    for (set, problem) in [
        (Set { postgres: "table = \"a.{{ table }}\"", ..Set::default() }, "{{ table.name }}"),
        (Set { postgres: "table = \"{{ table\"", ..Set::default() }, "is not closed"),
        (Set { postgres: "mode = \"merge\"", ..Set::default() }, "mode"),
        (Set { sink: "format = \"mapped\"", ..Set::default() }, "leave \"format\" out"),
    ] {
        warehouse.configure(set, "postgres://localhost/x");
        let check = warehouse.road.walgate.call(&["check", "--offline"]);
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(2), "{said}");
        assert!(said.contains(problem), "{problem}: {said}");
    }
    warehouse.configure(Set::default(), "postgres://localhost/x?nonsense=1");
    let check = warehouse.road.walgate.call(&["check", "--offline"]);
    assert_eq!(check.status.code(), Some(2));
}

/// A lock is held for longer than a request may take: the statement is ended there, and what it
/// would have done is not done later.
#[test]
fn a_request_that_takes_too_long_is_ended_at_the_server_too() {
    let warehouse = Warehouse::start(Set {
        sink: &format!("{BRISK}\ntimeout = \"500ms\""),
        far_schema: "CREATE TABLE t (id int PRIMARY KEY, v text)",
        ..Set::default()
    });
    warehouse.road.sql("INSERT INTO t VALUES (1, 'a')");
    warehouse.is_equal("t", "t");
    let session = runtime_session(&warehouse);
    session.1.block_on(session.0.batch_execute("BEGIN; LOCK TABLE t")).unwrap();
    warehouse.road.sql("UPDATE t SET v = 'b'");
    eventually("it is tried again", PATIENCE, || {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        let status = warehouse.road.walgate.status();
        let state = status["sinks"][0]["state"].as_str().unwrap_or_default().to_owned();
        state != "ok" && warehouse.value(waits).parse::<u32>().unwrap() <= 1
    });
    session.1.block_on(session.0.batch_execute("ROLLBACK")).unwrap();
    warehouse.is_equal("t", "t");
}

fn runtime_session(
    warehouse: &Warehouse,
) -> (walgate::demo::cluster::Session, tokio::runtime::Runtime) {
    let runtime = runtime();
    let session = runtime.block_on(warehouse.far.connect("postgres")).unwrap();
    (session, runtime)
}
