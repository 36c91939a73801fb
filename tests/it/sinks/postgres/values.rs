//! Every type of the contract's table comes out as it went in.

use std::fmt::Write as _;

use walgate::demo::cluster::Cluster;

use super::{Set, Warehouse};
use crate::values::{Case, NUMBERS, SET_UP, STRINGS, STRUCTURES, TIMES};

/// What the event itself does not tell: lower bounds of arrays, line ends between the tokens of
/// JSON, the JSON value null inside an array.
const NOT_TOLD: [&str; 4] = [
    "'[0:1]={1,2}'",
    "'[1:1][-2:-1]={{1,2}}'",
    r#"E'{\n  "a": 1.00,\n  "a": [1,\n2]\n}'"#,
    r#"ARRAY['{"a":"x\"\n"}'::jsonb,'null',NULL]"#,
];

/// A table with a column a type, and the rows that hold all of its values.
pub(super) fn table(cases: &[Case]) -> (String, String) {
    let (mut create, mut fill) = ("CREATE TABLE t (id int PRIMARY KEY".to_owned(), String::new());
    let told = |values: &[(&'static str, &str)]| -> Vec<&'static str> {
        values.iter().map(|(sql, _)| *sql).filter(|sql| !NOT_TOLD.contains(sql)).collect()
    };
    let columns: Vec<Vec<&str>> = cases.iter().map(|(_, values)| told(values)).collect();
    for (index, (name, _)) in cases.iter().enumerate() {
        let _ = write!(create, ", c{index} {name}");
    }
    create.push(')');
    let rows = columns.iter().map(Vec::len).max().unwrap();
    for row in 0..=rows {
        let values: Vec<&str> =
            columns.iter().map(|values| values.get(row).copied().unwrap_or("NULL")).collect();
        let _ = write!(fill, "INSERT INTO t VALUES ({row}, {});", values.join(", "));
    }
    (create, fill)
}

/// The types, with their values.
pub(super) fn types() -> Vec<Case> {
    [NUMBERS, TIMES, STRINGS, STRUCTURES].concat()
}

#[test]
fn every_type_comes_out_as_it_went_in() {
    let (create, fill) = table(&types());
    let schema = format!("{SET_UP}; {create}; {fill}");
    let far_schema = format!("{SET_UP}; {create}");
    let set = Set { schema: &schema, far_schema: &far_schema, postgres: "", ..Set::default() };
    let mut warehouse = Warehouse::quiet(Cluster::builder(), set);
    // The last settings of a session win over those of its database.
    warehouse.road.start();
    warehouse.is_equal("t", "t");
    // By the stream, over rows that are there.
    warehouse.road.sql(&format!("DELETE FROM t; {fill}"));
    warehouse.is_equal("t", "t");
}

#[test]
fn every_type_of_the_server_itself_comes_out_of_a_table_that_was_made_for_it() {
    let made = ["mood", "cents", "scores", "point3", "spot", "wrap", "lone", "hstore", "citext"];
    let is_own = |name: &str| !made.contains(&name.trim_end_matches("[]")) && name != "ltree";
    let cases: Vec<Case> = types().into_iter().filter(|(name, _)| is_own(name)).collect();
    let (create, fill) = table(&cases);
    let schema = format!("{create}; {fill}");
    let mut warehouse =
        Warehouse::quiet(Cluster::builder(), Set { schema: &schema, ..Set::default() });
    warehouse.road.start();
    warehouse.is_equal("t", "t");
    let types = "SELECT string_agg(format_type(atttypid, atttypmod), ',' ORDER BY attnum)
                 FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0";
    assert_eq!(warehouse.value(types), warehouse.road.value(types));
}
