//! Writing to the state, again where waiting may help: a full disk or a locked database ends no run.

use std::time::Duration;

use rusqlite::Connection;

use super::Error;
use crate::failure::{Category, Classify, chain};
use crate::state::State;

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(200);

/// Writes; `what` is what can't be noted meanwhile, for the log.
///
/// Cancel safety: as [`State::write`].
pub(super) async fn write<T: Send + 'static>(
    state: &State,
    what: &'static str,
    work: impl Fn(&Connection) -> rusqlite::Result<T> + Clone + Send + 'static,
) -> Result<T, Error> {
    let mut told = false;
    loop {
        match state.write(work.clone()).await {
            Err(error) if error.category() == Category::Transient => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(error = chain(&error), "{what} can't be noted");
                }
                tokio::time::sleep(RETRY).await;
            }
            written => return written.map_err(Error::State),
        }
    }
}
