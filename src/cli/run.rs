//! `walgate run`: the pipeline.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use super::{Global, duration, output};
use crate::pipeline::{self, Ending, Options, Outcome};

/// What `run` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate run -c walgate.toml
  walgate run --until-caught-up --timeout 10m    # for cron: ends when all is delivered")]
pub(super) struct Args {
    /// End with 0 once all that was committed before the start is done at every sink
    #[arg(long)]
    pub(super) until_caught_up: bool,
    /// With --until-caught-up: give up after this long, with 1
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "until_caught_up")]
    pub(super) timeout: Option<Duration>,
    /// Wait for the slot for as long as another instance holds it
    #[arg(long)]
    pub(super) standby: bool,
    /// Take a slot that exists although the state folder is empty, at its confirmed position
    #[arg(long)]
    pub(super) adopt_slot: bool,
    /// Go on although changes were lost between what is stored and what the slot still has
    #[arg(long)]
    pub(super) accept_gap: bool,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    output::warnings(&config);
    let options = Options {
        until_caught_up: args.until_caught_up,
        timeout: args.timeout,
        standby: args.standby,
        adopt_slot: args.adopt_slot,
        accept_gap: args.accept_gap,
        only_asked: false,
    };
    let stop = CancellationToken::new();
    let ended = tokio::select! {
        ended = pipeline::run(config, options, stop.clone()) => ended,
        second = signals(stop) => {
            tracing::warn!("stopped at once by a second {second}; what was in flight may repeat");
            return Ok(Exit::Done);
        }
    };
    match ended {
        Ok(Outcome::Stopped { unanswered: 0 }) => Ok(Exit::Done),
        Ok(Outcome::Stopped { unanswered }) => {
            output::note(&format!("{unanswered} events were unanswered and may be sent again"));
            Ok(Exit::Done)
        }
        Ok(Outcome::CaughtUp { dead: 0 }) => Ok(Exit::Done),
        Ok(Outcome::CaughtUp { dead }) => {
            output::note(&format!("{dead} events became dead letters"));
            Ok(Exit::Rejected)
        }
        Ok(Outcome::Halted { sinks }) => {
            Err(Failure::new(Exit::Halted, format!("halted: {}", sinks.join(", "))))
        }
        Ok(Outcome::TimedOut) => {
            Err(Failure::new(Exit::Failed, "not everything was delivered in the time given"))
        }
        Err(error) => Err(Failure::of_stage(exit(error.ending()), &error)),
    }
}

/// The first signal asks for a stop; returns with the second.
pub(super) async fn signals(stop: CancellationToken) -> &'static str {
    let mut signals = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "signals can't be heard: only a kill stops this process");
            return std::future::pending().await;
        }
    };
    loop {
        let name = tokio::select! {
            _ = signals.0.recv() => "SIGTERM",
            _ = signals.1.recv() => "SIGINT",
        };
        if stop.is_cancelled() {
            return name;
        }
        tracing::info!(signal = name, "stopping: what is in flight may finish");
        stop.cancel();
    }
}

/// Returns with the first signal that asks for an end; never where none can be heard.
pub(super) async fn signalled() {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let Ok([mut terminate, mut interrupt, mut hangup]) = heard(kinds) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
}

fn heard(kinds: [SignalKind; 3]) -> std::io::Result<[Signal; 3]> {
    let [one, two, three] = kinds.map(signal);
    Ok([one?, two?, three?])
}

pub(super) const fn exit(ending: Ending) -> Exit {
    match ending {
        Ending::Failed => Exit::Failed,
        Ending::Preflight => Exit::Preflight,
        Ending::Halted => Exit::Halted,
        Ending::InUse => Exit::InUse,
    }
}
