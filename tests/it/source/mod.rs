//! The source against real servers: what it lets in, what it reads, and when it gives up.

mod login;
mod prepared;
mod slot;
mod stream;
mod streamed;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use walgate::chunk::{Chunk, Operation};
use walgate::demo::cluster::Cluster;
use walgate::lsn::{Lsn, Position};
use walgate::secret::Secret;
use walgate::source::{
    Confirmer, Error, OpenOptions, Opened, Reader, Received, Resume, Settings, Streaming, open,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn settings(url: &str) -> Settings {
    Settings {
        url: Secret::new(url.to_owned()),
        publication: "walgate".to_owned(),
        slot: "walgate".to_owned(),
        binary: false,
        status_interval: Duration::from_secs(10),
        streaming: Streaming::Auto,
        // Made only when it is needed.
        spill: std::env::temp_dir().join(format!("walgate-spill-{}", fastrand::u64(..))),
    }
}

/// A reader, with its writer running.
struct Attached {
    reader: Reader,
    opened: Opened,
    tasks: JoinSet<Result<(), Error>>,
}

async fn attach(
    cluster: &Cluster,
    resume: &Resume,
    options: OpenOptions,
) -> Result<Attached, Error> {
    attach_with(&settings(&cluster.url("postgres", "postgres")), resume, options).await
}

async fn attach_with(
    settings: &Settings,
    resume: &Resume,
    options: OpenOptions,
) -> Result<Attached, Error> {
    let (reader, writer, opened) = open(settings, resume, options).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(writer.run());
    Ok(Attached { reader, opened, tasks })
}

/// A cluster with a table in a publication.
async fn cluster() -> Cluster {
    prepare(Cluster::builder().start().await.unwrap()).await
}

async fn prepare(cluster: Cluster) -> Cluster {
    cluster
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION walgate FOR TABLE t",
        )
        .await
        .unwrap();
    cluster
}

impl Attached {
    fn confirmer(&self) -> &Confirmer {
        &self.opened.confirmer
    }

    /// What the state would remember once `received` is durable.
    fn resume(&self, received: Lsn) -> Resume {
        Resume {
            identity: Some(self.opened.identity.clone()),
            received,
            journaled: None,
            confirmed: received,
            intent: None,
        }
    }

    async fn next(&mut self) -> Received {
        timeout(PATIENCE, self.reader.next()).await.unwrap().unwrap()
    }

    /// Reads chunks until they hold `count` changes and the end of the last transaction.
    async fn changes(&mut self, count: usize) -> Vec<std::sync::Arc<Chunk>> {
        let mut chunks = Vec::new();
        let mut seen = 0;
        let mut open = false;
        while seen < count || open {
            if let Received::Chunk(chunk) = self.next().await {
                seen += chunk.entries.len();
                open = chunk.transactions.last().is_some_and(|last| last.end_lsn.is_none());
                chunks.push(chunk);
            }
        }
        assert_eq!(seen, count);
        chunks
    }

    /// Reads until all that was committed before `lsn` is here.
    async fn up_to(&mut self, lsn: Lsn) -> Vec<std::sync::Arc<Chunk>> {
        let mut chunks = Vec::new();
        loop {
            match self.next().await {
                Received::Chunk(chunk) => chunks.push(chunk),
                Received::Idle { wal_end } if wal_end >= lsn => return chunks,
                Received::Idle { .. } => {}
            }
        }
    }

    /// Reads up to the error that ends the connection.
    async fn error(&mut self) -> Error {
        timeout(PATIENCE, async {
            loop {
                if let Err(error) = self.reader.next().await {
                    return error;
                }
            }
        })
        .await
        .unwrap()
    }

    /// Ends the stream, so that the slot is free.
    async fn close(mut self) {
        self.confirmer().finish();
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap().unwrap();
        }
    }
}

/// One change, as sinks know it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    position: Position,
    operation: Operation,
    frame: Vec<u8>,
    /// The columns of its table.
    columns: Vec<String>,
}

fn events(chunks: &[std::sync::Arc<Chunk>]) -> Vec<Event> {
    let of = |chunk: &std::sync::Arc<Chunk>| -> Vec<_> {
        let event = |entry| {
            let columns = chunk.relation(entry).map(|relation| {
                relation.columns.iter().map(|column| column.name.clone()).collect()
            });
            Event {
                position: chunk.position(entry),
                operation: entry.operation,
                frame: chunk.frame(entry).to_vec(),
                columns: columns.unwrap_or_default(),
            }
        };
        chunk.entries.iter().map(event).collect()
    };
    chunks.iter().flat_map(of).collect()
}

/// Where the server's log ends; all that was committed is before it.
async fn wal_end(cluster: &Cluster) -> Lsn {
    cluster.value("SELECT pg_current_wal_insert_lsn()::text").await.unwrap().parse().unwrap()
}

fn end_lsn(chunks: &[std::sync::Arc<Chunk>]) -> Lsn {
    chunks.last().and_then(|chunk| chunk.transactions.last()?.end_lsn).unwrap()
}

fn positions(chunks: &[std::sync::Arc<Chunk>]) -> Vec<Position> {
    let of = |chunk: &std::sync::Arc<Chunk>| -> Vec<_> {
        chunk.entries.iter().map(|entry| chunk.position(entry)).collect()
    };
    chunks.iter().flat_map(of).collect()
}

fn operations(chunks: &[std::sync::Arc<Chunk>]) -> Vec<Operation> {
    chunks.iter().flat_map(|chunk| chunk.entries.iter().map(|entry| entry.operation)).collect()
}

/// Waits until the query answers with `expected`.
async fn until(cluster: &Cluster, sql: &str, expected: &str) {
    timeout(PATIENCE, async {
        while cluster.value(sql).await.unwrap() != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{sql} never became {expected}"));
}
