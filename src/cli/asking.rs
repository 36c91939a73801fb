//! Asks a running instance, or does it where none runs.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::failure::{Exit, Failure};
use crate::config::{Config, suggestion};
use crate::inspect::request::{Outcome, Request};
use crate::lsn::Timestamp;
use crate::state::{self, Reader, State, request};

/// Between two looks for an answer.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who asks, as the audit has it.
const ORIGIN: &str = "command line";

/// An instance takes what it is asked within a second; one that does not by then is stuck.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);

/// Whether an instance runs on the config's state.
pub(super) fn is_running(config: &Config) -> bool {
    State::is_in_use(&config.state)
}

/// Refuses a name that the config does not have, with what may have been meant.
pub(super) fn has(word: &str, name: &str, names: Vec<&str>) -> Result<(), Failure> {
    if names.contains(&name) {
        return Ok(());
    }
    let failure = Failure::new(Exit::Usage, format!("the config has no {word} \"{name}\""));
    Err(match suggestion(name, names.iter().copied()) {
        Some(meant) => failure.help(format!("did you mean \"{meant}\"?")),
        None => failure.help(format!("it has {}", names.join(", "))),
    })
}

/// Refuses what goes by the journal where there is none.
pub(super) fn needs_journal(config: &Config) -> Result<(), Failure> {
    if config.journal.max_size > 0 {
        return Ok(());
    }
    let message = "there is no journal: journal.max_size is \"0\"";
    Err(Failure::new(Exit::Usage, message).help("give it a size, such as \"10GiB\""))
}

/// Returns the state's reader.
pub(super) fn reader(config: &Config) -> Result<Reader, Failure> {
    State::open_reader(&config.state).map_err(|error| failed(&error))
}

/// Reads something of the state.
pub(super) fn read<T>(
    reader: &Reader,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, Failure> {
    reader.read(work).map_err(|error| failed(&error))
}

/// Sorts an error of the state.
pub(super) fn failed(error: &state::Error) -> Failure {
    let locked = matches!(error, state::Error::Locked { .. });
    Failure::of_stage(if locked { Exit::InUse } else { Exit::Failed }, error)
}

/// Asks the running instance and waits for its answer. Returns the request's number with it.
pub(super) async fn ask(config: &Config, what: &Request) -> Result<(i64, Outcome), Failure> {
    ask_and(config, what, |_| Ok(true)).await
}

/// As [`ask`]; calls `taken` with how far it is, as often as there is news, and waits no longer
/// once that says false.
pub(super) async fn ask_and(
    config: &Config,
    what: &Request,
    mut taken: impl FnMut(Option<&str>) -> Result<bool, Failure>,
) -> Result<(i64, Outcome), Failure> {
    let arguments =
        serde_json::to_string(what).map_err(|error| Failure::of(Exit::Failed, &error))?;
    let id = request::ask(&config.state, &arguments, ORIGIN, Timestamp::now())
        .map_err(|error| failed(&error))?;
    let reader = reader(config)?;
    let asked_at = Instant::now();
    loop {
        match read(&reader, |connection| request::answer(connection, id))? {
            Some(request::Answer::Done(text)) => {
                let answer = serde_json::from_str(&text).unwrap_or_default();
                return Ok((id, answer));
            }
            Some(request::Answer::Failed(reason)) => {
                return Err(Failure::new(Exit::Failed, reason));
            }
            Some(request::Answer::Taken(progress)) => {
                if !taken(progress.as_deref())? {
                    return Ok((id, Outcome::default()));
                }
            }
            Some(request::Answer::Waiting) | None if asked_at.elapsed() < TAKEN_WITHIN => {}
            Some(request::Answer::Waiting) | None => {
                let message = "the running instance did not take what it was asked";
                let help = "see its log; what was asked waits, and is done by the next run";
                return Err(Failure::new(Exit::Failed, message).help(help));
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
