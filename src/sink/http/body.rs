//! [`body`]: a request's body that tells whether it was sent, as an answer may come before.

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
pub(super) struct Taken(Arc<AtomicBool>);

impl Taken {
    /// False when the far side answered what it can't have read.
    pub(super) fn is_whole(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Returns the body of these bytes, and what tells of it.
pub(super) fn body(bytes: Bytes) -> (reqwest::Body, Taken) {
    let is_small = bytes.len() <= PIECE_BYTES;
    let taken = Arc::new(AtomicBool::new(is_small));
    if is_small {
        return (bytes.into(), Taken(taken));
    }
    let pieces = Pieces { rest: bytes, taken: Arc::clone(&taken) };
    (reqwest::Body::wrap(pieces), Taken(taken))
}

struct Pieces {
    rest: Bytes,
    taken: Arc<AtomicBool>,
}

impl http_body::Body for Pieces {
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
        if self.rest.is_empty() {
            self.taken.store(true, Ordering::Release);
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
