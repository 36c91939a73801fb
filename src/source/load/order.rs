//! In what order a table is read, where the next piece begins, and its SQL (pure).

use serde::{Deserialize, Serialize};

use crate::relation::Relation;
use crate::source::catalog::{quote, quote_literal};

/// A column of the key in whose order a table is read (`sql/source/load_key.sql`).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct KeyColumn {
    pub(super) name: String,
    /// As SQL writes the type.
    #[serde(rename = "type")]
    pub(super) type_name: String,
    /// The operators of the index, each with its schema; none: the usual ones will do.
    pub(super) less: Option<String>,
    pub(super) greater: Option<String>,
    pub(super) equal: Option<String>,
}

/// Where the next piece begins. Text stands as the server printed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cursor {
    /// With the first row.
    #[default]
    Start,
    /// Behind this key.
    Key {
        /// Its columns, in the order in which the table is read.
        columns: Vec<String>,
        /// The values of the last row that was read.
        values: Vec<String>,
    },
    /// Behind the last row: what the table no longer has is looked for.
    Sweep,
    /// Of a table without a key: behind this place of the file.
    Place {
        /// The file: another one has other places.
        file: u32,
        /// `(block,item)`.
        ctid: String,
    },
}

/// How the rows of one table are reached.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Key(Vec<KeyColumn>),
    /// By place, of a table that has no key: its file, and how many blocks that has now.
    Place {
        file: u32,
        blocks: u64,
    },
}

/// Blocks of a table without a key that are read at once.
const BLOCKS: u64 = 256;

/// One piece's query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// The columns of the relation, then those of [`Query::cursor_columns`].
    pub(super) sql: String,
    /// How many columns behind the relation's say where a row lies.
    pub(super) cursor_columns: usize,
    /// Without a row: the piece went up to here; none: to the end.
    pub(super) bound: Option<Cursor>,
}

/// Returns the query of the piece at `cursor`: `limit` rows, in order, that fit `filters`.
pub(super) fn query(
    relation: &Relation,
    is_partitioned: bool,
    order: &Order,
    cursor: &Cursor,
    filters: &[&str],
    limit: usize,
) -> Query {
    let columns = relation.columns.iter().map(|column| format!("r.{}", quote(&column.name)));
    let mut columns: Vec<String> = columns.collect();
    let mut wanted: Vec<String> = filters.iter().map(|filter| format!("({filter})")).collect();
    let (cursor_columns, sorting, bound);
    match order {
        Order::Key(key) => {
            let names: Vec<String> = key.iter().map(|c| format!("r.{}", quote(&c.name))).collect();
            columns.extend_from_slice(&names);
            if let Some(values) = behind(cursor, key) {
                wanted.push(greater(key, &values));
            }
            let places: Vec<String> = key.iter().map(KeyColumn::sorting).collect();
            (cursor_columns, sorting, bound) = (key.len(), places.join(", "), None);
        }
        Order::Place { file, blocks } => {
            let from = match cursor {
                Cursor::Place { file: known, ctid } if known == file => ctid.as_str(),
                _ => "(0,0)",
            };
            let next = block(from).saturating_add(BLOCKS);
            wanted.push(format!("r.ctid > {}::tid", quote_literal(from)));
            let ctid = format!("({next},0)");
            // A line pointer counts from 1: nothing lies at 0.
            wanted.push(format!("r.ctid < {}::tid", quote_literal(&ctid)));
            columns.push("r.ctid".to_owned());
            (cursor_columns, sorting) = (1, "r.ctid".to_owned());
            bound = (next < *blocks).then_some(Cursor::Place { file: *file, ctid });
        }
    }
    let only = if is_partitioned { "" } else { "ONLY " };
    let condition = match wanted.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", wanted.join(" AND ")),
    };
    let sql = format!(
        "SELECT {} FROM {only}{}.{} r{condition} ORDER BY {sorting} LIMIT {limit}",
        columns.join(", "),
        quote(&relation.namespace),
        quote(&relation.name)
    );
    Query { sql, cursor_columns, bound }
}

