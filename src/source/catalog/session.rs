//! The connection for ordinary SQL: tokio-postgres over the same sockets, TLS and settings.

use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, SimpleQueryMessage, SimpleQueryRow};

use crate::libpq::conninfo::{Conninfo, Host};
use crate::libpq::{self, Broken, Driver};
use crate::source::Error;
use crate::source::connection::{self, ANSWER_MAX, answered};

/// How long the rows of a piece may take: a condition that hardly any row meets needs many.
const ROWS_MAX: Duration = Duration::from_mins(10);

/// A client and the driver that moves its bytes. There is no task: a query polls the driver.
pub(in crate::source) struct Session {
    client: Client,
    driver: Driver,
}

impl Session {
    pub(super) async fn connect(conninfo: &Conninfo) -> Result<(Self, Host), Error> {
        let options = connection::options(conninfo);
        let connecting = libpq::Session::connect(conninfo, &options);
        let (session, host) = Box::pin(connecting).await?;
        let libpq::Session { client, driver } = session;
        let mut session = Self { client, driver };
        let late = connection::late_settings(session.driver.parameter("server_version"));
        if let Some(statement) = late {
            answered(ANSWER_MAX, session.batch("set up the session", statement)).await?;
        }
        Ok((session, host))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) async fn query(
        &mut self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let Self { client, driver } = self;
        answered(ANSWER_MAX, drive(doing, driver, client.query(sql, parameters))).await
    }

    /// Runs one statement and returns its rows as the server prints them: by each type's output
    /// function, as in the stream (a cast to text prints some types in another way).
    pub(in crate::source) async fn print(
        &mut self,
        doing: &'static str,
        sql: &str,
    ) -> Result<Vec<Vec<Option<String>>>, Error> {
        let Self { client, driver } = self;
        let asking = drive(doing, driver, client.simple_query(sql));
        let answer = answered(ANSWER_MAX, asking).await?;
        let mut rows = Vec::new();
        for message in answer {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let value = |index| row.try_get(index).map(|value| value.map(str::to_owned));
            let values: Result<_, _> = (0..row.len()).map(value).collect();
            rows.push(values.map_err(|e| Error::sql(doing, e))?);
        }
        Ok(rows)
    }

    /// As [`Session::print`], a row at a time; for as long as one comes every so often.
    pub(in crate::source) async fn rows(
        &mut self,
        doing: &'static str,
        sql: &str,
        mut take: impl FnMut(&SimpleQueryRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Self { client, driver } = self;
        let mut taken = Ok(());
        let asking = async {
            let mut rows = pin!(client.simple_query_raw(sql).await?);
            while let Some(message) = rows.try_next().await? {
                if let SimpleQueryMessage::Row(row) = message
                    && taken.is_ok()
                {
                    taken = take(&row);
                }
            }
            Ok(())
        };
        answered(ROWS_MAX, drive(doing, driver, asking)).await?;
        taken
    }

    /// Has the server parse one statement.
    pub(in crate::source) async fn prepare(
        &mut self,
        doing: &'static str,
        sql: &str,
    ) -> Result<(), Error> {
        let Self { client, driver } = self;
        answered(ANSWER_MAX, drive(doing, driver, client.prepare(sql))).await.map(drop)
    }

    pub(in crate::source) async fn batch(
        &mut self,
        doing: &'static str,
        sql: &str,
    ) -> Result<(), Error> {
        let Self { client, driver } = self;
        drive(doing, driver, client.batch_execute(sql)).await
    }
}

/// Polls the driver for as long as the query runs.
async fn drive<T>(
    doing: &'static str,
    driver: &mut Driver,
    query: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Error> {
    let asking = async { query.await.map_err(Broken::Sql) };
    libpq::drive(driver, asking).await.map_err(|broken| match broken {
        Broken::Sql(error) => Error::sql(doing, error),
        Broken::Closed => Error::Closed,
    })
}
