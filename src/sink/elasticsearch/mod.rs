//! The `elasticsearch` sink: rows as documents, over the bulk API of Elasticsearch and OpenSearch.
//!
//! `plan` folds a batch into items, `version` says which of two changes of a document is the newer,
//! `index` what an index may be called, `answer` what became of each item: all without I/O.

mod answer;
mod index;
mod plan;
mod settings;
mod version;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use self::answer::{Bulk, Cleared, Item, Said};
use self::plan::{Line, Step};
pub use self::settings::{Config, Error};
use super::keyed::Board;
use super::template::Template;
use super::web;
use super::web::client::{Ask, Client, Heard};
use super::{Answer, Batch, BoxFuture, Common, Failure, Sink};
use crate::failure::Category;

/// The kind's word.
pub const KIND: &str = "elasticsearch";

const NDJSON: &str = "application/x-ndjson";

/// A change of a document of which only a part is known.
const MISSING: &str = "the document is not there, and the event does not have all of it: load the \
                       table first (start = \"load\"), or ALTER TABLE … REPLICA IDENTITY FULL at \
                       the source";

/// Writes events to Elasticsearch or OpenSearch.
pub struct Elasticsearch {
    client: Client,
    index: Template,
    /// What stands before every path.
    base: String,
    /// The last request failed, and not by its documents.
    is_down: AtomicBool,
}

