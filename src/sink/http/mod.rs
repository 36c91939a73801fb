//! The `http` sink: one event or an array of them a request; a 2xx is the acknowledgement.
//!
//! What is sent and what an answer means is decided without I/O: `plan`, `outbox`, `cloudevents`,
//! `request` and `signature` make the request, `ack` judges what comes back. How requests are sent
//! is `web`, which other kinds have too.

mod settings;
mod error;
mod target;
mod plan;
mod outbox;
mod cloudevents;
mod request;
mod signature;
mod ack;
mod hidden;

use std::fmt;
use std::time::SystemTime;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};

pub use self::ack::Settings as AckSettings;
use self::ack::{Ack, Read, Said};
pub use self::error::Error;
use self::plan::Plan;
use self::request::Writer;
pub use self::settings::{Config, Overrides};
pub use self::signature::SecretError;
use self::signature::Signer;
use self::target::{Target, Targets};
use super::web::answer::{self, Asked};
use super::web::auth::Tokens;
use super::web::body::Taken;
use super::web::pool::Connection;
use super::web::rest::{self, ANSWER_BYTES_KEPT, Need, Rest};
use super::web::transport::{self, Broken, Lasting};
use super::{Answer, Batch, BoxFuture, Common, Failure, Reply, Sink};
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::secret::Secret;

/// The kind's word.
pub const KIND: &str = "http";

/// Sends events over HTTP.
pub struct Http {
    targets: Targets,
    writer: Writer,
    common: Common,
    lasting: Lasting,
    tokens: Option<Tokens>,
    ack: Option<Ack>,
    /// Header values that must not show, should the far side echo them.
    hidden: Vec<Secret>,
}

/// A request that was answered.
struct Asking {
    response: Response<Incoming>,
    connection: Connection,
    sent: Taken,
    /// What the request said of who asks, where that may change.
    token: Option<HeaderValue>,
}

/// What came back.
struct Heard {
    status: StatusCode,
    headers: HeaderMap,
    asked: Asked,
    rest: Rest,
    sent: Taken,
    token: Option<HeaderValue>,
}

