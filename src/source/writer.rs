//! The write half: [`Writer`] tells the server what is safe, [`Confirmer`] tells the writer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Error;
use super::frame::{Status, write_status};
use super::pending::Pending;
use crate::libpq::stream::Stream;
use crate::lsn::{Lsn, Timestamp, Xid};

/// The least time between two answers that a keepalive asked for. A server that shuts down asks
/// again at once for every answer; this keeps it to 50 a second, and it still gets one in time.
const REPLY_GAP: Duration = Duration::from_millis(20);

/// The least time between two status updates by the timer.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What both halves and the confirmer share.
#[derive(Debug)]
pub(super) struct Shared {
    received: AtomicU64,
    confirmed: AtomicU64,
    /// Prepared transactions, which the server has to send again should this end.
    pending: Mutex<Pending>,
    wants_reply: AtomicBool,
    /// The reader is gone: nothing more is to be said.
    closed: AtomicBool,
    /// The pipeline is done: say the last word and go.
    finishing: AtomicBool,
    began: Instant,
    /// When the last byte came, in milliseconds since `began`.
    heard_ms: AtomicU64,
    wake: Notify,
}

impl Shared {
    pub(super) fn new(received: Lsn, confirmed: Lsn) -> Self {
        Self {
            received: AtomicU64::new(received.0),
            confirmed: AtomicU64::new(confirmed.0),
            pending: Mutex::default(),
            wants_reply: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            finishing: AtomicBool::new(false),
            began: Instant::now(),
            heard_ms: AtomicU64::new(0),
            wake: Notify::new(),
        }
    }

    pub(super) fn received(&self, lsn: Lsn) {
        self.received.fetch_max(lsn.0, Ordering::AcqRel);
    }

    /// Everything that commits before it has come.
    pub(super) fn all_received(&self) -> Lsn {
        Lsn(self.received.load(Ordering::Acquire))
    }

    /// A panic elsewhere leaves plain values.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction is prepared: the slot stays before it until what it did is safe.
    pub(super) fn prepared(&self, xid: Xid, prepare_lsn: Lsn) {
        self.pending().prepared(xid, prepare_lsn);
    }

    /// It commits, and is safe once all before `end_lsn` is.
    pub(super) fn committed(&self, xid: Xid, end_lsn: Lsn) {
        self.pending().committed(xid, end_lsn);
    }

    /// It is nothing any more.
    pub(super) fn rolled_back(&self, xid: Xid) {
        self.pending().rolled_back(xid);
        self.wake.notify_one();
    }

    pub(super) fn ask_reply(&self) {
        self.wants_reply.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Notes that something came.
    pub(super) fn heard(&self, at: Instant) {
        let ms = (at - self.began).as_millis();
        self.heard_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Returns how long nothing has come.
    fn quiet(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Acquire));
        self.began.elapsed().saturating_sub(heard)
    }

    fn status(&self) -> (Lsn, Lsn) {
        let received = self.received.load(Ordering::Acquire);
        // The server believes anything: never confirm what it has not sent.
        let confirmed = self.confirmed.load(Ordering::Acquire).min(received);
        (Lsn(received), self.pending().bound(Lsn(confirmed)))
    }
}

/// Says what is safe. Clones speak of the same connection.
#[derive(Clone, Debug)]
pub struct Confirmer(pub(super) Arc<Shared>);

impl Confirmer {
    /// Lets the server forget what commits before `lsn`. Never goes back; carried at once.
    ///
    /// Only for what has been fsynced as confirmed before, so that a slot whose position is above
    /// it is known to be someone else's.
    pub fn confirm(&self, lsn: Lsn) {
        if self.0.confirmed.fetch_max(lsn.0, Ordering::AcqRel) < lsn.0 {
            self.0.wake.notify_one();
        }
    }

    /// Lets the writer say the last word, end the stream and return.
    pub fn finish(&self) {
        self.0.finishing.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }
}

/// The write half with its own timer: it answers the server whatever reader and sinks do.
pub struct Writer {
    half: WriteHalf<Stream>,
    shared: Arc<Shared>,
    interval: Duration,
    /// After so much silence the server is asked for an answer.
    ask_after: Option<Duration>,
    asked_at: Option<Instant>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("interval", &self.interval).finish_non_exhaustive()
    }
}

impl Writer {
    /// Joins the write half of a stream with what its reader shares.
    pub(super) fn new(
        half: WriteHalf<Stream>,
        shared: Arc<Shared>,
        status_interval: Duration,
        wal_sender_timeout: Option<Duration>,
    ) -> Self {
        // Often enough for a server with a short time-out, too.
        let third = wal_sender_timeout.map_or(status_interval, |timeout| timeout / 3);
        let interval = status_interval.min(third).max(INTERVAL_MIN);
        // The reader gives up after twice the time-out: there is time to ask more than once.
        let ask_after = wal_sender_timeout.map(|timeout| timeout / 2);
        Self { half, shared, interval, ask_after, asked_at: None }
    }

    /// Runs until the reader fails, [`Confirmer::finish`] is called, or the connection breaks.
    ///
    /// Cancel safety: none; drop it together with the reader.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn run(mut self) -> Result<(), Error> {
        let mut sent_at = Instant::now();
        let mut told = self.send().await?;
        loop {
            let wants_reply = self.shared.wants_reply.load(Ordering::Acquire);
            let due = sent_at + if wants_reply { REPLY_GAP } else { self.interval };
            let woken = tokio::select! {
                () = self.shared.wake.notified() => true,
                () = sleep_until(due) => false,
            };
            if self.shared.closed.load(Ordering::Acquire) {
                return Ok(());
            }
            if self.shared.finishing.load(Ordering::Acquire) {
                self.send().await?;
                return self.end().await;
            }
            let raised = self.shared.status().1 > told;
            let reply = self.shared.wants_reply.load(Ordering::Acquire);
            if raised || !woken || (reply && sent_at.elapsed() >= REPLY_GAP) {
                told = self.send().await?;
                sent_at = Instant::now();
            }
        }
    }

    async fn send(&mut self) -> Result<Lsn, Error> {
        self.shared.wants_reply.store(false, Ordering::Release);
        let (written, confirmed) = self.shared.status();
        let reply = self.is_time_to_ask();
        let mut out = BytesMut::with_capacity(64);
        write_status(Status { written, confirmed, reply }, Timestamp::now(), &mut out);
        self.half.write_all(&out).await.map_err(Error::Io)?;
        self.half.flush().await.map_err(Error::Io)?;
        Ok(confirmed)
    }

    /// Whether the server shall show that it lives.
    ///
    /// It asks only when it has heard nothing from here for half its time-out, and status updates
    /// see to it that this never happens. One that has nothing to send would otherwise be taken for
    /// dead: no change for this publication, however much is written.
    fn is_time_to_ask(&mut self) -> bool {
        let is_quiet = self.ask_after.is_some_and(|after| self.shared.quiet() >= after);
        let is_due = self.asked_at.is_none_or(|at| at.elapsed() >= self.interval);
        if is_quiet && is_due {
            self.asked_at = Some(Instant::now());
        }
        is_quiet && is_due
    }

    /// Ends the copy and the session, so that the slot is free at once.
    async fn end(&mut self) -> Result<(), Error> {
        let mut out = BytesMut::new();
        postgres_protocol::message::frontend::copy_done(&mut out);
        postgres_protocol::message::frontend::terminate(&mut out);
        self.half.write_all(&out).await.map_err(Error::Io)?;
        self.half.shutdown().await.map_err(Error::Io)
    }
}
