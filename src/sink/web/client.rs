//! [`Client`]: requests to one origin, by whoever walgate says that it is.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, StatusCode, Uri};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::answer::{self, Asked};
use super::auth::{self, Auth, Tokens};
use super::body::Body;
use super::guard::Guard;
use super::pool::Pool;
use super::rest::{self, ANSWER_BYTES_KEPT, Need};
use super::transport::{self, Broken, Lasting, Way};
use super::{Error, Reach, authority};
use crate::failure::Category;
use crate::secret::Secret;
use crate::sink::{Common, Failure};

/// So much of an answer is read, in bytes: what says something of each event of a batch.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A shorter value is no credential, and hiding it would hide the answer.
const HIDDEN_BYTES_MIN: usize = 8;

/// A request before it is known on which connection and with which token it goes.
pub(in crate::sink) struct Ask {
    method: Method,
    /// Path and query.
    path: String,
    /// Beside those that the client sets itself.
    headers: HeaderMap,
    body: Bytes,
}

impl Ask {
    /// One with nothing but a path and a query.
    pub(in crate::sink) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// With a body.
    pub(in crate::sink) fn with(mut self, kind: &'static str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        self
    }

    /// With a JSON document.
    pub(in crate::sink) fn json(self, body: impl Into<Bytes>) -> Self {
        self.with("application/json", body)
    }

    /// With another header.
    pub(in crate::sink) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// With other headers, made for this request.
    pub(in crate::sink) fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }
}

/// What was answered.
pub(in crate::sink) struct Heard {
    pub(in crate::sink) status: StatusCode,
    pub(in crate::sink) headers: HeaderMap,
    pub(in crate::sink) body: Vec<u8>,
    pub(in crate::sink) asked: Asked,
    /// Host and port that it is from.
    pub(in crate::sink) host: String,
    token: Option<HeaderValue>,
}

/// An origin.
struct Place {
    /// Scheme, host and port.
    origin: String,
    pool: Pool,
    /// Host and port: what messages may show.
    host: String,
    header: HeaderValue,
    lasting: Lasting,
}

/// What a place is reached with.
struct Means {
    /// The setting that names the origin.
    key: String,
    tls: Arc<rustls::ClientConfig>,
    guard: Guard,
    timeout: Duration,
    concurrency: usize,
}

/// See the module.
pub(in crate::sink) struct Client {
    means: Means,
    home: Arc<Place>,
    /// Where the server that issues tokens says that they are good for, if elsewhere.
    away: Mutex<Option<Arc<Place>>>,
    headers: HeaderMap,
    tokens: Option<Tokens>,
    /// What must not show, should the far side echo it.
    hidden: Vec<Secret>,
}

impl Client {
    /// Makes a client of the origin of `url`, which the setting `key` names. Connects to nothing.
    ///
    /// # Errors
    /// No request can be made with the settings.
    pub(in crate::sink) fn new(
        key: &str,
        url: &Url,
        auth: Option<&Auth>,
        reach: &Reach,
        common: &Common,
    ) -> Result<Self, Error> {
        let means = Means {
            key: key.to_owned(),
            tls: transport::tls(&reach.tls, url.scheme() == "https")?,
            guard: Guard::new(reach.allow_private),
            timeout: common.timeout,
            concurrency: common.concurrency,
        };
        let hidden: Vec<Secret> = auth::hidden(auth)
            .into_iter()
            .filter(|text| text.len() >= HIDDEN_BYTES_MIN)
            .map(Secret::new)
            .collect();
        let mut headers = HeaderMap::new();
        let agent = concat!("walgate/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(value) = auth::fixed(auth)? {
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self {
            home: Arc::new(means.place(url)?),
            away: Mutex::default(),
            headers,
            tokens: Tokens::new(auth, reach, common.timeout, &hidden)?,
            hidden,
            means,
        })
    }

    /// As it is, and these must not show either, should the far side echo them.
    pub(in crate::sink) fn hiding(mut self, texts: impl Iterator<Item = String>) -> Self {
        let texts = texts.filter(|text| text.len() >= HIDDEN_BYTES_MIN);
        self.hidden.extend(texts.map(Secret::new));
        self
    }

    /// Returns scheme, host and port of where it was made for.
    pub(in crate::sink) fn origin(&self) -> &str {
        &self.home.origin
    }

    /// Returns host and port of where it was made for: what messages may show.
    pub(in crate::sink) fn host(&self) -> &str {
        &self.home.host
    }

    /// Until when a batch is to be answered: a moment before whoever asked gives up, so that what
    /// was done of it is known.
    pub(in crate::sink) fn deadline(&self) -> Instant {
        let margin = (self.means.timeout / 10).min(Duration::from_secs(1));
        Instant::now() + self.means.timeout.saturating_sub(margin)
    }

    /// Sends a request and reads its whole answer, whatever its status. A 401 to a token that a
    /// server issued is answered with a new one, once.
    ///
    /// # Errors
    /// There is no answer, or not all of it, or no token.
    pub(in crate::sink) async fn ask(
        &self,
        ask: &Ask,
        deadline: Instant,
    ) -> Result<Heard, Failure> {
        let mut refused = None;
        loop {
            let token = match &self.tokens {
                Some(tokens) => Some(tokens.token(refused.as_ref(), deadline).await?),
                None => None,
            };
            let place = self.place().await?;
            let heard = self.once(ask, &place, token, deadline).await?;
            let is_over = heard.status == StatusCode::UNAUTHORIZED && refused.is_none();
            match heard.token {
                Some(token) if is_over => refused = Some(token),
                _ => return Ok(heard),
            }
        }
    }

