//! How far a backfill is, on a terminal and in a line.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::asking::{self, LOOK_EVERY};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::config::Config;
use crate::inspect::load::rate;
use crate::lsn::Timestamp;
use crate::progress::load::{self, Load, LoadState};
use crate::state::Reader;

/// Shows how far those are that are newer than `newest`, until they are over.
pub(super) async fn follow(config: &Config, reader: &Reader, newest: i64) -> Result<Exit, Failure> {
    let bar = if stderr().is_terminal() { bar() } else { ProgressBar::hidden() };
    loop {
        let (all, planned) =
            asking::read(reader, |c| Ok((load::all(c, false)?, load::planned(c)?)))?;
        let own: Vec<&Load> = all.iter().filter(|load| load.id > newest).collect();
        show(&bar, &own);
        let is_over = planned.is_empty() && own.iter().all(|load| load.state != LoadState::Running);
        if is_over {
            bar.finish_and_clear();
            return Ok(say(&own));
        }
        if !asking::is_running(config) {
            bar.finish_and_clear();
            let message = "the instance ended; the rest goes on with the next run";
            return Err(Failure::new(Exit::Failed, message));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn bar() -> ProgressBar {
    let template = "{bar:30} {human_pos} of about {human_len} rows, {per_sec}, {eta} left  {msg}";
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    // The template is a constant; were it wrong, the library's own would do.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show(bar: &ProgressBar, own: &[&Load]) {
    let rows: u64 = own.iter().map(|load| load.rows).sum();
    let total: u64 = own.iter().map(|load| load.total_estimate.unwrap_or(0).max(load.rows)).sum();
    bar.set_length(total);
    bar.set_position(rows);
    let reason = own.iter().find_map(|load| load.reason.clone());
    bar.set_message(reason.unwrap_or_default());
}

/// Says what came of it.
fn say(own: &[&Load]) -> Exit {
    let now = Timestamp::now();
    for load in own {
        output::note(&line(load, now));
    }
    if own.iter().any(|load| load.state == LoadState::Failed) { Exit::Failed } else { Exit::Done }
}

/// Returns a line for people.
pub(super) fn line(load: &Load, now: Timestamp) -> String {
    let Load { id, table, state, rows, .. } = load;
    let mut line = format!("{id}  {table}  {}  {rows} rows", state.as_str());
    if let Some(total) = load.total_estimate.filter(|_| state.is_open()) {
        line.push_str(&format!(" of about {}", total.max(*rows)));
    }
    line.push_str(&format!(", {:.0} rows/s", rate(load, now)));
    match &load.sink {
        Some(sink) => line.push_str(&format!(", for sink {sink}")),
        None => line.push_str(&format!(", for {}", load.routes.join(", "))),
    }
    if let Some(filter) = &load.filter {
        line.push_str(&format!(", where {filter}"));
    }
    if let Some(reason) = &load.reason {
        line.push_str(&format!("\n   {reason}"));
    }
    line
}
