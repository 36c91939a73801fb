//! The read half: [`Reader`] turns bytes of the server into chunks.

mod aside;
mod describe;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::time::{Instant, timeout_at};

use super::Error;
use super::catalog::Catalog;
use super::connection::message_length;
use super::cutter::{Cutter, Step};
use super::flood::Flood;
use super::frame::{self, Frame};
use super::held::{Ended, Held, Replay, Taken};
use super::writer::Shared;
use crate::chunk::Chunk;
use crate::libpq::socket::Gather;
use crate::libpq::stream::Stream;
use crate::lsn::{Lsn, Timestamp};

/// Room that a read finds in the buffer.
const READ_BYTES: usize = 256 << 10;

/// A buffer that a huge row made larger than this is given back.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// A chunk that is not full is cut when its first change is this old.
const CHUNK_AGE_MAX: Duration = Duration::from_millis(10);

/// The stream is behind when what the server sends committed longer ago than this (both by the
/// server's clock). Then throughput counts, and no longer each millisecond.
const BEHIND_MICROS: i64 = 100_000;

/// What the stream brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Changes.
    Chunk(Arc<Chunk>),
    /// No transaction is open, and all that commits before `wal_end` was handed over: once that
    /// is done too, `wal_end` may be confirmed.
    Idle {
        /// The server's position.
        wal_end: Lsn,
    },
}

enum Drained {
    /// The rest of a message is missing.
    More,
    /// The chunk is full; the message waits in the buffer.
    Full,
    /// A Relation message waits at the front of the buffer, or is the next to be replayed.
    Describe,
    /// A transaction that was held is to be replayed, or what is held to be written.
    Held,
    /// The server is at this position, and nothing is open.
    Idle(Lsn),
}

/// The read half.
pub struct Reader {
    half: Option<ReadHalf<Stream>>,
    buffer: BytesMut,
    cutter: Cutter,
    held: Held,
    /// A transaction that was held and has committed. It goes before what is in the buffer.
    replay: Option<Replay>,
    catalog: Catalog,
    shared: Arc<Shared>,
    publication: String,
    binary: bool,
    in_recovery: bool,
    /// What is to be returned once a standby is known to be one still.
    unasked: Option<Received>,
    /// Below it a publication that is missing is part of a gap that was accepted.
    gap_end: Option<Lsn>,
    /// It was missing there.
    missed: bool,
    /// Twice the server's time-out.
    silence_max: Option<Duration>,
    last_byte: Instant,
    /// When composite types were looked up.
    looked_at: Instant,
    /// When the first change of the chunk in the making came.
    first: Option<Instant>,
    /// While behind, bytes gather in the socket.
    behind: bool,
    gather: Gather,
    idle: Option<Lsn>,
    flood: Flood,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("publication", &self.publication).finish_non_exhaustive()
    }
}

/// What a reader is made of.
pub(super) struct Parts {
    pub(super) half: ReadHalf<Stream>,
    /// What was read with the answer to `START_REPLICATION`.
    pub(super) buffer: BytesMut,
    pub(super) cutter: Cutter,
    pub(super) held: Held,
    pub(super) catalog: Catalog,
    pub(super) shared: Arc<Shared>,
    pub(super) publication: String,
    /// Values come in binary.
    pub(super) binary: bool,
    /// The server is a standby.
    pub(super) in_recovery: bool,
    pub(super) gap_end: Option<Lsn>,
    pub(super) wal_sender_timeout: Option<Duration>,
    pub(super) gather: Gather,
}

