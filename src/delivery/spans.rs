//! [`Tracing`]: a span a request to a sink, given to whoever exports them.
//!
//! A trace is a batch, known by its first event: what is sent again because it failed is in the
//! trace of what failed. Whether a trace is kept is decided by its id, so that all of it is or
//! nothing. Sending never waits for who takes the spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ring::digest;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::envelope::Envelope;
use crate::failure::Category;
use crate::lsn::{EventId, Timestamp};
use crate::mapping::SourceLabel;
use crate::sink::span::{Call, SpanId, TraceId};
use crate::sink::{Answer, Batch, Sink};

/// Spans that wait for who exports them; past it they are lost, and counted.
const WAITING_MAX: usize = 4096;

/// More of a failure's message than this is cut off, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Where spans go.
#[derive(Clone, Debug)]
pub struct Tracing {
    sender: mpsc::Sender<Span>,
    dropped: Arc<AtomicU64>,
    /// Which part of the traces is kept: above 0, up to 1.
    ratio: f64,
}

/// What a request was, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// All requests of a batch.
    pub trace: TraceId,
    /// This one.
    pub id: SpanId,
    /// Who sent it.
    pub by: Arc<By>,
    /// When, in microseconds since 1970.
    pub began_us: i64,
    /// Until the answer, or until none was waited for any more.
    pub took: Duration,
    /// The route of the first event.
    pub route: String,
    /// The table of the first event, as SQL would quote it; none: a logical message.
    pub table: Option<String>,
    /// How many events.
    pub events: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// How often these events were sent together by now, from 1.
    pub attempt: u32,
    /// Which replay of an operator's it is part of; 0: none.
    pub replay: u32,
    /// The first event.
    pub first: EventId,
    /// The last event.
    pub last: EventId,
    /// The status of the last answer over HTTP.
    pub status: Option<u16>,
    /// What was refused; none: all was taken.
    pub refused: Option<Refused>,
    /// From the commit of the first event to its acknowledgement; none: it was refused.
    pub commit_to_ack: Option<Duration>,
}

/// What was refused of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How many events.
    pub events: usize,
    /// What the first failure means.
    pub category: Category,
    /// What it says.
    pub message: String,
}

/// Who sends requests.
#[derive(Debug, PartialEq, Eq)]
pub struct By {
    /// The sink's name.
    pub sink: String,
    /// Its kind's word.
    pub kind: &'static str,
    /// Scheme, host and port that it sends to, where that is one.
    pub host: Option<String>,
}

/// Makes the spans of a sink.
#[derive(Debug)]
pub(super) struct Tracer {
    tracing: Tracing,
    by: Arc<By>,
    /// What tells the events of one source from those of others.
    salt: String,
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Open {
    tracer: Arc<Tracer>,
    pub(super) call: Arc<Call>,
    began: Timestamp,
    since: Instant,
    attempt: u32,
}

impl Tracing {
    /// Makes one that keeps this part of the traces (above 0, up to 1), and where its spans come
    /// out. What is lost is added to `dropped`.
    #[must_use]
    pub fn new(ratio: f64, dropped: Arc<AtomicU64>) -> (Self, mpsc::Receiver<Span>) {
        let (sender, spans) = mpsc::channel(WAITING_MAX);
        (Self { sender, dropped, ratio }, spans)
    }

