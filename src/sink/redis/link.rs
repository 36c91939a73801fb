//! Connections: each is used by one batch at a time, and closed with whatever was under way on it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value, parse_redis_value_async};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::answer;
use super::settings::Address;
use super::{Config, Error};
use crate::failure::Category;
use crate::sink::lasting::{Lasting, is_of_tls};
use crate::sink::{Common, Failure};

/// How long a connection may take; less where the whole request has less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Servers and balancers close connections that rest for longer.
const REST: Duration = Duration::from_secs(30);

/// After this long without a word the server's machine is asked whether it still is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// What Redis takes in one argument unless it is told otherwise (`proto-max-bulk-len`), in bytes.
const ARGUMENT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A server that does not read on may have said why: so long is waited for that.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The way to the server.
pub(super) struct Link {
    address: Address,
    host: String,
    tls: Option<TlsConnector>,
    timeout: Duration,
    lasting: Lasting,
    resting: Mutex<Vec<(Connection, Instant)>>,
    resting_max: usize,
}

/// An open connection.
pub(super) struct Connection {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    /// The largest argument that the server takes, in bytes.
    pub(super) argument_bytes_max: u64,
}

impl Link {
    /// Checks where to connect to and as whom. Opens nothing.
    pub(super) fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let address = Address::read(config)?;
        let tls = match &address.tls {
            Some(_) => Some(TlsConnector::from(Arc::new(config.tls.client(true)?))),
            None => None,
        };
        Ok(Self {
            host: address.to_string(),
            address,
            tls,
            timeout: common.timeout,
            lasting: Lasting::default(),
            resting: Mutex::default(),
            resting_max: common.concurrency,
        })
    }

    /// Returns host and port, for messages.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Returns a connection that rests, or opens one.
    pub(super) async fn take(&self) -> Result<Connection, Failure> {
        let now = Instant::now();
        let rested = {
            let mut resting = self.resting();
            resting.retain(|(_, since)| now.duration_since(*since) < REST);
            resting.pop()
        };
        match rested {
            Some((connection, _)) => Ok(connection),
            None => self.connect().await,
        }
    }

    /// Lets a connection rest on which everything was answered.
    pub(super) fn put(&self, connection: Connection) {
        let mut resting = self.resting();
        if resting.len() < self.resting_max {
            resting.push((connection, Instant::now()));
        }
    }

    /// Closes those that rest: one has shown that they may be dead.
    pub(super) fn close(&self) {
        self.resting().clear();
    }

    /// A panic elsewhere leaves a plain list.
    fn resting(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects and says who asks.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let limit = CONNECT_TIMEOUT.min(self.timeout);
        let opened = timeout(limit, async {
            let stream = self.open().await?;
            let argument_bytes_max = ARGUMENT_BYTES_MAX;
            let mut connection = Connection { stream, argument_bytes_max };
            self.greet(&mut connection).await?;
            Ok(connection)
        });
        let late = || {
            let message = format!("{}: can't connect within {limit:?}", self.host);
            Err(Failure::new(Category::Transient, message))
        };
        opened.await.unwrap_or_else(|_| late())
    }

    async fn open(&self) -> Result<Either<TcpStream, TlsStream<TcpStream>>, Failure> {
        let Address { host, port, .. } = &self.address;
        let addresses = lookup_host((host.as_str(), *port)).await.map_err(|error| {
            let message = format!("{}: the name can't be looked up: {error}", self.host);
            Failure::new(self.lasting.failed(Instant::now()), message)
        })?;
        let addresses: Vec<_> = addresses.collect();
        let tcp = TcpStream::connect(addresses.as_slice()).await.map_err(|error| {
            self.lasting.over();
            self.unconnected(Category::Transient, &error)
        })?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        let set = SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
        set.and_then(|()| tcp.set_nodelay(true))
            .map_err(|error| self.unconnected(Category::Transient, &error))?;
        let Some((tls, name)) = self.tls.as_ref().zip(self.address.tls.as_ref()) else {
            self.lasting.over();
            return Ok(Either::Left(tcp));
        };
        self.secure(tls, name, tcp).await.map(Either::Right)
    }

    async fn secure(
        &self,
        tls: &TlsConnector,
        name: &ServerName<'static>,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        match tls.connect(name.clone(), tcp).await {
            Ok(stream) => {
                self.lasting.over();
                Ok(stream)
            }
            Err(error) if is_of_tls(&error) => {
                Err(self.unconnected(self.lasting.failed(Instant::now()), &error))
            }
            Err(error) => Err(self.unconnected(Category::Transient, &error)),
        }
    }

    fn unconnected(&self, category: Category, error: &io::Error) -> Failure {
        Failure::new(category, format!("{}: can't connect: {error}", self.host))
    }

    /// Says who asks, chooses the database, and hears how large an argument may be.
    async fn greet(&self, connection: &mut Connection) -> Result<(), Failure> {
        let Address { user, password, database, .. } = &self.address;
        let mut commands = Vec::new();
        if let Some(password) = password {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = user {
                auth.arg(user.expose());
            }
            auth.arg(password.expose());
            commands.push(auth);
        }
        let mut select = redis::cmd("SELECT");
        select.arg(*database);
        commands.push(select);
        let must_hold = commands.len();
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg("proto-max-bulk-len");
        commands.push(ask);
        let answers =
            connection.ask(&commands).await.map_err(|broken| broken.failure(&self.host))?;
        for answer in answers.iter().take(must_hold) {
            if let Value::ServerError(error) = answer {
                return Err(unwelcome(answer::refused(error, &self.host), error));
            }
        }
        // Where that is not for everybody to ask, it is what it usually is.
        if let Some(Value::Array(pair)) = answers.last()
            && let Some(Value::BulkString(digits)) = pair.get(1)
            && let Some(bytes) = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok())
        {
            connection.argument_bytes_max = bytes;
        }
        Ok(())
    }
}

