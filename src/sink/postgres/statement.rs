//! The statements that write rows: text alone, made of names and types.
//!
//! Each takes one array of text a column, so that one statement writes any number of rows.

use std::fmt::Write as _;

use super::failure::Error;
use super::name::quoted;
use super::table::{Column, Table};

/// A column of a statement, with what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'t> {
    pub(super) name: &'t str,
    pub(super) column: &'t Column,
}

impl Table {
    /// Returns a column.
    pub(super) fn of<'t>(&'t self, name: &'t str) -> Result<Of<'t>, Error> {
        let column = self.columns.get(name);
        let column = column.ok_or_else(|| Error::NoColumn {
            table: self.name.to_string(),
            column: name.to_owned(),
        })?;
        Ok(Of { name, column })
    }
}

/// What is done where the key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// The row takes the new values.
    Update,
    /// It stays.
    Nothing,
}

/// Writes rows whose columns are `columns` and whose key is `key`.
pub(super) fn insert(
    table: &Table,
    columns: &[Of<'_>],
    key: &[&str],
    conflict: Conflict,
) -> String {
    let mut sql = format!("INSERT INTO {} (", table.name);
    list(&mut sql, columns.iter().map(|of| quoted(of.name)));
    // Numbers that the server would give out come from the source.
    sql.push_str(") OVERRIDING SYSTEM VALUE SELECT ");
    list(&mut sql, columns.iter().enumerate().map(|(n, of)| value(n, of)));
    from(&mut sql, columns.len());
    sql.push_str(" ON CONFLICT (");
    list(&mut sql, key.iter().map(|name| quoted(name)));
    let others: Vec<_> = columns.iter().filter(|of| !key.contains(&of.name)).collect();
    if conflict == Conflict::Nothing || others.is_empty() {
        sql.push_str(") DO NOTHING");
        return sql;
    }
    sql.push_str(") DO UPDATE SET ");
    let set = |of: &&Of<'_>| format!("{0} = excluded.{0}", quoted(of.name));
    list(&mut sql, others.into_iter().map(|of| set(&of)));
    sql
}

/// Adds rows whose columns are `columns`, a line each.
pub(super) fn copy(table: &Table, columns: &[Of<'_>]) -> String {
    let mut sql = format!("COPY {} (", table.name);
    list(&mut sql, columns.iter().map(|of| quoted(of.name)));
    sql.push_str(") FROM STDIN");
    sql
}

/// Deletes rows by their key.
pub(super) fn delete(table: &Table, key: &[Of<'_>]) -> String {
    let mut sql = format!("DELETE FROM {} AS t USING ", table.name);
    unnest(&mut sql, key.len());
    sql.push_str(" WHERE ");
    sql.push_str(&meets(key));
    sql
}

/// Returns values of rows as text: the place of each in the list of keys, then the columns.
pub(super) fn select(table: &Table, key: &[Of<'_>], columns: &[Of<'_>]) -> String {
    let mut sql = "SELECT u.n".to_owned();
    for of in columns {
        let _ = write!(sql, ", t.{}::text", quoted(of.name));
    }
    sql.push_str(" FROM ");
    unnest_numbered(&mut sql, key.len());
    let _ = write!(sql, " JOIN {} AS t ON {}", table.name, meets(key));
    sql
}

/// `u.c0::pg_catalog.int4`
fn value(n: usize, of: &Of<'_>) -> String {
    format!("u.c{n}::{}", of.column.cast)
}

fn meets(key: &[Of<'_>]) -> String {
    let equal = key.iter().enumerate();
    let equal = equal.map(|(n, of)| format!("t.{} = {}", quoted(of.name), value(n, of)));
    equal.collect::<Vec<_>>().join(" AND ")
}

fn from(sql: &mut String, count: usize) {
    sql.push_str(" FROM ");
    unnest(sql, count);
}

/// `unnest($1::text[], …) AS u(c0, …)`
fn unnest(sql: &mut String, count: usize) {
    arrays(sql, count);
    sql.push_str(" AS u(");
    list(sql, (0..count).map(|n| format!("c{n}")));
    sql.push(')');
}

fn unnest_numbered(sql: &mut String, count: usize) {
    arrays(sql, count);
    sql.push_str(" WITH ORDINALITY AS u(");
    list(sql, (0..count).map(|n| format!("c{n}")));
    sql.push_str(", n)");
}

fn arrays(sql: &mut String, count: usize) {
    sql.push_str("unnest(");
    list(sql, (1..=count).map(|n| format!("${n}::text[]")));
    sql.push(')');
}

fn list(sql: &mut String, items: impl Iterator<Item = String>) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            sql.push_str(", ");
        }
        sql.push_str(&item);
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::Name;
    use super::super::text::Shape;
    use super::*;

    fn table() -> Table {
        let column = |cast: &str| Column {
            cast: cast.to_owned(),
            type_name: cast.to_owned(),
            shape: Shape::Plain,
            is_generated: false,
        };
        let columns = [("id", "integer"), ("v", "bpchar"), ("A b", "my.\"T\"")];
        let columns = columns.into_iter().map(|(name, cast)| (name.to_owned(), column(cast)));
        Table { name: Name::parse("s.t").unwrap(), columns: columns.collect() }
    }

    #[test]
    fn rows_are_written_by_one_array_a_column() {
        let table = table();
        let columns = [table.of("id").unwrap(), table.of("A b").unwrap()];
        assert_eq!(
            insert(&table, &columns, &["id"], Conflict::Update),
            "INSERT INTO \"s\".\"t\" (\"id\", \"A b\") OVERRIDING SYSTEM VALUE \
             SELECT u.c0::integer, u.c1::my.\"T\" FROM unnest($1::text[], $2::text[]) AS u(c0, c1) \
             ON CONFLICT (\"id\") DO UPDATE SET \"A b\" = excluded.\"A b\""
        );
        let only_key = insert(&table, &columns[..1], &["id"], Conflict::Update);
        assert!(only_key.ends_with("ON CONFLICT (\"id\") DO NOTHING"), "{only_key}");
        assert_eq!(
            delete(&table, &columns[..1]),
            "DELETE FROM \"s\".\"t\" AS t USING unnest($1::text[]) AS u(c0) \
             WHERE t.\"id\" = u.c0::integer"
        );
        assert_eq!(
            select(&table, &columns[..1], &[table.of("v").unwrap()]),
            "SELECT u.n, t.\"v\"::text FROM unnest($1::text[]) WITH ORDINALITY AS u(c0, n) \
             JOIN \"s\".\"t\" AS t ON t.\"id\" = u.c0::integer"
        );
    }
}
