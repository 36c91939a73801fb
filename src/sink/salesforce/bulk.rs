//! Bulk API 2.0: the rows of a load as one job, acknowledged once it is complete.
//!
//! A job may take longer than a request may: then the batch is told to wait, and when it comes
//! again its job is asked for, not made anew.
//! <https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/bulk_api_2_0.htm>

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::verdict::{self, Problem};
use super::{Salesforce, Sending};
use crate::failure::Category;
use crate::sink::keyed::Record;
use crate::sink::web::client::{Ask, Heard};
use crate::sink::{Batch, Failure};

/// How long between two questions whether a job is complete, at first and at most.
const POLL_MIN: Duration = Duration::from_millis(200);
const POLL_MAX: Duration = Duration::from_secs(5);

/// When to ask again for a job that takes longer than a request may.
const LATER: Duration = Duration::from_secs(1);

const CSV: &str = "text/csv; charset=UTF-8";

/// What is known of a job.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    #[serde(default)]
    id: String,
    state: String,
    #[serde(default)]
    number_records_failed: usize,
    #[serde(default)]
    number_records_processed: usize,
    error_message: Option<String>,
}

/// What became of the records, by their external id.
type Results = HashMap<String, Result<(), Vec<Problem>>>;

impl Salesforce {
    /// Sends all records as one job. Returns whether to go on.
    pub(super) async fn load(
        &self,
        batch: &Batch,
        object: &str,
        records: &[&Record<'_>],
        csv: Vec<u8>,
        sending: &mut Sending,
    ) -> bool {
        let events: Vec<usize> =
            records.iter().flat_map(|record| &record.events).copied().collect();
        sending.has_asked = true;
        let print = print(batch);
        let known = self.jobs().get(&print).cloned();
        let job = match known {
            Some(job) => Ok(job),
            None => self.start(object, csv, sending.deadline).await,
        };
        let waited = match job {
            Ok(id) => {
                self.jobs().insert(print, id.clone());
                self.complete(&id, sending.deadline).await
            }
            Err(failure) => Err(failure),
        };
        let ended = match waited {
            Ok(Some(ended)) => ended,
            // Still under way: it is asked for again.
            Ok(None) => {
                let host = self.client.host();
                let said = format!("{host}: a job of Bulk API 2.0 is still being worked on");
                let mut failure = Failure::new(Category::Throttled, said);
                failure.retry_after = Some(LATER);
                return sending.board.failed_at_once(&events, &failure);
            }
            Err(failure) => {
                if failure.status == Some(StatusCode::NOT_FOUND.as_u16()) {
                    self.jobs().remove(&print);
                }
                return sending.board.failed_at_once(&events, &failure);
            }
        };
        match self.results(&ended, records.len(), sending.deadline).await {
            Ok((heard, results)) => {
                self.jobs().remove(&print);
                self.note_results(&heard, results.as_ref(), records, sending);
                true
            }
            Err(failure) => sending.board.failed_at_once(&events, &failure),
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<u64, String>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a job of the rows. It is worked on once it is said that these are all.
    async fn start(
        &self,
        object: &str,
        csv: Vec<u8>,
        deadline: Instant,
    ) -> Result<String, Failure> {
        let ingest = format!("{}/jobs/ingest", self.base);
        let job = json!({
            "object": object,
            "operation": "upsert",
            "externalIdFieldName": self.external_id,
            "contentType": "CSV",
            "lineEnding": "LF",
        });
        let made = self
            .ask(&Ask::new(Method::POST, ingest.as_str()).json(job.to_string()), deadline)
            .await?;
        let Job { id, .. } = self.job(&made)?;
        let path = format!("{ingest}/{id}");
        self.ask(&Ask::new(Method::PUT, format!("{path}/batches")).with(CSV, csv), deadline)
            .await?;
        Ok(id)
    }

    /// Lets a job begin and waits for its end; none: there was no time for it.
    async fn complete(&self, id: &str, deadline: Instant) -> Result<Option<Job>, Failure> {
        let path = format!("{}/jobs/ingest/{id}", self.base);
        let ask = Ask::new(Method::GET, path.as_str());
        let mut wait = POLL_MIN;
        loop {
            let heard = self.ask(&ask, deadline).await?;
            let mut job = self.job(&heard)?;
            match job.state.as_str() {
                "JobComplete" => {
                    id.clone_into(&mut job.id);
                    return Ok(Some(job));
                }
                // Its rows are there. Whether this arrives is seen by the next question, so that
                // no job is ever begun and forgotten.
                "Open" => {
                    let all = json!({ "state": "UploadComplete" }).to_string();
                    self.ask(&Ask::new(Method::PATCH, path.as_str()).json(all), deadline).await?;
                }
                "Failed" | "Aborted" => {
                    let failure = self.lost(&heard, &job);
                    self.jobs().retain(|_, known| known != id);
                    return Err(failure);
                }
                _ => {}
            }
            let next = Instant::now() + wait;
            if next >= deadline {
                return Ok(None);
            }
            tokio::time::sleep_until(next).await;
            wait = (wait * 2).min(POLL_MAX);
        }
    }

    fn job(&self, heard: &Heard) -> Result<Job, Failure> {
        serde_json::from_slice(&heard.body)
            .map_err(|_| self.client.nonsense(heard, "no description of a job"))
    }

    /// Says why a job was not done. A field that is not there is wrong in all of them.
    fn lost(&self, heard: &Heard, job: &Job) -> Failure {
        let why = job.error_message.as_deref().unwrap_or_default();
        let is_of_setup = ["InvalidBatch", "Field name not found", "InvalidJob"];
        let is_of_setup = is_of_setup.iter().any(|sign| why.contains(sign));
        let category = if is_of_setup { Category::Setup } else { Category::Transient };
        let state = job.state.to_lowercase();
        let mut failure = Failure::new(category, format!("{}: a job {state}", heard.host));
        failure.answer = self.client.text(heard, &heard.body);
        failure
    }

    /// Reads what became of the records; none: all of them were saved.
    async fn results(
        &self,
        job: &Job,
        count: usize,
        deadline: Instant,
    ) -> Result<(Heard, Option<Results>), Failure> {
        let path = format!("{}/jobs/ingest/{}", self.base, job.id);
        let all_saved = job.number_records_failed == 0 && job.number_records_processed == count;
        let mut results = Results::new();
        let successful = format!("{path}/successfulResults/");
        let heard = self.ask(&Ask::new(Method::GET, successful), deadline).await?;
        self.rows(&heard, &mut results, false)?;
        if all_saved && results.len() == count {
            return Ok((heard, None));
        }
        let failed = format!("{path}/failedResults/");
        let heard = self.ask(&Ask::new(Method::GET, failed), deadline).await?;
        self.rows(&heard, &mut results, true)?;
        // What was not looked at is in none of the two, and comes again.
        Ok((heard, Some(results)))
    }

    /// Reads the rows of a CSV of results.
    fn rows(&self, heard: &Heard, out: &mut Results, are_failed: bool) -> Result<(), Failure> {
        let nonsense = |_| self.client.nonsense(heard, "no results of a job");
        let mut reader = csv::Reader::from_reader(heard.body.as_slice());
        let header = reader.headers().map_err(nonsense)?.clone();
        let place = |name: &str| header.iter().position(|column| column == name);
        let (id, error) = (place(&self.external_id), place("sf__Error"));
        for row in reader.records() {
            let row = row.map_err(nonsense)?;
            let cell = |place: Option<usize>| place.and_then(|place| row.get(place));
            let Some(id) = cell(id) else { continue };
            let outcome = if are_failed {
                Err(vec![Problem::of_job(cell(error).unwrap_or_default())])
            } else {
                Ok(())
            };
            out.insert(id.to_owned(), outcome);
        }
        Ok(())
    }

    fn note_results(
        &self,
        heard: &Heard,
        results: Option<&Results>,
        records: &[&Record<'_>],
        sending: &mut Sending,
    ) {
        for record in records {
            let Some(results) = results else {
                sending.board.done(&record.events);
                continue;
            };
            match results.get(&*record.id()) {
                Some(Ok(())) => sending.board.done(&record.events),
                Some(Err(problems)) => {
                    let failure = self.refusal_of(heard, problems, &verdict::told(problems));
                    sending.board.fail(&record.events, &failure);
                }
                None => {
                    let said = format!("{}: a job did not get to a record", heard.host);
                    sending.board.fail(&record.events, &Failure::new(Category::Transient, said));
                }
            }
        }
    }
}

/// Tells a batch from others.
fn print(batch: &Batch) -> u64 {
    let mut hasher = DefaultHasher::new();
    for event in &batch.events {
        event.id.to_string().hash(&mut hasher);
    }
    hasher.finish()
}
