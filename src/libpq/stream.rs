//! The socket under a connection: opening it, and TLS where it is asked for.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::Error;
use super::conninfo::{Conninfo, Host, SslMode};
use super::socket::{Gather, Socket};
use super::tls::{self, Connector};

/// An open connection to the server, before its first message.
pub(crate) struct Stream {
    socket: Transport,
    is_unix: bool,
    /// What SCRAM binds itself to.
    pub(crate) binding: Option<Vec<u8>>,
    /// The server's address, where one is enough to meet the same server again.
    pub(crate) peer: Option<IpAddr>,
}

enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// Whether one attempt at a host uses TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Plain,
    /// TLS; where the server has none, plain will do.
    TlsOrPlain,
    Tls,
}

/// Returns what to try at a host, in order. Unix sockets know no TLS, as in libpq.
pub(crate) fn attempts(mode: SslMode, host: &Host) -> &'static [Attempt] {
    match mode {
        _ if host.socket_path().is_some() => &[Attempt::Plain],
        SslMode::Disable => &[Attempt::Plain],
        SslMode::Allow => &[Attempt::Plain, Attempt::Tls],
        SslMode::Prefer => &[Attempt::TlsOrPlain, Attempt::Plain],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Attempt::Tls],
    }
}

impl Stream {
    /// Opens a connection to `host`.
    pub(crate) async fn open(
        conninfo: &Conninfo,
        host: &Host,
        attempt: Attempt,
    ) -> Result<Self, Error> {
        let limit = conninfo.connect_timeout;
        if let Some(path) = host.socket_path() {
            let opening =
                async { UnixStream::connect(path).await.map_err(|e| unreachable(host, e)) };
            let socket = Transport::Plain(Socket::unix(within(limit, host, opening).await?));
            return Ok(Self { socket, is_unix: true, binding: None, peer: None });
        }
        let socket = tcp(conninfo, host).await?;
        let peer = socket.peer_addr().ok().map(|peer| peer.ip()).filter(is_global);
        let socket = Socket::tcp(socket);
        let (socket, binding) = match attempt {
            Attempt::Plain => (Transport::Plain(socket), None),
            Attempt::TlsOrPlain | Attempt::Tls => {
                within(limit, host, encrypt(conninfo, host, attempt, socket)).await?
            }
        };
        Ok(Self { socket, is_unix: false, binding, peer })
    }

    /// Returns what lets its bytes gather.
    pub(crate) fn gather(&self) -> Gather {
        match &self.socket {
            Transport::Plain(socket) => socket.gather(),
            Transport::Tls(stream) => stream.get_ref().0.gather(),
        }
    }

    pub(crate) const fn is_tls(&self) -> bool {
        matches!(self.socket, Transport::Tls(_))
    }

    /// Nobody on a network can read along.
    pub(crate) const fn is_private(&self) -> bool {
        self.is_unix || self.is_tls()
    }
}

/// A link-local address means nothing without its interface.
fn is_global(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}

fn unreachable(host: &Host, source: io::Error) -> Error {
    Error::Connect { host: host.to_string(), source }
}

/// Bounds one step of getting in.
pub(crate) async fn within<T, E: From<Error>>(
    timeout: Option<Duration>,
    host: &Host,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match timeout {
        None => step.await,
        Some(timeout) => match tokio::time::timeout(timeout, step).await {
            Ok(result) => result,
            Err(_) => Err(unreachable(host, io::ErrorKind::TimedOut.into()).into()),
        },
    }
}

/// Tries every address that the name has.
async fn tcp(conninfo: &Conninfo, host: &Host) -> Result<TcpStream, Error> {
    let failed = |e| unreachable(host, e);
    let limit = conninfo.connect_timeout;
    let addresses: Vec<_> = match host.address {
        Some(address) => vec![(address, host.port).into()],
        None => {
            let name = (host.name.as_str(), host.port);
            let looking = async { tokio::net::lookup_host(name).await.map_err(failed) };
            within(limit, host, looking).await?.collect()
        }
    };
    let socket = connect_any(&addresses, limit).await.map_err(failed)?;
    tune(conninfo, &socket).map_err(failed)?;
    Ok(socket)
}

/// Connects to the first address that answers. Each is waited for as long as `limit`, so that one
/// that is silent keeps nobody from the next.
async fn connect_any(addresses: &[SocketAddr], limit: Option<Duration>) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        let connecting = TcpStream::connect(address);
        let connected = match limit {
            None => connecting.await,
            Some(limit) => match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            },
        };
        match connected {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn tune(conninfo: &Conninfo, socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    match &conninfo.keepalives {
        None => socket.set_keepalive(false)?,
        Some(keepalives) => {
            let mut settings = TcpKeepalive::new();
            if let Some(idle) = keepalives.idle {
                settings = settings.with_time(idle);
            }
            if let Some(interval) = keepalives.interval {
                settings = settings.with_interval(interval);
            }
            if let Some(count) = keepalives.count {
                settings = settings.with_retries(count);
            }
            socket.set_tcp_keepalive(&settings)?;
        }
    }
    socket.set_tcp_user_timeout(conninfo.tcp_user_timeout)
}

async fn encrypt(
    conninfo: &Conninfo,
    host: &Host,
    attempt: Attempt,
    mut socket: Socket,
) -> Result<(Transport, Option<Vec<u8>>), Error> {
    let failed = |source| Error::Tls { host: host.to_string(), source };
    let connector = Connector::load(&conninfo.tls).map_err(failed)?;
    if !conninfo.tls.direct {
        let mut request = BytesMut::new();
        postgres_protocol::message::frontend::ssl_request(&mut request);
        socket.write_all(&request).await.map_err(|e| unreachable(host, e))?;
        // One byte and no more, so that nothing slipped in before the handshake is taken for
        // what comes through it (CVE-2021-23222).
        match socket.read_u8().await.map_err(|e| unreachable(host, e))? {
            b'S' => {}
            b'N' if attempt == Attempt::TlsOrPlain => {
                return Ok((Transport::Plain(socket), None));
            }
            b'N' => return Err(failed(tls::Error::NotOffered)),
            _ => return Err(failed(tls::Error::Negotiation)),
        }
    }
    let address = host.address.map(|address| address.to_string()).unwrap_or_default();
    let name = if host.name.is_empty() { &address } else { &host.name };
    let (stream, binding) = connector.handshake(socket, name).await.map_err(failed)?;
    Ok((Transport::Tls(Box::new(stream)), binding))
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Transport::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Transport::Tls(socket) => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Transport::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Transport::Tls(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(context),
            Transport::Tls(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Transport::Tls(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    /// A name had two addresses, and the first took the whole time each time.
    #[tokio::test]
    async fn an_address_that_is_silent_keeps_nobody_from_the_next() {
        let full = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let silent = full.local_addr().unwrap().as_socket().unwrap();
        let limit = Duration::from_millis(200);
        // Once nobody takes them from its queue the next are not answered.
        let mut queue = Vec::new();
        while let Ok(socket) = std::net::TcpStream::connect_timeout(&silent, limit) {
            queue.push(socket);
        }
        let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = there.local_addr().unwrap();
        let socket = connect_any(&[silent, address], Some(limit)).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        let error = connect_any(&[silent], Some(limit)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
