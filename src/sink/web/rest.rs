//! [`Rest`]: what of an answer comes behind its head, read so far as somebody needs it.

use std::time::Duration;

use http_body::Body as _;
use hyper::Response;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::pool::{Connection, Pool};

/// How much of an answer is kept for the dead letter, in bytes.
pub(in crate::sink) const ANSWER_BYTES_KEPT: usize = 2 * 1024;

/// How much of an answer is read so that its connection can be used again; past it the
/// connection is dropped instead.
const ANSWER_BYTES_READ_MAX: usize = 64 * 1024;

/// How long an answer's body may take. Its status has been seen: nothing depends on the rest, but
/// an acknowledgement that breaks off in the middle is none.
const ANSWER_BODY_WAIT: Duration = Duration::from_secs(1);

/// What of an answer's body somebody needs.
#[derive(Clone, Copy)]
pub(in crate::sink) struct Need {
    /// So much of it is kept.
    pub(in crate::sink) bytes: usize,
    /// So long it is waited for.
    pub(in crate::sink) until: Instant,
}

impl Need {
    /// What a dead letter shows: nothing depends on it.
    pub(in crate::sink) fn to_show(deadline: Instant) -> Self {
        let until = deadline.min(Instant::now() + ANSWER_BODY_WAIT);
        Self { bytes: ANSWER_BYTES_KEPT, until }
    }
}

/// What an answer had beside its head.
#[derive(Default)]
pub(in crate::sink) struct Rest {
    /// As much of it as is kept.
    pub(in crate::sink) kept: Vec<u8>,
    /// All of it was kept.
    pub(in crate::sink) is_whole: bool,
    /// With what it broke off.
    pub(in crate::sink) broken: Option<hyper::Error>,
}

/// Reads an answer's body so far as it is needed and gives the connection back, or drops it.
pub(in crate::sink) async fn read(
    response: Response<Incoming>,
    mut connection: Connection,
    pool: &Pool,
    need: Need,
) -> Rest {
    let mut body = response.into_body();
    let mut rest = Rest::default();
    if body.is_end_stream() {
        rest.is_whole = true;
        pool.keep(connection).await;
        return rest;
    }
    let read_max = ANSWER_BYTES_READ_MAX.max(need.bytes);
    let mut read: usize = 0;
    while read <= read_max {
        match timeout_at(need.until, connection.next(&mut body)).await {
            Ok(Some(Ok(piece))) => {
                let room = need.bytes.saturating_sub(rest.kept.len());
                rest.kept.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                read = read.saturating_add(piece.len());
            }
            Ok(Some(Err(error))) => {
                rest.broken = Some(error);
                return rest;
            }
            Ok(None) => {
                rest.is_whole = read == rest.kept.len();
                pool.keep(connection).await;
                return rest;
            }
            Err(_) => return rest,
        }
    }
    rest
}
