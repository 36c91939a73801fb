//! `evolve`: tables there follow those of the source, and nothing is lost by it.

use super::{Set, Warehouse};

const TYPES: &str = "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', '
                         ORDER BY attnum)
                     FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0";

#[test]
fn a_table_is_made_and_a_column_added_as_the_source_has_it() {
    let warehouse = Warehouse::start(Set {
        schema: "
            CREATE TYPE mood AS ENUM ('ok');
            CREATE TABLE t (id int PRIMARY KEY, v varchar(3), n numeric(10,2), m mood, r real,
                at timestamptz(3), tags text[]);
            INSERT INTO t VALUES (1, 'abc', 1.50, 'ok', 0.1, '2026-01-02 03:04:05.678Z', '{a,b}')",
        ..Set::default()
    });
    warehouse.is_equal("t", "t");
    assert_eq!(
        warehouse.value(TYPES),
        "id integer, v character varying(3), n numeric(10,2), m text, r real, \
         at timestamp(3) with time zone, tags text[]"
    );
    warehouse.road.sql("ALTER TABLE t ADD COLUMN late jsonb; UPDATE t SET late = '{\"a\": 1.0}'");
    warehouse.is_equal("t", "t");
    // What holds everything that was there; the rest stays.
    warehouse.road.sql(
        "ALTER TABLE t ALTER v TYPE varchar(10), ALTER n TYPE numeric, ALTER r TYPE float8;
         INSERT INTO t VALUES (2, 'abcdefghij', 1.23456789, 'ok', 1e300)",
    );
    warehouse.road.sql("ALTER TABLE t DROP COLUMN tags; INSERT INTO t (id) VALUES (3)");
    warehouse.catches_up();
    assert_eq!(
        warehouse.value(TYPES),
        "id integer, v character varying(10), n numeric, m text, r double precision, \
         at timestamp(3) with time zone, tags text[], late jsonb"
    );
    let source = "(SELECT id, v, n, m::text, r, at, late FROM t)";
    warehouse.is_equal(source, "(SELECT id, v, n, m, r, at, late FROM t)");
    warehouse
        .road
        .sql("ALTER TABLE t ALTER id TYPE bigint; INSERT INTO t (id) VALUES (9007199254740993)");
    warehouse.is_equal(source, "(SELECT id, v, n, m, r, at, late FROM t)");
}

#[test]
fn fields_of_a_mapping_have_types_of_their_json() {
    let warehouse = Warehouse::quiet(walgate::demo::cluster::Cluster::builder(), Set::default());
    let url = warehouse.far.url("postgres", "postgres");
    warehouse.road.configure(&format!(
        "[mapping.m]\nversion = 1\n[mapping.m.fields]\n\
         name = {{ column = \"v\" }}\nhalf = {{ expr = \"row.id / 2\" }}\nis_one = {{ expr = \
         \"row.id == 1\" }}\n\"nested.v\" = {{ column = \"v\" }}\nnothing = {{ column = \"w\" }}\n\
         [sink.far]\n[sink.far.postgres]\nurl = \"{url}\"\nevolve = true\n\
         [[route]]\nname = \"r\"\ntable = \"public.t\"\nmapping = \"m\"\nsink = \"far\"\n"
    ));
    warehouse.road.sql("ALTER TABLE t ADD w text; INSERT INTO t VALUES (1, 'a'), (4, 'b')");
    let output = warehouse.road.walgate.call(&["run", "--until-caught-up", "--timeout", "60s"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        warehouse.value(TYPES),
        "id integer, name text, half numeric, is_one boolean, nested jsonb"
    );
    let rows = warehouse.value("SELECT string_agg(x::text, ' ' ORDER BY id) FROM t x");
    assert_eq!(rows, r#"(1,a,0,t,"{""v"": ""a""}") (4,b,2,f,"{""v"": ""b""}")"#);
}
