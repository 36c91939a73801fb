//! SQL at a cluster, without psql: not every packaging of PostgreSQL has it.

use std::ops::Deref;

use tokio::task::JoinSet;
use tokio_postgres::SimpleQueryMessage;

use super::Error;

/// An SQL session and the task that drives it; dropping it ends both.
#[derive(Debug)]
pub struct Session {
    client: tokio_postgres::Client,
    _driver: JoinSet<()>,
}

impl Session {
    /// Connects without TLS.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let mut driver = JoinSet::new();
        // Its errors come back from the client's calls.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { client, _driver: driver })
    }

    /// Runs a query; values as text.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let mut rows = Vec::new();
        for message in self.client.simple_query(sql).await? {
            if let SimpleQueryMessage::Row(row) = message {
                let cells = (0..row.len()).map(|index| row.get(index).map(str::to_owned));
                rows.push(cells.collect());
            }
        }
        Ok(rows)
    }
}

impl Deref for Session {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}
