//! [`Body`]: a request's body that tells whether it was sent, as an answer may come before.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// The connection takes a body in pieces of this size; one that is no larger goes whole.
const PIECE_BYTES: usize = 64 * 1024;

/// Whether the connection has taken all of a body.
pub(in crate::sink) struct Taken(Option<Arc<AtomicBool>>);

impl Taken {
    /// False when the far side answered what it can't have read.
    pub(in crate::sink) fn is_whole(&self) -> bool {
        self.0.as_ref().is_none_or(|taken| taken.load(Ordering::Acquire))
    }
}

/// A request's body.
pub(in crate::sink) struct Body {
    rest: Bytes,
    /// Set once all is taken; none where it goes whole.
    taken: Option<Arc<AtomicBool>>,
}

impl Body {
    /// Returns the body of these bytes, and what tells of it.
    pub(in crate::sink) fn new(bytes: Bytes) -> (Self, Taken) {
        let in_pieces = bytes.len() > PIECE_BYTES;
        let taken = in_pieces.then(Arc::<AtomicBool>::default);
        (Self { rest: bytes, taken: taken.clone() }, Taken(taken))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(bytes);
        if let Some(taken) = &self.taken
            && self.rest.is_empty()
        {
            taken.store(true, Ordering::Release);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
