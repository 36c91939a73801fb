//! Rows as the stream would bring them: a table's relation, a sample, and a row given as JSON.

use super::statement::{quote, quote_literal};
use super::{Catalog, Table, TableColumn};
use crate::relation::{Column, Kind, Relation, ReplicaIdentity};
use crate::source::Error;

/// A sample that takes longer is none: the table is locked, or its rows are huge.
const SAMPLE_MAX: &str = "5s";

/// The values of one row in the relation's order, as Postgres prints them; none is NULL.
pub type Row = Vec<Option<String>>;

impl Catalog {
    /// Returns the table as the stream would describe it now, were just these columns sent.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn relation(
        &mut self,
        table: &Table,
        sent: impl Fn(&TableColumn) -> bool,
    ) -> Result<Relation, Error> {
        let sent: Vec<&TableColumn> = table.columns.iter().filter(|column| sent(column)).collect();
        let types: Vec<_> = sent.iter().map(|column| column.type_oid).collect();
        let kinds = self.kinds(&types).await?;
        let identity = table.identity_columns();
        let columns: Vec<Column> = sent
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                type_oid: column.type_oid,
                type_modifier: column.type_modifier,
                in_identity: table.identity == ReplicaIdentity::Full
                    || identity.contains(&column.name.as_str()),
                kind: kinds.get(&column.type_oid).cloned().unwrap_or(Kind::Text),
            })
            .collect();
        let place = |name: &String| {
            let index = columns.iter().position(|column| column.name == *name)?;
            u16::try_from(index).ok()
        };
        let key: Option<Vec<u16>> = table.primary_key.iter().map(place).collect();
        Ok(Relation {
            oid: table.oid,
            namespace: table.namespace.clone(),
            name: table.name.clone(),
            identity: table.identity,
            columns,
            primary_key: key.unwrap_or_default(),
            formerly: None,
        })
    }

    /// Returns up to `limit` rows of a table. `filter` is a publication's row filter, as the
    /// server prints it. Waits five seconds at most.
    ///
    /// # Errors
    /// When the connection breaks, the role may not read the table or it takes too long.
    pub async fn sample(
        &mut self,
        relation: &Relation,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Row>, Error> {
        let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
        let sql = format!(
            "SET LOCAL statement_timeout = '{SAMPLE_MAX}'; SELECT {}{filter} LIMIT {limit}",
            from(relation, &name(relation))
        );
        self.session.print("read a sample of the table", &sql).await
    }

    /// Returns a row that is given as a JSON object: its values become those of the columns as
    /// the server's `json_populate_record` reads them, columns that it does not name are NULL.
    /// Reads nothing of the table but its shape.
    ///
    /// # Errors
    /// When the connection breaks or a value does not fit its column's type.
    pub async fn row(&mut self, relation: &Relation, json: &str) -> Result<Row, Error> {
        let doing = "read the row as one of the table";
        let record = format!(
            "json_populate_record(NULL::{}, {}::json)",
            name(relation),
            quote_literal(json)
        );
        let sql = format!("SELECT {}", from(relation, &record));
        let row = self.session.print(doing, &sql).await?.pop();
        row.ok_or(Error::Protocol { what: "a row came to nothing" })
    }
}

fn name(relation: &Relation) -> String {
    format!("{}.{}", quote(&relation.namespace), quote(&relation.name))
}

/// Every column of the relation, from something that has them.
fn from(relation: &Relation, source: &str) -> String {
    let column = |column: &Column| format!("r.{}", quote(&column.name));
    let columns: Vec<String> = relation.columns.iter().map(column).collect();
    format!("{} FROM {source} r", columns.join(", "))
}
