//! [`Outlet`]: sends the documents of one signal, and says now and then that it can't.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::verdict::{Partly, Verdict, partly, verdict, wait};
use crate::sink::web::Post;

/// Between two log lines of a collector that takes nothing.
const LOG_EVERY: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug)]
pub(super) struct Outlet {
    signal: &'static str,
    post: Post,
    lost: Arc<AtomicU64>,
    /// Failures in a row.
    failures: u32,
    /// When it was last said that it fails, and how often it did since.
    logged: Option<Instant>,
    unlogged: u64,
    /// It was said, and not yet that it is over.
    is_told: bool,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is over, well or not.
    Done,
    /// It is to be sent again after this.
    Again(Duration),
}

impl Outlet {
    pub(super) const fn new(signal: &'static str, post: Post, lost: Arc<AtomicU64>) -> Self {
        Self { signal, post, lost, failures: 0, logged: None, unlogged: 0, is_told: false }
    }

    /// Sends a document that has so many spans or data points, once.
    pub(super) async fn send(&mut self, body: Bytes, items: u64) -> Sent {
        match self.post.send(body).await {
            Ok(said) => {
                self.failures = 0;
                match partly(&said) {
                    Some(partly) => self.partly(&partly),
                    None => self.recovered(),
                }
                Sent::Done
            }
            Err(failure) => {
                self.failures = self.failures.saturating_add(1);
                self.log(&failure.message);
                match verdict(&failure) {
                    Verdict::Again(asked) => {
                        Sent::Again(wait(self.failures, asked, fastrand::f64()))
                    }
                    Verdict::Lost => {
                        self.lose(items);
                        Sent::Done
                    }
                }
            }
        }
    }

    /// Counts what is not sent again.
    pub(super) fn lose(&self, items: u64) {
        self.lost.fetch_add(items, Ordering::Relaxed);
    }

    fn partly(&mut self, partly: &Partly) {
        self.lose(partly.refused);
        let Partly { refused, message } = partly;
        self.log(&format!("{} refused {refused}: {message}", self.post.host()));
    }

    fn log(&mut self, error: &str) {
        self.unlogged += 1;
        if self.logged.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        let (signal, failures) = (self.signal, self.unlogged);
        tracing::warn!(signal, failures, error, "a collector does not take telemetry");
        (self.logged, self.unlogged, self.is_told) = (Some(Instant::now()), 0, true);
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.is_told) {
            tracing::info!(signal = self.signal, "the collector takes telemetry again");
        }
    }
}