    /// Returns where requests go with the token at hand.
    async fn place(&self) -> Result<Arc<Place>, Failure> {
        let Some(tokens) = &self.tokens else { return Ok(Arc::clone(&self.home)) };
        let Some(instance) = tokens.instance().await else { return Ok(Arc::clone(&self.home)) };
        let told = |why: &str| {
            let said = format!("{} names an instance {why}", self.home.host);
            Failure::new(Category::Setup, said)
        };
        let url = super::url("instance_url", &instance).map_err(|_| told("that is no URL"))?;
        let origin = origin(&url);
        if origin == self.home.origin {
            return Ok(Arc::clone(&self.home));
        }
        if url.scheme() != "https" && self.home.origin.starts_with("https:") {
            return Err(told("without TLS"));
        }
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = away.as_ref().filter(|place| place.origin == origin) {
            return Ok(Arc::clone(place));
        }
        let place = self.means.place(&url).map_err(|_| told("where no request may go"))?;
        let place = Arc::new(place);
        *away = Some(Arc::clone(&place));
        Ok(place)
    }

    async fn once(
        &self,
        ask: &Ask,
        place: &Place,
        token: Option<HeaderValue>,
        deadline: Instant,
    ) -> Result<Heard, Failure> {
        let long = || Failure::new(Category::Rejected, format!("{}: too long a path", place.host));
        let uri = PathAndQuery::try_from(ask.path.as_str()).map_err(|_| long())?;
        let (body, sent) = Body::new(ask.body.clone());
        let mut request = Request::new(body);
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = Uri::from(uri);
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(HOST, place.header.clone());
        headers.extend(ask.headers.clone());
        headers.extend(token.clone().map(|token| (AUTHORIZATION, token)));
        let broke = |broken: &Broken| transport::failure(broken, &place.host, &place.lasting);
        let answered = timeout_at(deadline, place.pool.send(request)).await;
        let (mut response, connection) = match answered {
            Ok(Ok(answered)) => answered,
            Ok(Err(broken)) => return Err(broke(&broken)),
            Err(_) => return Err(broke(&Broken::Silent)),
        };
        place.lasting.over();
        let headers = std::mem::take(response.headers_mut());
        let (status, asked) = (response.status(), Asked::read(&headers, SystemTime::now()));
        let need = Need { bytes: ANSWER_BYTES_MAX, until: deadline };
        let rest = rest::read(response, connection, &place.pool, need).await;
        if let Some(error) = rest.broken {
            return Err(broke(&Broken::Exchange(error)));
        }
        if status.is_success() && !sent.is_whole() {
            return Err(answer::early(status, &place.host));
        }
        if status.is_success() && !rest.is_whole {
            return Err(broke(&Broken::Silent));
        }
        let host = place.host.clone();
        Ok(Heard { status, headers, body: rest.kept, asked, host, token })
    }

    /// Returns what an answer that is not a 2xx says, as the contract sorts it.
    pub(in crate::sink) fn refusal(&self, heard: &Heard) -> Failure {
        let text = self.text(heard, &heard.body);
        answer::refusal(heard.status, heard.asked, false, &heard.host, text)
    }

    /// Returns what an answer says that can't be made sense of.
    pub(in crate::sink) fn nonsense(&self, heard: &Heard, why: &str) -> Failure {
        let text = self.text(heard, &heard.body);
        answer::no(heard.status, Category::Transient, why, heard.asked, &heard.host, text)
    }

    /// Makes text of (a part of) an answer, for a dead letter.
    pub(in crate::sink) fn text(&self, heard: &Heard, part: &[u8]) -> Option<String> {
        let text = answer::text(part.get(..ANSWER_BYTES_KEPT).unwrap_or(part), &self.hidden)?;
        let token = heard.token.as_ref().and_then(|token| token.to_str().ok());
        Some(match token.and_then(|token| token.strip_prefix("Bearer ")) {
            Some(token) => text.replace(token, "***"),
            None => text,
        })
    }

    /// Lets go of connections that nobody used for long. Returns when to ask again.
    pub(in crate::sink) fn tidy(&self) -> Option<Instant> {
        let now = Instant::now();
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let places = [Some(Arc::clone(&self.home)), away];
        places.into_iter().flatten().filter_map(|place| place.pool.tidy(now)).min()
    }

    /// Connects, and asks for a token where there are some. Returns what was seen.
    ///
    /// # Errors
    /// What stands in the way.
    pub(in crate::sink) async fn check(&self, deadline: Instant) -> Result<String, Failure> {
        let mut seen = transport::connect(&self.home.pool.way, &self.home.host).await?;
        if let Some(tokens) = &self.tokens {
            seen.push_str("; ");
            seen.push_str(&tokens.check(deadline).await?);
        }
        Ok(seen)
    }
}

impl Means {
    fn place(&self, url: &Url) -> Result<Place, Error> {
        let way = Way::new(&self.key, url, &self.tls, self.timeout, self.guard)?;
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let header = format!("{}{port}", url.host_str().unwrap_or_default());
        let wrong = |_| Error::Host { key: self.key.clone() };
        Ok(Place {
            origin: origin(url),
            pool: Pool::new(way, self.concurrency),
            host: authority(url),
            header: HeaderValue::try_from(header).map_err(wrong)?,
            lasting: Lasting::default(),
        })
    }
}

fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), authority(url))
}

/// Shows where it sends to.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("to", &self.home.host).finish_non_exhaustive()
    }
}
