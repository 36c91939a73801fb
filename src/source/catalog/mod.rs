//! [`Catalog`]: what the server is, asked in ordinary SQL (runs `sql/source/`).
//!
//! Knows nothing of the stream. A catalog tells of now, never of the point of the log at which a
//! change was made.

mod holder;
mod described;
mod rows;
mod session;
mod slot;
mod statement;
mod types;

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::types::ToSql;

pub use described::{
    FileColumn, GENERATED_SINCE, NotTable, Publication, PublishedTable, Server, SlotWal, Table,
    TableColumn, TableFile,
};
pub use holder::Holder;
pub use rows::Row;
pub use slot::{Moved, SlotRow};
pub use statement::{
    add_to_publication, create_publication, create_role, grant_database, grant_schema,
    grant_tables, quote, quote_literal,
};

use super::Error;
use super::conninfo::{Conninfo, Host};
use crate::lsn::Oid;
use crate::pgoutput::binary::{self, Form};
use crate::relation::Kind;
use session::Session;
use types::Description;

/// The prefix of walgate's own logical messages that go the whole road.
pub const HEARTBEAT_PREFIX: &str = "walgate.heartbeat";

/// How long a statement that is run for a person waits for a lock, as the server reads it: others
/// wait behind it meanwhile.
const LOCK_MAX: &str = "5s";

/// A connection for questions. One question at a time; nothing runs between two.
pub struct Catalog {
    conninfo: Conninfo,
    session: Session,
    host: Host,
    types: HashMap<Oid, Description>,
    /// How often it had to connect anew.
    connections: u64,
    /// The database's `lc_monetary`, once it was asked for.
    monetary: Option<String>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Catalog {
    /// Connects with the same connection string as the stream.
    ///
    /// # Errors
    /// When the string is wrong, nobody answers, or the login is refused.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::of(&url.parse().map_err(Error::Conninfo)?).await
    }

    /// The same with the string already parsed.
    ///
    /// # Errors
    /// When nobody answers or the login is refused.
    pub async fn of(conninfo: &Conninfo) -> Result<Self, Error> {
        let (session, host) = Session::connect(conninfo).await?;
        Ok(Self {
            conninfo: conninfo.clone(),
            session,
            host,
            types: HashMap::new(),
            connections: 0,
            monetary: None,
        })
    }

    /// Returns the host that answered.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Asks; connects anew when the connection went away since the last question.
    async fn ask(
        &mut self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        if !self.session.is_closed() {
            match self.session.query(doing, sql, parameters).await {
                Err(Error::Sql { .. } | Error::Closed) => {}
                // Closed by the server while nobody looked (57P01, 57P05).
                Err(Error::Server { source, .. }) if source.code.starts_with("57P") => {}
                answer => return answer,
            }
        }
        let narrowed = self.conninfo.narrowed_to(&self.host);
        (self.session, _) = Session::connect(&narrowed).await?;
        self.connections += 1;
        self.session.query(doing, sql, parameters).await
    }

    async fn objects<T: serde::de::DeserializeOwned>(
        &mut self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<T>, Error> {
        let rows = self.ask(doing, sql, parameters).await?;
        rows.iter()
            .map(|row| {
                let text: &str = row.try_get(0).map_err(|source| Error::sql(doing, source))?;
                serde_json::from_str(text)
                    .map_err(|_| Error::Protocol { what: "the catalog answered in another form" })
            })
            .collect()
    }

    /// Returns what the server is and what the role may do.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn server(&mut self) -> Result<Server, Error> {
        let sql = include_str!("../../../sql/source/server.sql");
        let mut rows = self.objects("look at the server", sql, &[]).await?;
        rows.pop().ok_or(Error::Protocol { what: "the server said nothing of itself" })
    }

