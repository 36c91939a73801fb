//! [`Exporter`]: says when what is sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::losses::Losses;
use super::metrics::{self, Since};
use super::outlet::{Outlet, Sent};
use super::resource::resource;
use super::spans;
use crate::admin::{Shown, families};
use crate::config::{Config, Otlp};
use crate::delivery::{Span, Tracing};
use crate::lsn::Timestamp;
use crate::sink::web;

/// Spans in a request at most.
const SPANS_MAX: usize = 512;
/// How long a span waits for others to go with it.
const SPANS_WAIT: Duration = Duration::from_secs(2);
/// Spans are not tried for longer: newer ones wait behind them.
const SPANS_GIVEN_UP: Duration = Duration::from_secs(300);
/// How long the last export may take when the run ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub struct Exporter {
    metrics: Metrics,
    traces: Option<Traces>,
}

#[derive(Debug)]
struct Metrics {
    shown: Arc<dyn Shown>,
    interval: Duration,
    outlet: Outlet,
    resource: Value,
    start_us: i64,
}

#[derive(Debug)]
struct Traces {
    spans: mpsc::Receiver<Span>,
    outlet: Outlet,
    resource: Value,
    /// What is sent next.
    batch: Vec<Span>,
}

impl Exporter {
    /// Makes one of what a run shows, and what its sinks give their spans to, where those are
    /// wanted. Connects to nothing.
    ///
    /// # Errors
    /// No request can be made with the settings.
    pub fn new(
        config: &Config,
        otlp: &Otlp,
        shown: Arc<dyn Shown>,
        losses: &Losses,
    ) -> Result<(Self, Option<Tracing>), web::Error> {
        let resource = resource(config);
        let traced = otlp.traces.map(|ratio| Tracing::new(ratio, Arc::clone(&losses.spans)));
        let (tracing, spans) = traced.unzip();
        let traces = match spans {
            Some(spans) => Some(Traces {
                spans,
                outlet: Outlet::new("traces", otlp.post("/v1/traces")?, Arc::clone(&losses.spans)),
                resource: resource.clone(),
                batch: Vec::new(),
            }),
            None => None,
        };
        let metrics = Metrics {
            shown,
            interval: otlp.interval,
            outlet: Outlet::new("metrics", otlp.post("/v1/metrics")?, Arc::clone(&losses.points)),
            resource,
            start_us: Timestamp::now().unix_micros(),
        };
        Ok((Self { metrics, traces }, tracing))
    }

    /// Exports until `stop`, then once more, and ends within a bound of its own.
    pub async fn run(self, stop: CancellationToken) {
        let traces = async {
            if let Some(traces) = self.traces {
                traces.run(&stop).await;
            }
        };
        tokio::join!(self.metrics.run(&stop), traces);
    }
}

impl Metrics {
    async fn run(mut self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut not_before = Instant::now();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => break,
            }
            if Instant::now() < not_before {
                continue;
            }
            let sent = tokio::select! {
                sent = self.export() => sent,
                () = stop.cancelled() => break,
            };
            if let Sent::Again(wait) = sent {
                not_before = Instant::now() + wait;
            }
        }
        let _silent = tokio::time::timeout(FAREWELL, self.export()).await;
    }

    /// Sends what is now. What was not taken is not sent again: what comes next counts from the
    /// start as well.
    async fn export(&mut self) -> Sent {
        let families = families(&self.shown.figures().await);
        let since = Since { start_us: self.start_us, now_us: Timestamp::now().unix_micros() };
        let (request, points) = metrics::request(&families, &self.resource, since);
        let sent = self.outlet.send(Bytes::from(request.to_string()), points).await;
        if let Sent::Again(_) = sent {
            self.outlet.lose(points);
        }
        sent
    }
}

impl Traces {
    async fn run(mut self, stop: &CancellationToken) {
        loop {
            let gathered = tokio::select! {
                gathered = gather(&mut self.spans, &mut self.batch) => gathered,
                () = stop.cancelled() => break,
            };
            if !gathered {
                break;
            }
            tokio::select! {
                () = self.export() => self.batch.clear(),
                () = stop.cancelled() => break,
            }
        }
        self.farewell().await;
    }

    /// Sends what was gathered until it is taken, or will not be.
    async fn export(&mut self) {
        let since = Instant::now();
        while let Sent::Again(wait) = self.send().await {
            if since.elapsed() + wait > SPANS_GIVEN_UP {
                self.outlet.lose(self.batch.len() as u64);
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn send(&mut self) -> Sent {
        let body = spans::request(&self.batch, &self.resource).to_string();
        self.outlet.send(Bytes::from(body), self.batch.len() as u64).await
    }

    /// Sends what is left, each once.
    async fn farewell(mut self) {
        let until = Instant::now() + FAREWELL;
        loop {
            while self.batch.len() < SPANS_MAX
                && let Ok(span) = self.spans.try_recv()
            {
                self.batch.push(span);
            }
            if self.batch.is_empty() {
                return;
            }
            match tokio::time::timeout_at(until, self.send()).await {
                Ok(Sent::Done) => self.batch.clear(),
                Ok(Sent::Again(_)) | Err(_) => return,
            }
        }
    }
}

/// Waits for a span, and a little for more of them. Returns false where none will come any more.
///
/// Cancel safety: what was taken is in `batch`.
async fn gather(spans: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) -> bool {
    if batch.is_empty() {
        match spans.recv().await {
            Some(span) => batch.push(span),
            None => return false,
        }
    }
    let until = Instant::now() + SPANS_WAIT;
    while batch.len() < SPANS_MAX {
        match tokio::time::timeout_at(until, spans.recv()).await {
            Ok(Some(span)) => batch.push(span),
            Ok(None) | Err(_) => break,
        }
    }
    true
}