    fn give(&self, span: Span) {
        if self.sender.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Tracer {
    pub(super) fn new(
        tracing: &Tracing,
        name: &str,
        sink: &dyn Sink,
        source: &SourceLabel,
    ) -> Self {
        let host = sink.host().map(str::to_owned);
        Self {
            tracing: tracing.clone(),
            by: Arc::new(By { sink: name.to_owned(), kind: sink.kind(), host }),
            salt: format!("{}/{}", source.system, source.slot),
        }
    }

    /// Begins a span; none of a batch without events.
    pub(super) fn begin(self: &Arc<Self>, batch: &Batch, attempt: u32) -> Option<Box<Open>> {
        let trace = trace_of(&self.salt, batch.events.first()?.id, batch.replay);
        let sampled = is_sampled(trace, self.tracing.ratio);
        let span = SpanId(fastrand::u64(1..).to_be_bytes());
        Some(Box::new(Open {
            tracer: Arc::clone(self),
            call: Arc::new(Call::new(trace, span, sampled)),
            began: Timestamp::now(),
            since: Instant::now(),
            attempt,
        }))
    }
}

impl Open {
    /// Ends the span with what was answered.
    pub(super) fn end(&self, batch: &Batch, answer: &Answer) {
        let ([first, ..], [.., last]) = (&batch.events[..], &batch.events[..]) else { return };
        if !self.call.sampled {
            return;
        }
        let took = self.since.elapsed();
        let refused = refused(answer, batch.events.len());
        let now_us = self
            .began
            .unix_micros()
            .saturating_add_unsigned(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let is_taken = match answer {
            Answer::PerEvent(outcomes) => outcomes.first().is_some_and(Result::is_ok),
            _ => refused.is_none(),
        };
        self.tracer.tracing.give(Span {
            trace: self.call.trace,
            id: self.call.span,
            by: Arc::clone(&self.tracer.by),
            began_us: self.began.unix_micros(),
            took,
            route: first.route.name.clone(),
            table: first.table(),
            events: batch.events.len(),
            bytes: batch.events.iter().map(Envelope::bytes).sum(),
            attempt: self.attempt,
            replay: batch.replay,
            first: first.id,
            last: last.id,
            status: self.call.status(),
            refused,
            commit_to_ack: first.commit_time.filter(|_| is_taken).map(|commit| {
                let micros = now_us.saturating_sub(commit.unix_micros());
                Duration::from_micros(u64::try_from(micros).unwrap_or_default())
            }),
        });
    }
}

fn refused(answer: &Answer, events: usize) -> Option<Refused> {
    let (events, failure) = match answer {
        Answer::Acknowledged => return None,
        Answer::Failed(failure) => (events, failure),
        Answer::PerEvent(outcomes) => {
            let mut failures = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
            let first = failures.next()?;
            (1 + failures.count(), first)
        }
    };
    let message = &failure.message;
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    let message = message.get(..end).unwrap_or_default().to_owned();
    Some(Refused { events, category: failure.category, message })
}

/// Returns the trace of a batch: the same for the same first event of a source, on any machine.
fn trace_of(salt: &str, first: EventId, replay: u32) -> TraceId {
    let digest = digest::digest(&digest::SHA256, format!("{salt}\n{first}-{replay}").as_bytes());
    TraceId(digest.as_ref().first_chunk().copied().unwrap_or([1; 16]))
}

/// Whether a trace is kept: by its last bytes, as OpenTelemetry's samplers look at them, so that
/// others with the same ratio keep the same. Source:
/// <https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>.
fn is_sampled(trace: TraceId, ratio: f64) -> bool {
    let [.., a, b, c, d, _, _, _] = trace.0;
    let place = f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0);
    place >= 1.0 - ratio
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::{Lsn, Position};

    fn id(lsn: u64) -> EventId {
        EventId { timeline: 1, position: Position::new(Lsn(lsn), 1) }
    }

    #[test]
    fn a_trace_is_that_of_the_first_event_of_its_source() {
        let trace = trace_of("7/walgate", id(5), 0);
        assert_eq!(trace, trace_of("7/walgate", id(5), 0));
        for other in [("8/walgate", 5, 0), ("7/walgate", 6, 0), ("7/walgate", 5, 1)] {
            assert_ne!(trace, trace_of(other.0, id(other.1), other.2), "{other:?}");
        }
    }

    #[test]
    fn as_many_are_kept_as_were_asked_for_and_a_larger_part_holds_the_smaller() {
        let kept = |ratio: f64| -> Vec<u64> {
            (0..10_000).filter(|lsn| is_sampled(trace_of("s", id(*lsn), 0), ratio)).collect()
        };
        assert_eq!(kept(1.0).len(), 10_000);
        let (tenth, half) = (kept(0.1), kept(0.5));
        assert!((900..1_100).contains(&tenth.len()), "{}", tenth.len());
        assert!((4_800..5_200).contains(&half.len()), "{}", half.len());
        assert!(tenth.iter().all(|lsn| half.contains(lsn)));
    }

    #[test]
    fn what_was_refused_is_counted_and_its_message_cut() {
        let failure = crate::sink::Failure::new(Category::Rejected, "é".repeat(2_000));
        assert_eq!(refused(&Answer::Acknowledged, 3), None);
        let all = refused(&Answer::Failed(failure.clone()), 3).unwrap();
        assert_eq!((all.events, all.category, all.message.len()), (3, Category::Rejected, 1_024));
        let some = Answer::PerEvent(vec![Ok(()), Err(failure.clone()), Err(failure)]);
        assert_eq!(refused(&some, 3).unwrap().events, 2);
        assert_eq!(refused(&Answer::PerEvent(vec![Ok(())]), 1), None);
    }

    #[test]
    fn nobody_waits_for_who_takes_spans() {
        let dropped = Arc::new(AtomicU64::new(0));
        let (tracing, spans) = Tracing::new(1.0, Arc::clone(&dropped));
        let by = By { sink: "s".to_owned(), kind: "file", host: None };
        let span = Span {
            trace: TraceId([1; 16]),
            id: SpanId([1; 8]),
            by: Arc::new(by),
            began_us: 0,
            took: Duration::ZERO,
            route: String::new(),
            table: None,
            events: 1,
            bytes: 1,
            attempt: 1,
            replay: 0,
            first: id(1),
            last: id(1),
            status: None,
            refused: None,
            commit_to_ack: None,
        };
        for _ in 0..WAITING_MAX + 7 {
            tracing.give(span.clone());
        }
        assert_eq!((spans.len(), dropped.load(Ordering::Relaxed)), (WAITING_MAX, 7));
    }
}
