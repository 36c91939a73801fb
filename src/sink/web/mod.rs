//! HTTP/1.1 as a client: what all sinks that speak it share, whatever they say.
//!
//! `transport` connects, to where `guard` lets it, `pool` keeps the connections, `body` and `rest`
//! are what is sent and read on them, `auth` and `jwt` say who asks, `answer` and `limit` judge what
//! comes back. `client` is all of it for a sink that speaks to one origin, `post` for what is no sink.

pub(in crate::sink) mod answer;
pub(in crate::sink) mod auth;
pub(in crate::sink) mod body;
pub(in crate::sink) mod client;
mod error;
pub(in crate::sink) mod guard;
mod jwt;
mod limit;
pub(in crate::sink) mod pool;
mod post;
pub(in crate::sink) mod rest;
pub(in crate::sink) mod transport;

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use url::{Position, Url};

pub use self::auth::{Auth, Machine, OAuth2};
pub use self::error::Error;
pub use self::guard::PrivateAddress;
pub use self::jwt::{Jwt, PrivateKey};
pub use self::post::Post;
use super::tls;

/// Where requests may go, and how.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Whom to trust, and what to show.
    pub tls: tls::Files,
    /// Whether they may go to private addresses.
    pub allow_private: bool,
}

/// Reads a URL that the setting `key` holds.
///
/// # Errors
/// It is none that a request can be sent to.
pub(in crate::sink) fn url(key: &str, text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|source| Error::Url { key: key.to_owned(), source })?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Error::Scheme { key: key.to_owned() });
    }
    Ok(url)
}

/// Returns host and port: what messages may show of a URL.
pub(in crate::sink) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}

/// Returns what of a URL a request names. None where it is longer than one can.
pub(in crate::sink) fn path_and_query(url: &Url) -> Option<Uri> {
    let text = &url[Position::BeforePath..Position::AfterQuery];
    PathAndQuery::try_from(text).ok().map(Uri::from)
}

/// A smaller body is not worth compressing, in bytes: it fits into a packet or two.
pub(in crate::sink) const GZIP_BYTES_MIN: usize = 1024;

/// Compresses a body; the same one always comes to the same bytes.
///
/// # Errors
/// There is no memory for it.
pub(in crate::sink) fn gzip(body: &[u8]) -> io::Result<Bytes> {
    let room = Vec::with_capacity(body.len() / 4);
    let mut encoder = GzEncoder::new(room, Compression::fast());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}
