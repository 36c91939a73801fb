//! Transactions: a batch is one, and those that read only what is committed see all of it or none.
//!
//! librdkafka's calls block, so they run on threads of their own; whoever waits for one may give
//! up, and the next batch begins where that one ended.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::Producer;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

use super::client::{Client, Inner};

/// How far a producer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The brokers have not heard of it.
    #[default]
    New,
    /// Nothing is open.
    Ready,
    /// Messages may be in it.
    Open,
}

/// A transaction that is open. Dropped without an end, it is aborted before the next.
pub(super) struct Transaction {
    client: Arc<Client>,
    stage: OwnedMutexGuard<Stage>,
    deadline: Instant,
}

impl Transaction {
    /// Begins one, once there is none any more.
    pub(super) async fn begin(client: &Arc<Client>, deadline: Instant) -> Result<Self, Code> {
        let stage = timeout_at(deadline, Arc::clone(&client.stage).lock_owned())
            .await
            .map_err(|_| Code::OperationTimedOut)?;
        let was = *stage;
        let mut transaction = Self { client: Arc::clone(client), stage, deadline };
        match was {
            Stage::New => {
                transaction = transaction.call(Producer::init_transactions, Stage::Ready).await?;
            }
            Stage::Open => {
                transaction = transaction.call(Producer::abort_transaction, Stage::Ready).await?;
            }
            Stage::Ready => {}
        }
        let inner = client.inner().ok_or(Code::DestroyBroker)?;
        inner.begin_transaction().map_err(|error| code(&error))?;
        *transaction.stage = Stage::Open;
        Ok(transaction)
    }

    /// Makes all of it count.
    pub(super) async fn commit(self) -> Result<(), Code> {
        self.call(Producer::commit_transaction, Stage::Ready).await.map(drop)
    }

    /// Makes nothing of it count.
    pub(super) async fn abort(self) -> Result<(), Code> {
        self.call(Producer::abort_transaction, Stage::Ready).await.map(drop)
    }

    /// Makes a call that blocks. It goes on, and nobody else gets a turn, where none waits for it.
    async fn call(
        mut self,
        call: impl FnOnce(&Inner, Duration) -> KafkaResult<()> + Send + 'static,
        then: Stage,
    ) -> Result<Self, Code> {
        let limit = self.deadline.saturating_duration_since(Instant::now());
        let called = tokio::task::spawn_blocking(move || {
            let inner = self.client.inner().ok_or(Code::DestroyBroker)?;
            call(inner, limit).map_err(|error| code(&error))?;
            *self.stage = then;
            Ok(self)
        });
        called.await.unwrap_or(Err(Code::Fail))
    }
}

fn code(error: &KafkaError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::Fail)
}