impl Elasticsearch {
    /// Checks the settings and makes the sink. Connects to nothing yet.
    ///
    /// # Errors
    /// A setting can't be used, or a file it names can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let url = web::url("url", config.url.expose())?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() {
            return Err(Error::Url);
        }
        let index = Template::parse(&config.index).map_err(Error::Template)?;
        index::look(&index).map_err(|_| Error::Name)?;
        Ok(Self {
            client: Client::new("url", &url, config.auth.as_ref(), &config.reach, common)?,
            index,
            base: url.path().trim_end_matches('/').to_owned(),
            is_down: AtomicBool::new(false),
        })
    }

    /// Sends a batch, step by step. What of one that fails is in already may come again: its
    /// version tells.
    async fn send(&self, batch: &Batch) -> Answer {
        let deadline = self.client.deadline();
        let mut board = Board::new(self.client.host(), batch.events.len());
        let steps = plan::steps(&self.index, &batch.events, &mut board);
        // A batch of which nothing is sent must not say that the cluster is there again.
        if steps.is_empty()
            && self.is_down.load(Ordering::Relaxed)
            && let Err(failure) = self.ask(Ask::new(Method::GET, self.path("/")), deadline).await
        {
            return Answer::Failed(failure);
        }
        for step in &steps {
            let (events, done) = match step {
                Step::Bulk(lines) => {
                    let events = lines.iter().flat_map(|line| line.events.iter().copied());
                    (events.collect(), self.bulk(lines, &mut board, deadline).await)
                }
                Step::Clear { index, events } => {
                    let done = self.clear(index, deadline).await;
                    if done.is_ok() {
                        board.done(events);
                    }
                    (events.clone(), done)
                }
            };
            // What follows must not come before it.
            if let Err(failure) = done {
                board.failed_at_once(&events, &failure);
                break;
            }
        }
        board.answer()
    }

    /// Sends items, and once more those that something of their own commit stood in the way of, or
    /// whose document is not there.
    async fn bulk(
        &self,
        lines: &[Line],
        board: &mut Board,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let mut body = Vec::new();
        lines.iter().for_each(|line| line.write(&mut body));
        let (heard, items) = self.items(lines.len(), body, deadline).await?;
        let (mut again, mut missing) = (Vec::new(), Vec::new());
        for (line, item) in lines.iter().zip(items) {
            match item.said(line.act, line.commit()) {
                Said::Again => again.push(line),
                Said::Missing => missing.push(line),
                said => self.note(line, &heard, said, board),
            }
        }
        if again.is_empty() && missing.is_empty() {
            return Ok(());
        }
        let mut body = Vec::new();
        again.iter().for_each(|line| line.force(&mut body));
        missing.iter().for_each(|line| line.probe(&mut body));
        let count = again.len().saturating_add(missing.len());
        let (heard, items) = self.items(count, body, deadline).await?;
        let mut items = items.into_iter();
        for (line, item) in again.into_iter().zip(items.by_ref()) {
            self.note(line, &heard, item.said(line.act, line.commit()), board);
        }
        for (line, item) in missing.into_iter().zip(items) {
            self.note(line, &heard, item.probed(), board);
        }
        Ok(())
    }

    /// Sends the body of a bulk request, and reads what was said of each of its items.
    async fn items(
        &self,
        count: usize,
        body: Vec<u8>,
        deadline: Instant,
    ) -> Result<(Heard, Vec<Item>), Failure> {
        let ask = Ask::new(Method::POST, self.path("/_bulk")).with(NDJSON, body);
        let heard = self.ask(ask, deadline).await?;
        let Ok(Bulk { items }) = serde_json::from_slice(&heard.body) else {
            return Err(self.client.nonsense(&heard, "not what became of each document"));
        };
        if items.len() != count {
            return Err(self.client.nonsense(&heard, "not one item for each document"));
        }
        Ok((heard, items))
    }

    /// Notes what became of the events of an item.
    fn note(&self, line: &Line, heard: &Heard, said: Said, board: &mut Board) {
        let (category, status, kind, reason) = match said {
            Said::Done => return board.done(&line.events),
            Said::Missing => return board.refuse(&line.events, MISSING),
            // What goes without a version meets no conflict.
            Said::Again => (Category::Transient, 409, "a conflict".to_owned(), String::new()),
            Said::No { category, status, kind, reason } => (category, status, kind, reason),
        };
        let failure = Failure {
            status: Some(status),
            answer: self.client.text(heard, reason.as_bytes()),
            ..Failure::new(category, format!("{} answered {status} ({kind})", heard.host))
        };
        board.fail(&line.events, &failure);
    }

    /// Takes all documents out of an index: those too that no search sees yet.
    async fn clear(&self, index: &str, deadline: Instant) -> Result<(), Failure> {
        let index = utf8_percent_encode(index, NON_ALPHANUMERIC);
        let of = "ignore_unavailable=true";
        let refresh = self.path(&format!("/{index}/_refresh?{of}"));
        self.ask(Ask::new(Method::POST, refresh), deadline).await?;
        let delete = format!("/{index}/_delete_by_query?conflicts=proceed&refresh=true&{of}");
        let ask = Ask::new(Method::POST, self.path(&delete));
        let ask = ask.json("{\"query\":{\"match_all\":{}}}");
        let heard = self.ask(ask, deadline).await?;
        match serde_json::from_slice::<Cleared>(&heard.body) {
            Ok(cleared) if cleared.is_done() => Ok(()),
            _ => Err(self.client.nonsense(&heard, "not that all documents are gone")),
        }
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Sends a request; what is no 2xx is an error.
    async fn ask(&self, ask: Ask, deadline: Instant) -> Result<Heard, Failure> {
        let heard = self.client.ask(&ask, deadline).await;
        let answer = heard.and_then(|heard| {
            if heard.status.is_success() { Ok(heard) } else { Err(self.client.refusal(&heard)) }
        });
        let is_down = answer.as_ref().is_err_and(|failure| failure.category != Category::Rejected);
        self.is_down.store(is_down, Ordering::Relaxed);
        answer
    }

    /// Asks what answers there.
    async fn look(&self) -> Result<String, Failure> {
        let deadline = self.client.deadline();
        let seen = self.client.check(deadline).await?;
        let heard = self.ask(Ask::new(Method::GET, self.path("/")), deadline).await?;
        let about: serde_json::Value = serde_json::from_slice(&heard.body).unwrap_or_default();
        let Some(version) = about.pointer("/version/number").and_then(|number| number.as_str())
        else {
            return Err(self.client.nonsense(&heard, "neither Elasticsearch nor OpenSearch"));
        };
        let product = about.pointer("/version/distribution").and_then(|name| name.as_str());
        Ok(format!("{seen}; {} {version}", product.unwrap_or("elasticsearch")))
    }
}

/// Shows where it sends to.
impl fmt::Debug for Elasticsearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elasticsearch").field("to", &self.client.host()).finish_non_exhaustive()
    }
}

impl Sink for Elasticsearch {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn host(&self) -> Option<&str> {
        Some(self.client.origin())
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(self.send(batch))
    }

    fn tidy(&self) -> Option<Instant> {
        self.client.tidy()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(self.look())
    }
}
