//! The `http` sink: one event or an array of them a request; a 2xx is the acknowledgement.

mod answer;
mod body;
mod limit;
mod plan;
mod pool;
mod signature;
mod template;
mod transport;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use ring::digest;
use tokio::time::{Instant, timeout_at};
use url::Url;

use self::body::{Body, Taken};
use self::plan::{Head, Plan};
use self::pool::{Connection, Pool};
pub use self::signature::SecretError;
use self::signature::Signer;
use self::template::Event;
pub use self::template::TemplateError;
use self::transport::{Broken, Lasting, Way};
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
    /// A host that can't be asked for.
    #[error("`{key}` names a host that no request can be sent to")]
    Host {
        /// The setting.
        key: String,
    },
    /// More than a request can name.
    #[error("`{key}` is too long")]
    Long {
        /// The setting.
        key: String,
    },
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.http]`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Url { key, .. }
            | Self::Scheme { key }
            | Self::Host { key }
            | Self::Long { key }
            | Self::TemplatedHost { key }
            | Self::Template { key, .. }
            | Self::Method { key }
            | Self::HeaderName { key }
            | Self::HeaderValue { key }
            | Self::ReservedHeader { key }
            | Self::OneEvent { key } => key,
            Self::SigningSecret(_) => "signing_secret",
            Self::Pem { key, .. } | Self::CertWithoutKey { key } | Self::Tls { key, .. } => key,
        }
    }
}

/// Sends events over HTTP.
pub struct Http {
    plan: Plan,
    pool: Arc<Pool>,
    /// What operations have of their own.
    plans: Vec<(Operation, Plan, Arc<Pool>)>,
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
        let all = || std::iter::once(&plan).chain(plans.iter().map(|(_, plan)| plan));
        let tls = transport::tls(config, all().any(|plan| plan.origin.scheme() == "https"))?;
        let is_one = all().all(|other| other.origin.origin() == plan.origin.origin());
        let host = is_one.then(|| format!("{}://{}", plan.origin.scheme(), plan.host));
        let mut pools = Pools { tls, common: *common, made: Vec::new() };
        let pool = pools.of("url", &plan.origin)?;
        let plans = plans.into_iter().map(|(operation, plan)| {
            let pool = pools.of(&format!("on.{}.url", operation.as_str()), &plan.origin)?;
            Ok((operation, plan, pool))
        });
        Ok(Self {
            host,
            plans: plans.collect::<Result<_, _>>()?,
            plan,
            pool,
            signer: Signer::new(&config.signing_secret).map_err(Error::SigningSecret)?,
            common: *common,
            lasting: Lasting::default(),
            hidden: answer::hidden(config),
        })
    }

    fn plan(&self, operation: Operation) -> (&Plan, &Pool) {
        self.plans
            .iter()
            .find_map(|(other, plan, pool)| (*other == operation).then_some((plan, &**pool)))
            .unwrap_or((&self.plan, &self.pool))
    }

    /// Returns each pool once, with the host it connects to.
    fn pools(&self) -> Vec<(&str, &Arc<Pool>)> {
        let mut pools = vec![(self.plan.host.as_str(), &self.pool)];
        for (_, plan, pool) in &self.plans {
            if !pools.iter().any(|(_, other)| Arc::ptr_eq(other, pool)) {
                pools.push((&plan.host, pool));
            }
        }
        pools
    }

    async fn send(&self, batch: &Batch) -> Reply {
        let deadline = Instant::now() + self.common.timeout;
        let Some(first) = batch.events.first() else { return Answer::Acknowledged.into() };
        let (plan, pool) = self.plan(first.operation);
        let (request, sent) = match self.request(batch, first, plan) {
            Ok(request) => request,
            Err(problem) => {
                let message = format!("{}: {problem}", plan.host);
                return Answer::Failed(Failure::new(Category::Rejected, message)).into();
            }
        };
        let (response, connection) = match timeout_at(deadline, pool.send(request)).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(broken)) => return Answer::Failed(self.broke(&broken, plan)).into(),
            Err(_) => {
                let broken = Broken::Timeout(self.common.timeout);
                return Answer::Failed(self.broke(&broken, plan)).into();
            }
        };
        self.lasting.over();
        let now = SystemTime::now();
        let retry_after = answer::retry_after(response.headers(), now);
        // What it asks for outright counts before what its limits come to.
        let pause = match retry_after {
            Some(_) => None,
            None => limit::pause(response.headers(), now),
        };
        let status = response.status();
        let rest = read(response, connection, pool, deadline).await;
        let answer = match self.judge(status, rest, &sent, plan, retry_after) {
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

    /// Makes the request, or says what of the event stands in the way.
    fn request(
        &self,
        batch: &Batch,
        first: &Envelope,
        plan: &Plan,
    ) -> Result<(Request<Body>, Taken), String> {
        let event = Event { envelope: first, mapped: self.common.mapped };
        let Head { method, uri, mut headers } = plan.head(&event)?;
        let body =
            if self.common.max_events > 1 { array(&batch.events) } else { first.body.clone() };
        self.add_headers(&mut headers, batch, &body);
        let (body, sent) = Body::new(body);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok((request, sent))
    }

    /// Says what an answer means.
    fn judge(
        &self,
        status: StatusCode,
        rest: Rest,
        sent: &Taken,
        plan: &Plan,
        retry_after: Option<Duration>,
    ) -> Result<(), Failure> {
        let host = &plan.host;
        if status.is_success() {
            if let Some(error) = rest.broken {
                return Err(self.broke(&Broken::Exchange(error), plan));
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
            answer: answer::text(&rest.kept, &self.hidden),
        })
    }

    fn broke(&self, broken: &Broken, plan: &Plan) -> Failure {
        transport::failure(broken, &plan.host, &self.lasting)
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

    fn tidy(&self) -> Option<Instant> {
        let now = Instant::now();
        self.pools().into_iter().filter_map(|(_, pool)| pool.tidy(now)).min()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async move {
            let mut seen = Vec::new();
            for (host, pool) in self.pools() {
                seen.push(transport::connect(&pool.way, host).await?);
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

/// What an answer had beside its head.
#[derive(Default)]
struct Rest {
    /// As much of it as is kept.
    kept: Vec<u8>,
    /// With what it broke off.
    broken: Option<hyper::Error>,
}

/// Reads an answer's body so far as it is needed and gives the connection back, or drops it. What
/// has not come until `deadline` is not waited for.
async fn read(
    response: Response<Incoming>,
    mut connection: Connection,
    pool: &Pool,
    deadline: Instant,
) -> Rest {
    let mut body = response.into_body();
    let mut rest = Rest::default();
    if body.is_end_stream() {
        pool.keep(connection).await;
        return rest;
    }
    let deadline = deadline.min(Instant::now() + ANSWER_BODY_WAIT);
    let mut read: usize = 0;
    while read <= ANSWER_BYTES_READ_MAX {
        match timeout_at(deadline, connection.next(&mut body)).await {
            Ok(Some(Ok(piece))) => {
                let room = ANSWER_BYTES_KEPT.saturating_sub(rest.kept.len());
                rest.kept.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                read = read.saturating_add(piece.len());
            }
            Ok(Some(Err(error))) => {
                rest.broken = Some(error);
                return rest;
            }
            Ok(None) => {
                pool.keep(connection).await;
                return rest;
            }
            Err(_) => return rest,
        }
    }
    rest
}

/// The pools of a sink: one an origin.
struct Pools {
    tls: Arc<rustls::ClientConfig>,
    common: Common,
    made: Vec<(Url, Arc<Pool>)>,
}

impl Pools {
    /// Returns the pool of an origin, which the setting `key` names.
    fn of(&mut self, key: &str, origin: &Url) -> Result<Arc<Pool>, Error> {
        let known = self.made.iter().find(|(other, _)| other.origin() == origin.origin());
        if let Some((_, pool)) = known {
            return Ok(Arc::clone(pool));
        }
        let way = Way::new(key, origin, &self.tls, self.common.timeout)?;
        let pool = Arc::new(Pool::new(way, self.common.concurrency));
        self.made.push((origin.clone(), Arc::clone(&pool)));
        Ok(pool)
    }
}
