//! [`Blocking`]: writes that may block for as long as they like, on threads of their own.
//!
//! Whoever waits for one may give up; the write goes on all the same. So a new one waits until
//! there are fewer than may be, and one that is asked for again while it goes on, or after it has
//! succeeded unheard, is not done a second time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};

use super::{Answer, Batch, Failure};
use crate::failure::Category;
use crate::lsn::EventId;

/// How a write ended; none while it goes on.
type Outcome = Option<Result<(), Failure>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Blocking {
    writers_max: usize,
    permits: Arc<Semaphore>,
    writes: Mutex<Vec<Write>>,
}

/// A write whose end nobody has heard yet.
#[derive(Debug)]
struct Write {
    batch: Key,
    outcome: watch::Receiver<Outcome>,
}

/// What tells batches of one sink apart.
type Key = (Vec<EventId>, u32);

impl Blocking {
    /// Lets so many threads write at a time.
    pub(super) fn new(writers_max: usize) -> Self {
        let writers_max = writers_max.max(1);
        let permits = Arc::new(Semaphore::new(writers_max));
        Self { writers_max, permits, writes: Mutex::default() }
    }

    /// Writes a batch and returns what became of it.
    ///
    /// Cancel safety: the write goes on; asked for again, its end is waited for.
    pub(super) async fn write(
        &self,
        batch: &Batch,
        write: impl FnOnce() -> Result<(), Failure> + Send + 'static,
    ) -> Answer {
        self.write_as((batch.events.iter().map(|event| event.id).collect(), batch.replay), write)
            .await
    }

    async fn write_as(
        &self,
        key: Key,
        write: impl FnOnce() -> Result<(), Failure> + Send + 'static,
    ) -> Answer {
        let mut outcome = match self.under_way(&key) {
            Some(outcome) => outcome,
            None => match Arc::clone(&self.permits).acquire_owned().await {
                Ok(permit) => {
                    let (told, outcome) = watch::channel(None);
                    self.remember(Write { batch: key.clone(), outcome: outcome.clone() });
                    tokio::task::spawn_blocking(move || {
                        let written = write();
                        drop(permit);
                        told.send_replace(Some(written));
                    });
                    outcome
                }
                Err(_) => return Answer::Failed(ended()),
            },
        };
        let written = match outcome.wait_for(Option::is_some).await {
            Ok(written) => written.clone(),
            Err(_) => None,
        };
        self.writes().retain(|write| write.batch != key);
        match written.unwrap_or_else(|| Err(ended())) {
            Ok(()) => Answer::Acknowledged,
            Err(failure) => Answer::Failed(failure),
        }
    }

    /// Returns the end of this write, if it goes on or has succeeded unheard.
    fn under_way(&self, key: &Key) -> Option<watch::Receiver<Outcome>> {
        let mut writes = self.writes();
        // One that failed unheard is done again.
        writes.retain(|write| !matches!(*write.outcome.borrow(), Some(Err(_))));
        let same = writes.iter().find(|write| write.batch == *key);
        same.map(|write| write.outcome.clone())
    }

    /// Adds a write. Of those that have ended unheard only as many are kept as may go on at once.
    fn remember(&self, write: Write) {
        let mut writes = self.writes();
        let has_ended = |write: &Write| write.outcome.borrow().is_some();
        let ended = writes.iter().filter(|write| has_ended(write)).count();
        let mut surplus = (ended + 1).saturating_sub(self.writers_max);
        writes.retain(|write| {
            let goes = surplus > 0 && has_ended(write);
            surplus -= usize::from(goes);
            !goes
        });
        writes.push(write);
    }

    /// A panic elsewhere leaves a plain list.
    fn writes(&self) -> MutexGuard<'_, Vec<Write>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended() -> Failure {
    Failure::new(Category::Transient, "the writer ended before it was done")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::lsn::{Lsn, Position};

    fn key(lsn: u64) -> Key {
        (vec![EventId { timeline: 1, position: Position::new(Lsn(lsn), 0) }], 0)
    }

    /// Whoever waits gives up at once.
    async fn give_up(blocking: &Blocking, lsn: u64, write: impl FnOnce() + Send + 'static) {
        let write = blocking.write_as(key(lsn), || {
            write();
            Ok(())
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), write).await.is_err());
    }

    #[tokio::test]
    async fn a_write_that_was_given_up_holds_its_place_and_is_not_repeated() {
        let blocking = Blocking::new(1);
        let (go, gate) = mpsc::channel::<()>();
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        give_up(&blocking, 1, move || {
            let _closed = gate.recv();
            count.fetch_add(1, Ordering::SeqCst);
        })
        .await;
        // Neither the same again nor another one adds a thread.
        for lsn in [1, 1, 2, 3] {
            give_up(&blocking, lsn, || unreachable!("there is no place")).await;
        }
        drop(go);
        let again = blocking.write_as(key(1), || unreachable!("it was written"));
        assert_eq!(again.await, Answer::Acknowledged);
        assert_eq!(written.load(Ordering::SeqCst), 1);
        assert_eq!(blocking.write_as(key(2), || Ok(())).await, Answer::Acknowledged);
        assert!(blocking.writes().is_empty());
    }

    #[tokio::test]
    async fn a_failure_that_nobody_heard_is_no_answer() {
        let blocking = Blocking::new(2);
        let (go, gate) = mpsc::channel::<()>();
        let write = blocking.write_as(key(1), move || {
            let _closed = gate.recv();
            Err(Failure::new(Category::Transient, "late"))
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), write).await.is_err());
        let failed = blocking.writes().first().map(|write| write.outcome.clone());
        drop(go);
        assert_eq!(blocking.write_as(key(2), || Ok(())).await, Answer::Acknowledged);
        failed.unwrap().wait_for(Option::is_some).await.unwrap();
        assert_eq!(blocking.write_as(key(1), || Ok(())).await, Answer::Acknowledged);
    }
}
