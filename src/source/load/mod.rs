//! Rows that were there before: pieces of a table, read beside the stream.
//!
//! Each piece lies between two watermarks, logical messages that come back in the stream: there
//! its rows get their place, and those that the stream has newer are left out ([`Window`]). Reads
//! with the same settings as the stream, so that a row is byte for byte the same by either way.
//! Knows nothing of who the rows are for.
//!
//! Source: A. Andreakis, I. Papapanagiotou, "`DBLog`: A Watermark Based Change-Data-Capture
//! Framework", 2020, <https://arxiv.org/abs/2010.12597>.

mod order;
mod snapshot;
mod window;

use std::ops::Range;
use std::sync::Arc;

pub use order::Cursor;
pub use snapshot::Snapshot;
pub use window::{Seen, Void, Window};

use self::order::{KeyColumn, Order};
use super::catalog::{PublishedTable, Table, TableColumn, quote};
use super::{Catalog, Error, Settings};
use crate::change::Cell;
use crate::chunk::Operation;
use crate::lsn::{Oid, Xid};
use crate::pgoutput::build::{self, Old};
use crate::relation::Relation;

/// The prefix of the logical messages that a piece lies between.
pub const WATERMARK_PREFIX: &str = "walgate.load";

/// A piece holds no more than so many bytes, but for its last row.
const PIECE_BYTES_MAX: usize = 4 << 20;

/// A table to load from.
#[derive(Clone, Debug)]
pub struct Source {
    table: Table,
    /// What a person wants of it, as SQL; none: all.
    filter: Option<String>,
}

impl Source {
    /// Returns the table's oid.
    #[must_use]
    pub const fn oid(&self) -> Oid {
        self.table.oid
    }

    /// Returns schema and name, unquoted.
    #[must_use]
    pub fn name(&self) -> (&str, &str) {
        (&self.table.namespace, &self.table.name)
    }

    /// Returns the columns of its primary key, in the key's order; empty where it has none.
    #[must_use]
    pub fn primary_key(&self) -> &[String] {
        &self.table.primary_key
    }

    /// Returns about how many rows it has, by the last ANALYZE; none where there was none.
    #[must_use]
    pub fn estimate(&self) -> Option<u64> {
        u64::try_from(self.table.rows).ok().filter(|rows| *rows > 0)
    }
}

/// Some rows of a table, in order, as the stream would bring them.
#[derive(Debug)]
pub struct Piece {
    /// The table as it was read.
    pub relation: Arc<Relation>,
    /// What was visible.
    pub snapshot: Snapshot,
    /// What its messages do: rows that are there are read, rows that are not are deleted.
    pub operation: Operation,
    /// Insert or Delete messages, end to end.
    bytes: Vec<u8>,
    rows: Vec<Range<usize>>,
    /// Where the next one begins; none behind the last.
    pub next: Option<Cursor>,
    /// It has fewer rows than were asked for, as they are so large.
    pub is_full: bool,
}

impl Piece {
    /// Returns each row's message.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().filter_map(|range| self.bytes.get(range.clone()))
    }

    /// Returns how many rows there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A piece's transaction.
struct Begun {
    snapshot: Snapshot,
    table: Table,
    published: PublishedTable,
    relation: Relation,
}

/// What reading is called in errors.
const READING: &str = "read a piece of a table";

/// Two connections: one reads, the other sets the watermarks.
#[derive(Debug)]
pub struct Loader {
    reader: Catalog,
    marker: Catalog,
    publication: String,
    version: u32,
    /// A piece's transaction is open.
    is_open: bool,
}

