//! [`Post`]: JSON documents to one address, for what is no sink and has to send all the same.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use super::client::{Ask, Client};
use super::{Auth, Error, Reach, path_and_query, url};
use crate::secret::Secret;
use crate::sink::{Common, Failure, Form};

/// See the module. Connections, the guard of private addresses and what an answer means are those
/// of sinks.
pub struct Post {
    client: Client,
    path: String,
    headers: HeaderMap,
}

impl Post {
    /// Makes one of the address `base`, which the setting `key` names, with `path` behind it and
    /// its user, if it has one, and with headers of the setting `headers`. Connects to nothing.
    ///
    /// # Errors
    /// No request can be made with the settings.
    pub fn new(
        (key, base): (&str, &Secret),
        path: &str,
        headers: &[(String, Secret)],
        reach: &Reach,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let mut to = url(key, base.expose())?;
        let whole = format!("{}{path}", to.path().trim_end_matches('/'));
        to.set_path(&whole);
        let path = path_and_query(&to).ok_or_else(|| Error::Long { key: key.to_owned() })?;
        let common = Common { timeout, concurrency: 1, max_events: 1, form: Form::Mapped };
        let client = Client::new(key, &to, user(&to).as_ref(), reach, &common)?;
        let hidden = headers.iter().flat_map(|(_, value)| {
            let value = value.expose();
            [value.to_owned(), value.rsplit(' ').next().unwrap_or_default().to_owned()]
        });
        Ok(Self { client: client.hiding(hidden), path: path.to_string(), headers: read(headers)? })
    }

    /// Returns host and port: what messages may show.
    #[must_use]
    pub fn host(&self) -> &str {
        self.client.host()
    }

    /// Sends a document and returns the first 2 KiB of what a 2xx says.
    ///
    /// Cancel safety: dropping it leaves it unknown whether the document has arrived.
    ///
    /// # Errors
    /// There is no answer, or none that is a 2xx.
    pub async fn send(&self, body: Bytes) -> Result<String, Failure> {
        let ask = Ask::new(Method::POST, self.path.clone()).json(body);
        let ask = ask.headers(self.headers.clone());
        let heard = self.client.ask(&ask, self.client.deadline()).await?;
        if !heard.status.is_success() {
            return Err(self.client.refusal(&heard));
        }
        Ok(self.client.text(&heard, &heard.body).unwrap_or_default())
    }
}

/// Shows where it sends to, and nothing that a URL or header may keep secret.
impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("to", &self.host()).finish_non_exhaustive()
    }
}

/// Returns the user of a URL, where it has one.
fn user(url: &Url) -> Option<Auth> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let plain = |text: &str| Secret::new(percent_decode_str(text).decode_utf8_lossy().into_owned());
    let password = plain(url.password().unwrap_or_default());
    Some(Auth::Basic { user: plain(url.username()), password })
}

fn read(headers: &[(String, Secret)]) -> Result<HeaderMap, Error> {
    let mut read = HeaderMap::new();
    for (name, value) in headers {
        let key = format!("headers.{name}");
        let Ok(known) = HeaderName::try_from(name) else { return Err(Error::HeaderName { key }) };
        let Ok(mut value) = HeaderValue::try_from(value.expose()) else {
            return Err(Error::HeaderValue { key });
        };
        value.set_sensitive(true);
        read.insert(known, value);
    }
    Ok(read)
}