/// Returns the query for those of `keys` that a table has not: their values in the key's order.
pub(super) fn missing(
    relation: &Relation,
    is_partitioned: bool,
    key: &[KeyColumn],
    filter: Option<&str>,
    keys: &[Vec<String>],
) -> String {
    let row = |values: &Vec<String>| {
        let literals: Vec<String> = values.iter().map(|value| quote_literal(value)).collect();
        format!("({})", literals.join(", "))
    };
    let rows: Vec<String> = keys.iter().map(row).collect();
    let names: Vec<String> = (0..key.len()).map(|index| format!("c{index}")).collect();
    let equal = |(name, column): (&String, &KeyColumn)| {
        let operator = column.equal.as_deref().unwrap_or("=");
        format!("r.{} {operator} v.{name}::{}", quote(&column.name), column.type_name)
    };
    let mut wanted: Vec<String> = names.iter().zip(key).map(equal).collect();
    wanted.extend(filter.map(|filter| format!("({filter})")));
    format!(
        "SELECT v.* FROM (VALUES {}) v ({}) WHERE NOT EXISTS (SELECT FROM {}{}.{} r WHERE {})",
        rows.join(", "),
        names.join(", "),
        if is_partitioned { "" } else { "ONLY " },
        quote(&relation.namespace),
        quote(&relation.name),
        wanted.join(" AND ")
    )
}

/// Returns the cursor behind a row, whose last values these are.
pub(super) fn cursor(order: &Order, values: Vec<String>) -> Cursor {
    match order {
        Order::Key(key) => {
            Cursor::Key { columns: key.iter().map(|column| column.name.clone()).collect(), values }
        }
        Order::Place { file, .. } => {
            Cursor::Place { file: *file, ctid: values.into_iter().next().unwrap_or_default() }
        }
    }
}

/// The values to go on behind. Where the key is another one by now, the table is read anew.
fn behind<'a>(cursor: &'a Cursor, key: &[KeyColumn]) -> Option<Vec<&'a str>> {
    let Cursor::Key { columns, values } = cursor else { return None };
    let is_same =
        columns.len() == values.len() && columns.iter().eq(key.iter().map(|column| &column.name));
    is_same.then(|| values.iter().map(String::as_str).collect())
}

/// A condition that only keys behind `values` meet.
///
/// A comparison of rows is what an index answers best, but it finds its operators by their bare
/// name; a type that has its own (citext in another schema) is compared column by column.
fn greater(key: &[KeyColumn], values: &[&str]) -> String {
    let literal = |(column, value): (&KeyColumn, &&str)| {
        format!("{}::{}", quote_literal(value), column.type_name)
    };
    let literals: Vec<String> = key.iter().zip(values).map(literal).collect();
    let name = |column: &KeyColumn| format!("r.{}", quote(&column.name));
    if key.iter().all(KeyColumn::is_usual) {
        let names: Vec<String> = key.iter().map(name).collect();
        return format!("({}) > ({})", names.join(", "), literals.join(", "));
    }
    let mut condition = String::new();
    for (column, literal) in key.iter().zip(&literals).rev() {
        let (name, greater) = (name(column), column.greater.as_deref().unwrap_or(">"));
        let equal = column.equal.as_deref().unwrap_or("=");
        condition = match condition.is_empty() {
            true => format!("{name} {greater} {literal}"),
            false => format!(
                "({name} {greater} {literal} OR ({name} {equal} {literal} AND {condition}))"
            ),
        };
    }
    condition
}

impl KeyColumn {
    /// Where it stands in `ORDER BY`: by the order that [`greater`] goes by.
    fn sorting(&self) -> String {
        let name = format!("r.{}", quote(&self.name));
        match self.less.as_ref().filter(|_| !self.is_usual()) {
            Some(less) => format!("{name} USING {less}"),
            None => name,
        }
    }

