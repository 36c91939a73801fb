//! [`Pool`]: connections that wait for the next batch, and [`Session`]: one that is in use.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, stream};
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::failure::Error;
use crate::libpq::conninfo::Conninfo;
use crate::libpq::{self, drive, settings};

/// A connection that nobody used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Statements that one connection keeps prepared.
const STATEMENTS_MAX: usize = 256;

/// A connection and what it has prepared.
pub(super) struct Connection {
    inner: libpq::Session,
    statements: HashMap<String, Statement>,
    /// It was used before: the server may have closed it since.
    pub(super) is_reused: bool,
}

/// The connections of a sink. There are as many as batches were under way at once.
pub(super) struct Pool {
    conninfo: Conninfo,
    options: String,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    /// Makes one. A statement may take nine tenths of `timeout`, so that the server ends it before
    /// it is given up here.
    pub(super) fn new(conninfo: Conninfo, timeout: Duration) -> Self {
        let millis = |duration: Duration| duration.as_millis().max(1).to_string();
        let (statement, idle) = (millis(timeout.mul_f64(0.9)), millis(timeout));
        let more = [
            ("statement_timeout", statement.as_str()),
            // One that was given up in the middle of a transaction holds its locks no longer.
            ("idle_in_transaction_session_timeout", idle.as_str()),
            // What triggers have to say may quote rows.
            ("client_min_messages", "error"),
        ];
        let options = settings::options(&conninfo, more);
        Self { conninfo, options, idle: Mutex::default() }
    }

    /// Returns the role and the database.
    pub(super) fn who(&self) -> (&str, &str) {
        (&self.conninfo.user, &self.conninfo.database)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection that was used last, or makes one.
    pub(super) async fn take(&self) -> Result<Connection, Error> {
        let waiting = self.lock().pop();
        if let Some((connection, _)) = waiting {
            return Ok(connection);
        }
        let (inner, _) = libpq::Session::connect(&self.conninfo, &self.options).await?;
        Ok(Connection { inner, statements: HashMap::new(), is_reused: false })
    }

    /// Keeps a connection for the next batch.
    pub(super) fn put(&self, connection: Connection) {
        let connection = Connection { is_reused: true, ..connection };
        self.lock().push((connection, Instant::now()));
    }

    /// Closes those that wait: the server is another, or not there.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Closes what was idle for too long; returns when to look again.
    pub(super) fn tidy(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut idle = self.lock();
        idle.retain(|(_, since)| now.duration_since(*since) < IDLE_MAX);
        idle.first().and_then(|(_, since)| since.checked_add(IDLE_MAX))
    }
}

impl Connection {
    /// Runs what asks the server.
    ///
    /// Cancel safety: a transaction under way is given up; dropping the connection ends it.
    pub(super) async fn run<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut Session<'_>) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let libpq::Session { client, driver } = &mut self.inner;
        let mut session = Session { client, statements: &mut self.statements };
        drive(driver, ask(&mut session)).await
    }
}

/// A connection that somebody asks.
pub(super) struct Session<'c> {
    client: &'c Client,
    statements: &'c mut HashMap<String, Statement>,
}

/// Values of a statement.
pub(super) type Values<'v> = &'v [&'v (dyn ToSql + Sync)];

impl Session<'_> {
    async fn prepared(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Runs a statement; returns how many rows it touched.
    pub(super) async fn execute(&mut self, sql: &str, values: Values<'_>) -> Result<u64, Error> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.execute(&statement, values).await?)
    }

    /// Asks for rows.
    pub(super) async fn query(&mut self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.query(&statement, values).await?)
    }

    /// Sends what a `COPY … FROM STDIN` reads.
    pub(super) async fn copy(
        &mut self,
        sql: &str,
        chunks: impl Iterator<Item = Bytes>,
    ) -> Result<(), Error> {
        let mut copy = pin!(self.client.copy_in(sql).await?);
        let mut chunks = stream::iter(chunks.map(Ok));
        copy.send_all(&mut chunks).await?;
        Ok(copy.finish().await.map(drop)?)
    }

    /// Runs statements without values, parted by semicolons.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), Error> {
        Ok(self.client.batch_execute(sql).await?)
    }
}
