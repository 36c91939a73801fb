//! [`Receiver`]: a real HTTP server that journals every request and misbehaves to order.
//!
//! ```ignore
//! let receiver = Receiver::start();
//! receiver.next(Reply::status(503).retry_after("2"));      // the next request only
//! receiver.when(|event| event.key() == "public.t{\"id\":7}", Reply::status(422));
//! // … walgate sends to receiver.url("/events") …
//! receiver.wait("100 events", SECONDS_30, |journal| journal.events().len() == 100);
//! assert_eq!(receiver.journal().repeats(), 0);
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use super::journal::{Event, Journal, Request};
use super::{Listening, Server, listen, loopback, reset};

/// What a request gets.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    delay: Duration,
    fault: Fault,
}

/// How the answer goes wrong on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// No answer, the connection stays open.
    Hang,
    /// Reset once the head has been read: nothing was processed.
    ResetBefore,
    /// Processed, then reset in the middle of the answer's head.
    ResetMid,
    /// Processed, then reset without an answer.
    Lost,
    /// The answer comes a byte at a time, with this between.
    Drip(Duration),
    /// The answer's body never ends.
    Endless,
    /// Answered once the head has been read, the body never is: nothing was processed.
    Early,
    /// These bytes instead of an answer, then the end: nothing was processed.
    Raw,
}

impl Reply {
    /// 200 with an empty body.
    pub(crate) fn ok() -> Self {
        Self::status(200)
    }

    /// This status with an empty body.
    pub(crate) fn status(status: u16) -> Self {
        let (headers, body) = (Vec::new(), String::new());
        Self { status, headers, body, delay: Duration::ZERO, fault: Fault::None }
    }

    /// 307 to this address.
    pub(crate) fn redirect(url: &str) -> Self {
        Self::status(307).header("location", url)
    }

    /// Reads the request, never answers, keeps the connection open. Counts as not processed.
    pub(crate) fn hang() -> Self {
        Self { fault: Fault::Hang, ..Self::ok() }
    }

    /// Resets the connection before the body is read. Counts as not processed.
    pub(crate) fn reset() -> Self {
        Self { fault: Fault::ResetBefore, ..Self::ok() }
    }

    /// Processes the request, then resets without a word: the lost answer.
    pub(crate) fn lost() -> Self {
        Self { fault: Fault::Lost, ..Self::ok() }
    }

    /// Processes the request, then resets in the middle of the answer's head.
    pub(crate) fn cut() -> Self {
        Self { fault: Fault::ResetMid, ..Self::ok() }
    }

    /// 200 before the body is read, which then never is. Counts as not processed.
    pub(crate) fn early() -> Self {
        Self { fault: Fault::Early, ..Self::ok() }
    }

    /// Sends these bytes in place of an answer, then resets. Counts as not processed.
    pub(crate) fn raw(answer: &str) -> Self {
        Self { fault: Fault::Raw, ..Self::ok() }.body(answer)
    }

    /// Sends a body without an end after the head.
    pub(crate) fn endless(self) -> Self {
        Self { fault: Fault::Endless, ..self }
    }

    /// Sends the answer a byte at a time.
    pub(crate) fn drip(self, pause: Duration) -> Self {
        Self { fault: Fault::Drip(pause), ..self }
    }

    /// Adds a header of the answer.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds Retry-After: seconds, a date or nonsense.
    pub(crate) fn retry_after(self, value: &str) -> Self {
        self.header("retry-after", value)
    }

