//! [`Connection`]: the replication connection, from the first byte to the copy stream.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html>.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Error;
use super::conninfo::{ChannelBinding, Conninfo, Host, TargetSessionAttrs};
use crate::libpq::stream::{Attempt, Stream, attempts, within};
use crate::libpq::{ServerError, fits, settings};
use crate::secret::Secret;

/// A message of the server may be one row; rows may be 1 GiB, and more is none of its messages.
pub(super) const MESSAGE_BYTES_MAX: usize = (1 << 30) + (1 << 20);

/// What makes a session read everything and wait for as long as it takes, beside what makes its
/// text canonical ([`settings::TEXT`]). The time-outs are of sessions that work, not of one that
/// waits for changes.
const SETTINGS: &[(&str, &str)] = &[
    // `reg*` types print their schema.
    ("search_path", "pg_catalog"),
    ("row_security", "off"),
    // PostgreSQL 18 says with a warning, and with nothing else, that it leaves out rows.
    ("client_min_messages", "notice"),
    // A heartbeat or a watermark is worth no standby's time.
    ("synchronous_commit", "local"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
];

/// From here on there is a setting that no older server takes: a transaction that is sent slowly is
/// open at the server for as long.
const TRANSACTION_TIMEOUT_SINCE: u32 = 17;

/// Returns what both connections still have to set at a server that reports this version.
pub(super) fn late_settings(version: Option<&str>) -> Option<&'static str> {
    let major = version?.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok()?;
    (major >= TRANSACTION_TIMEOUT_SINCE).then_some("SET transaction_timeout = 0")
}

/// Returns the `options` of both connections.
pub(super) fn options(conninfo: &Conninfo) -> String {
    settings::options(conninfo, SETTINGS.iter().copied())
}

/// How long a question may go without an answer: nobody else sees that the server fell silent.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Bounds the answer to a question.
pub(super) async fn answered<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let silent = Error::Silent { seconds: limit.as_secs() };
    tokio::time::timeout(limit, answer).await.unwrap_or(Err(silent))
}

/// One message of the server.
pub(super) struct Message {
    pub(super) tag: u8,
    pub(super) body: Bytes,
}

/// A connection in replication mode that is logged in and ready for a command.
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) buffer: BytesMut,
    pub(super) host: Host,
    /// What the server reports of itself.
    pub(super) parameters: BTreeMap<String, String>,
}

/// Rows as text.
pub(super) type Rows = Vec<Vec<Option<String>>>;

impl Connection {
    /// Connects to the first host that answers and is what is asked for.
    pub(super) async fn connect(conninfo: &Conninfo) -> Result<Self, Error> {
        let wanted = conninfo.target_session_attrs;
        if wanted != TargetSessionAttrs::PreferStandby {
            return Self::first(conninfo, wanted).await;
        }
        match Self::first(conninfo, TargetSessionAttrs::Standby).await {
            Ok(connection) => Ok(connection),
            Err(_) => Self::first(conninfo, TargetSessionAttrs::Any).await,
        }
    }

