//! The `http` sink: one event or an array of them a request; a 2xx is the acknowledgement.

mod answer;
mod body;
mod limit;
mod plan;
mod signature;
mod template;
mod transport;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use ring::digest;
use tokio::time::timeout_at;
use url::Url;

use self::body::Taken;
use self::plan::{Head, Plan};
pub use self::signature::SecretError;
use self::signature::Signer;
use self::template::Event;
pub use self::template::TemplateError;
use self::transport::Lasting;
use super::{Answer, Batch, BoxFuture, Common, Failure, Reply, Sink};
use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::secret::Secret;

/// The kind's word.
pub const KIND: &str = "http";

/// How much of an answer is kept for the dead letter, in bytes.
const ANSWER_BYTES_KEPT: usize = 2 * 1024;

/// How much of an answer is read so that its connection can be used again; past it the
/// connection is dropped instead.
const ANSWER_BYTES_READ_MAX: usize = 64 * 1024;

/// How long an answer's body may take. Its status has been seen: nothing depends on the rest, but
/// an acknowledgement that breaks off in the middle is none.
const ANSWER_BODY_WAIT: Duration = Duration::from_secs(1);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAY: HeaderName = HeaderName::from_static("walgate-replay");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// `[sink.NAME.http]`
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to send; may have `{{ }}` after the host.
    pub url: Secret,
    /// `POST` unless set; may have `{{ }}`.
    pub method: String,
    /// Names and values; values may have `{{ }}`.
    pub headers: Vec<(String, Secret)>,
    /// `[sink.NAME.http.on.OPERATION]`
    pub on: Vec<(Operation, Overrides)>,
    /// One, or several during rotation; none: nothing is signed.
    pub signing_secret: Vec<Secret>,
    /// Certificates to trust beside the system's (PEM).
    pub ca: Option<PathBuf>,
    /// Client certificate chain (PEM).
    pub cert: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
}

impl Config {
    /// Returns the settings with nothing but an address.
    #[must_use]
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            method: "POST".to_owned(),
            headers: Vec::new(),
            on: Vec::new(),
            signing_secret: Vec::new(),
            ca: None,
            cert: None,
            key: None,
        }
    }
}

/// What differs for one operation; what is not set is as for the others, headers are added.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Instead of the sink's.
    pub url: Option<Secret>,
    /// Instead of the sink's.
    pub method: Option<String>,
    /// Beside the sink's; the same name takes its place.
    pub headers: Vec<(String, Secret)>,
}

