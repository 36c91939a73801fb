//! `[sink.NAME.redis]`: [`Config`], and [`Error`] for what of it can't be used.

use std::fmt;

use rustls::pki_types::ServerName;
use url::Url;

use crate::secret::Secret;
use crate::sink::{TemplateError, tls};

/// Where Redis listens unless the URL says otherwise.
const PORT: u16 = 6379;

/// `[sink.NAME.redis]`
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `redis://` or `rediss://`.
    pub url: Secret,
    /// The stream of an event, with places.
    pub stream: String,
    /// What an entry's id is.
    pub ids: Ids,
    /// About so many entries are kept of a stream; none: all.
    pub max_len: Option<u32>,
    /// So many replicas must have a batch; 0: none.
    pub wait_replicas: u32,
    /// Whom it trusts and what it shows.
    pub tls: tls::Files,
}

/// What an entry's id is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// Redis makes it: its clock.
    #[default]
    Auto,
    /// The event's place: its commit's LSN as a number, and its `seq`.
    Lsn,
}

/// Settings that can't be used. [`Error::key`] is the place below `[sink.NAME.redis]`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the address of a server.
    #[error("`url` must be redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], or rediss:// with TLS")]
    Url,
    /// A template that can't be read.
    #[error("`stream`")]
    Template(#[source] TemplateError),
    /// No key.
    #[error("`stream` is empty")]
    Stream,
    /// Certificates, but no TLS.
    #[error("`url` must begin with rediss:// where `{0}` is set")]
    Plain(&'static str),
    /// A certificate or key that can't be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.redis]`.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Url | Self::Plain(_) => "url",
            Self::Template(_) | Self::Stream => "stream",
            Self::Tls(error) => error.key(),
        }
    }
}

/// What a URL says.
pub(super) struct Address {
    /// Without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// The name that the certificate must have; none: without TLS.
    pub(super) tls: Option<ServerName<'static>>,
    pub(super) user: Option<Secret>,
    pub(super) password: Option<Secret>,
    pub(super) database: u32,
}

impl Address {
    /// Reads the URL.
    pub(super) fn read(config: &Config) -> Result<Self, Error> {
        let url: Url = config.url.expose().trim().parse().map_err(|_| Error::Url)?;
        let is_tls = match url.scheme() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(Error::Url),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Error::Url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls::Files { ca, cert, key } = &config.tls;
        let files = [("ca", ca), ("cert", cert), ("key", key)];
        if let (false, Some((key, _))) = (is_tls, files.iter().find(|(_, file)| file.is_some())) {
            return Err(Error::Plain(key));
        }
        let name = || ServerName::try_from(host.clone()).map_err(|_| Error::Url);
        let database = match url.path().trim_matches('/') {
            "" => 0,
            digits => digits.parse().map_err(|_| Error::Url)?,
        };
        let decoded = |text: &str| {
            let bytes = percent_encoding::percent_decode_str(text);
            Secret::new(bytes.decode_utf8_lossy().into_owned())
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Error::Url);
        }
        Ok(Self {
            tls: if is_tls { Some(name()?) } else { None },
            port: url.port().unwrap_or(PORT),
            user: Some(url.username()).filter(|user| !user.is_empty()).map(decoded),
            password: url.password().map(decoded),
            database,
            host,
        })
    }
}

/// Host and port, for messages.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address, Error> {
        Address::read(&Config { url: Secret::new(url.to_owned()), ..Config::default() })
    }

    #[track_caller]
    fn check(url: &str, shown: &str, user: &str, password: &str, database: u32, is_tls: bool) {
        let address = read(url).unwrap();
        let text = |secret: &Option<Secret>| {
            secret.as_ref().map_or(String::new(), |secret| secret.expose().to_owned())
        };
        assert_eq!(address.to_string(), shown);
        assert_eq!(
            (text(&address.user).as_str(), text(&address.password).as_str()),
            (user, password)
        );
        assert_eq!((address.database, address.tls.is_some()), (database, is_tls));
    }

    #[test]
    fn a_url_says_where_and_who() {
        check("redis://a", "a:6379", "", "", 0, false);
        check("redis://:p%40ss@a:1/2", "a:1", "", "p@ss", 2, false);
        check("rediss://u:p@redis.example", "redis.example:6379", "u", "p", 0, true);
        check("valkey://[::1]:7/", "[::1]:7", "", "", 0, false);
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for url in ["http://a", "a:6379", "redis://", "redis://a/x", "redis://a?x=1", "unix:///x"] {
            assert!(matches!(read(url), Err(Error::Url)), "{url}");
        }
        let tls = tls::Files { ca: Some("ca.pem".into()), ..tls::Files::default() };
        let plain = Config { url: Secret::new("redis://a".into()), tls, ..Config::default() };
        assert!(matches!(Address::read(&plain), Err(Error::Plain("ca"))));
    }
}
