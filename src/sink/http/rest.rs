//! [`Rest`]: what of an answer comes behind its head, read so far as somebody needs it.

use std::time::Duration;

use http_body::Body as _;
use hyper::Response;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::pool::{Connection, Pool};

/// How much of an answer is kept for the dead letter, in bytes.
const ANSWER_BYTES_KEPT: usize = 2 * 1024;

/// How much of an answer is read so that its connection can be used again; past it the
/// connection is dropped instead.
const ANSWER_BYTES_READ_MAX: usize = 64 * 1024;

/// How long an answer's body may take. Its status has been seen: nothing depends on the rest, but
/// an acknowledgement that breaks off in the middle is none.
const ANSWER_BODY_WAIT: Duration = Duration::from_secs(1);

/// What an answer had beside its head.
#[derive(Default)]
pub(super) struct Rest {
    /// As much of it as is kept.
    pub(super) kept: Vec<u8>,
    /// With what it broke off.
    pub(super) broken: Option<hyper::Error>,
}

/// Reads an answer's body so far as it is needed and gives the connection back, or drops it. What
/// has not come until `deadline` is not waited for.
pub(super) async fn read(
    response: Response<Incoming>,
    mut connection: Connection,
    pool: &Pool,
    deadline: Instant,
) -> Rest {
    let mut body = response.into_body();
    let mut rest = Rest::default();
    if body.is_end_stream() {
        pool.keep(connection).await;
        return rest;
    }
    let deadline = deadline.min(Instant::now() + ANSWER_BODY_WAIT);
    let mut read: usize = 0;
    while read <= ANSWER_BYTES_READ_MAX {
        match timeout_at(deadline, connection.next(&mut body)).await {
            Ok(Some(Ok(piece))) => {
                let room = ANSWER_BYTES_KEPT.saturating_sub(rest.kept.len());
                rest.kept.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                read = read.saturating_add(piece.len());
            }
            Ok(Some(Err(error))) => {
                rest.broken = Some(error);
                return rest;
            }
            Ok(None) => {
                pool.keep(connection).await;
                return rest;
            }
            Err(_) => return rest,
        }
    }
    rest
}
