//! [`Groups`]: rows of one table that have the same columns, as arrays, a statement each.

use std::borrow::Cow;
use std::collections::HashMap;

use tokio_postgres::types::ToSql;

use super::failure::Error;
use super::session::Values;
use super::statement::Of;
use super::table::Table;
use super::text;
use crate::sink::row::{Field, Key};

/// A value as text; none is NULL.
pub(super) type Cell<'a> = Option<Cow<'a, str>>;

/// The columns of a row, with their values.
pub(super) type Row<'a> = Vec<(Cow<'a, str>, Cell<'a>)>;

/// Rows with the same columns.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// The table's number.
    pub(super) table: usize,
    /// The columns. Those of the key come first.
    pub(super) names: Vec<Cow<'a, str>>,
    /// How many columns the key has.
    key: usize,
    /// An array a column.
    arrays: Vec<Vec<Cell<'a>>>,
}

impl<'a> Group<'a> {
    /// Returns what is known of its columns.
    pub(super) fn columns<'t>(&'t self, table: &'t Table) -> Result<Vec<Of<'t>>, Error> {
        self.names.iter().map(|name| table.of(name)).collect()
    }

    /// Returns the names of the key's columns.
    pub(super) fn key(&self) -> Vec<&str> {
        self.names.iter().take(self.key).map(AsRef::as_ref).collect()
    }

    /// Returns how many rows there are.
    pub(super) fn len(&self) -> usize {
        self.arrays.first().map_or(0, Vec::len)
    }

    /// Returns the rows, each as its cells in the columns' order.
    pub(super) fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = &Cell<'a>>> {
        (0..self.len()).map(|row| self.arrays.iter().filter_map(move |array| array.get(row)))
    }

    /// Returns the arrays as values of a statement.
    pub(super) fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.arrays.iter().map(|array| -> &(dyn ToSql + Sync) { array }).collect()
    }
}

/// Rows by table and columns, in the order in which the first of each came.
#[derive(Debug, Default)]
pub(super) struct Groups<'a> {
    pub(super) all: Vec<Group<'a>>,
    by_shape: HashMap<(usize, usize, Vec<Cow<'a, str>>), usize>,
}

impl<'a> Groups<'a> {
    /// Adds a row whose first `key` columns are its key.
    pub(super) fn add(&mut self, table: usize, key: usize, row: Row<'a>) {
        let (names, cells): (Vec<_>, Vec<_>) = row.into_iter().unzip();
        let Self { all, by_shape } = self;
        let end = all.len();
        let index = *by_shape.entry((table, key, names.clone())).or_insert(end);
        if index == end {
            let arrays = names.iter().map(|_| Vec::new()).collect();
            all.push(Group { table, names, key, arrays });
        }
        if let Some(group) = all.get_mut(index) {
            group.arrays.iter_mut().zip(cells).for_each(|(array, cell)| array.push(cell));
        }
    }
}

/// Returns the columns of a key.
pub(super) fn key<'a>(table: &Table, key: &Key<'a>) -> Result<Row<'a>, Error> {
    let mut row = Vec::with_capacity(key.fields.len());
    for field in &key.fields {
        let cell = cell(table, field)?;
        if cell.is_none() {
            let name: &str = &field.name;
            return Err(Error::Event(format!("\"{name}\" of the key is null")));
        }
        row.push((field.name.0.clone(), cell));
    }
    Ok(row)
}

/// Returns the columns of fields that are not of the key, without those that the server computes
/// and those of NULL that the table does not have.
pub(super) fn fields<'a, 'f>(
    table: &Table,
    fields: impl Iterator<Item = &'f Field<'a>>,
    row: &mut Row<'a>,
    is_taken: impl Fn(&str) -> bool,
) -> Result<(), Error>
where
    'a: 'f,
{
    for field in fields.filter(|field| !is_taken(&field.name)) {
        match table.columns.get(&*field.name) {
            Some(column) if column.is_generated => continue,
            None if field.is_null() => continue,
            _ => {}
        }
        row.push((field.name.0.clone(), cell(table, field)?));
    }
    Ok(())
}

fn cell<'a>(table: &Table, field: &Field<'a>) -> Result<Cell<'a>, Error> {
    let column = table.of(&field.name)?.column;
    text::of(field, &column.shape).map_err(|unfit| Error::unfit(&table.name, &field.name, unfit))
}

/// Names the values of a statement.
pub(super) fn values<'v>(values: &'v [&'v (dyn ToSql + Sync)]) -> Values<'v> {
    values
}