/// Settings that can't be used. `key` is the place below `[sink.NAME.http]`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL.
    #[error("`{key}` is not a URL")]
    Url {
        /// The setting.
        key: String,
        /// Why.
        source: url::ParseError,
    },
    /// Neither `http://` nor `https://`.
    #[error("`{key}` must start with https:// or http:// and name a host")]
    Scheme {
        /// The setting.
        key: String,
    },
    /// A template before the path.
    #[error("`{key}`: `{{{{ }}}}` may stand only after the host and a `/`")]
    TemplatedHost {
        /// The setting.
        key: String,
    },
    /// A template that can't be read.
    #[error("`{key}`")]
    Template {
        /// The setting.
        key: String,
        /// Why.
        source: TemplateError,
    },
    /// Not a method.
    #[error("`{key}` is not an HTTP method such as POST, PUT, PATCH or DELETE")]
    Method {
        /// The setting.
        key: String,
    },
    /// Not a header's name.
    #[error("`{key}` is not a header's name")]
    HeaderName {
        /// The setting.
        key: String,
    },
    /// A value with line ends or control characters.
    #[error("`{key}` has a line end or a control character in its value")]
    HeaderValue {
        /// The setting.
        key: String,
    },
    /// A header that walgate sets.
    #[error("`{key}` is set by walgate itself; leave it out")]
    ReservedHeader {
        /// The setting.
        key: String,
    },
    /// Several events a request, but the request is built from one.
    #[error("`{key}` is built from the event, so that a request has one: set batch.max_events = 1")]
    OneEvent {
        /// The setting.
        key: String,
    },
    /// A secret that can't sign.
    #[error("`signing_secret`")]
    SigningSecret(#[source] SecretError),
    /// Not PEM.
    #[error("`{key}`: no PEM can be read from {path}", path = path.display())]
    Pem {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Half of a client certificate.
    #[error("`{key}` is missing: `cert` and `key` come together")]
    CertWithoutKey {
        /// The setting that is missing.
        key: &'static str,
    },
    /// TLS can't use a certificate.
    #[error("`{key}`: TLS can't use it")]
    Tls {
        /// The setting.
        key: &'static str,
        /// Why.
        source: rustls::Error,
    },
    /// The client can't be made.
    #[error("the HTTP client can't be made")]
    Client(#[source] reqwest::Error),
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.http]`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Url { key, .. }
            | Self::Scheme { key }
            | Self::TemplatedHost { key }
            | Self::Template { key, .. }
            | Self::Method { key }
            | Self::HeaderName { key }
            | Self::HeaderValue { key }
            | Self::ReservedHeader { key }
            | Self::OneEvent { key } => key,
            Self::SigningSecret(_) => "signing_secret",
            Self::Pem { key, .. } | Self::CertWithoutKey { key } | Self::Tls { key, .. } => key,
            Self::Client(_) => "url",
        }
    }
}

/// Sends events over HTTP.
pub struct Http {
    client: reqwest::Client,
    tls: Arc<rustls::ClientConfig>,
    plan: Plan,
    plans: Vec<(Operation, Plan)>,
    /// The one that all plans send to, if there is just one.
    host: Option<String>,
    signer: Option<Signer>,
    common: Common,
    lasting: Lasting,
    /// Header values that must not show, should the far side echo them.
    hidden: Vec<Secret>,
}

impl Http {
    /// Checks the settings and makes the sink.
    ///
    /// # Errors
    /// A setting can't be used, or a file it names can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let plan = Plan::new(config, None)?;
        let mut plans = Vec::new();
        for (operation, over) in &config.on {
            let plan = Plan::new(config, Some((operation.as_str(), over)))?;
            if common.max_events > 1 {
                return Err(Error::OneEvent { key: format!("on.{}", operation.as_str()) });
            }
            plans.push((*operation, plan));
        }
        if let (Some(key), 2..) = (plan.templated(), common.max_events) {
            return Err(Error::OneEvent { key: key.to_owned() });
        }
        let https = std::iter::once(&plan)
            .chain(plans.iter().map(|(_, plan)| plan))
            .any(|plan| plan.origin.scheme() == "https");
        let tls = transport::tls(config, https)?;
        let host = format!("{}://{}", plan.origin.scheme(), plan.host);
        let is_one = plans.iter().all(|(_, other)| other.origin.origin() == plan.origin.origin());
        Ok(Self {
            host: is_one.then_some(host),
            client: transport::client(&tls, common)?,
            tls,
            plan,
            plans,
            signer: Signer::new(&config.signing_secret).map_err(Error::SigningSecret)?,
            common: *common,
            lasting: Lasting::default(),
            hidden: answer::hidden(config),
        })
    }

    fn plan(&self, operation: Operation) -> &Plan {
        self.plans
            .iter()
            .find_map(|(other, plan)| (*other == operation).then_some(plan))
            .unwrap_or(&self.plan)
    }

    async fn send(&self, batch: &Batch) -> Reply {
        let Some(first) = batch.events.first() else { return Answer::Acknowledged.into() };
        let plan = self.plan(first.operation);
        let (response, sent) = match self.request(batch, first, plan).await {
            Ok(exchange) => exchange,
            Err(failure) => return Answer::Failed(failure).into(),
        };
        self.lasting.over();
        let now = SystemTime::now();
        let retry_after = answer::retry_after(response.headers(), now);
        // What it asks for outright counts before what its limits come to.
        let pause = match retry_after {
            Some(_) => None,
            None => limit::pause(response.headers(), now),
        };
        let answer = match self.judge(response, &sent, plan, retry_after).await {
            Ok(()) => Answer::Acknowledged,
            Err(mut failure) => {
                if failure.category == Category::Throttled {
                    failure.retry_after = failure.retry_after.or(pause);
                }
                Answer::Failed(failure)
            }
        };
        Reply { answer, pause }
    }

    /// Sends the request and returns the head of its answer.
    async fn request(
        &self,
        batch: &Batch,
        first: &Envelope,
        plan: &Plan,
    ) -> Result<(reqwest::Response, Taken), Failure> {
        let host = &plan.host;
        let event = Event { envelope: first, mapped: self.common.mapped };
        let Head { method, url, mut headers } = plan
            .head(&event)
            .map_err(|problem| Failure::new(Category::Rejected, format!("{host}: {problem}")))?;
        let body =
            if self.common.max_events > 1 { array(&batch.events) } else { first.body.clone() };
        self.add_headers(&mut headers, batch, &body);
        let (body, sent) = body::body(body);
        let request = self.client.request(method, url).headers(headers).body(body);
        let sending = request.send().await;
        sending.map(|response| (response, sent)).map_err(|error| self.broke(error, host))
    }

    /// Reads the rest of an answer and says what it means.
    async fn judge(
        &self,
        response: reqwest::Response,
        sent: &Taken,
        plan: &Plan,
        retry_after: Option<Duration>,
    ) -> Result<(), Failure> {
        let host = &plan.host;
        let status = response.status();
        let (body, broken) = read(response).await;
        if status.is_success() {
            if let Some(error) = broken {
                return Err(self.broke(error, host));
            }
            if !sent.is_whole() {
                let words = answer::words(status);
                let message = format!("{host} answered {words} before it had the whole request");
                return Err(Failure::new(Category::Transient, message));
            }
            return Ok(());
        }
        let category =
            answer::category(status.as_u16(), retry_after.is_some(), plan.url_templated());
        Err(Failure {
            category,
            message: format!("{host} answered {}", answer::words(status)),
            retry_after,
            status: Some(status.as_u16()),
            answer: answer::text(&body, &self.hidden),
        })
    }

    fn broke(&self, error: reqwest::Error, host: &str) -> Failure {
        transport::failure(error, host, self.common.timeout, &self.lasting)
    }

    fn add_headers(&self, headers: &mut HeaderMap, batch: &Batch, body: &Bytes) {
        let key = idempotency_key(batch, self.common.max_events > 1);
        // Digits, letters and `-` alone make it up, so that it always is a header's value.
        let Ok(value) = HeaderValue::from_str(&key) else { return };
        if batch.replay > 0 {
            headers.insert(REPLAY, HeaderValue::from_static("true"));
        }
        if let Some(signer) = &self.signer {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let signature = signer.sign(&key, now, body);
            headers.insert(WEBHOOK_ID, value.clone());
            headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(now));
            if let Ok(signature) = HeaderValue::from_str(&signature) {
                headers.insert(WEBHOOK_SIGNATURE, signature);
            }
        }
        headers.insert(IDEMPOTENCY_KEY, value);
    }
}

/// Shows where it sends to, and nothing that a URL or header may keep secret.
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("to", &self.plan.host).finish_non_exhaustive()
    }
}

impl Sink for Http {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(async move { self.send(batch).await.answer })
    }

    fn reply<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Reply> {
        Box::pin(self.send(batch))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async move {
            let mut seen: Vec<String> = Vec::new();
            for plan in std::iter::once(&self.plan).chain(self.plans.iter().map(|(_, plan)| plan)) {
                let one = transport::connect(&plan.origin, &self.tls, self.common.timeout).await?;
                if !seen.contains(&one) {
                    seen.push(one);
                }
            }
            Ok(seen.join("; "))
        })
    }
}

/// Returns host and port: what messages may show of a URL.
fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}

/// Puts the events into one array without looking into them.
fn array(events: &[Envelope]) -> Bytes {
    let bytes: usize = events.iter().map(|event| event.body.len().saturating_add(1)).sum();
    let mut body = Vec::with_capacity(bytes.saturating_add(2));
    for event in events {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&event.body);
    }
    body.push(b']');
    Bytes::from(body)
}

/// Returns the key under which a receiver knows a repeat: the event's own, or of an array the
/// SHA-256 over those of its events, the same for as long as they travel together.
fn idempotency_key(batch: &Batch, array: bool) -> String {
    let own = |event: &Envelope| {
        let mut key = event.id.to_string();
        if let Some((_, version)) = &event.route.mapping {
            key.push_str("-v");
            key.push_str(itoa::Buffer::new().format(*version));
        }
        if batch.replay > 0 {
            key.push_str("-r");
            key.push_str(itoa::Buffer::new().format(batch.replay));
        }
        key
    };
    if !array {
        return batch.events.first().map(own).unwrap_or_default();
    }
    let mut hash = digest::Context::new(&digest::SHA256);
    for event in &batch.events {
        hash.update(own(event).as_bytes());
        hash.update(b"\n");
    }
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads an answer's body so far as it is needed and gives the connection back, or drops it.
/// Returns what is kept of it, and the error with which it broke off.
async fn read(mut response: reqwest::Response) -> (Vec<u8>, Option<reqwest::Error>) {
    let deadline = tokio::time::Instant::now() + ANSWER_BODY_WAIT;
    let mut kept = Vec::new();
    let mut read: usize = 0;
    while read <= ANSWER_BYTES_READ_MAX {
        match timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(piece))) => {
                let room = ANSWER_BYTES_KEPT.saturating_sub(kept.len());
                kept.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                read = read.saturating_add(piece.len());
            }
            Ok(Err(error)) if !error.is_timeout() => return (kept, Some(error)),
            Ok(Ok(None) | Err(_)) | Err(_) => break,
        }
    }
    (kept, None)
}
