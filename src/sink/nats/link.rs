//! The connection: one for all lanes, made anew by us alone.
//!
//! The client keeps what it was told to send until it is connected again, and then sends it. Of a
//! batch that was given up meanwhile that would be a part, beside the whole of it that comes again
//! over a newer connection: the earlier events behind the later ones. So a connection of it is
//! used once: as soon as it stands it is given nowhere to go to after it.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::{Context, ContextBuilder};
use async_nats::{Client, ConnectOptions, Event, ServerError, connection};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::settings::{Auth, Servers};
use super::{Config, Error, WINDOW, answer};
use crate::failure::Category;
use crate::sink::lasting::Lasting;
use crate::sink::{Common, Failure, tls};

/// How long a connection may take; less where the whole request has less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the server is asked whether it still is there; after two without an answer it is not.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// An address that nothing listens at.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// The way to the servers.
pub(super) struct Link {
    servers: Servers,
    tls: rustls::ClientConfig,
    /// Whether to insist on TLS.
    needs_tls: bool,
    timeout: Duration,
    /// How many may wait for an answer at a time.
    unanswered_max: usize,
    lasting: Lasting,
    current: Mutex<Option<Arc<Connection>>>,
}

/// A connection, from its beginning to its end.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) stream: Context,
    pub(super) trouble: watch::Receiver<Option<Trouble>>,
    /// A batch on it was given up: the next one gets another.
    is_spent: AtomicBool,
}

/// A connection while a batch is under way on it. Unless everything was heard it is used no more,
/// also where whoever waited for the batch has given up.
pub(super) struct Use {
    connection: Arc<Connection>,
    /// Whether it can be used again.
    pub(super) is_well: bool,
}

impl Use {
    pub(super) const fn new(connection: Arc<Connection>) -> Self {
        Self { connection, is_well: false }
    }
}

impl Deref for Use {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        if !self.is_well {
            self.connection.is_spent.store(true, Ordering::Release);
        }
    }
}

/// What the server or the connection says of itself.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// It is gone.
    Lost,
    /// The server lets walgate not do what it does.
    Forbidden,
}

impl Link {
    /// Checks where to connect to and as whom. Opens nothing.
    pub(super) fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let servers = Servers::read(config)?;
        let tls::Files { ca, cert, key } = &config.tls;
        let needs_tls = servers.tls || [ca, cert, key].into_iter().any(Option::is_some);
        Ok(Self {
            // The server may ask for TLS whatever the URL says.
            tls: config.tls.client(true)?,
            needs_tls,
            servers,
            timeout: common.timeout,
            unanswered_max: WINDOW.saturating_mul(common.concurrency.saturating_add(1)),
            lasting: Lasting::default(),
            current: Mutex::default(),
        })
    }

    /// Returns the hosts, for messages.
    pub(super) fn host(&self) -> &str {
        &self.servers.label
    }

    /// Returns the connection there is, or makes one.
    ///
    /// Cancel safety: nothing is sent; one that was being made is dropped.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, Failure> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| connection.stands()) {
            return Ok(Arc::clone(connection));
        }
        *current = None;
        let connection = Arc::new(self.connect().await?);
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let (told, trouble) = watch::channel(None);
        let options = self.options().await?.event_callback(move |event| {
            let told = told.clone();
            async move {
                if let Some(trouble) = Trouble::of(&event) {
                    told.send_if_modified(|known| {
                        let is_first = known.is_none();
                        known.get_or_insert(trouble);
                        is_first
                    });
                }
            }
        });
        let connected = options.connect(self.servers.addresses.clone()).await;
        let client = connected.map_err(|error| {
            answer::unconnected(&error, self.host(), &self.lasting, Instant::now())
        })?;
        self.lasting.over();
        client.set_server_pool(NOWHERE).await.map_err(|_| lost(self.host()))?;
        let stream = ContextBuilder::new()
            .timeout(self.timeout)
            .max_ack_inflight(self.unanswered_max)
            .build(client.clone());
        Ok(Connection { client, stream, trouble, is_spent: AtomicBool::new(false) })
    }

    async fn options(&self) -> Result<ConnectOptions, Failure> {
        let servers = self.servers.addresses.len();
        let options = ConnectOptions::new()
            .name("walgate")
            .tls_client_config(self.tls.clone())
            .require_tls(self.needs_tls)
            .connection_timeout(CONNECT_TIMEOUT.min(self.timeout))
            .request_timeout(Some(self.timeout))
            .ping_interval(PING_INTERVAL)
            .ignore_discovered_servers()
            // Each server once; and none again where it goes nowhere.
            .max_reconnects(servers)
            .reconnect_delay_callback(|_| Duration::ZERO);
        Ok(match &self.servers.auth {
            None => options,
            Some(Auth::Token(token)) => options.token(token.expose().to_owned()),
            Some(Auth::Password { user, password }) => {
                options.user_and_password(user.expose().to_owned(), password.expose().to_owned())
            }
            Some(Auth::NKey(seed)) => options.nkey(seed.expose().to_owned()),
            Some(Auth::Credentials(path)) => {
                options.credentials(&read(path.clone()).await?).map_err(|_| unreadable(path))?
            }
        })
    }
}

async fn read(path: PathBuf) -> Result<String, Failure> {
    tokio::fs::read_to_string(&path).await.map_err(|_| unreadable(&path))
}

fn unreadable(path: &std::path::Path) -> Failure {
    let message = format!("no JWT and seed can be read from {}", path.display());
    Failure::new(Category::Setup, message)
}

/// Says that the connection is gone.
pub(super) fn lost(host: &str) -> Failure {
    Failure::new(Category::Transient, format!("{host}: the connection broke"))
}

impl Connection {
    fn stands(&self) -> bool {
        let is_well = self.trouble.borrow().is_none() && !self.is_spent.load(Ordering::Acquire);
        is_well && self.client.connection_state() == connection::State::Connected
    }
}

impl Trouble {
    fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Disconnected | Event::Closed => Some(Self::Lost),
            // It names the subject, which may be made of values.
            Event::ServerError(ServerError::Other(text)) => {
                let is_right = text.to_ascii_lowercase().starts_with("permissions violation");
                is_right.then_some(Self::Forbidden)
            }
            Event::Connected
            | Event::LameDuckMode
            | Event::Draining
            | Event::SlowConsumer(_)
            | Event::ServerError(_)
            | Event::ClientError(_) => None,
        }
    }

    /// Says what it means.
    pub(super) fn failure(&self, host: &str) -> Failure {
        match self {
            Self::Lost => lost(host),
            Self::Forbidden => Failure::new(
                Category::Setup,
                format!("{host} does not let walgate publish to its subject, or hear the answer"),
            ),
        }
    }
}
