//! The thread that writes: chunks become records, records become durable in groups.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::index::Run;
use super::record::{Encoder, Header};
use super::recover::{self, Found};
use super::segment::{self, FIRST_RECORD, SEGMENT_BYTES};
use super::shared::Shared;
use super::{Durable, Error, Settings};
use crate::chunk::Chunk;
use crate::failure::chain;
use crate::lsn::{Lsn, Position, Timestamp};

/// Records that wait are written in one go up to so many bytes.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// Between two looks at how much disk is left.
const DISK_POLL: Duration = Duration::from_millis(500);

/// So much that was written is reason enough for a look: a fast stream would fill the reserve
/// before its time has come.
const DISK_LOOK_BYTES: usize = 1 << 20;

/// The writer's handle; dropped, it writes what it was given and ends.
#[derive(Debug)]
pub(super) struct Writer {
    orders: Mutex<Option<Sender<Order>>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Write(Arc<Chunk>),
    Sync(oneshot::Sender<Result<Durable, Error>>),
}

impl Writer {
    /// Starts the thread behind what was found.
    pub(super) fn start(
        shared: Arc<Shared>,
        folder: &Path,
        found: Found,
        settings: Settings,
    ) -> Result<Self, Error> {
        let file = match found.segments.last() {
            Some(last) => Some(segment::open(folder, last.number, true)?),
            None => None,
        };
        let mut pen = Pen {
            shared,
            folder: folder.to_owned(),
            number: found.segments.last().map_or(0, |last| last.number),
            offset: found.segments.last().map_or(FIRST_RECORD, recover::Segment::length),
            end: found.segments.last().map_or(found.begin, recover::Segment::end),
            received: found.received,
            file,
            encoder: Encoder::default(),
            buffer: Vec::new(),
            pending: Vec::new(),
            changed: all_runs(&found),
            reserve: settings.reserve_bytes,
            looked: None,
            unlooked: 0,
        };
        pen.look_at_disk();
        // Bounded by the memory tail: a chunk that is not written stays there.
        let (orders, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || pen.run(&receiver))
            .map_err(Error::file("start a thread for", folder))?;
        Ok(Self { orders: Mutex::new(Some(orders)), thread: Some(thread) })
    }

    /// Hands a chunk to the thread.
    pub(super) fn write(&self, chunk: Arc<Chunk>) -> Result<(), Error> {
        self.send(Order::Write(chunk))
    }

    /// Waits until everything handed over before is durable.
    pub(super) async fn sync(&self) -> Result<Durable, Error> {
        let (answer, done) = oneshot::channel();
        self.send(Order::Sync(answer))?;
        done.await.map_err(|_| Error::Closed)?
    }