impl Loader {
    /// Connects.
    ///
    /// # Errors
    /// As [`Catalog::connect`].
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        let mut reader = Catalog::connect(settings.url.expose()).await?;
        let marker = Catalog::connect(settings.url.expose()).await?;
        let version = reader.server().await?.version_num;
        Ok(Self {
            reader,
            marker,
            publication: settings.publication.clone(),
            version,
            is_open: false,
        })
    }

    /// Returns the publication's tables, by schema and name, unquoted.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn tables(&mut self) -> Result<Vec<(String, String)>, Error> {
        let tables = self.reader.publication_tables(&self.publication).await?;
        Ok(tables.into_iter().map(|table| (table.namespace, table.name)).collect())
    }

    /// Finds a table of the publication by its name, or by its oid where none has that name any
    /// more; none where it is not there. `filter` is a condition in SQL that rows have to meet.
    ///
    /// # Errors
    /// When the connection breaks, or the condition is none.
    pub async fn find(
        &mut self,
        (namespace, name): (&str, &str),
        oid: Option<Oid>,
        filter: Option<&str>,
    ) -> Result<Option<Source>, Error> {
        let mut tables = self.reader.tables(None).await?;
        let is_named = |table: &Table| table.namespace == namespace && table.name == name;
        let place = tables.iter().position(is_named);
        let place = place.or_else(|| tables.iter().position(|table| Some(table.oid) == oid));
        let Some(table) = place.map(|place| tables.swap_remove(place)) else { return Ok(None) };
        let (namespace, name) = (&table.namespace, &table.name);
        if self.published(namespace, name).await?.is_none() {
            return Ok(None);
        }
        if let Some(filter) = filter {
            // Prepared, so that it can be one condition and nothing else: without parentheses of
            // ours it has no way out of them, and within them it is no more than an expression.
            let table = format!("{}.{}", quote(namespace), quote(name));
            for condition in [filter.to_owned(), format!("({filter})")] {
                let sql = format!("SELECT FROM {table} r WHERE {condition}");
                self.reader.session().prepare("look at the condition", &sql).await?;
            }
        }
        Ok(Some(Source { table, filter: filter.map(str::to_owned) }))
    }

    /// Returns what of a table is published; none where nothing is.
    async fn published(
        &mut self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PublishedTable>, Error> {
        let tables = self.reader.publication_tables(&self.publication).await?;
        let is_it = |table: &PublishedTable| table.namespace == namespace && table.name == name;
        Ok(tables.into_iter().find(is_it))
    }

    /// Sets a watermark: a message that comes back in the stream, in a transaction of its own.
    ///
    /// # Errors
    /// When the connection breaks, or the server is a standby.
    pub async fn mark(&mut self, content: &str) -> Result<(), Error> {
        self.marker.emit("set a load's watermark", WATERMARK_PREFIX, content).await
    }

    /// Reads the piece at `cursor`, of `limit` rows at most. The table stays locked against DDL
    /// until [`Loader::release`], so that its shape is this one up to the watermark set before.
    ///
    /// # Errors
    /// When the connection breaks, or the role may not read the table.
    pub async fn read(
        &mut self,
        source: &Source,
        cursor: &Cursor,
        limit: usize,
    ) -> Result<Piece, Error> {
        let connections = self.reader.connections();
        let Begun { snapshot, table, published, relation } = self.begin(source).await?;
        let order = self.order(&table).await?;
        let filters = [published.row_filter.as_deref(), source.filter.as_deref()];
        let filters: Vec<&str> = filters.into_iter().flatten().collect();
        let asked = order::query(&relation, table.partitioned, &order, cursor, &filters, limit);
        let mut rows = Rows::new(&relation, asked.cursor_columns);
        self.reader.session().rows(READING, &asked.sql, |row| rows.add(row)).await?;
        self.is_one_transaction(connections)?;
        let Rows { bytes, ranges, last, is_full, .. } = rows;
        let is_end = !is_full && ranges.len() < limit;
        let next = if is_end { asked.bound } else { Some(order::cursor(&order, last)) };
        let operation = Operation::Read;
        Ok(Piece {
            relation: Arc::new(relation),
            snapshot,
            operation,
            bytes,
            rows: ranges,
            next,
            is_full,
        })
    }

    /// Returns deletes of those of `keys` that the table has not: values of the primary key's
    /// columns. Otherwise as [`Loader::read`]; `next` is none.
    ///
    /// # Errors
    /// As [`Loader::read`]; [`Error::Unloadable`] for a table that has no primary key.
    pub async fn missing(&mut self, source: &Source, keys: &[Vec<String>]) -> Result<Piece, Error> {
        let connections = self.reader.connections();
        let Begun { snapshot, table, published, relation } = self.begin(source).await?;
        let key: Vec<KeyColumn> = self.reader.load_key(table.oid).await?;
        if relation.primary_key.is_empty() || relation.primary_key.len() != key.len() {
            return Err(Error::Unloadable { table: relation.quoted_name() });
        }
        let filter = published.row_filter.as_deref();
        let asked = order::missing(&relation, table.partitioned, &key, filter, keys);
        let (mut bytes, mut rows) = (Vec::new(), Vec::new());
        self.reader
            .session()
            .rows(READING, &asked, |row| {
                let start = bytes.len();
                delete(&relation, row, &mut bytes)?;
                rows.push(start..bytes.len());
                Ok(())
            })
            .await?;
        self.is_one_transaction(connections)?;
        let operation = Operation::Delete;
        let relation = Arc::new(relation);
        Ok(Piece { relation, snapshot, operation, bytes, rows, next: None, is_full: false })
    }

    /// Returns the transactions that are open, or committed and wait for a standby, where commits
    /// do so; none where nothing waits.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn suspects(&mut self) -> Result<Vec<Xid>, Error> {
        let doing = "look at open transactions";
        let sql = "SELECT pg_current_snapshot(), current_setting('synchronous_standby_names')";
        let printed = self.reader.session().print(doing, sql).await?;
        let value = |column: usize| printed.first()?.get(column)?.as_deref();
        let snapshot = value(0).and_then(Snapshot::parse);
        let snapshot =
            snapshot.ok_or(Error::Protocol { what: "no snapshot where one was asked" })?;
        let waits = value(1).is_some_and(|names| !names.is_empty());
        Ok(if waits { snapshot.in_progress().collect() } else { Vec::new() })
    }

    /// Opens a piece's transaction and looks at the table in it.
    async fn begin(&mut self, source: &Source) -> Result<Begun, Error> {
        let doing = READING;
        let table = &source.table;
        let name = format!("{}.{}", quote(&table.namespace), quote(&table.name));
        if std::mem::take(&mut self.is_open) {
            // What an attempt before left behind.
            self.reader.session().batch(doing, "ROLLBACK").await?;
        }
        self.is_open = true;
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             LOCK TABLE ONLY {name} IN ACCESS SHARE MODE"
        );
        self.reader.session().batch(doing, &begin).await?;
        let sql = "SELECT pg_current_snapshot()";
        let printed = self.reader.session().print(doing, sql).await?;
        let text = printed.first().and_then(|row| row.first()?.as_deref());
        let snapshot = text.and_then(Snapshot::parse);
        let snapshot =
            snapshot.ok_or(Error::Protocol { what: "no snapshot where one was asked" })?;
        // As it is now that it is locked.
        let now = self.reader.tables(Some(&[table.oid])).await?.pop();
        let is_it = |now: &Table| now.namespace == table.namespace && now.name == table.name;
        let table = now.filter(is_it).ok_or(Error::Moved { table: name })?;
        // What is published may have changed since the last piece.
        let gone = Error::Protocol { what: "a table that is loaded is published no longer" };
        let published = self.published(&table.namespace, &table.name).await?.ok_or(gone)?;
        let version = self.version;
        let sent = |column: &TableColumn| published.sends(column, version);
        let relation = self.reader.relation(&table, sent).await?;
        Ok(Begun { snapshot, table, published, relation })
    }

    /// Refuses what was read over two connections: a question that found the first one broken was
    /// asked anew, in another transaction.
    const fn is_one_transaction(&self, connections: u64) -> Result<(), Error> {
        if self.reader.connections() == connections { Ok(()) } else { Err(Error::Closed) }
    }

    /// Ends the transaction of the piece that was read last.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn release(&mut self) -> Result<(), Error> {
        self.is_open = false;
        self.reader.session().batch("end the reading of a piece", "COMMIT").await
    }

    async fn order(&mut self, table: &Table) -> Result<Order, Error> {
        let key: Vec<KeyColumn> = self.reader.load_key(table.oid).await?;
        if !key.is_empty() {
            return Ok(Order::Key(key));
        }
        let sql = format!(
            "SELECT pg_relation_filenode({0}), \
             pg_relation_size({0}) / current_setting('block_size')::bigint",
            table.oid.0
        );
        let printed = self.reader.session().print("look at a table's file", &sql).await?;
        let number = |column: usize| printed.first()?.get(column)?.as_deref()?.parse::<u64>().ok();
        let file = number(0).and_then(|file| u32::try_from(file).ok());
        match (file, number(1)) {
            (Some(file), Some(blocks)) => Ok(Order::Place { file, blocks }),
            _ => Err(Error::Unloadable { table: format!("{}.{}", table.namespace, table.name) }),
        }
    }
}