/// What refuses a greeting is the set-up, but for a server that is busy or not ready.
fn unwelcome(failure: Failure, error: &redis::ServerError) -> Failure {
    let is_full = error.details().is_some_and(|details| details.contains("max number of clients"));
    match failure.category {
        Category::Transient if error.code() == "ERR" && !is_full => {
            Failure { category: Category::Setup, ..failure }
        }
        Category::Rejected => Failure { category: Category::Setup, ..failure },
        _ => failure,
    }
}

/// A connection on which not everything was answered.
#[derive(Debug)]
pub(super) enum Broken {
    /// The server said why, and closed it.
    Told(redis::ServerError),
    /// It broke.
    Lost(String),
}

impl Broken {
    pub(super) fn failure(&self, host: &str) -> Failure {
        match self {
            Self::Told(error) => answer::refused(error, host),
            Self::Lost(why) => {
                Failure::new(Category::Transient, format!("{host}: the connection broke: {why}"))
            }
        }
    }
}

impl Connection {
    /// Sends commands and returns the answer to each.
    ///
    /// Cancel safety: none; the connection is to be closed then.
    pub(super) async fn ask(&mut self, commands: &[Cmd]) -> Result<Vec<Value>, Broken> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| command.write_packed_command(&mut bytes));
        let (mut read, mut write) = tokio::io::split(&mut self.stream);
        let mut answers = Vec::with_capacity(commands.len());
        let heard = {
            let hear = async {
                let mut decoder = Default::default();
                while answers.len() < commands.len() {
                    answers.push(parse_redis_value_async(&mut decoder, &mut read).await?);
                }
                Ok::<(), redis::RedisError>(())
            };
            let send = async {
                write.write_all(&bytes).await?;
                write.flush().await
            };
            tokio::pin!(hear);
            tokio::select! {
                heard = &mut hear => heard.map_err(|error| error.to_string()),
                sent = send => match sent {
                    Ok(()) => hear.await.map_err(|error| error.to_string()),
                    Err(error) => match timeout(LAST_WORDS, hear).await {
                        Ok(Ok(())) => Ok(()),
                        Ok(Err(_)) | Err(_) => Err(error.to_string()),
                    },
                },
            }
        };
        match (heard, answers.last()) {
            (Ok(()), _) => Ok(answers),
            (Err(_), Some(Value::ServerError(error))) => Err(Broken::Told(error.clone())),
            (Err(why), _) => Err(Broken::Lost(why)),
        }
    }
}
