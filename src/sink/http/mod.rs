//! The `http` sink: one event or an array of them a request; a 2xx is the acknowledgement.
//!
//! What is sent and what an answer means is decided without I/O: `plan`, `template`, `outbox`,
//! `cloudevents`, `request` and `signature` make the request, `answer` and `limit` judge what comes back. `transport` connects,
//! `pool` keeps the connections, `body` and `rest` are what is sent and read on them.

mod settings;
mod error;
mod target;
mod plan;
mod template;
mod outbox;
mod cloudevents;
mod request;
mod signature;
mod body;
mod pool;
mod transport;
mod rest;
mod answer;
mod limit;

use std::fmt;
use std::time::SystemTime;

use hyper::StatusCode;
use tokio::time::{Instant, timeout_at};

use self::answer::Asked;
use self::body::Taken;
pub use self::error::Error;
use self::plan::Plan;
use self::request::Writer;
use self::rest::Rest;
pub use self::settings::{Config, Overrides};
pub use self::signature::SecretError;
use self::signature::Signer;
use self::target::{Target, Targets};
pub use self::template::TemplateError;
use self::transport::{Broken, Lasting};
use super::{Answer, Batch, BoxFuture, Common, Failure, Reply, Sink};
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
    /// Header values that must not show, should the far side echo them.
    hidden: Vec<Secret>,
}

impl Http {
    /// Checks the settings and makes the sink.
    ///
    /// # Errors
    /// A setting can't be used, or a file it names can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let targets = Targets::new(config, common)?;
        let signer = Signer::new(&config.signing_secret).map_err(Error::SigningSecret)?;
        Ok(Self {
            targets,
            writer: Writer::new(common, signer),
            common: *common,
            lasting: Lasting::default(),
            hidden: answer::hidden(config),
        })
    }

    async fn send(&self, batch: &Batch) -> Reply {
        let deadline = Instant::now() + self.common.timeout;
        let Some(first) = batch.events.first() else { return Answer::Acknowledged.into() };
        let Target { plan, pool } = self.targets.of(first.operation);
        let (request, sent) = match self.writer.write(batch, first, plan, SystemTime::now()) {
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
        let asked = Asked::read(response.headers(), SystemTime::now());
        let status = response.status();
        let rest = rest::read(response, connection, pool, deadline).await;
        let answer = match self.judge(status, asked, rest, &sent, plan) {
            Ok(()) => Answer::Acknowledged,
            Err(failure) => Answer::Failed(failure),
        };
        Reply { answer, pause: asked.pause }
    }

    /// Says what an answer means.
    fn judge(
        &self,
        status: StatusCode,
        asked: Asked,
        rest: Rest,
        sent: &Taken,
        plan: &Plan,
    ) -> Result<(), Failure> {
        if !status.is_success() {
            let text = answer::text(&rest.kept, &self.hidden);
            return Err(answer::refusal(status, asked, plan.url_templated(), &plan.host, text));
        }
        if let Some(error) = rest.broken {
            return Err(self.broke(&Broken::Exchange(error), plan));
        }
        if !sent.is_whole() {
            return Err(answer::early(status, &plan.host));
        }
        Ok(())
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
            Ok(seen.join("; "))
        })
    }
}