    fn send(&self, order: Order) -> Result<(), Error> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = orders.as_ref().ok_or(Error::Closed)?;
        sender.send(order).map_err(|_| Error::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// What was found but may not be in the index yet: the last run of each segment.
fn all_runs(found: &Found) -> BTreeMap<(u32, u64), Run> {
    let runs = found.segments.iter().rev().take(2).flat_map(|segment| &segment.runs);
    runs.map(|run| ((run.segment, run.offset), run.clone())).collect()
}

/// The thread's own.
struct Pen {
    shared: Arc<Shared>,
    folder: PathBuf,
    number: u32,
    /// Where the next record goes.
    offset: u64,
    /// Behind the last record.
    end: Position,
    received: Option<Lsn>,
    file: Option<File>,
    encoder: Encoder,
    buffer: Vec<u8>,
    /// What the buffer holds.
    pending: Vec<(Header, Arc<Chunk>)>,
    /// Index rows since the last sync.
    changed: BTreeMap<(u32, u64), Run>,
    reserve: u64,
    looked: Option<Instant>,
    /// Bytes written since.
    unlooked: usize,
}

impl Pen {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut waits = Vec::new();
        loop {
            let order = match orders.recv_timeout(DISK_POLL) {
                Ok(order) => Some(order),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => None,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            };
            let mut next = order;
            while let Some(order) = next.take() {
                match order {
                    Order::Write(chunk) => {
                        if let Err(error) = self.encode(chunk) {
                            self.shared.fail(error);
                        }
                        if self.buffer.len() >= WRITE_BYTES_MAX {
                            break;
                        }
                    }
                    Order::Sync(answer) => waits.push(answer),
                }
                next = orders.try_recv().ok();
            }
            self.flush();
            self.look_at_disk();
            if !waits.is_empty() {
                let durable = self.sync();
                for answer in waits.drain(..) {
                    // Whoever asked may have gone.
                    let _gone = answer.send(durable.clone());
                }
            }
        }
        self.flush();
    }

    /// Puts a chunk's record into the buffer.
    fn encode(&mut self, chunk: Arc<Chunk>) -> Result<(), Error> {
        let now = Timestamp::now().unix_micros();
        let header = self.encoder.encode(&chunk, now, &mut self.buffer).map_err(Error::Record)?;
        self.pending.push((header, chunk));
        Ok(())
    }

    /// Writes the buffer, and tells what may now be dropped from memory. What finds no room is
    /// kept and written again, at the same place.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.write() {
            Ok(()) => self.note_full(None),
            Err(error) if error.is_disk_full() => {
                self.note_full(Some(&error));
                return;
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "the journal can't be written");
                self.shared.fail(error);
            }
        }
        self.pending.clear();
        self.buffer.clear();
        if self.buffer.capacity() > 4 * WRITE_BYTES_MAX {
            self.buffer = Vec::new();
        }
        self.shared.room.notify_waiters();
    }

    fn note_full(&self, error: Option<&Error>) {
        let was_full = std::mem::replace(&mut self.shared.lock().disk_full, error.is_some());
        match error {
            Some(error) if !was_full => tracing::error!(
                error = chain(error),
                "the disk is full: nothing more is read until there is room"
            ),
            None if was_full => tracing::info!("the journal is written again"),
            _ => {}
        }
    }

    fn write(&mut self) -> Result<(), Error> {
        if let Some(error) = self.shared.lock().failed.clone() {
            return Err(error);
        }
        if self.file.is_none() || self.offset >= SEGMENT_BYTES {
            self.turn_page()?;
        }
        let path = segment::path(&self.folder, self.number);
        let file = self.file.as_ref().ok_or(Error::Closed)?;
        self.put(file).map_err(Error::file("write", &path))?;
        self.unlooked = self.unlooked.saturating_add(self.buffer.len());
        let mut shared = self.shared.lock();
        for (header, chunk) in &self.pending {
            self.offset += header.length();
            self.end = self.end.max(header.end);
            if header.received > Lsn::ZERO {
                self.received = Some(header.received);
            }
            if let Some(run) = shared.wrote(header, chunk) {
                self.changed.insert((run.segment, run.offset), run.clone());
            }
        }
        Ok(())
    }

    fn put(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        if super::lock(&self.shared.disk).is_full {
            let half = self.buffer.get(..self.buffer.len() / 2).unwrap_or_default();
            file.write_all_at(half, self.offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all_at(&self.buffer, self.offset)
    }

    fn free_bytes(&self) -> Option<u64> {
        #[cfg(test)]
        if let Some(free) = super::lock(&self.shared.disk).free_bytes {
            return Some(free);
        }
        recover::free_bytes(&self.folder)
    }

    /// Begins the next segment.
    fn turn_page(&mut self) -> Result<(), Error> {
        // Before the next one is there: recovery takes every segment but the last for whole.
        if let Some(file) = self.file.take() {
            let path = segment::path(&self.folder, self.number);
            file.sync_data().map_err(Error::file("flush", &path))?;
        }
        let begin = self.end();
        // Only one that could be made counts: else the next attempt would leave a hole.
        let number = self.number + 1;
        self.file = Some(segment::create(&self.folder, number, begin)?);
        self.number = number;
        self.offset = FIRST_RECORD;
        self.shared.lock().began(self.number, begin);
        Ok(())
    }

    /// Behind all that was written; of an empty journal, where it begins.
    fn end(&self) -> Position {
        self.end.max(self.shared.lock().begin())
    }

    /// Makes what was written durable. A flush that failed once is never trusted again: the
    /// system may have dropped the pages that it could not write.
    fn sync(&mut self) -> Result<Durable, Error> {
        if let Some(error) = self.shared.lock().failed.clone() {
            return Err(error);
        }
        let path = segment::path(&self.folder, self.number);
        if let Some(Err(source)) = self.file.as_ref().map(File::sync_data) {
            let error = Error::file("flush", &path)(source);
            self.shared.fail(error.clone());
            return Err(error);
        }
        let runs = std::mem::take(&mut self.changed).into_values().collect();
        Ok(Durable { through: Some(self.end()), received: self.received, runs })
    }

    /// Looks now and then whether the disk has room left.
    fn look_at_disk(&mut self) {
        let is_fresh = self.looked.is_some_and(|looked| looked.elapsed() < DISK_POLL);
        if is_fresh && self.unlooked < DISK_LOOK_BYTES {
            return;
        }
        self.looked = Some(Instant::now());
        self.unlooked = 0;
        let low = self.free_bytes().is_some_and(|free| free < self.reserve);
        let mut shared = self.shared.lock();
        if shared.disk_low != low {
            shared.disk_low = low;
            drop(shared);
            if low {
                tracing::error!(
                    reserve_bytes = self.reserve,
                    "the disk is nearly full: nothing more is read"
                );
            } else {
                tracing::info!("the disk has room again");
            }
            self.shared.room.notify_waiters();
        }
    }
}