    /// Whether the server is a standby.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn in_recovery(&mut self) -> Result<bool, Error> {
        let doing = "look whether the server is a standby";
        let rows = self.ask(doing, "SELECT pg_is_in_recovery()", &[]).await?;
        let row =
            rows.first().ok_or(Error::Protocol { what: "the server said nothing of itself" })?;
        row.try_get(0).map_err(|error| Error::sql(doing, error))
    }

    /// Returns the slot's row; none when there is no such slot.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn slot(&mut self, name: &str) -> Result<Option<SlotRow>, Error> {
        let sql = include_str!("../../../sql/source/slot.sql");
        let mut rows = self.objects("look at the slot", sql, &[&name]).await?;
        Ok(rows.pop().map(|row| SlotRow { row }))
    }

    /// Returns what the slot holds back; none when there is no such slot.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn slot_wal(&mut self, name: &str) -> Result<Option<SlotWal>, Error> {
        let sql = include_str!("../../../sql/source/slot_wal.sql");
        Ok(self.objects("look at the slot", sql, &[&name]).await?.pop())
    }

    /// Returns whether anything was ever read from the slot.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn slot_was_used(&mut self, name: &str) -> Result<bool, Error> {
        let sql = include_str!("../../../sql/source/slot_used.sql");
        let mut answer: Vec<bool> = self.objects("look at the slot's use", sql, &[&name]).await?;
        Ok(answer.pop().unwrap_or(true))
    }

    /// Waits until nobody holds the slot; at once when there is none.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn wait_for_slot(&mut self, name: &str, every: Duration) -> Result<(), Error> {
        while self.slot(name).await?.is_some_and(|slot| slot.is_active()) {
            tokio::time::sleep(every).await;
        }
        Ok(())
    }

    /// Drops the slot.
    ///
    /// # Errors
    /// When there is none, it is in use, or the role may not.
    pub async fn drop_slot(&mut self, name: &str) -> Result<(), Error> {
        let sql = include_str!("../../../sql/source/drop_slot.sql");
        self.ask("drop the slot", sql, &[&name]).await.map(drop)
    }

    /// Returns whether there is such a role.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn role_exists(&mut self, name: &str) -> Result<bool, Error> {
        let sql = include_str!("../../../sql/source/role.sql");
        Ok(!self.ask("look at the roles", sql, &[&name]).await?.is_empty())
    }

    /// Returns the publication; none when there is no such.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn publication(&mut self, name: &str) -> Result<Option<Publication>, Error> {
        let sql = include_str!("../../../sql/source/publication.sql");
        Ok(self.objects("look at the publication", sql, &[&name]).await?.pop())
    }

    /// Returns the publication's tables.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn publication_tables(&mut self, name: &str) -> Result<Vec<PublishedTable>, Error> {
        let sql = include_str!("../../../sql/source/publication_tables.sql");
        self.objects("look at the publication's tables", sql, &[&name]).await
    }

    /// Returns in which files the publication's tables lie.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn table_files(&mut self, publication: &str) -> Result<Vec<TableFile>, Error> {
        let sql = include_str!("../../../sql/source/table_files.sql");
        self.objects("look at the tables' files", sql, &[&publication]).await
    }

    /// Returns the tables of users, or those of `oids`.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn tables(&mut self, oids: Option<&[Oid]>) -> Result<Vec<Table>, Error> {
        let sql = include_str!("../../../sql/source/tables.sql");
        let oids: Option<Vec<u32>> = oids.map(|oids| oids.iter().map(|oid| oid.0).collect());
        self.objects("look at the tables", sql, &[&oids]).await
    }

    /// Returns what one might take for a table, and is none.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn not_tables(&mut self) -> Result<Vec<NotTable>, Error> {
        let sql = include_str!("../../../sql/source/not_tables.sql");
        self.objects("look at what is no table", sql, &[]).await
    }

    /// Returns the primary key's columns in the key's own order.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn primary_key(&mut self, table: Oid) -> Result<Vec<String>, Error> {
        let doing = "look up a primary key";
        let sql = include_str!("../../../sql/source/primary_key.sql");
        let rows = self.ask(doing, sql, &[&table.0]).await?;
        let column = |row: &tokio_postgres::Row| row.try_get(0);
        rows.iter().map(column).collect::<Result<_, _>>().map_err(|e| Error::sql(doing, e))
    }

    /// Returns the kinds of types: built-in ones from memory, others from the catalog each time, as
    /// a composite type may have been altered. One that was never there is text.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn kinds(&mut self, oids: &[Oid]) -> Result<HashMap<Oid, Kind>, Error> {
        let made_up = |oid: &&Oid| types::built_in(**oid).is_none();
        let made_up: Vec<u32> = oids.iter().filter(made_up).map(|oid| oid.0).collect();
        if !made_up.is_empty() {
            self.describe_types(&made_up).await?;
        }
        Ok(oids.iter().map(|oid| (*oid, types::kind(*oid, &self.types))).collect())
    }

    /// Returns how the values of types are sent in binary, in the order of `oids`.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn forms(&mut self, oids: &[Oid]) -> Result<Vec<Form>, Error> {
        let missing =
            |oid: &&Oid| binary::built_in(**oid).is_none() && !self.types.contains_key(*oid);
        let missing: Vec<u32> = oids.iter().filter(missing).map(|oid| oid.0).collect();
        if !missing.is_empty() {
            self.describe_types(&missing).await?;
        }
        let monetary = match &self.monetary {
            Some(known) => known.clone(),
            None => {
                let doing = "look up lc_monetary";
                let rows = self.ask(doing, "SELECT current_setting('lc_monetary')", &[]).await?;
                let known = rows.first().map(|row| row.try_get::<_, String>(0)).transpose();
                let known = known.map_err(|error| Error::sql(doing, error))?.unwrap_or_default();
                self.monetary.insert(known).clone()
            }
        };
        Ok(oids.iter().map(|oid| types::form(*oid, &self.types, &monetary)).collect())
    }

    async fn describe_types(&mut self, oids: &[u32]) -> Result<(), Error> {
        let doing = "look up types";
        let sql = include_str!("../../../sql/source/types.sql");
        let rows = self.ask(doing, sql, &[&oids]).await?;
        for row in rows {
            let description = || {
                let delimiter: String = row.try_get(5)?;
                let names: Vec<String> = row.try_get(6)?;
                let types: Vec<u32> = row.try_get(7)?;
                let composite = row.try_get::<_, String>(2)? == "c";
                let fields = names.into_iter().zip(types.into_iter().map(Oid)).collect();
                let description = Description {
                    name: row.try_get(1)?,
                    base: row.try_get::<_, Option<u32>>(3)?.map(Oid),
                    element: row.try_get::<_, Option<u32>>(4)?.map(Oid),
                    delimiter: delimiter.bytes().next().unwrap_or(b','),
                    fields: composite.then_some(fields),
                    send: row.try_get(8)?,
                    bound: row.try_get::<_, Option<u32>>(9)?.map(Oid),
                };
                Ok((Oid(row.try_get(0)?), description))
            };
            let (oid, description) = description().map_err(|e| Error::sql(doing, e))?;
            self.types.insert(oid, description);
        }
        Ok(())
    }

    /// Emits a logical message that comes back in the stream.
    ///
    /// # Errors
    /// When the connection breaks, or the server is a standby.
    pub async fn heartbeat(&mut self, nonce: &str) -> Result<(), Error> {
        self.emit("emit a heartbeat", HEARTBEAT_PREFIX, nonce).await
    }

    /// Emits a logical message in a transaction of its own.
    pub(in crate::source) async fn emit(
        &mut self,
        doing: &'static str,
        prefix: &str,
        content: &str,
    ) -> Result<(), Error> {
        let sql = include_str!("../../../sql/source/heartbeat.sql");
        self.ask(doing, sql, &[&prefix, &content]).await.map(drop)
    }

    /// Returns the key in whose order a table's rows can be read; empty where there is none.
    pub(in crate::source) async fn load_key<T: serde::de::DeserializeOwned>(
        &mut self,
        table: Oid,
    ) -> Result<Vec<T>, Error> {
        let sql = include_str!("../../../sql/source/load_key.sql");
        self.objects("look at a table's key", sql, &[&table.0]).await
    }

    /// Returns the connection, for what belongs into one transaction.
    pub(in crate::source) const fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Returns how often it had to connect anew.
    pub(in crate::source) const fn connections(&self) -> u64 {
        self.connections
    }

    /// Runs statements as they are, as one transaction (`init --apply`, `check --fix`). Whoever
    /// holds a lock that they need for longer than five seconds needs it more.
    ///
    /// # Errors
    /// When the server refuses one of them.
    pub async fn apply(&mut self, doing: &'static str, statements: &str) -> Result<(), Error> {
        let bounded = format!("SET LOCAL lock_timeout = '{LOCK_MAX}'; {statements}");
        self.session.batch(doing, &bounded).await
    }
}
