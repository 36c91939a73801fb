//! [`operate`]: what a command does itself where no instance runs that could be asked.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::operator::{self, Operator};
use super::{Error, Options, TICK, failed, keeper, setup};
use crate::config::Config;
use crate::inspect::request::{Outcome, Request};
use crate::lsn::Timestamp;
use crate::state::{State, request};

/// Does one thing that was asked for, where no instance runs that could.
///
/// Opens the state and the sinks, but neither the source nor what the journal has for them. Calls `begun` with the
/// request's number and what came of it as soon as that is known, then waits until what was sent
/// again is delivered or dead, or until `stop` is cancelled; what is still on its way then goes on
/// with the next run.
///
/// Cancel safety: as [`run`](super::run).
///
/// # Errors
/// As [`run`](super::run); an inner error says why what was asked for can't be done.
pub async fn operate(
    config: Config,
    what: Request,
    stop: CancellationToken,
    begun: impl FnOnce(i64, Outcome),
) -> Result<Result<(), String>, Error> {
    let options = Options { only_asked: true, ..Options::default() };
    let setup::Opened { shared, state, journal, runners, bases, orders, shelves, .. } =
        setup::open(&config, options).await?;
    let at = Timestamp::now();
    let arguments = serde_json::to_string(&what).unwrap_or_default();
    let noted = state.write(move |connection| {
        let id = request::add(connection, &arguments, "command line", at)?;
        request::take(connection, id, None)?;
        Ok(id)
    });
    let id = noted.await.map_err(Error::State)?;
    let reading = CancellationToken::new();
    let keeping = CancellationToken::new();
    let mut sinks = JoinSet::new();
    for runner in runners {
        sinks.spawn(runner.run(reading.clone(), config.shutdown_grace));
    }
    let mut keepers = JoinSet::new();
    let keeper = keeper::Keeper::new(&config, &shared, &state, &journal, bases);
    keepers.spawn(keeper.run(keeping.clone()));
    let mut operator = Operator::new(&config, &state, &journal, orders, shelves);
    let answer = operator.answer(id, what, None).await;
    let answer = match answer {
        Ok(None) => Ok(Outcome::default()),
        Ok(Some(outcome)) => {
            settle(&state, id, Ok(&outcome)).await?;
            Ok(outcome)
        }
        Err(reason) => {
            settle(&state, id, Err(&reason)).await?;
            Err(reason)
        }
    };
    let answer = answer.map(|answer| begun(id, answer));
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        done = replayed(&state, id, &mut operator) => done,
        Some(ended) = sinks.join_next() => {
            failed(ended.map(|ended| ended.map_err(Error::Delivery))).map(drop)
        }
        Some(ended) = keepers.join_next() => failed(ended).map(drop),
    };
    reading.cancel();
    while let Some(done) = sinks.join_next().await {
        done.map_err(|_| Error::Panicked)?.map_err(Error::Delivery)?;
    }
    keeping.cancel();
    while let Some(done) = keepers.join_next().await {
        done.map_err(|_| Error::Panicked)??;
    }
    ended.map(|()| answer)
}

async fn settle(state: &State, id: i64, outcome: Result<&Outcome, &String>) -> Result<(), Error> {
    let settled = match outcome {
        Ok(outcome) => Ok(serde_json::to_string(outcome).unwrap_or_default()),
        Err(reason) => Err(reason.clone()),
    };
    let at = Timestamp::now();
    let written = state.write(move |c| request::settle(c, id, &settled, at));
    written.await.map_err(Error::State)
}

/// Ends when nothing that a request has sent again is under way any more.
async fn replayed(state: &State, request: i64, operator: &mut Operator) -> Result<(), Error> {
    loop {
        let is_idle = operator.look_at_windows().await?;
        if is_idle && !operator::is_replaying(state, request).await.map_err(Error::State)? {
            return Ok(());
        }
        tokio::time::sleep(TICK).await;
    }
}