    /// Sets the answer's body.
    pub(crate) fn body(self, body: impl Into<String>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Waits before answering, once the request is read.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Whether the receiver has done what the request asked.
    fn processes(&self) -> bool {
        let never =
            matches!(self.fault, Fault::Hang | Fault::ResetBefore | Fault::Early | Fault::Raw);
        !never && (200..300).contains(&self.status)
    }
}

type Predicate = Box<dyn Fn(&Event) -> bool + Send>;

#[derive(Default)]
struct Orders {
    next: VecDeque<Reply>,
    /// The newest stands first.
    when: VecDeque<(Predicate, Reply)>,
    at: Vec<(String, Reply)>,
    otherwise: Option<Reply>,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Orders>,
    journal: Mutex<Journal>,
    changed: Condvar,
    listening: Listening,
}

/// An HTTP server on the loopback. Dropping it ends it.
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    open: watch::Sender<bool>,
    _server: Server,
}

impl Receiver {
    /// Starts one that answers 200 to everything.
    pub(crate) fn start() -> Self {
        let (address, listener) = loopback();
        let shared = Arc::<Shared>::default();
        let (open, opened) = watch::channel(true);
        let served = Arc::clone(&shared);
        let server = Server::start(move || serve(listener, address, opened, served));
        shared.listening.wait(true);
        Self { address, shared, open, _server: server }
    }

    /// Returns where it listens, for a proxy in front of it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its URL with this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers so to one request, after those that were ordered before.
    pub(crate) fn next(&self, reply: Reply) {
        self.orders().next.push_back(reply);
    }

    /// Answers so to every request with an event like this, until [`Self::behave`]: the newest
    /// order that fits counts.
    pub(crate) fn when(&self, event: impl Fn(&Event) -> bool + Send + 'static, reply: Reply) {
        self.orders().when.push_front((Box::new(event), reply));
    }

    /// Answers so to every request to this path, until [`Self::behave`].
    pub(crate) fn at(&self, path: &str, reply: Reply) {
        self.orders().at.push((path.to_owned(), reply));
    }

    /// Answers so to every request that nothing else is ordered for, until [`Self::behave`].
    pub(crate) fn otherwise(&self, reply: Reply) {
        self.orders().otherwise = Some(reply);
    }

    /// Forgets all orders and answers 200 again.
    pub(crate) fn behave(&self) {
        *self.orders() = Orders::default();
    }

    /// Stops listening and resets every connection: requests are refused.
    pub(crate) fn refuse(&self) {
        self.open.send_replace(false);
        self.shared.listening.wait(false);
    }

    /// Listens again, at the same address.
    pub(crate) fn listen(&self) {
        self.open.send_replace(true);
        self.shared.listening.wait(true);
    }

    /// Returns a copy of what came so far.
    pub(crate) fn journal(&self) -> Journal {
        self.shared.journal.lock().unwrap().clone()
    }

    /// Waits, blocking the thread, until the journal is so; panics with `what` at the timeout.
    /// Looked at with each request that comes.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, timeout: Duration, is: impl Fn(&Journal) -> bool) {
        let deadline = Instant::now() + timeout;
        let mut journal = self.shared.journal.lock().unwrap();
        while !is(&journal) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited {timeout:?} for {what}; saw {} requests, {} events processed",
                journal.requests.len(),
                journal.events_processed,
            );
            journal = self.shared.changed.wait_timeout(journal, left).unwrap().0;
        }
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.shared.orders.lock().unwrap()
    }
}

async fn serve(
    first: std::net::TcpListener,
    address: SocketAddr,
    mut open: watch::Receiver<bool>,
    shared: Arc<Shared>,
) {
    let mut listener = Some(TcpListener::from_std(first).unwrap());
    loop {
        let mut connections = JoinSet::new();
        let bound = match listener.take() {
            Some(listener) => listener,
            None => listen(address).unwrap(),
        };
        shared.listening.set(true);
        loop {
            tokio::select! {
                accepted = bound.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    shared.journal.lock().unwrap().connections += 1;
                    connections.spawn(converse(stream, Arc::clone(&shared)));
                }
                Some(_) = connections.join_next() => {}
                _ = open.wait_for(|open| !open) => break,
            }
        }
        drop(bound);
        connections.shutdown().await;
        shared.listening.set(false);
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
    }
}

