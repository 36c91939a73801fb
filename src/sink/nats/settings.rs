//! `[sink.NAME.nats]`: [`Config`], and [`Error`] for what of it can't be used.

use std::path::PathBuf;

use async_nats::{ConnectOptions, ServerAddr};
use url::Url;

use crate::secret::Secret;
use crate::sink::{TemplateError, tls};

/// `[sink.NAME.nats]`
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `nats://` or `tls://` URLs, of one cluster.
    pub servers: Vec<Secret>,
    /// The subject of an event, with places.
    pub subject: String,
    /// The stream that must take it; none: whichever has the subject.
    pub stream: Option<String>,
    /// Stands before the event's id in `Nats-Msg-Id`.
    pub id_prefix: String,
    /// Who walgate says that it is; none: nobody, or whom the URL names.
    pub auth: Option<Auth>,
    /// Whom it trusts and what it shows.
    pub tls: tls::Files,
}

/// Who walgate says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A token.
    Token(Secret),
    /// A user and its password.
    Password {
        /// The user.
        user: Secret,
        /// Its password.
        password: Secret,
    },
    /// The seed of a user's key: `SU…`.
    NKey(Secret),
    /// A file with a user's JWT and seed, read at each connection.
    Credentials(PathBuf),
}

/// Settings that can't be used. [`Error::key`] is the place below `[sink.NAME.nats]`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None at all.
    #[error("`servers` names no server")]
    NoServer,
    /// Not the address of a server.
    #[error(
        "`servers` must be nats://HOST:PORT or tls://HOST:PORT, several of one cluster in a list"
    )]
    Server,
    /// The URL names somebody, and `token`, `user`, `nkey` or `credentials` somebody else.
    #[error("`servers` and the keys below both say who walgate is; drop one")]
    TwoCredentials,
    /// A template that can't be read.
    #[error("`subject`")]
    Template(#[source] TemplateError),
    /// No subject.
    #[error("`subject` {0}")]
    Subject(&'static str),
    /// Not a stream's name.
    #[error("`stream` is no stream's name: it has a space, `.`, `*` or `>`")]
    Stream,
    /// Not part of a header.
    #[error("`id_prefix` has a line end or a control character")]
    IdPrefix,
    /// No credentials in the file.
    #[error("`credentials`: no JWT and seed can be read from {path}", path = path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key that can't be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.nats]`.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::NoServer | Self::Server | Self::TwoCredentials => "servers",
            Self::Template(_) | Self::Subject(_) => "subject",
            Self::Stream => "stream",
            Self::IdPrefix => "id_prefix",
            Self::Credentials { .. } => "credentials",
            Self::Tls(error) => error.key(),
        }
    }
}

/// Where to connect to, without anything secret, and who the URLs say that walgate is.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) addresses: Vec<ServerAddr>,
    /// Host and port of each, for messages.
    pub(super) label: String,
    pub(super) auth: Option<Auth>,
    /// One of them wants TLS whatever the server says.
    pub(super) tls: bool,
}

impl Servers {
    /// Reads the URLs.
    pub(super) fn read(config: &Config) -> Result<Self, Error> {
        let (mut addresses, mut labels, mut auth) = (Vec::new(), Vec::new(), None);
        for text in &config.servers {
            let text = text.expose().trim();
            let text =
                if text.contains("://") { text.to_owned() } else { format!("nats://{text}") };
            let mut url: Url = text.parse().map_err(|_| Error::Server)?;
            if !matches!(url.scheme(), "nats" | "tls") || url.host_str().is_none_or(str::is_empty) {
                return Err(Error::Server);
            }
            auth = auth.or_else(|| of_url(&url));
            if url.set_username("").and_then(|()| url.set_password(None)).is_err() {
                return Err(Error::Server);
            }
            let host = url.host_str().unwrap_or_default();
            labels.push(format!("{host}:{}", url.port().unwrap_or(4222)));
            addresses.push(ServerAddr::from_url(url).map_err(|_| Error::Server)?);
        }
        if addresses.is_empty() {
            return Err(Error::NoServer);
        }
        let tls = addresses.iter().any(|address| address.scheme() == "tls");
        let auth = match (auth, config.auth.clone()) {
            (Some(_), Some(_)) => return Err(Error::TwoCredentials),
            (of_url, own) => own.or(of_url),
        };
        if let Some(Auth::Credentials(path)) = &auth {
            let wrong = |source| Error::Credentials { path: path.clone(), source };
            let text = std::fs::read_to_string(path).map_err(wrong)?;
            ConnectOptions::with_credentials(&text).map_err(wrong)?;
        }
        Ok(Self { addresses, label: labels.join(", "), auth, tls })
    }
}

/// Returns whom a URL names: a user with a password, or a token alone.
fn of_url(url: &Url) -> Option<Auth> {
    let decoded = |text: &str| {
        let bytes = percent_encoding::percent_decode_str(text);
        Secret::new(bytes.decode_utf8_lossy().into_owned())
    };
    match (url.username(), url.password()) {
        ("", None) => None,
        (user, Some(password)) => {
            Some(Auth::Password { user: decoded(user), password: decoded(password) })
        }
        (token, None) => Some(Auth::Token(decoded(token))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(servers: &[&str], auth: Option<Auth>) -> Result<Servers, Error> {
        let servers = servers.iter().map(|text| Secret::new((*text).to_owned())).collect();
        Servers::read(&Config { servers, auth, ..Config::default() })
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn servers_are_urls_and_what_is_secret_of_them_is_kept_apart() {
        let servers = read(&["nats://u:p%40@a:1", "tls://b", "c:3"], None).unwrap();
        assert_eq!(servers.label, "a:1, b:4222, c:3");
        assert!(servers.tls);
        let expected = Auth::Password { user: secret("u"), password: secret("p@") };
        assert_eq!(servers.auth, Some(expected));
        assert!(servers.addresses.iter().all(|address| !address.has_user_pass()));
        let token = read(&["nats://t0k3n@a"], None).unwrap().auth;
        assert_eq!(token, Some(Auth::Token(secret("t0k3n"))));
        assert_eq!(read(&["nats://a"], None).unwrap().auth, None);
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["http://a", "nats://", "ws://a", "nats://a:port"] {
            assert!(matches!(read(&[text], None), Err(Error::Server)), "{text}");
        }
        assert!(matches!(read(&[], None), Err(Error::NoServer)));
        let two = read(&["nats://u:p@a"], Some(Auth::Token(secret("t"))));
        assert!(matches!(two, Err(Error::TwoCredentials)));
        let none = read(&["a"], Some(Auth::Credentials("/nowhere/at.creds".into())));
        assert!(matches!(none, Err(Error::Credentials { .. })));
    }
}