impl Reader {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            half: Some(parts.half),
            buffer: parts.buffer,
            cutter: parts.cutter,
            held: parts.held,
            replay: None,
            catalog: parts.catalog,
            shared: parts.shared,
            publication: parts.publication,
            binary: parts.binary,
            in_recovery: parts.in_recovery,
            unasked: None,
            gap_end: parts.gap_end,
            missed: false,
            silence_max: parts.wal_sender_timeout.map(|timeout| timeout * 2),
            last_byte: Instant::now(),
            looked_at: Instant::now(),
            first: None,
            behind: false,
            gather: parts.gather,
            idle: None,
            flood: Flood::new(parts.wal_sender_timeout),
        }
    }

    /// Returns what comes next. An error ends the connection.
    ///
    /// Cancel safety: nothing is lost; what was read waits for the next call.
    ///
    /// # Errors
    /// When the connection breaks, the server stops or falls silent, or sends what cannot be read.
    pub async fn next(&mut self) -> Result<Received, Error> {
        let result = self.asked().await;
        if result.is_err() {
            // The writer gives up its half too, and with both gone the server is rid of us.
            self.half = None;
            self.shared.close();
        }
        result
    }

    /// Returns what comes next, written before any promotion of the server: only behind that is
    /// anything written on the next timeline.
    async fn asked(&mut self) -> Result<Received, Error> {
        if self.unasked.is_none() {
            self.unasked = Some(self.receive().await?);
        }
        let is_chunk = matches!(self.unasked, Some(Received::Chunk(_)));
        if self.in_recovery && is_chunk && !self.catalog.in_recovery().await? {
            return Err(Error::Promoted);
        }
        self.unasked.take().ok_or(Error::Closed)
    }

    async fn receive(&mut self) -> Result<Received, Error> {
        loop {
            self.held.spill().await?;
            self.look_again().await?;
            let drained = if self.replay.is_some() { self.replay().await? } else { self.drain()? };
            if let Drained::Idle(wal_end) = drained {
                self.idle = Some(wal_end);
            }
            self.leave_gap().await?;
            match drained {
                Drained::Describe => {
                    self.describe().await?;
                    continue;
                }
                Drained::Held => continue,
                Drained::Full => {
                    if let Some(chunk) = self.cut() {
                        return Ok(chunk);
                    }
                }
                Drained::Idle(_) | Drained::More => {}
            }
            if self.idle.is_some() {
                if let Some(chunk) = self.cut() {
                    return Ok(chunk);
                }
                if let Some(wal_end) = self.idle.take() {
                    return Ok(Received::Idle { wal_end });
                }
            }
            // A watermark goes with its commit, which is on its way.
            if self.cutter.is_empty() || self.cutter.is_marked() {
                self.read().await?;
                continue;
            }
            let first = *self.first.get_or_insert_with(Instant::now);
            let fresh = if self.behind {
                timeout_at(first + CHUNK_AGE_MAX, self.read()).await.ok().transpose()?
            } else if first.elapsed() < CHUNK_AGE_MAX {
                self.read().now_or_never().transpose()?
            } else {
                None
            };
            // The stream pauses, or the chunk is old enough.
            if fresh.is_none()
                && let Some(chunk) = self.cut()
            {
                return Ok(chunk);
            }
        }
    }

    fn cut(&mut self) -> Option<Received> {
        self.first = None;
        self.cutter.cut().map(|chunk| Received::Chunk(Arc::new(chunk)))
    }

    /// Reads once. Cancel safety: bytes are in the buffer or not yet taken.
    async fn read(&mut self) -> Result<(), Error> {
        let wanted = missing(&self.buffer)?.max(READ_BYTES);
        if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_BYTES_MAX {
            self.buffer = BytesMut::new();
        }
        if self.buffer.capacity() - self.buffer.len() < wanted.min(READ_BYTES / 4) {
            self.buffer.reserve(wanted);
        }
        self.gather.set(self.behind);
        let half = self.half.as_mut().ok_or(Error::Closed)?;
        let reading = half.read_buf(&mut self.buffer);
        let silent = self.silence_max.map(|silence| self.last_byte + silence);
        // The time-out asks the socket first: a reader that was held up finds what came meanwhile.
        let read = match silent.into_iter().chain(self.flood.deadline).min() {
            None => reading.await,
            Some(deadline) => match timeout_at(deadline, reading).await {
                Ok(read) => read,
                Err(_) if self.flood.deadline.is_some() => return Err(Error::ServerStopping),
                Err(_) => {
                    let seconds = self.last_byte.elapsed().as_secs();
                    return Err(Error::Silent { seconds });
                }
            },
        };
        match read.map_err(Error::Io)? {
            0 => Err(Error::Closed),
            _ => {
                self.last_byte = Instant::now();
                self.shared.heard(self.last_byte);
                if self.flood.deadline.is_some_and(|deadline| deadline <= self.last_byte) {
                    return Err(Error::ServerStopping);
                }
                Ok(())
            }
        }
    }

    /// Takes whole messages out of the buffer until one asks for something.
    fn drain(&mut self) -> Result<Drained, Error> {
        // Out of `self` for the loop's sake, so that messages may be borrowed from it.
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest: &[u8] = &buffer;
        let outcome = self.messages(&mut rest);
        let taken = buffer.len() - rest.len();
        self.buffer = buffer;
        self.buffer.advance(taken);
        outcome
    }

    fn messages(&mut self, rest: &mut &[u8]) -> Result<Drained, Error> {
        let mut sent = None;
        let outcome = loop {
            let Some((tag, body, after)) = split(rest)? else { break Drained::More };
            if tag != b'd' {
                *rest = after;
                self.aside(tag, body)?;
                continue;
            }
            match frame::read(body).map_err(|_| Error::Protocol { what: "an unknown frame" })? {
                Frame::XLogData { sent: time, payload } => {
                    sent = Some(time);
                    match self.take(payload)? {
                        Step::Taken if self.replay.is_some() || self.held.is_due() => {
                            *rest = after;
                            break Drained::Held;
                        }
                        Step::Taken => {}
                        Step::Committed(end_lsn) => self.shared.received(end_lsn),
                        Step::Marked(end_lsn) => {
                            self.shared.received(end_lsn);
                            *rest = after;
                            break Drained::Full;
                        }
                        Step::Full => break Drained::Full,
                        Step::Describe => break Drained::Describe,
                    }
                    *rest = after;
                }
                Frame::Keepalive { wal_end, reply } => {
                    *rest = after;
                    self.shared.received(wal_end);
                    if reply {
                        self.shared.ask_reply();
                        self.flood.count(wal_end);
                    }
                    if !self.cutter.is_open() && !self.held.is_within() {
                        // Caught up: a keepalive comes when there is nothing else to send.
                        self.behind = false;
                        break Drained::Idle(wal_end);
                    }
                }
            }
        };
        // Whether the transaction is still open does not matter: of tiny ones hardly any is when the
        // bytes run out.
        if self.held.is_within() {
            // Nothing of it leaves before it commits, so nobody waits for its next byte.
            self.behind = true;
        } else if let (Some(Timestamp(sent)), Some(Timestamp(committed))) =
            (sent, self.cutter.commit_time())
            && !matches!(outcome, Drained::Idle(_))
        {
            self.behind = sent.saturating_sub(committed) > BEHIND_MICROS;
        }
        Ok(outcome)
    }

    /// Takes one pgoutput message: to the cutter, or to what is held until it commits.
    fn take(&mut self, payload: &[u8]) -> Result<Step, Error> {
        match self.held.take(payload)? {
            Taken::Passed => return self.cutter.push(payload),
            _ if self.cutter.is_open() => {
                let what = "a transaction that is not known to commit inside another";
                return Err(Error::Unreadable { what });
            }
            Taken::Held => {}
            Taken::Prepared(xid, prepare_lsn) => self.shared.prepared(xid, prepare_lsn),
            Taken::RolledBack(xid) => self.shared.rolled_back(xid),
            Taken::Committed(ended) => {
                let Ended { replay, xid, end_lsn } = *ended;
                self.shared.committed(xid, end_lsn);
                self.cutter.begin_replay();
                self.replay = Some(replay);
            }
        }
        Ok(Step::Taken)
    }

    /// Hands what was held on until a chunk is full or all is done.
    async fn replay(&mut self) -> Result<Drained, Error> {
        loop {
            let Some(replay) = &mut self.replay else { return Ok(Drained::Held) };
            while let Some(piece) = replay.peek() {
                match self.cutter.push(piece.frame)? {
                    Step::Taken => {}
                    Step::Committed(end_lsn) => self.shared.received(end_lsn),
                    Step::Marked(end_lsn) => {
                        self.shared.received(end_lsn);
                        replay.advance();
                        return Ok(Drained::Full);
                    }
                    Step::Full => return Ok(Drained::Full),
                    Step::Describe => return Ok(Drained::Describe),
                }
                replay.advance();
            }
            if !replay.fill().await? {
                self.cutter.end_replay();
                self.replay = None;
                // Nothing was read meanwhile, and that says nothing of the server.
                self.last_byte = Instant::now();
            }
        }
    }
}

/// Tag and body of a message, and what follows it.
type Parted<'a> = (u8, &'a [u8], &'a [u8]);

/// Parts the first message from the rest; none while it is not all there.
#[inline]
fn split(buffer: &[u8]) -> Result<Option<Parted<'_>>, Error> {
    let Some([tag, length @ ..]) = buffer.first_chunk::<5>() else { return Ok(None) };
    let length = message_length(*length)?;
    let Some((message, after)) = buffer.split_at_checked(length + 1) else { return Ok(None) };
    Ok(Some((*tag, message.get(5..).unwrap_or_default(), after)))
}

/// Returns how many bytes the first message in the buffer lacks.
fn missing(buffer: &[u8]) -> Result<usize, Error> {
    let Some([_, length @ ..]) = buffer.first_chunk::<5>() else { return Ok(0) };
    Ok((message_length(*length)? + 1).saturating_sub(buffer.len()))
}
