//! Reads and asks beside the run, as commands do: with a connection of its own, on a thread that
//! may block.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;

use super::Shown;
use super::refusal::Refusal;
use crate::config::Config;
use crate::failure::chain;
use crate::inspect;
use crate::inspect::request::Request;
use crate::lsn::Timestamp;
use crate::state::request::{self, Answer};
use crate::state::{Reader, State};

/// Between two looks for an answer.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long whoever asks is kept waiting for what becomes of it.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// Reads something.
pub(super) async fn read<T: Send + 'static>(
    shown: &Arc<dyn Shown>,
    work: impl FnOnce(&Config, &Reader) -> Result<T, inspect::Error> + Send + 'static,
) -> Result<T, Refusal> {
    if !shown.is_open() {
        return Err(Refusal::starting());
    }
    let config = Arc::clone(shown.config());
    let task = tokio::task::spawn_blocking(move || {
        let reader = State::open_reader(&config.state).map_err(inspect::Error::State)?;
        work(&config, &reader)
    });
    Ok(task.await.map_err(|error| broken(&error))??)
}

/// What was asked, and how far it is.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) id: i64,
    pub(super) answer: Answer,
}

/// Asks the run for a change, as a command would, and waits for a moment for what becomes of it.
pub(super) async fn ask(
    shown: &Arc<dyn Shown>,
    what: &Request,
    origin: String,
) -> Result<Standing, Refusal> {
    if !shown.is_open() {
        return Err(Refusal::starting());
    }
    let arguments = serde_json::to_string(what).map_err(|error| broken(&error))?;
    let folder = shown.config().state.clone();
    let asking = tokio::task::spawn_blocking(move || {
        request::ask(&folder, &arguments, &origin, Timestamp::now())
    });
    let id = asking.await.map_err(|error| broken(&error))?.map_err(inspect::Error::State)?;
    let until = Instant::now() + WAIT_MAX;
    loop {
        let answer = look(shown, id).await?;
        let is_over = matches!(answer, Answer::Done(_) | Answer::Failed(_));
        if is_over || Instant::now() >= until {
            return Ok(Standing { id, answer });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns how far a request is.
pub(super) async fn look(shown: &Arc<dyn Shown>, id: i64) -> Result<Answer, Refusal> {
    let found = read(shown, move |_, reader| Ok(reader.read(|c| request::answer(c, id))?));
    found.await?.ok_or_else(|| Refusal::missing(format!("there is no request {id}")))
}

fn broken(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, chain(error))
}