    async fn first(conninfo: &Conninfo, wanted: TargetSessionAttrs) -> Result<Self, Error> {
        let mut last = None;
        for host in &conninfo.hosts {
            match Box::pin(Self::at_host(conninfo, host)).await {
                Ok(connection) if connection.is(wanted) => return Ok(connection),
                Ok(_) => last = Some(Error::SessionAttributes { host: host.to_string() }),
                // As libpq: who is refused by one is not tried at the others.
                Err(error @ (Error::Login { .. } | Error::Rights { .. })) => return Err(error),
                Err(error) => {
                    if conninfo.hosts.len() > 1 {
                        tracing::debug!(%host, %error, "host does not do, trying the next");
                    }
                    last = Some(error);
                }
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
        // A name may have several addresses: whoever connects again shall meet the same server.
        let here = Host { address: stream.peer.or(host.address), ..host.clone() };
        let parameters = BTreeMap::new();
        let mut connection = Self { stream, buffer: BytesMut::new(), host: here, parameters };
        within(conninfo.connect_timeout, host, async {
            connection.startup(conninfo).await?;
            let version = connection.parameters.get("server_version").map(String::as_str);
            if let Some(statement) = late_settings(version) {
                connection.ask("set up the session", statement).await?;
            }
            Ok(connection)
        })
        .await
    }

    fn is(&self, wanted: TargetSessionAttrs) -> bool {
        fits(|name| self.parameters.get(name).is_some_and(|value| value == "on"), wanted)
    }

    async fn startup(&mut self, conninfo: &Conninfo) -> Result<(), Error> {
        let options = options(conninfo);
        let parameters = [
            ("user", conninfo.user.as_str()),
            ("database", conninfo.database.as_str()),
            ("replication", "database"),
            ("application_name", conninfo.application_name.as_str()),
            ("client_encoding", "UTF8"),
            ("options", options.as_str()),
        ];
        let mut out = BytesMut::new();
        frontend::startup_message(parameters, &mut out).map_err(Error::Io)?;
        self.send(&out).await?;
        let mut login = Login { scram: None, verified: false, bound: false };
        loop {
            let message = self.receive().await?;
            match message.tag {
                b'R' => login.step(self, conninfo, message.body).await?,
                b'Z' => return Ok(()),
                b'E' => {
                    let source = ServerError::read(&message.body);
                    let doing = "log in for replication";
                    return Err(if source.is_login() {
                        Error::Login { host: self.host.to_string(), source }
                    } else {
                        Error::server(doing, source)
                    });
                }
                // The key for cancelling: there is nothing to cancel.
                b'K' => {}
                // Protocol versions and options that the server does not know.
                b'v' => return Err(Error::Protocol { what: "protocol 3.0 is refused" }),
                _ => return Err(Error::Protocol { what: "an unexpected message at login" }),
            }
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).await.map_err(Error::Io)?;
        self.stream.flush().await.map_err(Error::Io)
    }

    /// Returns the next message; notices and reported parameters are dealt with.
    ///
    /// Cancel safety: what was read stays in the buffer.
    pub(super) async fn receive(&mut self) -> Result<Message, Error> {
        loop {
            while let Some(message) = take_message(&mut self.buffer)? {
                match message.tag {
                    b'N' => ServerError::read(&message.body).log_notice(),
                    b'S' => {
                        let mut parts = message.body.split(|byte| *byte == 0);
                        let mut text = || {
                            String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned()
                        };
                        let (name, value) = (text(), text());
                        self.parameters.insert(name, value);
                    }
                    _ => return Ok(message),
                }
            }
            self.buffer.reserve(8 << 10);
            if self.stream.read_buf(&mut self.buffer).await.map_err(Error::Io)? == 0 {
                return Err(Error::Closed);
            }
        }
    }

    /// Runs a command or a simple query; returns the rows of its first result.
    pub(super) async fn query(&mut self, doing: &'static str, text: &str) -> Result<Rows, Error> {
        answered(ANSWER_MAX, self.ask(doing, text)).await
    }

    /// As [`Connection::query`], for as long as the server takes.
    pub(super) async fn ask(&mut self, doing: &'static str, text: &str) -> Result<Rows, Error> {
        let mut out = BytesMut::new();
        frontend::query(text, &mut out).map_err(Error::Io)?;
        self.send(&out).await?;
        let (mut rows, mut failed) = (Rows::new(), None);
        loop {
            let message = self.receive().await?;
            match message.tag {
                b'D' => rows.push(row(message.body)?),
                b'E' => failed = Some(ServerError::read(&message.body)),
                b'Z' => break,
                b'T' | b'C' | b'I' => {}
                _ => return Err(Error::Protocol { what: "an unexpected message in an answer" }),
            }
        }
        failed.map_or(Ok(rows), |error| Err(Error::server(doing, error)))
    }

    /// Runs a command that ends in a copy stream in both directions.
    pub(super) async fn copy_both(&mut self, doing: &'static str, text: &str) -> Result<(), Error> {
        answered(ANSWER_MAX, self.ask_copy(doing, text)).await
    }

    async fn ask_copy(&mut self, doing: &'static str, text: &str) -> Result<(), Error> {
        let mut out = BytesMut::new();
        frontend::query(text, &mut out).map_err(Error::Io)?;
        self.send(&out).await?;
        let mut failed = None;
        loop {
            let message = self.receive().await?;
            match message.tag {
                b'W' => return Ok(()),
                b'E' => failed = Some(ServerError::read(&message.body)),
                b'Z' => break,
                b'C' => {}
                _ => return Err(Error::Protocol { what: "an unexpected message before the copy" }),
            }
        }
        let closed = Error::Protocol { what: "the copy stream did not start" };
        Err(failed.map_or(closed, |error| Error::server(doing, error)))
    }
}

/// Cuts one whole message off the front; none while it is not all there.
///
/// Wire: `Byte1(tag) Int32(length with itself) body`.
pub(super) fn take_message(buffer: &mut BytesMut) -> Result<Option<Message>, Error> {
    let Some(header) = buffer.first_chunk::<5>() else { return Ok(None) };
    let [tag, length @ ..] = *header;
    let length = message_length(length)?;
    if buffer.len() < length + 1 {
        return Ok(None);
    }
    let mut body = buffer.split_to(length + 1).freeze();
    body.advance(5);
    Ok(Some(Message { tag, body }))
}

/// Checks the length of a message, which counts itself.
pub(super) fn message_length(bytes: [u8; 4]) -> Result<usize, Error> {
    let length = usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX);
    if (4..=MESSAGE_BYTES_MAX).contains(&length) {
        Ok(length)
    } else {
        Err(Error::Protocol { what: "a message of an impossible length" })
    }
}

/// Wire: `Int16(columns)`, then a column: `Int32(length, -1 for NULL) Byten(value)`.
fn row(mut body: Bytes) -> Result<Vec<Option<String>>, Error> {
    let short = |_| Error::Protocol { what: "a row ends early" };
    let columns = body.try_get_i16().map_err(short)?;
    (0..columns)
        .map(|_| {
            let length = body.try_get_i32().map_err(short)?;
            let Ok(length) = usize::try_from(length) else { return Ok(None) };
            if body.len() < length {
                return Err(Error::Protocol { what: "a row ends early" });
            }
            Ok(Some(String::from_utf8_lossy(&body.split_to(length)).into_owned()))
        })
        .collect()
}

/// The exchange of proofs.
struct Login {
    scram: Option<ScramSha256>,
    /// The server proved that it knows the password too.
    verified: bool,
    bound: bool,
}

impl Login {
    /// Answers one authentication message.
    ///
    /// Wire: `Int32(kind) …`, see <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
    async fn step(
        &mut self,
        connection: &mut Connection,
        conninfo: &Conninfo,
        mut body: Bytes,
    ) -> Result<(), Error> {
        let host = connection.host.to_string();
        let short = |_| Error::Protocol { what: "an authentication message ends early" };
        let kind = body.try_get_i32().map_err(short)?;
        let must_bind = conninfo.channel_binding == ChannelBinding::Require;
        if must_bind && ![10, 11, 12].contains(&kind) && !(kind == 0 && self.bound) {
            return Err(Error::ChannelBinding { host });
        }
        let mut out = BytesMut::new();
        match kind {
            0 if self.scram.is_some() && !self.verified => {
                let source = std::io::Error::other("the server skipped its proof");
                return Err(Error::Scram { host, source });
            }
            0 => return Ok(()),
            3 => {
                let password = password(&connection.host)?;
                if !connection.stream.is_private() {
                    return Err(Error::Cleartext { host });
                }
                frontend::password_message(password.expose().as_bytes(), &mut out)
            }
            5 => {
                let early = Error::Protocol { what: "an authentication message ends early" };
                let salt = body.first_chunk::<4>().ok_or(early)?;
                let password = password(&connection.host)?.expose().as_bytes();
                let user = conninfo.user.as_bytes();
                let hash = postgres_protocol::authentication::md5_hash(user, password, *salt);
                frontend::password_message(hash.as_bytes(), &mut out)
            }
            10 => {
                let (name, scram) = self.begin(connection, conninfo, &body)?;
                let scram = self.scram.insert(scram);
                frontend::sasl_initial_response(name, scram.message(), &mut out)
            }
            11 | 12 => {
                let scram = self.scram.as_mut();
                let scram =
                    scram.ok_or(Error::Protocol { what: "SASL goes on without a start" })?;
                let failed = |source| Error::Scram { host, source };
                if kind == 12 {
                    scram.finish(&body).map_err(failed)?;
                    self.verified = true;
                    return Ok(());
                }
                scram.update(&body).map_err(failed)?;
                frontend::sasl_response(scram.message(), &mut out)
            }
            kind => {
                let method = match kind {
                    2 => "Kerberos V5".to_owned(),
                    7 | 8 => "GSSAPI".to_owned(),
                    9 => "SSPI".to_owned(),
                    kind => format!("number {kind}"),
                };
                return Err(Error::Authentication { host, method });
            }
        }
        .map_err(Error::Io)?;
        connection.send(&out).await
    }

