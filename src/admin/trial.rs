//! Trials of the playground: one at a time, on a thread of their own, for a few seconds at most.
//!
//! What is tried may come from anybody who may look: it must neither take the time nor the memory
//! of the run beside it. A budget bounds what it computes; when its time is over, that is taken.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::Shown;
use super::refusal::Refusal;
use crate::config::Problems;
use crate::inspect;
use crate::inspect::playground::{self, Asked, Fault, Tried};
use crate::mapping::Budget;
use crate::state::State;

/// One at a time; it is given back once the thread has ended.
static TURN: Semaphore = Semaphore::const_new(1);

/// How long one may take, and whoever comes next waits for its turn.
const TIME_MAX: Duration = Duration::from_secs(5);
/// What one may compute, in about as many bytes: a million steps of loops, or a hundred patterns.
const BUDGET: u64 = 256 << 20;
/// What is parsed may be as deep as it is long.
const STACK_BYTES: usize = 32 << 20;

/// Why nothing came of a trial.
#[derive(Debug)]
pub(super) enum NotTried {
    /// The text is wrong.
    Text(Problems),
    /// All else.
    Refused(Refusal),
}

impl From<Fault> for NotTried {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Text(problems) => Self::Text(problems),
            Fault::TooMuch => too_much(),
            Fault::Other(error) => Self::Refused(error.into()),
        }
    }
}

fn too_much() -> NotTried {
    let message = "it takes too much to be tried here; `walgate map` and `walgate test` take as long \
                   as it takes";
    NotTried::Refused(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message))
}

/// Tries a mapping.
///
/// Cancel safety: dropping it ends nothing: the trial goes on for its time at most.
pub(super) async fn run(shown: &Arc<dyn Shown>, asked: Asked) -> Result<Tried, NotTried> {
    if !shown.is_open() {
        return Err(NotTried::Refused(Refusal::starting()));
    }
    let config = Arc::clone(shown.config());
    let Ok(Ok(turn)) = timeout(TIME_MAX, TURN.acquire()).await else {
        let message = "somebody else tries something; ask again";
        return Err(NotTried::Refused(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message)));
    };
    let budget = Budget::new(BUDGET);
    let (tell, told) = oneshot::channel();
    let at_hand = budget.clone();
    let work = move || {
        let _turn = turn;
        let tried = at_hand.run(|| {
            let reader = State::open_reader(&config.state).map_err(inspect::Error::State)?;
            playground::run(&config, &reader, &asked, &at_hand)
        });
        // Whoever asked may be gone.
        let _gone = tell.send(tried);
    };
    let began = thread::Builder::new().name("trial".to_owned()).stack_size(STACK_BYTES).spawn(work);
    if let Err(error) = began {
        return Err(broken(error.to_string()));
    }
    match timeout(TIME_MAX, told).await {
        Ok(Ok(tried)) => Ok(tried?),
        Ok(Err(_)) => Err(broken("the trial broke".to_owned())),
        Err(_) => {
            budget.exhaust();
            Err(too_much())
        }
    }
}

fn broken(message: String) -> NotTried {
    NotTried::Refused(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message))
}
