//! [`Call`]: what of a trace a request is, as the far side is told of it.
//!
//! Whoever asks a sink may do so [within](Call::within) a call: its requests over HTTP then say so,
//! and their last status is known. Source: <https://www.w3.org/TR/trace-context/>.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CALL: Arc<Call>;
}

/// Which trace something belongs to: 16 bytes, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// Which span of it it is: 8 bytes, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// Requests to a sink that are one span.
#[derive(Debug)]
pub struct Call {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether the span is kept.
    pub sampled: bool,
    /// 0: nothing was answered yet.
    status: AtomicU16,
}

impl Call {
    /// Names a span.
    #[must_use]
    pub const fn new(trace: TraceId, span: SpanId, sampled: bool) -> Self {
        Self { trace, span, sampled, status: AtomicU16::new(0) }
    }

    /// Does something whose requests are part of the span.
    ///
    /// Cancel safety: that of `done`.
    pub async fn within<T>(self: &Arc<Self>, done: impl Future<Output = T>) -> T {
        CALL.scope(Arc::clone(self), done).await
    }

    /// Returns the status of the last answer over HTTP; none where there was none.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        Some(self.status.load(Ordering::Relaxed)).filter(|status| *status > 0)
    }

    /// Returns the header's value: version, trace, span and whether it is kept.
    fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// Adds to a request which span it is part of, if it is and does not say so itself.
pub(in crate::sink) fn tell(headers: &mut HeaderMap) {
    let _outside = CALL.try_with(|call| {
        if let Ok(value) = HeaderValue::from_str(&call.traceparent()) {
            headers.entry(TRACEPARENT).or_insert(value);
        }
    });
}

/// Notes what was answered to a request, if it is part of a span.
pub(in crate::sink) fn answered(status: StatusCode) {
    let _outside = CALL.try_with(|call| call.status.store(status.as_u16(), Ordering::Relaxed));
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_says_which_span_it_is_part_of_and_what_was_answered_is_known() {
        let call = Arc::new(Call::new(TraceId([0xab; 16]), SpanId([1; 8]), true));
        let mut headers = HeaderMap::new();
        tell(&mut headers);
        answered(StatusCode::OK);
        assert!(headers.is_empty() && call.status().is_none());
        call.within(async {
            tell(&mut headers);
            answered(StatusCode::TOO_MANY_REQUESTS);
        })
        .await;
        let told = "00-abababababababababababababababab-0101010101010101-01";
        assert_eq!((headers["traceparent"].to_str().unwrap(), call.status()), (told, Some(429)));
        // One of the config's own stays.
        let other = Arc::new(Call::new(TraceId([1; 16]), SpanId([2; 8]), false));
        other.within(async { tell(&mut headers) }).await;
        assert_eq!(headers["traceparent"].to_str().unwrap(), told);
    }
}
