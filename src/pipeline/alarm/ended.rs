//! What is told of a run that ends because a person has to act: nobody looks any more by then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::{Ending, Error};
use super::{QUEUE_MAX, couriers, instance, names, tell};
use crate::alert::{Change, Happening, Subject, When, in_force, store};
use crate::config::Config;
use crate::failure::{Classify, chain};
use crate::lsn::Timestamp;
use crate::state::State;

/// How long the notices may take; the next start sends the rest.
const SEND_MAX: Duration = Duration::from_secs(5);

/// Notes that the run is halted, and tells who asked for it; once, until one has run again.
pub(crate) async fn ended(config: &Config, state: &State, error: Option<&Error>) {
    let Some(error) = error.filter(|error| error.ending() == Ending::Halted) else { return };
    let now = Timestamp::now();
    let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
    let message = format!("the run has ended, and a person must act: {}{help}", chain(error));
    let mut tasks = JoinSet::new();
    let mut couriers = couriers(config, state, &instance(config, state).await);
    let rules = in_force(&config.alerts, &names(config)).into_iter();
    for rule in rules.filter(|rule| rule.when == When::Halted && rule.watches(&Subject::Source)) {
        let happening = Happening {
            change: Change::Fired,
            rule: Arc::new(rule),
            subject: Subject::Source,
            since: now,
            ended: None,
            value: 1.0,
            worst: 1.0,
            message: message.clone(),
        };
        let stored = happening.clone();
        let noted = state.write(move |connection| store::begin(connection, &stored, now)).await;
        // It was told before, or can't be noted, and then every start would tell it.
        let Ok(Some(notice)) = noted else { continue };
        tell(&happening);
        for to in &happening.rule.to {
            let Some(courier) = couriers.remove(&to.sink) else { continue };
            let (sender, incoming) = mpsc::channel(QUEUE_MAX);
            // It is empty.
            let _fits = sender.try_send(notice.clone());
            tasks.spawn(courier.run(incoming));
        }
    }
    let sent = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(SEND_MAX, sent).await.is_err() {
        tracing::debug!("not every notice has arrived; the next start sends them");
    }
}
