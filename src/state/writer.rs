//! The one thread that writes: what is asked while it commits goes into the next commit together.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::Error;

/// Requests that may wait for the thread; whoever asks for more waits with them.
const QUEUE_MAX: usize = 256;

/// Requests of one transaction: it bounds how long the first of them waits for the last.
const GROUP_MAX: usize = 256;

/// The thread's handle. Dropped, it lets the queue run empty and waits for that.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Work>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, folder: &Path) -> Result<Self, Error> {
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("walgate-state".into())
            .spawn(move || Loop { connection, requests, broken: None }.run())
            .map_err(|source| Error::Folder {
                doing: "start the writer of",
                path: folder.to_owned(),
                source: Arc::new(source),
            })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues the work and waits for its commit.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (request, answer) = Request::new(work);
        let queue = self.queue.as_ref().ok_or(Error::Stopped)?;
        queue.send(Box::new(request)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// Queues the work and blocks until its commit.
    pub(super) fn write_blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (request, answer) = Request::new(work);
        let queue = self.queue.as_ref().ok_or(Error::Stopped)?;
        queue.blocking_send(Box::new(request)).map_err(|_| Error::Stopped)?;
        answer.blocking_recv().map_err(|_| Error::Stopped)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was the work's own; those who waited got `Stopped`.
            let _ended = thread.join();
        }
    }
}

/// One request, whatever it returns.
trait Work: Send {
    /// Runs it; `false` when it wants undone what it did.
    fn run(&mut self, connection: &Connection) -> bool;

    /// Answers: with its own result when the transaction was committed.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

struct Request<T, F> {
    work: Option<F>,
    result: Option<rusqlite::Result<T>>,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Request<T, F> {
    fn new(work: F) -> (Self, oneshot::Receiver<Result<T, Error>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { work: Some(work), result: None, answer }, receiver)
    }
}

impl<T, F> Work for Request<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.result = self.work.take().map(|work| work(connection));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let result = match (self.result, committed) {
            (Some(Err(error)), _) => Err(Error::sqlite("write")(error)),
            (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Error::Stopped),
        };
        // Whoever asked may have gone; the work is done all the same.
        let _gone = self.answer.send(result);
    }
}

struct Loop {
    connection: Connection,
    requests: mpsc::Receiver<Box<dyn Work>>,
    /// A flush that failed: the pages may be dropped from memory and never reach the disk, so
    /// nothing that is written afterwards can be trusted.
    broken: Option<Error>,
}

impl Loop {
    fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let mut group = Vec::with_capacity(8);
            let committed = match &self.broken {
                Some(error) => {
                    group.push(first);
                    Err(error.clone())
                }
                None => self.commit(first, &mut group),
            };
            if let Err(error @ Error::Broken { .. }) = &committed {
                self.broken = Some(error.clone());
            }
            for request in group {
                request.answer(committed.clone());
            }
        }
    }

    /// Runs `first` and what waits behind it in one transaction.
    fn commit(
        &mut self,
        first: Box<dyn Work>,
        group: &mut Vec<Box<dyn Work>>,
    ) -> Result<(), Error> {
        let failed = Error::sqlite("write");
        if let Err(error) = self.connection.execute_batch("BEGIN IMMEDIATE") {
            group.push(first);
            return Err(failed(error));
        }
        let mut next = Some(first);
        while let Some(mut request) = next.take() {
            let ran = self.run_one(&mut *request);
            group.push(request);
            if let Err(error) = ran {
                self.roll_back();
                return Err(failed(error));
            }
            if group.len() < GROUP_MAX {
                next = self.requests.try_recv().ok();
            }
        }
        self.connection.execute_batch("COMMIT").map_err(|error| {
            self.roll_back();
            failed(error)
        })
    }

    /// Runs one request in a savepoint. An error means that the whole transaction is lost.
    fn run_one(&self, request: &mut dyn Work) -> rusqlite::Result<()> {
        self.connection.prepare("SAVEPOINT request")?.execute([])?;
        if !request.run(&self.connection) {
            if self.connection.is_autocommit() {
                // SQLite gave up the transaction by itself (a full disk, an I/O error).
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
                return Err(rusqlite::Error::SqliteFailure(code, None));
            }
            self.connection.prepare("ROLLBACK TO request")?.execute([])?;
        }
        self.connection.prepare("RELEASE request")?.execute([])?;
        Ok(())
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // Should even this fail, the next BEGIN says so to whoever asks next.
            let _failed = self.connection.execute_batch("ROLLBACK");
        }
    }
}