/// Rows on their way into a piece.
struct Rows<'a> {
    relation: &'a Relation,
    cursor_columns: usize,
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
    /// Where the last row lies.
    last: Vec<String>,
    /// There are more than it holds.
    is_full: bool,
}

impl<'a> Rows<'a> {
    fn new(relation: &'a Relation, cursor_columns: usize) -> Self {
        let (bytes, ranges) = (Vec::new(), Vec::new());
        Self { relation, cursor_columns, bytes, ranges, last: Vec::new(), is_full: false }
    }

    /// Takes a row, or leaves it to the next piece.
    fn add(&mut self, row: &tokio_postgres::SimpleQueryRow) -> Result<(), Error> {
        let doing = READING;
        self.is_full |= self.bytes.len() >= PIECE_BYTES_MAX;
        if self.is_full {
            return Ok(());
        }
        let count = self.relation.columns.len();
        let value = |index| row.try_get(index).map_err(|error| Error::sql(doing, error));
        let mut cells = Vec::with_capacity(count);
        for index in 0..count {
            cells.push(value(index)?.map_or(Cell::Null, |text| Cell::Value(text.as_bytes())));
        }
        let start = self.bytes.len();
        build::insert(self.relation.oid, &cells, &mut self.bytes).map_err(Error::Pgoutput)?;
        self.ranges.push(start..self.bytes.len());
        self.last.resize(self.cursor_columns, String::new());
        for (index, last) in (count..).zip(&mut self.last) {
            last.clear();
            last.push_str(value(index)?.unwrap_or_default());
        }
        Ok(())
    }
}

/// Appends the delete of a row, whose key's values these are.
fn delete(
    relation: &Relation,
    row: &tokio_postgres::SimpleQueryRow,
    bytes: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut cells = vec![Cell::Null; relation.columns.len()];
    for (place, column) in relation.primary_key.iter().enumerate() {
        let value = row.try_get(place).map_err(|error| Error::sql(READING, error))?;
        if let (Some(cell), Some(value)) = (cells.get_mut(usize::from(*column)), value) {
            *cell = Cell::Value(value.as_bytes());
        }
    }
    build::delete(relation.oid, Old::Key(&cells), bytes).map_err(Error::Pgoutput)
}
