//! Connections as lapin takes them: TCP, and TLS with the settings that all sinks share.

use std::error::Error as StdError;
use std::fmt;
use std::future::ready;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::{AsyncRead, AsyncWrite, Stream as Items};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tokio_util::either::Either;

/// A connection, with or without TLS.
pub(super) type Stream = Compat<Either<TcpStream, TlsStream<TcpStream>>>;

/// What lapin runs on: tokio, with connections of ours.
pub(super) type Kit = RuntimeParts<Tokio, Dialled>;

/// Returns the runtime that this is called on.
pub(super) fn runtime() -> Runtime<Kit> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Dialled(Tokio::current())))
}

/// The way to a server.
pub(super) struct Way {
    pub(super) host: String,
    pub(super) port: u16,
    /// For `amqps`: with the name that the certificate must have.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    /// How long a connection may take.
    pub(super) limit: Duration,
}

impl Way {
    /// Looks the name up and connects.
    pub(super) async fn open(&self) -> io::Result<Stream> {
        tokio::time::timeout(self.limit, self.connect()).await.unwrap_or_else(|_| {
            let message = format!("no connection within {:?}", self.limit);
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }

    async fn connect(&self) -> io::Result<Stream> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<SocketAddr> =
            found.map_err(|error| io::Error::other(NameFailure(error)))?.collect();
        let stream = TcpStream::connect(found.as_slice()).await?;
        stream.set_nodelay(true)?;
        let stream = match &self.tls {
            Some((tls, name)) => Either::Right(tls.connect(name.clone(), stream).await?),
            None => Either::Left(stream),
        };
        Ok(stream.compat())
    }
}

/// A name that has no address.
#[derive(Debug)]
struct NameFailure(io::Error);

impl fmt::Display for NameFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name can't be looked up: {}", self.0)
    }
}

impl StdError for NameFailure {}

/// Whether an error is that of a name.
pub(super) fn is_of_names(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<NameFailure>)
}

/// Tokio's timers, and the type of our connections. Lapin is given these and opens none itself.
#[derive(Clone, Debug)]
pub(super) struct Dialled(Tokio);

impl Reactor for Dialled {
    type TcpStream = Stream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Stream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Items<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _address: SocketAddr,
    ) -> impl Future<Output = io::Result<Stream>> + Send + 'static {
        ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