    fn is_usual(&self) -> bool {
        let is = |operator: &Option<String>, usual: &str| {
            operator.as_deref().is_none_or(|text| text == format!("OPERATOR(pg_catalog.{usual})"))
        };
        is(&self.greater, ">") && is(&self.equal, "=")
    }
}

fn block(ctid: &str) -> u64 {
    let number = ctid.trim_start_matches('(').split(',').next();
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Oid;
    use crate::relation::{Column, Kind, ReplicaIdentity};

    fn relation() -> Relation {
        let column = |name: &str| Column {
            name: name.to_owned(),
            type_oid: Oid(25),
            type_modifier: -1,
            in_identity: false,
            kind: Kind::Text,
        };
        Relation {
            oid: Oid(1),
            namespace: "public".to_owned(),
            name: "a\"b".to_owned(),
            identity: ReplicaIdentity::Default,
            columns: vec![column("id"), column("V")],
            primary_key: vec![0],
            formerly: None,
        }
    }

    fn key(name: &str, schema: &str) -> KeyColumn {
        KeyColumn {
            name: name.to_owned(),
            type_name: "integer".to_owned(),
            less: Some(format!("OPERATOR({schema}.<)")),
            greater: Some(format!("OPERATOR({schema}.>)")),
            equal: Some(format!("OPERATOR({schema}.=)")),
        }
    }

    fn after(values: &[&str]) -> Cursor {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let columns = &["id", "V"].get(..values.len()).unwrap();
        Cursor::Key { columns: owned(columns), values: owned(values) }
    }

    #[test]
    fn a_table_is_read_in_the_order_of_its_key_from_where_the_last_piece_ended() {
        let order = Order::Key(vec![key("id", "pg_catalog"), key("V", "pg_catalog")]);
        let ask = |cursor: &Cursor| query(&relation(), false, &order, cursor, &["x > 1"], 10);
        let columns =
            "SELECT r.\"id\", r.\"V\", r.\"id\", r.\"V\" FROM ONLY \"public\".\"a\"\"b\" r";
        let end = "ORDER BY r.\"id\", r.\"V\" LIMIT 10";
        assert_eq!(ask(&Cursor::Start).sql, format!("{columns} WHERE (x > 1) {end}"));
        let next = "(r.\"id\", r.\"V\") > ('1'::integer, E'o''\\\\'::integer)";
        let sql = format!("{columns} WHERE (x > 1) AND {next} {end}");
        assert_eq!(ask(&after(&["1", "o'\\"])).sql, sql);
        assert_eq!(ask(&after(&["1"])).sql, ask(&Cursor::Start).sql, "another key");
    }

    #[test]
    fn a_type_with_operators_of_its_own_is_compared_by_them() {
        let order = Order::Key(vec![key("id", "public"), key("V", "pg_catalog")]);
        let asked = query(&relation(), true, &order, &after(&["a", "b"]), &[], 5).sql;
        let condition = "(r.\"id\" OPERATOR(public.>) 'a'::integer OR \
                         (r.\"id\" OPERATOR(public.=) 'a'::integer AND \
                         r.\"V\" OPERATOR(pg_catalog.>) 'b'::integer))";
        assert!(asked.contains(&format!("FROM \"public\".\"a\"\"b\" r WHERE {condition} ORDER")));
    }

    #[test]
    fn a_table_without_a_key_is_read_by_place_up_to_its_end() {
        let order = Order::Place { file: 7, blocks: 300 };
        let ask = |cursor: &Cursor| query(&relation(), false, &order, cursor, &[], 10);
        let first = ask(&Cursor::Start);
        assert!(first.sql.contains("r.ctid > '(0,0)'::tid AND r.ctid < '(256,0)'::tid"));
        let next = Cursor::Place { file: 7, ctid: "(256,0)".to_owned() };
        assert_eq!(first.bound, Some(next.clone()));
        assert_eq!(ask(&next).bound, None, "the last one");
        let moved = Cursor::Place { file: 8, ctid: "(256,0)".to_owned() };
        assert_eq!(ask(&moved), first, "another file");
    }
}
