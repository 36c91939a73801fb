//! What goes wrong there stays there: nothing is lost, and one bad row stops no other.

use serde_json::Value;

use super::{PASSWORD, Set, Warehouse};
use crate::support::process::eventually;
use crate::support::road::PATIENCE;

const T: &str = "
    CREATE TABLE t (id Int64, v String, big Nullable(String), _version UInt128, _deleted UInt8,
        CONSTRAINT good CHECK v != 'secret')
    ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id";

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v text, big text);
                      ALTER TABLE t ALTER big SET STORAGE EXTERNAL";

fn set() -> Set<'static> {
    Set { schema: SCHEMA, far_schema: T, route: "start = \"now\"", ..Set::default() }
}

#[test]
fn a_row_that_does_not_fit_is_set_aside_and_the_rest_flows() {
    let warehouse = Warehouse::start(set());
    warehouse.road.sql(
        "INSERT INTO t SELECT g, CASE g WHEN 50 THEN NULL WHEN 70 THEN 'secret' ELSE 'fits' END,
             repeat('x', 4000) FROM generate_series(1, 200) g",
    );
    warehouse.catches_up();
    // Without its large value a row is no version of itself.
    warehouse.road.sql("UPDATE t SET v = 'changed' WHERE id IN (7, 8, 9)");
    let mut letters = Vec::new();
    eventually("all are set aside", PATIENCE, || {
        letters = warehouse.road.dead_letters(&["--state", "dead"]);
        letters.len() == 5
    });
    let there = "SELECT count(), countIf(v = 'fits'), min(length(big)) FROM t FINAL";
    assert_eq!(warehouse.far.value(there), "198\t198\t4000");
    let of = |id: u32| {
        let letter = letters.iter().find(|letter| letter["key"]["id"] == id).unwrap();
        assert_eq!(letter["category"], "rejected");
        letter["message"].as_str().unwrap().to_owned()
    };
    assert!(of(50).contains("error 117 (INCORRECT_DATA)"), "{}", of(50));
    assert!(of(70).contains("error 469 (VIOLATED_CONSTRAINT)"), "{}", of(70));
    assert!(of(8).contains("REPLICA IDENTITY FULL"), "{}", of(8));
    assert!(!warehouse.road.walgate.log().contains("secret"));
    // Mended, it goes.
    warehouse
        .far
        .sql("ALTER TABLE t DROP CONSTRAINT good; ALTER TABLE t MODIFY COLUMN v Nullable(String)");
    let ids: Vec<String> = letters.iter().map(|letter| letter["id"].to_string()).collect();
    let of_insert = letters.iter().zip(&ids).filter(|(letter, _)| letter["op"] == "insert");
    for (_, id) in of_insert {
        let (code, _, said) = warehouse.road.dlq(&["replay", id]);
        assert_eq!(code, 0, "{said}");
    }
    eventually("they are there", PATIENCE, || {
        warehouse.far.value("SELECT count() FROM t FINAL WHERE v IS NULL OR v = 'secret'") == "2"
    });
    // A row that comes whole mends what was left behind.
    warehouse
        .road
        .sql("ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET v = 'whole' WHERE id < 10");
    warehouse.is_equal(
        "SELECT count(*) || E'\\t' || sum(length(big)) FROM t WHERE v = 'whole'",
        "SELECT count(), sum(length(big)) FROM t FINAL WHERE v = 'whole'",
    );
}

#[test]
fn a_password_that_is_refused_halts_and_goes_on_when_it_is_mended() {
    let mut warehouse = Warehouse::start(set());
    warehouse.far.kill();
    warehouse.far.listen("another");
    warehouse.road.sql("INSERT INTO t VALUES (1, 'a')");
    warehouse.halts("error 516 (AUTHENTICATION_FAILED)");
    let check = warehouse.road.walgate.call(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("AUTHENTICATION_FAILED") && !said.contains(PASSWORD), "{said}");
    assert!(!warehouse.road.walgate.log().contains(PASSWORD));
    warehouse.far.kill();
    warehouse.far.listen(PASSWORD);
    warehouse.is_equal("SELECT id || E'\\t' || v FROM t", "SELECT id, v FROM t FINAL");
    assert_eq!(warehouse.road.dead_letters(&["--state", "dead"]), Vec::<Value>::new());
}

#[test]
fn a_table_or_column_that_is_not_there_halts_until_it_is() {
    let warehouse = Warehouse::start(Set { far_schema: "", ..set() });
    warehouse.road.sql("INSERT INTO t VALUES (1, 'a')");
    warehouse.halts("error 60 (UNKNOWN_TABLE) for `default`.`t`");
    warehouse.far.sql(T);
    warehouse.is_equal("SELECT id || E'\\t' || v FROM t", "SELECT id, v FROM t FINAL");
    warehouse.road.sql("ALTER TABLE t ADD w int DEFAULT 7; UPDATE t SET v = 'b'");
    let missing = "for `default`.`t`, which has not all of the columns id, v";
    warehouse.halts(&format!("error 16 (NO_SUCH_COLUMN_IN_TABLE) {missing}"));
    warehouse.far.sql("ALTER TABLE t ADD COLUMN w Int32");
    warehouse.is_equal("SELECT v || E'\\t' || w FROM t", "SELECT v, w FROM t FINAL");
    assert_eq!(warehouse.road.dead_letters(&["--state", "dead"]), Vec::<Value>::new());
}

#[test]
fn settings_that_do_not_fit_are_refused_where_they_stand() {
    let warehouse = Warehouse::quiet(set());
    for (keys, problem) in [
        ("table = \"a.{{ table }}\"", "{{ table.name }}"),
        ("table = \"{{ table\"", "is not closed"),
        ("mode = \"merge\"", "mode"),
        ("settings = { wait_for_async_insert = \"0\" }", "is set by walgate itself"),
        ("[sink.far.clickhouse.settings]\nquery = \"DROP\"", "is set by walgate itself"),
        ("settings = { async_insert = 1 }", "must be a string"),
    ] {
        warehouse.configure(Set { clickhouse: keys, ..set() });
        let check = warehouse.road.walgate.call(&["check", "--offline"]);
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(2), "{said}");
        assert!(said.contains(problem) && said.contains("walgate.toml:"), "{problem}: {said}");
    }
    let text = |sink: &str, url: &str| {
        format!(
            "[sink.far]\n{sink}\n[sink.far.clickhouse]\nurl = \"{url}\"\n\
             [[route]]\nname = \"all\"\ntable = \"public.*\"\nsink = \"far\"\n"
        )
    };
    for (sink, url, problem) in [
        ("", "http://u:p@localhost:8123", "address alone"),
        ("", "http://localhost:8123/?database=x", "address alone"),
        ("", "http://10.0.0.1:8123", "allow_private"),
        ("format = \"mapped\"", "http://localhost:8123", "which only format = \"walgate\" has"),
    ] {
        warehouse.road.configure(&text(sink, url));
        let check = warehouse.road.walgate.call(&["check", "--offline"]);
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(2), "{said}");
        assert!(said.contains(problem), "{problem}: {said}");
    }
}
