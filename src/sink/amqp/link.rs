//! [`Link`]: the connection to the server, and the channels on it, one a request in flight.

use std::io;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::tcp::AsyncTcpStream;
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ConnectionStatus, ErrorKind, ExchangeKind};
use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use url::Url;

use super::dial::{self, Way};
use super::message::Writer;
use super::{Config, Error, outcome};
use crate::failure::{Category, chain};
use crate::sink::lasting::{Lasting, is_of_tls};
use crate::sink::{BoxFuture, Failure};

/// How long a connection may take; less where the whole request has less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often each side says that it is there, in seconds, unless the URL says: one that was not
/// heard of for twice as long counts as gone.
const HEARTBEAT_SECONDS: u16 = 10;

/// How often it is looked whether the server takes messages again.
const BLOCKED_LOOK: Duration = Duration::from_millis(100);

/// `200`: how AMQP says goodbye.
const GOODBYE: u16 = 200;

/// The connection and its channels.
pub(super) struct Link {
    way: Arc<Way>,
    uri: AMQPUri,
    /// Host and port, as messages name it.
    host: String,
    lasting: Lasting,
    open: tokio::sync::Mutex<Open>,
    shelf: Mutex<Shelf>,
}

/// What one request at a time changes.
#[derive(Default)]
struct Open {
    connection: Option<Connection>,
    /// Channels that were given up, until the server has said that it is done with them.
    closing: Vec<BoxFuture<'static, ()>>,
}

/// What requests come back to.
#[derive(Default)]
struct Shelf {
    idle: Vec<Channel>,
    /// Of which not everything was heard: what was sent on them may still be on its way.
    given_up: Vec<Channel>,
    status: Option<ConnectionStatus>,
}

/// A channel for one batch.
///
/// Invariant: after one that ended before all was heard, no other is handed out until the server
/// has closed it, or the connection is gone. So nothing of a batch that was given up is published
/// behind what comes later.
pub(super) struct Lease<'a> {
    link: &'a Link,
    channel: Channel,
    is_heard: bool,
    /// The largest frame that the server takes, in bytes.
    pub(super) frame_bytes_max: usize,
}

impl Lease<'_> {
    pub(super) const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// All that was published was confirmed, or will never be.
    pub(super) const fn heard(&mut self) {
        self.is_heard = true;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut shelf = self.link.shelf();
        if !self.is_heard {
            shelf.given_up.push(self.channel.clone());
        } else if self.channel.status().connected() {
            shelf.idle.push(self.channel.clone());
        }
    }
}

