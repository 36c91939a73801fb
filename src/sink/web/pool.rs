//! [`Pool`]: the connections to one origin, kept open between requests.
//!
//! A connection has no task of its own: the request on it moves it. What the far side does to one
//! that nobody uses shows once it is taken again, before anything was sent on it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::body::Body;
use super::transport::{Broken, Stream, Way};
use crate::sink::span;

/// How long an idle connection is kept: less than the usual 60 s after which servers and
/// balancers close theirs, since a request on a connection that is being closed is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The connections to one origin. There are never more than requests at a time.
pub(in crate::sink) struct Pool {
    pub(in crate::sink) way: Way,
    /// The one that was used last stands last.
    idle: Mutex<VecDeque<Idle>>,
    idle_max: usize,
}

/// A connection that waits to be used again.
struct Idle {
    connection: Connection,
    since: Instant,
}

/// An open HTTP/1.1 connection.
pub(in crate::sink) struct Connection {
    sender: http1::SendRequest<Body>,
    /// None once the connection has ended.
    driver: Option<Box<http1::Connection<TokioIo<Stream>, Body>>>,
}

impl Pool {
    /// Makes an empty pool, for so many requests at a time.
    pub(in crate::sink) fn new(way: Way, concurrency: usize) -> Self {
        Self { way, idle: Mutex::default(), idle_max: concurrency.max(1) }
    }

    /// Sends a request and returns the head of its answer, with the connection that has the rest.
    ///
    /// It is sent again, on another connection, only if nothing of it was sent: because the far
    /// side had closed the connection meanwhile.
    pub(in crate::sink) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Connection), Broken> {
        span::tell(request.headers_mut());
        while let Some(mut connection) = self.take(Instant::now()) {
            match connection.send(request).await {
                Ok(response) => {
                    span::answered(response.status());
                    return Ok((response, connection));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Broken::Exchange(error.into_error())),
                },
            }
        }
        // Rare, and large: in a box of its own it does not weigh on every request.
        let mut connection = Box::pin(Connection::open(&self.way)).await?;
        match connection.send(request).await {
            Ok(response) => {
                span::answered(response.status());
                Ok((response, connection))
            }
            Err(error) => Err(Broken::Exchange(error.into_error())),
        }
    }

    /// Keeps a connection for the next request, if it can take one.
    pub(in crate::sink) async fn keep(&self, mut connection: Connection) {
        if !connection.sender.is_ready() {
            // The end of an answer may be left to be seen.
            poll_fn(|context| {
                drive(&mut connection.driver, context);
                Poll::Ready(())
            })
            .await;
        }
        if !connection.sender.is_ready() {
            return;
        }
        let now = Instant::now();
        let mut idle = self.idle();
        drop_old(&mut idle, now);
        if idle.len() < self.idle_max {
            idle.push_back(Idle { connection, since: now });
        }
    }

    /// Closes what has been idle for too long. Returns when to look again.
    pub(in crate::sink) fn tidy(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle();
        drop_old(&mut idle, now);
        idle.front().and_then(|oldest| oldest.since.checked_add(IDLE_TIMEOUT))
    }

    /// Takes the connection that was used last: the others may grow old.
    fn take(&self, now: Instant) -> Option<Connection> {
        let mut idle = self.idle();
        drop_old(&mut idle, now);
        idle.pop_back().map(|last| last.connection)
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        // A panic elsewhere leaves connections that are whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn drop_old(idle: &mut VecDeque<Idle>, now: Instant) {
    let is_old = |one: &Idle| now.saturating_duration_since(one.since) >= IDLE_TIMEOUT;
    while idle.front().is_some_and(is_old) {
        idle.pop_front();
    }
}

impl Connection {
    async fn open(way: &Way) -> Result<Self, Broken> {
        let stream = way.open().await?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(Broken::Exchange)?;
        Ok(Self { sender, driver: Some(Box::new(driver)) })
    }

    /// Sends a request. Dropping it breaks the connection.
    async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            drive(&mut self.driver, context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Returns the next piece of an answer's body; none at its end.
    pub(in crate::sink) async fn next(
        &mut self,
        body: &mut Incoming,
    ) -> Option<hyper::Result<Bytes>> {
        if body.is_end_stream() {
            return None;
        }
        loop {
            let frame = poll_fn(|context| {
                // What is there is taken first: only then is the connection asked for more.
                let there = Pin::new(&mut *body).poll_frame(context);
                if there.is_ready() {
                    return there;
                }
                drive(&mut self.driver, context);
                Pin::new(&mut *body).poll_frame(context)
            });
            match frame.await?.map(hyper::body::Frame::into_data) {
                Ok(Ok(piece)) => return Some(Ok(piece)),
                // Trailers say nothing here.
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Moves a connection on, and lets go of one that has ended: what it had not sent yet then comes
/// back to who asked for it.
fn drive(
    driver: &mut Option<Box<http1::Connection<TokioIo<Stream>, Body>>>,
    context: &mut Context<'_>,
) {
    if let Some(running) = driver
        && Pin::new(running).poll(context).is_ready()
    {
        *driver = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;
    use url::Url;

    use super::super::guard::Guard;
    use super::*;

    /// A pool with a connection that takes no request yet, as a new one is.
    async fn pool(listener: &TcpListener) -> (Pool, Connection) {
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let origin = Url::parse(&origin).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let way = Way::new("url", &origin, &Arc::new(tls), Duration::from_secs(5), Guard::Public)
            .unwrap();
        let pool = Pool::new(way, 1);
        let connection = Connection::open(&pool.way).await.unwrap();
        (pool, connection)
    }

    #[tokio::test]
    async fn an_idle_connection_is_kept_for_a_while_and_no_more_than_are_used() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (pool, connection) = pool(&listener).await;
        let other = Connection::open(&pool.way).await.unwrap();
        pool.keep(connection).await;
        pool.keep(other).await;
        assert_eq!(pool.idle().len(), 1);
        let end = pool.tidy(Instant::now()).unwrap();
        assert_eq!(pool.tidy(end - Duration::from_millis(1)), Some(end));
        assert_eq!(pool.tidy(end), None);
        assert!(pool.take(end).is_none());
    }
}
