//! [`Session`]: a connection for ordinary SQL, tokio-postgres over our sockets and TLS.

use std::future::{Ready, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, Client};

use super::conninfo::{self, Conninfo, Host, TargetSessionAttrs};
use super::stream::{Attempt, Stream, attempts, within};
use super::{Error, ServerError};

/// What moves a session's bytes. There is no task: a query polls it.
pub(crate) type Driver = tokio_postgres::Connection<Guarded, Guarded>;

/// A client and its driver. Dropping it closes the socket at once, whatever is under way.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) driver: Driver,
}

impl Session {
    /// Connects to the first host that answers and is what is asked for. `options` are those of
    /// [`settings::options`](super::settings::options).
    pub(crate) async fn connect(conninfo: &Conninfo, options: &str) -> Result<(Self, Host), Error> {
        let wanted = conninfo.target_session_attrs;
        if wanted != TargetSessionAttrs::PreferStandby {
            return Self::first(conninfo, options, wanted).await;
        }
        match Self::first(conninfo, options, TargetSessionAttrs::Standby).await {
            Ok(session) => Ok(session),
            Err(_) => Self::first(conninfo, options, TargetSessionAttrs::Any).await,
        }
    }

    async fn first(
        conninfo: &Conninfo,
        options: &str,
        wanted: TargetSessionAttrs,
    ) -> Result<(Self, Host), Error> {
        let mut last = None;
        for host in &conninfo.hosts {
            match Box::pin(Self::at_host(conninfo, options, host)).await {
                Ok(session) if session.is(wanted) => return Ok((session, host.clone())),
                Ok(_) => last = Some(Error::SessionAttributes { host: host.to_string() }),
                // As libpq: who is refused by one is not tried at the others.
                Err(error @ Error::Login { .. }) => return Err(error),
                Err(Error::Refused { host, source }) if source.is_rights() => {
                    return Err(Error::Refused { host, source });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::NoHost))
    }

    async fn at_host(conninfo: &Conninfo, options: &str, host: &Host) -> Result<Self, Error> {
        let mut last = None;
        for attempt in attempts(conninfo.tls.mode, host) {
            match Self::attempt(conninfo, options, host, *attempt).await {
                Err(error @ (Error::Login { .. } | Error::Tls { .. } | Error::Closed)) => {
                    last = Some(error);
                }
                done => return done,
            }
        }
        Err(last.unwrap_or(Error::NoHost))
    }

    async fn attempt(
        conninfo: &Conninfo,
        options: &str,
        host: &Host,
        attempt: Attempt,
    ) -> Result<Self, Error> {
        let stream = Stream::open(conninfo, host, attempt).await?;
        let mut config = tokio_postgres::Config::new();
        config
            .user(&conninfo.user)
            .dbname(&conninfo.database)
            .application_name(&conninfo.application_name)
            .options(options)
            // The handshake is done: "direct" keeps tokio-postgres from asking for another.
            .ssl_negotiation(tokio_postgres::config::SslNegotiation::Direct)
            .ssl_mode(match stream.is_tls() {
                true => tokio_postgres::config::SslMode::Require,
                false => tokio_postgres::config::SslMode::Disable,
            })
            .channel_binding(match conninfo.channel_binding {
                conninfo::ChannelBinding::Disable => {
                    tokio_postgres::config::ChannelBinding::Disable
                }
                conninfo::ChannelBinding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
                conninfo::ChannelBinding::Require => {
                    tokio_postgres::config::ChannelBinding::Require
                }
            });
        if let Some(password) = &host.password {
            config.password(password.expose());
        }
        let limits = Limits {
            no_password: host.password.is_none(),
            no_cleartext: !stream.is_private(),
            must_bind: conninfo.channel_binding == conninfo::ChannelBinding::Require,
        };
        let guarded = Guarded { stream, seen: Some(Vec::new()), limits };
        within(conninfo.connect_timeout, host, async {
            let connected = config.connect_raw(guarded, Established).await;
            let (client, driver) = connected.map_err(|source| refused(host, source))?;
            Ok(Self { client, driver })
        })
        .await
    }

    fn is(&self, wanted: TargetSessionAttrs) -> bool {
        fits(|name| self.driver.parameter(name) == Some("on"), wanted)
    }
}

/// Whether a server is what is wanted; `is_on` tells of a parameter that it reports. Since 14 it
/// reports both by itself.
pub(crate) fn fits(is_on: impl Fn(&str) -> bool, wanted: TargetSessionAttrs) -> bool {
    let (standby, read_only) = (is_on("in_hot_standby"), is_on("default_transaction_read_only"));
    match wanted {
        TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby => true,
        TargetSessionAttrs::ReadWrite => !standby && !read_only,
        TargetSessionAttrs::ReadOnly => standby || read_only,
        TargetSessionAttrs::Primary => !standby,
        TargetSessionAttrs::Standby => standby,
    }
}

/// Why a question got no answer.
#[derive(Debug)]
pub(crate) enum Broken {
    /// An error of the server, or of the connection.
    Sql(tokio_postgres::Error),
    /// The connection was closed.
    Closed,
}

/// Polls the driver for as long as what asks runs. Notices are logged.
///
/// A connection that was closed before the query never answers it: the query learns of that only
/// when the driver is dropped, which lives on here.
///
/// Cancel safety: what was asked may still be done.
pub(crate) async fn drive<T, E: From<Broken>>(
    driver: &mut Driver,
    asking: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let driving = async {
        loop {
            match poll_fn(|context| driver.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notice(notice))) => ServerError::of(&notice).log_notice(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Broken::Sql(error),
                None => return Broken::Closed,
            }
        }
    };
    // Boxed, so that whoever asks is no larger by what is asked.
    match select(Box::pin(asking), pin!(driving)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((lost, asking)) => match asking.now_or_never() {
            Some(answer) => answer,
            None => Err(lost.into()),
        },
    }
}