/// Answers the requests of one connection until it ends.
async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    reset(&stream); // whatever ends this connection early, ends it with a reset
    let mut buffer = Vec::new();
    loop {
        let Some(mut request) = read_head(&mut stream, &mut buffer).await else { return };
        let next = shared.orders.lock().unwrap().next.pop_front();
        if next.as_ref().is_some_and(|reply| reply.fault == Fault::ResetBefore) {
            note(&shared, request, false);
            return;
        }
        if let Some(early) = next.as_ref().filter(|reply| reply.fault == Fault::Early) {
            note(&shared, request, false);
            answer(&mut stream, early).await;
            return;
        }
        if !read_body(&mut stream, &mut buffer, &mut request).await {
            return;
        }
        let reply = next.unwrap_or_else(|| choose(&shared, &request));
        let processed = reply.processes();
        {
            let mut journal = shared.journal.lock().unwrap();
            journal.in_flight += 1;
            journal.in_flight_max = journal.in_flight_max.max(journal.in_flight);
        }
        tokio::time::sleep(reply.delay).await;
        note(&shared, request, processed);
        let going_on = answer(&mut stream, &reply).await;
        shared.journal.lock().unwrap().in_flight -= 1;
        if !going_on {
            return;
        }
    }
}

fn choose(shared: &Shared, request: &Request) -> Reply {
    let orders = shared.orders.lock().unwrap();
    if !orders.when.is_empty() {
        let events = request.events();
        for (like, reply) in &orders.when {
            if events.iter().any(like) {
                return reply.clone();
            }
        }
    }
    if let Some((_, reply)) = orders.at.iter().find(|(path, _)| *path == request.target) {
        return reply.clone();
    }
    orders.otherwise.clone().unwrap_or_else(Reply::ok)
}

fn note(shared: &Shared, mut request: Request, processed: bool) {
    request.processed = processed;
    let events = if processed { request.events().len() } else { 0 };
    let mut journal = shared.journal.lock().unwrap();
    journal.events_processed += events;
    journal.requests.push(request);
    shared.changed.notify_all();
}

/// Reads a request's head; `buffer` keeps what came after it. None: the connection ended.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let mut words = lines.next()?.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let headers = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let (body, at) = (Vec::new(), Instant::now());
    Some(Request { method, target, headers, body, at, processed: false })
}

async fn read_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, request: &mut Request) -> bool {
    let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    while buffer.len() < length {
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            return false;
        }
    }
    request.body = buffer.drain(..length).collect();
    request.at = Instant::now();
    true
}

/// Returns whether the connection can be used again.
async fn answer(stream: &mut TcpStream, reply: &Reply) -> bool {
    let mut text = format!("HTTP/1.1 {} -\r\n", reply.status);
    for (name, value) in &reply.headers {
        text += &format!("{name}: {value}\r\n");
    }
    if reply.fault == Fault::Endless {
        text += "transfer-encoding: chunked\r\n\r\n";
    } else {
        text += &format!("content-length: {}\r\n\r\n{}", reply.body.len(), reply.body);
    }
    match reply.fault {
        Fault::None => stream.write_all(text.as_bytes()).await.is_ok(),
        Fault::Hang => {
            // Until the client gives up.
            while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
            false
        }
        Fault::ResetBefore | Fault::Lost => false,
        Fault::Early => {
            let _ = stream.write_all(text.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            false
        }
        Fault::Raw => {
            let _ = stream.write_all(reply.body.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            false
        }
        Fault::ResetMid => {
            let _ = stream.write_all(&text.as_bytes()[..12]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            false
        }
        Fault::Drip(pause) => {
            for byte in text.bytes() {
                if stream.write_all(&[byte]).await.is_err() {
                    return false;
                }
                tokio::time::sleep(pause).await;
            }
            true
        }
        Fault::Endless => {
            let piece = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
            while stream.write_all(text.as_bytes()).await.is_ok() {
                text.clone_from(&piece);
            }
            false
        }
    }
}