impl Http {
    /// Checks the settings and makes the sink.
    ///
    /// # Errors
    /// A setting can't be used, or a file it names can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let targets = Targets::new(config, common)?;
        let hidden = hidden::of(config);
        let signer = Signer::new(&config.signing_secret).map_err(Error::SigningSecret)?;
        let ack = config.ack.as_ref().map(|settings| {
            if settings.items.is_some() && common.max_events <= 1 {
                return Err(Error::AckOfOne);
            }
            Ack::new(settings)
                .map_err(|wrong| Error::Ack { key: wrong.key, message: wrong.message })
        });
        Ok(Self {
            targets,
            writer: Writer::new(common, signer, config.gzip),
            common: *common,
            lasting: Lasting::default(),
            tokens: Tokens::new(config.auth.as_ref(), &config.reach, common.timeout, &hidden)?,
            ack: ack.transpose()?,
            hidden,
        })
    }

    async fn send(&self, batch: &Batch) -> Reply {
        let deadline = Instant::now() + self.common.timeout;
        let Some(first) = batch.events.first() else { return Answer::Acknowledged.into() };
        let target = self.targets.of(first.operation);
        let mut refused = None;
        loop {
            let asking = self.ask(batch, first, target, refused.as_ref(), deadline).await;
            let Asking { mut response, connection, sent, token } = match asking {
                Ok(asking) => asking,
                Err(failure) => return Answer::Failed(failure).into(),
            };
            self.lasting.over();
            let headers = std::mem::take(response.headers_mut());
            let asked = Asked::read(&headers, SystemTime::now());
            let status = response.status();
            let need = match self.ack {
                Some(_) => Need { bytes: ack::BODY_BYTES_MAX, until: deadline },
                None => Need::to_show(deadline),
            };
            let rest = rest::read(response, connection, &target.pool, need).await;
            if status == StatusCode::UNAUTHORIZED && token.is_some() && refused.is_none() {
                // It may have ended before its time: another is asked for, once.
                refused = token;
                continue;
            }
            let heard = Heard { status, headers, asked, rest, sent, token };
            let answer = self.judge(heard, &batch.events, &target.plan);
            return Reply { answer, pause: asked.pause };
        }
    }

    /// Sends a batch once. `refused`: a token that is not to be used any more.
    async fn ask(
        &self,
        batch: &Batch,
        first: &Envelope,
        Target { plan, pool }: &Target,
        refused: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Asking, Failure> {
        let token = match &self.tokens {
            Some(tokens) => Some(tokens.token(refused, deadline).await?),
            None => None,
        };
        let written = self.writer.write(batch, first, plan, SystemTime::now());
        let (mut request, sent) = written.map_err(|problem| {
            Failure::new(Category::Rejected, format!("{}: {problem}", plan.host))
        })?;
        if let Some(token) = &token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        match timeout_at(deadline, pool.send(request)).await {
            Ok(Ok((response, connection))) => Ok(Asking { response, connection, sent, token }),
            Ok(Err(broken)) => Err(self.broke(&broken, plan)),
            Err(_) => Err(self.broke(&Broken::Timeout(self.common.timeout), plan)),
        }
    }

    /// Says what an answer means.
    fn judge(&self, heard: Heard, events: &[Envelope], plan: &Plan) -> Answer {
        let Heard { status, headers, asked, rest, sent, token } = heard;
        let text = || self.text(&rest.kept, token.as_ref());
        if !status.is_success() {
            let body = rest.kept.as_slice();
            let takes = |ack: &Ack| rest.is_whole && ack.takes(status, &headers, body);
            if self.ack.as_ref().is_some_and(takes) && sent.is_whole() {
                return Answer::Acknowledged;
            }
            let templated = plan.url_templated();
            return Answer::Failed(answer::refusal(status, asked, templated, &plan.host, text()));
        }
        if let Some(error) = rest.broken {
            return Answer::Failed(self.broke(&Broken::Exchange(error), plan));
        }
        if !sent.is_whole() {
            return Answer::Failed(answer::early(status, &plan.host));
        }
        let Some(ack) = &self.ack else { return Answer::Acknowledged };
        let said = if rest.is_whole {
            ack.read(status, &headers, &rest.kept, events)
        } else {
            let why = "its answer is longer than 1 MiB, or did not come in time".to_owned();
            Read::All(Said::No(Category::Transient, why))
        };
        let outcome = |said: Said| match said {
            Said::Yes => Ok(()),
            Said::No(category, why) => {
                Err(answer::no(status, category, &why, asked, &plan.host, text()))
            }
        };
        match said {
            Read::All(said) => outcome(said).map_or_else(Answer::Failed, |()| Answer::Acknowledged),
            Read::Each(said) if said.iter().all(|said| *said == Said::Yes) => Answer::Acknowledged,
            Read::Each(said) => Answer::PerEvent(said.into_iter().map(outcome).collect()),
        }
    }

    /// Makes text of what was kept of an answer.
    fn text(&self, kept: &[u8], token: Option<&HeaderValue>) -> Option<String> {
        let kept = kept.get(..ANSWER_BYTES_KEPT).unwrap_or(kept);
        let text = answer::text(kept, &self.hidden)?;
        let token = token.and_then(|token| token.to_str().ok()?.strip_prefix("Bearer "));
        Some(match token {
            Some(token) => text.replace(token, "***"),
            None => text,
        })
    }

    fn broke(&self, broken: &Broken, plan: &Plan) -> Failure {
        transport::failure(broken, &plan.host, &self.lasting)
    }
}

/// Shows where it sends to, and nothing that a URL or header may keep secret.
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("to", &self.targets.usual.plan.host).finish_non_exhaustive()
    }
}

impl Sink for Http {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn host(&self) -> Option<&str> {
        self.targets.host.as_deref()
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(async move { self.send(batch).await.answer })
    }

    fn reply<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Reply> {
        Box::pin(self.send(batch))
    }

    fn tidy(&self) -> Option<Instant> {
        let now = Instant::now();
        self.targets.pools().into_iter().filter_map(|(_, pool)| pool.tidy(now)).min()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async move {
            let mut seen = Vec::new();
            for (host, pool) in self.targets.pools() {
                seen.push(transport::connect(&pool.way, host).await?);
            }
            if let Some(tokens) = &self.tokens {
                seen.push(tokens.check(Instant::now() + self.common.timeout).await?);
            }
            Ok(seen.join("; "))
        })
    }
}