fn refused(host: &Host, source: tokio_postgres::Error) -> Error {
    if let Some(error) = source.as_db_error() {
        let (host, source) = (host.to_string(), ServerError::of(error));
        return match source.is_login() {
            true => Error::Login { host, source },
            false => Error::Refused { host, source },
        };
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(refusal) = inner.and_then(|inner| inner.downcast_ref::<Refusal>()) {
            let host = host.to_string();
            return match refusal {
                Refusal::NoPassword => Error::NoPassword { host },
                Refusal::Cleartext => Error::Cleartext { host },
                Refusal::NotBound => Error::ChannelBinding { host },
            };
        }
        cause = error.source();
    }
    Error::Sql(source)
}

/// What tokio-postgres would go along with, or give no telling error for.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no password is given")]
    NoPassword,
    #[error("a password in clear text without TLS")]
    Cleartext,
    #[error("the server does not bind")]
    NotBound,
}

/// What the server may not ask for.
struct Limits {
    no_password: bool,
    no_cleartext: bool,
    must_bind: bool,
}

/// The socket, watched for the server's first message: what it asks for to let us in.
pub(crate) struct Guarded {
    stream: Stream,
    /// The first bytes of the server; none once they were judged.
    seen: Option<Vec<u8>>,
    limits: Limits,
}

/// Wire: `Byte1('R') Int32(length) Int32(kind)`.
const REQUEST_BYTES: usize = 9;

impl Guarded {
    fn watch(&mut self, fresh: &[u8]) -> Result<(), Refusal> {
        let Some(seen) = &mut self.seen else { return Ok(()) };
        seen.extend(fresh.iter().take(REQUEST_BYTES.saturating_sub(seen.len())));
        let [b'R', .., kind] = seen.as_slice() else { return Ok(()) };
        if seen.len() < REQUEST_BYTES {
            return Ok(());
        }
        let kind = *kind;
        self.seen = None;
        let bound = self.stream.binding.is_some();
        match kind {
            // In without proof, in clear text, md5: nothing binds these.
            0 | 3 | 5 if self.limits.must_bind => Err(Refusal::NotBound),
            10 if self.limits.must_bind && !bound => Err(Refusal::NotBound),
            3 | 5 | 10 if self.limits.no_password => Err(Refusal::NoPassword),
            3 if self.limits.no_cleartext => Err(Refusal::Cleartext),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                let fresh = buffer.filled().get(before..).unwrap_or_default();
                Poll::Ready(self.watch(fresh).map_err(io::Error::other))
            }
            other => other,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl TlsStream for Guarded {
    fn channel_binding(&self) -> ChannelBinding {
        let binding = self.stream.binding.clone();
        binding.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// TLS that is there already.
struct Established;

impl TlsConnect<Guarded> for Established {
    type Stream = Guarded;
    type Error = io::Error;
    type Future = Ready<io::Result<Guarded>>;

    fn connect(self, stream: Guarded) -> Self::Future {
        ready(Ok(stream))
    }
}