    /// Chooses the mechanism, bound to the TLS channel where both sides can.
    fn begin(
        &mut self,
        connection: &Connection,
        conninfo: &Conninfo,
        body: &[u8],
    ) -> Result<(&'static str, ScramSha256), Error> {
        let host = connection.host.to_string();
        let offered: Vec<_> = body.split(|byte| *byte == 0).collect();
        let offers = |name: &str| offered.contains(&name.as_bytes());
        let wanted = conninfo.channel_binding;
        let binding = connection.stream.binding.clone();
        let (name, binding) = match binding.filter(|_| wanted != ChannelBinding::Disable) {
            Some(binding) if offers(sasl::SCRAM_SHA_256_PLUS) => {
                self.bound = true;
                let binding = sasl::ChannelBinding::tls_server_end_point(binding);
                (sasl::SCRAM_SHA_256_PLUS, binding)
            }
            _ if wanted == ChannelBinding::Require => return Err(Error::ChannelBinding { host }),
            // "We could and you did not offer": a server that did knows of a man in the middle.
            Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        };
        if !offers(name) {
            let method = "SASL without SCRAM-SHA-256".to_owned();
            return Err(Error::Authentication { host, method });
        }
        let password = password(&connection.host)?.expose().as_bytes();
        Ok((name, ScramSha256::new(password, binding)))
    }
}

fn password(host: &Host) -> Result<&Secret, Error> {
    host.password.as_ref().ok_or_else(|| Error::NoPassword { host: host.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_only_when_it_is_all_there() {
        let mut buffer = BytesMut::from(&b"Z\0\0\0\x05"[..]);
        assert!(take_message(&mut buffer).unwrap().is_none());
        buffer.extend_from_slice(b"IR");
        let message = take_message(&mut buffer).unwrap().unwrap();
        assert_eq!((message.tag, &*message.body), (b'Z', &b"I"[..]));
        assert_eq!(&*buffer, b"R");
        for bad in [&b"Z\0\0\0\x03"[..], b"Z\xff\xff\xff\xff"] {
            assert!(take_message(&mut BytesMut::from(bad)).is_err());
        }
    }

    #[test]
    fn our_settings_come_behind_the_users() {
        let environment = crate::libpq::conninfo::Environment::default();
        let text = "host=h user=u options='-c datestyle=German'";
        let conninfo = Conninfo::parse(text, &environment).unwrap();
        let options = options(&conninfo);
        assert!(options.starts_with("-c datestyle=German -c client_encoding=UTF8"), "{options}");
        assert!(options.contains(" -c datestyle=ISO,MDY "), "{options}");
    }
}