impl Link {
    pub(super) fn new(config: &Config, timeout: Duration) -> Result<Self, Error> {
        let mut uri: AMQPUri = config.url.expose().parse().map_err(|_| Error::Url)?;
        // An address in brackets is none to lapin.
        let url = Url::parse(config.url.expose()).map_err(|_| Error::Url)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Error::Url)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        uri.authority.host.clone_from(&bare);
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        ShortString::try_new(uri.vhost.as_str()).map_err(|_| Error::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        let port = uri.authority.port;
        let tls = match uri.scheme {
            AMQPScheme::AMQPS => {
                let settings = Arc::new(config.tls.client(true)?);
                let name = ServerName::try_from(bare.clone()).map_err(|_| Error::Host)?;
                Some((TlsConnector::from(settings), name))
            }
            AMQPScheme::AMQP => {
                let files = &config.tls;
                let given = [("ca", &files.ca), ("cert", &files.cert), ("key", &files.key)];
                if let Some((key, _)) = given.into_iter().find(|(_, path)| path.is_some()) {
                    return Err(Error::NoTls { key });
                }
                None
            }
        };
        let way = Way { host: bare, port, tls, limit: CONNECT_TIMEOUT.min(timeout) };
        Ok(Self {
            way: Arc::new(way),
            uri,
            host: format!("{host}:{port}"),
            lasting: Lasting::default(),
            open: tokio::sync::Mutex::default(),
            shelf: Mutex::default(),
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out a channel, connecting where need be, once the server takes messages.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, Failure> {
        self.channel().await.map_err(|error| self.refused(&error, true))
    }

    async fn channel(&self) -> lapin::Result<Lease<'_>> {
        let mut open = self.open.lock().await;
        self.settle(&mut open).await;
        let connection = match open.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        self.lasting.over();
        self.shelf().status = Some(connection.status().clone());
        let connection = open.connection.insert(connection);
        while connection.status().blocked() {
            sleep(BLOCKED_LOOK).await;
        }
        let frame_max = connection.configuration().frame_max();
        let frame_bytes_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
        let idle = self.shelf().idle.pop();
        let channel = match idle.filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => {
                let channel = connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                channel
            }
        };
        Ok(Lease { link: self, channel, is_heard: false, frame_bytes_max })
    }

    /// Waits until the server is done with what was given up, and forgets a connection that is
    /// gone. Cancel safety: what was waited for is waited for again.
    async fn settle(&self, open: &mut Open) {
        let given_up = take(&mut self.shelf().given_up);
        open.closing.extend(given_up.into_iter().map(close));
        while let Some(closing) = open.closing.last_mut() {
            let connection = open.connection.as_ref().filter(|open| open.status().connected());
            if connection.is_none() {
                break;
            }
            closing.await;
            open.closing.pop();
        }
        if !open.connection.as_ref().is_some_and(|open| open.status().connected()) {
            open.connection = None;
            open.closing.clear();
            self.shelf().idle.clear();
        }
    }

    async fn connect(&self) -> lapin::Result<Connection> {
        let way = Arc::clone(&self.way);
        let properties = ConnectionProperties::default()
            .with_connection_name("walgate".into())
            .with_client_property("product".into(), "walgate".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
        let dial = async move |_, _| Ok(AsyncTcpStream::Plain(way.open().await?));
        Connection::connector(self.uri.clone(), dial::runtime(), dial, properties).await
    }

    /// Looks whether the server lets walgate in and has the exchange, or the queue where there is
    /// just one. Makes neither.
    pub(super) async fn look(&self, writer: &Writer) -> Result<String, Failure> {
        let seen = async {
            let connection = self.connect().await?;
            let channel = connection.create_channel().await?;
            let exchange = writer.exchange.clone();
            let mut there = String::new();
            if !exchange.as_str().is_empty() {
                let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
                there = format!(", exchange {exchange} is there");
                let arguments = FieldTable::default();
                channel
                    .exchange_declare(exchange, ExchangeKind::Direct, options, arguments)
                    .await?;
            } else if let Some(queue) =
                writer.fixed_key().and_then(|key| ShortString::try_new(key).ok())
            {
                let options = QueueDeclareOptions { passive: true, ..Default::default() };
                let queue = channel.queue_declare(queue, options, FieldTable::default()).await?;
                let (name, waiting) = (queue.name().clone(), queue.message_count());
                there = format!(", queue {name} is there, {waiting} messages wait");
            }
            // Whoever looked has no more to say; that it went well is known.
            let _ = connection.close(GOODBYE, "seen".into()).await;
            Ok(there)
        };
        let there = seen.await.map_err(|error: lapin::Error| Failure {
            category: Category::Setup,
            ..self.refused(&error, true)
        })?;
        let how = if self.way.tls.is_some() { "TLS, certificate verified" } else { "without TLS" };
        let (host, vhost) = (&self.host, &self.uri.vhost);
        Ok(format!("{host} lets walgate into virtual host {vhost}, {how}{there}"))
    }

    /// Says why a batch was not taken.
    pub(super) fn failure(&self, error: &lapin::Error, writer: &Writer) -> Failure {
        self.refused(error, writer.fixed_key().is_some())
    }

    /// Says what an error means. The server's own words may name the routing key, so that only
    /// where it is fixed they are part of the message.
    fn refused(&self, error: &lapin::Error, is_fixed: bool) -> Failure {
        let host = &self.host;
        let transient = |words: &str| Failure::new(Category::Transient, format!("{host}: {words}"));
        match error.kind() {
            ErrorKind::ProtocolError(error) => {
                let (code, text) = (error.get_id(), error.get_message().to_string());
                let message = if is_fixed || code != ACCESS_REFUSED {
                    format!("{host} refused it with {code}: {text}")
                } else {
                    format!("{host} refused it with {code} ACCESS_REFUSED")
                };
                let failure = Failure::new(outcome::category(code), message);
                Failure { status: Some(code), answer: Some(text), ..failure }
            }
            ErrorKind::IOError(error) => self.broke(error),
            ErrorKind::MissingHeartbeatError => transient("the server is not heard of any more"),
            ErrorKind::ChannelsLimitReached => {
                let message = format!(
                    "{host} allows no more channels on a connection: lower the sink's concurrency"
                );
                Failure::new(Category::Setup, message)
            }
            ErrorKind::InvalidProtocolVersion(_) => {
                Failure::new(Category::Setup, format!("{host} does not speak AMQP 0-9-1"))
            }
            _ => transient("the connection broke"),
        }
    }

    fn broke(&self, error: &Arc<io::Error>) -> Failure {
        let category = if dial::is_of_names(error) || is_of_tls(error.as_ref()) {
            self.lasting.failed(Instant::now())
        } else {
            self.lasting.over();
            Category::Transient
        };
        Failure::new(category, format!("{}: the connection broke: {}", self.host, chain(error)))
    }

    /// Says that nothing came in time, and whether the server asked for time.
    pub(super) fn silent(&self, limit: Duration) -> Failure {
        let host = &self.host;
        if self.shelf().status.as_ref().is_some_and(ConnectionStatus::blocked) {
            let message = format!(
                "{host} takes no messages for now (connection.blocked): it is short of memory or \
                 disk"
            );
            return Failure::new(Category::Throttled, message);
        }
        Failure::new(Category::Transient, format!("{host}: no answer within {limit:?}"))
    }
}

/// `403`
const ACCESS_REFUSED: u16 = 403;

/// Closes a channel: done once the server says so, behind everything that was sent on it.
fn close(channel: Channel) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        // One that is closed already can't be closed.
        let _ = channel.close(GOODBYE, "given up".into()).await;
    })
}
