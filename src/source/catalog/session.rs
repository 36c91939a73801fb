//! The connection for ordinary SQL: tokio-postgres over the same sockets, TLS and settings.

use std::future::{Ready, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{FutureExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, SimpleQueryMessage, SimpleQueryRow};

use crate::source::conninfo::{self, Conninfo, Host, TargetSessionAttrs};
use crate::source::server_error::ServerError;
use crate::source::stream::{ANSWER_MAX, Attempt, Stream, answered, attempts, within};
use crate::source::{Error, connection};

/// How long the rows of a piece may take: a condition that hardly any row meets needs many.
const ROWS_MAX: Duration = Duration::from_mins(10);

/// A client and the driver that moves its bytes. There is no task: a query polls the driver.
pub(in crate::source) struct Session {
    client: Client,
    driver: tokio_postgres::Connection<Guarded, Guarded>,
}

impl Session {
    pub(super) async fn connect(conninfo: &Conninfo) -> Result<(Self, Host), Error> {
        let wanted = conninfo.target_session_attrs;
        if wanted != TargetSessionAttrs::PreferStandby {
            return Self::first(conninfo, wanted).await;
        }
        match Self::first(conninfo, TargetSessionAttrs::Standby).await {
            Ok(session) => Ok(session),
            Err(_) => Self::first(conninfo, TargetSessionAttrs::Any).await,
        }
    }

    async fn first(conninfo: &Conninfo, wanted: TargetSessionAttrs) -> Result<(Self, Host), Error> {
        let mut last = None;
        for host in &conninfo.hosts {
            match Self::at_host(conninfo, host).await {
                Ok(session) if session.fits(wanted) => return Ok((session, host.clone())),
                Ok(_) => last = Some(Error::SessionAttributes { host: host.to_string() }),
                Err(error @ (Error::Login { .. } | Error::Rights { .. })) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::Protocol { what: "no host to try" }))
    }

    async fn at_host(conninfo: &Conninfo, host: &Host) -> Result<Self, Error> {
        let mut last = None;
        for attempt in attempts(conninfo.tls.mode, host) {
            match Self::attempt(conninfo, host, *attempt).await {
                Err(error @ (Error::Login { .. } | Error::Tls { .. } | Error::Closed)) => {
                    last = Some(error);
                }
                done => return done,
            }
        }
        Err(last.unwrap_or(Error::Protocol { what: "no way to try" }))
    }

    async fn attempt(conninfo: &Conninfo, host: &Host, attempt: Attempt) -> Result<Self, Error> {
        let stream = Stream::open(conninfo, host, attempt).await?;
        let mut config = tokio_postgres::Config::new();
        config
            .user(&conninfo.user)
            .dbname(&conninfo.database)
            .application_name(&conninfo.application_name)
            .options(connection::options(conninfo))
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
            let mut session = Self { client, driver };
            let late = connection::late_settings(session.driver.parameter("server_version"));
            if let Some(statement) = late {
                session.batch("set up the session", statement).await?;
            }
            Ok(session)
        })
        .await
    }

    fn fits(&self, wanted: TargetSessionAttrs) -> bool {
        let parameter = |name: &str| {
            let value = self.driver.parameter(name)?;
            Some((name.to_owned(), value.to_owned()))
        };
        let names = ["in_hot_standby", "default_transaction_read_only"];
        connection::fits(&names.into_iter().filter_map(parameter).collect(), wanted)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) async fn query(
        &mut self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let Self { client, driver } = self;
        answered(ANSWER_MAX, drive(doing, driver, client.query(sql, parameters))).await
    }

    /// Runs one statement and returns its rows as the server prints them: by each type's output
    /// function, as in the stream (a cast to text prints some types in another way).
    pub(in crate::source) async fn print(
        &mut self,
        doing: &'static str,
        sql: &str,
    ) -> Result<Vec<Vec<Option<String>>>, Error> {
        let Self { client, driver } = self;
        let asking = drive(doing, driver, client.simple_query(sql));
        let answer = answered(ANSWER_MAX, asking).await?;
        let mut rows = Vec::new();
        for message in answer {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let value = |index| row.try_get(index).map(|value| value.map(str::to_owned));
            let values: Result<_, _> = (0..row.len()).map(value).collect();
            rows.push(values.map_err(|e| Error::sql(doing, e))?);
        }
        Ok(rows)
    }

    /// As [`Session::print`], a row at a time; for as long as one comes every so often.
    pub(in crate::source) async fn rows(
        &mut self,
        doing: &'static str,
        sql: &str,
        mut take: impl FnMut(&SimpleQueryRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Self { client, driver } = self;
        let mut taken = Ok(());
        let asking = async {
            let mut rows = pin!(client.simple_query_raw(sql).await?);
            while let Some(message) = rows.try_next().await? {
                if let SimpleQueryMessage::Row(row) = message
                    && taken.is_ok()
                {
                    taken = take(&row);
                }
            }
            Ok(())
        };
        answered(ROWS_MAX, drive(doing, driver, asking)).await?;
        taken
    }

    /// Has the server parse one statement.
    pub(in crate::source) async fn prepare(
        &mut self,
        doing: &'static str,
        sql: &str,
    ) -> Result<(), Error> {
        let Self { client, driver } = self;
        answered(ANSWER_MAX, drive(doing, driver, client.prepare(sql))).await.map(drop)
    }

    pub(in crate::source) async fn batch(
        &mut self,
        doing: &'static str,
        sql: &str,
    ) -> Result<(), Error> {
        let Self { client, driver } = self;
        drive(doing, driver, client.batch_execute(sql)).await
    }
}

/// Polls the driver for as long as the query runs.
///
/// A connection that was closed before the query never answers it: the query learns of that only
/// when the driver is dropped, which lives on here.
async fn drive<T>(
    doing: &'static str,
    driver: &mut tokio_postgres::Connection<Guarded, Guarded>,
    query: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Error> {
    let driving = async {
        loop {
            match poll_fn(|context| driver.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    connection::log_notice(&ServerError::of(&notice));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Error::sql(doing, error),
                None => return Error::Closed,
            }
        }
    };
    match select(pin!(query), pin!(driving)).await {
        Either::Left((answer, _)) => answer.map_err(|error| Error::sql(doing, error)),
        Either::Right((lost, query)) => match query.now_or_never() {
            Some(answer) => answer.map_err(|error| Error::sql(doing, error)),
            None => Err(lost),
        },
    }
}

fn refused(host: &Host, source: tokio_postgres::Error) -> Error {
    if let Some(error) = source.as_db_error() {
        let source = ServerError::of(error);
        return match source.is_login() {
            true => Error::Login { host: host.to_string(), source },
            false => Error::server("log in", source),
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
    Error::Sql { doing: "log in", source }
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
struct Guarded {
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
